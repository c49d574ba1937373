"""What the market report is put together from, and how it names coins, counts and days."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from crypto_platform.warehouse.resource import Row

# Coins in a table, and named in a sentence; others are summed up.
IN_THE_TABLE = 25
_NAMED = 5


@dataclass(frozen=True)
class Table:
    """Numbers of a panel: a head, and rows of as many texts."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str


@dataclass(frozen=True)
class Chart:
    """A picture of a panel.

    Attributes:
        svg: Inline SVG.
        alternative: What it shows, for who cannot see it.
        title: What stands above it, if anything.
        value: What stands large beside the title, if anything.
        change: How that changed, if that is known.
    """

    svg: str
    alternative: str
    title: str = ""
    value: str = ""
    change: str = ""


@dataclass(frozen=True)
class Legend:
    """What a colour stands for: ``mark`` is the class of the page's style that shows it."""

    mark: str
    label: str


@dataclass(frozen=True)
class Panel:
    """A part of the report.

    Attributes:
        key: Its address in the page.
        title: What it is about.
        finding: What there is to see, in a sentence or two.
        charts: What shows it; none where there is too little to draw.
        legend: What the colours stand for.
        tables: The same in numbers.
        is_open: Whether the numbers are the point, and not to be unfolded first.
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
    """The newest two weeks of some columns, the newest first."""
    shown = range(len(days) - 1, max(len(days) - 15, -1), -1)
    return Table(
        ("Day, UTC", *columns),
        [
            (days[place].isoformat(), *(texts[place] for texts in columns.values()))
            for place in shown
        ],
        caption,
    )


def name_of(coin: Row) -> str:
    """A coin as people call it."""
    return str(coin["name"] or coin["coin_id"])


def named(coins: Sequence[Row], text: Callable[[Row], str] = name_of) -> str:
    """The first coins by their names, or another text of each, and how many more there are."""
    names = ", ".join(map(text, coins[:_NAMED]))
    return names if len(coins) <= _NAMED else f"{names} and {len(coins) - _NAMED} more"


def symbol_of(coin: Row) -> str:
    """A coin in the few letters that a picture has room for."""
    return str(coin["symbol"] or coin["coin_id"]).upper()[:6]


def count(number: int, noun: str) -> str:
    """How many there are of a thing."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short_day(day: date) -> str:
    """A day as a sentence says it."""
    return f"{day:%-d %b}"
