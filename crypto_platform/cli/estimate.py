"""``crypto-platform estimate``: what a month of running costs, or what loading a range takes."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import click
import dagster as dg
from rich.console import Console
from rich.table import Table

from crypto_platform.core.numbers import count, small
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import STREAMS, Stream
from crypto_platform.definitions import build_definitions
from crypto_platform.ingestion.estimate import Estimate, windows_of
from crypto_platform.ingestion.estimate import estimate as estimate_windows
from crypto_platform.ingestion.monthly_bill import (
    CREDIT_PRICE,
    DAYS_A_MONTH,
    MonthlyBill,
    month_of_running,
)
from lambda_function.plans import configured_plan

# A year is counted from here, in whole weeks; which one it is makes no difference.
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@click.command()
@click.argument("stream", required=False)
@click.argument("partitions", metavar="[FIRST...LAST]", required=False)
@click.option("--coins", type=click.IntRange(min=1), help="How many coins; TRACKED_COINS decides.")
@click.option("--plan", help="A plan of the price API; COINGECKO_PLAN decides.")
@click.option(
    "--credit-price",
    type=click.FloatRange(min=0),
    default=CREDIT_PRICE,
    show_default=True,
    help="Dollars a credit of Snowflake costs you, for the month.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
def estimate(  # noqa: PLR0913 - one a parameter of the command
    stream: str | None,
    partitions: str | None,
    *,
    coins: int | None,
    plan: str | None,
    credit_price: float,
    as_json: bool,
) -> None:
    """Say what a month of running costs, or what loading a range takes."""
    now = datetime.now(UTC)
    settings = Settings.from_environment(os.environ)
    spec = settings.tracked_coins
    count = coins or spec.top + len(spec.named)
    of_plan = configured_plan({**os.environ, "COINGECKO_PLAN": plan} if plan else os.environ)
    if stream is None:
        bill = month_of_running(
            runs_a_month(settings), STREAMS, count, of_plan, now, credit_price=credit_price
        )
        if as_json:
            click.echo(json.dumps(bill.as_json(), indent=2))
        else:
            _print_bill(bill, count)
        return
    streams = {one.name: one for one in STREAMS}
    if stream not in streams:
        raise click.BadParameter(
            f"{stream!r} is none of {', '.join(streams)}.", param_hint="STREAM"
        )
    if partitions is None:
        raise click.UsageError(f"Say which partitions of {stream}, as FIRST...LAST.")
    estimated = estimate_windows(
        streams[stream],
        windows_of(streams[stream], partitions, now),
        count,
        of_plan,
        now,
        tracked=() if coins or spec.top else spec.named,
    )
    if as_json:
        click.echo(json.dumps(estimated.as_json(), indent=2))
    else:
        _print(estimated, cloud=settings.profile == "aws")


def runs_a_month(settings: Settings, streams: Sequence[Stream] = STREAMS) -> dict[str, float]:
    """How often each scheduled job runs in a month, those that are off by default too.

    Args:
        settings: The platform's settings; its schedules do not depend on the profile.
        streams: The streams.
    """
    definitions = build_definitions(settings.model_copy(update={"profile": "local"}), streams)
    repository = definitions.get_repository_def()
    return {
        one.job_name: _times_a_month(str(one.cron_schedule)) for one in repository.schedule_defs
    }


def _times_a_month(cron: str) -> float:
    # Whole weeks, so that each day of the week is there equally often.
    weeks, to_the_minute = timedelta(weeks=52), "%Y-%m-%d-%H:%M"
    # Partitions by the schedule's cron begin when it ticks, and are there once the next one does.
    ticks = dg.TimeWindowPartitionsDefinition(
        start=f"{_SOME_DAY:{to_the_minute}}",
        fmt=to_the_minute,
        cron_schedule=cron,
        timezone="UTC",
    )
    end = f"{_SOME_DAY + weeks:{to_the_minute}}"
    count = sum(1 for tick in ticks.get_partition_keys(_SOME_DAY + 2 * weeks) if tick < end)
    return count / weeks.days * DAYS_A_MONTH


def _print_bill(bill: MonthlyBill, coins: int) -> None:
    table = Table(
        "",
        title=f"A month of running on AWS, {count(coins, 'coin')}, all schedules on",
        title_justify="left",
    )
    table.add_column("USD", justify="right")
    table.add_column("used")
    table.add_column("assumed")
    for line in bill.lines:
        table.add_row(line.service, small(line.usd, digits=2), line.used, line.assumed)
    table.add_section()
    table.add_row("together", small(bill.usd, digits=2), "", "")
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(
        "Rough; each price and assumption is in crypto_platform/ingestion/monthly_bill.py. Not in "
        "it: where Dagster runs, the price API's plan, backfills, what people query, free tiers, "
        "taxes."
    )


def _print(estimated: Estimate, *, cloud: bool) -> None:
    console = Console(soft_wrap=True)
    table = Table(
        "",
        title=f"{count(estimated.windows, f'{estimated.stream} partition')}, "
        f"{count(estimated.coins, 'coin')}, plan {estimated.plan}",
        title_justify="left",
    )
    table.add_column("as one run", justify="right")
    table.add_column("one run a partition", justify="right")
    for row in estimated.as_rows(cloud=cloud):
        table.add_row(*row)
    console.print(table)
    rough = "bytes, Glue and Snowflake" if cloud else "bytes"
    console.print(
        f"{count(estimated.points, 'price')} at most; raw JSON of "
        f"{small(estimated.raw_bytes / 1e6)} MB and Parquet of "
        f"{small(estimated.parquet_bytes / 1e6)} MB, about.\n"
        f"Calls and minutes are exact; {rough} are rough, see "
        "crypto_platform/ingestion/estimate.py."
    )
    for remark in estimated.remarks():
        console.print(f"[yellow]{remark}[/]")
