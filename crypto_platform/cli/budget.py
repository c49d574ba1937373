"""``crypto-platform budget``: the month's API credits by stream, with a forecast."""

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console
from rich.table import Table

from crypto_platform.core.settings import Settings
from crypto_platform.ingestion.quota import MonthBudget, present_budget
from crypto_platform.lake.layers import Lake
from crypto_platform.profiles import PROFILES


def report(*, as_json: bool) -> int:
    """Print the budget of this environment's platform.

    Args:
        as_json: As JSON, not as a table.

    Returns:
        The exit code: 1 where the credits will not suffice.

    Raises:
        SettingsError: One or more variables are malformed.
        InvalidSettings: The plan is unknown, or a limit is no number.
    """
    settings = Settings.from_environment(os.environ)
    lake: Lake = PROFILES[settings.profile].resources(settings)["lake"]
    folder = Path(os.environ.get("DAGSTER_HOME") or settings.home.absolute() / "dagster")
    there = (folder / "dagster.yaml").exists()
    with dg.DagsterInstance.from_config(str(folder)) if there else nullcontext() as instance:
        budget = present_budget(settings, os.environ, lake, instance)
    if as_json:
        print(json.dumps(_as_json(budget), indent=2))  # noqa: T201 - what the command is for
    else:
        console = Console()
        console.print(_table(budget))
        console.print(budget.described)
    return 1 if budget.level == "error" else 0


def _as_json(budget: MonthBudget) -> dict[str, Any]:
    return {
        "month": f"{budget.now:%Y-%m}",
        "level": budget.level,
        "budget": budget.monthly_credits,
        "used": budget.used,
        "forecast": budget.forecast,
        "runs_out_at": budget.runs_out_at and budget.runs_out_at.isoformat(),
        "consumers": [
            {"name": consumer.name, "used": consumer.used, "foreseen": consumer.foreseen}
            for consumer in budget.consumers
        ],
    }


def _table(budget: MonthBudget) -> Table:
    rows = budget.rows()
    table = Table(title=f"API credits of {budget.now:%B %Y}")
    for name in rows[0]:
        table.add_column(name, justify="left" if name == "what" else "right")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else cell for cell in row.values()))
    return table
