"""What the warehouse has to hold, computed from the simulated market's own series.

Nothing of the platform takes part in it: no API, no client, no transformation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import product
from typing import Any

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.simulated_market import Oddities, SimulatedMarket
from crypto_platform.simulated_market.api import DAY_MS, FIVE_MINUTES_MS, HOUR_MS, ChartSpan
from crypto_platform.simulated_market.market import SyntheticMarket
from crypto_platform_tests.conftest import Platform

ODD = Oddities(missing_days=0.1, null_caps=0.2, zero_volumes=0.1, off_midnight=0.3)
SEED = 5
_COINS = 300

HOURLY, FIVE_MINUTES = HOUR_MS, FIVE_MINUTES_MS

Row = tuple[str, datetime, float, float | None, float | None]
LedgerRow = tuple[str, datetime, str, int]


def odd_market(**options: Any) -> SimulatedMarket:
    """The market of a truth: prices that are as odd as old ones are, the same each time."""
    return SimulatedMarket(seed=SEED, coins=_COINS, oddities=ODD, **options)


@dataclass(frozen=True)
class Truth:
    """What is true of some windows of a stream.

    Attributes:
        stream: The stream.
        keys: The partition keys of the windows.
        coins: The tracked coins.
        step: How far apart the intra-day points are that the API has of the windows.
    """

    stream: Stream
    keys: Sequence[str]
    coins: Sequence[str]
    step: int = HOURLY

    @cached_property
    def rows(self) -> list[Row]:
        """Every price, in order."""
        return sorted(
            row for key in self.keys for coin in self.coins for row in self._of(coin, key)
        )

    @cached_property
    def ledger(self) -> list[LedgerRow]:
        """Every coin in every window, with its status and how many points it has."""
        counted = (
            (coin, self.stream.window(key).start, len(list(self._of(coin, key))))
            for coin, key in product(self.coins, self.keys)
        )
        return sorted(
            (coin, start, "present" if points else "missing_at_source", points)
            for coin, start, points in counted
        )

    def _of(self, coin: str, key: str) -> Iterator[Row]:
        window = self.stream.window(key)
        first, end = (int(moment.timestamp() * 1000) for moment in (window.start, window.end))
        step = DAY_MS if self.stream is HISTORICAL else self.step
        chart = _MARKET.chart(coin, "usd", ChartSpan(first, end - 1, step), now=end)
        points = list(zip(*(chart[name] for name in _SERIES), strict=True))
        for (stamp, price), (_, cap), (_, volume) in points[:1] if step == DAY_MS else points:
            at = first if step == DAY_MS else stamp
            assert price is not None
            yield coin, _EPOCH + timedelta(milliseconds=at), price, cap, volume


def held(platform: Platform, stream: Stream) -> list[Row]:
    """Every price that the warehouse has of a stream, in order."""
    rows = platform.query(
        f"SELECT coin_id, price_at, price, market_cap, total_volume FROM {stream.table}"
    )
    return sorted(tuple(row.values()) for row in rows)


def ledger(platform: Platform, stream: Stream) -> list[LedgerRow]:
    """Every row that the ledger has of a stream, in order."""
    rows = platform.query(
        "SELECT coin_id, window_start, status, points FROM ingestion_ledger "
        f"WHERE stream = '{stream.name}'"
    )
    return sorted(tuple(row.values()) for row in rows)


def assert_complete_and_true(platform: Platform, *truths: Truth) -> None:
    """The tables are the truth to the last bit, and the ledger has a row a coin a window."""
    for truth in truths:
        assert _bits(held(platform, truth.stream)) == _bits(truth.rows)
        assert ledger(platform, truth.stream) == truth.ledger


def assert_nothing_false(platform: Platform, *truths: Truth) -> None:
    """Whatever is missing: each price that stands is a true one, once, where it belongs."""
    for truth in truths:
        existing = [row[:3] for row in held(platform, truth.stream)]
        assert set(_bits(existing)) <= set(_bits([row[:3] for row in truth.rows]))
        assert len(existing) == len(set(existing))


def _bits(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    # A float's repr is its bits, and tells an int from it.
    return [repr(row) for row in rows]


_SERIES = ("prices", "market_caps", "total_volumes")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARKET = SyntheticMarket(SEED, _COINS, ODD)


def days_ago(first: int, last: int) -> list[str]:
    """Keys of daily windows that began so many days ago, the first to the last."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = (today - timedelta(days=ago) for ago in range(first, last - 1, -1))
    return [start.strftime(HISTORICAL.key_format) for start in starts]


def days_about_a_month_s_begin() -> list[str]:
    """Keys of the first day of the newest month that is over, and of the day before it."""
    first = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).replace(day=1)
    return [day.strftime(HISTORICAL.key_format) for day in (first - timedelta(days=1), first)]


def six_hours_of(days: Sequence[str]) -> list[str]:
    """Keys of the six-hourly windows of some days."""
    starts = (HISTORICAL.window(day).start for day in days)
    return [
        (start + number * INTRA_DAY.window_length).strftime(INTRA_DAY.key_format)
        for start in starts
        for number in range(4)
    ]
