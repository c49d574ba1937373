"""Prices as data frames: what ``crypto_platform.prices`` and the command of that name read."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches

from crypto_platform.core.errors import InvalidInputError, NothingThereError
from crypto_platform.core.lazy import pd
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.session import Row
from crypto_platform.warehouse.sql import statement

Moment = datetime | date | str

_SQL = "price_frames.sql"

GRANULARITIES = ("finest", "hourly", "daily")

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

# Prices of coins begin in 2009, and no price is of the future.
FIRST_MOMENT = datetime(2009, 1, 1, tzinfo=UTC)
LAST_MOMENT = datetime(9999, 1, 1, tzinfo=UTC)

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def price_frame(
    warehouse: Warehouse,
    coins: Sequence[str],
    between: tuple[datetime, datetime],
    *,
    granularity: str,
    vs_currency: str,
) -> "pd.DataFrame":
    """Prices of some coins in some time.

    Args:
        warehouse: Where they stand.
        coins: Ids of the coins.
        between: The first moment, and the one before which to stop.
        granularity: One of ``GRANULARITIES``.
        vs_currency: The currency of the prices.

    Raises:
        InvalidInputError: There are no such coins, granularity or time.
    """
    if granularity not in GRANULARITIES:
        raise InvalidInputError(
            f"{granularity!r} is no granularity; those are {', '.join(GRANULARITIES)}."
        )
    start, end = between
    if start >= end:
        raise InvalidInputError(
            f"The start {start.isoformat()} is not before the end {end.isoformat()}."
        )
    _refuse_unknown(coins, warehouse)
    sql = statement(granularity, file=_SQL).replace("{coins}", ", ".join("?" * len(coins)))
    return _frame(warehouse.query(sql, [vs_currency, start, end, *coins]))


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


def _refuse_unknown(coins: Sequence[str], warehouse: Warehouse) -> None:
    if not coins:
        raise InvalidInputError("No coin was named; name one or more, such as bitcoin.")
    known = warehouse.query(statement("known_coins", file=_SQL)) if warehouse.exists() else []
    if not known:
        raise NothingThereError(
            f"The warehouse {warehouse.table_uri('prices')} has no prices. Is CRYPTO_HOME, or the "
            "working folder, another than that of the runs? If not, materialize some partitions."
        )
    ids = {coin["coin_id"] for coin in known}
    unknown = [coin for coin in coins if coin not in ids]
    if unknown:
        described = "; ".join(f"{coin!r} {_nearest(coin, known)}" for coin in unknown)
        raise InvalidInputError(f"The warehouse knows no such coin: {described}.")


def _nearest(unknown: str, known: Sequence[Row]) -> str:
    """What was meant by what is no id: a ticker, a name, or an id with a slip in it."""
    wanted = unknown.strip().lower()
    ids = [coin["coin_id"] for coin in known]
    called = [
        coin["coin_id"]
        for coin in known
        if wanted in {coin["coin_id"], *((coin[key] or "").lower() for key in ("symbol", "name"))}
    ]
    meant = called or get_close_matches(wanted, ids, n=3, cutoff=0.6)
    if meant:
        return f"(did you mean {' or '.join(meant)}?)"
    some = 5
    return f"(it has {', '.join(ids[:some])}{' …' if len(ids) > some else ''})"


def _frame(rows: Sequence[Row]) -> "pd.DataFrame":
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    # The types do not depend on what happens to be found, not even on whether anything is.
    times = {name: pd.to_datetime(frame[name], utc=True).dt.as_unit("us") for name in _TIMES}
    numbers = {name: frame[name].astype("float64") for name in _NUMBERS}
    return frame.assign(**times, **numbers)
