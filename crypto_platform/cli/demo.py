"""``crypto-platform demo``: the whole platform over a simulated market."""

import os
import sys
from typing import TYPE_CHECKING

import click

from crypto_platform.core.lazy import lazy_import
from crypto_platform.local.demo import demo_home, open_demo
from crypto_platform.transformation.spark_engines import Engine
from crypto_platform.transformation.spark_process import SparkProcess

if TYPE_CHECKING:
    from crypto_platform.local import demo_runs
else:
    demo_runs = lazy_import("crypto_platform.local.demo_runs")


@click.command()
@click.option("--ui", is_flag=True, help="Open the Dagster UI on the demo's data, and stay.")
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
@click.option("-v", "--verbose", is_flag=True, help="Show the UI's log here, not in a file.")
def demo(*, ui: bool, port: int, verbose: bool) -> None:
    """Fill a warehouse of its own from a simulated market, and show what stands in it."""
    home = demo_home(os.environ)
    if ui:
        sys.exit(open_demo(home, port, verbose=verbose))
    # It starts in a process beside this one, which takes as long to import Dagster.
    engine: Engine = "spark" if os.environ.get("CRYPTO_SPARK") == "spark" else "sail"
    spark = SparkProcess(engine, str(home.absolute() / "cache"))
    sys.exit(demo_runs.run_demo(home, spark))
