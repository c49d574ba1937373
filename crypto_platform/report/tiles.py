"""The head of the market report: the market in a few numbers."""

from crypto_platform.core.numbers import compact, count, percent, share_percent
from crypto_platform.report.components import Tile, short_day
from crypto_platform.report.day_series import newest_known
from crypto_platform.report.facts import Facts
from crypto_platform.warehouse.session import Row


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
    complete = facts.complete
    return [
        Tile(
            f"Market cap ({facts.currency})",
            compact(cap["total_market_cap"]) if cap else "not known",
            f"{moved}{count(cap['coins'], 'coin')}" if cap else "no coin has one",
        ),
        Tile(
            f"Volume 24 h ({facts.currency})",
            compact(traded["volume"]) if traded else "not known",
            _unusual(traded) if traded else "no coin has one",
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
            "Bitcoin dominance",
            percent(share["bitcoin_dominance"]) if share else "not known",
            f"stablecoins {percent(share['stablecoin_share'])}" if share else _no_share(facts),
        ),
        Tile(
            "Complete",
            share_percent(complete.share, missing="not known"),
            f"of {complete.scope}, {count(len(facts.stale), 'stale coin')}"
            if complete.expected
            else complete.scope,
        ),
    ]


def _unusual(traded: Row) -> str:
    if traded["unusual"] is None:
        return "what is unusual shows after 30 days"
    return f"unusual for {count(traded['unusual'], 'coin')}"


def _no_share(facts: Facts) -> str:
    """Why the dominance of bitcoin is not known."""
    tracked = any(coin["coin_id"] == "bitcoin" for coin in facts.newest_prices)
    return "bitcoin has no market cap" if tracked else "bitcoin is not tracked"


def _of_day(row: Row, newest: Row) -> str:
    return "" if row["day"] == newest["day"] else f", of {short_day(row['day'])}"
