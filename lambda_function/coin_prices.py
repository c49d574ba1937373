"""The prices of the coins of one event, each coin by itself: asked for, sliced and kept.

What a coin lacks, and why, is noted beside it; what concerns all coins ends the asking.
"""

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import chain
from typing import Any

from lambda_function.absence import Answer
from lambda_function.api_time import describe_ahead
from lambda_function.bodies import MarketChart
from lambda_function.coingecko import ApiResponse, CoinGecko
from lambda_function.errors import IngestionError, OutOfPlan, OutOfTime, RequestProblem
from lambda_function.events import PricesRequest
from lambda_function.lake import Spool, put
from lambda_function.request_planner import (
    Call,
    Span,
    SpanPlan,
    asked_until,
    longer_span,
    plan_spans,
)
from lambda_function.slicing import Record, slice_windows
from lambda_function.windows import RequestedWindow, index_ranges, iso

logger = logging.getLogger(__name__)

# After so many coins in a row that failed for a passing reason, the API is down: asking for
# hundreds more, each several times, would take hours to learn nothing.
MAX_FAILURES_IN_A_ROW = 8
# What is kept of an invocation's time for each byte to write, in seconds: ten times what a fast
# processor takes.
_RESERVE_A_BYTE = 1e-7
# Lambda takes 6 MB back, 6.29 million bytes. MAX_WINDOWS windows take at most 3.6 million, were
# each to go to an object of its own, the coins that are under way when this is reached take 0.6
# million, and the names of thousands of coins 0.3 million: the rest is for reasons.
MAX_ABSENCES = 1_750_000
# By how much the API's clock and earliest time allowed may differ from ours.
_EARLIEST_MARGIN = timedelta(minutes=15)
_KEPT_BODY = 64 * 1024


