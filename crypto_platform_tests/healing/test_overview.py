"""What ``crypto-platform status`` says of it all."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NoReturn

import dagster as dg
import pytest
from click.testing import CliRunner

from crypto_platform.cli.main import main
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.definitions import build_definitions
from crypto_platform.healing.attempts import MAX_ATTEMPTS
from crypto_platform.healing.overview import Overview, StreamState, look, next_ticks
from crypto_platform.healing.planner import Gap
from crypto_platform.ingestion.tracked_coins import DOCUMENT
from crypto_platform.lake.layers import Layer
from crypto_platform.profiles import PROFILES
from crypto_platform.warehouse.completeness import Completeness
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.load_record import LoadRecord
from crypto_platform_tests.healing.test_ledger import COINS, day, filled, lake, tracked
from crypto_platform_tests.transformed_lake import TransformedLake

__all__ = ["lake"]

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
GAP = Gap("bitcoin", "failed", NOW, NOW, attempts=MAX_ATTEMPTS)


def state(**changes: object) -> StreamState:
    calm = StreamState(INTRA_DAY, NOW, NOW, True, Completeness("intra_day"), ())  # noqa: FBT003 - by its fields' order
    return replace(calm, **changes)  # type: ignore[arg-type] # what a test changes


def overview(*streams: StreamState, **changes: object) -> Overview:
    calm = Overview(
        now=NOW,
        profile="local",
        home="/home",
        coins=2,
        streams=streams or (state(),),
        incidents=(),
        budget=None,
        budget_problem="",
        ticks=(),
        daemon=True,
        ui=None,
        ui_address="",
    )
    return replace(calm, **changes)  # type: ignore[arg-type] # what a test changes


def test_where_all_is_well_nothing_needs_a_person() -> None:
    unscheduled = state(stream=HISTORICAL, scheduled=False, newest=NOW - timedelta(days=9))

    assert overview().for_a_person == []
    assert overview(unscheduled, state(gaps=(replace(GAP, attempts=1),))).for_a_person == []


def test_what_healing_gave_up_what_is_late_and_a_wrong_plan_need_a_person() -> None:
    late = state(newest=NOW - timedelta(days=1))

    assert "given up by healing" in overview(state(gaps=(GAP,))).for_a_person[0]
    assert "see its runs in the UI" in overview(late).for_a_person[0]
    assert "the daemon does not run" in overview(late, daemon=False).for_a_person[0]
    assert overview(budget_problem="No such plan.").for_a_person == ["No such plan."]


def test_before_anything_was_loaded_it_says_what_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path / "home"))

    shown = CliRunner().invoke(main, ["status"])

    assert shown.exit_code == 0, shown.output
    assert "What to do first:\n  crypto-platform init" in shown.output
    assert not (tmp_path / "home" / "dagster").exists()


def test_it_reads_the_record_of_loads_and_leaves_the_warehouse_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lake: TransformedLake
) -> None:
    warehouse = DuckDBWarehouse(path=str(tmp_path / "crypto_db.duckdb"))
    filled(warehouse, lake)
    record = LoadRecord(Layer(lake.root, "transformed", "transformed_prices"), HISTORICAL)
    with warehouse.session(read_only=True) as session:
        record.update(session, [HISTORICAL.window(day(ago)) for ago in (5, 4, 3)])
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / DOCUMENT).write_text(tracked(*COINS).model_dump_json())

    class Asleep(DuckDBWarehouse):
        def session(self, *, read_only: bool) -> NoReturn:
            raise AssertionError(read_only)

    monkeypatch.setitem(
        PROFILES["local"].builders,  # type: ignore[arg-type] # a dict, as all of them
        "warehouse",
        lambda _: Asleep(path=warehouse.path),
    )
    environment = {"CRYPTO_HOME": str(tmp_path), "HISTORY_START": day(5)}

    found = look(Settings.from_environment(environment), environment)

    historical, intra_day = found.streams
    assert historical.newest is not None
    assert f"{historical.newest:%F}" == day(3)
    assert historical.completeness.since is not None
    assert f"{historical.completeness.since:%F}" == day(5)
    assert intra_day.newest is None
    assert not found.empty


def test_every_schedule_is_listed_with_its_next_tick() -> None:
    settings = Settings.from_environment({})
    schedules = build_definitions(settings).get_repository_def().schedule_defs

    with dg.DagsterInstance.ephemeral() as instance:
        ticks = next_ticks(settings, instance, NOW)

    assert {tick.schedule for tick in ticks} == {schedule.name for schedule in schedules}
    at = {tick.schedule: tick.at for tick in ticks}
    assert at["intra_day_schedule"] == NOW + timedelta(minutes=10)
    # Nobody switched it on.
    assert at["historical_schedule"] is None


@contextmanager
def ui_of(folder: Path) -> Iterator[str]:
    """Something that answers as the UI does, of an instance in a folder; gives its address."""

    class Ui(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            info = f"local_artifact_storage:\n  base_dir: {folder}\n"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": {"instance": {"info": info}}}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Ui) as server:
        Thread(target=partial(server.serve_forever, 0.01), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_ui_is_where_this_instances_ui_answers(tmp_path: Path) -> None:
    def found(served: Path) -> str | None:
        with ui_of(served) as address:
            environment = {"CRYPTO_HOME": str(tmp_path), "DAGSTER_UI_URL": address}
            return look(Settings.from_environment(environment), environment).ui

    assert found(tmp_path / "dagster")
    assert found(tmp_path / "another" / "dagster") is None
