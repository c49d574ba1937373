"""The command line: the UI, the preflight, a demo without an account and the market behind it."""

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


def _home() -> Path:
    return Path(os.environ.get("CRYPTO_HOME") or ".crypto")
