"""The price API's endpoints, over any market that knows its coins' prices.

Nothing here knows of sockets: a request is a path and its parameters, a response is what its body
says. Moments are UNIX milliseconds, as the API's stamps are.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import unquote

Series = list[tuple[int, float | None]]
Chart = dict[str, Series]
"""A body of ``market_chart``: three arrays of stamps with values."""

MINUTE_MS = 60_000
FIVE_MINUTES_MS = 5 * MINUTE_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

# How long after midnight the API has the point of that midnight.
_RANGE_DELAY_MS, _CHART_DELAY_MS = 35 * MINUTE_MS, 10 * MINUTE_MS
# A caller's "now" is some seconds old when the request arrives.
_STILL_NOW_MS = MINUTE_MS
# As the API's documents say of ``per_page`` and ``precision``.
_LONGEST_PAGE = 250
_MAX_DIGITS = 18
# Where alternative.me draws its lines, by its recorded values.
_FEELINGS = (
    (25, "Extreme Fear"),
    (46, "Fear"),
    (54, "Neutral"),
    (75, "Greed"),
    (100, "Extreme Greed"),
)
_STEPS = {"daily": DAY_MS, "hourly": HOUR_MS, "5m": FIVE_MINUTES_MS}


@dataclass(frozen=True)
class ChartSpan:
    """Which points of a price chart to give.

    Attributes:
        first: The earliest stamp to give.
        last: The latest stamp to give of the points that lie on a grid.
        step: How far apart these points are.
        now: The stamp of one more point, for a span that reaches now.
    """

    first: int
    last: int
    step: int
    now: int | None = None


class NoSuchCoinError(LookupError):
    """The market has no such coin."""


class Market(Protocol):
    """What the API needs to know of a market."""

    @property
    def currencies(self) -> Collection[str]:
        """The currencies that prices are given in."""

    def coins(self, now: int) -> Sequence[Mapping[str, str]]:
        """The ``id``, ``symbol`` and ``name`` of each coin listed by now, in UNIX milliseconds."""

    def ranking(self, now: int) -> Sequence[str]:
        """The ids of these coins, the largest market cap first."""

    def snapshot(
        self, coin_ids: Sequence[str], currency: str, now: int
    ) -> Sequence[Mapping[str, Any]]:
        """What ``/coins/markets`` says of some of them, in the order asked for.

        Args:
            coin_ids: The coins.
            currency: One of ``currencies``.
            now: The time, in UNIX milliseconds.
        """

    def chart(self, coin_id: str, currency: str, span: ChartSpan, now: int) -> Chart:
        """The points of a coin in a span.

        Args:
            coin_id: The coin.
            currency: One of ``currencies``.
            span: Which points.
            now: The time, in UNIX milliseconds.

        Raises:
            NoSuchCoinError: There is no such coin by now.
        """

    def fear_and_greed(self, now: int) -> Sequence[tuple[int, int]]:
        """UNIX seconds and value of each day of the Fear & Greed index, the oldest first."""


class ApiError(Exception):
    """The API rejects a request.

    Args:
        status: Of the response.
        error: What its body says is wrong.
    """

    def __init__(self, status: HTTPStatus, error: object) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error}


@dataclass(frozen=True)
class Request:
    """A call of the API.

    Attributes:
        path: Below the base URL.
        parameters: Of the query.
        now: When it came.
    """

    path: str
    parameters: Mapping[str, str]
    now: int

    @property
    def endpoint(self) -> str:
        """The path with ``{id}`` for the coin, as the API's documentation writes it."""
        found = _COIN_IN_PATH.fullmatch(self.path)
        return f"/coins/{{id}}/{found[2]}" if found else self.path

    @property
    def coin(self) -> str | None:
        """The coin in the path."""
        found = _COIN_IN_PATH.fullmatch(self.path)
        return unquote(found[1]) if found else None

    def needed(self, parameter: str) -> str:
        """A parameter that has to be there.

        Raises:
            ApiError: It is not.
        """
        value = self.parameters.get(parameter)
        if not value:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"Missing parameter {parameter}")
        return value


_DAYS = re.compile(r"\d{1,5}(\.\d+)?")
_COIN_IN_PATH = re.compile(r"/coins/([^/]+)/(market_chart|market_chart/range|history)")


