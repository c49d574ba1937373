"""``crypto-platform budget``: the month's API credits by stream, with a forecast."""

import json
import os
import sys
from contextlib import nullcontext
from typing import Any

import click
import dagster as dg
from rich.console import Console
from rich.table import Table

from crypto_platform.core.settings import Settings
from crypto_platform.ingestion.quota import MonthBudget, present_budget
from crypto_platform.profiles import PROFILES


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
def budget(*, as_json: bool) -> None:
    """Show the month's API credits by stream, with a forecast; exit with 1 if they run out."""
    settings = Settings.from_environment(os.environ)
    lake = PROFILES[settings.profile].builders["lake"](settings)
    folder = settings.instance_folder(os.environ)
    there = (folder / "dagster.yaml").exists()
    with dg.DagsterInstance.from_config(str(folder)) if there else nullcontext() as instance:
        found = present_budget(settings, os.environ, lake, instance)
    if as_json:
        click.echo(json.dumps(_document(found), indent=2))
    else:
        console = Console()
        console.print(_table(found))
        console.print(found.described)
    sys.exit(found.level == "error")


def _document(found: MonthBudget) -> dict[str, Any]:
    return {
        "month": f"{found.now:%Y-%m}",
        "level": found.level,
        "budget": found.monthly_credits,
        "used": found.used,
        "forecast": found.forecast,
        "runs_out_at": found.runs_out_at and found.runs_out_at.isoformat(),
        "consumers": [
            {"name": consumer.name, "used": consumer.used, "foreseen": consumer.foreseen}
            for consumer in found.consumers
        ],
    }


def _table(found: MonthBudget) -> Table:
    rows = found.rows()
    table = Table(title=f"API credits of {found.now:%B %Y}")
    for name in rows[0]:
        table.add_column(name, justify="left" if name == "what" else "right")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else cell for cell in row.values()))
    return table
