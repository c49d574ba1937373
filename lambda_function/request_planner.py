"""Which spans to ask of the API for a set of windows, with as few calls as it allows.

The API chooses the granularity of a response by the span asked for: more than 90 days gives daily
points, up to a day that ends now gives 5-minute points, everything between gives hourly ones.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Literal, Self

from lambda_function.errors import InvalidRequest
from lambda_function.windows import RequestedWindow, index_ranges, iso

Granularity = Literal["daily", "hourly", "5-minute"]

# A day more than the 90 that must be exceeded.
DAILY_SPAN = timedelta(days=91)
# Exactly 90 days is still hourly.
HOURLY_SPAN = timedelta(days=90)
# A quarter of an hour less than the API allows, for the time until it is called.
FIVE_MINUTE_SPAN = timedelta(days=1) - timedelta(minutes=15)
# The longest stretches of days without a price that were seen are shorter.
_BEYOND = timedelta(days=7)
# The shortest until now that is hourly, with as much to spare.
_HOURLY_UNTIL_NOW = timedelta(days=1) + timedelta(minutes=15)


@dataclass(frozen=True)
class Span:
    """One request a coin, and the windows that its response is sliced into.

    Attributes:
        start: Where it begins.
        end: Where it ends; ``None`` for the moment the request is sent.
        granularity: What the API gives for such a span.
        windows: The windows it is asked for.
    """

    start: datetime
    end: datetime | None
    granularity: Granularity
    windows: tuple[RequestedWindow, ...]


@dataclass(frozen=True)
class Call:
    """A request that is to be made for a coin, as one invocation leaves it to the next.

    Attributes:
        span: What is asked for.
        narrowed: Whether the span is what the plan allows of a longer one.
        attempts: How often it was asked for in vain.
    """

    span: Span
    narrowed: bool = False
    attempts: int = 0

    def to_json(self) -> dict[str, Any]:
        """The call as a continuation has it; windows go by their indices."""
        span = self.span
        return {
            "start": iso(span.start),
            "end": span.end and iso(span.end),
            "granularity": span.granularity,
            "windows": index_ranges([window.index for window in span.windows]),
            "narrowed": self.narrowed,
            "attempts": self.attempts,
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], windows: Sequence[RequestedWindow]) -> Self:
        """Reads what ``to_json`` wrote.

        Args:
            raw: The call.
            windows: The windows of the event.

        Raises:
            KeyError, TypeError, ValueError, IndexError: It is nothing that ``to_json`` writes.
        """
        asked = [windows[i] for first, last in raw["windows"] for i in range(first, last + 1)]
        span = Span(
            datetime.fromisoformat(raw["start"]),
            raw["end"] and datetime.fromisoformat(raw["end"]),
            raw["granularity"],
            tuple(sorted(asked, key=attrgetter("start"))),
        )
        return cls(span, raw["narrowed"], raw["attempts"])


@dataclass(frozen=True)
class SpanPlan:
    """The requests of one coin.

    Attributes:
        spans: What to ask for; each window that can be had is in exactly one of them.
        out_of_plan: The windows that begin before the earliest time allowed.
    """

    spans: tuple[Span, ...]
    out_of_plan: tuple[RequestedWindow, ...]


def windows_a_call(wanted: str, first: datetime, length: timedelta, now: datetime) -> int | None:
    """How many windows on end, from the one that begins at ``first``, one call a coin brings.

    Args:
        wanted: ``daily``, or the ``finest`` the API has.
        first: Start of the first of the windows.
        length: Length of each.
        now: The time.

    Returns:
        The number, or ``None`` where one call brings all there are.
    """
    recent = now - FIVE_MINUTE_SPAN
    if wanted == "daily" or first >= recent:
        return None
    return min(HOURLY_SPAN // length, -((first - recent) // length))


def plan_spans(
    windows: Sequence[RequestedWindow],
    wanted: str,
    now: datetime,
    earliest_allowed: datetime | None,
) -> SpanPlan:
    """Plans the requests for closed windows.

    Args:
        windows: The windows, in any order, with gaps or without.
        wanted: ``daily``, or the ``finest`` the API has.
        now: The time.
        earliest_allowed: The earliest time the API's plan lets us ask for; ``None`` for no limit.
    """
    ordered = sorted(windows, key=attrgetter("start"))
    outside = (
        0
        if earliest_allowed is None
        else bisect_left(ordered, earliest_allowed, key=attrgetter("start"))
    )
    inside = ordered[outside:]
    spans = PLANNERS[wanted](inside, now, earliest_allowed) if inside else ()
    return SpanPlan(spans, tuple(ordered[:outside]))


def asked_until(span: Span, now: datetime) -> datetime | None:
    """Up to when a span is asked for: beyond its end, where that costs no call.

    Prices from after a window prove that it has none, where none lie in it.

    Args:
        span: The span.
        now: The time.

    Returns:
        The moment, or ``None`` for that at which the request is sent.
    """
    if span.end is None:
        return None
    # Whole days, so that the same windows are asked for alike all day; what ends now may be of
    # 5-minute points.
    today = (now - timedelta(hours=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    until = min(span.end + _BEYOND, today)
    if span.granularity == "hourly":
        until = min(until, span.start + HOURLY_SPAN)
    return max(span.end, until)


def longer_span(windows: Sequence[RequestedWindow], now: datetime) -> Span:
    """The request for hourly points of windows that the API has no 5-minute points of.

    Args:
        windows: Windows of a 5-minute span, in the order of their starts.
        now: The time.
    """
    start = min(windows[0].start, now - _HOURLY_UNTIL_NOW)
    return Span(start, None, "hourly", tuple(windows))


def _daily(
    windows: Sequence[RequestedWindow], now: datetime, earliest_allowed: datetime | None
) -> tuple[Span, ...]:
    first = windows[0].start
    end = max(window.end for window in windows)
    start = min(first, end - DAILY_SPAN)
    if earliest_allowed is not None and start < earliest_allowed:
        # Right before left: a later start is not overtaken by the earliest time before the call.
        end = max(end, min(now, first + DAILY_SPAN))
        start = max(earliest_allowed, min(first, end - DAILY_SPAN))
    return (Span(start, end, "daily", tuple(windows)),)


def _finest(
    windows: Sequence[RequestedWindow], now: datetime, _: datetime | None
) -> tuple[Span, ...]:
    recent = [window for window in windows if window.start >= now - FIVE_MINUTE_SPAN]
    chunks: list[list[RequestedWindow]] = []
    for window in windows[: len(windows) - len(recent)]:
        if window.end - window.start > HOURLY_SPAN:
            raise InvalidRequest(
                f"The window {window} is longer than {HOURLY_SPAN.days} days: the API has nothing "
                "finer than daily points for it. Ask for shorter windows."
            )
        if not chunks or window.end > chunks[-1][0].start + HOURLY_SPAN:
            chunks.append([])
        chunks[-1].append(window)
    spans = [
        Span(chunk[0].start, max(window.end for window in chunk), "hourly", tuple(chunk))
        for chunk in chunks
    ]
    if recent:
        spans.append(Span(recent[0].start, None, "5-minute", tuple(recent)))
    return tuple(spans)


PLANNERS: Mapping[
    str, Callable[[Sequence[RequestedWindow], datetime, datetime | None], tuple[Span, ...]]
] = {"daily": _daily, "finest": _finest}
