"""What the warehouse is told to expect, and how far its grid of windows reaches."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, WindowBatch
from crypto_platform.ingestion.tracked_coins import DOCUMENT, TrackedCoin, TrackedCoins
from crypto_platform.lake.layers import Lake
from crypto_platform.stages.load import load_windows
from crypto_platform.warehouse.completeness import completeness_of
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.expected_windows import asked_ledger, sync_expected_windows
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform_tests.transformed_lake import TransformedLake, price
from crypto_platform_tests.warehouse_rows import ledger_row, put, put_coin

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
COINS = TrackedCoins(
    coins=tuple(
        TrackedCoin(coin_id=coin, first_tracked_at=TODAY) for coin in ("bitcoin", "ethereum")
    )
)


def day(ago: int) -> str:
    return f"{TODAY - timedelta(days=ago):%Y-%m-%d}"


@pytest.fixture
def lake(tmp_path: Path) -> TransformedLake:
    return TransformedLake(str(tmp_path / "transformed"))


@pytest.fixture(params=["duckdb", pytest.param("snowflake", marks=pytest.mark.integration)])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, lake: TransformedLake) -> Warehouse:
    if request.param == "duckdb":
        return DuckDBWarehouse(path=str(tmp_path / "crypto_db.duckdb"))
    build: Callable[[str], Warehouse] = request.getfixturevalue("build_snowflake")
    return build(lake.root)


def test_a_load_says_itself_what_is_expected(
    warehouse: Warehouse, lake: TransformedLake, tmp_path: Path
) -> None:
    both = Lake(raw_root=str(tmp_path / "raw"), transformed_root=lake.root)
    both.raw.put(DOCUMENT, COINS.model_dump_json().encode())
    manifest = lake.day(day(2), price("bitcoin", day(2)))
    both.transformed.commit(HISTORICAL, [manifest])
    settings = Settings.from_environment({"HISTORY_START": day(3)})

    load_windows(WindowBatch(HISTORICAL, [manifest.window]), both, warehouse, settings)

    rows = warehouse.query(
        "SELECT coin_id, window_start, status FROM coin_windows ORDER BY coin_id, window_start"
    )
    assert [(row["coin_id"], f"{row['window_start']:%F}", row["status"]) for row in rows] == [
        ("bitcoin", day(2), "present"),
        ("bitcoin", day(1), "pending"),
        ("ethereum", day(2), "pending"),
        ("ethereum", day(1), "pending"),
    ]
    months = warehouse.query("SELECT SUM(expected) AS expected FROM completeness")
    assert months == [{"expected": 4}]


def test_a_window_that_the_schedule_failed_to_load_is_expected_though_later_ones_were_loaded(
    lake: TransformedLake, tmp_path: Path
) -> None:
    both = Lake(raw_root=str(tmp_path / "raw"), transformed_root=lake.root)
    both.raw.put(DOCUMENT, COINS.model_dump_json().encode())
    manifest = lake.day(day(2), price("bitcoin", day(2)))
    both.transformed.commit(HISTORICAL, [manifest])
    settings = Settings.from_environment({"CRYPTO_HOME": str(tmp_path)})
    warehouse = DuckDBWarehouse(path=str(tmp_path / "crypto_db.duckdb"))
    load_windows(WindowBatch(HISTORICAL, [manifest.window]), both, warehouse, settings)

    with dg.DagsterInstance.ephemeral() as instance:
        tags = {"dagster/schedule_name": "historical_schedule", "dagster/partition": day(4)}
        instance.add_run(dg.DagsterRun("historical", status=dg.DagsterRunStatus.FAILURE, tags=tags))
        with asked_ledger(both, warehouse, settings, [HISTORICAL], instance) as ledger:
            (found,) = completeness_of(ledger, [HISTORICAL], TODAY + timedelta(hours=3))

    assert found.sentence == f"12.50 % of 8 coin-windows since {day(4)}"
    assert found.lacking == 7


def test_what_is_expected_of_one_stream_leaves_the_other_as_it_is(warehouse: Warehouse) -> None:
    settings = Settings.from_environment({})
    sync_expected_windows(warehouse, settings, [INTRA_DAY], COINS)
    sync_expected_windows(warehouse, settings, [HISTORICAL], COINS)

    streams = warehouse.query("SELECT stream FROM streams ORDER BY stream")
    assert [row["stream"] for row in streams] == ["historical", "intra_day"]


def test_what_is_expected_is_written_only_where_it_changed(warehouse: Warehouse) -> None:
    settings = Settings.from_environment({})
    sync_expected_windows(warehouse, settings, [HISTORICAL], COINS)

    # Whoever would write now, would fail.
    sync_expected_windows(ReadOnly(warehouse), settings, [HISTORICAL], COINS)  # type: ignore[arg-type]


class ReadOnly:
    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def session(self, *, read_only: bool) -> Any:
        assert read_only
        return self._warehouse.session(read_only=True)


def test_windows_do_not_end_where_a_generator_of_rows_does(warehouse: Warehouse) -> None:
    # 150,000 windows of five minutes, more than twice what one generator gives.
    first = TODAY - timedelta(minutes=5 * 150_000)
    put_coin(warehouse, "bitcoin", symbol="btc", name="Bitcoin")
    stream = {"stream": "quick", "vs_currency": "usd", "first_window": first}
    put(warehouse, "streams", [{**stream, "window_minutes": 5}])
    put(warehouse, "ingestion_ledger", [ledger_row("bitcoin", first, "present", stream="quick")])

    (found,) = warehouse.query(
        "SELECT COUNT(DISTINCT window_number) AS windows, MAX(window_number) AS last, "
        "MIN(window_start) AS first, MAX(window_start) AS newest FROM coin_windows "
        "WHERE window_start < ?",
        [TODAY],
    )

    assert found == {
        "windows": 150_000,
        "last": 149_999,
        "first": first,
        "newest": TODAY - timedelta(minutes=5),
    }
