"""Columns of daily rows as series over days, in which ``None`` is not known."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from statistics import StatisticsError, median
from statistics import correlation as pearson

from crypto_platform.core.numbers import Value
from crypto_platform.warehouse.session import Row

MIN_DAYS_IN_COMMON = 20
"""A correlation of fewer days says nothing."""


def correlation(one: Sequence[Value], other: Sequence[Value]) -> float | None:
    """Pearson's correlation of two series over the days that both have.

    Args:
        one: Values by day.
        other: Values of the same days.

    Returns:
        ``None`` where these are too few, or where one of the series never changes.
    """
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    if len(pairs) < MIN_DAYS_IN_COMMON:
        return None
    try:
        return pearson(*zip(*pairs, strict=True))
    except StatisticsError:
        return None


def days_of(rows: Iterable[Row]) -> list[date]:
    """Each day from the first to the last, so that a day without a row is a gap."""
    found = {row["day"] for row in rows}
    if not found:
        return []
    first = min(found)
    return [first + timedelta(days=days) for days in range((max(found) - first).days + 1)]


def column_by_day(rows: Iterable[Row], column: str, days: Sequence[date]) -> list[Value]:
    """A column of daily rows for each of some days.

    Args:
        rows: At most one row a day.
        column: The column.
        days: The days.
    """
    values = {row["day"]: row[column] for row in rows}
    return [values.get(day) for day in days]


def count_known(values: Sequence[Value]) -> int:
    """How many values are known."""
    return sum(value is not None for value in values)


def last_known(values: Sequence[Value]) -> Value:
    """The last value that is known."""
    return next((value for value in reversed(values) if value is not None), None)


def median_known(values: Iterable[Value]) -> Value:
    """The median of the values that are known."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def newest_known(rows: Sequence[Row], column: str) -> Row | None:
    """The last row in which a column is known.

    Args:
        rows: Rows, the oldest first.
        column: The column.
    """
    return next((row for row in reversed(rows) if row[column] is not None), None)
