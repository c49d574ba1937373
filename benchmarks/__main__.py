"""Measure a few backfills, each in a process of its own, and print a table.

The simulated market runs in another process: its time is part of the wall time, as a real API's
would be, and its memory is not counted.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


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


def measure(backfill: Backfill, base_url: str) -> dict:
    """One backfill in a new process with a new folder."""
    with tempfile.TemporaryDirectory() as home:
        finished = subprocess.run(
            [sys.executable, "-m", "benchmarks.backfill", str(backfill.coins), str(backfill.days)],
            env={**os.environ, "CRYPTO_HOME": home, "COINGECKO_BASE_URL": base_url},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(finished.stdout.splitlines()[-1])


@contextmanager
def simulated_market() -> Iterator[str]:
    """The simulated market in a process of its own; gives its address."""
    command = [str(Path(sys.executable).with_name("crypto-platform")), "simulate", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as market:
        assert market.stdout is not None
        yield next(word for word in market.stdout.readline().split() if word.startswith("http"))
        market.terminate()


if __name__ == "__main__":
    main()