@dataclass
class Coin:
    """What became of one coin.

    Attributes:
        coin_id: The API's id of it.
        points: How many prices the windows have of it.
        fetched: Whether the API had something for it.
        answered: Whether anything became of it in this invocation.
        problem: Why it failed, in whole or in part.
        absent: Indices of the windows without a price, by status and reason.
        rejected: Where bodies that cannot be used were kept.
        left: The requests that there was no time for.
    """

    coin_id: str
    points: int = 0
    fetched: bool = False
    answered: bool = False
    problem: RequestProblem | None = None
    absent: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    rejected: list[str] = field(default_factory=list)
    left: tuple[Call, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether nothing could be had of it."""
        return self.problem is not None and not self.fetched

    def lacks(self, status: str, reason: str, windows: Sequence[RequestedWindow]) -> None:
        """Notes that windows have no price of it, and why."""
        self.absent[status, reason].extend(window.index for window in windows)

    def absences(self) -> list[dict[str, Any]]:
        """The windows without a price, as the response has them: inclusive ranges of indices."""
        return [
            {"coin_id": self.coin_id, "status": status, "reason": reason, "windows": ranges}
            for (status, reason), indices in self.absent.items()
            if (ranges := index_ranges(indices))
        ]


class CoinPrices:
    """The work on one event's coins, each independent of the others.

    Args:
        request: The event.
        api: The client.
        spool: Where records are kept until they are written.
        planned: How many calls were planned, which the credits left suffice for.

    Attributes:
        window_points: How many prices each window has of the coins so far.
        refusal: The first error that concerns all coins; nothing is asked after it.
        failures_in_a_row: How many coins failed on end, up to the last one.
    """

    def __init__(self, request: PricesRequest, api: CoinGecko, spool: Spool, planned: int) -> None:
        self.window_points = [0] * len(request.windows)
        self._filled = [False] * len(request.windows)
        # The windows of each object, objects in the order in which the event first names them.
        self._windows_of: dict[str, list[int]] = defaultdict(list)
        for window in request.windows:
            self._windows_of[window.uri].append(window.index)
        self._request = request
        self._api = api
        self._spool = spool
        self.refusal: IngestionError | None = None
        self._spare_credits: int | None = None
        if request.credits_left is not None:
            self._spare_credits = request.credits_left - planned
        self._clock_reason: str | None = None
        self.failures_in_a_row = request.failures_in_a_row
        self._absences = 0
        self._out_of_time = False
        self._lock = threading.Lock()

    def coin(self, position: int) -> Coin | None:
        """Fetches a coin and spools its records; ``None`` where time or room does not allow it."""
        if self._out_of_time or self._absences >= MAX_ABSENCES:
            return None
        coin = Coin(self._request.coins[position])
        calls = self._calls(coin)
        if calls:
            coin.problem = self._why_not_to_ask()
        records: list[Record] = []
        while calls:
            try:
                had, further = self._ask(coin, calls[0], position)
            except OutOfTime as error:
                # Others wait for this one, so that what it comes to counts for them as ever.
                self._out_of_time = True
                if error.attempts == calls[0].attempts and not coin.answered:
                    return None
                coin.left = (replace(calls[0], attempts=error.attempts), *calls[1:])
                break
            records += had
            calls[:1] = further
        coin.points = sum(content.points for record in records for content in record.contents)
        self._keep(position, records)
        self._note(coin, records)
        return coin

    def _calls(self, coin: Coin) -> list[Call]:
        """The requests to make for a coin: those left of it, or those for all windows."""
        begun = self._request.begun.get(coin.coin_id)
        if begun:
            coin.fetched = begun.fetched
            return list(begun.calls)
        plan = span_plan(self._request.windows, self._request, self._api)
        coin.lacks("out_of_plan", self._too_old(), plan.out_of_plan)
        return [Call(span) for span in plan.spans]

    def _why_not_to_ask(self) -> RequestProblem | None:
        """Why a coin is not even asked for; ``None`` where it is."""
        if self.refusal:
            return RequestProblem(f"Not asked for, after an error for all coins: {self.refusal}")
        if self.failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            return RequestProblem(
                f"Not asked for: the API had failed for {MAX_FAILURES_IN_A_ROW} coins in a row.",
                transient=True,
            )
        return None

    def write(self) -> list[dict[str, Any]]:
        """Writes what was kept, and describes each object as the response has it."""
        part = self._request.part
        written = self._spool.write([f"{uri}-{part:05d}.json.gz" for uri in self._windows_of])
        return [
            {
                **one,
                "points": sum(self.window_points[index] for index in windows),
                "windows": index_ranges([index for index in windows if self._filled[index]]),
            }
            for one, windows in zip(written, self._windows_of.values(), strict=True)
            if one
        ]

    def _ask(self, coin: Coin, call: Call, position: int) -> tuple[list[Record], list[Call]]:
        """What a request brings: records, and further requests that take the place of it.

        Raises:
            OutOfTime: It could not be made, or not once more; nothing was noted of it.
        """
        span, request = call.span, self._request
        if coin.problem:
            coin.lacks("failed", str(coin.problem), span.windows)
            return [], []
        try:
            response = self._api.market_chart(
                coin.coin_id,
                request.vs_currency,
                span.start,
                asked_until(span, self._api.clock.now()),
                call.attempts,
            )
        except OutOfTime:
            raise
        except OutOfPlan as problem:
            coin.answered = True
            narrower = span_plan(span.windows, request, self._api, _EARLIEST_MARGIN)
            if call.narrowed or narrower.spans == (span,):
                coin.lacks("out_of_plan", str(problem), span.windows)
                return [], []
            # The earliest time allowed moves: it may have overtaken the oldest window since the
            # plan, which must not cost the other windows of the request.
            coin.lacks("out_of_plan", str(problem), narrower.out_of_plan)
            return [], [Call(one, narrowed=True) for one in narrower.spans]
        except IngestionError as error:
            self.refusal = self.refusal or error
            coin.problem = RequestProblem(str(error), transient=error.retryable)
            coin.lacks("failed", str(error), span.windows)
            return [], []
        except RequestProblem as problem:
            # Without the body and the frames of the original, which would add up over the coins.
            coin.problem = RequestProblem(str(problem), transient=problem.transient)
            coin.lacks("failed", str(problem), span.windows)
            if problem.body is not None and request.rejected_uri:
                coin.rejected.append(self._reject(coin, span, position, problem.body, str(problem)))
            return [], []
        coin.answered = coin.fetched = True
        return self._sliced(coin, span, position, response)

    def _sliced(
        self, coin: Coin, span: Span, position: int, response: ApiResponse[MarketChart]
    ) -> tuple[list[Record], list[Call]]:
        """Slices an answer into records, and notes which windows have no price in it."""
        request = self._request
        faults = response.data.faults
        unplaced = any(fault.series == "prices" and fault.stamp is None for fault in faults)
        answer = Answer(response.data.prices, response.asked, unplaced=unplaced)
        if answer.useless and response.data.prices and request.rejected_uri:
            body = json.dumps(response.data._asdict()).encode()
            coin.rejected.append(self._reject(coin, span, position, body, answer.useless))
        span = self._without_open_windows(coin, span)
        records = self._slice(coin, span, response)
        lacking = [
            content.window
            for record in records
            for content in record.contents
            if not content.points
        ]
        if lacking and span.granularity == "5-minute" and self._may_ask_once_more():
            had = [window for window in span.windows if window not in lacking]
            # Of some coins the API has hourly points alone.
            longer = longer_span(lacking, self._api.clock.now())
            return (
                self._slice(coin, replace(span, windows=tuple(had)), response),
                [Call(longer)],
            )
        for record in records:
            for content in record.contents:
                if not content.points:
                    verdict = answer.verdict(content.window, filled=content.filled)
                    coin.lacks(*verdict, [content.window])
        return records, []

    def _slice(self, coin: Coin, span: Span, response: ApiResponse[MarketChart]) -> list[Record]:
        request = self._request
        return slice_windows(response, span, coin.coin_id, request.vs_currency, request.run_id)

    def _without_open_windows(self, coin: Coin, span: Span) -> Span:
        """A span without the windows that are still open by the API's time."""
        latest = max(window.end for window in span.windows)
        time = self._api.time_behind_clock(latest)
        if time is None:
            return span
        still_open = [window for window in span.windows if window.end > time]
        coin.lacks("failed", self._clock_is_ahead(), still_open)
        return replace(span, windows=tuple(w for w in span.windows if w.end <= time))

    def _clock_is_ahead(self) -> str:
        with self._lock:
            if self._clock_reason is None:
                ahead = describe_ahead(self._api.clock_ahead or 0)
                self._clock_reason = (
                    f"The window is still open by the API's time: {ahead}. Set the clock, as by "
                    "NTP; the window is asked for again."
                )
                logger.warning(self._clock_reason)
        return self._clock_reason

    def _may_ask_once_more(self) -> bool:
        """Whether the credits allow a call that the plan did not foresee; it counts as made."""
        with self._lock:
            if self._spare_credits is None:
                return True
            self._spare_credits -= 1
            return self._spare_credits >= 0

    def _keep(self, position: int, records: Iterable[Record]) -> None:
        """Spools a coin's lines, those of each object together."""
        lines = {uri: bytearray() for uri in self._windows_of}
        for record in records:
            lines[record.uri] += record.line
        self._spool.add(position, list(lines.values()))
        with self._lock:
            # What was had must still be written.
            self._api.deadline -= _RESERVE_A_BYTE * sum(map(len, lines.values()))

    def _reject(self, coin: Coin, span: Span, position: int, body: bytes, reason: str) -> str:
        """Keeps a body that cannot be used, named by the coin's place: no id gets into a path."""
        request = self._request
        uri = f"{request.rejected_uri}/prices-{request.part:05d}-{position:05d}.json"
        rejected = {
            "coin_id": coin.coin_id,
            "vs_currency": request.vs_currency,
            "requested_from": iso(span.start),
            "requested_to": span.end and iso(span.end),
            "reason": reason,
            "run_id": request.run_id,
            "rejected_at": iso(self._api.clock.now(), "milliseconds"),
            "body": self._api.settings.redact(body.decode(errors="replace"))[:_KEPT_BODY],
        }
        put(uri, json.dumps(rejected).encode())
        return uri

    def _note(self, coin: Coin, records: Iterable[Record]) -> None:
        down = coin.failed and coin.problem is not None and coin.problem.transient
        absences = len(json.dumps(coin.absences()))
        with self._lock:
            self._absences += absences
            if not coin.left:
                self.failures_in_a_row = self.failures_in_a_row + 1 if down else 0
            for content in chain.from_iterable(record.contents for record in records):
                self.window_points[content.window.index] += content.points
                self._filled[content.window.index] |= content.filled
        if coin.problem:
            logger.warning("%s: %s", coin.coin_id, coin.problem)
        else:
            logger.info("%s: %d prices", coin.coin_id, coin.points)

    def _too_old(self) -> str:
        plan = self._api.settings.plan
        return (
            f"The window begins more than {plan.history_days} days ago, which is as far back as "
            f"the API gives prices to the plan {plan.name}."
        )


def span_plan(
    windows: Sequence[RequestedWindow],
    request: PricesRequest,
    api: CoinGecko,
    margin: timedelta = timedelta(0),
) -> SpanPlan:
    """What to ask of one coin for these windows, as far back as the plan allows now.

    Args:
        windows: The windows.
        request: The event, which says the granularity.
        api: The client, which knows the plan.
        margin: By how much later than allowed the first answer has to begin.
    """
    now = api.clock.now()
    earliest_allowed = api.settings.plan.earliest_allowed(now)
    return plan_spans(
        windows, request.granularity, now, earliest_allowed and earliest_allowed + margin
    )
