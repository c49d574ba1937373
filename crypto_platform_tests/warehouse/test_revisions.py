"""Values that a load changed: what was there before is kept, and can be asked for."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream, Window
from crypto_platform.lake.manifests import Manifest
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.load import LoadMismatchError
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform_tests.transformed_lake import (
    FETCHED_AT,
    Row,
    TransformedLake,
    absence,
    price,
)

LATER = FETCHED_AT + timedelta(hours=6)
ALWAYS = Window(start=datetime(2000, 1, 1, tzinfo=UTC), end=datetime(2100, 1, 1, tzinfo=UTC))


def revisions(warehouse: Warehouse) -> list[Row]:
    return warehouse.query("SELECT * FROM price_revisions ORDER BY revised_at, coin_id, price_at")


def of_day(lake: TransformedLake, value: float, **others: Any) -> Manifest:
    return lake.day("2026-11-22", price("bitcoin", "2026-11-22", value, **others))


def test_a_price_that_changes_leaves_the_old_and_the_new_one_with_both_fetch_times(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    first = warehouse.load(HISTORICAL, [of_day(lake, 1.0)], lake.root)
    second = warehouse.load(
        HISTORICAL,
        [of_day(lake, 2.0, market_cap=None, granularity="hourly", fetched_at=LATER)],
        lake.root,
    )

    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    assert revisions(warehouse) == [
        {
            "stream": "historical",
            "coin_id": "bitcoin",
            "vs_currency": "usd",
            "price_at": midnight,
            "window_start": midnight,
            "known_from": first.loaded_at,
            "revised_at": second.loaded_at,
            "old_price": 1.0,
            "old_market_cap": 2.5,
            "old_total_volume": 3.5,
            "old_granularity": "daily",
            "old_fetched_at": FETCHED_AT,
            "new_price": 2.0,
            "new_market_cap": None,
            "new_total_volume": 3.5,
            "new_granularity": "hourly",
            "new_fetched_at": LATER,
            "source": "simulated",
        }
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"value": 1.5000000000000002},
        {"market_cap": None},
        {"market_cap": 0.0},
        {"total_volume": 4.0},
        {"granularity": "hourly"},
    ],
)
def test_each_value_counts_and_so_does_null_and_granularity(
    warehouse: Warehouse, lake: TransformedLake, changed: Mapping[str, Any]
) -> None:
    warehouse.load(HISTORICAL, [of_day(lake, 1.5)], lake.root)

    loaded = warehouse.load(HISTORICAL, [of_day(lake, **{"value": 1.5, **changed})], lake.root)

    assert loaded.revisions.by_window == {datetime(2026, 11, 22, tzinfo=UTC): 1}


@pytest.mark.parametrize("same", [{}, {"market_cap": None}, {"market_cap": float("nan")}])
def test_the_same_values_fetched_again_are_no_revision(
    warehouse: Warehouse, lake: TransformedLake, same: Mapping[str, Any]
) -> None:
    first = warehouse.load(HISTORICAL, [of_day(lake, 1.0, **same)], lake.root)

    again = warehouse.load(HISTORICAL, [of_day(lake, 1.0, **same, fetched_at=LATER)], lake.root)

    assert (revisions(warehouse), again.revisions.total) == ([], 0)
    assert warehouse.query("SELECT fetched_at, loaded_at FROM historical_prices") == [
        {"fetched_at": LATER, "loaded_at": first.loaded_at}
    ]


def test_points_that_finer_ones_replace_are_kept_as_gone(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    def window(*stamps: str, granularity: str) -> Manifest:
        return lake.six_hours(
            "2026-11-22-18:00",
            *(price("bitcoin", f"2026-11-22T{stamp}", granularity=granularity) for stamp in stamps),
        )

    warehouse.load(INTRA_DAY, [window("18:00:07", "19:00:09", granularity="hourly")], lake.root)
    finer = window("18:01", "18:06", "19:00:09", granularity="5-minute")
    loaded = warehouse.load(INTRA_DAY, [finer], lake.root)

    found = [(f"{row['price_at']:%H:%M:%S}", row["new_price"]) for row in revisions(warehouse)]
    assert found == [("18:00:07", None), ("19:00:09", 1.5)]
    assert loaded.revisions.by_window == {datetime(2026, 11, 22, 18, tzinfo=UTC): 2}


def test_a_window_that_is_emptied_keeps_what_it_had(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    warehouse.load(HISTORICAL, [of_day(lake, 1.0)], lake.root)

    gone = lake.day("2026-11-22", absent=[absence("bitcoin", "quarantined")])
    warehouse.load(HISTORICAL, [gone], lake.root)

    (row,) = revisions(warehouse)
    assert (row["old_price"], row["new_price"], row["new_fetched_at"]) == (1.0, None, None)


def test_new_prices_in_a_window_that_stands_are_no_revision(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    warehouse.load(HISTORICAL, [of_day(lake, 1.0)], lake.root)

    richer = lake.day(
        "2026-11-22", price("bitcoin", "2026-11-22", 1.0), price("ethereum", "2026-11-22")
    )

    assert warehouse.load(HISTORICAL, [richer], lake.root).revisions.total == 0


def test_a_load_tells_what_it_revised_and_not_what_loads_before_it_did(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    days = ["2026-11-20", "2026-11-21", "2026-11-22"]

    def load(day: str, **values: float) -> Any:
        rows = [price(coin, day, value) for coin, value in values.items()]
        return warehouse.load(HISTORICAL, [lake.day(day, *rows)], lake.root).revisions

    for day in days:
        load(day, bitcoin=1.0, ethereum=1.0)
    load(days[0], bitcoin=2.0, ethereum=1.0)

    revised = load(days[1], bitcoin=3.0, ethereum=4.0)

    assert revised.by_window == {datetime(2026, 11, 21, tzinfo=UTC): 2}
    assert [(row["coin_id"], row["old_price"], row["new_price"]) for row in revised.examples] == [
        ("bitcoin", 1.0, 3.0),
        ("ethereum", 1.0, 4.0),
    ]


def test_a_load_that_is_refused_leaves_no_revision(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    warehouse.load(HISTORICAL, [of_day(lake, 1.0)], lake.root)
    short = lake.day("2026-11-22", price("bitcoin", "2026-11-22", 2.0), points=2)

    with pytest.raises(LoadMismatchError):
        warehouse.load(HISTORICAL, [short], lake.root)

    assert revisions(warehouse) == []


# Asking what was known


WINDOWS = ("2026-11-22-06:00", "2026-11-22-12:00")
COINS = ("bitcoin", "ethereum")
VALUES = st.sampled_from([None, 0.0, 1.0, 2.0])
# A window's truth: by coin and hour, price, cap and granularity; what is not there is absent.
TRUTHS = st.dictionaries(
    st.tuples(st.sampled_from(COINS), st.integers(0, 2)),
    st.tuples(st.sampled_from([1.0, 2.0]), VALUES, st.sampled_from(["hourly", "5-minute"])),
    max_size=4,
)
LOADS = st.lists(
    st.dictionaries(st.sampled_from(WINDOWS), TRUTHS, min_size=1), min_size=1, max_size=5
)

Truth = Mapping[tuple[str, int], tuple[float, float | None, str]]


def manifest_of(lake: TransformedLake, key: str, truth: Truth) -> Manifest:
    start = INTRA_DAY.window(key).start
    rows = [
        price(
            coin,
            (start + timedelta(hours=hour)).isoformat()[:-6],
            value,
            market_cap=cap,
            granularity=granularity,
        )
        for (coin, hour), (value, cap, granularity) in truth.items()
    ]
    return lake.six_hours(key, *rows)


def known(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    names = ("coin_id", "price_at", "price", "market_cap", "total_volume", "granularity")
    return sorted(tuple(repr(row[name]) for name in names) for row in rows)


def existing(warehouse: Warehouse, stream: Stream) -> list[tuple[Any, ...]]:
    return known(warehouse.query(f"SELECT * FROM {stream.table}"))


@settings(max_examples=25)
@given(loads=LOADS)
def test_what_was_known_at_a_moment_is_what_the_table_held_then(
    tmp_path_factory: pytest.TempPathFactory, loads: list[dict[str, Truth]]
) -> None:
    folder = tmp_path_factory.mktemp("known")
    lake = TransformedLake(f"{folder}/transformed")
    warehouse = DuckDBWarehouse(path=f"{folder}/crypto_db.duckdb")
    held: dict[datetime, list[tuple[Any, ...]]] = {datetime(2026, 1, 1, tzinfo=UTC): []}

    for load in loads:
        manifests = [manifest_of(lake, key, truth) for key, truth in load.items()]
        result = warehouse.load(INTRA_DAY, manifests, lake.root)
        held[result.loaded_at] = existing(warehouse, INTRA_DAY)

    responses = {
        moment: known(warehouse.prices_as_known_at(INTRA_DAY, moment, ALWAYS)) for moment in held
    }
    assert responses == held


def test_what_was_known_can_be_asked_of_every_engine(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    loads = [
        warehouse.load(HISTORICAL, [of_day(lake, value)], lake.root) for value in (1.0, 1.0, 2.0)
    ]

    responses = [
        warehouse.prices_as_known_at(HISTORICAL, moment, ALWAYS)
        for moment in (FETCHED_AT, *(load.loaded_at for load in loads))
    ]

    assert [[(row["price"], row["known_from"]) for row in rows] for rows in responses] == [
        [],
        [(1.0, loads[0].loaded_at)],
        [(1.0, loads[0].loaded_at)],
        [(2.0, loads[2].loaded_at)],
    ]


def test_what_was_known_is_told_of_the_span_that_is_asked_for(
    duckdb_warehouse: DuckDBWarehouse, lake: TransformedLake
) -> None:
    days = ["2026-11-20", "2026-11-21", "2026-11-22"]
    for value in (1.0, 2.0):
        manifests = [lake.day(day, price("bitcoin", day, value)) for day in days]
        loaded = duckdb_warehouse.load(HISTORICAL, manifests, lake.root)
    before = loaded.loaded_at - timedelta(microseconds=1)

    rows = duckdb_warehouse.prices_as_known_at(HISTORICAL, before, HISTORICAL.window(days[1]))

    assert [(f"{row['price_at']:%d}", row["price"]) for row in rows] == [("21", 1.0)]
