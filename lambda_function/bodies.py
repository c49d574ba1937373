"""What the API's bodies hold: charts, pages of the market, the index; parsed value by value.

A value that makes no sense costs itself: what stands in its place is kept as a text.
"""

import json
import logging
import math
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

logger = logging.getLogger(__name__)

_NUMBERS = frozenset({int, float})
_LEAST, _GREATEST = -sys.float_info.max, sys.float_info.max
# The longest whole number of a double has 309 digits.
_MOST_DIGITS = 400
# As JSON writes them.
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,400})(\.\d{1,400})?([eE][+-]?\d{1,4})?", re.ASCII)
# How much is kept of what stands where a number should.
_KEPT_OF_A_FAULT = 1_000

Point = list[Any]


class Fault(NamedTuple):
    """What stands in a chart where a point or a value should.

    Attributes:
        series: The series.
        stamp: The point's stamp; ``None`` where it has none.
        value: What stands there, as JSON, cut where it is long.
    """

    series: str
    stamp: int | None
    value: str


class MarketChart(NamedTuple):
    """Three series of ``[unix milliseconds, value]``, as the API gave them.

    Attributes:
        prices: The prices; null in place of a value that is no number.
        market_caps: The market caps, likewise.
        total_volumes: The volumes, likewise.
        faults: What is no number, and no point.
    """

    prices: list[Point]
    market_caps: list[Point]
    total_volumes: list[Point]
    faults: Sequence[Fault] = ()


SERIES = ("prices", "market_caps", "total_volumes")
"""The names of a chart's series, as the API has them."""


class Markets(NamedTuple):
    """A page of the market.

    Attributes:
        coins: Its coins, each with the id that it is known by.
        rows: How many rows the page has, with those that name no coin.
    """

    coins: list[dict[str, Any]]
    rows: int


def decoded(content: bytes) -> Any:
    """A body of JSON, with a text in place of a number that Python does not read.

    Args:
        content: The body.

    Raises:
        ValueError: It is no JSON.
    """
    try:
        return json.loads(content, parse_constant=str)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Python takes no whole number of more than 4,300 digits, and gives up the body with it.
        return json.loads(content, parse_constant=str, parse_int=_whole_number_or_text)


def _whole_number_or_text(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def parse_object(body: Any) -> dict[str, Any]:
    """A body that is an object.

    Args:
        body: What the JSON says.

    Raises:
        ValueError: It is none.
    """
    if isinstance(body, dict):
        return body
    raise ValueError("it is not an object")


def parse_chart(body: Any) -> MarketChart:
    """A chart; what in it is no point or number is among its faults.

    Args:
        body: What the JSON says.

    Raises:
        ValueError: It has no prices at all.
    """
    chart = parse_object(body)
    faults: list[Fault] = []
    prices, caps, volumes = (_series(chart.get(name), name, faults) for name in SERIES)
    return MarketChart(prices, caps, volumes, faults)


def _series(points: Any, name: str, faults: list[Fault]) -> list[Point]:
    """The points of a series; what is none in it is added to the faults."""
    if type(points) is list and all(map(_is_point, points)):
        return points
    stamped: list[Point] = []
    if isinstance(points, list):
        found = (point if _is_point(point) else _mended(point, name, faults) for point in points)
        stamped = [point for point in found if point is not None]
    else:
        faults.append(Fault(name, None, _text(points)))
    # Prices are what the chart is asked for: without any stamp there is no answer to keep.
    if name == SERIES[0] and not stamped:
        raise ValueError(f"{name} is not a list of [unix milliseconds, number or null]")
    return stamped


def _is_point(point: Any) -> bool:
    # The types themselves, as this is called millions of times, and as a bool is no number here.
    return (
        type(point) is list
        and len(point) == 2  # noqa: PLR2004 - a stamp and a value
        and type(point[0]) is int
        and (point[1] is None or (type(point[1]) in _NUMBERS and _LEAST <= point[1] <= _GREATEST))
    )


def _mended(point: Any, series: str, faults: list[Fault]) -> Point | None:
    """A point in numbers: null in place of a value that is none, ``None`` without a stamp."""
    stamp = _number(point[0]) if isinstance(point, list) and point else None
    if stamp is None or stamp != math.floor(stamp):
        faults.append(Fault(series, None, _text(point)))
        return None
    stamp = int(stamp)
    if len(point) != 2:  # noqa: PLR2004 - a stamp and a value
        faults.append(Fault(series, stamp, _text(point)))
        return [stamp, None]
    value = _number(point[1])
    if value is None and point[1] is not None:
        faults.append(Fault(series, stamp, _text(point[1])))
    return [stamp, value]


def _number(value: Any) -> int | float | None:
    """What a value says as a number, or as a text of one; ``None`` where it says none."""
    if type(value) is str and _NUMBER.fullmatch(value):
        value = json.loads(value)
    return value if type(value) in _NUMBERS and _LEAST <= value <= _GREATEST else None


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)[:_KEPT_OF_A_FAULT]
    # Half of a surrogate pair is no text to who reads the record.
    return text.encode(errors="replace").decode()


def parse_fear_and_greed(body: Any) -> dict[str, Any]:
    """The index, which has days.

    Args:
        body: What the JSON says.

    Raises:
        ValueError: It has none.
    """
    index = parse_object(body)
    if isinstance(index.get("data"), list) and index["data"]:
        return index
    raise ValueError("it has no list of days, or an empty one")


def parse_markets(body: Any) -> Markets:
    """A page of the market; a row that names no coin is left out.

    Args:
        body: What the JSON says.

    Raises:
        ValueError: It is no list of coins.
    """
    rows = body if isinstance(body, list) else [body]
    coins = [row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
    if not isinstance(body, list) or (body and not coins):
        raise ValueError("it is not a list of coins")
    if len(coins) < len(body):
        logger.warning("%d rows of the market name no coin: left out", len(body) - len(coins))
    return Markets([_sayable(coin) for coin in coins], len(body))


def _sayable(value: Any) -> Any:
    """The same, with a text in place of a number that JSON cannot say, and of half a character."""
    if isinstance(value, dict):
        return {_sayable(name): _sayable(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_sayable(part) for part in value]
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
