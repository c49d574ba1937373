"""The price API: how it is called.

A call goes through one limiter and is made again where that can help. It gives parsed data, or
raises a ``RequestProblem`` where one request is concerned, an ``IngestionError`` where all are.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Generic, NoReturn, Self, TypeVar
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from lambda_function.api_time import CLOCK_TOLERANCE, seconds_ahead
from lambda_function.bodies import (
    MarketChart,
    Markets,
    decoded,
    parse_chart,
    parse_fear_and_greed,
    parse_markets,
    parse_object,
)
from lambda_function.error_mapping import Received, classify
from lambda_function.errors import (
    IngestionError,
    NoResponse,
    OutOfTime,
    RateLimited,
    RequestProblem,
    Unreachable,
)
from lambda_function.plans import MARKETS_A_PAGE, USER_AGENT, ApiSettings
from lambda_function.proxies import describe_way, is_loopback, proxy_of, redact_proxy
from lambda_function.rate_limiter import Clock, RateLimiter, sleep

logger = logging.getLogger(__name__)

# Calls under way at once: a paid plan's 500 a minute are eight a second.
THREADS = 8
MAX_CALLS_A_REQUEST = 4
# Seconds to connect, and to wait for the next bytes of a response.
TIMEOUTS = (5.0, 30.0)
# How long the body of a response may take, and how large it may be: ten years of days are 0.5 MB.
MAX_BODY_SECONDS = 120.0
MAX_BODY = 64 * 1024 * 1024
_CHUNK = 64 * 1024
# The longest ``Retry-After`` that the API is documented to send.
MAX_WAIT = 120.0

# Seconds before the second attempt; each further wait is twice as long.
_FIRST_WAIT = 1.0
# The minute's calls are spent: asking within seconds would only prolong that.
_FIRST_WAIT_RATE_LIMITED = 10.0
_JITTER = random.SystemRandom()

T = TypeVar("T")


@dataclass(frozen=True)
class ApiResponse(Generic[T]):
    """A response of the API that carries data.

    Attributes:
        data: The body, parsed and of the shape it must have.
        asked: The query that was sent.
        received_at: When the response was there.
        source: ``coingecko``, or ``simulated`` where a simulated market says that it is one.
    """

    data: T
    asked: Mapping[str, str]
    received_at: datetime
    source: str


class CoinGecko:
    """A client for one invocation, shared by its threads.

    Attributes:
        settings: How to call the API.
        clock: The time.
        deadline: When to stop, in the clock's monotonic seconds.
        calls: Requests sent so far.
        credits: Successful responses so far, which is what the API counts by the month.
        source: Where the responses came from: ``simulated`` once one said so.
        clock_ahead: By how many seconds the clock is ahead of the API's, by the answer that has the
            latest time, as others may be from a cache; ``None`` while none has any.
    """

    def __init__(
        self, settings: ApiSettings, rate_limiter: RateLimiter, clock: Clock, deadline: float
    ) -> None:
        self._proxy = proxy_of(settings.base_url)
        self.settings = replace(settings, way=describe_way(self._proxy))
        self.clock = clock
        self.deadline = deadline
        self.calls = 0
        self.credits = 0
        self.source = "coingecko"
        self.clock_ahead: float | None = None
        self._pinged = False
        self._ping_lock = threading.Lock()
        self._rate_limiter = rate_limiter
        self._responded = False
        self._halt = threading.Event()
        self._lock = threading.Lock()
        self._session = requests.Session()
        self._session.headers.update(
            {"Accept": "application/json", "User-Agent": USER_AGENT, **settings.headers()}
        )
        # What the environment says of proxies is not meant for this machine's own servers.
        self._session.trust_env = not is_loopback(settings.base_url)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=THREADS))

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Ends it: waiting threads stop, connections are closed."""
        self.halt()
        self._session.close()

    def halt(self) -> None:
        """Makes every thread that waits for its turn stop waiting, and gives none another."""
        self._halt.set()

    def ping(self) -> ApiResponse[dict[str, Any]]:
        """Asks whether the API is there and takes the key."""
        return self._get("/ping", lambda _: {}, parse_object)

    def time_behind_clock(self, latest: datetime) -> datetime | None:
        """The API's time, where the clock is so far ahead that a moment is yet to come by it.

        One answer may be an old one from a cache: the API is asked once more before it is believed.

        Args:
            latest: The moment, which is past by the clock.

        Returns:
            The time, or ``None`` where the moment is past by the API's time too, or where the
            clocks differ by no more than the tolerance.
        """
        with self._ping_lock:
            if self._time_before(latest) and not self._pinged:
                self._pinged = True
                try:
                    self.ping()
                except (RequestProblem, IngestionError) as problem:
                    # The answer that raised the doubt was had, and paid for: it is not lost to it.
                    logger.warning("The API's time could not be asked for. %s", problem)
            return self._time_before(latest)

    def _time_before(self, latest: datetime) -> datetime | None:
        ahead = timedelta(seconds=self.clock_ahead or 0)
        time = self.clock.now() - ahead
        return time if ahead > CLOCK_TOLERANCE and time < latest else None

    def market_chart(
        self,
        coin_id: str,
        vs_currency: str,
        start: datetime,
        end: datetime | None,
        attempts: int = 0,
    ) -> ApiResponse[MarketChart]:
        """A coin's prices, market caps and volumes over a span.

        Args:
            coin_id: The API's id of the coin.
            vs_currency: The currency of the values.
            start: Where the span begins.
            end: Where it ends; ``None`` for the moment the request is sent.
            attempts: How often this was asked in vain before, by an earlier invocation.

        Raises:
            RequestProblem: The API gave no data, or the id cannot be one.
            OutOfTime: The time left does not allow another attempt; it tells how many were made.
        """
        if not coin_id.strip("."):
            # No escaping keeps a path segment of dots from being taken as a way up.
            raise RequestProblem(f"{coin_id!r} cannot be the id of a coin: correct it.")
        return self._get(
            f"/coins/{quote(coin_id, safe='', errors='replace')}/market_chart/range",
            lambda now: {
                "vs_currency": vs_currency,
                "from": str(math.floor(start.timestamp())),
                "to": str(math.floor((end or now).timestamp())),
                "precision": "full",
            },
            parse_chart,
            "The API has no coin of this id, or no longer: correct the id or stop tracking it.",
            attempts,
        )

    def markets(
        self, vs_currency: str, *, ids: Sequence[str] = (), page: int = 1
    ) -> ApiResponse[Markets]:
        """A page of coins as the market sees them now, the largest first.

        Args:
            vs_currency: The currency of the values.
            ids: The coins wanted, at most a page of them; none for all coins.
            page: Which page, from 1.

        Raises:
            RequestProblem: The API gave no data.
        """
        query = {
            "vs_currency": vs_currency,
            "order": "market_cap_desc",
            "per_page": str(MARKETS_A_PAGE),
            "page": str(page),
            "precision": "full",
        }
        if ids:
            query["ids"] = ",".join(ids)
        return self._get("/coins/markets", lambda _: query, parse_markets)

    def fear_and_greed(self) -> ApiResponse[dict[str, Any]]:
        """All days of the Fear & Greed index, where the settings are of an API that has it."""
        return self._get("/fng/", lambda _: {"limit": "0"}, parse_fear_and_greed)

    def _get(
        self,
        path: str,
        query: Callable[[datetime], Mapping[str, str]],
        parse: Callable[[Any], T],
        advice_on_404: str | None = None,
        attempts: int = 0,
    ) -> ApiResponse[T]:
        try:
            while True:
                self._rate_limiter.wait(self.deadline, self._halt)
                try:
                    return self._request(path, query(self.clock.now()), parse, advice_on_404)
                except RequestProblem as problem:
                    attempts += 1
                    wait = _wait(problem, attempts)
                    if isinstance(problem, RateLimited):
                        # Every thread's calls are limited, whether this one is made again or not.
                        self._rate_limiter.pause(wait)
                    if not problem.transient or attempts >= MAX_CALLS_A_REQUEST:
                        self._give_up(problem)
                    logger.warning("%s: %s Asking again in %.1f s.", path, problem, wait)
                    sleep(wait, self.deadline, self._halt, self.clock)
        except OutOfTime as error:
            error.attempts = attempts
            raise

    def _body_seconds(self) -> float:
        """How long a body may take: what is under way at the deadline does not hold up the rest."""
        left = self.deadline - self.clock.monotonic()
        return min(MAX_BODY_SECONDS, max(0.0, left) + TIMEOUTS[1])

    def _give_up(self, problem: RequestProblem) -> NoReturn:
        if isinstance(problem, NoResponse) and not self._responded:
            raise Unreachable(
                f"{self.settings.base_url} cannot be reached: {problem} "
                f"Check the network and {self.settings.url_variable}."
            ) from problem
        raise problem

    def _request(
        self,
        path: str,
        query: Mapping[str, str],
        parse: Callable[[Any], T],
        advice_on_404: str | None,
    ) -> ApiResponse[T]:
        response = self._send(path, query)
        now = self.clock.now()
        flaw: Exception | None = None
        if response.status_code == HTTPStatus.OK:
            try:
                data = parse(decoded(response.content))
            except (ValueError, RecursionError) as error:
                flaw = error
            else:
                return ApiResponse(data, query, now, _source(response))
        raise classify(response, flaw, now, self.settings, advice_on_404) from flaw

    def _send(self, path: str, query: Mapping[str, str]) -> Received:
        with self._lock:
            self.calls += 1
        try:
            with self._session.get(
                self.settings.base_url + path,
                params=query,
                timeout=TIMEOUTS,
                # A redirect would carry the key to wherever it points.
                allow_redirects=False,
                stream=True,
            ) as answer:
                response = Received(
                    answer.status_code, answer.headers, _body(answer, self._body_seconds())
                )
        except (requests.RequestException, HTTPError) as error:
            cause = redact_proxy(self.settings.redact(_root_cause(error)), self._proxy)
            raise NoResponse(
                f"The API gave no response ({cause}).{self.settings.way}", transient=True
            ) from error
        ahead = seconds_ahead(self.clock.now(), response.headers)
        with self._lock:
            self._responded = True
            if ahead is not None:
                self.clock_ahead = min(
                    ahead, math.inf if self.clock_ahead is None else self.clock_ahead
                )
            self.credits += response.status_code == HTTPStatus.OK
            if _source(response) != "coingecko":
                self.source = _source(response)
        return response


