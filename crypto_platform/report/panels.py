"""The facts of the market report as panels: words, charts and tables, and no page."""

from collections.abc import Callable, Mapping
from functools import partial

from crypto_platform.core.numbers import (
    UNKNOWN,
    Value,
    aligned,
    compact,
    count,
    percent,
    price_text,
)
from crypto_platform.report import charts
from crypto_platform.report.components import (
    IN_THE_TABLE,
    MIN_DAYS,
    Chart,
    Legend,
    Panel,
    Table,
    name_of,
    named,
    short_day,
    table_of_days,
)
from crypto_platform.report.day_series import (
    column_by_day,
    count_known,
    days_of,
    last_known,
    median_known,
    newest_known,
)
from crypto_platform.report.facts import COINS_DRAWN, Facts
from crypto_platform.report.health_panel import health_panel
from crypto_platform.report.risk_panels import (
    DRAWDOWN,
    VOLATILITY,
    correlation_panel,
    spread_panel,
)
from crypto_platform.warehouse.session import Row

# Coins with a chart of their own.
_WITH_A_CHART = 8

_amount = partial(compact, missing=UNKNOWN)
_change = partial(percent, signed=True)
_whole_percent = partial(percent, digits=0)

# Columns of tables: by their heads, which may name the currency, a column of the facts and how its
# values are written.
_Columns = Mapping[str, tuple[str, Callable[[Value], str]]]
_COIN_COLUMNS: _Columns = {
    "1 d": ("return_1d", _change),
    "7 d": ("return_7d", _change),
    "30 d": ("return_30d", _change),
    "Volatility": ("volatility_30d", _whole_percent),
    "Drawdown": ("drawdown", percent),
    "Volume 24 h ({currency})": ("volume", _amount),
    "x median": ("ratio_to_median", lambda ratio: UNKNOWN if ratio is None else f"{ratio:.2f}"),
}
_SENTIMENT_COLUMNS: _Columns = {
    "Fear & Greed": ("fear_and_greed", _amount),
    "Rose in 1 d": ("breadth_1d", _whole_percent),
    "Rose in 7 d": ("breadth_7d", _whole_percent),
    "Bitcoin dominance": ("bitcoin_dominance", percent),
    "Stablecoins": ("stablecoin_share", percent),
    "Market cap ({currency})": ("total_market_cap", _amount),
}


def panels(facts: Facts) -> list[Panel]:
    """The panels of the report, in their order; none before anything is loaded."""
    if facts.window is None:
        return []
    return [
        _prices(facts),
        _coins(facts),
        spread_panel(facts, DRAWDOWN),
        spread_panel(facts, VOLATILITY),
        correlation_panel(facts),
        _sentiment(facts),
        _volume(facts),
        health_panel(facts),
    ]


def _prices(facts: Facts) -> Panel:
    days = days_of(facts.days_of_coins)
    drawn = []
    for coin in facts.current[:_WITH_A_CHART]:
        closes = column_by_day(facts.days_of_coin(coin), "close", days)
        known = [value for value in closes if value is not None]
        if len(known) < MIN_DAYS:
            continue
        drawn.append(
            Chart(
                charts.sparkline(closes),
                f"Price of {name_of(coin)} from {price_text(known[0])} to {price_text(known[-1])}, "
                f"between {price_text(min(known))} and {price_text(max(known))}.",
                title=name_of(coin),
                value=price_text(coin["close"]),
                change=percent(coin["return_1d"], signed=True, missing=""),
            )
        )
    moved = sorted(
        (coin for coin in facts.current if coin["return_1d"] is not None),
        key=lambda coin: coin["return_1d"],
    )
    finding = "No coin has a price on two days in a row yet, so nothing has moved."
    if moved:
        rose = sum(coin["return_1d"] > 0 for coin in moved)
        finding = (
            f"{rose} of {count(len(moved), 'coin')} rose in a day; "
            f"{name_of(moved[-1])} did best ({_change(moved[-1]['return_1d'])}), "
            f"{name_of(moved[0])} worst ({_change(moved[0]['return_1d'])})."
        )
    if drawn:
        finding += f" The lines are {count(len(days), 'day')} of the largest coins."
    return Panel("prices", "Prices", finding, drawn, is_wide=True)


def _coins(facts: Facts) -> Panel:
    shown, others = facts.current[:IN_THE_TABLE], facts.current[IN_THE_TABLE:]
    prices = aligned([coin["close"] for coin in shown])
    rows = [
        _coin_row(name_of(coin), price, coin) for coin, price in zip(shown, prices, strict=True)
    ]
    if others:
        rest: Row = {
            column: median_known(coin[column] for coin in others)
            for column, _ in _COIN_COLUMNS.values()
        }
        traded = sum(coin["volume"] or 0 for coin in others)
        rest |= {"volume": traded, "ratio_to_median": None}
        rows.append(_coin_row(f"{len(others)} others (medians; volume together)", "", rest))
    finding = f"{count(len(shown), 'coin')}, the largest first."
    if others:
        finding = (
            f"The {len(shown)} largest of {len(facts.current)} coins by market capitalization."
        )
    here = {coin["coin_id"] for coin in facts.current}
    if absent := [row for row in facts.newest_prices if row["coin_id"] not in here]:
        finding += f" Without a close on the newest days, and so not here: {named(absent)}."
    columns = (head.format(currency=facts.currency) for head in _COIN_COLUMNS)
    head = ("Coin", f"Price ({facts.currency})", *columns)
    return Panel(
        "coins",
        "Coins",
        finding,
        tables=[Table(head, rows, "Coins on their newest day")] if rows else (),
        is_open=True,
        is_wide=True,
    )


