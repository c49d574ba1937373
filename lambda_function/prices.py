"""The action ``prices``: the prices of coins in windows, from the API to the raw lake."""

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import chain
from typing import Any, TypeVar

from lambda_function.absence import Answer
from lambda_function.api_time import describe_ahead
from lambda_function.bodies import MarketChart
from lambda_function.coingecko import THREADS, ApiResponse, CoinGecko
from lambda_function.errors import (
    BudgetExceeded,
    IngestionError,
    NothingFetched,
    NothingFetchedYet,
    OutOfPlan,
    OutOfTime,
    RequestProblem,
)
from lambda_function.events import BegunCoin, Event, PricesRequest
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
# What is kept of an invocation's time, in seconds: for the longest call that is under way, for each
# object and for each byte to write. A gigabyte takes a tenth of that on a fast processor.
_RESERVE, _RESERVE_AN_OBJECT, _RESERVE_A_BYTE = 45.0, 0.02, 1e-7
# Lambda takes 6 MB back, 6.29 million bytes. MAX_WINDOWS windows take at most 3.6 million, were
# each to go to an object of its own, the coins that are under way when this is reached take 0.6
# million, and the names of thousands of coins 0.3 million: the rest is for reasons.
MAX_ABSENCES = 1_750_000
# By how much the API's clock and earliest time allowed may differ from ours.
_EARLIEST_MARGIN = timedelta(minutes=15)
_KEPT_BODY = 64 * 1024

T = TypeVar("T")


def ingest_prices(event: Event, api: CoinGecko) -> dict[str, Any]:
    """Fetches the event's windows for its coins, and writes one raw object a distinct ``uri``.

    An object has a line a coin a stretch of neighbouring windows, see ``slice_windows``.

    A coin that cannot be had does not stop the others: it is in the response's ``absent``, with the
    reason. What concerns all coins ends the asking, and what was had before stays. Where time or
    the response's room runs short, the coins not handled yet are in its ``continuation``, those had
    in part with the requests that are left: however often the work is cut, it is the same.

    Args:
        event: The event, as JSON gives it.
        api: The client.

    Raises:
        InvalidRequest: The event is wrong, or the API does not have the currency.
        BudgetExceeded: It would take more credits than are left.
        Unauthorized: The API does not accept the key.
        Unreachable: The API never responded.
        OutOfTime: There was not even time for one answer.
        NothingFetched: Every coin failed.
    """
    began = api.clock.now()
    request = PricesRequest.parse(event, began)
    planned = _check_budget(request, _plan(request.windows, request, api))
    api.deadline -= _RESERVE + _RESERVE_AN_OBJECT * len({window.uri for window in request.windows})
    with Spool(len(request.coins)) as spool:
        ingestion = _Ingestion(request, api, spool, planned)
        outcomes = _run_all(ingestion.coin, len(request.coins), api)
        handled = [coin for coin in outcomes if coin]
        if ingestion.refusal and not (request.fetched or any(coin.fetched for coin in handled)):
            raise ingestion.refusal
        continuation = _continuation(request, handled, api, ingestion.failures_in_a_row)
        objects = ingestion.write()
    return {
        "objects": objects,
        "window_points": ingestion.window_points,
        "points": {coin.coin_id: coin.points for coin in handled},
        "absent": [absence for coin in handled for absence in coin.absences()],
        "rejected": [uri for coin in handled for uri in coin.rejected],
        "calls": api.calls,
        "credits": api.credits,
        "source": api.source,
        "clock_ahead": api.clock_ahead,
        "fetched_at": iso(began, "milliseconds"),
        "continuation": continuation,
    }


@dataclass
class _Coin:
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


