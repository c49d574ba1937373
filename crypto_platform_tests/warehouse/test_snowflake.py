"""What Snowflake alone promises; what every warehouse does is in test_warehouse."""

import json
import multiprocessing
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import dagster as dg
import pytest
from snowflake.connector import errors
from snowflake.connector.cursor import SnowflakeCursor

from crypto_platform.core.settings import Settings, SettingsError
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Dataset
from crypto_platform.lake.manifests import Manifest
from crypto_platform.warehouse.catalogue import script_text
from crypto_platform.warehouse.load import LoadMismatchError
from crypto_platform.warehouse.resource import Warehouse, WarehouseBusyError
from crypto_platform.warehouse.session import Session
from crypto_platform.warehouse.snowflake import SnowflakeWarehouse, snowflake_warehouse
from crypto_platform.warehouse.snowflake_apply import steps
from crypto_platform.warehouse.snowflake_errors import (
    SnowflakeRefusedError,
    SnowflakeUnavailableError,
)
from crypto_platform.warehouse.snowpipe_session import SnowpipeLateError
from crypto_platform_tests.transformed_lake import Row, TransformedLake, price, snapshot
from crypto_platform_tests.warehouse.fakesnow_server import Wire, run_pipes, write_private_key

pytestmark = pytest.mark.integration

Build = Callable[..., SnowflakeWarehouse]

PIPES_OF_INTRA_DAY = "3_creating_pipe_for_intra_day.sql"


@pytest.fixture
def lake(tmp_path: Path) -> TransformedLake:
    return TransformedLake(str(tmp_path / "transformed"))


def prices(warehouse: Warehouse) -> list[float]:
    return [
        row["price"] for row in warehouse.query("SELECT price FROM historical_prices ORDER BY 1")
    ]


def test_more_files_than_a_statement_may_name_are_copied_by_several(
    build_snowflake: Build, lake: TransformedLake, wire: Wire
) -> None:
    warehouse = build_snowflake(lake.root)
    manifest = lake.day("2026-11-22", price("bitcoin", "2026-11-22"))
    (file,) = manifest.files
    # The same rows under many names: what counts here is how many names there are.
    names = [f"{lake.root}/{Path(file.path).parent}/{number}.parquet" for number in range(1_001)]
    for name in names:
        Path(name).hardlink_to(lake.path(manifest))

    with warehouse.session(read_only=False) as session:
        session.execute(
            "CREATE TEMPORARY TABLE staged AS SELECT coin_id, price, price_at AS window_start "
            "FROM historical_prices WHERE FALSE"
        )
        session.execute("CREATE TEMPORARY TABLE asked_for AS SELECT window_start FROM staged")
        session.stage_rows("asked_for", [{"window_start": manifest.window.start}])
        session.stage_files("staged", names, "asked_for")
        (count,) = session.execute("SELECT COUNT(*) AS staged FROM staged")

    copies = [text for text in wire.statements if "FILES = (" in text]
    assert [text.count(".parquet") for text in copies] == [1_000, 1]
    assert all("FORCE = TRUE" in text for text in copies)
    assert count == {"staged": 1_001}


def test_rows_lost_on_the_way_into_the_table_are_noticed_before_they_count(
    build_snowflake: Build, lake: TransformedLake, wire: Wire
) -> None:
    warehouse = build_snowflake(lake.root)
    old, new = (
        lake.day("2026-11-22", price("bitcoin", "2026-11-22", value)) for value in (1.0, 2.0)
    )
    warehouse.load(HISTORICAL, [old], lake.root)
    wire.swallows = "INSERT INTO historical_prices"

    with pytest.raises(LoadMismatchError, match="manifest says 1 prices, the table would hold 0"):
        warehouse.load(HISTORICAL, [new], lake.root)

    wire.mend()
    assert prices(warehouse) == [1.0]


