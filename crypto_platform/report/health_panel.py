"""The panel of the data's own health: how complete it is, and what is missing why."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime

from crypto_platform.core.numbers import count, share_percent
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
    STALE_AFTER,
    STATUS_GROUPS,
    Facts,
    group_of,
)
from crypto_platform.warehouse.completeness import Completeness
from crypto_platform.warehouse.session import Row


def health_panel(facts: Facts) -> Panel:
    """The panel of the data's own health."""
    complete, stale = facts.complete, facts.stale
    said = f"{complete.sentence}."
    if complete.expected:
        said = f"{complete.sentence} are in the warehouse."
        if pending := complete.statuses["pending"]:
            said += f" {pending:,} were not loaded yet: healing asks for them."
        if broken := complete.statuses["failed"] + complete.statuses["quarantined"]:
            said += f" {broken:,} failed or were quarantined: run these windows again."
    hours = f"{STALE_AFTER.total_seconds() / 3600:.0f} hours"
    said += (
        f" Stale, without a price in {hours}: {named(stale)}."
        if stale
        else f" Every tracked coin has a price of the last {hours}."
    )
    days = days_of(facts.days_of_completeness)
    drawn = [
        _of_stream(one, rows, days)
        for one in facts.completeness
        if (rows := [row for row in facts.days_of_completeness if row["stream"] == one.stream])
    ]
    reasons = [
        (
            row["stream"],
            row["status"],
            row["reason"] or ("no load was about them" if row["status"] == "pending" else ""),
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
        Table(head, reasons, f"Why prices of the last {DAYS_OF_HEALTH} days are missing"),
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


def _of_stream(complete: Completeness, rows: Sequence[Row], days: Sequence[date]) -> Chart:
    counted: dict[date, Counter[str]] = {day: Counter() for day in days}
    for row in rows:
        counted[row["day"]][group_of(row["status"])] += row["coin_windows"]
    shares = [
        [counted[day][name] / max(counted[day].total(), 1) for day in days]
        for name in STATUS_GROUPS
    ]
    return Chart(
        charts.stacked_shares(days, shares),
        f"{complete.stream}: {complete.sentence}. The last {len(days)} days are drawn.",
        title=f"{complete.stream}, since {complete.since:%Y-%m-%d}",
        value=share_percent(complete.share),
    )


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
