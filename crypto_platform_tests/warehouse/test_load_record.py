"""The record of what loads committed: it says what the warehouse says, and never more."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crypto_platform.checks.definitions import NOTHING_LOST
from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, WindowBatch
from crypto_platform.ingestion.tracked_coins import DOCUMENT, TrackedCoin, TrackedCoins
from crypto_platform.lake.layers import Lake
from crypto_platform.lake.manifests import Manifest
from crypto_platform.lake.vacuum import vacuum
from crypto_platform.stages.load import Loaded, load_windows
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.load_record import (
    RECORDS,
    DamagedRecordError,
    LoadRecord,
    recorded_ledger,
)
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform_tests.transformed_lake import TransformedLake, absence, price

SETTINGS = Settings.from_environment({"HISTORY_START": "2026-10-01"})
LEDGER = "SELECT * FROM ingestion_ledger ORDER BY stream, window_start, coin_id"


class NeverAsked(DuckDBWarehouse):
    """A warehouse that must sleep on."""

    def exists(self) -> bool:
        return True

    def session(self, *, read_only: bool) -> Any:
        del read_only
        raise PermanentFailure("The warehouse was woken.")


def asleep() -> Warehouse:
    return NeverAsked(path="/nowhere/crypto_db.duckdb")


class World:
    """A lake with tracked coins, its warehouse, and loads of it."""

    def __init__(self, folder: Path, warehouse: Warehouse | None = None) -> None:
        self.files = TransformedLake(str(folder / "transformed"))
        self.lake = Lake(raw_root=str(folder / "raw"), transformed_root=self.files.root)
        self.path = folder / "crypto_db.duckdb"
        self.warehouse = warehouse or DuckDBWarehouse(path=str(self.path))
        coins = TrackedCoins(
            coins=tuple(
                TrackedCoin(coin_id=coin, first_tracked_at=datetime(2026, 1, 1, tzinfo=UTC))
                for coin in ("bitcoin", "ethereum")
            )
        )
        self.lake.raw.put(DOCUMENT, coins.model_dump_json().encode())

    @property
    def record(self) -> LoadRecord:
        return LoadRecord(self.lake.transformed, HISTORICAL)

    def load(self, *manifests: Manifest) -> Loaded:
        self.lake.transformed.commit(HISTORICAL, manifests)
        batch = WindowBatch(HISTORICAL, [manifest.window for manifest in manifests])
        return load_windows(batch, self.lake, self.warehouse, SETTINGS)

    def days(self, *keys: str) -> Loaded:
        return self.load(*(self.files.day(key, price("bitcoin", key)) for key in keys))

    def recorded(self) -> Sequence[dict[str, Any]]:
        with recorded_ledger(self.lake.transformed, asleep(), [HISTORICAL, INTRA_DAY]) as ledger:
            return ledger.query(LEDGER)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def lost(loaded: Loaded) -> list[str]:
    return [str(finding) for finding in loaded.findings if finding.check is NOTHING_LOST]


def day(files: TransformedLake, key: str) -> Manifest:
    return files.day(key, price("bitcoin", key), absent=[absence("ethereum", "failed")])


def test_the_record_is_the_warehouses_ledger_to_the_last_value(world: World) -> None:
    world.load(day(world.files, "2026-10-30"), day(world.files, "2026-11-02"))
    world.days("2026-11-03")

    assert world.recorded() == world.warehouse.query(LEDGER)
    assert len(world.recorded()) == 5


@pytest.mark.integration
def test_what_snowflake_says_is_recorded_as_what_duckdb_says(
    tmp_path: Path, build_snowflake: Callable[[str], Warehouse]
) -> None:
    on_duckdb = World(tmp_path / "duckdb")
    snowflake = World(
        tmp_path / "snowflake", build_snowflake(str(tmp_path / "snowflake/transformed"))
    )
    for one in (on_duckdb, snowflake):
        one.load(day(one.files, "2026-11-02"), day(one.files, "2026-10-30"))

    assert snowflake.recorded() == on_duckdb.recorded()


def test_a_load_that_is_refused_leaves_the_record_as_it_was(world: World) -> None:
    world.days("2026-11-02")
    before = world.recorded()

    refused = world.load(world.files.day("2026-11-03", price("bitcoin", "2026-11-03", -1.0)))

    assert refused.result is None
    assert world.recorded() == before


def test_loading_a_window_again_leaves_one_record_of_it(world: World) -> None:
    world.days("2026-11-02")
    first = world.recorded()
    world.days("2026-11-02")

    assert [row["window_start"] for row in world.recorded()] == [
        row["window_start"] for row in first
    ]


def test_a_load_that_was_killed_before_its_record_is_recorded_by_the_next_one(
    world: World,
) -> None:
    killed = day(world.files, "2026-10-30")
    world.days("2026-11-02")
    world.warehouse.load(HISTORICAL, [killed], world.files.root)
    assert len(world.recorded()) == 1

    next_load = world.days("2026-11-03")

    assert world.recorded() == world.warehouse.query(LEDGER)
    assert lost(next_load) == []


def test_the_load_after_a_warehouse_was_dropped_names_what_is_gone(world: World) -> None:
    world.days("2026-10-30", "2026-11-02")
    world.path.unlink()

    found = lost(world.days("2026-11-03"))

    assert found == [
        "2026-10-30: it was loaded with 1 price(s), and is no longer there",
        "2026-11-02: it was loaded with 1 price(s), and is no longer there",
    ]
    assert world.recorded() == world.warehouse.query(LEDGER)


def test_what_was_lost_is_named_by_each_load_until_it_is_loaded_again(world: World) -> None:
    world.days("2026-10-30", "2026-11-02")
    world.path.unlink()
    world.days("2026-11-03")

    again = lost(world.days("2026-11-04"))
    one_back = lost(world.days("2026-10-30"))
    both_back = lost(world.days("2026-11-02"))

    assert [finding.partition(":")[0] for finding in again] == ["2026-10-30", "2026-11-02"]
    assert [finding.partition(":")[0] for finding in one_back] == ["2026-11-02"]
    assert both_back == []


def test_the_load_after_a_restore_names_what_is_older_than_it_was_loaded(world: World) -> None:
    world.days("2026-11-02")
    backup = world.path.read_bytes()
    later = price("bitcoin", "2026-11-02", 2.0, fetched_at=datetime(2026, 11, 24, tzinfo=UTC))
    world.load(world.files.day("2026-11-02", later))
    world.path.write_bytes(backup)

    (found,) = lost(world.days("2026-11-03"))

    assert found == (
        "2026-11-02: it was loaded as of 2026-11-24 00:00:00, and stands there as of "
        "2026-11-23 00:45:12"
    )


def test_prices_that_somebody_deleted_are_named_by_the_next_load(world: World) -> None:
    world.days("2026-11-02")
    with world.warehouse.session(read_only=False) as session:
        session.execute("DELETE FROM historical_prices")

    (found,) = lost(world.load(world.files.day("2026-11-01", price("bitcoin", "2026-11-01"))))

    assert found == (
        "bitcoin 2026-11-02: the ledger has a price here, and the newest one in the table is of "
        "2026-11-01 00:00:00"
    )


def test_a_lake_without_records_is_judged_by_the_warehouse_once(world: World) -> None:
    world.days("2026-11-02")
    world.lake.transformed.remove_folder(RECORDS)

    world.record.ensure(world.warehouse)
    world.record.ensure(asleep())

    assert world.recorded() == world.warehouse.query(LEDGER)


def test_a_look_at_the_warehouse_that_was_cut_off_is_completed_by_the_next_reader(
    world: World,
) -> None:
    world.days("2026-09-30", "2026-10-01", "2026-11-02")
    # As if it had come as far as the first month.
    for month in ("2026-10", "2026-11"):
        world.lake.transformed.remove(f"{RECORDS}/historical_data/month={month}/ledger.pq")

    world.record.ensure(world.warehouse)

    assert world.recorded() == world.warehouse.query(LEDGER)
    assert len(world.recorded()) == 3


def test_what_was_transformed_and_never_loaded_wakes_the_warehouse_once(world: World) -> None:
    world.lake.transformed.commit(HISTORICAL, [day(world.files, "2026-11-02")])
    with world.warehouse.session(read_only=False):
        pass

    world.record.ensure(world.warehouse)
    world.record.ensure(asleep())

    assert world.recorded() == []


def test_a_damaged_record_says_what_to_do_and_the_next_load_makes_it_again(world: World) -> None:
    world.days("2026-10-30", "2026-11-02")
    path = f"{RECORDS}/historical_data/month=2026-10/ledger.pq"
    world.lake.transformed.put(path, b"no Parquet")

    with pytest.raises(DamagedRecordError, match="Materialize historical/snowflake_prices for any"):
        world.record.newest_windows("usd")
    world.days("2026-11-03")

    assert world.recorded() == world.warehouse.query(LEDGER)


class Between:
    """A session on which another load is committed, and recorded, right after it was asked."""

    def __init__(self, world: World, other: Callable[[], object]) -> None:
        self._world = world
        self._others = [other]

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[dict[str, Any]]:
        said = self._world.warehouse.query(sql, params)
        if "GROUP BY" not in sql and self._others:
            self._others.pop()()
        return said


def test_of_two_loads_at_once_the_record_keeps_both(world: World) -> None:
    world.days("2026-11-01")
    mine = day(world.files, "2026-11-02")
    world.warehouse.load(HISTORICAL, [mine], world.files.root)

    session: Any = Between(world, lambda: world.days("2026-11-03"))
    world.record.update(session, [mine.window])

    assert len(world.recorded()) == 4
    assert world.recorded() == world.warehouse.query(LEDGER)


def test_the_vacuum_leaves_the_records_alone(world: World) -> None:
    world.days("2026-11-02")
    before = world.recorded()

    vacuum(world.lake, now=datetime(2030, 1, 1, tzinfo=UTC))

    assert world.recorded() == before


def test_a_coin_is_as_new_as_its_newest_window_with_a_price(world: World) -> None:
    world.days("2026-11-02")
    gone = replace(day(world.files, "2026-11-03"), absent=(absence("ethereum"),))
    world.load(gone)

    newest = world.record.newest_windows("usd")
    of_window = world.record.of_window(gone.window, "usd")

    assert newest == {"bitcoin": datetime(2026, 11, 3, tzinfo=UTC)}
    assert world.record.newest_windows("eur") == {}
    assert {coin: row["status"] for coin, row in of_window.items()} == {
        "bitcoin": "present",
        "ethereum": "missing_at_source",
    }