# The connector cancels the statement in a thread of its own, which cannot connect either.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_connection_lost_between_delete_and_commit_loses_nothing_and_the_next_try_succeeds(
    build_snowflake: Build, lake: TransformedLake, wire: Wire
) -> None:
    warehouse = build_snowflake(lake.root, network_timeout=1)
    warehouse.load(
        HISTORICAL, [lake.day("2026-11-22", price("bitcoin", "2026-11-22", 1.0))], lake.root
    )
    new = lake.day("2026-11-22", price("bitcoin", "2026-11-22", 2.0))
    wire.cut_at = "DELETE FROM historical_prices"

    with pytest.raises(SnowflakeUnavailableError, match="connection to Snowflake was lost"):
        warehouse.load(HISTORICAL, [new], lake.root)

    wire.mend()
    assert prices(warehouse) == [1.0]
    warehouse.load(HISTORICAL, [new], lake.root)
    assert prices(warehouse) == [2.0]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.ProgrammingError("Remote file was not found", errno=91016), SnowflakeRefusedError),
        (errors.ProgrammingError("Insufficient privileges", errno=3001), SnowflakeRefusedError),
        (errors.DatabaseError("JWT token is invalid", errno=250001), SnowflakeRefusedError),
        (errors.ProgrammingError("Statement was cancelled", errno=604), SnowflakeUnavailableError),
        (errors.OperationalError("Could not connect", errno=250001), SnowflakeUnavailableError),
        (errors.DatabaseError("Connection is closed", errno=250002), SnowflakeUnavailableError),
        (errors.ServiceUnavailableError(errno=290503), SnowflakeUnavailableError),
        (errors.ProgrammingError("Lock wait timeout", errno=625), WarehouseBusyError),
    ],
)
def test_what_another_try_cannot_heal_is_told_from_what_it_may(
    build_snowflake: Build,
    lake: TransformedLake,
    monkeypatch: pytest.MonkeyPatch,
    error: errors.Error,
    expected: type[Exception],
) -> None:
    warehouse = build_snowflake(lake.root)
    monkeypatch.setattr(SnowflakeCursor, "execute", Mock(side_effect=error))

    with pytest.raises(expected) as raised:
        warehouse.query("SELECT 1")

    assert error.msg in str(raised.value)


def load(fields: dict[str, Any], manifest: Manifest, root: str) -> None:
    SnowflakeWarehouse(**fields).load(HISTORICAL, [manifest], root)


def test_a_load_killed_before_it_commits_leaves_the_old_rows_and_can_be_repeated(
    build_snowflake: Build, lake: TransformedLake, wire: Wire
) -> None:
    warehouse = build_snowflake(lake.root)
    old, new = (
        lake.day("2026-11-22", price("bitcoin", "2026-11-22", value)) for value in (1.0, 2.0)
    )
    warehouse.load(HISTORICAL, [old], lake.root)
    # Nothing gets through after it, so the process waits there to be killed.
    wire.cut_at = "INSERT INTO historical_prices"
    process = multiprocessing.get_context("spawn").Process(
        target=load, args=(dict(warehouse), new, lake.root)
    )

    process.start()
    while process.is_alive() and not wire.is_cut:
        time.sleep(0.05)
    process.kill()
    process.join()

    assert process.exitcode == -signal.SIGKILL
    wire.mend()
    assert prices(warehouse) == [1.0]
    warehouse.load(HISTORICAL, [new], lake.root)
    assert prices(warehouse) == [2.0]


def test_a_file_outside_the_stage_is_refused_before_anything_is_asked(
    build_snowflake: Build, lake: TransformedLake
) -> None:
    warehouse = build_snowflake(f"{lake.root}/elsewhere")

    with pytest.raises(ValueError, match=r"not under .*/elsewhere/.*TRANSFORMED_BUCKET"):
        warehouse.load(
            HISTORICAL, [lake.day("2026-11-22", price("bitcoin", "2026-11-22"))], lake.root
        )