def _body(answer: requests.Response, seconds: float) -> bytes:
    """The whole body, unless it takes longer than allowed or is larger than any of the API's.

    Raises:
        ReadTimeout: It does: a timeout alone never ends on a body that comes byte by byte.
    """
    ends = time.monotonic() + seconds
    body = bytearray()
    # ``read1`` returns what has come; other ways to read wait for a whole chunk.
    while part := answer.raw.read1(_CHUNK, decode_content=True):
        body += part
        if time.monotonic() > ends or len(body) > MAX_BODY:
            raise requests.ReadTimeout(
                f"the body had no end after {seconds:.0f} s and {len(body):,} bytes"
            )
    return bytes(body)


def _source(response: Received) -> str:
    simulated = response.headers.get("x-simulated-market", "").lower() == "true"
    return "simulated" if simulated else "coingecko"


def _root_cause(error: BaseException) -> str:
    while inner := error.__cause__ or error.__context__:
        error = inner
    return f"{type(error).__name__}: {error}"


def _wait(problem: RequestProblem, attempt: int) -> float:
    if problem.retry_after is not None:
        return min(max(problem.retry_after, _FIRST_WAIT), MAX_WAIT)
    first = _FIRST_WAIT_RATE_LIMITED if isinstance(problem, RateLimited) else _FIRST_WAIT
    return min(first * 2.0 ** (attempt - 1), MAX_WAIT) * _JITTER.uniform(0.5, 1)
