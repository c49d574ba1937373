"""What a simulated coin is worth at any moment: a pure function of seed, coin and time.

A log price is a Brownian bridge in Lévy's construction: a tent of random height over a cell of
some four years, a smaller tent over each of its halves, and so on down to two minutes. A moment
lies under one tent a level, so its value takes some twenty hashes wherever it is, and no value
depends on which others are asked for.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from crypto_platform.simulated_market.api import DAY_MS, HOUR_MS
from crypto_platform.simulated_market.coins import Oddities, SimulatedCoin

Floats = NDArray[np.float64]
Stamps = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Flags = NDArray[np.bool_]

_YEAR_MS = 365.25 * DAY_MS
_COINS_AS_OF_MS = datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000
_FIRST_LISTING_MS = int(datetime(2013, 4, 28, tzinfo=UTC).timestamp() * 1000)

# Cells are powers of two of milliseconds, so that a shift finds a moment's cell.
_FOUR_YEARS, _A_MONTH, _THREE_DAYS, _TWO_MINUTES = 37, 31, 28, 17

_MARKET_VOLATILITY = 0.026
_VOLUME_VOLATILITY = 0.25
# The API's fine stamps come a little early or some minutes late, never on the grid.
_EARLIEST_MS, _LATEST_MS = -30_000, 150_000


@dataclass(frozen=True)
class Quotes:
    """What coins are worth at some moments, in US dollars: a row a coin, a column a moment."""

    prices: list[list[float]]
    market_caps: list[list[float | None]]
    total_volumes: list[list[float]]


class PriceModel:
    """The prices of a simulated market.

    Args:
        seed: The same seed gives the same prices.
        oddities: What is odd about the data.
    """

    def __init__(self, seed: int, oddities: Oddities) -> None:
        self._seed = seed
        self._oddities = oddities

    def first_stamp(self, coin: SimulatedCoin) -> int:
        """The moment of a coin's first price, in UNIX milliseconds."""
        if self._oddities.late_listing:
            return int(coin.listed.timestamp() * 1000)
        return _FIRST_LISTING_MS

    def stamps(self, coin: SimulatedCoin, step: int, first: int, last: int) -> Stamps:
        """The moments at which a coin has points.

        Daily points stand at midnight. Finer ones wander about their grid, each coin's in its own
        way.

        Args:
            coin: The coin.
            step: How far the points are apart, in milliseconds.
            first: The earliest moment to give, in UNIX milliseconds.
            last: The latest one, in UNIX milliseconds.
        """
        first = max(first, self.first_stamp(coin))
        # A point may be stamped later than its place on the grid: begin one place before.
        grid = np.arange((first - HOUR_MS) // step, (last - _EARLIEST_MS) // step + 1)
        chance = _uniform(self._keys(f"stamps/{step}", [coin]), grid)[0]
        if step < DAY_MS:
            late = _EARLIEST_MS + chance * (_LATEST_MS - _EARLIEST_MS)
        else:
            # The later digits of the chance are as random as the first ones.
            odd = chance < self._oddities.off_midnight
            late = np.where(odd, (chance * 1e6) % 1.0 * HOUR_MS, 0.0)
        stamps = grid * step + late.astype(np.int64)
        missing = self._on_days("missing", [coin], stamps, self._oddities.missing_days)[0]
        present: Stamps = stamps[(stamps >= first) & (stamps <= last) & ~missing]
        return present

    def prices(self, coins: Sequence[SimulatedCoin], stamps: Stamps) -> Floats:
        """The coins' prices at some moments, in US dollars, also where they were not listed yet.

        Args:
            coins: The coins, a row each.
            stamps: The moments in UNIX milliseconds, a column each.
        """
        mood = self._mood(stamps)
        market = _bridge(self._keys("market"), stamps, _column([_FOUR_YEARS]), mood)
        own = _bridge(
            self._keys("price", coins),
            stamps,
            _column(_THREE_DAYS if coin.pegged else _FOUR_YEARS for coin in coins),
            mood,
        )
        logs = (
            _column(math.log(coin.price) for coin in coins)
            + _column(coin.growth for coin in coins) * _years_after(stamps)
            + _column(coin.beta * _MARKET_VOLATILITY for coin in coins) * market
            + _column(coin.own_volatility for coin in coins) * own
        )
        return _exp(logs)

    def quotes(self, coins: Sequence[SimulatedCoin], stamps: Stamps) -> Quotes:
        """What coins are worth at some moments, in US dollars.

        Args:
            coins: The coins, a row each.
            stamps: The moments in UNIX milliseconds, a column each.
        """
        prices = self.prices(coins, stamps)
        supplies = self.supplies(coins, stamps)
        caps = prices * supplies
        activity = _bridge(
            self._keys("volume", coins), stamps, _column([_A_MONTH]), self._mood(stamps)
        )
        volumes = (
            caps
            * _column(coin.turnover for coin in coins)
            * self._mood(stamps)
            * _exp(_VOLUME_VOLATILITY * activity)
        )
        odd = self._oddities
        volumes[self._on_days("zero volume", coins, stamps, odd.zero_volumes)] = 0.0
        market_caps = caps.astype(object)
        market_caps[self._on_days("null cap", coins, stamps, odd.null_caps)] = None
        return Quotes(
            prices=prices.tolist(),
            market_caps=market_caps.tolist(),
            total_volumes=volumes.tolist(),
        )

    def supplies(self, coins: Sequence[SimulatedCoin], stamps: Stamps) -> Floats:
        """How many of the coins are in circulation at some moments.

        Args:
            coins: The coins, a row each.
            stamps: The moments in UNIX milliseconds, a column each.
        """
        issuance = _column(coin.issuance for coin in coins)
        return _column(coin.supply for coin in coins) / (1.0 - issuance * _years_after(stamps))

    def _mood(self, stamps: Stamps) -> Floats:
        """How lively the whole market is: it has calm months and wild ones."""
        place = (stamps & ((1 << _A_MONTH) - 1)) / (1 << _A_MONTH)
        keys, months = self._keys("mood"), stamps >> _A_MONTH
        mood = _uniform(keys, months) * (1.0 - place) + _uniform(keys, months + 1) * place
        return 0.4 + 1.2 * mood

    def _on_days(
        self, what: str, coins: Sequence[SimulatedCoin], stamps: Stamps, share: float
    ) -> Flags:
        """Whether moments lie on the days something is odd, by coin."""
        return _uniform(self._keys(what, coins), stamps // DAY_MS) < share

    def _keys(self, what: str, coins: Sequence[SimulatedCoin] | None = None) -> Hashes:
        """Where the hashes of a quantity start, as a column: one a coin, or one for all."""
        names = [what] if coins is None else [f"{what}/{coin.id}" for coin in coins]
        digests = (blake2b(f"{self._seed}/{name}".encode(), digest_size=8) for name in names)
        numbers = [int.from_bytes(digest.digest(), "little") for digest in digests]
        return np.array(numbers, dtype=np.uint64)[:, np.newaxis]


def _bridge(keys: Hashes, stamps: Stamps, longest: Floats, mood: Floats) -> Floats:
    """A random walk by key that goes a standard deviation of about one a day, and comes back.

    Args:
        keys: A column, one a walk.
        stamps: The moments, in UNIX milliseconds.
        longest: A column: the walk returns to zero after this power of two of milliseconds.
        mood: How wide it swings within a month, by moment.
    """
    # A phase of its own, lest all walks be at zero at the same moment.
    moments = stamps + (keys >> np.uint64(24)).astype(np.int64)
    slow = fast = np.zeros(moments.shape)
    for level in range(int(longest.max()), _TWO_MINUTES, -1):
        length = 1 << level
        tent = 1.0 - np.abs((moments & (length - 1)) * (2.0 / length) - 1.0)
        # A cube gives days heavier tails than a normal law, and bounds the worst of them.
        chance = 2.0 * _uniform(keys + np.uint64(level), moments >> level) - 1.0
        spread = (level <= longest) * (math.sqrt(7.0 * length / DAY_MS) / 2.0)
        step = spread * (chance * chance * chance) * tent
        if level < _A_MONTH:
            fast = fast + step
        else:
            slow = slow + step
    return slow + mood * fast


def _uniform(keys: Hashes, indices: Stamps) -> Floats:
    """A number in ``[0, 1)`` for each key and index, by the mixer of SplitMix64."""
    mixed = keys + indices.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    chances: Floats = (mixed >> np.uint64(11)) * 2.0**-53
    return chances


def _exp(logs: Floats) -> Floats:
    """Exponentials one by one: numpy may take another way for many than for a few."""
    return np.array([[math.exp(log) for log in row] for row in logs.tolist()])


def _years_after(stamps: Stamps) -> Floats:
    """Years after the moment the coins are described at: negative before it, then zero."""
    years: Floats = np.minimum(0.0, (stamps - _COINS_AS_OF_MS) / _YEAR_MS)
    return years


def _column(numbers: Iterable[float]) -> Floats:
    return np.array(list(numbers), dtype=np.float64)[:, np.newaxis]
