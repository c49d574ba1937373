"""The panels of risk: how far and how much coins move, and how much alike."""

from dataclasses import dataclass
from operator import itemgetter

from crypto_platform.core.numbers import UNKNOWN, Value, percent
from crypto_platform.report import charts
from crypto_platform.report.components import (
    MIN_DAYS,
    Chart,
    Legend,
    Panel,
    Table,
    name_of,
    symbol_of,
    table_of_days,
)
from crypto_platform.report.day_series import (
    MIN_DAYS_IN_COMMON,
    column_by_day,
    correlation,
    count_known,
    days_of,
    last_known,
)
from crypto_platform.report.facts import COINS_DRAWN, DAYS, Facts
from crypto_platform.warehouse.session import Row

# So few coins have no middle half.
_FEW_COINS = 3


@dataclass(frozen=True)
class Spread:
    """A measure of the largest coins, before the middle half of all coins."""

    column: str
    title: str
    finding: str
    too_little: str


DRAWDOWN = Spread(
    "drawdown",
    "Drawdown",
    "How far below its highest close a coin is: {coins}; the median of all {median}.",
    "A coin's drawdown takes two days of closes to draw.",
)
VOLATILITY = Spread(
    "volatility_30d",
    "Volatility",
    "How much prices moved a day, over 30 days and scaled to a year: {coins}; the median of all "
    "{median}.",
    "Volatility takes 30 daily returns in a row, which no coin has yet.",
)


def spread_panel(facts: Facts, spread: Spread) -> Panel:
    """The panel of a measure of the largest coins, before the middle half of all."""
    days = days_of(facts.days_of_the_market)
    median, low, high = (
        column_by_day(facts.days_of_the_market, f"{spread.column}{end}", days)
        for end in ("", "_low", "_high")
    )
    many = len(facts.current) > _FEW_COINS
    series = {
        name_of(coin): column_by_day(facts.days_of_coin(coin), spread.column, days)
        for coin in facts.current[:2]
    }
    said = ", ".join(f"{name} {percent(last_known(values))}" for name, values in series.items())
    if many:
        series[f"Median of {len(facts.current)} coins"] = median
    if max(map(count_known, series.values()), default=0) < MIN_DAYS:
        return Panel(spread.column, spread.title, spread.too_little)
    return Panel(
        spread.column,
        spread.title,
        spread.finding.format(coins=said, median=percent(last_known(median))),
        [
            Chart(
                charts.lines(days, list(series.values()), band=(low, high) if many else None),
                f"{spread.title} over {len(days)} days. Newest: {said}.",
            )
        ],
        [
            *(Legend(f"line-{place}", name) for place, name in enumerate(series, start=1)),
            *([Legend("band", "The middle half of the coins")] if many else []),
        ],
        [
            table_of_days(
                f"{spread.title}, newest days",
                days,
                {name: list(map(percent, values)) for name, values in series.items()},
            )
        ],
    )


def correlation_panel(facts: Facts) -> Panel:
    """The panel of which coins move alike."""
    coins = facts.current[:COINS_DRAWN]
    days = days_of(facts.days_of_coins)
    returns = [column_by_day(facts.days_of_coin(coin), "log_return_1d", days) for coin in coins]
    matrix = [[correlation(one, other) for other in returns] for one in returns]
    pairs = [
        (value, coins[row], coins[column])
        for row in range(len(coins))
        for column in range(row)
        if (value := matrix[row][column]) is not None
    ]
    if not pairs:
        return Panel(
            "correlation",
            "Correlation",
            f"No two coins have {MIN_DAYS_IN_COMMON} days of returns in common yet.",
        )
    closest, loosest = max(pairs, key=itemgetter(0)), min(pairs, key=itemgetter(0))
    symbols = [symbol_of(coin) for coin in coins]
    return Panel(
        "correlation",
        "Correlation",
        f"Of daily returns over {DAYS} days: 1.00 is moving alike, 0 is no connection. "
        f"Most alike are {_pair(closest)}, least {_pair(loosest)}.",
        [
            Chart(
                charts.correlation_matrix(symbols, matrix),
                f"Correlations of daily returns of {len(coins)} coins, as in the table below.",
            )
        ],
        [Legend("warm", "against each other"), Legend("cold", "alike")],
        [
            Table(
                ("", *symbols),
                [
                    [symbol, *(_hundredths(value) for value in row)]
                    for symbol, row in zip(symbols, matrix, strict=True)
                ],
                "Correlations of daily returns",
            )
        ],
    )


def _hundredths(value: Value) -> str:
    return UNKNOWN if value is None else f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _pair(pair: tuple[float, Row, Row]) -> str:
    value, one, other = pair
    return f"{name_of(one)} and {name_of(other)} ({_hundredths(value)})"