@pytest.mark.parametrize("name", ["staged; DROP TABLE coins", "a.b", "", "ä"])
def test_no_name_that_is_not_an_identifier_gets_into_a_statement(
    build_snowflake: Build, lake: TransformedLake, name: str
) -> None:
    with (
        build_snowflake(lake.root).session(read_only=False) as session,
        pytest.raises(ValueError, match="cannot stand in SQL"),
    ):
        session.stage_rows(name, [{}])


def test_the_statements_of_a_load_are_tagged_with_its_run_and_partitions(
    build_snowflake: Build, lake: TransformedLake, wire: Wire
) -> None:
    days = ["2026-11-21", "2026-11-22"]
    manifests = [lake.day(day, price("bitcoin", day)) for day in days]

    @dg.asset
    def loaded(warehouse: Warehouse) -> dg.MaterializeResult[None]:
        warehouse.load(HISTORICAL, manifests, lake.root)
        return dg.MaterializeResult()

    result = dg.materialize([loaded], resources={"warehouse": build_snowflake(lake.root)})

    assert json.loads(wire.logins[-1]["SESSION_PARAMETERS"]["QUERY_TAG"]) == {
        "platform": "crypto_platform",
        "run": result.run_id,
        "stream": "historical",
        "first_partition": "2026-11-21",
        "last_partition": "2026-11-22",
    }


def test_the_creation_scripts_run_over_the_connector_and_make_what_is_not_there(
    build_snowflake: Build, lake: TransformedLake
) -> None:
    warehouse = build_snowflake(lake.root)

    with warehouse.session(read_only=False) as session:
        session.execute("DROP TABLE transformed.coins")
        for step in steps(Settings.from_environment({"SNOWFLAKE_LOAD_MODE": "snowpipe"})):
            session.execute(step.sql)

    assert warehouse.query("SELECT * FROM coins") == []


def test_the_login_is_by_key_pair_and_times_are_utc(
    build_snowflake: Build, lake: TransformedLake, wire: Wire
) -> None:
    build_snowflake(lake.root).summary()

    login = wire.logins[-1]
    assert login["AUTHENTICATOR"] == "SNOWFLAKE_JWT"
    assert "PASSWORD" not in login
    assert login["SESSION_PARAMETERS"]["TIMEZONE"] == "UTC"


