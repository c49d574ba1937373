"""What can go wrong with a response of the API, as data."""

import random
import threading
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from crypto_platform.simulated_market.api import DAY_MS, Chart, Series


class Change(BaseModel, frozen=True, extra="forbid"):
    """What is done to the points of a stretch of time in a price chart.

    Attributes:
        first: The earliest stamp that it is done to, in UNIX milliseconds.
        last: The latest one.
        factor: What the prices are multiplied by; ``None`` takes the points out.
    """

    first: int
    last: int
    factor: float | None = None

    def applied(self, chart: Chart) -> Chart:
        """A chart after it."""
        return {
            name: [
                (stamp, self._value(name, value) if self.first <= stamp <= self.last else value)
                for stamp, value in series
                if self.factor is not None or not self.first <= stamp <= self.last
            ]
            for name, series in chart.items()
        }

    def _value(self, name: str, value: float | None) -> float | None:
        if name != "prices" or value is None or self.factor is None:
            return value
        return value * self.factor


class Fault(BaseModel, frozen=True, extra="forbid"):
    """What goes wrong with one response; what is not set stays as it should be.

    Attributes:
        status: The status to send instead.
        body: The body to send instead.
        content_type: Of that body.
        headers: Headers to add.
        edit: What to do to the arrays of a price chart.
        changes: What to do to the points of some times in a price chart.
        delay_seconds: How long to keep the caller waiting first.
        cut: Whether the connection closes half-way through the body.
        reset: Whether the connection is reset with no response at all.
    """

    status: int | None = Field(default=None, ge=200, le=599)
    body: str | None = None
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = {}
    edit: (
        Literal[
            "uneven_arrays",
            "null_prices",
            "null_caps",
            "duplicated_points",
            "no_points",
            "stamps_in_seconds",
            "another_time",
        ]
        | None
    ) = None
    changes: tuple[Change, ...] = ()
    delay_seconds: float = Field(default=0.0, ge=0.0)
    cut: bool = False
    reset: bool = False


RATE_LIMIT_BODY = (
    '{"status":{"error_code":429,"error_message":"(simulated) You\'ve exceeded the Rate Limit."}}'
)

FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "rate_limited": Fault(status=429, body=RATE_LIMIT_BODY, headers={"retry-after": "1"}),
        "rate_limited_without_retry_after": Fault(status=429, body=RATE_LIMIT_BODY),
        "throttled": Fault(status=429, body="Throttled", content_type="text/plain"),
        "blocked": Fault(
            status=429,
            body="<html><body>error code: 1015</body></html>",
            content_type="text/html; charset=UTF-8",
        ),
        "server_error": Fault(status=500, body='{"status":500,"error":"Internal Server Error"}'),
        "unavailable": Fault(
            status=503, body="<html>503</html>", content_type="text/html; charset=UTF-8"
        ),
        "error_in_a_200": Fault(
            status=200,
            body='{"status":{"error_code":10005,"error_message":"(simulated) This request is'
            ' limited to PRO API subscribers."}}',
        ),
        "wrong_key": Fault(
            status=401,
            body='{"status":{"error_code":10002,"error_message":"(simulated) API Key Missing."}}',
        ),
        "delisted_coin": Fault(status=404, body='{"error":"coin not found"}'),
        "cut_body": Fault(cut=True),
        "hang": Fault(delay_seconds=600.0),
        "connection_reset": Fault(reset=True),
        "uneven_arrays": Fault(edit="uneven_arrays"),
        "null_prices": Fault(edit="null_prices"),
        "null_caps": Fault(edit="null_caps"),
        "duplicated_points": Fault(edit="duplicated_points"),
        "no_points": Fault(edit="no_points"),
        "stamps_in_seconds": Fault(edit="stamps_in_seconds"),
        "another_time": Fault(edit="another_time"),
        "forbidden_for_now": Fault(
            status=403,
            body="<html><body>The service is temporarily unavailable.</body></html>",
            content_type="text/html; charset=UTF-8",
        ),
        "bot_wall": Fault(
            status=403,
            body="<html><title>Access denied</title><body>error code: 1020</body></html>",
            content_type="text/html; charset=UTF-8",
        ),
        "wants_user_agent": Fault(
            status=403, body="Please add a User-Agent header.", content_type="text/plain"
        ),
    }
)
"""Faults by name, after what the API has been seen to do."""


