"""``crypto-platform alerts``: the alerts that were sent, and the incidents that are open."""

import json
import os
from collections.abc import Mapping, Sequence

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crypto_platform.alerts.channels import AlertChannel
from crypto_platform.alerts.messages import (
    Alert,
    FailedDelivery,
    Incident,
    UndeliverableAlert,
)
from crypto_platform.alerts.problems import describe_partitions
from crypto_platform.core.settings import Settings
from crypto_platform.profiles import PROFILES

_COLORS = {"error": "red", "info": "green"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
@click.option("--limit", default=20, show_default=True, help="How many of the newest to print.")
def alerts(*, as_json: bool, limit: int) -> None:
    """Show where alerts go, those that were sent, and the incidents that are open."""
    settings = Settings.from_environment(os.environ)
    channel: AlertChannel = PROFILES[settings.profile].builders["alerts"](settings)
    kept = channel.sent()
    sent = (kept or [])[-limit:]
    state = channel.latest_state()
    incidents = state.incidents if state else ()
    unsent = state.unsent if state else ()
    failed = state.failed_deliveries if state else {}
    put_aside = state.put_aside if state else ()
    if as_json:
        document = {
            "place": channel.place,
            "alerts": [alert.model_dump(mode="json") for alert in sent],
            "unsent": [alert.model_dump(mode="json") for alert in unsent],
            "failed_deliveries": {
                alert_id: delivery.model_dump(mode="json") for alert_id, delivery in failed.items()
            },
            "put_aside": [one.model_dump(mode="json") for one in put_aside],
            "incidents": [incident.model_dump(mode="json") for incident in incidents],
        }
        click.echo(json.dumps(document, indent=2))
        return
    console = Console()
    console.print(f"Alerts go to {channel.place}.", soft_wrap=True)
    if kept is None:
        console.print("A topic keeps no copies: its subscriptions have what was sent.")
    elif sent:
        console.print(_alerts("Sent, the newest last", sent))
    else:
        console.print("None was sent so far.")
    if unsent:
        console.print(_alerts("Waiting to be sent", unsent))
    if failed or put_aside:
        console.print(_undelivered(unsent, failed, put_aside))
    if incidents:
        console.print(_incidents(incidents))
    elif state:
        console.print("No incident is open.")
    else:
        console.print("The sensor has not looked yet: it runs with crypto-platform dev.")


def _alerts(title: str, shown: Sequence[Alert]) -> Table:
    table = Table("at (UTC)", "kind", "stream", "subject", title=title, title_justify="left")
    for alert in shown:
        table.add_row(
            f"{alert.at:%Y-%m-%d %H:%M:%S}",
            alert.kind,
            alert.stream,
            f"[{_COLORS[alert.severity]}]{escape(alert.subject)}[/]",
        )
    return table


def _undelivered(
    unsent: Sequence[Alert],
    failed: Mapping[str, FailedDelivery],
    put_aside: Sequence[UndeliverableAlert],
) -> Table:
    table = Table(
        "subject", "attempts", "next (UTC)", "why", title="Not delivered", title_justify="left"
    )
    waiting = [(alert, failed[alert.alert_id]) for alert in unsent if alert.alert_id in failed]
    for alert, delivery in waiting:
        again = f"{delivery.next_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(escape(alert.subject), str(delivery.attempts), again, escape(delivery.reason))
    for one in put_aside:
        attempts, reason = str(one.delivery.attempts), escape(one.delivery.reason)
        table.add_row(escape(one.alert.subject), attempts, "none: put aside", reason)
    return table


def _incidents(incidents: Sequence[Incident]) -> Table:
    table = Table("since (UTC)", "incident", "to be resolved", title="Open", title_justify="left")
    for incident in incidents:
        left = "\n".join(
            f"{thing} {describe_partitions(partitions)}".strip()
            for thing, partitions in incident.affected.items()
        )
        table.add_row(f"{incident.opened_at:%Y-%m-%d %H:%M}", escape(incident.title), escape(left))
    return table
