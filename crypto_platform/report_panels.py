"""The facts of the market report as panels and tiles: words, pictures and tables, and no page."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from crypto_platform import pictures
from crypto_platform.day_series import (
    FEWEST_RETURNS,
    column_by_day,
    correlation,
    count_known,
    days_of,
    last_known,
    median_known,
    newest_known,
    rows_by_coin,
)
from crypto_platform.market_facts import (
    COINS_DRAWN,
    DAYS,
    DAYS_OF_HEALTH,
    PARTS,
    STALE_AFTER,
    Facts,
    part_of,
)
from crypto_platform.pictures import UNKNOWN, Band, Series, Value, compact, percent, price_text
from crypto_platform.resources.warehouse import Row
from crypto_platform.streams import STREAMS, Stream

# Coins in the table, with a picture of their own, and named in a sentence; others are summed up.
_IN_THE_TABLE = 25
_WITH_A_PICTURE = 8
_NAMED = 5


@dataclass(frozen=True)
class Table:
    """Numbers of a panel: a head, and rows of as many texts."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str


@dataclass(frozen=True)
class Picture:
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
        pictures: What shows it; none where there is too little to draw.
        legend: What the colours stand for.
        tables: The same in numbers.
        is_open: Whether the numbers are the point, and not to be unfolded first.
        is_wide: Whether it takes the width of the page.
    """

    key: str
    title: str
    finding: str
    pictures: Sequence[Picture] = ()
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


def panels(facts: Facts) -> list[Panel]:
    """The parts of the report, in their order; empty before anything is loaded."""
    if facts.window is None:
        return []
    return [
        _prices(facts),
        _coins(facts),
        _spread(facts, _DRAWDOWN),
        _spread(facts, _VOLATILITY),
        _correlation(facts),
        _sentiment(facts),
        _volume(facts),
        _health(facts),
    ]


def tiles(facts: Facts) -> list[Tile]:
    """The market in a few numbers; each says so where it is not known."""
    if facts.window is None:
        return []
    market = facts.days_of_sentiment[-1] if facts.days_of_sentiment else {}
    mood = newest_known(facts.days_of_sentiment, "fear_and_greed")
    rose = newest_known(facts.days_of_sentiment, "breadth_1d")
    cap = newest_known(facts.days_of_sentiment, "total_market_cap")
    change = cap["total_market_cap_change_1d"] if cap else None
    moved = f"{percent(change, signed=True)} in a day, " if change is not None else ""
    share = newest_known(facts.days_of_sentiment, "bitcoin_dominance")
    traded = newest_known(facts.days_of_the_market, "volume")
    parts = facts.parts
    return [
        Tile(
            f"Market cap, {facts.currency}",
            compact(cap["total_market_cap"]) if cap else "not known",
            f"{moved}{_count(cap['coins'], 'coin')}" if cap else "no coin has one",
        ),
        Tile(
            f"Volume 24 h, {facts.currency}",
            compact(traded["volume"]) if traded else "not known",
            f"unusual for {_count(traded['unusual'] or 0, 'coin')}"
            if traded
            else "no coin has one",
        ),
        Tile(
            "Fear & Greed",
            str(mood["fear_and_greed"]) if mood else "not known",
            f"{mood['fear_and_greed_class']}{_of_day(mood, market)}" if mood else "no value yet",
        ),
        Tile(
            "Rose in a day",
            percent(rose["breadth_1d"], digits=0) if rose else "not known",
            f"in 7 days {percent(rose['breadth_7d'], digits=0)}" if rose else "it takes two days",
        ),
        Tile(
            "Bitcoin's part",
            percent(share["bitcoin_dominance"]) if share else "not known",
            f"stablecoins {percent(share['stablecoin_share'])}" if share else "bitcoin is not here",
        ),
        Tile(
            "Complete",
            percent(parts["in the warehouse"] / parts.total(), digits=2) if parts else "not known",
            f"of the last {DAYS_OF_HEALTH} days, {_count(len(facts.stale), 'stale coin')}",
        ),
    ]


def _prices(facts: Facts) -> Panel:
    by_coin = rows_by_coin(facts.days_of_coins)
    days = days_of(facts.days_of_coins)
    drawn = []
    for coin in facts.current[:_WITH_A_PICTURE]:
        closes = column_by_day(by_coin.get(coin["coin_id"], ()), "close", days)
        known = [value for value in closes if value is not None]
        if len(known) < 2:  # noqa: PLR2004 - a line needs two
            continue
        drawn.append(
            Picture(
                pictures.sparkline(closes),
                f"Price of {_name(coin)} from {price_text(known[0])} to {price_text(known[-1])}, "
                f"between {price_text(min(known))} and {price_text(max(known))}.",
                title=_name(coin),
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
            f"{rose} of {_count(len(moved), 'coin')} rose in a day; "
            f"{_name(moved[-1])} did best ({percent(moved[-1]['return_1d'], signed=True)}), "
            f"{_name(moved[0])} worst ({percent(moved[0]['return_1d'], signed=True)})."
        )
    if drawn:
        finding += f" The lines are {_count(len(days), 'day')} of the largest coins."
    return Panel("prices", "Prices", finding, drawn, is_wide=True)


def _coins(facts: Facts) -> Panel:
    shown, others = facts.current[:_IN_THE_TABLE], facts.current[_IN_THE_TABLE:]
    head = ("Coin", f"Price, {facts.currency}", "1 d", "7 d", "30 d", "Volatility", "Drawdown")
    rows = [_coin_row(_name(coin), coin) for coin in shown]
    if others:
        columns = ("return_1d", "return_7d", "return_30d", "volatility_30d", "drawdown")
        middle: Row = {column: median_known(coin[column] for coin in others) for column in columns}
        traded = sum(coin["volume"] or 0 for coin in others)
        rest: Row = {"close": None, "volume": traded, "ratio_to_median": None, **middle}
        rows.append(_coin_row(f"{len(others)} others (medians; volume together)", rest))
    finding = f"{_count(len(shown), 'coin')}, the largest first."
    if others:
        finding = (
            f"The {len(shown)} largest of {len(facts.current)} coins by market capitalization."
        )
    here = {coin["coin_id"] for coin in facts.current}
    if absent := [row for row in facts.newest_prices if row["coin_id"] not in here]:
        finding += f" Without a close on the newest days, and so not here: {_named(absent)}."
    return Panel(
        "coins",
        "Coins",
        finding,
        tables=[Table((*head, "Volume, 24 h", "x median"), rows, "Coins on their newest day")]
        if rows
        else (),
        is_open=True,
        is_wide=True,
    )


def _coin_row(name: str, coin: Row) -> list[str]:
    ratio = coin["ratio_to_median"]
    return [
        name,
        price_text(coin["close"], missing=""),
        percent(coin["return_1d"], signed=True),
        percent(coin["return_7d"], signed=True),
        percent(coin["return_30d"], signed=True),
        percent(coin["volatility_30d"], digits=0),
        percent(coin["drawdown"]),
        compact(coin["volume"], missing=UNKNOWN),
        f"{ratio:.2f}" if ratio is not None else UNKNOWN,
    ]


@dataclass(frozen=True)
class _Spread:
    """A measure whose largest coins are shown before the middle half of all."""

    column: str
    title: str
    describe: Callable[[str, str], str]
    too_little: str


_DRAWDOWN = _Spread(
    "drawdown",
    "Drawdown",
    lambda coin, market: (
        f"How far below its highest close a coin is: {coin}; the middle one of all {market}."
    ),
    "A coin's drawdown takes two days of closes to draw.",
)
_VOLATILITY = _Spread(
    "volatility_30d",
    "Volatility",
    lambda coin, market: (
        f"How much prices moved a day, over 30 days and scaled to a year: {coin}; the middle "
        f"one of all {market}."
    ),
    "Volatility takes 30 daily returns in a row, which no coin has yet.",
)


def _spread(facts: Facts, spread: _Spread) -> Panel:
    days = days_of(facts.days_of_the_market)
    market = {row["day"]: row for row in facts.days_of_the_market}
    middle, low, high = (
        [(market.get(day) or {}).get(f"{spread.column}{end}") for day in days]
        for end in ("", "_low", "_high")
    )
    many = len(facts.current) > 3  # noqa: PLR2004 - fewer have no middle half
    by_coin = rows_by_coin(facts.days_of_coins)
    series = [
        Series(_name(coin), column_by_day(by_coin.get(coin["coin_id"], ()), spread.column, days))
        for coin in facts.current[:2]
    ]
    if many:
        series.append(Series(f"Middle of {len(facts.current)} coins", middle))
    if max((count_known(line.values) for line in series), default=0) < 2:  # noqa: PLR2004 - a line
        return Panel(spread.column, spread.title, spread.too_little)
    band = Band("The middle half of the coins", low, high) if many else None
    newest = [(line.label, last_known(line.values)) for line in series[:2]]
    said = ", ".join(f"{label} {percent(value)}" for label, value in newest)
    finding = spread.describe(said, percent(last_known(middle)))
    return Panel(
        spread.column,
        spread.title,
        finding,
        [
            Picture(
                pictures.lines(days, series, band=band),
                f"{spread.title} over {len(days)} days. Newest: {said}.",
            )
        ],
        [
            *(Legend(f"line-{place}", line.label) for place, line in enumerate(series, start=1)),
            *([Legend("band", band.label)] if band else []),
        ],
        [
            _table_of_days(
                f"{spread.title}, newest days",
                days,
                {line.label: [percent(value) for value in line.values] for line in series},
            )
        ],
    )


def _correlation(facts: Facts) -> Panel:
    coins = facts.current[:COINS_DRAWN]
    days = days_of(facts.days_of_coins)
    by_coin = rows_by_coin(facts.days_of_coins)
    returns = [
        column_by_day(by_coin.get(coin["coin_id"], ()), "log_return_1d", days) for coin in coins
    ]
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
            f"No two coins have {FEWEST_RETURNS} days of returns in common yet.",
        )
    closest, loosest = max(pairs, key=_first), min(pairs, key=_first)
    symbols = [_symbol(coin) for coin in coins]
    return Panel(
        "correlation",
        "Correlation",
        f"Of daily returns over {DAYS} days: 1.00 is moving alike, 0 is no connection. "
        f"Most alike are {_name(closest[1])} and {_name(closest[2])} ({_hundredths(closest[0])}), "
        f"least {_name(loosest[1])} and {_name(loosest[2])} ({_hundredths(loosest[0])}).",
        [
            Picture(
                pictures.heat_map(symbols, matrix),
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


def _volume(facts: Facts) -> Panel:
    days = days_of(facts.days_of_the_market)
    market = {row["day"]: row for row in facts.days_of_the_market}
    volumes = [(market.get(day) or {}).get("volume") for day in days]
    if count_known(volumes) < 2:  # noqa: PLR2004 - one bar compares with nothing
        return Panel("volume", "Volume", "It takes volumes of two days to compare them.")
    newest, usual = last_known(volumes), median_known(volumes)
    unusual = [coin for coin in facts.current if coin["unusual"]]
    unusual.sort(key=lambda coin: -coin["ratio_to_median"])
    named = ", ".join(
        f"{_name(coin)} ({coin['ratio_to_median']:.1f}x)" for coin in unusual[:_NAMED]
    )
    more = f" and {len(unusual) - _NAMED} more" if len(unusual) > _NAMED else ""
    judged = any(coin["unusual"] is not None for coin in facts.current)
    remark = f"Unusually much: {named}{more}." if unusual else "No coin trades unusually much."
    return Panel(
        "volume",
        "Volume",
        f"{compact(newest)} {facts.currency} in the newest 24 hours; the middle of {len(days)} "
        f"days is {compact(usual)}. {remark if judged else 'What is unusual shows after 30 days.'}",
        [
            Picture(
                pictures.bars(days, volumes),
                f"Volume of all coins together over {len(days)} days, newest {compact(newest)}.",
            )
        ],
        [Legend("cold", "all coins together"), Legend("newest", "newest day")],
        [
            _table_of_days(
                f"Volume in {facts.currency}, newest days",
                days,
                {
                    "Volume": [compact(value, missing=UNKNOWN) for value in volumes],
                    "Coins with unusually much": [
                        str((market.get(day) or {}).get("unusual") or 0) for day in days
                    ],
                },
            )
        ],
    )


def _sentiment(facts: Facts) -> Panel:
    days = days_of(facts.days_of_sentiment)
    rows = {row["day"]: row for row in facts.days_of_sentiment}
    index, breadth = (
        [(rows.get(day) or {}).get(column) for day in days]
        for column in ("fear_and_greed", "breadth_1d")
    )
    if max(count_known(index), count_known(breadth)) < 2:  # noqa: PLR2004 - a line needs two
        return Panel("sentiment", "Sentiment", "It takes two days of a market to draw its mood.")
    mood = newest_known(facts.days_of_sentiment, "fear_and_greed")
    above = newest_known(facts.days_of_sentiment, "above_50d_mean")
    says = (
        f"Fear & Greed stands at {mood['fear_and_greed']} of 100, "
        f"{(mood['fear_and_greed_class'] or '').lower()}, on {_day(mood['day'])}. "
        if mood
        else "The Fear & Greed index has no value in these days. "
    )
    means = (
        f"{percent(above['above_50d_mean'], digits=0)} of the coins are above their 50-day mean."
        if above
        else "Means of 50 days are not there yet."
    )
    columns: Mapping[str, Callable[[Row], str]] = {
        "Fear & Greed": lambda row: str(_or_dash(row["fear_and_greed"])),
        "Rose in 1 d": lambda row: percent(row["breadth_1d"], digits=0),
        "Rose in 7 d": lambda row: percent(row["breadth_7d"], digits=0),
        "Bitcoin's part": lambda row: percent(row["bitcoin_dominance"]),
        "Stablecoins": lambda row: percent(row["stablecoin_share"]),
        "Market cap": lambda row: compact(row["total_market_cap"], missing=UNKNOWN),
    }
    return Panel(
        "sentiment",
        "Sentiment",
        says + means,
        [
            Picture(
                pictures.moods(days, index, breadth),
                f"Fear & Greed over {len(days)} days, and the part of coins that rose each day.",
            )
        ],
        [
            *([Legend("line-1", "Fear & Greed, 0 to 100 (shaded: extreme)")] if mood else []),
            Legend("cold", "more than half of the coins rose"),
            Legend("warm", "fewer than half did"),
        ],
        [
            _table_of_days(
                "Sentiment, newest days",
                days,
                {
                    name: [text(rows[day]) if day in rows else UNKNOWN for day in days]
                    for name, text in columns.items()
                },
            )
        ],
    )


def _health(facts: Facts) -> Panel:
    parts = facts.parts
    stale = facts.stale
    said = "Nothing was asked for in these days."
    if parts:
        complete = percent(parts["in the warehouse"] / parts.total(), digits=2)
        said = (
            f"{complete} of {parts.total():,} coins times windows of the last {DAYS_OF_HEALTH} "
            "days are in the warehouse."
        )
        if broken := parts["failed or quarantined"]:
            said += f" {broken:,} failed or were quarantined: run these windows again."
    hours = f"{STALE_AFTER.total_seconds() / 3600:.0f} hours"
    said += (
        f" Stale, without a price in {hours}: {_named(stale)}."
        if stale
        else f" Every tracked coin has a price of the last {hours}."
    )
    drawn = []
    days = days_of(facts.completeness)
    for stream in STREAMS:
        rows = [row for row in facts.completeness if row["stream"] == stream.name]
        if rows:
            drawn.append(_health_of(stream, rows, days))
    reasons = [
        (
            row["stream"],
            row["status"],
            row["reason"] or "",
            f"{row['coin_windows']:,}",
            row["a_coin"] if row["coins"] == 1 else _count(row["coins"], "coin"),
            _moment(row["newest"]),
        )
        for row in facts.reasons
    ]
    ages = [
        (row["name"] or row["coin_id"], _moment(row["price_at"]) if row["price_at"] else "none")
        for row in (stale or facts.newest_prices)[:_IN_THE_TABLE]
    ]
    head = ("Stream", "Status", "Reason", "Coins x windows", "Of", "Newest window, UTC")
    tables = [
        Table(head, reasons, "Why prices are missing"),
        Table(
            ("Coin", "Newest price, UTC"),
            ages,
            "Stale coins" if stale else "The coins seen longest ago",
        ),
    ]
    return Panel(
        "health",
        "Data health",
        said,
        drawn,
        [Legend(f"part-{place}", name) for place, name in enumerate(PARTS, start=1)],
        [table for table in tables if table.rows],
    )


def _health_of(stream: Stream, rows: Sequence[Row], days: Sequence[date]) -> Picture:
    counted: dict[date, Counter[str]] = {day: Counter() for day in days}
    for row in rows:
        counted[row["day"]][part_of(row["status"])] += row["coin_windows"]
    parts = {
        name: [counted[day][name] / max(counted[day].total(), 1) for day in days] for name in PARTS
    }
    present = sum(count["in the warehouse"] for count in counted.values())
    every = sum(count.total() for count in counted.values())
    return Picture(
        pictures.parts_of_days(days, parts),
        f"{stream.name}: {percent(present / every)} complete over {len(days)} days.",
        title=stream.name,
        value=percent(present / every, digits=2),
    )


def sparkline_rows(facts: Facts, coins: int = COINS_DRAWN) -> list[Row]:
    """The largest coins, each with its price, its change and a sparkline of the last 30 days."""
    by_coin = rows_by_coin(facts.days_of_coins)
    days = days_of(row for row in facts.days_of_coins if row["close"] is not None)[-30:]
    return [
        {
            "coin": _name(coin),
            "price": price_text(coin["close"]),
            "1 d": percent(coin["return_1d"], signed=True),
            "30 d": percent(coin["return_30d"], signed=True),
            "last 30 days": pictures.sparkline_text(
                column_by_day(by_coin.get(coin["coin_id"], ()), "close", days)
            ),
        }
        for coin in facts.current[:coins]
    ]


def _name(coin: Row) -> str:
    return str(coin["name"] or coin["coin_id"])


def _named(coins: Sequence[Row]) -> str:
    names = ", ".join(map(_name, coins[:_NAMED]))
    return names if len(coins) <= _NAMED else f"{names} and {len(coins) - _NAMED} more"


def _symbol(coin: Row) -> str:
    return str(coin["symbol"] or coin["coin_id"]).upper()[:6]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _day(day: date) -> str:
    return f"{day:%-d %b}"


def _of_day(row: Row, newest: Row) -> str:
    return "" if row["day"] == newest["day"] else f", of {_day(row['day'])}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def _or_dash(value: object) -> object:
    return UNKNOWN if value is None else value


def _hundredths(value: Value) -> str:
    return UNKNOWN if value is None else f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _first(pair: tuple[float, Row, Row]) -> float:
    return pair[0]


def _table_of_days(
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
