"""``crypto-platform doctor``: the preflight of the profile."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crypto_platform.doctor.preflight import PreflightResult, Status
from crypto_platform.doctor.runner import examine

_COLORS: Mapping[Status, str] = {"passed": "green", "failed": "red", "skipped": "yellow"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
@click.option("--send", is_flag=True, help="Really send a message to the alerts' topic.")
@click.option(
    "--candidate",
    default="",
    metavar="NUMBER",
    help="Look at this published version of the function, and its scripts, before it serves.",
)
@click.option(
    "--code-version",
    default="",
    metavar="VERSION",
    help="The code that has to serve on AWS; without it, that of this checkout.",
)
def doctor(*, as_json: bool, send: bool, candidate: str, code_version: str) -> None:
    """Check that all is there that the profile needs, and works; exit with 1 where it is not."""
    if (candidate or code_version) and os.environ.get("CRYPTO_PROFILE") != "aws":
        raise click.UsageError(
            "--candidate and --code-version look at AWS: set CRYPTO_PROFILE=aws, and the names "
            "that python -m infrastructure.deploy settings prints."
        )
    results = examine(os.environ, send=send, candidate=candidate, code_version=code_version)
    healthy = all(result.status != "failed" for result in results)
    if as_json:
        checks = [asdict(result) for result in results]
        click.echo(json.dumps({"healthy": healthy, "checks": checks}, indent=2))
    else:
        Console().print(_table(results))
    sys.exit(not healthy)


def _table(results: Sequence[PreflightResult]) -> Table:
    table = Table("check", "", "found", show_lines=True)
    for result in results:
        advice = f"\n[bold]What to do:[/] {escape(result.what_to_do)}" if result.what_to_do else ""
        table.add_row(
            result.check,
            f"[{_COLORS[result.status]}]{result.status}[/]",
            escape(result.found) + advice,
        )
    return table
