"""Prices as data frames: what ``crypto_platform.prices`` and the command of that name read."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from crypto_platform.core.errors import InvalidInputError
from crypto_platform.core.lazy import pd
from crypto_platform.ingestion.coin_search import find_coins
from crypto_platform.warehouse.resource import Warehouse, nothing_there
from crypto_platform.warehouse.session import Row
from crypto_platform.warehouse.sql import statement

Moment = datetime | date | str

_SQL = "price_frames.sql"

GRANULARITIES = ("finest", "hourly", "daily")

# Those that have a row a step, and what a step is.
_STEPS = {"hourly": ("hour", timedelta(hours=1)), "daily": ("day", timedelta(days=1))}

COLUMNS = (
    "time",
    "coin_id",
    "symbol",
    "vs_currency",
    "price",
    "market_cap",
    "total_volume",
    "price_at",
    "granularity",
    "source",
)
_TIMES = ("time", "price_at")
_NUMBERS = ("price", "market_cap", "total_volume")

FILLED = "filled"
"""The column that a frame without holes has: whether a row is the one before it once more."""

# Prices of coins begin in 2009, and no price is of the future.
FIRST_MOMENT = datetime(2009, 1, 1, tzinfo=UTC)
LAST_MOMENT = datetime(9999, 1, 1, tzinfo=UTC)

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class KnownCoin(NamedTuple):
    """A coin that the warehouse knows.

    Attributes:
        coin_id: The API's id.
        symbol: Its ticker, if the API has said it.
        name: Its name, likewise.
    """

    coin_id: str
    symbol: str | None
    name: str | None


@dataclass(frozen=True)
class CoarserSpan:
    """Days of which there are daily prices alone, though hourly ones were asked for.

    Attributes:
        first: The first of the days.
        last: The last of them.
        coins: Ids of the coins that have no finer prices there.
    """

    first: date
    last: date
    coins: tuple[str, ...]

    def __str__(self) -> str:
        """The coins and the days."""
        shown = 5
        more = f" and {len(self.coins) - shown} more" if len(self.coins) > shown else ""
        days = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        return f"{', '.join(self.coins[:shown])}{more}: {days}"


def price_frame(  # noqa: PLR0913 - what is asked for has as many sides
    warehouse: Warehouse,
    coins: Sequence[str],
    between: tuple[datetime, datetime],
    *,
    granularity: str,
    vs_currency: str,
    fill: bool = False,
) -> "pd.DataFrame":
    """Prices of some coins in some time.

    Args:
        warehouse: Where they stand.
        coins: Ids, tickers or names of the coins.
        between: The first moment, and the one before which to stop, of the column ``time``.
        granularity: One of ``GRANULARITIES``.
        vs_currency: The currency of the prices.
        fill: Whether hours or days without a price have the one before it once more, marked in
            the column ``filled``; none before a coin's first price, and none after its newest.

    Raises:
        InvalidInputError: There are no such coins, granularity or time.
    """
    if granularity not in GRANULARITIES:
        raise InvalidInputError(
            f"{granularity!r} is no granularity; those are {', '.join(GRANULARITIES)}."
        )
    if fill and granularity not in _STEPS:
        raise InvalidInputError(
            f"There are no holes to fill in {granularity}, which has every price at its own "
            f"moment; choose {' or '.join(_STEPS)}."
        )
    start, end = between
    if start >= end:
        raise InvalidInputError(
            f"The start {start.isoformat()} is not before the end {end.isoformat()}."
        )
    ids = known_ids(coins, warehouse)
    listed = ", ".join("?" * len(ids))
    if granularity not in _STEPS:
        sql = statement(granularity, file=_SQL, coins=listed)
        return _frame(warehouse.query(sql, [vs_currency, start, end, *ids]))
    unit, step = _STEPS[granularity]
    placed = statement("placed", file=_SQL)
    sql = statement("stepwise", file=_SQL, placed=placed, coins=listed, unit=unit)
    rows = warehouse.query(sql, [vs_currency, *ids, start, end, start, end])
    if not fill:
        return _frame(rows)
    sql = statement("beside", file=_SQL, placed=placed, coins=listed, unit=unit)
    rows += warehouse.query(sql, [vs_currency, *ids, start, end, start, start])
    filled = without_holes(_frame(rows), step)
    inside = (filled["time"] >= start) & (filled["time"] < end)
    return filled[inside].reset_index(drop=True)


def without_holes(frame: "pd.DataFrame", step: timedelta) -> "pd.DataFrame":
    """A frame in which each coin has a row a step, from its first row to its last.

    Args:
        frame: Rows of ``COLUMNS``, at most one a coin a ``time``, which is a whole step.
        step: An hour, or a day.

    Returns:
        The same rows and, marked in the column ``filled``, for each step without one the row
        before it with that step's ``time``: all else of it is as it was, ``price_at`` included.
    """
    parts = []
    for _, rows in frame.sort_values("time").groupby("coin_id"):
        times = pd.DatetimeIndex(rows["time"])
        steps = pd.date_range(times[0], times[-1], freq=step, unit="us")
        before = times.searchsorted(steps, side="right") - 1
        parts.append(rows.iloc[before].assign(time=steps, filled=steps != times[before]))
    whole = pd.concat(parts) if parts else frame.assign(filled=pd.Series(dtype=bool))
    return whole.sort_values(["time", "coin_id"], ignore_index=True)


def coarser_spans(frame: "pd.DataFrame") -> list[CoarserSpan]:
    """The days of an hourly frame that have nothing finer than daily prices.

    Args:
        frame: The rows; what is ``filled`` counts for nothing.

    Returns:
        The longest spans of such days, one for all coins that have the same.
    """
    rows = frame[~frame[FILLED]] if FILLED in frame else frame
    days = rows.assign(day=rows["time"].dt.date, coarse=rows["granularity"] == "daily")
    coins = defaultdict(list)
    for coin_id, of_coin in days.groupby(["coin_id", "day"])["coarse"].all().groupby("coin_id"):
        together = groupby(zip(of_coin.index.get_level_values("day"), of_coin, strict=True), _last)
        for is_coarse, span in together:
            if is_coarse:
                listed = [day for day, _ in span]
                coins[listed[0], listed[-1]].append(str(coin_id))
    return [CoarserSpan(*span, tuple(ids)) for span, ids in sorted(coins.items())]


def known_ids(coins: Sequence[str], warehouse: Warehouse) -> list[str]:
    """Ids of coins that the warehouse knows.

    Args:
        coins: Ids, tickers or names.
        warehouse: Where their prices stand.

    Raises:
        InvalidInputError: None was named, or the warehouse does not know one.
        NothingThereError: The warehouse has none at all.
    """
    if not coins:
        raise InvalidInputError("No coin was named; name one or more, such as bitcoin.")
    known = warehouse.query(statement("known_coins", file=_SQL)) if warehouse.exists() else []
    if not known:
        raise nothing_there(warehouse)
    return find_coins(coins, [KnownCoin(**coin) for coin in known])


def moment(given: Moment, name: str) -> datetime:
    """A moment in UTC: a day is its 00:00 UTC, text is read as ISO 8601.

    Args:
        given: A day, or a time with a zone.
        name: What it is for, for the message.

    Raises:
        InvalidInputError: It is neither.
    """
    if isinstance(given, str):
        try:
            given = _from_text(given)
        except ValueError:
            raise InvalidInputError(
                f"{name} {given!r} is no time; write 2026-11-22 or 2026-11-22T18:00Z."
            ) from None
    if not isinstance(given, datetime):
        return datetime(given.year, given.month, given.day, tzinfo=UTC)
    if given.tzinfo is None:
        raise InvalidInputError(
            f"{name} {given.isoformat(' ')} has no zone; add one, for example "
            "datetime(..., tzinfo=UTC), or a Z at the end of the text."
        )
    return given.astimezone(UTC)


def length(text: str) -> timedelta:
    """A length of time such as ``30d``, ``12h`` or ``2w``.

    Raises:
        InvalidInputError: If the text is none.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text.strip().lower())
    if not found:
        raise InvalidInputError(f"{text!r} is no length of time; write 12h, 30d or 8w.")
    return int(found[1]) * _UNITS[found[2]]


def _from_text(text: str) -> datetime | date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(text)


def _last(pair: tuple[date, bool]) -> bool:
    return pair[-1]


def _frame(rows: Sequence[Row]) -> "pd.DataFrame":
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    # The types do not depend on what happens to be found, not even on whether anything is.
    times = {name: pd.to_datetime(frame[name], utc=True).dt.as_unit("us") for name in _TIMES}
    numbers = {name: frame[name].astype("float64") for name in _NUMBERS}
    return frame.assign(**times, **numbers)
