"""The simulated market as the API sees it: coins from a seed, and what they are worth."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np

from crypto_platform.simulated_market.api import DAY_MS, Chart, ChartSpan, NoSuchCoinError, Series
from crypto_platform.simulated_market.coins import Oddities, SimulatedCoin, coins_of
from crypto_platform.simulated_market.prices import PriceModel

# How many of a currency a US dollar is worth: exchange rates stand still here.
_RATES: Mapping[str, float] = {"usd": 1.0, "eur": 0.86, "gbp": 0.75, "jpy": 150.0}
_A_QUARTER_HOUR_MS = 900_000
_SHOWN_WHOLE_FROM = 10_000

# Where the real index begins, and days that it has skipped.
_FIRST_FEELING_MS = int(datetime(2018, 2, 1, tzinfo=UTC).timestamp()) * 1000
_SKIPPED_FEELINGS = frozenset(
    int(datetime(*day, tzinfo=UTC).timestamp())
    for day in ((2018, 4, 14), (2018, 4, 15), (2018, 4, 16), (2024, 10, 26))
)
_FORTNIGHT = 14

_PricedAt = tuple[float, int]
"""A price and when it stood there, so that the least and the greatest know their moment."""


@dataclass(frozen=True)
class _LastDay:
    """What a coin was worth over the last day, in US dollars, a quarter of an hour apart."""

    stamps: list[int]
    prices: list[float]
    market_caps: list[float | None]
    total_volume: float
    supply: float
    rank: int


class SyntheticMarket:
    """A ``Market`` of coins whose prices are made up, the same for the same seed.

    Args:
        seed: Decides on every price.
        coins: How many coins there are.
        oddities: What is odd about the data.
    """

    def __init__(self, seed: int, coins: int, oddities: Oddities) -> None:
        self._coins = {coin.id: coin for coin in coins_of(seed, coins)}
        self._model = PriceModel(seed, oddities)
        self._ends = {
            coin_id: int(end.timestamp() * 1000) for coin_id, end in oddities.delisted.items()
        }
        # They change once a day, and cost a whole history each.
        self._records = lru_cache(maxsize=2 * coins)(self._records_before)

    @property
    def currencies(self) -> Collection[str]:
        """See ``Market``."""
        return _RATES

    def coins(self, now: int) -> Sequence[Mapping[str, str]]:
        """See ``Market``."""
        return [
            {"id": coin.id, "symbol": coin.symbol, "name": coin.name} for coin in self._listed(now)
        ]

    def ranking(self, now: int) -> Sequence[str]:
        """See ``Market``."""
        coins, moment = self._listed(now), np.array([now])
        if not coins:
            return []
        caps = self._model.prices(coins, moment) * self._model.supplies(coins, moment)
        return [coins[place].id for place in np.argsort(-caps[:, 0], kind="stable")]

    def snapshot(
        self, coin_ids: Sequence[str], currency: str, now: int
    ) -> Sequence[Mapping[str, Any]]:
        """See ``Market``."""
        # What the API has of a delisted coin is what it last was.
        ended = [one for one in coin_ids if self._ends.get(one, now) < now]
        rows = {
            row["id"]: row
            for ids, moment in (
                ([one for one in coin_ids if one not in ended], now),
                *(([one], self._ends[one]) for one in ended),
            )
            for row in self._rows(ids, currency, moment)
        }
        return [rows[coin_id] for coin_id in coin_ids]

    def _rows(self, coin_ids: Sequence[str], currency: str, now: int) -> list[dict[str, Any]]:
        coins = [self._coins[coin_id] for coin_id in coin_ids]
        if not coins:
            return []
        ranks = {coin_id: rank for rank, coin_id in enumerate(self.ranking(now), start=1)}
        stamps = np.arange(now - DAY_MS, now + 1, _A_QUARTER_HOUR_MS)
        quotes = self._model.quotes(coins, stamps)
        supplies = self._model.supplies(coins, stamps[-1:])
        return [
            self._row(
                coin,
                _RATES[currency],
                _LastDay(
                    stamps=stamps.tolist(),
                    prices=quotes.prices[place],
                    market_caps=quotes.market_caps[place],
                    total_volume=quotes.total_volumes[place][-1],
                    supply=float(supplies[place, 0]),
                    rank=ranks[coin.id],
                ),
            )
            for place, coin in enumerate(coins)
        ]

    def chart(self, coin_id: str, currency: str, span: ChartSpan, now: int) -> Chart:
        """See ``Market``."""
        coin = self._coins.get(coin_id)
        if coin is None or self._model.first_stamp(coin) > now:
            raise NoSuchCoinError(coin_id)
        end = self._ends.get(coin_id, now)
        stamps = self._model.stamps(coin, span.step, span.first, min(span.last, end))
        if span.now is not None and span.now <= end:
            stamps = np.append(stamps[stamps < span.now], span.now)
        quotes = self._model.quotes([coin], stamps)
        rate, moments = _RATES[currency], stamps.tolist()
        return {
            "prices": _series(moments, quotes.prices[0], rate),
            "market_caps": _series(moments, quotes.market_caps[0], rate),
            "total_volumes": _series(moments, quotes.total_volumes[0], rate),
        }

    def fear_and_greed(self, now: int) -> Sequence[tuple[int, int]]:
        """See ``Market``: fear after two weeks of falling prices of the first coin, else greed."""
        days = np.arange(_FIRST_FEELING_MS - _FORTNIGHT * DAY_MS, now + 1, DAY_MS)
        prices = self._model.prices([next(iter(self._coins.values()))], days)[0]
        moves = np.log(prices[_FORTNIGHT:] / prices[:-_FORTNIGHT])
        values = np.clip(np.round(50 + 200 * moves), 5, 95).astype(int)
        seconds = (days[_FORTNIGHT:] // 1000).tolist()
        return [
            (second, value)
            for second, value in zip(seconds, values.tolist(), strict=True)
            if second not in _SKIPPED_FEELINGS
        ]

    def _listed(self, now: int) -> list[SimulatedCoin]:
        return [coin for coin in self._coins.values() if self._model.first_stamp(coin) <= now]

    def _row(self, coin: SimulatedCoin, rate: float, last_day: _LastDay) -> dict[str, Any]:
        """A row of ``/coins/markets``."""
        first = self._model.first_stamp(coin)
        priced = zip(last_day.prices, last_day.stamps, strict=True)
        day = [(price, stamp) for price, stamp in priced if stamp >= first]
        lowest, highest = self._records(coin, last_day.stamps[-1] // DAY_MS)
        lowest, highest = min(lowest, *day), max(highest, *day)
        price, cap = last_day.prices[-1], last_day.market_caps[-1]
        was_listed = last_day.stamps[0] >= first
        old_price = last_day.prices[0] if was_listed else None
        old_cap = last_day.market_caps[0] if was_listed else None
        return {
            "id": coin.id,
            "symbol": coin.symbol,
            "name": coin.name,
            "image": "",
            "current_price": _shown(price * rate),
            "market_cap": None if cap is None else _shown(cap * rate),
            "market_cap_rank": last_day.rank,
            "fully_diluted_valuation": _shown(price * (coin.max_supply or last_day.supply) * rate),
            "total_volume": _shown(last_day.total_volume * rate),
            "high_24h": _shown(max(day)[0] * rate),
            "low_24h": _shown(min(day)[0] * rate),
            "price_change_24h": _difference(price, old_price, rate),
            "price_change_percentage_24h": _percentage(price, old_price),
            "market_cap_change_24h": _difference(cap, old_cap, rate),
            "market_cap_change_percentage_24h": _percentage(cap, old_cap),
            "circulating_supply": last_day.supply,
            "total_supply": last_day.supply,
            "max_supply": coin.max_supply,
            "ath": _shown(highest[0] * rate),
            "ath_change_percentage": _percentage(price, highest[0]),
            "ath_date": _iso(highest[1]),
            "atl": _shown(lowest[0] * rate),
            "atl_change_percentage": _percentage(price, lowest[0]),
            "atl_date": _iso(lowest[1]),
            "roi": None,
            "last_updated": _iso(last_day.stamps[-1]),
        }

    def _records_before(self, coin: SimulatedCoin, day: int) -> tuple[_PricedAt, _PricedAt]:
        """The lowest and the highest of a coin's daily prices, up to a day since 1970."""
        midnights = np.arange(self._model.first_stamp(coin), day * DAY_MS + 1, DAY_MS)
        prices = self._model.prices([coin], midnights)[0]
        lowest, highest = (
            (float(prices[place]), int(midnights[place]))
            for place in (prices.argmin(), prices.argmax())
        )
        return lowest, highest


def _series(stamps: list[int], values: Sequence[float | None], rate: float) -> Series:
    return [
        (stamp, None if value is None else value * rate)
        for stamp, value in zip(stamps, values, strict=True)
    ]


def _shown(value: float) -> float:
    """A number as ``/coins/markets`` rounds it: whole where large, six digits where small."""
    if abs(value) >= _SHOWN_WHOLE_FROM:
        return round(value)
    return round(value, 2) if abs(value) >= 1 else float(f"{value:.6g}")


def _difference(value: float | None, old: float | None, rate: float) -> float | None:
    return None if value is None or old is None else _shown((value - old) * rate)


def _percentage(value: float | None, old: float | None) -> float | None:
    return None if value is None or not old else round((value / old - 1.0) * 100.0, 5)


def _iso(stamp: int) -> str:
    moment = datetime.fromtimestamp(stamp / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