def _by_name(fault: object) -> object:
    if not isinstance(fault, str):
        return fault
    if fault not in FAULTS:
        raise ValueError(f"There is no fault {fault!r}; there are: {', '.join(FAULTS)}.")
    return FAULTS[fault]


class FaultRule(BaseModel, frozen=True, extra="forbid"):
    """Which calls a fault befalls.

    Attributes:
        fault: What goes wrong: a fault, or the name of one in ``FAULTS``.
        coin: Only calls for this coin, by id.
        path: Only calls whose path below the base URL matches this pattern, as of a file name.
        times: How many calls it befalls before it is over; ``None`` for no end.
        probability: Of befalling a call that matches.
    """

    fault: Annotated[Fault, BeforeValidator(_by_name)]
    coin: str | None = None
    path: str = "*"
    times: int | None = Field(default=None, ge=1)
    probability: float = Field(default=1.0, gt=0.0, le=1.0)

    def matches(self, path: str, coin: str | None) -> bool:
        """Whether a call is one of those the fault may befall.

        Args:
            path: Below the base URL.
            coin: The coin in the path, if there is one.
        """
        return self.coin in (None, coin) and fnmatchcase(path, self.path)


class Faults:
    """The rules in force, for many threads.

    Args:
        seed: Of the dice that probabilities are thrown with.
    """

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - no secret
        self._lock = threading.Lock()
        self._rules: list[FaultRule] = []

    @property
    def rules(self) -> tuple[FaultRule, ...]:
        """The rules in force, with the times that are left of each."""
        with self._lock:
            return tuple(self._rules)

    def add(self, rule: FaultRule) -> None:
        """Put a rule in force, behind the ones that are."""
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """End all rules."""
        with self._lock:
            self._rules.clear()

    def next_for(self, path: str, coin: str | None) -> Fault | None:
        """The fault that befalls a call, by the first rule that matches and strikes.

        Args:
            path: Below the base URL.
            coin: The coin in the path, if there is one.
        """
        with self._lock:
            for index, rule in enumerate(self._rules):
                if rule.matches(path, coin) and self._dice.random() < rule.probability:
                    if rule.times == 1:
                        del self._rules[index]
                    elif rule.times is not None:
                        left = {"times": rule.times - 1}
                        self._rules[index] = rule.model_copy(update=left)
                    return rule.fault
        return None


def edited(chart: Chart, fault: Fault) -> Chart:
    """A chart that something was done to.

    Args:
        chart: The chart as it should be.
        fault: What to do.
    """
    if fault.edit:
        chart = {name: _EDITS[fault.edit](name, series) for name, series in chart.items()}
    for change in fault.changes:
        chart = change.applied(chart)
    return chart


def _uneven(name: str, series: Series) -> Series:
    """Caps lack every third point and volumes the last: no two arrays are of one length."""
    if name == "market_caps":
        return [point for index, point in enumerate(series) if index % 3 != 1]
    return series[:-1] if name == "total_volumes" else series


def _nulls(in_series: str) -> Callable[[str, Series], Series]:
    """Every third value of one series is null."""

    def edit(name: str, series: Series) -> Series:
        if name != in_series:
            return series
        return [
            (stamp, None if index % 3 == 1 else value)
            for index, (stamp, value) in enumerate(series)
        ]

    return edit


def _duplicated(_name: str, series: Series) -> Series:
    """Every third point comes again with another value, as a late correction would."""
    return [
        copy
        for index, (stamp, value) in enumerate(series)
        for copy in (
            [(stamp, value), (stamp, value and value * 1.001)]
            if index % 3 == 1
            else [(stamp, value)]
        )
    ]


def _no_points(_name: str, _series: Series) -> Series:
    return []


def _moved(stamp: Callable[[int], int]) -> Callable[[str, Series], Series]:
    """Every point has another stamp."""

    def edit(_name: str, series: Series) -> Series:
        return [(stamp(at), value) for at, value in series]

    return edit


_EDITS: Mapping[str, Callable[[str, Series], Series]] = {
    "uneven_arrays": _uneven,
    "null_prices": _nulls("prices"),
    "null_caps": _nulls("market_caps"),
    "duplicated_points": _duplicated,
    "no_points": _no_points,
    "stamps_in_seconds": _moved(lambda at: at // 1000),
    "another_time": _moved(lambda at: at - 1000 * DAY_MS),
}
