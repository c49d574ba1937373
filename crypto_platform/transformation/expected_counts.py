"""How many rows raw answers have to become: the rules of the transformation once more, in Python.

What the transformation lost it cannot count, so it is held to a count of its own. The rules stand
in ``glue_jobs.prices`` and in the docs.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from crypto_platform.core.streams import Stream, Window
from crypto_platform.lake.manifests import CoinKey

_SERIES = ("prices", "market_caps", "total_volumes")
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# From the coarsest to the finest, each with half its spacing in milliseconds. A name that is not
# known is coarser than all, with the spacing of the coarsest.
_HALF_SPACINGS = {"": 43_200_000, "daily": 43_200_000, "hourly": 1_800_000, "5-minute": 150_000}
_FINENESS = {name: place for place, name in enumerate(_HALF_SPACINGS)}
_HALVES = tuple(_HALF_SPACINGS.values())
_COARSEST = 0
# How much of a fault tells it from others.
_SHOWN = 60


class Counts(NamedTuple):
    """What a coin has to have in a window.

    Attributes:
        prices: Rows of prices.
        rejected: Rejected stamps, and faults that are told beside them.
    """

    prices: int
    rejected: int


def expected_counts(
    records: Iterable[Mapping[str, Any]], stream: Stream, windows: Collection[Window]
) -> dict[tuple[Window, CoinKey], Counts]:
    """How many prices and rejected stamps the answers of some windows give, coin by coin.

    Args:
        records: All raw records of the windows, of any number of answers, in any order.
        stream: The stream of the windows.
        windows: The windows to count; what the records have of others is left alone.
    """
    wanted = {stream.index_at(window.start): window for window in windows}
    seen: dict[tuple[int, CoinKey], _Seen] = defaultdict(_Seen)
    anchor = _milliseconds(stream.window_anchor)
    length = stream.window_length // _MILLISECOND
    for record in records:
        coin = (record["coin_id"], record["vs_currency"])
        start, end = (
            _milliseconds(datetime.fromisoformat(record[name]))
            for name in ("window_start", "window_end")
        )
        fineness = _FINENESS.get(record["granularity"], _COARSEST)
        for series in _SERIES:
            for point in record[series] or ():
                stamp: Any = point[0] if point else None
                inside = stamp is not None and start <= stamp < end
                index = int(((stamp if inside else start) - anchor) // length)
                if index not in wanted:
                    continue
                of_window = seen[index, coin]
                of_window.stamps.add(stamp)
                if series == "prices" and inside and _is_price(point):
                    known = of_window.good.get(stamp, _COARSEST)
                    of_window.good[stamp] = max(known, fineness)
        for fault in record.get("faults") or ():
            stamp = fault["stamp"]
            index = int(((start if stamp is None else stamp) - anchor) // length)
            # A price that is no number stands as a null among the prices.
            if index in wanted and (fault["series"] != "prices" or stamp is None):
                value = fault["value"]
                told = (fault["series"], stamp, value[:_SHOWN], len(value) > _SHOWN)
                seen[index, coin].faults.add(told)
    grain = stream.floored_to // _MILLISECOND
    return {
        (wanted[index], coin): Counts(
            prices=_rows(_floored(of_window.good, anchor + index * length, grain)),
            rejected=len(of_window.stamps) - len(of_window.good) + len(of_window.faults),
        )
        for (index, coin), of_window in seen.items()
    }


class _Seen:
    """What the answers have of a coin in a window: stamps, faults, and how fine its prices are."""

    def __init__(self) -> None:
        self.stamps: set[float | None] = set()
        self.faults: set[tuple[str, float | None, str, bool]] = set()
        self.good: dict[float, int] = {}


def _is_price(point: list[float | None]) -> bool:
    value = point[1] if len(point) > 1 else None
    return value is not None and 0 < value < math.inf


def _floored(good: Mapping[float, int], start: int, grain: int) -> dict[float, int]:
    """The fineness of each grain's earliest price, by the grain's beginning."""
    floored: dict[float, int] = {}
    for stamp in sorted(good):
        floored.setdefault(stamp - (stamp - start) % grain, good[stamp])
    return floored


def _rows(prices: Mapping[float, int]) -> int:
    """How many count beside finer ones: those that none lies nearer to than half their spacing."""
    if len(set(prices.values())) < 2:  # noqa: PLR2004 - with one granularity none is coarser
        return len(prices)
    finer = {
        level: sorted(stamp for stamp, fineness in prices.items() if fineness > level)
        for level in set(prices.values())
    }
    return sum(
        not _has_near(finer[fineness], stamp, _HALVES[fineness])
        for stamp, fineness in prices.items()
    )


def _has_near(stamps: list[float], stamp: float, half: float) -> bool:
    place = bisect_left(stamps, stamp)
    return any(abs(near - stamp) < half for near in stamps[max(0, place - 1) : place + 1])


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND
