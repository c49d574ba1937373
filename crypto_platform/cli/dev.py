"""``crypto-platform dev``: the Dagster UI and daemon. Starts without importing Dagster here."""

import os
import sys
from typing import TYPE_CHECKING

import click

from crypto_platform.core.lazy import lazy_import
from crypto_platform.local.instance import home_folder, instance_environment, run_dagster

if TYPE_CHECKING:
    from crypto_platform.cli import usable
    from crypto_platform.core import settings
else:
    usable = lazy_import("crypto_platform.cli.usable")
    settings = lazy_import("crypto_platform.core.settings")


@click.command()
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
@click.option("-v", "--verbose", is_flag=True, help="Show Dagster's log here, not in a file.")
def dev(port: int, *, verbose: bool) -> None:
    """Run the Dagster UI and daemon on 127.0.0.1, with the real price API."""
    usable.refuse_unusable_settings(os.environ)
    sys.exit(run_dagster(platform_instance(), port, verbose=verbose))


def platform_instance() -> dict[str, str]:
    """Make the instance of the environment's profile; returns the variables that point to it."""
    log_bucket = None
    if os.environ.get("CRYPTO_PROFILE") == "aws":
        log_bucket = settings.Settings.from_environment(os.environ).raw_bucket
    return instance_environment(home_folder(os.environ), log_bucket)
