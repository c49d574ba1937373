"""The part of the market report on the data itself: how complete it is, and what is missing why."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime

from crypto_platform.core.streams import STREAMS, Stream
from crypto_platform.report import charts
from crypto_platform.report.charts import percent
from crypto_platform.report.components import (
    IN_THE_TABLE,
    Chart,
    Legend,
    Panel,
    Table,
    count,
    named,
)
from crypto_platform.report.day_series import days_of
from crypto_platform.report.facts import DAYS_OF_HEALTH, PARTS, STALE_AFTER, Facts, part_of
from crypto_platform.warehouse.resource import Row


def health_panel(facts: Facts) -> Panel:
    """The panel."""
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
        f" Stale, without a price in {hours}: {named(stale)}."
        if stale
        else f" Every tracked coin has a price of the last {hours}."
    )
    drawn = []
    days = days_of(facts.completeness)
    for stream in STREAMS:
        rows = [row for row in facts.completeness if row["stream"] == stream.name]
        if rows:
            drawn.append(_of_stream(stream, rows, days))
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


def _of_stream(stream: Stream, rows: Sequence[Row], days: Sequence[date]) -> Chart:
    counted: dict[date, Counter[str]] = {day: Counter() for day in days}
    for row in rows:
        counted[row["day"]][part_of(row["status"])] += row["coin_windows"]
    parts = {
        name: [counted[day][name] / max(counted[day].total(), 1) for day in days] for name in PARTS
    }
    present = sum(count["in the warehouse"] for count in counted.values())
    every = sum(count.total() for count in counted.values())
    return Chart(
        charts.parts_of_days(days, parts),
        f"{stream.name}: {percent(present / every)} complete over {len(days)} days.",
        title=stream.name,
        value=percent(present / every, digits=2),
    )


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