class _Ingestion:
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

    def coin(self, position: int) -> _Coin | None:
        """Fetches a coin and spools its records; ``None`` where time or room does not allow it."""
        if self._out_of_time or self._absences >= MAX_ABSENCES:
            return None
        coin = _Coin(self._request.coins[position])
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

    def _calls(self, coin: _Coin) -> list[Call]:
        """The requests to make for a coin: those left of it, or those for all windows."""
        begun = self._request.begun.get(coin.coin_id)
        if begun:
            coin.fetched = begun.fetched
            return list(begun.calls)
        plan = _plan(self._request.windows, self._request, self._api)
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

    def _ask(self, coin: _Coin, call: Call, position: int) -> tuple[list[Record], list[Call]]:
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
            narrower = _plan(span.windows, request, self._api, _EARLIEST_MARGIN)
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
        self, coin: _Coin, span: Span, position: int, response: ApiResponse[MarketChart]
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

    def _slice(self, coin: _Coin, span: Span, response: ApiResponse[MarketChart]) -> list[Record]:
        request = self._request
        return slice_windows(response, span, coin.coin_id, request.vs_currency, request.run_id)

    def _without_open_windows(self, coin: _Coin, span: Span) -> Span:
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

    def _reject(self, coin: _Coin, span: Span, position: int, body: bytes, reason: str) -> str:
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

    def _note(self, coin: _Coin, records: Iterable[Record]) -> None:
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


def _plan(
    windows: Sequence[RequestedWindow],
    request: PricesRequest,
    api: CoinGecko,
    margin: timedelta = timedelta(0),
) -> SpanPlan:
    now = api.clock.now()
    earliest_allowed = api.settings.plan.earliest_allowed(now)
    return plan_spans(
        windows, request.granularity, now, earliest_allowed and earliest_allowed + margin
    )


def _check_budget(request: PricesRequest, plan: SpanPlan) -> int:
    """How many calls are planned, which the credits left suffice for."""
    coins, a_coin = len(request.coins), len(plan.spans)
    planned = sum(
        len(request.begun[name].calls) if name in request.begun else a_coin
        for name in request.coins
    )
    if request.credits_left is None or planned <= request.credits_left:
        return planned
    left = max(0, request.credits_left)
    largest_first = sorted((len(span.windows) for span in plan.spans), reverse=True)
    raise BudgetExceeded(
        f"{coins} coins take {planned} API calls ({a_coin} a coin), and {left} of the "
        f"month's credits are left. Nothing was asked. What fits: {left // a_coin} coins with all "
        f"windows, or all coins with {sum(largest_first[: left // coins])} of the "
        f"{len(request.windows)} windows."
    )


def _run_all(work: Callable[[int], T], count: int, api: CoinGecko) -> list[T]:
    # A thread for each call a second: more would only wait, each with a coin half done.
    threads = min(THREADS, -(-api.settings.plan.calls_a_minute // 60))
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, position) for position in range(count)]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            api.halt()
            pool.shutdown(cancel_futures=True)
    return [future.result() for future in futures]


def _continuation(
    request: PricesRequest, handled: Sequence[_Coin], api: CoinGecko, failures_in_a_row: int
) -> dict[str, Any] | None:
    """What is left to do; ``None`` for nothing.

    Raises:
        OutOfTime: Nothing was done, so that it would go on for ever.
        NothingFetched: Nothing is left to do, and no coin could be had.
    """
    done = {coin.coin_id for coin in handled if not coin.left}
    left = [name for name in request.coins if name not in done]
    begun = {
        **request.begun,
        **{coin.coin_id: BegunCoin(coin.left, coin.fetched) for coin in handled if coin.left},
    }
    fetched = request.fetched or any(not coin.failed for coin in handled)
    if not handled:
        raise OutOfTime(
            f"The time left was too short for even one answer of {len(left)} coins: give the "
            "invocation more time, or fewer windows."
        )
    passing = request.passing or any(coin.problem and coin.problem.transient for coin in handled)
    if left:
        return {
            "coins": left,
            "part": request.part + 1,
            "credits_left": request.credits_left and max(0, request.credits_left - api.credits),
            "fetched": fetched,
            "begun": {name: begun[name].to_json() for name in left if name in begun},
            "failures_in_a_row": failures_in_a_row,
            "passing": passing,
        }
    if not fetched:
        reasons = "; ".join(f"{coin.coin_id}: {coin.problem}" for coin in handled[:3])
        raise (NothingFetchedYet if passing else NothingFetched)(
            f"None of the {len(handled)} coins could be had for the windows from "
            f"{request.windows[0]} on. {reasons}"
        )
    return None
