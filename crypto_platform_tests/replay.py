"""Recorded answers of the price API, served again, and what they say in plain words.

The recordings are not part of this repository: tests that read them are ``needs_recorded``.
"""

import json
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from crypto_platform.simulated_market import MarketServer
from crypto_platform.simulated_market.api import Chart, ChartSpan, NoSuchCoinError

RECORDED = Path(
    os.environ.get("RECORDED_DATA") or Path(__file__).parents[2] / "shared" / "recorded"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COIN_OF_FILE = re.compile(r"(.+?)_(?:prob_)?(?:daily|hourly|5min)_")
_Test = TypeVar("_Test", bound=Callable[..., None])


def needs_recorded(test: _Test) -> _Test:
    """Mark a test that reads the recordings; it is skipped where they are absent."""
    absent = pytest.mark.skipif(
        not RECORDED.is_dir(),
        reason=f"there are no recorded answers at {RECORDED}; RECORDED_DATA names another folder",
    )
    marked: _Test = pytest.mark.recorded(absent(test))
    return marked


@dataclass(frozen=True)
class RecordedDay:
    """What a recording says of one day.

    Attributes:
        at: Where its price stands: at midnight, or at its own moment if that is two hours later.
        price: Its price.
        market_cap: Its market cap.
        total_volume: Its volume.
    """

    at: datetime
    price: float
    market_cap: float | None
    total_volume: float | None


class RecordedMarket:
    """A market that says what was recorded of it, with the granularity it was recorded in."""

    currencies: Collection[str] = ("usd",)

    def __init__(self, charts: Mapping[str, Path], markets: Path | None) -> None:
        self._charts: Mapping[str, Chart] = {
            coin_id: json.loads(path.read_text()) for coin_id, path in charts.items()
        }
        recorded: list[dict[str, Any]] = json.loads(markets.read_text()) if markets else []
        unknown = dict.fromkeys(recorded[0]) if recorded else {}
        self._rows: Mapping[str, Mapping[str, Any]] = {
            # A coin that only a chart was recorded of still has to be found.
            **{coin: {**unknown, "id": coin, "symbol": coin, "name": coin} for coin in charts},
            **{row["id"]: row for row in recorded},
        }

    def coins(self, now: int) -> Sequence[Mapping[str, str]]:
        del now
        return [{key: row[key] for key in ("id", "symbol", "name")} for row in self._rows.values()]

    def ranking(self, now: int) -> Sequence[str]:
        del now
        return sorted(self._rows, key=lambda coin: -(self._rows[coin].get("market_cap") or 0))

    def snapshot(
        self, coin_ids: Sequence[str], currency: str, now: int
    ) -> Sequence[Mapping[str, Any]]:
        del currency, now
        return [self._rows[coin_id] for coin_id in coin_ids]

    def chart(self, coin_id: str, currency: str, span: ChartSpan, now: int) -> Chart:
        del currency, now
        if coin_id not in self._charts:
            raise NoSuchCoinError(coin_id)
        last = span.last if span.now is None else span.now
        return {
            name: [point for point in series if span.first <= point[0] <= last]
            for name, series in self._charts[coin_id].items()
        }

    def fear_and_greed(self, now: int) -> Sequence[tuple[int, int]]:
        del now
        (recording,) = (RECORDED / "fng").glob("fng_full_*.json")
        days = json.loads(recording.read_text())["data"]
        return [(int(day["timestamp"]), int(day["value"])) for day in reversed(days)]


def replay(charts: Mapping[str, Path], markets: Path | None = None) -> MarketServer:
    """A server of recorded price charts by coin, and of one recorded page of markets."""
    return MarketServer(RecordedMarket(charts, markets))


def recorded_charts(granularity: str) -> dict[str, Path]:
    """The longest recording of each coin: ``daily``, ``hourly`` or ``5min``."""
    charts: dict[str, Path] = {}
    for path in sorted((RECORDED / "market_chart" / granularity).glob("*.json")):
        name = _COIN_OF_FILE.match(path.name)
        assert name, f"{path} is not named after its coin."
        longest = charts.get(name[1])
        if longest is None or _points(path) > _points(longest):
            charts[name[1]] = path
    return charts


def recorded_days(chart: Path) -> dict[datetime, RecordedDay]:
    """What a daily recording says, worked out apart from the platform.

    A day has the first of its points with a price. The last point of all is no day's, but the
    moment of the recording, unless it stands at midnight.
    """
    series: Chart = json.loads(chart.read_text())
    market_caps, total_volumes = (
        dict(reversed([(point[0], point[1]) for point in series[name]]))
        for name in ("market_caps", "total_volumes")
    )
    days: dict[datetime, RecordedDay] = {}
    last = series["prices"][-1][0]
    for stamp, price in series["prices"]:
        at = _EPOCH + timedelta(milliseconds=stamp)
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
        if price is not None and (stamp != last or at == midnight):
            stands_at = midnight if at - midnight <= timedelta(hours=2) else at
            day = RecordedDay(stands_at, price, market_caps.get(stamp), total_volumes.get(stamp))
            days.setdefault(midnight, day)
    return days


def _points(chart: Path) -> int:
    return len(json.loads(chart.read_text())["prices"])
