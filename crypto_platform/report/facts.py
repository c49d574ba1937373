"""The facts of the market report: the market and the data's own health, read from the warehouse."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from crypto_platform.core.streams import SIMULATED, STREAMS, Stream, Window
from crypto_platform.warehouse.completeness import Completeness, completeness_of, together
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.session import Row
from crypto_platform.warehouse.sql import statement

DAYS = 90
"""How far back the charts reach."""

DAYS_OF_HEALTH = 30
"""How far back the chart of completeness reaches."""

COINS_DRAWN = 10
"""So many coins have their days read, for lines and the matrix of correlations."""

# A day's price is a day old when its window ends, and the API is at times two hours behind.
STALE_AFTER = timedelta(hours=26)

IN_THE_WAREHOUSE = "in the warehouse"
STATUS_GROUPS = {
    IN_THE_WAREHOUSE: ("present",),
    "not at the source, or older than the plan": ("missing_at_source", "out_of_plan"),
    "not loaded yet": ("pending",),
    "failed or quarantined": ("failed", "quarantined"),
}


@dataclass(frozen=True)
class Facts:
    """What the warehouse holds, as far as the report shows it.

    Attributes:
        vs_currency: The currency of all prices, caps and volumes.
        sources: Where the prices are from.
        stream: The stream whose window is the newest; ``None`` before anything is loaded.
        window: That window.
        coins: The newest day of each coin that has one in the time shown, the largest first.
        days_of_coins: Days of the largest coins.
        days_of_the_market: All coins together, by day.
        days_of_sentiment: The market's sentiment, by day.
        completeness: How complete each stream is that was asked for.
        days_of_completeness: Coin-windows by stream, day and status, of the last days.
        reasons: Why prices of these days are missing, the most frequent first.
        newest_prices: When each tracked coin was last seen, those longest ago first.
    """

    vs_currency: str
    sources: Sequence[str] = ()
    stream: Stream | None = None
    window: Window | None = None
    coins: Sequence[Row] = ()
    days_of_coins: Sequence[Row] = ()
    days_of_the_market: Sequence[Row] = ()
    days_of_sentiment: Sequence[Row] = ()
    completeness: Sequence[Completeness] = ()
    days_of_completeness: Sequence[Row] = ()
    reasons: Sequence[Row] = ()
    newest_prices: Sequence[Row] = ()

    @property
    def simulated(self) -> bool:
        """Whether any price is not real."""
        return SIMULATED in self.sources

    @property
    def currency(self) -> str:
        """The currency as people write it."""
        return self.vs_currency.upper()

    @property
    def newest_day(self) -> date | None:
        """The newest day of which any coin has a close."""
        return max((coin["day"] for coin in self.coins), default=None)

    @property
    def current(self) -> list[Row]:
        """The coins whose newest day is the market's, or the one before; the largest first."""
        newest = self.newest_day
        return [coin for coin in self.coins if newest and newest - coin["day"] <= timedelta(days=1)]

    @property
    def stale(self) -> list[Row]:
        """Tracked coins without a price in the last day before the newest window's end."""
        if self.window is None:
            return []
        latest = self.window.end - STALE_AFTER
        return [
            row for row in self.newest_prices if not row["price_at"] or row["price_at"] < latest
        ]

    @property
    def complete(self) -> Completeness:
        """How complete all streams are together."""
        return together(self.completeness)

    def days_of_coin(self, coin: Row) -> list[Row]:
        """The days of one of the largest coins."""
        return [row for row in self.days_of_coins if row["coin_id"] == coin["coin_id"]]


def read_facts(warehouse: Warehouse, vs_currency: str, now: datetime) -> Facts:
    """Read what the report shows.

    Args:
        warehouse: Where prices and models stand.
        vs_currency: The currency to report in.
        now: The time, which decides what is due.

    Raises:
        WarehouseBusyError: Another process holds the warehouse.
    """
    completeness = completeness_of(warehouse, STREAMS, now)
    with warehouse.session(read_only=True) as session:

        def ask(name: str, *params: object, coins: int = 0) -> list[Row]:
            text = statement(name, file="market_report.sql")
            return session.execute(text.replace("{coins}", ", ".join("?" * coins)), params)

        newest = {row["stream"]: row["window_start"] for row in ask("newest_windows", vs_currency)}
        windows = [
            (stream, stream.window_at(newest[stream.name]))
            for stream in STREAMS
            if stream.name in newest
        ]
        if not windows:
            return Facts(vs_currency)
        stream, window = max(windows, key=lambda entry: entry[1].end)
        first_day = (window.end - timedelta(days=DAYS)).date()
        health = window.end - timedelta(days=DAYS_OF_HEALTH)
        spans = [(one.stream, health, one.until) for one in completeness if one.until]
        facts = Facts(
            vs_currency,
            sources=[row["source"] for row in session.execute(statement("standing_sources"))],
            stream=stream,
            window=window,
            coins=ask("newest_of_each_coin", vs_currency, first_day),
            days_of_the_market=ask("days_of_the_market", vs_currency, first_day),
            days_of_sentiment=ask("days_of_sentiment", vs_currency, first_day),
            completeness=completeness,
            days_of_completeness=[
                row for span in spans for row in ask("days_of_completeness", *span)
            ],
            reasons=sorted(
                (row for span in spans for row in ask("reasons_of_gaps", *span)),
                key=lambda row: -row["coin_windows"],
            ),
            newest_prices=ask("newest_price_of_each_coin", vs_currency, vs_currency),
        )
        drawn = [coin["coin_id"] for coin in facts.current[:COINS_DRAWN]]
        if not drawn:
            return facts
        days = ask("days_of_coins", vs_currency, first_day, *drawn, coins=len(drawn))
        return replace(facts, days_of_coins=days)


def group_of(status: str) -> str:
    """Which of the ``STATUS_GROUPS`` a status of the ledger belongs to."""
    return next(name for name, statuses in STATUS_GROUPS.items() if status in statuses)