class SimulatedApi:
    """The API over a market.

    Args:
        market: What it tells of.
        greeting: What ``/ping`` says.
        history_days: How far back a call may ask; ``None`` for any time.
    """

    def __init__(self, market: Market, greeting: str, history_days: int | None = None) -> None:
        self._market = market
        self._greeting = greeting
        self._history_days = history_days
        self._endpoints: Mapping[str, Callable[[Request], object]] = {
            "/ping": self._ping,
            "/coins/list": self._list,
            "/coins/markets": self._markets,
            "/coins/{id}/market_chart": self._market_chart,
            "/coins/{id}/market_chart/range": self._range,
            "/coins/{id}/history": self._history,
            # Another API's, of alternative.me: the market feels something too.
            "/fng/": self._fear_and_greed,
        }

    def response(self, request: Request) -> Any:
        """What the body of a response says.

        Raises:
            ApiError: The request is wrong, or beyond the plan.
        """
        endpoint = self._endpoints.get(request.endpoint)
        if endpoint is None:
            raise ApiError(HTTPStatus.NOT_FOUND, "Incorrect path")
        try:
            return endpoint(request)
        except NoSuchCoinError as unknown:
            raise ApiError(HTTPStatus.NOT_FOUND, "coin not found") from unknown

    def _ping(self, _request: Request) -> object:
        return {"gecko_says": self._greeting}

    def _list(self, request: Request) -> object:
        return self._market.coins(request.now)

    def _markets(self, request: Request) -> object:
        currency = self._currency(request)
        ids = self._market.ranking(request.now)
        if request.parameters.get("order") == "market_cap_asc":
            ids = ids[::-1]
        if "ids" in request.parameters:
            asked = set(request.parameters["ids"].split(","))
            ids = [coin_id for coin_id in ids if coin_id in asked]
        length = min(_whole_number(request, "per_page", 100), _LONGEST_PAGE)
        skipped = (_whole_number(request, "page", 1) - 1) * length
        return self._market.snapshot(ids[skipped : skipped + length], currency, request.now)

    def _market_chart(self, request: Request) -> object:
        now = request.now
        currency = self._currency(request)
        days = request.needed("days")
        if days != "max" and not _DAYS.fullmatch(days):
            raise ApiError(HTTPStatus.BAD_REQUEST, "invalid days")
        first = 0 if days == "max" else now - int(float(days) * DAY_MS)
        step = _STEPS.get(request.parameters.get("interval") or _granularity(first, now, now))
        if step is None:
            raise ApiError(HTTPStatus.BAD_REQUEST, "invalid interval")
        last = now if step < DAY_MS else now - _CHART_DELAY_MS
        return self._chart(request, currency, ChartSpan(first, last, step, now=now))

    def _range(self, request: Request) -> object:
        now = request.now
        currency = self._currency(request)
        first, last = _moment(request, "from"), _moment(request, "to")
        if first > last:
            raise ApiError(HTTPStatus.BAD_REQUEST, "invalid date range")
        reaches_now = last >= now - _STILL_NOW_MS
        last = min(last, now)
        first = min(first, last + 1)
        step = _STEPS[_granularity(first, last, now)]
        grid_last = last if step < DAY_MS else min(last, now - _RANGE_DELAY_MS)
        span = ChartSpan(
            first, grid_last, step, now=last if reaches_now and first <= last else None
        )
        return self._chart(request, currency, span)

    def _history(self, request: Request) -> object:
        now = request.now
        try:
            date = datetime.strptime(request.needed("date"), "%d-%m-%Y").replace(tzinfo=UTC)
        except ValueError as error:
            raise ApiError(HTTPStatus.BAD_REQUEST, "invalid date") from error
        first = int(date.timestamp() * 1000)
        self._check_depth(first, now)
        span = ChartSpan(first, min(first + DAY_MS - 1, now - _RANGE_DELAY_MS), DAY_MS)
        charts = {
            currency: self._market.chart(str(request.coin), currency, span, now)
            for currency in self._market.currencies
        }
        about = next(coin for coin in self._market.coins(now) if coin["id"] == request.coin)
        data = {
            field: {
                currency: chart[series][0][1] for currency, chart in charts.items() if chart[series]
            }
            for field, series in (
                ("current_price", "prices"),
                ("market_cap", "market_caps"),
                ("total_volume", "total_volumes"),
            )
        }
        # As the API does, a day without a price has no market data at all.
        return {**about, "market_data": data} if data["current_price"] else about

    def _fear_and_greed(self, request: Request) -> object:
        days = self._market.fear_and_greed(request.now)[::-1]
        limit = request.parameters.get("limit", "1")
        if not limit.isdecimal():
            raise ApiError(HTTPStatus.BAD_REQUEST, "invalid limit")
        data = [
            {
                "value": str(value),
                "value_classification": _feeling(value),
                "timestamp": str(second),
            }
            for second, value in days[: int(limit) or None]
        ]
        if data:
            data[0]["time_until_update"] = str(86_400 - request.now // 1000 % 86_400)
        return {"name": "Fear and Greed Index", "data": data, "metadata": {"error": None}}

    def _chart(self, request: Request, currency: str, span: ChartSpan) -> Chart:
        self._check_depth(span.first, request.now)
        chart = self._market.chart(str(request.coin), currency, span, request.now)
        precision = request.parameters.get("precision", "full")
        if precision == "full":
            return chart
        if not precision.isdecimal() or int(precision) > _MAX_DIGITS:
            raise ApiError(HTTPStatus.BAD_REQUEST, "invalid precision")
        rounded: Series = [
            (stamp, None if price is None else round(price, int(precision)))
            for stamp, price in chart["prices"]
        ]
        return {**chart, "prices": rounded}

    def _currency(self, request: Request) -> str:
        currency = request.needed("vs_currency").lower()
        if currency not in self._market.currencies:
            raise ApiError(HTTPStatus.BAD_REQUEST, "invalid vs_currency")
        return currency

    def _check_depth(self, first: int, now: int) -> None:
        if self._history_days is None or first >= now - self._history_days * DAY_MS:
            return
        status = {
            "timestamp": datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds"),
            "error_code": 10012,
            "error_message": "(simulated) Your request exceeds the allowed time range. Users of"
            f" this plan are limited to the past {self._history_days} days.",
        }
        raise ApiError(HTTPStatus.UNAUTHORIZED, {"status": status})


def _feeling(value: int) -> str:
    """A value of the Fear & Greed index in its own words."""
    return next(words for highest, words in _FEELINGS if value <= highest)


def _granularity(first: int, last: int, now: int) -> str:
    """What the API chooses by itself: it depends on how much is asked for, and on now."""
    if last - first > 90 * DAY_MS:
        return "daily"
    if last - first <= DAY_MS and last >= now - _STILL_NOW_MS:
        return "5m"
    return "hourly"


def _moment(request: Request, parameter: str) -> int:
    """A parameter in UNIX seconds or as an ISO date, which is in UTC where it does not say."""
    text = request.needed(parameter)
    try:
        return int(float(text) * 1000)
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, "invalid date range") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _whole_number(request: Request, parameter: str, default: int) -> int:
    text = request.parameters.get(parameter, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"invalid {parameter}")
    return int(text)
