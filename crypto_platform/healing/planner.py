"""Healing: which windows lack a price that can yet be had, and the fewest calls that bring it.

Nothing here asks or launches anything: the ledger and the runs of the past go in, and what to ask
for comes out. How often a window was tried is read from the runs that tried it, so that there is
no second book to keep, and a person who deletes those runs has it tried anew.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import dagster as dg

from crypto_platform.core.streams import Stream, Window
from crypto_platform.healing.attempts import MAX_ATTEMPTS, Attempt, first_scheduled, past_attempts
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.sql import ledger_statement
from lambda_function.request_planner import windows_a_call

# 30 minutes, 2 hours, 8 hours, a day: five tries last a day and a half, longer than most outages.
_FIRST_PAUSE = timedelta(minutes=30)
_PAUSE_GROWS = 4
_LONGEST_PAUSE = timedelta(days=1)

# A run costs what so many windows cost that are asked for without need, and without a call.
_WINDOWS_A_RUN_IS_WORTH = 90

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Gap:
    """Neighbouring windows of a coin that lack a price, and have been tried equally often.

    Attributes:
        coin_id: The coin.
        status: ``pending``, ``failed`` or ``missing_at_source``.
        first: Start of the first window.
        last: Start of the last window.
        reason: What the ledger says; ``None`` where no load has told of them.
        alive_since: When a later window of the coin first had a price; ``None`` where none has.
        attempts: How many healing runs were about them.
        attempted_at: When the last of these ended.
    """

    coin_id: str
    status: str
    first: datetime
    last: datetime
    reason: str | None = None
    alive_since: datetime | None = None
    attempts: int = 0
    attempted_at: datetime | None = None

    @property
    def retry_due_at(self) -> datetime | None:
        """When the pause after the last try is over; ``None`` once there were enough of them."""
        if self.attempts >= MAX_ATTEMPTS:
            return None
        if self.attempted_at is None:
            return _EPOCH
        pause: timedelta = _FIRST_PAUSE * _PAUSE_GROWS ** (self.attempts - 1)
        return self.attempted_at + min(pause, _LONGEST_PAUSE)

    @property
    def given_up(self) -> bool:
        """Whether a person has to look; that the source has nothing is no one's fault."""
        return self.attempts >= MAX_ATTEMPTS and self.status != "missing_at_source"


@dataclass(frozen=True)
class HealRequest:
    """One run that heals: a range of windows, and the coins that lack a price there.

    Attributes:
        stream: The stream.
        first: The first window.
        last: The last window.
        coins: The coins to ask for; one call each brings the whole range.
        number: The number of the try.
    """

    stream: Stream
    first: Window
    last: Window
    coins: tuple[str, ...]
    number: int

    @property
    def partition_range(self) -> tuple[str, str]:
        """Keys of the first and the last partition."""
        return self.stream.partition_key(self.first), self.stream.partition_key(self.last)

    @property
    def calls(self) -> int:
        """How many calls to the API it takes."""
        return len(self.coins)

    def overlaps(self, other: Window) -> bool:
        """Whether any of its windows lies in a stretch of time."""
        return self.first.start < other.end and other.start < self.last.end


def latest_due(stream: Stream, now: datetime) -> Window:
    """The newest window that the API has, and that the schedule has had its turn at."""
    return stream.window_at(now - stream.overdue_after - stream.window_length)


def find_gaps(
    warehouse: Warehouse, stream: Stream, instance: dg.DagsterInstance, now: datetime
) -> list[Gap]:
    """What of a stream lacks a price that can yet be had, with how often it was tried.

    It begins at the oldest window that a load or the schedule was ever about: a history that nobody
    has asked for is not sick. What is certain to stay absent (out of plan, quarantined, long
    missing at the source) is not sick either.

    Raises:
        WarehouseBusyError: Another process holds the warehouse.
    """
    (found,) = warehouse.query(ledger_statement("oldest_window"), [stream.name])
    oldest = found["oldest"] or first_scheduled(stream, instance)
    if oldest is None:
        return []
    young = now - stream.may_come_within - stream.window_length
    rows = warehouse.query(
        ledger_statement("sick_windows"),
        [stream.name, oldest, latest_due(stream, now).start, young, young],
    )
    gaps = [
        Gap(
            coin_id=row["coin_id"],
            status=row["status"],
            first=row["first_window"],
            last=row["last_window"],
            reason=row["reason"],
            alive_since=row["alive_since"],
        )
        for row in rows
    ]
    return with_attempts(
        gaps, past_attempts(stream, instance) if gaps else [], stream.window_length
    )


def with_attempts(gaps: Iterable[Gap], attempts: Sequence[Attempt], length: timedelta) -> list[Gap]:
    """Sick windows with their tries, cut where these differ.

    A coin without any later price is taken as one: what is learned of it by trying holds for its
    next window too, so that a dead coin is given up once and not window by window. When it has a
    price again, the tries made while it was dead are forgotten.

    Args:
        gaps: Windows whose tries are not counted yet.
        attempts: The healing runs of their stream.
        length: Length of a window.
    """
    by_coin: dict[str, list[Attempt]] = {}
    for one in attempts:
        for coin in one.coins:
            by_coin.setdefault(coin, []).append(one)
    counted = [
        part
        for windows in gaps
        for part in _split_by_attempts(windows, by_coin.get(windows.coin_id, ()), length)
    ]
    delisted: dict[str, Gap] = {}
    for part in counted:
        if part.alive_since is None:
            most = delisted.setdefault(part.coin_id, part)
            if (part.attempts, part.attempted_at or _EPOCH) > (
                most.attempts,
                most.attempted_at or _EPOCH,
            ):
                delisted[part.coin_id] = part
    return [
        replace(part, attempts=most.attempts, attempted_at=most.attempted_at)
        if part.alive_since is None and (most := delisted[part.coin_id])
        else part
        for part in counted
    ]


