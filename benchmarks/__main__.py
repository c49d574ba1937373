"""Measure a few backfills, each in a process of its own, and print a table.

The simulated market runs in another process: its time is part of the wall time, as a real API's
would be, and its memory is not counted.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from rich.console import Console
from rich.table import Table

from crypto_platform.simulated_market import Oddities, SimulatedMarket


@dataclass(frozen=True)
class Backfill:
    """A range backfill of daily history."""

    coins: int
    days: int


BACKFILLS = (Backfill(coins=25, days=365), Backfill(coins=250, days=3_650))


def main() -> None:
    """Run every backfill once and print what it took."""
    console = Console()
    table = Table(title=f"Range backfills of daily history, {os.cpu_count()} cores")
    for name in ("backfill", "stage", "wall s", "rows/s", "API calls", "peak memory MB"):
        table.add_column(name, justify="left" if name in {"backfill", "stage"} else "right")
    with simulated_market() as base_url:
        for backfill in BACKFILLS:
            name = f"{backfill.coins} coins x {backfill.days:,} days"
            with console.status(name):
                measured = measure(backfill, base_url)
            for stage, seconds in measured["stages"].items():
                speed = f"{measured['rows'] / seconds:,.0f}"
                table.add_row(name, stage, f"{seconds:.1f}", speed, "", "")
                name = ""
            table.add_row(
                "",
                "whole run",
                f"{measured['wall']:.1f}",
                f"{measured['rows'] / measured['wall']:,.0f}",
                str(measured["calls"]),
                f"{measured['peak_memory_mb']:,.0f}",
                end_section=True,
            )
    console.print(table)


def measure(backfill: Backfill, base_url: str) -> dict[str, Any]:
    """One backfill in a new process with a new folder."""
    with tempfile.TemporaryDirectory() as home:
        finished = subprocess.run(
            [sys.executable, "-m", "benchmarks.backfill", str(backfill.coins), str(backfill.days)],
            env={**os.environ, "CRYPTO_HOME": home, "COINGECKO_BASE_URL": base_url},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    measured: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return measured


@contextmanager
def simulated_market() -> Iterator[str]:
    """The simulated market in a process of its own, every coin there from the first day."""
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    market = spawning.Process(target=_serve, args=(there,), daemon=True)
    market.start()
    yield here.recv()
    market.terminate()


def _serve(connection: Connection) -> None:
    with SimulatedMarket(oddities=Oddities(late_listing=False)) as market:
        connection.send(market.base_url)
        threading.Event().wait()


if __name__ == "__main__":
    main()
