"""``crypto-platform launch``: Dagster's own command, on the platform's instance."""

import os
import sys

import click

from crypto_platform.cli.dev import platform_instance
from crypto_platform.cli.usable import refuse_unusable_settings

_DG_LAUNCH = ["-m", "crypto_platform.runs.launch", "launch", "-m", "crypto_platform.definitions"]


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def launch(options: tuple[str, ...]) -> None:
    """Run assets or a job here and now, without a daemon; takes the options of dg launch."""
    refuse_unusable_settings(os.environ)
    environment = dict(os.environ)
    # Else Dagster makes one for the run alone, which no other run and no UI knows of.
    if not environment.get("DAGSTER_HOME"):
        environment |= platform_instance()
    command = [sys.executable, *_DG_LAUNCH, *options]
    # In the place of this process: a signal for the command is one for the run.
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own interpreter
