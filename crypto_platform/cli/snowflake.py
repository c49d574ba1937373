"""``crypto-platform snowflake``: what the warehouse in Snowflake is made of, in three phases."""

import os
from collections.abc import Iterable
from typing import TextIO

import click

from crypto_platform.core.settings import Settings
from crypto_platform.warehouse.snowflake import snowflake_warehouse
from crypto_platform.warehouse.snowflake_apply import (
    CREDIT_QUOTA,
    Handover,
    Outcome,
    Step,
    account_steps,
    apply,
    handover,
    integrate,
    steps,
)
from crypto_platform.warehouse.snowflake_names import SnowflakeNames
from crypto_platform.warehouse.snowflake_ownership import ADMINISTRATOR, OWNER

_dry_run = click.option("--dry-run", is_flag=True, help="Print the statements, and run none.")


@click.group()
def snowflake() -> None:
    """Set up the warehouse in Snowflake: integration, the stack on AWS, then apply."""


@snowflake.command()
@_dry_run
@click.option(
    "--role",
    default=ADMINISTRATOR,
    show_default=True,
    help=f"Role that makes the integration and the resource monitor, above USERADMIN and {OWNER}.",
)
@click.option(
    "--credits",
    "credit_quota",
    type=click.IntRange(min=1),
    help=f"Credits a month at which the warehouse is suspended; {CREDIT_QUOTA} if it is new.",
)
@click.option(
    "--public-key",
    type=click.File(encoding="ascii"),
    help="Make the service user, with the public key in this file.",
)
def integration(
    *, dry_run: bool, role: str, credit_quota: int | None, public_key: TextIO | None
) -> None:
    """Make roles, warehouse, limits and the integration; safe to run again.

    This is the first phase. It ends with what the stack on AWS has to be told.
    """
    settings = Settings.from_environment(os.environ)
    names = SnowflakeNames.of(settings)
    todo = account_steps(
        settings,
        role=role,
        credit_quota=credit_quota,
        public_key=public_key.read() if public_key else None,
    )
    if dry_run:
        click.echo(f"-- First, whatever {role} owns of {names.database} is handed to {OWNER}.\n")
        _print(todo)
        return
    with snowflake_warehouse(settings, role=role).session(read_only=False) as session:
        _tell(integrate(session, todo, names, role=role))
        aws = handover(session, names)
    _tell_what_aws_needs(aws)
    click.echo("Then: crypto-platform snowflake apply")
    logged_in_with = (settings.snowflake_role, settings.snowflake_warehouse)
    if logged_in_with != (names.loader, names.warehouse):
        click.echo(
            f"The role that loads {names.database} is {names.loader}, its warehouse "
            f"{names.warehouse}; SNOWFLAKE_ROLE and SNOWFLAKE_WAREHOUSE say otherwise."
        )


@snowflake.command("handover")
@click.option(
    "--role", default=OWNER, show_default=True, help="Role that may use integration and pipes."
)
def print_handover(*, role: str) -> None:
    """Print the parameters of the stack on AWS, NAME=VALUE; changes nothing.

    SnowpipeQueueArn is among them once apply has made pipes.
    """
    settings = Settings.from_environment(os.environ)
    with snowflake_warehouse(settings, role=role).session(read_only=True) as session:
        aws = handover(session, SnowflakeNames.of(settings))
    for name, said in aws.parameters().items():
        click.echo(f"{name}={said}")


@snowflake.command("apply")
@_dry_run
@click.option(
    "--role", default=OWNER, show_default=True, help="Role that makes, and then owns, all of it."
)
def apply_scripts(*, dry_run: bool, role: str) -> None:
    """Make the database, tables, stage and pipes; safe to run again.

    This is the last phase, after the stack on AWS knows what integration said. Pipes are made in
    load mode snowpipe alone; in load mode copy, those that are there are paused.
    """
    if role.upper() == ADMINISTRATOR:
        raise click.BadParameter(
            f"{ADMINISTRATOR} would own the tables; leave it out, and {OWNER} does. What "
            f"{ADMINISTRATOR} owns already, crypto-platform snowflake integration hands over.",
            param_hint="--role",
        )
    settings = Settings.from_environment(os.environ)
    todo = steps(settings)
    if dry_run:
        _print(todo)
        return
    with snowflake_warehouse(settings, role=role).session(read_only=False) as session:
        _tell(apply(session, todo, settings))
        aws = handover(session, SnowflakeNames.of(settings))
    if settings.snowflake_load_mode == "snowpipe":
        _tell_what_aws_needs(aws)
        click.echo("Then: crypto-platform doctor")
    else:
        click.echo("\nNext: crypto-platform doctor")


def _print(todo: Iterable[Step]) -> None:
    for step in todo:
        click.echo(f"-- {step.script}\n{step.sql};\n")


def _tell(outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        click.echo(f"{outcome.change:13}  {outcome.step.title}")


def _tell_what_aws_needs(aws: Handover) -> None:
    """By name alone: this ends up in logs of CI, and whom the role trusts is nobody's business."""
    click.echo(
        f"\nNext, on AWS: the stack needs {', '.join(aws.parameters())}. Once it is deployed:\n"
        "  crypto-platform snowflake handover > FILE\n"
        "  python -m infrastructure.deploy connect FILE"
    )
