"""``crypto-platform snowflake``: what the warehouse in Snowflake is made of."""

import os

import click

from crypto_platform.core.settings import Settings
from crypto_platform.warehouse.snowflake import snowflake_warehouse
from crypto_platform.warehouse.snowflake_apply import apply, handover, steps


@click.group()
def snowflake() -> None:
    """Set up the warehouse in Snowflake."""


@snowflake.command("apply")
@click.option("--dry-run", is_flag=True, help="Print the statements, and run none.")
@click.option(
    "--role", default="ACCOUNTADMIN", show_default=True, help="Role that may make all of it."
)
def apply_scripts(*, dry_run: bool, role: str) -> None:
    """Make the database, tables, roles, stage and pipes; safe to run again."""
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
    click.echo(
        f"\nFor AWS: let the storage role trust {aws.user_arn} with the external id "
        f"{aws.external_id}."
    )
    for pipe, queue in aws.queues.items():
        click.echo(f"For load mode snowpipe: let the bucket notify {queue} ({pipe}).")