def _coin_row(name: str, price: str, coin: Row) -> list[str]:
    return [name, price, *(text(coin[column]) for column, text in _COIN_COLUMNS.values())]


def _volume(facts: Facts) -> Panel:
    days = days_of(facts.days_of_the_market)
    volumes, unusually_much = (
        column_by_day(facts.days_of_the_market, column, days) for column in ("volume", "unusual")
    )
    if count_known(volumes) < MIN_DAYS:
        return Panel("volume", "Volume", "It takes volumes of two days to compare them.")
    newest, usual = last_known(volumes), median_known(volumes)
    unusual = [coin for coin in facts.current if coin["unusual"]]
    unusual.sort(key=lambda coin: -coin["ratio_to_median"])
    evaluated = any(coin["unusual"] is not None for coin in facts.current)
    remark = (
        f"Unusually much: {named(unusual, _times)}."
        if unusual
        else "No coin trades unusually much."
    )
    return Panel(
        "volume",
        "Volume",
        f"{compact(newest)} {facts.currency} in the newest 24 hours; the median of {len(days)} "
        f"days is {compact(usual)}. "
        + (remark if evaluated else "What is unusual shows after 30 days."),
        [
            Chart(
                charts.bars(days, volumes),
                f"Volume of all coins together over {len(days)} days, newest {compact(newest)}.",
            )
        ],
        [Legend("cold", "all coins together"), Legend("newest", "newest day")],
        [
            table_of_days(
                "Volume, newest days",
                days,
                {
                    f"Volume ({facts.currency})": list(map(_amount, volumes)),
                    "Coins with unusually much": [
                        UNKNOWN if number is None else str(number) for number in unusually_much
                    ],
                },
            )
        ],
    )


def _sentiment(facts: Facts) -> Panel:
    rows = facts.days_of_sentiment
    days = days_of(rows)
    index, breadth = (column_by_day(rows, name, days) for name in ("fear_and_greed", "breadth_1d"))
    if max(count_known(index), count_known(breadth)) < MIN_DAYS:
        return Panel("sentiment", "Sentiment", "It takes two days of a market to draw its mood.")
    mood, above = (newest_known(rows, name) for name in ("fear_and_greed", "above_50d_mean"))
    says = (
        f"Fear & Greed stands at {mood['fear_and_greed']} of 100, "
        f"{(mood['fear_and_greed_class'] or '').lower()}, on {short_day(mood['day'])}. "
        if mood
        else "The Fear & Greed index has no value in these days. "
    )
    means = (
        f"{_whole_percent(above['above_50d_mean'])} of the coins are above their 50-day mean."
        if above
        else "Means of 50 days are not there yet."
    )
    return Panel(
        "sentiment",
        "Sentiment",
        says + means,
        [
            Chart(
                charts.moods(days, index, breadth),
                f"Fear & Greed over {len(days)} days, and the share of coins that rose each day.",
            )
        ],
        [
            *([Legend("line-1", "Fear & Greed, 0 to 100 (shaded: extreme)")] if mood else []),
            Legend("cold", "more than half of the coins rose"),
            Legend("warm", "fewer than half did"),
        ],
        [
            table_of_days(
                "Sentiment, newest days",
                days,
                {
                    head.format(currency=facts.currency): list(
                        map(text, column_by_day(rows, name, days))
                    )
                    for head, (name, text) in _SENTIMENT_COLUMNS.items()
                },
            )
        ],
    )


def sparkline_rows(facts: Facts, coins: int = COINS_DRAWN) -> list[Row]:
    """The largest coins, each with its price, its change and a sparkline of the last 30 days.

    Args:
        facts: The facts.
        coins: How many coins.
    """
    days = days_of(row for row in facts.days_of_coins if row["close"] is not None)[-30:]
    shown = facts.current[:coins]
    prices = aligned([coin["close"] for coin in shown])
    return [
        {
            "coin": name_of(coin),
            f"price ({facts.currency})": price,
            "1 d": _change(coin["return_1d"]),
            "30 d": _change(coin["return_30d"]),
            "last 30 days": charts.sparkline_text(
                column_by_day(facts.days_of_coin(coin), "close", days)
            ),
        }
        for coin, price in zip(shown, prices, strict=True)
    ]


def _times(coin: Row) -> str:
    return f"{name_of(coin)} ({coin['ratio_to_median']:.1f}x)"
