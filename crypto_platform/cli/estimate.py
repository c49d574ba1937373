"""``crypto-platform estimate``: what loading a range takes, before it is launched."""

import json
import os
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import STREAMS
from crypto_platform.ingestion.estimate import Estimate, windows_of
from crypto_platform.ingestion.estimate import estimate as estimate_windows
from lambda_function.plans import configured_plan


@click.command()
@click.argument("stream")
@click.argument("partitions", metavar="FIRST...LAST")
@click.option("--coins", type=click.IntRange(min=1), help="How many coins; TRACKED_COINS decides.")
@click.option("--plan", help="A plan of the price API; COINGECKO_PLAN decides.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
def estimate(
    stream: str, partitions: str, *, coins: int | None, plan: str | None, as_json: bool
) -> None:
    """Say what loading a range of a stream's partitions takes, before it is launched."""
    streams = {one.name: one for one in STREAMS}
    if stream not in streams:
        raise click.BadParameter(
            f"{stream!r} is none of {', '.join(streams)}.", param_hint="STREAM"
        )
    now = datetime.now(UTC)
    spec = Settings.from_environment(os.environ).tracked_coins
    estimated = estimate_windows(
        streams[stream],
        windows_of(streams[stream], partitions, now),
        coins or spec.top + len(spec.named),
        configured_plan({**os.environ, "COINGECKO_PLAN": plan} if plan else os.environ),
        now,
        tracked=() if coins or spec.top else spec.named,
    )
    if as_json:
        click.echo(json.dumps(estimated.as_json(), indent=2))
    else:
        _print(estimated)


def _print(estimated: Estimate) -> None:
    console = Console(soft_wrap=True)
    table = Table(
        "",
        title=f"{estimated.windows:,} {estimated.stream} partitions, "
        f"{estimated.coins:,} coins, plan {estimated.plan}",
        title_justify="left",
    )
    table.add_column("as one run", justify="right")
    table.add_column("one run a partition", justify="right")
    for row in estimated.as_rows():
        table.add_row(*row)
    console.print(table)
    console.print(
        f"{estimated.points:,} prices at most; about {estimated.raw_bytes / 1e6:,.1f} MB of raw "
        f"JSON and {estimated.parquet_bytes / 1e6:,.1f} MB of Parquet.\n"
        "Calls and minutes are exact; bytes, Glue and Snowflake are rough, see "
        "crypto_platform/ingestion/estimate.py."
    )
    for remark in estimated.remarks():
        console.print(f"[yellow]{remark}[/]")
