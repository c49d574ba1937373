"""How complete a stream is: the one count, whatever was loaded in which order."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.ingestion.tracked_coins import TrackedCoin, TrackedCoins
from crypto_platform.warehouse.completeness import Completeness, completeness_of, together
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.expected_windows import sync_expected_windows
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.session import Session
from crypto_platform_tests.warehouse_rows import ledger_row, put

NOW = datetime.now(UTC)
DUE = HISTORICAL.latest_due(NOW).start
COINS = ("bitcoin", "ethereum", "tether")
STATUSES = ("present", "missing_at_source", "out_of_plan", "quarantined", "failed")

CoinWindow = tuple[str, int]
"""A coin, and how many days before the newest window that is due."""

ledgers = st.dictionaries(
    st.tuples(st.sampled_from(COINS), st.integers(0, 40)),
    st.sampled_from(STATUSES),
    min_size=1,
    max_size=8,
)


def expect(warehouse: Warehouse, *coins: str, first: int = 700) -> None:
    tracked = TrackedCoins(
        coins=tuple(TrackedCoin(coin_id=coin, first_tracked_at=NOW) for coin in coins)
    )
    start = {"HISTORY_START": f"{DUE - timedelta(days=first):%Y-%m-%d}"}
    sync_expected_windows(warehouse, Settings.from_environment(start), [HISTORICAL], tracked)


@dataclass
class OpenWarehouse:
    """A warehouse whose one session stays open: to open a file costs more than to ask it."""

    opened: Session

    def session(self, *, read_only: bool) -> AbstractContextManager[Session]:
        del read_only
        return nullcontext(self.opened)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """One that has partitions of two years, and three coins."""
    made = DuckDBWarehouse(path=str(tmp_path_factory.mktemp("complete") / "db.duckdb"))
    expect(made, *COINS)
    with made.session(read_only=False) as session:
        yield cast("Warehouse", OpenWarehouse(session))


def load(warehouse: Warehouse, rows: Iterable[tuple[CoinWindow, str]]) -> None:
    put(
        warehouse,
        "ingestion_ledger",
        [ledger_row(coin, DUE - timedelta(days=ago), status) for (coin, ago), status in rows],
    )


def clear(warehouse: Warehouse) -> None:
    with warehouse.session(read_only=False) as session:
        session.execute("DELETE FROM ingestion_ledger")


def complete(warehouse: Warehouse) -> Completeness:
    (found,) = completeness_of(warehouse, [HISTORICAL], NOW)
    return found


def after(warehouse: Warehouse, ledger: Mapping[CoinWindow, str]) -> Completeness:
    """How complete a warehouse is whose ledger has just this."""
    clear(warehouse)
    load(warehouse, ledger.items())
    return complete(warehouse)


@settings(max_examples=25, deadline=None)
@given(ledger=ledgers)
def test_every_coin_is_expected_from_the_first_window_asked_for_to_the_newest_due(
    warehouse: Warehouse, ledger: Mapping[CoinWindow, str]
) -> None:
    found = after(warehouse, ledger)

    oldest = max(ago for _, ago in ledger)
    assert found.since == DUE - timedelta(days=oldest)
    assert found.expected == len(COINS) * (oldest + 1)
    assert found.present == sum(status == "present" for status in ledger.values())
    assert found.statuses["pending"] == found.expected - len(ledger)


@settings(max_examples=15, deadline=None)
@given(ledger=ledgers, data=st.data())
def test_the_order_of_loads_and_looks_in_between_change_no_number(
    warehouse: Warehouse, ledger: Mapping[CoinWindow, str], data: st.DataObject
) -> None:
    at_once = after(warehouse, ledger)

    clear(warehouse)
    for one in data.draw(st.permutations(list(ledger.items()))):
        load(warehouse, [one])
        expect(warehouse, *COINS)
        found = complete(warehouse)

    assert found == at_once


@settings(max_examples=15, deadline=None)
@given(ledger=ledgers, status=st.sampled_from([*STATUSES[1:], None]), data=st.data())
def test_a_gap_always_lowers_the_number(
    warehouse: Warehouse, ledger: Mapping[CoinWindow, str], status: str | None, data: st.DataObject
) -> None:
    # Whatever is known of the first window: somebody asked for it.
    ledger = {**ledger, ("tether", 41): "present"}
    gap = data.draw(st.sampled_from([("bitcoin", 20), *(set(ledger) - {("tether", 41)})]))
    whole = after(warehouse, {**ledger, gap: "present"}).share
    rest = {key: value for key, value in ledger.items() if key != gap}

    broken = after(warehouse, rest if status is None else {**rest, gap: status}).share

    assert whole is not None
    assert broken is not None
    assert broken < whole


@settings(max_examples=15, deadline=None)
@given(ledger=ledgers, earlier=st.integers(41, 90))
def test_asking_for_earlier_windows_expects_all_from_there_on(
    warehouse: Warehouse, ledger: Mapping[CoinWindow, str], earlier: int
) -> None:
    before = after(warehouse, ledger)

    extended = after(warehouse, {**ledger, ("bitcoin", earlier): "present"})

    assert extended.since == DUE - timedelta(days=earlier)
    assert extended.since < (before.since or NOW)
    assert extended.present == before.present + 1
    assert extended.expected == len(COINS) * (earlier + 1)


def test_nothing_is_complete_or_lacking_before_anything_was_asked_for(warehouse: Warehouse) -> None:
    clear(warehouse)

    found = complete(warehouse)

    assert (found.since, found.expected, found.share) == (None, 0, None)
    assert found.sentence == "Nothing was asked for yet"


def test_a_window_that_closed_a_moment_ago_counts_once_it_was_loaded(warehouse: Warehouse) -> None:
    # An hour after the close, where the window before is the newest that is due.
    midnight = DUE + timedelta(days=1)
    clear(warehouse)
    load(warehouse, [(("bitcoin", 1), "present")])
    moment = midnight + timedelta(hours=1)
    (waiting,) = completeness_of(warehouse, [HISTORICAL], moment)
    load(warehouse, [(("bitcoin", 0), "present")])
    (loaded,) = completeness_of(warehouse, [HISTORICAL], moment)

    assert (waiting.expected, loaded.expected) == (3, 6)


def test_what_lies_before_the_first_partition_cannot_be_asked_for_and_is_not_expected(
    warehouse: Warehouse,
) -> None:
    clear(warehouse)
    load(warehouse, [(("bitcoin", ago), "present") for ago in (9, 1)])
    expect(warehouse, *COINS, first=1)

    found = complete(warehouse)
    expect(warehouse, *COINS)

    assert (found.since, found.expected, found.present) == (DUE - timedelta(days=1), 6, 1)


@pytest.mark.parametrize(
    ("statuses", "sentence"),
    [
        ({"present": 1240}, "100.00 % of 1,240 coin-windows since 2026-11-21"),
        ({"present": 99_999, "failed": 1}, "99.99 % of 100,000 coin-windows since 2026-11-21"),
        ({"present": 1}, "100.00 % of 1 coin-window since 2026-11-21"),
    ],
)
def test_a_number_says_of_how_much_and_since_when(statuses: dict[str, int], sentence: str) -> None:
    assert completeness(**statuses).sentence == sentence


def test_streams_together_count_since_the_first_window_of_any() -> None:
    late = completeness(present=3, since=datetime(2026, 11, 22, 6, tzinfo=UTC))
    nothing = Completeness("intra_day")

    assert late.scope == "3 coin-windows since 2026-11-22 06:00"
    assert together([late, completeness(present=1), nothing]).sentence == (
        "100.00 % of 4 coin-windows since 2026-11-21"
    )
    assert together([nothing]).share is None


def completeness(
    since: datetime = datetime(2026, 11, 21, tzinfo=UTC), **counts: Any
) -> Completeness:
    return Completeness(
        INTRA_DAY.name, since, since, dict.fromkeys((*STATUSES, "pending"), 0) | counts
    )
