"""The warehouse's promises, on DuckDB, and where SQL decides, also over Snowflake's connector."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from multiprocessing.synchronize import Event
from pathlib import Path
from textwrap import dedent
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_platform.core.errors import MixedSourcesError
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Window
from crypto_platform.ingestion.tracked_coins import TrackedCoin
from crypto_platform.lake.layers import CorruptFileError
from crypto_platform.lake.manifests import Manifest
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.load import LoadMismatchError, merge_neighbours
from crypto_platform.warehouse.resource import Warehouse, WarehouseBusyError
from crypto_platform.warehouse.session import Session
from crypto_platform.warehouse.sql import statement
from crypto_platform_tests.transformed_lake import (
    FETCHED_AT,
    Row,
    TransformedLake,
    absence,
    price,
    snapshot,
)

TABLES = {
    "historical_prices": "price_at, coin_id, vs_currency",
    "intra_day_prices": "price_at, coin_id, vs_currency",
    "market_snapshots": "observed_at, coin_id, vs_currency",
    "coins": "coin_id",
    "ingestion_ledger": "stream, window_start, coin_id, vs_currency",
}

# A process of its own imports for a second or two before it does anything.
PATIENCE = 120


def contents(warehouse: Warehouse) -> dict[str, list[Row]]:
    """All that stands in the tables, except when it was loaded."""
    with warehouse.session(read_only=True) as session:
        tables = {
            table: session.execute(f"SELECT * FROM {table} ORDER BY {key}")
            for table, key in TABLES.items()
        }
    return {
        table: [{name: row[name] for name in row if name != "loaded_at"} for row in rows]
        for table, rows in tables.items()
    }


def loaded(warehouse: Warehouse, lake: TransformedLake, *manifests: Manifest) -> Warehouse:
    stream = HISTORICAL if manifests[0].stream == HISTORICAL.name else INTRA_DAY
    warehouse.load(stream, manifests, lake.root)
    return warehouse


def prices_of(warehouse: Warehouse, table: str = "historical_prices") -> list[tuple[Any, ...]]:
    rows = contents(warehouse)[table]
    return [(row["coin_id"], row["price_at"].isoformat(), row["price"]) for row in rows]


@dataclass
class Interceptor:
    """A session in which something happens instead of, or after, one of the statements."""

    session: Session
    name: str
    skip: bool
    act: Callable[[], None]
    alive_after: bool
    alive: bool = True

    def __post_init__(self) -> None:
        self.stage_files = self.session.stage_files
        self.stage_rows = self.session.stage_rows

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        if not self.alive:
            raise OSError("nobody hears this")
        if sql != statement(self.name, HISTORICAL.table):
            return self.session.execute(sql, params)
        rows = [] if self.skip else self.session.execute(sql, params)
        self.alive = self.alive_after
        self.act()
        return rows


def intercepted(
    path: str,
    name: str,
    *,
    skip: bool = False,
    act: Callable[[], None] = lambda: None,
    alive_after: bool = True,
) -> DuckDBWarehouse:
    class InterceptedWarehouse(DuckDBWarehouse):
        @contextmanager
        def session(self, *, read_only: bool) -> Iterator[Session]:
            with super().session(read_only=read_only) as session:
                yield Interceptor(session, name, skip, act, alive_after)

    return InterceptedWarehouse(path=path)


# What a load puts where


def test_a_price_stands_in_the_table_as_it_was_in_the_file(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    stamped_at = datetime(2026, 11, 22, 0, 5, 18, 123_000, tzinfo=UTC)
    row = price("bitcoin", "2026-11-22", market_cap=None, total_volume=0.0, stamped_at=stamped_at)
    manifest = lake.day("2026-11-22", row)

    result = warehouse.load(HISTORICAL, [manifest], lake.root)

    assert warehouse.query("SELECT * FROM historical_prices") == [
        {
            "coin_id": "bitcoin",
            "vs_currency": "usd",
            "price_at": datetime(2026, 11, 22, tzinfo=UTC),
            "stamped_at": stamped_at,
            "price": 1.5,
            "market_cap": None,
            "total_volume": 0.0,
            "granularity": "daily",
            "fetched_at": FETCHED_AT,
            "loaded_at": result.loaded_at,
            "source": "simulated",
        }
    ]


def test_numbers_are_the_files_to_the_last_bit(warehouse: Warehouse, lake: TransformedLake) -> None:
    numbers = [0.0, 5e-324, 1.1e-05, 0.1 + 0.2, 96_000.123456789, 1.7976931348623157e308]
    rows = [price(f"coin-{place}", "2026-11-22", value) for place, value in enumerate(numbers)]

    loaded(warehouse, lake, lake.day("2026-11-22", *rows))

    assert [value for _, _, value in prices_of(warehouse)] == numbers


def test_a_load_says_what_it_loaded(warehouse: Warehouse, lake: TransformedLake) -> None:
    manifests = [
        lake.day(
            "2026-11-21", price("bitcoin", "2026-11-21", 1.0), price("ethereum", "2026-11-21", 2.0)
        ),
        lake.day("2026-11-22", price("bitcoin", "2026-11-22"), absent=[absence("ethereum")]),
    ]

    result = warehouse.load(HISTORICAL, manifests, lake.root)

    assert (result.prices, result.coins, result.snapshots) == (3, 2, 0)
    assert result.ledger == {"present": 3, "missing_at_source": 1}
    preview = result.previews[datetime(2026, 11, 21, tzinfo=UTC)]
    assert [(row["coin_id"], row["price"]) for row in preview] == [
        ("bitcoin", 1.0),
        ("ethereum", 2.0),
    ]


def test_the_ledger_has_a_row_a_coin_a_window_with_the_reason_of_every_gap(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    manifest = lake.six_hours(
        "2026-11-22-18:00",
        price("bitcoin", "2026-11-22T18:00:01"),
        price("bitcoin", "2026-11-22T19:00:01", run_id="run-of-bitcoin"),
        absent=[absence("ethereum", "out_of_plan")],
    )

    loaded(warehouse, lake, manifest)

    common = {
        "stream": "intra_day",
        "vs_currency": "usd",
        "window_start": datetime(2026, 11, 22, 18, tzinfo=UTC),
        "updated_at": FETCHED_AT,
    }
    assert contents(warehouse)["ingestion_ledger"] == [
        {
            **common,
            "coin_id": "bitcoin",
            "status": "present",
            "reason": None,
            "points": 2,
            "run_id": "run-of-bitcoin",
        },
        {
            **common,
            "coin_id": "ethereum",
            "status": "out_of_plan",
            "reason": "the price API has no price of ethereum",
            "points": 0,
            "run_id": "run-that-missed",
        },
    ]


def test_loading_again_changes_nothing(warehouse: Warehouse, lake: TransformedLake) -> None:
    manifest = lake.six_hours(
        "2026-11-22-18:00",
        price("bitcoin", "2026-11-22T19:00"),
        snapshots=[snapshot("bitcoin", "2026-11-23T00:10")],
        absent=[absence("ethereum")],
    )
    first = warehouse.load(INTRA_DAY, [manifest], lake.root)
    before = contents(warehouse)

    second = warehouse.load(INTRA_DAY, [manifest], lake.root)

    assert contents(warehouse) == before
    assert warehouse.query("SELECT loaded_at FROM prices") == [{"loaded_at": first.loaded_at}]
    assert second.loaded_at > first.loaded_at


def test_a_load_replaces_its_windows_and_leaves_the_others(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    days = ["2026-11-20", "2026-11-21", "2026-11-22"]
    old = [lake.day(day, price("bitcoin", day, 1.0), price("dead", day, 1.0)) for day in days]
    loaded(warehouse, lake, *old)

    loaded(warehouse, lake, lake.day(days[1], price("bitcoin", days[1], 2.0)))

    assert prices_of(warehouse) == [
        ("bitcoin", "2026-11-20T00:00:00+00:00", 1.0),
        ("dead", "2026-11-20T00:00:00+00:00", 1.0),
        ("bitcoin", "2026-11-21T00:00:00+00:00", 2.0),
        ("bitcoin", "2026-11-22T00:00:00+00:00", 1.0),
        ("dead", "2026-11-22T00:00:00+00:00", 1.0),
    ]
    assert len(contents(warehouse)["ingestion_ledger"]) == 5


def test_a_window_that_lost_all_its_prices_is_empty_and_says_why(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    loaded(warehouse, lake, lake.day("2026-11-22", price("bitcoin", "2026-11-22")))

    loaded(warehouse, lake, lake.day("2026-11-22", absent=[absence("bitcoin", "quarantined")]))

    assert prices_of(warehouse) == []
    (row,) = contents(warehouse)["ingestion_ledger"]
    assert row["status"] == "quarantined"


def test_a_window_may_hold_a_coin_in_two_currencies(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    rows = [price("bitcoin", "2026-11-22", vs_currency=one) for one in ("eur", "usd")]

    loaded(warehouse, lake, lake.day("2026-11-22", *rows))

    assert [row["vs_currency"] for row in contents(warehouse)["historical_prices"]] == [
        "eur",
        "usd",
    ]


def test_a_load_of_history_leaves_the_snapshots_of_the_other_stream_alone(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    midnight = lake.six_hours(
        "2026-11-22-00:00",
        price("bitcoin", "2026-11-22T01:00"),
        snapshots=[snapshot("bitcoin", "2026-11-22T06:10")],
    )
    loaded(warehouse, lake, midnight)

    loaded(warehouse, lake, lake.day("2026-11-22", price("bitcoin", "2026-11-22")))

    assert len(contents(warehouse)["market_snapshots"]) == 1


def test_a_snapshot_is_replaced_with_its_window(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    for value in (1.0, 2.0):
        manifest = lake.six_hours(
            "2026-11-22-18:00",
            price("bitcoin", "2026-11-22T19:00"),
            snapshots=[snapshot("bitcoin", "2026-11-23T00:10", value)],
        )
        loaded(warehouse, lake, manifest)

    (row,) = contents(warehouse)["market_snapshots"]
    assert (row["rank"], row["current_price"], row["max_supply"]) == (1, 2.0, None)
    assert row["observed_at"] == datetime(2026, 11, 23, 0, 10, tzinfo=UTC)
    assert row["window_start"] == datetime(2026, 11, 22, 18, tzinfo=UTC)


def test_text_from_outside_stays_text(warehouse: Warehouse, lake: TransformedLake) -> None:
    coin_id = "x'; DROP TABLE coins; -- ../[_]?%"
    manifest = lake.day(
        "2026-11-22", price(coin_id, "2026-11-22"), absent=[absence(coin_id + coin_id)]
    )

    loaded(warehouse, lake, manifest)

    assert warehouse.query("SELECT coin_id FROM prices WHERE coin_id = ?", [coin_id]) == [
        {"coin_id": coin_id}
    ]


def test_a_lake_and_a_warehouse_may_stand_in_any_folder(tmp_path: Path) -> None:
    odd = tmp_path / "a folder [with] *odd* 'characters'"
    lake = TransformedLake(f"{odd}/transformed")
    warehouse = DuckDBWarehouse(path=f"{odd}/crypto_db.duckdb")

    loaded(warehouse, lake, lake.day("2026-11-22", price("bitcoin", "2026-11-22")))

    assert len(prices_of(warehouse)) == 1


def test_a_lake_may_be_named_by_a_file_address(
    duckdb_warehouse: DuckDBWarehouse, lake: TransformedLake
) -> None:
    manifest = lake.day("2026-11-22", price("bitcoin", "2026-11-22"))

    duckdb_warehouse.load(HISTORICAL, [manifest], f"file://{lake.root}")

    assert len(prices_of(duckdb_warehouse)) == 1


# What a load refuses


def test_fewer_rows_than_the_manifest_says_are_refused(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    loaded(warehouse, lake, lake.day("2026-11-22", price("bitcoin", "2026-11-22", 1.0)))
    before = contents(warehouse)
    short = lake.day("2026-11-22", price("bitcoin", "2026-11-22", 2.0), points=2)

    with pytest.raises(
        LoadMismatchError, match=r"window 2026-11-22: the manifest says 2 prices, its files hold 1"
    ):
        loaded(warehouse, lake, lake.day("2026-11-21", price("bitcoin", "2026-11-21")), short)

    assert contents(warehouse) == before


@pytest.mark.parametrize(
    ("described", "complaint"),
    [
        ({"coins": 2}, "the manifest says 2 coins, its files hold 1"),
        (
            {"absent": [absence("bitcoin")]},
            "coin bitcoin in usd at 2026-11-22T18:00:00.000000Z: the manifest calls the",
        ),
    ],
)
def test_a_manifest_that_contradicts_its_files_is_refused(
    warehouse: Warehouse, lake: TransformedLake, described: Mapping[str, Any], complaint: str
) -> None:
    manifest = lake.six_hours("2026-11-22-18:00", price("bitcoin", "2026-11-22T19:00"), **described)

    with pytest.raises(LoadMismatchError) as raised:
        loaded(warehouse, lake, manifest)

    assert "window 2026-11-22-18:00" in str(raised.value)
    assert complaint in str(raised.value)
    assert prices_of(warehouse, "intra_day_prices") == []


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (["2026-11-22T19:00", "2026-11-22T19:00"], "a price is there more than once"),
        (["2026-11-23T00:00"], "a price lies outside its window"),
        (["2026-11-22T17:59:59.999"], "a price lies outside its window"),
    ],
)
def test_rows_that_would_outlive_or_double_their_window_are_refused(
    warehouse: Warehouse, lake: TransformedLake, rows: Sequence[str], complaint: str
) -> None:
    manifest = lake.six_hours("2026-11-22-18:00", *(price("bitcoin", at) for at in rows))

    with pytest.raises(LoadMismatchError, match=f"window 2026-11-22-18:00, .*{complaint}"):
        loaded(warehouse, lake, manifest)

    assert prices_of(warehouse, "intra_day_prices") == []


@pytest.mark.parametrize("named", [HISTORICAL.window("2026-11-21").start, None])
def test_a_price_that_names_another_window_or_none_is_missed_in_its_own(
    warehouse: Warehouse, lake: TransformedLake, named: datetime | None
) -> None:
    with pytest.raises(LoadMismatchError, match=r"2026-11-22: .* says 1 coins, .* hold 0"):
        loaded(
            warehouse,
            lake,
            lake.day("2026-11-22", price("bitcoin", "2026-11-22", window_start=named)),
        )

    assert prices_of(warehouse) == []


# Files that many windows share


def month_of_days(lake: TransformedLake, *days: str, value: float = 1.0) -> list[Manifest]:
    return lake.months(
        HISTORICAL, {day: {"prices": [price("bitcoin", day, value)]} for day in days}
    )


def test_of_a_file_only_the_windows_asked_for_are_loaded_and_the_others_stay_as_they_are(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    days = ["2026-11-20", "2026-11-21", "2026-11-22"]
    loaded(warehouse, lake, *month_of_days(lake, *days))
    middle = month_of_days(lake, *days, value=2.0)[1]

    result = warehouse.load(HISTORICAL, [middle], lake.root)

    assert [row[-1] for row in prices_of(warehouse)] == [1.0, 2.0, 1.0]
    assert result.prices == 1
    assert result.ledger == {"present": 1}
    assert result.revisions.by_window == {HISTORICAL.window(days[1]).start: 1}


def test_of_a_file_of_snapshots_only_those_of_the_windows_asked_for_are_loaded(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    hours = {"2026-11-22-06:00": "2026-11-22T12:10", "2026-11-22-12:00": "2026-11-22T18:10"}
    first, second = lake.months(
        INTRA_DAY,
        {
            key: {
                "prices": [price("bitcoin", f"{key[:10]}T{key[11:]}:00")],
                "snapshots": [snapshot("bitcoin", at)],
            }
            for key, at in hours.items()
        },
    )
    assert first.files == second.files

    loaded(warehouse, lake, first)

    assert len(contents(warehouse)["market_snapshots"]) == 1
    loaded(warehouse, lake, second)
    assert len(contents(warehouse)["market_snapshots"]) == 2


def test_windows_of_several_months_with_gaps_are_loaded_at_once(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    days = ["2026-10-30", "2026-10-31", "2026-11-01", "2026-11-02", "2026-11-05"]
    manifests = month_of_days(lake, *days)

    loaded(warehouse, lake, *(manifests[place] for place in (0, 2, 4)))

    assert [row[1][:10] for row in prices_of(warehouse)] == [days[0], days[2], days[4]]


def test_a_file_that_says_other_than_its_manifest_of_one_window_loads_none_of_them(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    first, second = month_of_days(lake, "2026-11-21", "2026-11-22")

    with pytest.raises(LoadMismatchError, match="window 2026-11-22: the manifest says 2 prices"):
        loaded(warehouse, lake, first, replace(second, points=2))

    assert prices_of(warehouse) == []


# A load that is looked at before it counts


class RefusedError(Exception):
    pass


def test_a_load_is_looked_at_as_it_would_stand(warehouse: Warehouse, lake: TransformedLake) -> None:
    seen: list[list[Row]] = []

    warehouse.load(
        HISTORICAL,
        [lake.day("2026-11-22", price("bitcoin", "2026-11-22", 2.0), absent=[absence("ethereum")])],
        lake.root,
        lambda session: seen.extend(
            session.execute(sql)
            for sql in (
                "SELECT price FROM prices",
                "SELECT status FROM ingestion_ledger ORDER BY status",
            )
        ),
    )

    assert seen == [[{"price": 2.0}], [{"status": "missing_at_source"}, {"status": "present"}]]


def test_a_load_that_is_refused_leaves_tables_ledger_and_revisions_as_they_were(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    def load(value: float, *refuse: Callable[[Session], None]) -> None:
        manifest = lake.six_hours(
            "2026-11-22-18:00",
            price("bitcoin", "2026-11-22T19:00", value),
            snapshots=[snapshot("bitcoin", "2026-11-23T00:10", value)],
            absent=[absence(f"coin-{value}")],
        )
        warehouse.load(INTRA_DAY, [manifest], lake.root, *refuse)

    def refuse(_: Session) -> None:
        raise RefusedError

    def all_rows() -> list[list[Row]]:
        return [
            warehouse.query(f"SELECT * FROM {table} ORDER BY coin_id")
            for table in (*TABLES, "price_revisions")
        ]

    load(1.0)
    load(2.0)
    before = all_rows()

    with pytest.raises(RefusedError):
        load(3.0, refuse)

    assert all_rows() == before


@pytest.mark.parametrize("described", [{"snapshots": 0}, {"snapshots": 2}])
def test_snapshots_are_counted_as_prices_are(
    warehouse: Warehouse, lake: TransformedLake, described: Mapping[str, int]
) -> None:
    manifest = lake.six_hours(
        "2026-11-22-18:00",
        price("bitcoin", "2026-11-22T19:00"),
        snapshots=[snapshot("bitcoin", "2026-11-23T00:10")],
    )

    with pytest.raises(
        LoadMismatchError, match=rf"says {described['snapshots']} snapshots, its files hold 1"
    ):
        loaded(warehouse, lake, replace(manifest, **described))


def test_simulated_prices_never_stand_beside_real_ones(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    loaded(warehouse, lake, lake.day("2026-11-22", price("bitcoin", "2026-11-22")))
    real = lake.six_hours(
        "2026-11-22-18:00", price("bitcoin", "2026-11-22T19:00", source="coingecko")
    )

    with pytest.raises(
        MixedSourcesError, match=r"from coingecko, the warehouse .* from simulated.*CRYPTO_HOME"
    ):
        loaded(warehouse, lake, real)

    assert prices_of(warehouse, "intra_day_prices") == []


def test_rows_lost_on_the_way_into_the_table_are_noticed_before_they_count(
    path: str, lake: TransformedLake
) -> None:
    warehouse = DuckDBWarehouse(path=path)
    manifest = lake.day("2026-11-22", price("bitcoin", "2026-11-22"))
    loaded(warehouse, lake, manifest)
    before = contents(warehouse)

    with pytest.raises(
        LoadMismatchError, match=r"2026-11-22: the manifest says 1 prices, the table would hold 0"
    ):
        intercepted(path, "insert_prices", skip=True).load(HISTORICAL, [manifest], lake.root)

    assert contents(warehouse) == before


def test_a_connection_lost_between_delete_and_commit_is_what_the_error_says(
    path: str, lake: TransformedLake
) -> None:
    warehouse = DuckDBWarehouse(path=path)
    manifest = lake.day("2026-11-22", price("bitcoin", "2026-11-22"))
    loaded(warehouse, lake, manifest)
    before = contents(warehouse)

    def lose_connection() -> None:
        raise ConnectionError("the connection is lost")

    with pytest.raises(ConnectionError, match="the connection is lost"):
        intercepted(path, "delete_prices", act=lose_connection, alive_after=False).load(
            HISTORICAL, [manifest], lake.root
        )

    assert contents(warehouse) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b"not Parquet"),
    ],
)
def test_a_damaged_file_is_named_with_its_window_and_what_to_do(
    duckdb_warehouse: DuckDBWarehouse, lake: TransformedLake, damage: Callable[[Path], object]
) -> None:
    manifest = lake.day("2026-11-22", price("bitcoin", "2026-11-22"))
    damage(lake.path(manifest))

    with pytest.raises(CorruptFileError) as raised:
        loaded(duckdb_warehouse, lake, manifest)

    assert str(lake.path(manifest)) in str(raised.value)
    assert "Materialize historical/transformed_prices" in str(raised.value)
    assert "2026-11-22" in str(raised.value)


# Any order, any number of times, killed anywhere


HOURS = ["2026-11-22-06:00", "2026-11-22-12:00", "2026-11-23-00:00"]
VERSIONS = 3


def versions_of_window(lake: TransformedLake, key: str) -> list[Manifest]:
    """Ever different truths of one window: prices come, change, and go."""
    start = INTRA_DAY.window(key).start
    moments = [(start + timedelta(hours=hour)).isoformat()[:-6] for hour in range(VERSIONS)]
    return [
        lake.six_hours(
            key,
            *(price("bitcoin", at, float(version)) for at in moments[version:]),
            *([price("ethereum", moments[0], float(version))] if version % 2 else []),
            snapshots=[snapshot("bitcoin", moments[0], float(version))] * (version > 0),
            absent=[] if version % 2 else [absence("ethereum")],
        )
        for version in range(VERSIONS)
    ]


@pytest.fixture(scope="module")
def lake_of_versions(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[TransformedLake, list[list[Manifest]]]:
    lake = TransformedLake(str(tmp_path_factory.mktemp("versions")))
    return lake, [versions_of_window(lake, key) for key in HOURS]


@settings(max_examples=10, deadline=None)
@given(
    loads=st.lists(
        st.dictionaries(st.integers(0, len(HOURS) - 1), st.integers(0, VERSIONS - 1), min_size=1),
        min_size=1,
        max_size=4,
    )
)
def test_what_stands_is_what_was_last_loaded_of_each_window_however_it_came_about(
    lake_of_versions: tuple[TransformedLake, list[list[Manifest]]],
    tmp_path_factory: pytest.TempPathFactory,
    loads: list[dict[int, int]],
) -> None:
    lake, versions = lake_of_versions
    folder = tmp_path_factory.mktemp("loads")
    stepwise = DuckDBWarehouse(path=f"{folder}/stepwise.duckdb")
    at_once = DuckDBWarehouse(path=f"{folder}/at_once.duckdb")

    for load in loads:
        loaded(stepwise, lake, *(versions[window][version] for window, version in load.items()))
    last = {window: version for load in loads for window, version in load.items()}
    loaded(at_once, lake, *(versions[window][version] for window, version in last.items()))

    assert contents(stepwise) == contents(at_once)


def load_and_stall(path: str, name: str, manifest: Manifest, root: str, stalled: Event) -> None:
    def stall() -> None:
        stalled.set()
        time.sleep(PATIENCE)

    intercepted(path, name, act=stall).load(HISTORICAL, [manifest], root)


def start_process(target: Callable[..., None], *args: object) -> Any:
    process = multiprocessing.get_context("spawn").Process(target=target, args=args)
    process.start()
    return process


@pytest.mark.integration
@pytest.mark.parametrize("name", ["stage_prices", "delete_prices", "insert_prices"])
def test_a_load_killed_in_the_middle_leaves_the_old_rows_and_can_be_repeated(
    duckdb_warehouse: DuckDBWarehouse, lake: TransformedLake, name: str
) -> None:
    warehouse = loaded(
        duckdb_warehouse, lake, lake.day("2026-11-22", price("bitcoin", "2026-11-22", 1.0))
    )
    before = contents(warehouse)
    new = lake.day("2026-11-22", price("bitcoin", "2026-11-22", 2.0))
    stalled = multiprocessing.get_context("spawn").Event()

    process = start_process(load_and_stall, duckdb_warehouse.path, name, new, lake.root, stalled)
    assert stalled.wait(PATIENCE)
    process.kill()
    process.join()

    assert process.exitcode == -signal.SIGKILL
    assert contents(warehouse) == before
    loaded(warehouse, lake, new)
    assert [row[-1] for row in prices_of(warehouse)] == [2.0]


# Many at once


def hold(path: str, held: Event, release: Event) -> None:
    with duckdb.connect(path):
        held.set()
        release.wait(PATIENCE)


@pytest.fixture
def holder(path: str) -> Iterator[Event]:
    """Another process that has the file open for writing until the event is set."""
    Path(path).parent.mkdir(parents=True)
    spawn = multiprocessing.get_context("spawn")
    held, release = spawn.Event(), spawn.Event()
    process = start_process(hold, path, held, release)
    assert held.wait(PATIENCE)
    yield release
    release.set()
    process.join()


@pytest.mark.integration
def test_a_load_waits_for_another_process_that_holds_the_file(
    duckdb_warehouse: DuckDBWarehouse, lake: TransformedLake, holder: Event
) -> None:
    releasing = threading.Timer(0.5, holder.set)
    releasing.start()

    loaded(duckdb_warehouse, lake, lake.day("2026-11-22", price("bitcoin", "2026-11-22")))

    assert holder.is_set()
    assert len(prices_of(duckdb_warehouse)) == 1


@pytest.mark.integration
@pytest.mark.usefixtures("holder")
def test_a_load_that_waited_long_enough_says_which_file_is_held_and_by_what(path: str) -> None:
    with pytest.raises(WarehouseBusyError) as raised:
        DuckDBWarehouse(path=path, patience=0.3).summary()

    assert path in str(raised.value)
    assert "PID" in str(raised.value)


def test_a_reader_in_the_same_process_waits_for_a_writer(path: str) -> None:
    warehouse = DuckDBWarehouse(path=path)
    with warehouse.session(read_only=False):
        releasing = threading.Thread(target=warehouse.summary)
        releasing.start()
    releasing.join(PATIENCE)

    assert not releasing.is_alive()


def watch(path: str, watching: Event, done: Event, responses: Any) -> None:
    warehouse = DuckDBWarehouse(path=path)
    seen = set()
    while not done.is_set():
        seen.add(warehouse.query("SELECT COUNT(*) AS prices FROM prices")[0]["prices"])
        watching.set()
    responses.put(seen)


@pytest.mark.integration
def test_a_reader_in_another_process_never_sees_fewer_rows_while_windows_are_replaced(
    path: str, lake: TransformedLake
) -> None:
    rows = [price(f"coin-{number}", "2026-11-22") for number in range(500)]
    manifest = lake.day("2026-11-22", *rows)
    warehouse = intercepted(path, "delete_prices", act=lambda: time.sleep(0.05))
    loaded(warehouse, lake, manifest)
    spawn = multiprocessing.get_context("spawn")
    watching, done, responses = spawn.Event(), spawn.Event(), spawn.Queue()
    process = start_process(watch, path, watching, done, responses)
    assert watching.wait(PATIENCE)

    for _ in range(5):
        loaded(warehouse, lake, manifest)
    done.set()

    assert responses.get(timeout=PATIENCE) == {500}
    process.join()


def test_loads_of_both_streams_at_once_in_one_process_both_count(
    duckdb_warehouse: DuckDBWarehouse, lake: TransformedLake
) -> None:
    duckdb_warehouse.summary()
    loads = [
        lake.day("2026-11-22", price("bitcoin", "2026-11-22")),
        lake.six_hours("2026-11-22-18:00", price("bitcoin", "2026-11-22T19:00")),
    ]
    threads = [
        threading.Thread(target=loaded, args=(duckdb_warehouse, lake, load)) for load in loads
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [table.rows for table in duckdb_warehouse.summary()] == [1, 1]
    assert len(contents(duckdb_warehouse)["ingestion_ledger"]) == 2


# Asking


def test_a_warehouse_that_was_never_loaded_can_be_asked(warehouse: Warehouse) -> None:
    assert warehouse.query("SELECT * FROM prices") == []
    assert [(table.rows, table.newest, table.gaps) for table in warehouse.summary()] == [
        (0, None, 0),
        (0, None, 0),
    ]


def test_a_file_whose_tables_were_not_finished_is_finished(path: str) -> None:
    Path(path).parent.mkdir()
    with duckdb.connect(path) as connection:
        connection.execute("CREATE SCHEMA transformed; CREATE TABLE transformed.unrelated (x INT)")

    assert DuckDBWarehouse(path=path).query("SELECT * FROM prices") == []


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM coins",
        "DROP TABLE coins",
        "SELECT 1; DELETE FROM coins",
        "CREATE TABLE x AS SELECT 1",
        "COPY coins TO 'coins.csv'",
        "no SQL at all",
    ],
)
def test_only_queries_can_be_asked(warehouse: Warehouse, sql: str) -> None:
    with pytest.raises(ValueError, match="Only a single query"):
        warehouse.query(sql)


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that is nine hours ahead of UTC."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
def test_time_is_utc_whatever_the_zone_of_the_machine(
    duckdb_warehouse: DuckDBWarehouse, lake: TransformedLake
) -> None:
    loaded(
        duckdb_warehouse,
        lake,
        lake.six_hours("2026-11-22-18:00", price("bitcoin", "2026-11-22T23:30")),
    )

    rows = duckdb_warehouse.query(
        "SELECT price_at, price_at::DATE AS day, DATE_TRUNC('day', price_at) AS midnight, "
        "CURRENT_TIMESTAMP() AS now FROM prices WHERE price_at >= '2026-11-22 23:00'"
    )

    (row,) = rows
    assert row["price_at"] == datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    assert row["day"].isoformat() == "2026-11-22"
    assert row["midnight"] == datetime(2026, 11, 22, tzinfo=UTC)
    assert abs(row["now"] - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_time_in_a_question_means_the_same_moment_in_any_zone(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    loaded(warehouse, lake, lake.day("2026-11-22", price("bitcoin", "2026-11-22")))
    moment = datetime(2026, 11, 22, 9, tzinfo=timezone(timedelta(hours=9)))

    rows = warehouse.query("SELECT coin_id FROM prices WHERE price_at = ?", [moment])

    assert rows == [{"coin_id": "bitcoin"}]


def test_a_time_without_a_zone_is_refused(duckdb_warehouse: DuckDBWarehouse) -> None:
    with pytest.raises(ValueError, match="2026-11-22 00:00:00 needs a zone"):
        duckdb_warehouse.query("SELECT ?", [datetime(2026, 11, 22)])  # noqa: DTZ001


def test_the_summary_says_what_stands_and_what_is_missing(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    loaded(
        warehouse,
        lake,
        lake.day(
            "2026-11-21", price("bitcoin", "2026-11-21"), absent=[absence("ethereum", "failed")]
        ),
        lake.day("2026-11-22", price("bitcoin", "2026-11-22"), absent=[absence("ethereum")]),
    )

    historical, intra_day = warehouse.summary()

    assert (historical.stream, historical.table) == ("historical", "historical_prices")
    assert (historical.rows, historical.coins, historical.windows) == (2, 1, 2)
    assert historical.oldest == datetime(2026, 11, 21, tzinfo=UTC)
    assert historical.newest == datetime(2026, 11, 22, tzinfo=UTC)
    assert historical.ledger == {"present": 2, "failed": 1, "missing_at_source": 1}
    assert (historical.gaps, intra_day.gaps) == (2, 0)


def test_the_view_takes_the_finest_price_of_a_moment_and_names_its_coin(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    warehouse.upsert_coins(
        [TrackedCoin(coin_id="bitcoin", symbol="btc", name="Bitcoin", first_tracked_at=FETCHED_AT)]
    )
    loaded(
        warehouse,
        lake,
        lake.day("2026-11-22", price("bitcoin", "2026-11-22", 1.0), price("other", "2026-11-22")),
    )
    loaded(
        warehouse,
        lake,
        lake.six_hours(
            "2026-11-22-00:00",
            price("bitcoin", "2026-11-22T00:00", 2.0, granularity="5-minute"),
            price("bitcoin", "2026-11-22T00:05", 3.0, granularity="5-minute"),
        ),
    )

    rows = warehouse.query(
        "SELECT coin_id, symbol, name, price, granularity, stream "
        "FROM prices ORDER BY price_at, coin_id"
    )

    assert [tuple(row.values()) for row in rows] == [
        ("bitcoin", "btc", "Bitcoin", 2.0, "5-minute", "intra_day"),
        ("other", None, None, 1.5, "daily", "historical"),
        ("bitcoin", "btc", "Bitcoin", 3.0, "5-minute", "intra_day"),
    ]


# Coins


def test_a_coin_keeps_the_name_that_the_api_forgot_and_the_day_it_was_first_tracked(
    warehouse: Warehouse,
) -> None:
    named = TrackedCoin(
        coin_id="bitcoin", symbol="btc", name="Bitcoin", first_tracked_at=FETCHED_AT
    )
    warehouse.upsert_coins([named])

    warehouse.upsert_coins(
        [
            TrackedCoin(
                coin_id="bitcoin",
                image="https://example.org/bitcoin.png",
                first_tracked_at=FETCHED_AT + timedelta(days=1),
                tracked=False,
            ),
            TrackedCoin(coin_id="ethereum", first_tracked_at=FETCHED_AT),
        ]
    )

    assert [tuple(row.values()) for row in contents(warehouse)["coins"]] == [
        ("bitcoin", "btc", "Bitcoin", "https://example.org/bitcoin.png", FETCHED_AT, False),
        ("ethereum", None, None, None, FETCHED_AT, True),
    ]


# Windows


DAYS = st.sets(st.integers(0, 40), max_size=20)


def days(numbers: Iterable[int]) -> list[Window]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Window(start=start + timedelta(days=number), end=start + timedelta(days=number + 1))
        for number in numbers
    ]


@given(numbers=DAYS)
def test_merged_windows_cover_the_same_time_with_gaps_between_them(numbers: set[int]) -> None:
    merged = merge_neighbours(days(numbers))

    covered = [
        window.start + timedelta(days=day)
        for window in merged
        for day in range((window.end - window.start).days)
    ]
    assert covered == [window.start for window in days(sorted(numbers))]
    assert all(before.end < after.start for before, after in pairwise(merged))


def test_overlapping_windows_cannot_be_loaded_together(
    duckdb_warehouse: DuckDBWarehouse, lake: TransformedLake
) -> None:
    manifest = lake.day("2026-11-22", price("bitcoin", "2026-11-22"))

    with pytest.raises(ValueError, match="overlap at 2026-11-22 00:00"):
        loaded(duckdb_warehouse, lake, manifest, manifest)


def test_a_warehouse_is_opened_again_without_the_parser(tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(
        path=str(tmp_path / "crypto_db.duckdb"), cache_folder=str(tmp_path / "cache")
    )
    assert warehouse.summary()
    script = """
        import sys
        from crypto_platform.warehouse.duckdb import DuckDBWarehouse
        path, cache_folder = sys.argv[1:]
        DuckDBWarehouse(path=path, cache_folder=cache_folder).summary()
        print("sqlglot" in sys.modules)
    """
    command = [sys.executable, "-c", dedent(script), warehouse.path, str(warehouse.cache_folder)]
    assert subprocess.check_output(command, text=True) == "False\n"


def test_what_anyone_asks_of_the_warehouse_is_kept_nowhere(tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(
        path=str(tmp_path / "crypto_db.duckdb"), cache_folder=str(tmp_path / "cache")
    )
    warehouse.summary()
    before = {file.name for file in (tmp_path / "cache").iterdir()}

    assert warehouse.query("SELECT 'my secret' AS said") == [{"said": "my secret"}]

    assert {file.name for file in (tmp_path / "cache").iterdir()} == before


def test_loading_the_definitions_takes_no_engine() -> None:
    script = "import sys, crypto_platform.warehouse.duckdb; print(*sys.modules)"
    with os.popen(f"{sys.executable} -c '{script}'") as output:  # noqa: S605
        imported = set(output.read().split())

    assert imported.isdisjoint({"duckdb", "sqlglot", "pyarrow", "tenacity", "cloudpathlib"})
