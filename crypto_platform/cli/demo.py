"""``crypto-platform demo``: the whole platform over a simulated market."""

import os
import sys

import click

from crypto_platform.local.demo import demo_home
from crypto_platform.local.demo_runs import open_demo, run_demo


@click.command()
@click.option("--ui", is_flag=True, help="Open the Dagster UI on the demo's data, and stay.")
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
def demo(*, ui: bool, port: int) -> None:
    """Fill a warehouse of its own from a simulated market, and show what stands in it."""
    home = demo_home(os.environ)
    sys.exit(open_demo(home, port) if ui else run_demo(home))
