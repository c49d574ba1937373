"""What the ledger's views and statements say, on both engines."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL
from crypto_platform.healing.ledger import cells
from crypto_platform.ingestion.tracked_coins import TrackedCoin, TrackedCoins
from crypto_platform.warehouse.completeness import completeness_of
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.expected_windows import sync_expected_windows
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.sql import ledger_statement
from crypto_platform_tests.transformed_lake import (
    FETCHED_AT,
    TransformedLake,
    absence,
    price,
)

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
# When the day before is due, and nothing later.
NOW = TODAY + timedelta(hours=3)
COINS = ("bitcoin", "ethereum")


def day(ago: int) -> str:
    return f"{TODAY - timedelta(days=ago):%Y-%m-%d}"


def tracked(*coins: str, untracked: str = "") -> TrackedCoins:
    return TrackedCoins(
        coins=tuple(
            TrackedCoin(coin_id=coin, first_tracked_at=TODAY, tracked=coin != untracked)
            for coin in coins
        )
    )


@pytest.fixture
def lake(tmp_path: Path) -> TransformedLake:
    return TransformedLake(str(tmp_path / "transformed"))


@pytest.fixture
def warehouse(lake: TransformedLake, tmp_path: Path) -> Warehouse:
    return filled(DuckDBWarehouse(path=str(tmp_path / "crypto_db.duckdb")), lake)


def filled(warehouse: Warehouse, lake: TransformedLake) -> Warehouse:
    """Five closed days: bitcoin has the first three but for one, ethereum failed in the first."""
    sync_expected_windows(warehouse, settings(), [HISTORICAL], tracked(*COINS))
    manifests = [
        lake.day(day(5), price("bitcoin", day(5)), absent=[absence("ethereum", "failed")]),
        lake.day(day(4), absent=[absence("bitcoin"), absence("ethereum", "failed")]),
        lake.day(day(3), price("bitcoin", day(3)), price("ethereum", day(3))),
    ]
    warehouse.load(HISTORICAL, manifests, lake.root)
    return warehouse


@pytest.mark.integration
def test_snowflake_says_what_duckdb_says(
    warehouse: Warehouse, lake: TransformedLake, build_snowflake: Callable[[str], Warehouse]
) -> None:
    snowflake = filled(build_snowflake(lake.root), lake)

    def said(engine: Warehouse) -> list[Any]:
        bounds = [TODAY - timedelta(days=ago) for ago in (1, 4, 4)]
        return [
            completeness_of(engine, [HISTORICAL], NOW),
            cells(engine, HISTORICAL, TODAY, NOW),
            engine.query(ledger_statement("gaps"), ["historical", *bounds]),
            engine.query(ledger_statement("asked_windows"), ["historical"]),
            engine.query(ledger_statement("known_streams")),
            engine.query("SELECT * FROM completeness ORDER BY coin_id, month"),
        ]

    assert said(snowflake) == said(warehouse)


def settings() -> Settings:
    return Settings.from_environment({"HISTORY_START": day(5)})


def gaps(warehouse: Warehouse, *, last: int = 1, young: int = 0) -> list[Any]:
    bounds = [TODAY - timedelta(days=ago) for ago in (last, young, young)]
    rows = warehouse.query(ledger_statement("gaps"), [HISTORICAL.name, *bounds])
    return [
        (row["coin_id"], row["status"], f"{row['first_window']:%F}", f"{row['last_window']:%F}")
        for row in rows
    ]


def test_what_no_load_was_about_is_pending(warehouse: Warehouse) -> None:
    (found,) = completeness_of(warehouse, [HISTORICAL], NOW)

    assert found.statuses == {
        "present": 3,
        "missing_at_source": 1,
        "out_of_plan": 0,
        "quarantined": 0,
        "failed": 2,
        "pending": 4,
    }


def test_completeness_counts_each_coins_windows_by_month(warehouse: Warehouse) -> None:
    rows = warehouse.query(
        "SELECT coin_id, SUM(expected) AS expected, SUM(present) AS present, "
        "SUM(missing_at_source) AS missing, SUM(failed) AS failed, SUM(pending) AS pending "
        "FROM completeness WHERE stream = 'historical' GROUP BY coin_id ORDER BY coin_id"
    )
    ratios = warehouse.query("SELECT expected, present, ratio FROM completeness")

    assert [tuple(map(int_or_text, row.values())) for row in rows] == [
        ("bitcoin", 5, 2, 1, 0, 2),
        ("ethereum", 5, 1, 0, 2, 2),
    ]
    assert all(row["ratio"] == row["present"] / row["expected"] for row in ratios)


def int_or_text(value: Any) -> Any:
    return value if isinstance(value, str) else int(value)


def test_the_day_that_is_not_over_is_not_expected(warehouse: Warehouse) -> None:
    newest = warehouse.query("SELECT MAX(window_start) AS newest FROM coin_windows")

    assert newest == [{"newest": TODAY - timedelta(days=1)}]


def test_neighbouring_windows_that_lack_for_the_same_reason_are_one_row(
    warehouse: Warehouse,
) -> None:
    assert gaps(warehouse) == [
        ("bitcoin", "pending", day(2), day(1)),
        ("ethereum", "failed", day(5), day(4)),
        ("ethereum", "pending", day(2), day(1)),
    ]


def test_only_a_young_window_that_the_source_lacks_is_a_gap(warehouse: Warehouse) -> None:
    missing = ("bitcoin", "missing_at_source", day(4), day(4))

    assert missing in gaps(warehouse, young=4)
    assert missing not in gaps(warehouse, young=3)


def test_a_coin_that_the_source_has_long_had_nothing_of_has_no_gap(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    lacking = [lake.day(day(ago), absent=[absence("bitcoin")]) for ago in (3, 2, 1)]
    warehouse.load(HISTORICAL, lacking, lake.root)

    assert ("bitcoin", "missing_at_source", day(4), day(1)) in gaps(warehouse, young=5)
    assert [row for row in gaps(warehouse, young=3) if row[0] == "bitcoin"] == []


def test_windows_after_the_last_one_asked_about_are_left_out(warehouse: Warehouse) -> None:
    assert gaps(warehouse, last=2) == [
        ("bitcoin", "pending", day(2), day(2)),
        ("ethereum", "failed", day(5), day(4)),
        ("ethereum", "pending", day(2), day(2)),
    ]


def test_a_coin_that_is_taken_out_is_not_expected_and_a_new_one_is(warehouse: Warehouse) -> None:
    sync_expected_windows(
        warehouse,
        settings(),
        [HISTORICAL],
        tracked("bitcoin", "ethereum", "tether", untracked="ethereum"),
    )

    assert gaps(warehouse) == [
        ("bitcoin", "pending", day(2), day(1)),
        ("tether", "pending", day(5), day(1)),
    ]


def test_the_heat_maps_cells_count_windows_by_status(warehouse: Warehouse) -> None:
    counted: dict[str, int] = {}
    for row in cells(warehouse, HISTORICAL, TODAY, NOW):
        counted[row["status"]] = counted.get(row["status"], 0) + row["windows"]

    assert counted == {"present": 3, "missing_at_source": 1, "failed": 2, "pending": 4}
    assert all(row["cell"].day == 1 for row in cells(warehouse, HISTORICAL, TODAY, NOW))


def test_a_gap_tells_since_when_the_coin_has_a_later_price(warehouse: Warehouse) -> None:
    rows = warehouse.query(ledger_statement("gaps"), ["historical", TODAY, TODAY, TODAY])

    assert [(row["coin_id"], row["status"], row["alive_since"]) for row in rows] == [
        ("bitcoin", "pending", None),
        ("ethereum", "failed", FETCHED_AT),
        ("ethereum", "pending", None),
    ]


def test_a_history_that_nobody_asked_for_is_neither_expected_nor_a_gap(
    warehouse: Warehouse,
) -> None:
    whole = gaps(warehouse)
    earlier = Settings.from_environment({"HISTORY_START": day(500)})
    sync_expected_windows(warehouse, earlier, [HISTORICAL], tracked(*COINS))

    (oldest,) = warehouse.query("SELECT MIN(window_start) AS oldest FROM coin_windows")

    assert oldest == {"oldest": TODAY - timedelta(days=5)}
    assert gaps(warehouse) == whole
