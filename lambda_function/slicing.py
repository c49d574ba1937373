"""Slices a coin's series into raw records of stretches of windows, without touching a value."""

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import itemgetter
from statistics import median
from typing import NamedTuple

from lambda_function.bodies import Fault, MarketChart, Point
from lambda_function.coingecko import ApiResponse
from lambda_function.request_planner import Granularity, Span
from lambda_function.windows import RequestedWindow, iso

_HOUR = 3_600_000
# With fewer prices their spacing says little: the last may be off the grid.
_ENOUGH_PRICES = 3


class Content(NamedTuple):
    """How much one window has of one coin.

    Attributes:
        window: The window.
        points: How many prices.
        filled: Whether it has anything: a price, a market cap or a volume.
    """

    window: RequestedWindow
    points: int
    filled: bool


class Record(NamedTuple):
    """What a stretch has of one coin: neighbouring windows that go to the same object.

    Attributes:
        contents: Its windows in their order, at least one, each with how much it has.
        line: The raw record as a line of JSON with its line break; empty where no window has
            anything.
    """

    contents: Sequence[Content]
    line: bytes

    @property
    def uri(self) -> str:
        """The address, without its ending, of the object that it goes to."""
        return self.contents[0].window.uri


def slice_windows(
    response: ApiResponse[MarketChart], span: Span, coin_id: str, vs_currency: str, run_id: str
) -> list[Record]:
    """Slices a response into one record for each stretch of the span's windows.

    A stretch ends where the next window is not its neighbour, or goes to another object. Each
    series is sliced by its own stamps, to half-open windows. A record keeps the API's values
    exactly; points come in the order of their stamps, those of one stamp in the API's order. What
    is no number, or no point, is in its ``faults``, where it has any.

    Args:
        response: A coin's chart.
        span: What was asked for, with its windows in the order of their starts.
        coin_id: The coin.
        vs_currency: The currency of the values.
        run_id: The run it is for.
    """
    prices, market_caps, total_volumes = map(_Series, response.data[:3])
    faults = list(response.data.faults)
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

    def take_faults(start: int, end: int) -> list[Fault]:
        """Those that are told with a stretch; a fault without a stamp is told with the first."""
        taken = [one for one in faults if one.stamp is None or start <= one.stamp < end]
        faults[:] = [one for one in faults if one not in taken]
        return taken

    def record(stretch: Sequence[RequestedWindow]) -> Record:
        contents = []
        for window in stretch:
            start, end = window.milliseconds
            points = prices.count(start, end)
            filled = points or market_caps.count(start, end) or total_volumes.count(start, end)
            contents.append(Content(window, points, bool(filled)))
        if not any(content.filled for content in contents):
            return Record(contents, b"")
        start, end = stretch[0].milliseconds[0], stretch[-1].milliseconds[1]
        line = (
            f'{head},"window_start":"{iso(stretch[0].start)}","window_end":"{iso(stretch[-1].end)}"'
            f',{request},"prices":{prices.text(start, end)},'
            f'"market_caps":{market_caps.text(start, end)},'
            f'"total_volumes":{total_volumes.text(start, end)}'
        )
        if taken := take_faults(start, end):
            line += f',"faults":{_json([fault._asdict() for fault in taken])}'
        return Record(contents, f"{line}}}\n".encode())

    return [record(stretch) for stretch in stretches(span.windows)]


def stretches(windows: Iterable[RequestedWindow]) -> list[list[RequestedWindow]]:
    """Windows cut where one is not the neighbour of the one before, or goes to another object.

    Args:
        windows: The windows, in the order of their starts.
    """
    found: list[list[RequestedWindow]] = []
    for window in windows:
        if found and found[-1][-1].is_continued_by(window):
            found[-1].append(window)
        else:
            found.append([window])
    return found


def measure_granularity(prices: Sequence[Point]) -> Granularity | None:
    """The granularity of a series by the median spacing of its prices; ``None`` if they are few."""
    if len(prices) < _ENOUGH_PRICES:
        return None
    stamps = sorted(point[0] for point in prices)
    spacing = median(after - before for before, after in pairwise(stamps))
    if spacing > 12 * _HOUR:
        return "daily"
    return "hourly" if spacing > _HOUR / 3 else "5-minute"


class _Series:
    """A series in the order of its stamps, to be sliced by them (UNIX milliseconds)."""

    def __init__(self, series: Sequence[Point]) -> None:
        points = sorted(series, key=itemgetter(0))
        self._stamps = [point[0] for point in points]
        # Encoded once as a whole, then split between points: far cheaper than slice by slice.
        self._encoded = _json(points)[2:-2].split("],[")

    def count(self, start: int, end: int) -> int:
        """How many points are in ``[start, end)``."""
        return bisect_left(self._stamps, end) - bisect_left(self._stamps, start)

    def text(self, start: int, end: int) -> str:
        """The points in ``[start, end)``, as a JSON array."""
        first, last = bisect_left(self._stamps, start), bisect_left(self._stamps, end)
        return f"[[{'],['.join(self._encoded[first:last])}]]" if first < last else "[]"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
