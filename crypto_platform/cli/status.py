"""``crypto-platform status``: in one screen, how all of it does."""

import json
import os
import sys
from datetime import timedelta
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crypto_platform.core.errors import NothingThereError
from crypto_platform.core.numbers import count, share_percent
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL
from crypto_platform.healing.overview import Overview, StreamState, look
from crypto_platform.local.nothing_there import with_hint_at_demo

# A month of a few coins fits into what an address is let without a key.
_FIRST_DAYS = timedelta(days=30)

_FIRST = """Nothing was loaded yet. What to do first:
  crypto-platform init    writes .env: which coins, since when, with which key
  crypto-platform doctor  checks that all is there that it needs
  crypto-platform launch --assets group:historical --partition-range {first}...{last}
                          loads the last 30 days
  make dev                starts the UI, where any range is loaded with a click"""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
def status(*, as_json: bool) -> None:
    """Show in one screen how all of it does; exit with 1 where something needs a person."""
    found = look(Settings.from_environment(os.environ), os.environ)
    if as_json:
        click.echo(json.dumps(_document(found), indent=2))
    else:
        _print(found)
    sys.exit(bool(found.for_a_person))


def _document(found: Overview) -> dict[str, Any]:
    budget = found.budget
    return {
        "at": found.now.isoformat(),
        "profile": found.profile,
        "home": found.home,
        "healthy": not found.for_a_person,
        "for_a_person": found.for_a_person,
        "coins": found.coins,
        "streams": [
            {
                "stream": state.stream.name,
                "newest_window": state.newest and state.stream.key_at(state.newest),
                "newest_due": state.stream.key_at(state.due),
                "late": state.late,
                "scheduled": state.scheduled,
                "since": state.completeness.since and state.completeness.since.isoformat(),
                "expected": state.completeness.expected,
                "present": state.completeness.present,
                "complete": state.completeness.share,
                "open_gaps": len(state.gaps) - len(state.given_up),
                "given_up_gaps": len(state.given_up),
            }
            for state in found.streams
        ],
        "incidents": None
        if found.incidents is None
        else [one.model_dump(mode="json") for one in found.incidents],
        "credits": budget
        and {
            "month": f"{budget.now:%Y-%m}",
            "level": budget.level,
            "budget": budget.monthly_credits,
            "used": budget.used,
            "forecast": budget.forecast,
        },
        "next_ticks": {tick.schedule: tick.at and tick.at.isoformat() for tick in found.ticks},
        "daemon_runs": found.daemon,
        "ui": found.ui,
    }


def _print(found: Overview) -> None:
    # Else each number and path has a colour, and what is red does not stand out.
    console = Console(highlight=False)
    coins = count(found.coins, "coin")
    console.print(
        f"[bold]{escape(found.home)}[/], profile {found.profile}, {coins}, "
        f"{found.now:%Y-%m-%d %H:%M} UTC"
    )
    if found.empty:
        hint = with_hint_at_demo(NothingThereError(""), os.environ)
        last = HISTORICAL.latest_due(found.now).start
        first = last - _FIRST_DAYS + HISTORICAL.window_length
        keys = {"first": HISTORICAL.key_at(first), "last": HISTORICAL.key_at(last)}
        console.print(f"\n{_FIRST.format(**keys)}\n{escape(str(hint).strip())}", soft_wrap=True)
    else:
        console.print(_streams(found))
    facts = Table.grid(padding=(0, 2))
    for name, said in _facts(found):
        facts.add_row(f"[bold]{name}[/]", escape(said))
    console.print(facts)
    for sentence in found.for_a_person:
        console.print(f"[red]To do:[/] {escape(sentence)}")


def _streams(found: Overview) -> Table:
    table = Table("stream", "newest window", "complete", "of", "since", "gaps")
    for state in found.streams:
        share, since = state.completeness.share, state.completeness.since
        table.add_row(
            state.stream.name,
            _newest(state),
            share_percent(share),
            f"{state.completeness.expected:,}",
            state.stream.key_at(since) if since else "",
            _gaps(state),
        )
    return table


def _newest(state: StreamState) -> str:
    if state.newest is None:
        return "none yet"
    return f"{state.stream.key_at(state.newest)}{' [red]late[/]' if state.late else ''}"


def _gaps(state: StreamState) -> str:
    opened = len(state.gaps) - len(state.given_up)
    parts = [f"{opened} open"] if opened else []
    if state.given_up:
        parts.append(f"[red]{len(state.given_up)} given up[/]")
    return ", ".join(parts) or "none"


def _facts(found: Overview) -> list[tuple[str, str]]:
    if found.incidents is None:
        incidents = "not known: the sensor looks once the daemon runs"
    else:
        incidents = "; ".join(one.title for one in found.incidents) or "none is open"
    budget = found.budget
    credits_ = found.budget_problem
    if budget:
        of = (
            "no known budget"
            if budget.monthly_credits is None
            else f"of {budget.monthly_credits:,}"
        )
        credits_ = f"{budget.used:,} used in {budget.now:%B}, {budget.forecast:,} by its end, {of}"
    ticking = [f"{tick.schedule} {tick.at:%a %H:%M}" for tick in found.ticks if tick.at]
    off = [tick.schedule for tick in found.ticks if tick.at is None]
    ticks = ", ".join(ticking) + (f"; off: {', '.join(off)}" if off else "")
    return [
        ("incidents", incidents),
        ("API credits", credits_),
        ("next (UTC)", ticks.replace("_schedule", "")),
        ("daemon", "runs" if found.daemon else "does not run, so that nothing ticks"),
        (
            "UI",
            found.ui or f"not at {found.ui_address} (make dev starts it; make demo-ui the demo's)",
        ),
    ]