def test_an_encrypted_key_is_opened_by_a_passphrase_that_is_never_shown(
    build_snowflake: Build,
    wire: Wire,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = tmp_path / "encrypted.p8"
    write_private_key(key, b"planted-passphrase")
    warehouse = build_snowflake(str(tmp_path))
    encrypted = SnowflakeWarehouse(**{**dict(warehouse), "private_key_path": str(key)})
    caplog.set_level("DEBUG")

    with pytest.raises(SnowflakeRefusedError, match="SNOWFLAKE_PRIVATE_KEY_PASSPHRASE"):
        encrypted.summary()
    monkeypatch.setenv("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "planted-passphrase")
    encrypted.summary()

    shown = f"{encrypted!r} {wire.logins} {wire.statements} {caplog.text}"
    assert "planted-passphrase" not in shown
    assert "PRIVATE KEY-----" not in shown


def test_loading_the_definitions_does_not_take_the_connector() -> None:
    script = "import sys, crypto_platform.warehouse.snowflake; print(*sys.modules)"
    shown = subprocess.check_output([sys.executable, "-c", script], text=True)

    assert {"snowflake.connector", "dagster_snowflake"}.isdisjoint(shown.split())


def test_a_statement_that_snowflake_refuses_is_not_tried_again(
    build_snowflake: Build, lake: TransformedLake
) -> None:
    with pytest.raises(SnowflakeRefusedError, match="NOWHERE does not exist") as raised:
        build_snowflake(lake.root).query("SELECT * FROM nowhere")

    assert raised.value.allow_retries is False


def test_a_key_that_cannot_be_read_is_named_by_its_variable(tmp_path: Path) -> None:
    missing = tmp_path / "no-such-key.p8"
    settings = Settings.from_environment(
        {
            "SNOWFLAKE_ACCOUNT": "example",
            "SNOWFLAKE_USER": "loader",
            "SNOWFLAKE_PRIVATE_KEY_PATH": str(missing),
        }
    )

    with pytest.raises(SnowflakeRefusedError, match=rf"{missing}.*SNOWFLAKE_PRIVATE_KEY_PATH"):
        snowflake_warehouse(settings).summary()


def test_variables_without_which_there_is_no_login_are_named() -> None:
    settings = Settings.from_environment({"SNOWFLAKE_USER": "loader"})

    with pytest.raises(SettingsError, match="SNOWFLAKE_ACCOUNT, SNOWFLAKE_PRIVATE_KEY_PATH;"):
        snowflake_warehouse(settings)


def test_the_stage_is_the_transformed_bucket(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {
            "SNOWFLAKE_ACCOUNT": "example",
            "SNOWFLAKE_USER": "loader",
            "SNOWFLAKE_PRIVATE_KEY_PATH": str(tmp_path),
            "TRANSFORMED_BUCKET": "transformed",
        }
    )

    warehouse = snowflake_warehouse(settings, role="ACCOUNTADMIN")

    assert (warehouse.stage_root, warehouse.role) == ("s3://transformed", "ACCOUNTADMIN")
    assert warehouse.table_uri("coins") == "snowflake://example/CRYPTO_DB/TRANSFORMED/coins"


# Files that pipes have landed


@pytest.fixture
def snowpipe(build_snowflake: Build, lake: TransformedLake) -> SnowflakeWarehouse:
    warehouse = build_snowflake(
        lake.root, load_mode="snowpipe", landing_patience=0.5, landing_interval=0.1
    )
    run_pipes(warehouse, [])
    return warehouse


def landed(warehouse: Warehouse, table: str) -> int:
    (row,) = warehouse.query(f"SELECT COUNT(*) AS rows_landed FROM {table}_landing")
    count: int = row["rows_landed"]
    return count


def test_what_pipes_landed_is_swapped_in_and_cleared_without_a_copy(
    snowpipe: SnowflakeWarehouse, lake: TransformedLake, wire: Wire
) -> None:
    manifest = lake.six_hours(
        "2026-11-22-18:00",
        price("bitcoin", "2026-11-22T19:00"),
        snapshots=[snapshot("bitcoin", "2026-11-23T00:10")],
        written_at=datetime.now(UTC),
    )
    run_pipes(snowpipe, [manifest])
    wire.statements.clear()

    snowpipe.load(INTRA_DAY, [manifest], lake.root)

    assert not any("COPY INTO" in text for text in wire.statements)
    assert snowpipe.query("SELECT coin_id, price_at FROM intra_day_prices") == [
        {"coin_id": "bitcoin", "price_at": datetime(2026, 11, 22, 19, tzinfo=UTC)}
    ]
    assert snowpipe.query("SELECT observed_at FROM market_snapshots") == [
        {"observed_at": datetime(2026, 11, 23, 0, 10, tzinfo=UTC)}
    ]
    assert landed(snowpipe, "intra_day_prices") == landed(snowpipe, "market_snapshots") == 0


def test_only_the_files_of_the_manifest_are_taken_and_leftovers_of_their_windows_are_cleared(
    snowpipe: SnowflakeWarehouse, lake: TransformedLake
) -> None:
    now = datetime.now(UTC)
    days = ["2026-11-22", "2026-11-22", "2026-11-23"]
    killed, new, other = (
        lake.day(day, price("bitcoin", day, float(place)), written_at=now)
        for place, day in enumerate(days)
    )
    run_pipes(snowpipe, [killed, new, other])

    snowpipe.load(HISTORICAL, [new], lake.root)

    assert prices(snowpipe) == [1.0]
    assert landed(snowpipe, "historical_prices") == 1
    snowpipe.load(HISTORICAL, [other], lake.root)
    assert prices(snowpipe) == [1.0, 2.0]


def test_a_window_whose_landing_was_cleared_can_be_loaded_again(
    snowpipe: SnowflakeWarehouse, lake: TransformedLake
) -> None:
    manifest = lake.day(
        "2026-11-22", price("bitcoin", "2026-11-22", 1.0), written_at=datetime.now(UTC)
    )
    run_pipes(snowpipe, [manifest])

    for _ in range(2):
        snowpipe.load(HISTORICAL, [manifest], lake.root)

    assert prices(snowpipe) == [1.0]


@pytest.mark.parametrize("age", [timedelta(days=14), timedelta(days=12, hours=1)])
def test_files_older_than_snowflake_remembers_are_copied_and_not_waited_for(
    snowpipe: SnowflakeWarehouse, lake: TransformedLake, age: timedelta
) -> None:
    long_ago = datetime.now(UTC) - age

    snowpipe.load(
        HISTORICAL,
        [lake.day("2026-11-22", price("bitcoin", "2026-11-22", 1.0), written_at=long_ago)],
        lake.root,
    )

    assert prices(snowpipe) == [1.0]


def test_a_pipe_that_is_late_is_not_waited_for_without_end_and_the_next_try_succeeds(
    snowpipe: SnowflakeWarehouse, lake: TransformedLake
) -> None:
    days = ["2026-11-21", "2026-11-22"]
    manifests = [
        lake.day(day, price("bitcoin", day, 1.0), written_at=datetime.now(UTC)) for day in days
    ]
    run_pipes(snowpipe, manifests[:1])

    with pytest.raises(
        SnowpipeLateError,
        match=r"prices_pipe has landed 1 of 2 .*month=2026-11/prices-run-2.*",
    ):
        snowpipe.load(HISTORICAL, manifests, lake.root)

    assert prices(snowpipe) == []
    run_pipes(snowpipe, manifests[1:])
    snowpipe.load(HISTORICAL, manifests, lake.root)
    assert prices(snowpipe) == [1.0, 1.0]


def month(lake: TransformedLake, *days: str, value: float = 1.0) -> list[Manifest]:
    rows: dict[str, dict[Dataset, list[Row]]] = {
        day: {"prices": [price("bitcoin", day, value)]} for day in days
    }
    return lake.months(HISTORICAL, rows, written_at=datetime.now(UTC))


def test_of_a_landed_file_only_the_windows_asked_for_are_taken_and_all_of_it_is_cleared(
    snowpipe: SnowflakeWarehouse, lake: TransformedLake, wire: Wire
) -> None:
    first, second = month(lake, "2026-11-21", "2026-11-22")
    run_pipes(snowpipe, [first])

    snowpipe.load(HISTORICAL, [first], lake.root)

    assert prices(snowpipe) == [1.0]
    assert landed(snowpipe, "historical_prices") == 0
    wire.statements.clear()
    snowpipe.load(HISTORICAL, [second], lake.root)
    assert prices(snowpipe) == [1.0, 1.0]
    assert sum("COPY INTO" in text for text in wire.statements) == 1


def test_a_file_that_shares_a_window_with_the_load_is_cleared_as_a_whole(
    snowpipe: SnowflakeWarehouse, lake: TransformedLake
) -> None:
    newer = month(lake, "2026-11-21", "2026-11-22", value=2.0)
    older = month(lake, "2026-11-21")
    run_pipes(snowpipe, [newer[0], older[0]])

    snowpipe.load(HISTORICAL, older, lake.root)

    assert landed(snowpipe, "historical_prices") == 0
    snowpipe.load(HISTORICAL, newer, lake.root)
    assert prices(snowpipe) == [2.0, 2.0]


def test_a_file_that_another_run_wrote_is_not_waited_for(
    snowpipe: SnowflakeWarehouse, lake: TransformedLake
) -> None:
    # A run that learned only why a coin is missing writes a manifest, and no file.
    (manifest,) = month(lake, "2026-11-22")

    snowpipe.load(HISTORICAL, [replace(manifest, run_id="a later run")], lake.root)

    assert prices(snowpipe) == [1.0]


def test_a_load_that_is_refused_leaves_what_has_landed(
    snowpipe: SnowflakeWarehouse, lake: TransformedLake
) -> None:
    manifests = month(lake, "2026-11-22")
    run_pipes(snowpipe, manifests)

    def refuse(_: Session) -> None:
        raise ValueError("not this one")

    with pytest.raises(ValueError, match="not this one"):
        snowpipe.load(HISTORICAL, manifests, lake.root, refuse)

    assert prices(snowpipe) == []
    assert landed(snowpipe, "historical_prices") == 1


@pytest.mark.parametrize(
    "name", ["rejected/historical_data/month=2026-11/rejected-a.parquet", "part-0.parquet"]
)
def test_a_pipe_lands_files_of_the_lake_by_their_final_names_alone(name: str) -> None:
    patterns = re.findall(
        r"PATTERN = '(\S+)'",
        "".join(map(script_text, ("2_creating_pipe_for_historical.sql", PIPES_OF_INTRA_DAY))),
    )

    assert not any(re.fullmatch(pattern, name) for pattern in patterns)
    for final in (
        "historical_data/month=2026-11/prices-a-run.parquet",
        "market_snapshots/month=2026-11/snapshots-a-run.parquet",
    ):
        assert any(re.fullmatch(pattern, final) for pattern in patterns)


def today(lake: TransformedLake) -> Manifest:
    return lake.day("2026-11-22", price("bitcoin", "2026-11-22", 1.0), written_at=datetime.now(UTC))


@pytest.mark.parametrize("status", ["Load failed", "Partially loaded"])
def test_a_file_that_the_pipe_could_not_land_is_named_with_the_reason(
    snowpipe: SnowflakeWarehouse, lake: TransformedLake, status: str
) -> None:
    manifest = today(lake)
    run_pipes(snowpipe, [manifest], status=status)

    with pytest.raises(SnowflakeRefusedError, match=r"could not land .*parquet: it is not Parquet"):
        snowpipe.load(HISTORICAL, [manifest], lake.root)


def test_a_file_that_the_pipe_landed_at_its_second_try_is_taken(
    snowpipe: SnowflakeWarehouse, lake: TransformedLake
) -> None:
    manifest = today(lake)
    run_pipes(snowpipe, [manifest], status="Load failed")
    run_pipes(snowpipe, [manifest])

    snowpipe.load(HISTORICAL, [manifest], lake.root)

    assert prices(snowpipe) == [1.0]


def test_a_file_that_the_pipe_skipped_is_copied_and_not_waited_for(
    snowpipe: SnowflakeWarehouse, lake: TransformedLake, wire: Wire
) -> None:
    manifest = today(lake)
    run_pipes(snowpipe, [manifest], status="Load skipped")
    wire.statements.clear()

    snowpipe.load(HISTORICAL, [manifest], lake.root)

    assert prices(snowpipe) == [1.0]
    assert sum("COPY INTO" in text for text in wire.statements) == 1


@pytest.mark.parametrize("status", ["Load in progress", "Some new word"])
def test_a_file_on_its_way_is_waited_for_and_its_status_is_told(
    snowpipe: SnowflakeWarehouse, lake: TransformedLake, status: str
) -> None:
    manifest = today(lake)
    run_pipes(snowpipe, [manifest], status=status)

    with pytest.raises(SnowpipeLateError, match=f"in COPY_HISTORY as: {status.lower()}"):
        snowpipe.load(HISTORICAL, [manifest], lake.root)

    run_pipes(snowpipe, [manifest])
    snowpipe.load(HISTORICAL, [manifest], lake.root)
    assert prices(snowpipe) == [1.0]


def test_nothing_asks_for_a_history_at_the_edge_of_what_snowflake_remembers() -> None:
    """Fourteen days: Snowflake's pages of COPY_HISTORY and PIPE_USAGE_HISTORY."""
    texts = map(script_text, ("snowflake_statements.sql", "4_inspection.sql"))
    starts = re.findall(r"START(?:_TIME)? => DATEADD\('day', -(\d+),", "".join(texts))

    assert set(starts) == {"13"}
    assert len(starts) == 6
