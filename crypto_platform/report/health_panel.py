"""The panel of the data's own health: how complete it is, and what is missing why."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime

from crypto_platform.core.numbers import count, percent
from crypto_platform.core.streams import STREAMS, Stream
from crypto_platform.report import charts
from crypto_platform.report.components import (
    IN_THE_TABLE,
    Chart,
    Legend,
    Panel,
    Table,
    named,
)
from crypto_platform.report.day_series import days_of
from crypto_platform.report.facts import (
    DAYS_OF_HEALTH,
    IN_THE_WAREHOUSE,
    STALE_AFTER,
    STATUS_GROUPS,
    Facts,
    group_of,
)
from crypto_platform.warehouse.session import Row


def health_panel(facts: Facts) -> Panel:
    """The panel of the data's own health."""
    groups = facts.status_groups
    stale = facts.stale
    said = "Nothing was asked for in these days."
    if groups:
        said = (
            f"{percent(facts.completeness_share, digits=2)} of {groups.total():,} coin-windows of "
            f"the last {DAYS_OF_HEALTH} days are in the warehouse."
        )
        if broken := groups["failed or quarantined"]:
            said += f" {broken:,} failed or were quarantined: run these windows again."
    hours = f"{STALE_AFTER.total_seconds() / 3600:.0f} hours"
    said += (
        f" Stale, without a price in {hours}: {named(stale)}."
        if stale
        else f" Every tracked coin has a price of the last {hours}."
    )
    days = days_of(facts.completeness)
    drawn = [
        _of_stream(stream, rows, days)
        for stream in STREAMS
        if (rows := [row for row in facts.completeness if row["stream"] == stream.name])
    ]
    reasons = [
        (
            row["stream"],
            row["status"],
            row["reason"] or "",
            f"{row['coin_windows']:,}",
            row["a_coin"] if row["coins"] == 1 else count(row["coins"], "coin"),
            _moment(row["newest"]),
        )
        for row in facts.reasons
    ]
    ages = [
        (row["name"] or row["coin_id"], _moment(row["price_at"]) if row["price_at"] else "none")
        for row in (stale or facts.newest_prices)[:IN_THE_TABLE]
    ]
    head = ("Stream", "Status", "Reason", "Coin-windows", "Of", "Newest window, UTC")
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
        [Legend(f"group-{place}", name) for place, name in enumerate(STATUS_GROUPS, start=1)],
        [table for table in tables if table.rows],
    )


def _of_stream(stream: Stream, rows: Sequence[Row], days: Sequence[date]) -> Chart:
    counted: dict[date, Counter[str]] = {day: Counter() for day in days}
    for row in rows:
        counted[row["day"]][group_of(row["status"])] += row["coin_windows"]
    shares = [
        [counted[day][name] / max(counted[day].total(), 1) for day in days]
        for name in STATUS_GROUPS
    ]
    total = sum(counted.values(), Counter[str]())
    complete = total[IN_THE_WAREHOUSE] / total.total()
    return Chart(
        charts.stacked_shares(days, shares),
        f"{stream.name}: {percent(complete)} complete over {len(days)} days.",
        title=stream.name,
        value=percent(complete, digits=2),
    )


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
