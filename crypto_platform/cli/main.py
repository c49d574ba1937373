"""The command line: the UI, the preflight, alerts, Snowflake's set-up, a demo without account."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
from dotenv import load_dotenv

from crypto_platform import Granularity
from crypto_platform import prices as read_prices
from crypto_platform.local.instance import instance_environment, run_dagster

if TYPE_CHECKING:
    import pandas as pd

    from crypto_platform.ingestion.estimate import Estimate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Crypto prices from CoinGecko to a warehouse, as a Dagster asset graph."""
    load_dotenv(Path(".env"))


@main.command()
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
def dev(port: int) -> None:
    """Run the Dagster UI and daemon on 127.0.0.1, with the real price API."""
    sys.exit(run_dagster(instance_environment(_home(), _log_bucket()), port))


@main.command()
@click.option("--ui", is_flag=True, help="Open the Dagster UI on the demo's data, and stay.")
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
def demo(*, ui: bool, port: int) -> None:
    """Fill a warehouse of its own from a simulated market, and show what stands in it."""
    from crypto_platform.local.demo import open_demo, run_demo  # noqa: PLC0415 - Dagster takes a second

    home = _home()
    # Beside the real prices, never among them.
    home = home.with_name(f"{home.name}-demo")
    sys.exit(open_demo(home, port) if ui else run_demo(home))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8555, show_default=True, help="Port to listen on.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same market.")
def simulate(host: str, port: int, seed: int) -> None:
    """Serve a simulated market with the price API's shape, until interrupted."""
    from crypto_platform.simulated_market import serve  # noqa: PLC0415 - only this command needs it

    serve(host, port, seed=seed)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
@click.option("--send", is_flag=True, help="Really send a message to the alerts' topic.")
def doctor(*, as_json: bool, send: bool) -> None:
    """Check that all is there that the profile needs, and works; exit with 1 where it is not."""
    from crypto_platform.doctor.runner import report  # noqa: PLC0415 - Dagster takes a second

    sys.exit(report(as_json=as_json, send=send))


@main.command()
@click.argument("stream")
@click.argument("partitions", metavar="FIRST...LAST")
@click.option("--coins", type=click.IntRange(min=1), help="How many coins; TRACKED_COINS decides.")
@click.option("--plan", help="A plan of the price API; COINGECKO_PLAN decides.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
def estimate(
    stream: str, partitions: str, *, coins: int | None, plan: str | None, as_json: bool
) -> None:
    """Say what loading a range of a stream's partitions takes, before it is launched."""
    from crypto_platform.core.settings import Settings  # noqa: PLC0415
    from crypto_platform.core.streams import STREAMS  # noqa: PLC0415
    from crypto_platform.ingestion.estimate import estimate, windows_of  # noqa: PLC0415 - Dagster, a second
    from lambda_function.errors import InvalidSettings  # noqa: PLC0415
    from lambda_function.plans import configured_plan  # noqa: PLC0415

    streams = {one.name: one for one in STREAMS}
    if stream not in streams:
        raise click.BadParameter(
            f"{stream!r} is none of {', '.join(streams)}.", param_hint="STREAM"
        )
    now = datetime.now(UTC)
    try:
        spec = Settings.from_environment(os.environ).tracked_coins
        estimated = estimate(
            streams[stream],
            windows_of(streams[stream], partitions, now),
            coins or spec.top + len(spec.named),
            configured_plan({**os.environ, "COINGECKO_PLAN": plan} if plan else os.environ),
            now,
        )
    except (ValueError, InvalidSettings) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(estimated.as_json(), indent=2))
    else:
        _print_estimate(estimated)


def _print_estimate(estimated: "Estimate") -> None:
    from rich.console import Console  # noqa: PLC0415 - only this command needs it
    from rich.table import Table  # noqa: PLC0415

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
        "Calls are exact; bytes, Glue and Snowflake are a model, see "
        "crypto_platform/ingestion/estimate.py."
    )
    for remark in estimated.remarks():
        console.print(f"[yellow]{remark}[/]")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
def budget(*, as_json: bool) -> None:
    """Show the month's API credits by stream, with a forecast; exit with 1 if they run out."""
    from crypto_platform.cli.budget import report  # noqa: PLC0415 - Dagster takes a second
    from crypto_platform.core.settings import SettingsError  # noqa: PLC0415
    from lambda_function.errors import InvalidSettings  # noqa: PLC0415

    try:
        sys.exit(report(as_json=as_json))
    except (SettingsError, InvalidSettings) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
