"""Which windows lack a price that can yet be had, and the fewest calls that bring it.

Nothing here asks or launches anything: the ledger and past runs go in, and requests come out.
Attempts are counted from the runs that made them, so that there is no second record to keep, and
deleting those runs starts the count anew.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import dagster as dg

from crypto_platform.core.streams import Stream, Window
from crypto_platform.healing.attempts import MAX_ATTEMPTS, Attempt, past_attempts
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.sql import ledger_statement
from lambda_function.request_planner import windows_a_call

# 30 minutes, 2 hours, 8 hours, a day: five attempts last a day and a half, longer than most
# outages.
_FIRST_PAUSE = timedelta(minutes=30)
_PAUSE_GROWS = 4
_LONGEST_PAUSE = timedelta(days=1)

# A run costs as much as so many windows that are asked for without need, and without a call.
_WINDOWS_A_RUN_IS_WORTH = 90

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Gap:
    """Neighbouring windows of a coin that lack a price, with equally many attempts.

    Attributes:
        coin_id: The coin.
        status: ``pending``, ``failed`` or ``missing_at_source``.
        first: Start of the first window.
        last: Start of the last window.
        reason: The ledger's reason; ``None`` where no load was about them.
        alive_since: When a later window of the coin first had a price; ``None`` where none has.
        attempts: How many healing runs asked for them.
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
        """When the next attempt is due; ``None`` after the last one."""
        if self.attempts >= MAX_ATTEMPTS:
            return None
        if self.attempted_at is None:
            return _EPOCH
        pause: timedelta = _FIRST_PAUSE * _PAUSE_GROWS ** (self.attempts - 1)
        return self.attempted_at + min(pause, _LONGEST_PAUSE)

    @property
    def given_up(self) -> bool:
        """Whether it needs a person; what the source lacks does not."""
        return self.attempts >= MAX_ATTEMPTS and self.status != "missing_at_source"


@dataclass(frozen=True)
class HealRequest:
    """One run that heals: a range of windows, and the coins that lack a price there.

    Attributes:
        stream: The stream.
        first: The first window.
        last: The last window.
        coins: The coins to ask for; one call each brings the whole range.
        number: The number of the attempt.
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
        """How many calls of the API it takes."""
        return len(self.coins)

    def overlaps(self, other: Window) -> bool:
        """Whether any of its windows lies in a stretch of time."""
        return self.first.start < other.end and other.start < self.last.end


def find_gaps(
    warehouse: Warehouse, stream: Stream, instance: dg.DagsterInstance, now: datetime
) -> list[Gap]:
    """The gaps of a stream that can yet be filled, with their attempts.

    They are among what ``completeness`` expects: a history that nobody has asked for is no gap. Nor
    is what is certain to stay absent: out of plan, quarantined, long missing at the source.

    Args:
        warehouse: What has the ledger: the warehouse, or the record of it.
        stream: The stream.
        instance: Dagster's instance, for past runs.
        now: The time; what is not due yet is no gap.

    Raises:
        WarehouseBusyError: Another process holds the warehouse.
    """
    young = now - stream.may_come_within - stream.window_length
    rows = warehouse.query(
        ledger_statement("gaps"),
        [stream.name, stream.latest_due(now).start, young, young],
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
    """Gaps with their attempts, cut where these differ.

    A coin without any later price has one count for all its windows, so that a delisted coin is
    given up once and not window by window. Once it has a price again, the attempts made while it
    was delisted no longer count.

    Args:
        gaps: Gaps whose attempts are not counted yet.
        attempts: The healing runs of their stream.
        length: Length of a window.
    """
    by_coin: dict[str, list[Attempt]] = {}
    for one in attempts:
        for coin in one.coins:
            by_coin.setdefault(coin, []).append(one)
    counted = [
        part
        for gap in gaps
        for part in _split_by_attempts(gap, by_coin.get(gap.coin_id, ()), length)
    ]
    delisted: dict[str, Gap] = {}
    for gap in counted:
        if gap.alive_since is None:
            delisted[gap.coin_id] = max(delisted.get(gap.coin_id, gap), gap, key=_progress)
    return [
        replace(gap, attempts=most.attempts, attempted_at=most.attempted_at)
        if gap.alive_since is None and (most := delisted[gap.coin_id])
        else gap
        for gap in counted
    ]


def _progress(gap: Gap) -> tuple[int, datetime]:
    return gap.attempts, gap.attempted_at or _EPOCH


def plan_requests(stream: Stream, gaps: Iterable[Gap], now: datetime) -> list[HealRequest]:
    """The fewest calls that ask for all windows of these gaps, in few ranges, newest first.

    Each window is in exactly one request with its coin. What lies between gaps is asked for too
    where that costs no call.

    Args:
        stream: The stream.
        gaps: The gaps to fill.
        now: The time; it decides on what one call brings.
    """

    def one_call_reaches(first: int) -> float:
        start = stream.window_of_index(first).start
        windows = windows_a_call(stream.granularity, start, stream.window_length, now)
        return float("inf") if windows is None else first + windows - 1

    by_coin: dict[str, list[Gap]] = {}
    for gap in gaps:
        by_coin.setdefault(gap.coin_id, []).append(gap)
    calls = [
        call
        for coin, of_coin in by_coin.items()
        for call in _calls_of_coin(
            coin,
            sorted(
                (stream.index_at(gap.first), stream.index_at(gap.last), gap.attempts)
                for gap in of_coin
            ),
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

    requests = [
        HealRequest(
            stream=stream,
            first=stream.window_of_index(together[0].first),
            last=stream.window_of_index(max(call.last for call in together)),
            coins=tuple(sorted(call.coin_id for call in together)),
            number=max(call.attempts for call in together) + 1,
        )
        for together in ranges
    ]
    return sorted(requests, key=lambda request: request.last.start, reverse=True)


def select_requests(
    requests: Iterable[HealRequest], busy: Sequence[Window], calls: int
) -> tuple[list[HealRequest], int]:
    """The requests to launch now: within a number of calls, and never a window twice at once.

    Args:
        requests: The requests of one stream, the most urgent first.
        busy: Stretches of time that unfinished runs on the stream are about.
        calls: How many calls there are.

    Returns:
        The requests, of which the last may have fewer coins than before, and how many calls are
        lacking for the others.
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


def _split_by_attempts(gap: Gap, attempts: Sequence[Attempt], length: timedelta) -> list[Gap]:
    relevant = [
        one
        for one in attempts
        if one.first <= gap.last
        and one.last >= gap.first
        and (gap.alive_since is None or one.at >= gap.alive_since)
    ]
    after = gap.last + length
    bounds = {gap.first, after}
    for one in relevant:
        bounds |= {max(one.first, gap.first), min(one.last + length, after)}
    parts = []
    for first, end in pairwise(sorted(bounds)):
        about = [one.at for one in relevant if one.first <= first and end <= one.last + length]
        part = replace(gap, first=first, last=end - length, attempts=len(about))
        parts.append(replace(part, attempted_at=max(about, default=None)))
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
    """As few calls as fill all gaps of a coin: each as far as it reaches."""
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
