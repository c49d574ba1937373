"""The parts that the market report is composed of, and how it names coins, counts and days."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from crypto_platform.warehouse.session import Row

MIN_DAYS = 2
"""A line needs two days, and one bar compares with nothing."""

IN_THE_TABLE = 25
"""Coins in a table; the others are summed up."""

_NAMED = 5
_DAYS_IN_A_TABLE = 14


@dataclass(frozen=True)
class Table:
    """Numbers of a panel: a head, and rows of as many texts."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str


@dataclass(frozen=True)
class Chart:
    """A chart of a panel.

    Attributes:
        svg: Inline SVG.
        alternative: What it shows, in words.
        title: Its title, if any.
        value: A number beside the title, if any.
        change: How that number changed, if known.
    """

    svg: str
    alternative: str
    title: str = ""
    value: str = ""
    change: str = ""


@dataclass(frozen=True)
class Legend:
    """An entry of a legend: ``mark`` is the class that shows its colour in the page."""

    mark: str
    label: str


@dataclass(frozen=True)
class Panel:
    """A part of the report.

    Attributes:
        key: Its address in the page.
        title: Its title.
        finding: What there is to see, in a sentence or two.
        charts: Its charts; none where there is too little to draw.
        legend: What the colours stand for.
        tables: The same in numbers.
        is_open: Whether the tables show without being unfolded.
        is_wide: Whether it takes the width of the page.
    """

    key: str
    title: str
    finding: str
    charts: Sequence[Chart] = ()
    legend: Sequence[Legend] = ()
    tables: Sequence[Table] = ()
    is_open: bool = False
    is_wide: bool = False


@dataclass(frozen=True)
class Tile:
    """A number at the head of the report."""

    label: str
    value: str
    note: str


def table_of_days(
    caption: str, days: Sequence[date], columns: Mapping[str, Sequence[str]]
) -> Table:
    """The newest two weeks of some columns, the newest first.

    Args:
        caption: The table's caption.
        days: All days, the oldest first.
        columns: By its head, a column's text for each of the days.
    """
    rows = list(zip(map(str, days), *columns.values(), strict=True))
    return Table(("Day, UTC", *columns), rows[: -_DAYS_IN_A_TABLE - 1 : -1], caption)


def name_of(coin: Row) -> str:
    """A coin as people call it."""
    return str(coin["name"] or coin["coin_id"])


def named(coins: Sequence[Row], text: Callable[[Row], str] = name_of) -> str:
    """The first coins in words, and how many more there are.

    Args:
        coins: The coins.
        text: What each is called.
    """
    names = ", ".join(map(text, coins[:_NAMED]))
    return names if len(coins) <= _NAMED else f"{names} and {len(coins) - _NAMED} more"


def symbol_of(coin: Row) -> str:
    """A coin in the few letters that a chart has room for."""
    return str(coin["symbol"] or coin["coin_id"]).upper()[:6]


def short_day(day: date) -> str:
    """A day as a sentence says it."""
    return f"{day:%-d %b}"