@click.option("--limit", default=20, show_default=True, help="How many of the newest to print.")
def alerts(*, as_json: bool, limit: int) -> None:
    """Show where alerts go, those that were sent, and the incidents that are open."""
    # Dagster takes a second.
    from crypto_platform.alerts.channels import AlertStateUnreadableError  # noqa: PLC0415
    from crypto_platform.cli.alerts import report  # noqa: PLC0415
    from crypto_platform.core.settings import SettingsError  # noqa: PLC0415

    try:
        report(as_json=as_json, limit=limit)
    except (SettingsError, AlertStateUnreadableError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("coins", nargs=-1, required=True, metavar="COIN...")
@click.option("--last", help="How far back from now, as 12h, 30d or 8w.")
@click.option("--start", help="The first day or moment, in UTC or with a zone.")
@click.option("--end", help="The day or moment before which to stop.")
@click.option(
    "--granularity",
    type=click.Choice(get_args(Granularity)),
    default="daily",
    show_default=True,
    help="daily or hourly: the first price of each; finest: every price.",
)
@click.option("--csv", "as_csv", type=click.Path(dir_okay=False), help="Write this CSV file.")
@click.option("--parquet", "as_parquet", type=click.Path(dir_okay=False), help="Write this one.")
def prices(  # noqa: PLR0913 - one argument an option
    *,
    coins: tuple[str, ...],
    last: str | None,
    start: str | None,
    end: str | None,
    granularity: Granularity,
    as_csv: str | None,
    as_parquet: str | None,
) -> None:
    """Print the prices of coins, named by their ids, or write them to a file."""
    # Dagster and pandas take seconds.
    from crypto_platform.core.errors import PermanentFailure  # noqa: PLC0415
    from crypto_platform.warehouse.price_frames import length  # noqa: PLC0415
    from crypto_platform.warehouse.resource import WarehouseBusyError  # noqa: PLC0415
    from crypto_platform.warehouse.snowflake_errors import (  # noqa: PLC0415
        SnowflakeUnavailableError,
    )

    if last and (start or end):
        raise click.UsageError("--last reaches from now back: give it, or --start and --end.")
    try:
        since = datetime.now(UTC) - length(last) if last else start
        frame = read_prices(coins, since, end, granularity)
    except (
        ValueError,
        PermanentFailure,
        SnowflakeUnavailableError,
        WarehouseBusyError,
    ) as error:
        raise click.ClickException(str(error)) from error
    if as_csv:
        frame.to_csv(as_csv, index=False)
    if as_parquet:
        frame.to_parquet(as_parquet, index=False)
    if as_csv or as_parquet:
        files = " and ".join(file for file in (as_csv, as_parquet) if file)
        click.echo(f"{len(frame):,} prices of {len(coins)} coin(s) in {files}.")
    else:
        _print_prices(frame)


def _print_prices(frame: "pd.DataFrame") -> None:
    from rich.console import Console  # noqa: PLC0415 - only this command needs it
    from rich.table import Table  # noqa: PLC0415

    from crypto_platform.report.charts import compact  # noqa: PLC0415

    simulated = " (simulated)" if "simulated" in set(frame["source"]) else ""
    table = Table("time (UTC)", "coin", title=f"Prices{simulated}", title_justify="left")
    for name in ("price", "market cap", "volume 24 h"):
        table.add_column(name, justify="right")
    table.add_column("granularity")
    for row in frame.to_dict("records"):
        table.add_row(
            f"{row['time']:%Y-%m-%d %H:%M}",
            row["coin_id"],
            f"{row['price']:,.8g}",
            compact(row["market_cap"]),
            compact(row["total_volume"]),
            row["granularity"],
        )
    Console(soft_wrap=True).print(table if len(frame) else "No price was seen in that time.")


@main.group()
def snowflake() -> None:
    """Set up the warehouse in Snowflake."""


@snowflake.command("apply")
@click.option("--dry-run", is_flag=True, help="Print the statements, and run none.")
@click.option(
    "--role", default="ACCOUNTADMIN", show_default=True, help="Role that may make all of it."
)
def snowflake_apply(*, dry_run: bool, role: str) -> None:
    """Make the database, tables, roles, stage and pipes; safe to run again."""
    # Dagster takes a second.
    from crypto_platform.core.errors import PermanentFailure  # noqa: PLC0415
    from crypto_platform.core.settings import Settings, SettingsError  # noqa: PLC0415
    from crypto_platform.warehouse.snowflake import (  # noqa: PLC0415
        snowflake_warehouse,
    )
    from crypto_platform.warehouse.snowflake_apply import apply, handover, steps  # noqa: PLC0415
    from crypto_platform.warehouse.snowflake_errors import (  # noqa: PLC0415
        SnowflakeUnavailableError,
    )

    try:
        settings = Settings.from_environment(os.environ)
        todo = steps(settings)
        if dry_run:
            for step in todo:
                click.echo(f"-- {step.script}\n{step.sql};\n")
            click.echo(
                "-- Tables that are there gain their new columns too: which, the account says."
            )
            return
        with snowflake_warehouse(settings, role=role).session(read_only=False) as session:
            for outcome in apply(session, todo):
                click.echo(f"{outcome.change:13}  {outcome.step.title}")
            aws = handover(session)
    except (SettingsError, PermanentFailure, SnowflakeUnavailableError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"\nFor AWS: let the storage role trust {aws.user_arn} with the external id "
        f"{aws.external_id}."
    )
    for pipe, queue in aws.queues.items():
        click.echo(f"For load mode snowpipe: let the bucket notify {queue} ({pipe}).")


def _log_bucket() -> str | None:
    """The bucket for the logs of runs, in the profile that has buckets."""
    if os.environ.get("CRYPTO_PROFILE") != "aws":
        return None
    from crypto_platform.core.settings import Settings, SettingsError  # noqa: PLC0415 - Dagster, a second

    try:
        return Settings.from_environment(os.environ).raw_bucket
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


def _home() -> Path:
    return Path(os.environ.get("CRYPTO_HOME") or ".crypto")
