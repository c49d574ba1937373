"""Healing over the simulated market: the sensor's run requests are executed as the daemon would."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from crypto_platform.alerts.channels import FileChannel
from crypto_platform.alerts.delivery import watch_instance
from crypto_platform.alerts.event_reader import EventReader
from crypto_platform.alerts.messages import MessageFormatter
from crypto_platform.core.redaction import Secrets
from crypto_platform.core.run_tags import HEAL_TAG
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.healing.attempts import MAX_ATTEMPTS
from crypto_platform.healing.sensor import calls_left
from crypto_platform.ingestion.quota import Consumer, MonthBudget
from crypto_platform.ingestion.tracked_coins import UntrackedCoinError
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform.warehouse.load_record import RECORDS
from crypto_platform_tests.conftest import STAGES, Platform
from lambda_function.plans import PLANS

pytestmark = pytest.mark.integration

BuildPlatform = Callable[[str, Mapping[str, str]], Platform]
# By then the alerts sensor takes what a test has done as final.
LATER = timedelta(minutes=1)
COINS = ("bitcoin", "ethereum", "tether")
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def overdue(stream: Stream, count: int) -> list[str]:
    """Keys of the newest overdue windows, oldest first."""
    newest = stream.latest_due(datetime.now(UTC)).start
    return [
        (newest - ago * stream.window_length).strftime(stream.key_format)
        for ago in reversed(range(count))
    ]


@dataclass
class Daemon:
    """What the daemon does with the sensor: it ticks, keeps the cursor, and launches runs."""

    platform: Platform
    instance: dg.DagsterInstance
    cursor: str | None = None
    skipped: str | None = None
    launched: list[Mapping[str, Any]] = field(default_factory=list)

    def requests(self) -> list[dg.RunRequest]:
        sensor = self.platform.definitions.resolve_sensor_def("healing")
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"lake": self.platform.lake, "warehouse": self.platform.warehouse},
        ) as context:
            data = sensor.evaluate_tick(context)
        self.cursor = data.cursor
        self.skipped = data.skip_message
        return list(data.run_requests or [])

    def tick(self) -> list[tuple[str, str, str, list[str]]]:
        """One tick, and the runs that it asks for; returns stream, first, last and coins."""
        told = []
        for request in self.requests():
            name = str(request.job_name)
            coins = request.run_config["ops"][f"{name}__raw_prices"]["config"]["coins"]
            told.append((name, *(request.tags[tag] for tag in RANGE), coins))
            self.platform.definitions.resolve_job_def(name).execute_in_process(
                tags=request.tags,
                asset_selection=request.asset_selection,
                instance=self.instance,
                run_config={**request.run_config, **QUIET},
                raise_on_error=False,
            )
        return told

    def check(self) -> dg.AssetCheckEvaluation:
        result = self.platform.definitions.resolve_implicit_global_asset_job_def()
        ran = result.execute_in_process(
            asset_selection=[dg.AssetKey("ingestion_ledger")],
            instance=self.instance,
            run_config=QUIET,
        )
        (evaluation,) = ran.get_asset_check_evaluations()
        return evaluation


QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def daemon(
    market: SimulatedMarket, build_platform: BuildPlatform, instance: dg.DagsterInstance
) -> Daemon:
    first = datetime.now(UTC) - timedelta(days=30)
    platform = build_platform(
        market.base_url,
        {
            "TRACKED_COINS": ",".join(COINS),
            "HISTORY_START": f"{first:%F}",
            "INTRA_DAY_START": f"{first:%F}",
        },
    )
    return Daemon(platform, instance)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crypto_platform.healing.planner._FIRST_PAUSE", timedelta(0))


def statuses(platform: Platform, stream: Stream) -> dict[tuple[str, str], str]:
    rows = platform.query(
        f"SELECT coin_id, window_start, status FROM ingestion_ledger WHERE stream = '{stream.name}'"
    )
    return {
        (row["coin_id"], row["window_start"].strftime(stream.key_format)): row["status"]
        for row in rows
    }


def test_a_fresh_install_launches_nothing(daemon: Daemon) -> None:
    assert daemon.tick() == []
    assert daemon.skipped == "No coin is tracked yet: nothing was ever loaded."


def test_a_history_that_nobody_asked_for_is_not_started(daemon: Daemon) -> None:
    (key,) = overdue(INTRA_DAY, 1)
    daemon.platform.materialize(INTRA_DAY, key, instance=daemon.instance)

    assert daemon.tick() == []
    assert daemon.skipped == "Nothing lacks a price that may yet be had."


def test_after_three_days_without_the_daemon_every_window_comes_in(daemon: Daemon) -> None:
    keys = {INTRA_DAY: overdue(INTRA_DAY, 13), HISTORICAL: overdue(HISTORICAL, 4)}
    for stream, of_stream in keys.items():
        daemon.platform.materialize(stream, of_stream[0], instance=daemon.instance)

    while daemon.tick():
        pass

    for stream, of_stream in keys.items():
        assert statuses(daemon.platform, stream) == {
            (coin, key): "present"
            for coin in ("bitcoin", "ethereum", "tether")
            for key in of_stream
        }
    assert daemon.skipped == "Nothing lacks a price that may yet be had."


def test_three_days_cost_a_call_a_coin_a_stream_and_one_for_the_last_day(
    daemon: Daemon, market: SimulatedMarket
) -> None:
    daemon.platform.materialize(HISTORICAL, overdue(HISTORICAL, 4)[0], instance=daemon.instance)
    daemon.platform.materialize(INTRA_DAY, overdue(INTRA_DAY, 13)[0], instance=daemon.instance)
    before = market.calls().by_endpoint["/coins/{id}/market_chart/range"]

    while daemon.tick():
        pass

    after = market.calls().by_endpoint["/coins/{id}/market_chart/range"]
    assert after - before == 3 + 3 * 2


def test_only_the_coin_that_lacks_a_price_is_asked_for_and_the_others_keep_theirs(
    daemon: Daemon, market: SimulatedMarket
) -> None:
    keys = overdue(HISTORICAL, 3)
    market.inject("delisted_coin", coin="ethereum", times=1)
    daemon.platform.materialize(HISTORICAL, keys[0], keys[-1], instance=daemon.instance)
    query = "SELECT * EXCLUDE (loaded_at) FROM historical_prices WHERE coin_id <> 'ethereum'"
    others = sorted(map(repr, daemon.platform.query(query)))

    assert daemon.tick() == [("historical", keys[0], keys[-1], ["ethereum"])]

    assert set(statuses(daemon.platform, HISTORICAL).values()) == {"present"}
    assert sorted(map(repr, daemon.platform.query(query))) == others


def test_a_run_for_one_coin_keeps_why_another_is_absent(
    daemon: Daemon, market: SimulatedMarket
) -> None:
    (key,) = overdue(HISTORICAL, 1)
    market.inject("delisted_coin", coin="ethereum")
    daemon.platform.materialize(HISTORICAL, key, instance=daemon.instance)
    job = daemon.platform.definitions.resolve_job_def("historical")

    job.execute_in_process(
        partition_key=key,
        asset_selection=[dg.AssetKey(["historical", stage]) for stage in STAGES],
        run_config={
            "ops": {"historical__raw_prices": {"config": {"coins": ["bitcoin"]}}},
            **QUIET,
        },
    )

    assert statuses(daemon.platform, HISTORICAL) == {
        ("bitcoin", key): "present",
        ("ethereum", key): "failed",
        ("tether", key): "present",
    }


def test_a_run_for_a_coin_that_is_not_tracked_says_so(daemon: Daemon) -> None:
    (key,) = overdue(HISTORICAL, 1)
    job = daemon.platform.definitions.resolve_job_def("historical")

    with pytest.raises(UntrackedCoinError, match="dogecoin"):
        job.execute_in_process(
            partition_key=key,
            asset_selection=[dg.AssetKey(["historical", "raw_prices"])],
            run_config={
                "ops": {"historical__raw_prices": {"config": {"coins": ["dogecoin"]}}},
                **QUIET,
            },
        )


def test_a_delisted_coin_is_given_up_once_and_the_others_heal(
    daemon: Daemon, market: SimulatedMarket
) -> None:
    keys = overdue(HISTORICAL, 4)
    daemon.platform.materialize(HISTORICAL, keys[0], instance=daemon.instance)
    market.inject("delisted_coin", coin="ethereum")

    attempts = [daemon.tick() for _ in range(MAX_ATTEMPTS + 2)]

    assert attempts == [
        [("historical", keys[1], keys[3], ["bitcoin", "ethereum", "tether"])],
        *[[("historical", keys[1], keys[3], ["ethereum"])]] * (MAX_ATTEMPTS - 1),
        [],
        [],
    ]
    of_runs = [run.tags[HEAL_TAG] for run in daemon.instance.get_runs() if HEAL_TAG in run.tags]
    assert sorted(of_runs) == [str(number + 1) for number in range(MAX_ATTEMPTS)]
    check = daemon.check()
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.ERROR
    assert check.description
    assert f"historical {keys[1]}...{keys[3]}: ethereum is failed" in check.description
    assert "coin not found" in check.description


def test_a_coin_of_which_nothing_comes_any_more_is_proven_to_be_absent_and_let_go(
    daemon: Daemon, market: SimulatedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crypto_platform.ingestion.raw_windows.PROOF_PAUSE", timedelta(0))
    keys = overdue(HISTORICAL, 4)
    daemon.platform.materialize(HISTORICAL, keys[0], instance=daemon.instance)
    market.inject("no_points", coin="ethereum")

    def of_ethereum() -> set[str]:
        told = statuses(daemon.platform, HISTORICAL)
        return {told["ethereum", key] for key in keys[1:3]}

    daemon.tick()
    after_one_answer = of_ethereum()
    daemon.tick()
    after_two_answers = of_ethereum()

    assert (after_one_answer, after_two_answers) == ({"failed"}, {"missing_at_source"})
    while daemon.tick():
        pass
    assert of_ethereum() == {"missing_at_source"}
    assert daemon.check().passed


def test_a_coin_that_is_back_has_its_gap_filled_and_the_check_passes_again(
    daemon: Daemon, market: SimulatedMarket
) -> None:
    keys = overdue(HISTORICAL, 3)
    market.inject("delisted_coin", coin="ethereum")
    daemon.platform.materialize(HISTORICAL, keys[0], keys[1], instance=daemon.instance)
    while daemon.tick():
        pass
    assert not daemon.check().passed
    market.faults.clear()

    daemon.platform.materialize(HISTORICAL, keys[2], instance=daemon.instance)
    assert daemon.tick() == [("historical", keys[0], keys[1], ["ethereum"])]

    assert set(statuses(daemon.platform, HISTORICAL).values()) == {"present"}
    assert daemon.check().passed


def test_giving_up_is_one_alert_however_often_it_is_evaluated_and_its_end_another(
    daemon: Daemon, market: SimulatedMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crypto_platform.healing.planner.MAX_ATTEMPTS", 1)
    # The alerts sensor asks for schedules, which an instance in memory has none of.
    daemon.instance = dg.DagsterInstance.local_temp(str(tmp_path))
    outbox = FileChannel(path=str(tmp_path / "outbox.jsonl"), state_root=str(tmp_path))
    repository = daemon.platform.definitions.get_repository_def()

    def alerts() -> list[str]:
        reader = EventReader(daemon.instance, repository, datetime.now(UTC) + LATER)
        watch_instance(reader, outbox, MessageFormatter("http://127.0.0.1:3000", Secrets.of({})))
        return [alert.subject for alert in outbox.sent() if "healing" in alert.subject]

    (key,) = overdue(HISTORICAL, 1)
    alerts()
    market.inject("delisted_coin", coin="ethereum")
    daemon.platform.materialize(HISTORICAL, key, instance=daemon.instance)
    daemon.tick()
    daemon.check()
    (told,) = alerts()
    daemon.check()
    assert alerts() == [told]
    market.faults.clear()
    daemon.platform.materialize(HISTORICAL, key, instance=daemon.instance)
    daemon.check()

    assert told == "[ERROR] check healing of ingestion_ledger failed: ethereum/historical"
    assert len(alerts()) == 2
    assert outbox.sent()[-1].status == "recovered"


def test_windows_of_a_run_that_is_waiting_or_working_are_left_to_it(daemon: Daemon) -> None:
    keys = overdue(HISTORICAL, 4)
    daemon.platform.materialize(HISTORICAL, keys[0], instance=daemon.instance)
    run = dg.DagsterRun(
        job_name="__ASSET_JOB",
        status=dg.DagsterRunStatus.STARTED,
        asset_selection=frozenset({dg.AssetKey(["historical", "raw_prices"])}),
        tags=dict(zip(RANGE, (keys[2], keys[3]), strict=True)),
    )
    daemon.instance.add_run(run)

    assert daemon.tick() == []
    assert daemon.skipped == "Runs on the same windows of historical are under way."


def test_a_stream_that_a_backfill_works_on_is_left_to_it(daemon: Daemon) -> None:
    keys = overdue(HISTORICAL, 2)
    daemon.platform.materialize(HISTORICAL, keys[0], instance=daemon.instance)
    daemon.instance.add_backfill(
        PartitionBackfill(
            backfill_id="from-the-ui",
            status=BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=0.0,
            asset_selection=[dg.AssetKey(["historical", "raw_prices"])],
        )
    )

    assert daemon.tick() == []
    assert daemon.skipped == "A backfill of historical is under way."


def test_the_ledger_is_read_only_when_something_has_happened(daemon: Daemon) -> None:
    (key,) = overdue(HISTORICAL, 1)
    daemon.platform.materialize(HISTORICAL, key, instance=daemon.instance)
    daemon.tick()
    daemon.tick()

    assert daemon.skipped
    assert daemon.skipped.startswith("Nothing that could have changed the ledger happened since")
    daemon.platform.materialize(HISTORICAL, key, instance=daemon.instance)
    daemon.tick()
    assert daemon.skipped == "Nothing lacks a price that may yet be had."


def test_an_attempt_that_is_due_is_a_reason_to_read_the_ledger(
    daemon: Daemon, market: SimulatedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crypto_platform.healing.planner._FIRST_PAUSE", timedelta(hours=1))
    (key,) = overdue(HISTORICAL, 1)
    market.inject("delisted_coin", coin="ethereum")
    daemon.platform.materialize(HISTORICAL, key, instance=daemon.instance)
    assert daemon.tick() == [("historical", key, key, ["ethereum"])]

    assert daemon.tick() == []
    assert daemon.cursor
    again_at = datetime.fromisoformat(json.loads(daemon.cursor)["again_at"])
    assert timedelta(minutes=50) < again_at - datetime.now(UTC) < timedelta(minutes=61)
    assert daemon.tick() == []
    assert daemon.skipped
    assert daemon.skipped.startswith("Nothing that could have changed")


def test_a_warehouse_that_is_held_by_another_is_read_later(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    (key,) = overdue(HISTORICAL, 1)
    daemon.platform.materialize(HISTORICAL, key, instance=daemon.instance)
    # It has to be asked only where an earlier version loaded it, and so left no record.
    daemon.platform.lake.transformed.remove_folder(RECORDS)
    monkeypatch.setattr("crypto_platform.warehouse.duckdb._SHORT_TIMEOUT", 0.2)
    path = daemon.platform.warehouse.path
    holder = f"import duckdb; held = duckdb.connect({path!r}); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        daemon.tick()
        held = daemon.skipped, daemon.cursor
        other.communicate("\n")

    daemon.tick()

    assert held[0]
    assert "was held by someone else" in held[0]
    assert held[1] is None
    assert daemon.skipped == "Nothing lacks a price that may yet be had."


def test_a_cursor_that_version_0_2_0_stored_is_read(daemon: Daemon) -> None:
    (key,) = overdue(HISTORICAL, 1)
    daemon.platform.materialize(HISTORICAL, key, instance=daemon.instance)
    newest = {stream.name: overdue(stream, 1)[0] for stream in (HISTORICAL, INTRA_DAY)}
    at = f"{datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S.%fZ}"

    daemon.cursor = json.dumps({"at": at, "newest": newest, "again_at": None})
    assert daemon.tick() == []
    assert daemon.skipped
    assert daemon.skipped.startswith("Nothing that could have changed the ledger happened since")
    daemon.cursor = json.dumps({"at": at, "newest": newest, "again_at": at[:11] + "00:00:00Z"})
    assert daemon.tick() == []
    assert daemon.skipped == "Nothing lacks a price that may yet be had."


def test_a_failed_first_run_of_the_schedule_is_made_good(daemon: Daemon) -> None:
    keys = overdue(INTRA_DAY, 2)
    daemon.platform.materialize(HISTORICAL, overdue(HISTORICAL, 1)[0], instance=daemon.instance)
    daemon.instance.add_run(
        dg.DagsterRun(
            job_name="intra_day",
            status=dg.DagsterRunStatus.FAILURE,
            tags={
                "dagster/schedule_name": "intra_day_schedule",
                "dagster/partition": keys[0],
            },
        )
    )

    told = daemon.tick()

    assert told == [("intra_day", keys[0], keys[1], ["bitcoin", "ethereum", "tether"])]
    assert len(statuses(daemon.platform, INTRA_DAY)) == 6


@pytest.mark.parametrize(
    ("plan", "used", "foreseen", "left"),
    [
        ("demo", 2_000, 3_000, 3_000),
        ("demo", 6_900, 3_000, 100),
        ("demo", 9_000, 3_000, 0),
        ("keyless", 9_000, 3_000, 180),
    ],
)
def test_healing_takes_half_an_hour_of_calls_and_what_the_schedules_leave_of_the_month(
    plan: str, used: int, foreseen: int, left: int
) -> None:
    consumer = Consumer("intra_day", used, foreseen)
    budget = MonthBudget(datetime.now(UTC), PLANS[plan].monthly_credits, (consumer,), None)

    assert calls_left(PLANS[plan], budget) == left


def test_what_the_budget_does_not_allow_waits_and_says_so(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = overdue(HISTORICAL, 2)
    daemon.platform.materialize(HISTORICAL, keys[0], instance=daemon.instance)
    monkeypatch.setenv("COINGECKO_MONTHLY_CREDITS", "10")

    assert daemon.tick() == []
    assert daemon.skipped == "The budget leaves healing no call now."
