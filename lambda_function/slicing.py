"""Slices a coin's series into the raw records of windows, without touching a value."""

import json
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from operator import itemgetter
from statistics import median
from typing import NamedTuple

from lambda_function.coingecko import ApiResponse, MarketChart, Point
from lambda_function.request_planner import Granularity, Span
from lambda_function.windows import RequestedWindow, iso

_HOUR = 3_600_000
# With fewer prices their spacing says little: the last may be off the grid.
_ENOUGH_PRICES = 3


class Record(NamedTuple):
    """What one window has of one coin.

    Attributes:
        window: The window.
        points: How many prices it has.
        line: The raw record as a line of JSON, without its line break; empty where it has nothing.
    """

    window: RequestedWindow
    points: int
    line: bytes


def slice_windows(
    response: ApiResponse[MarketChart], span: Span, coin_id: str, vs_currency: str, run_id: str
) -> list[Record]:
    """Slices a response into one record for each window of its span.

    Each series is sliced by its own stamps, to the half-open window. A window keeps the API's
    values exactly; points come in the order of their stamps, those of one stamp in the API's order.

    Args:
        response: A coin's chart.
        span: What was asked for, with its windows.
        coin_id: The coin.
        vs_currency: The currency of the values.
        run_id: The run it is for.
    """
    bounds = [window.milliseconds for window in span.windows]
    prices, market_caps, total_volumes = (_Slices.of(series, bounds) for series in response.data)
    head = _json({"coin_id": coin_id, "vs_currency": vs_currency})[:-1]
    request = _json(
        {
            "granularity": measure_granularity(response.data.prices) or span.granularity,
            "requested_from": int(response.asked["from"]),
            "requested_to": int(response.asked["to"]),
            "fetched_at": iso(response.received_at, "milliseconds"),
            "run_id": run_id,
            "source": response.source,
        }
    )[1:-1]
    return [
        Record(
            window,
            points,
            (
                f"{head},{window.members},{request},"
                f'"prices":{price},"market_caps":{cap},"total_volumes":{volume}}}'
            ).encode()
            if price != "[]" or cap != "[]" or volume != "[]"
            else b"",
        )
        for window, points, price, cap, volume in zip(
            span.windows,
            prices.counts,
            prices.texts,
            market_caps.texts,
            total_volumes.texts,
            strict=True,
        )
    ]


def measure_granularity(prices: Sequence[Point]) -> Granularity | None:
    """The granularity of a series by the median spacing of its prices; ``None`` if they are few."""
    if len(prices) < _ENOUGH_PRICES:
        return None
    stamps = sorted(point[0] for point in prices)
    spacing = median(after - before for before, after in pairwise(stamps))
    if spacing > 12 * _HOUR:
        return "daily"
    return "hourly" if spacing > _HOUR / 3 else "5-minute"


class _Slices(NamedTuple):
    """A series sliced by windows: how many points each has, and their JSON."""

    counts: list[int]
    texts: list[str]

    @classmethod
    def of(cls, series: Sequence[Point], bounds: Sequence[tuple[int, int]]) -> "_Slices":
        points = sorted(series, key=itemgetter(0))
        stamps = [point[0] for point in points]
        slices = [(bisect_left(stamps, start), bisect_left(stamps, end)) for start, end in bounds]
        # Encoded once as a whole, then split between points: far cheaper than window by window.
        encoded = _json(points)[2:-2].split("],[")
        return cls(
            [last - first for first, last in slices],
            [
                f"[[{'],['.join(encoded[first:last])}]]" if first < last else "[]"
                for first, last in slices
            ],
        )


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
