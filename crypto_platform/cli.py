"""The command line: the UI, the preflight, alerts, Snowflake's set-up, a demo without account."""

import os
import sys
from pathlib import Path

import click
from dotenv import load_dotenv

from crypto_platform.instance import instance_environment, run_dagster


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Crypto prices from CoinGecko to a warehouse, as a Dagster asset graph."""
    load_dotenv(Path(".env"))


@main.command()
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
def dev(port: int) -> None:
    """Run the Dagster UI and daemon on 127.0.0.1, with the real price API."""
    sys.exit(run_dagster(instance_environment(_home()), port))


@main.command()
@click.option("--ui", is_flag=True, help="Open the Dagster UI on the demo's data, and stay.")
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
def demo(*, ui: bool, port: int) -> None:
    """Fill a warehouse of its own from a simulated market, and show what stands in it."""
    from crypto_platform.demo import open_demo, run_demo  # noqa: PLC0415 - Dagster takes a second

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
def doctor(*, as_json: bool) -> None:
    """Check that all is there that the profile needs, and works; exit with 1 where it is not."""
    from crypto_platform.doctor import report  # noqa: PLC0415 - Dagster takes a second

    sys.exit(report(as_json=as_json))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
@click.option("--limit", default=20, show_default=True, help="How many of the newest to print.")
def alerts(*, as_json: bool, limit: int) -> None:
    """Show where alerts go, those that were sent, and the incidents that are open."""
    # Dagster takes a second.
    from crypto_platform.outbox import report  # noqa: PLC0415
    from crypto_platform.resources.alerts import AlertStateUnreadableError  # noqa: PLC0415
    from crypto_platform.settings import SettingsError  # noqa: PLC0415

    try:
        report(as_json=as_json, limit=limit)
    except (SettingsError, AlertStateUnreadableError) as error:
        raise click.ClickException(str(error)) from error


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
    from crypto_platform.failures import PermanentFailure  # noqa: PLC0415
    from crypto_platform.resources.snowflake_warehouse import (  # noqa: PLC0415
        SnowflakeUnavailableError,
        snowflake_warehouse,
    )
    from crypto_platform.settings import Settings, SettingsError  # noqa: PLC0415
    from crypto_platform.snowflake_apply import apply, handover, steps  # noqa: PLC0415

    try:
        settings = Settings.from_environment(os.environ)
        todo = steps(settings)
        if dry_run:
            for step in todo:
                click.echo(f"-- {step.script}\n{step.sql};\n")
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


def _home() -> Path:
    return Path(os.environ.get("CRYPTO_HOME") or ".crypto")