def plan_requests(stream: Stream, gaps: Iterable[Gap], now: datetime) -> list[HealRequest]:
    """The fewest API calls that ask for all of these windows, in few ranges, newest first.

    Each window is in exactly one request with its coin. What lies between is asked for too where
    that costs no call.

    Args:
        stream: The stream.
        gaps: The windows to ask for.
        now: The time; it decides on what one call brings.
    """
    length = stream.window_length

    def number(start: datetime) -> int:
        return (start - _EPOCH) // length

    def one_call_reaches(first: int) -> float:
        windows = windows_a_call(stream.granularity, _EPOCH + first * length, length, now)
        return float("inf") if windows is None else first + windows - 1

    by_coin: dict[str, list[Gap]] = {}
    for windows in gaps:
        by_coin.setdefault(windows.coin_id, []).append(windows)
    calls = [
        call
        for coin, of_coin in by_coin.items()
        for call in _calls_of_coin(
            coin,
            sorted((number(one.first), number(one.last), one.attempts) for one in of_coin),
            one_call_reaches,
        )
    ]
    ranges: list[list[_Call]] = []
    last = 0
    asked_up_to: dict[str, int] = {}
    for call in sorted(calls, key=lambda call: (call.first, call.last, call.coin_id)):
        joins = (
            ranges
            and call.first <= last + _WINDOWS_A_RUN_IS_WORTH
            and call.last <= one_call_reaches(ranges[-1][0].first)
            # Else the coin's call before this one would be asked for again in part.
            and asked_up_to.get(call.coin_id, -1) < ranges[-1][0].first
        )
        if joins:
            ranges[-1].append(call)
            last = max(last, call.last)
        else:
            ranges.append([call])
            last = call.last
        asked_up_to[call.coin_id] = call.last

    def window(number: int) -> Window:
        return Window(start=_EPOCH + number * length, end=_EPOCH + (number + 1) * length)

    requests = [
        HealRequest(
            stream=stream,
            first=window(together[0].first),
            last=window(max(call.last for call in together)),
            coins=tuple(sorted(call.coin_id for call in together)),
            number=max(call.attempts for call in together) + 1,
        )
        for together in ranges
    ]
    return sorted(requests, key=lambda request: request.last.start, reverse=True)


def select_requests(
    requests: Iterable[HealRequest], busy: Sequence[Window], calls: int
) -> tuple[list[HealRequest], int]:
    """What may be launched now: within a number of calls, and never a window twice at once.

    Args:
        requests: What is to be asked for, the most urgent first; of one stream.
        busy: Stretches of time that runs on the stream are about.
        calls: How many calls there are.

    Returns:
        The requests, of which the last may have fewer coins than it had, and how many calls the
        ones left out for want of calls would take.
    """
    chosen: list[HealRequest] = []
    lacking = 0
    for request in requests:
        taken = [Window(start=one.first.start, end=one.last.end) for one in chosen]
        if any(map(request.overlaps, [*busy, *taken])):
            continue
        fitting = request.coins[: max(calls, 0)]
        lacking += len(request.coins) - len(fitting)
        if fitting:
            chosen.append(replace(request, coins=fitting))
            calls -= len(fitting)
    return chosen, lacking


def _split_by_attempts(windows: Gap, attempts: Sequence[Attempt], length: timedelta) -> list[Gap]:
    relevant = [
        one
        for one in attempts
        if one.first <= windows.last
        and one.last >= windows.first
        and (windows.alive_since is None or one.at >= windows.alive_since)
    ]
    after = windows.last + length
    bounds = {windows.first, after}
    for one in relevant:
        bounds |= {max(one.first, windows.first), min(one.last + length, after)}
    parts = []
    for first, end in pairwise(sorted(bounds)):
        about = [one.at for one in relevant if one.first <= first and end <= one.last + length]
        part = replace(windows, first=first, last=end - length, attempts=len(about))
        parts.append(replace(part, attempted_at=max(about)) if about else part)
    return parts


@dataclass(frozen=True)
class _Call:
    """One call: the windows of a coin from the first that lacks a price to the last."""

    coin_id: str
    first: int
    last: int
    attempts: int


def _calls_of_coin(
    coin: str, gaps: Iterable[tuple[int, int, int]], reaches: Callable[[int], float]
) -> list[_Call]:
    """As few calls as bring all sick windows of a coin: each as far as it reaches."""
    calls: list[_Call] = []
    for first, last, attempts in gaps:
        begin = first
        while begin <= last:
            if not calls or begin > reaches(calls[-1].first):
                calls.append(_Call(coin, begin, begin, attempts))
            end = int(min(last, reaches(calls[-1].first)))
            calls[-1] = replace(calls[-1], last=end, attempts=max(attempts, calls[-1].attempts))
            begin = end + 1
    return calls
