"""What an event asks for, read and checked before anything is done."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from lambda_function.errors import InvalidRequest
from lambda_function.request_planner import PLANNERS, Call
from lambda_function.windows import RequestedWindow

# Lambda takes 6 MB, and takes 6 MB back. Of an event a window is up to 240 bytes, 2.4 MB in all. Of
# a response it is a number and, at the worst, half of a range: 0.2 MB in all, and as much again for
# 27 years' objects of a month. Should every window go to an object of its own, of 350 bytes, these
# are 3.6 MB and fit as well: no stream's folders have to be thought of here.
MAX_WINDOWS = 10_000

Event = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class BegunCoin:
    """A coin that an earlier invocation had in part.

    Attributes:
        calls: The requests that are left to make for it, at least one.
        fetched: Whether the API had something for it.
    """

    calls: tuple[Call, ...]
    fetched: bool

    def to_json(self) -> dict[str, Any]:
        """The coin as a continuation has it."""
        return {"calls": [call.to_json() for call in self.calls], "fetched": self.fetched}


@dataclass(frozen=True)
class PricesRequest:
    """What an event of the action ``prices`` asks for.

    Attributes:
        run_id: The run it is for.
        granularity: ``daily`` or ``finest``.
        vs_currency: The currency of the prices.
        coins: The coins, each once.
        windows: The windows, all of them closed.
        rejected_uri: The folder for bodies that cannot be used; ``None`` to keep none.
        part: How many invocations of the same work came before this one.
        credits_left: How many credits the work may take; ``None`` for any number.
        fetched: Whether an earlier part had any coin.
        begun: Of these coins, the ones that an earlier part had not all of.
        failures_in_a_row: How many coins had failed on end when an earlier part ended.
        passing: Whether a coin of an earlier part failed for a reason that passes.
    """

    run_id: str
    granularity: str
    vs_currency: str
    coins: tuple[str, ...]
    windows: tuple[RequestedWindow, ...]
    rejected_uri: str | None
    part: int
    credits_left: int | None
    fetched: bool
    begun: Mapping[str, BegunCoin] = field(default_factory=dict)
    failures_in_a_row: int = 0
    passing: bool = False

    @classmethod
    def parse(cls, event: Event, now: datetime) -> Self:
        """Reads the event.

        Args:
            event: The event, as JSON gives it.
            now: The time, by which windows must be closed.

        Raises:
            InvalidRequest: Something is missing or malformed, a window is not closed yet, or there
                are too many.
        """
        granularity = _required(event, "granularity", str)
        if granularity not in PLANNERS:
            raise InvalidRequest(
                f"The event's granularity is {granularity!r}: it must be one of "
                f"{', '.join(PLANNERS)}."
            )
        coins = _coins(_required(event, "coins", list))
        windows = _required(event, "windows", list)
        if not coins or not windows:
            raise InvalidRequest("The event names no coins or no windows: there is nothing to do.")
        if len(windows) > MAX_WINDOWS:
            raise InvalidRequest(
                f"The event has {len(windows)} windows, and one may have {MAX_WINDOWS}: make "
                "several events of it."
            )
        requested = tuple(_window(index, raw, now) for index, raw in enumerate(windows))
        return cls(
            run_id=_required(event, "run_id", str),
            granularity=granularity,
            vs_currency=_required(event, "vs_currency", str),
            coins=coins,
            windows=requested,
            rejected_uri=_optional(event, "rejected_uri", str),
            part=_optional(event, "part", int) or 0,
            credits_left=_optional(event, "credits_left", int),
            fetched=_optional(event, "fetched", bool) or False,
            begun=_begun(_optional(event, "begun", dict) or {}, requested),
            failures_in_a_row=_optional(event, "failures_in_a_row", int) or 0,
            passing=_optional(event, "passing", bool) or False,
        )


@dataclass(frozen=True)
class MarketsRequest:
    """What an event of the action ``markets`` asks for.

    Attributes:
        run_id: The run it is for.
        vs_currency: The currency of the values.
        top: How many of the largest coins; 0 for none.
        ids: Coins by name, each once.
        credits_left: How many credits it may take; ``None`` for any number.
        snapshot: The window to keep a snapshot for, with its address; ``None`` to keep none.
    """

    run_id: str
    vs_currency: str
    top: int
    ids: tuple[str, ...]
    credits_left: int | None
    snapshot: RequestedWindow | None

    @classmethod
    def parse(cls, event: Event, now: datetime) -> Self:
        """Reads the event.

        Args:
            event: The event, as JSON gives it.
            now: The time, by which windows must be closed.

        Raises:
            InvalidRequest: Something is missing or malformed, or the window is not closed yet.
        """
        top = _optional(event, "top", int) or 0
        ids = _coins(_optional(event, "ids", list) or [])
        snapshot = _optional(event, "snapshot", dict)
        if top < 0 or not (top or ids):
            raise InvalidRequest("The event must ask for the top coins (1 or more), ids, or both.")
        return cls(
            run_id=_required(event, "run_id", str),
            vs_currency=_required(event, "vs_currency", str),
            top=top,
            ids=ids,
            credits_left=_optional(event, "credits_left", int),
            snapshot=_snapshot_window(snapshot, now) if snapshot else None,
        )


@dataclass(frozen=True)
class FearAndGreedRequest:
    """What an event of the action ``fear_and_greed`` asks for.

    Attributes:
        run_id: The run it is for.
        uri: The file that the response goes to.
    """

    run_id: str
    uri: str

    @classmethod
    def parse(cls, event: Event) -> Self:
        """Reads the event.

        Args:
            event: The event, as JSON gives it.
            now: The time, by which windows must be closed.

        Raises:
            InvalidRequest: Something is missing or malformed.
        """
        return cls(run_id=_required(event, "run_id", str), uri=_required(event, "uri", str))


def seconds_allowed(event: Event) -> float:
    """How long the work on an event may take, by the event itself; infinite where it sets no bound.

    Raises:
        InvalidRequest: The bound is none.
    """
    seconds = _optional(event, "seconds", int)
    if seconds is None:
        return math.inf
    if seconds <= 0:
        raise InvalidRequest(f"The event's 'seconds' is {seconds}: it must be 1 or more.")
    return seconds


@dataclass(frozen=True)
class UsageRecord:
    """Where an invocation keeps how much it asked of the API.

    Attributes:
        uri: The file.
        asset: Who asks, as the record has it.
        run_id: The run it is for.
    """

    uri: str
    asset: str
    run_id: str

    @classmethod
    def parse(cls, event: Event) -> Self | None:
        """Reads it from an event; ``None`` where the event wants no record.

        Raises:
            InvalidRequest: Something is missing or malformed.
        """
        usage = _optional(event, "usage", dict)
        if usage is None:
            return None
        run_id = _required(event, "run_id", str)
        return cls(_required(usage, "uri", str), _required(usage, "asset", str), run_id)


def _begun(raw: Event, windows: Sequence[RequestedWindow]) -> dict[str, BegunCoin]:
    try:
        return {
            coin: BegunCoin(
                tuple(Call.from_json(call, windows) for call in one["calls"]), one["fetched"]
            )
            for coin, one in raw.items()
        }
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidRequest(f"The event's 'begun' is no continuation's: {error!r}.") from error


def _snapshot_window(snapshot: Event, now: datetime) -> RequestedWindow:
    return _window(0, {**_required(snapshot, "window", dict), "uri": snapshot.get("uri")}, now)


def _required(event: Event, name: str, kind: type[T]) -> T:
    value = _optional(event, name, kind)
    if value is None:
        raise InvalidRequest(f"The event has no {name!r}.")
    return value


def _optional(event: Event, name: str, kind: type[T]) -> T | None:
    value = event.get(name)
    if value is not None and type(value) is not kind:
        raise InvalidRequest(f"The event's {name!r} is {value!r}: it must be {kind.__name__}.")
    return value


def _coins(values: list[Any]) -> tuple[str, ...]:
    wrong = [value for value in values if not isinstance(value, str)]
    if wrong:
        raise InvalidRequest(f"The event names the coin {wrong[0]!r}: a coin id is a text.")
    return tuple(dict.fromkeys(values))


def _window(index: int, raw: Any, now: datetime) -> RequestedWindow:
    if not isinstance(raw, dict):
        raise InvalidRequest(f"The event's window {index} is {raw!r}: it must be an object.")
    window = RequestedWindow(
        index, _time(raw, "start"), _time(raw, "end"), _required(raw, "uri", str)
    )
    if window.end <= window.start:
        raise InvalidRequest(f"The window {window} ends before it begins.")
    if window.end > now:
        raise InvalidRequest(
            f"The window {window} is not closed yet: it can be asked for once it has ended."
        )
    return window


def _time(window: Event, name: str) -> datetime:
    text = _required(window, name, str)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"A window's {name} is {text!r}: it must be ISO 8601.") from None
    if time.tzinfo is None:
        raise InvalidRequest(f"A window's {name} is {text!r}: it must say that it is UTC (Z).")
    return time.astimezone(UTC)
