"""``crypto-platform simulate``: a simulated market to ask. Starts without importing Dagster."""

import click

from crypto_platform.simulated_market import serve


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8555, show_default=True, help="Port to listen on.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same market.")
def simulate(host: str, port: int, seed: int) -> None:
    """Serve a simulated market with the price API's shape, until interrupted."""
    serve(host, port, seed=seed)
