"""Measure the platform and its references side by side; ``results`` shows and keeps the figures.

Every figure is a median over rounds, and each ratio is of two figures of the same round, since a
machine is not equally fast all the time. The simulated market runs in a process of its own, as a
real API would; its time is part of the wall time of whoever waits for it.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

import click
from rich.console import Console

from benchmarks import dev_server
from benchmarks.market import simulated_market
from benchmarks.results import RATIOS, merged, ratio_of, table
from crypto_platform.local.instance import instance_environment

KEPT = Path(__file__).with_name("results.json")

COINS, DAYS = 25, 365
MANY_COINS, MANY_DAYS = 250, 3_650
TIMES = (1, 4, 8)

Measured = dict[str, Any]


class Bench:
    """The processes that are measured, on one simulated market and in one folder."""

    def __init__(self, base_url: str, folder: Path, dlt_python: str) -> None:
        self._base_url = base_url
        self._folder = folder
        self._dlt_python = dlt_python
        self._folders = 0

    def probe(
        self, name: str, *arguments: object, plain: bool = False, home: Path | None = None
    ) -> Measured:
        """One probe in a new process.

        Args:
            name: Its name.
            arguments: Its arguments.
            plain: Whether to use Dagster's own storage.
            home: Its home; a new one by default.
        """
        home = home or self.folder("home")
        variables = instance_environment(home)
        if plain:
            settings = Path(variables["DAGSTER_HOME"]) / "dagster.yaml"
            settings.write_text(settings.read_text().partition("\nstorage:")[0])
        return {
            "home": home,
            **self._measure(
                [sys.executable, "-m", "benchmarks.probes", name, *map(str, arguments)],
                {**variables, "COINGECKO_BASE_URL": self._base_url, "COINGECKO_API_KEY": ""},
            ),
        }

    def folder(self, name: str) -> Path:
        """A new folder."""
        self._folders += 1
        folder = self._folder / f"{name}-{self._folders}"
        folder.mkdir()
        return folder

    def dlt(self) -> Measured:
        """The year as a plain dlt pipeline loads it."""
        folder = self.folder("dlt")
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        start, end = (int(day.timestamp()) for day in (today - timedelta(days=DAYS), today))
        script = Path(__file__).with_name("dlt_pipeline.py")
        arguments = (self._base_url, COINS, start, end, folder)
        return self._measure([self._dlt_python, str(script), *map(str, arguments)], {})

    def _measure(self, command: list[str], variables: Mapping[str, str]) -> Measured:
        began, launched = time.perf_counter(), time.time()
        with subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            said = process.stdout.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise click.ClickException(f"{' '.join(command)} ended with {process.returncode}.")
        told = json.loads(said.splitlines()[-1])
        if told.get("loaded_at"):
            told["loaded"] = told["loaded_at"] - launched
        return {
            "wall": time.perf_counter() - began,
            "cpu": used.ru_utime + used.ru_stime,
            "memory": used.ru_maxrss / 1024,
            **told,
        }


def year(bench: Bench) -> dict[str, float]:
    """A year of 25 coins, beside its references."""
    ours = bench.probe("historical", COINS, DAYS)
    empty = bench.probe("empty", DAYS)
    plain = bench.probe("empty", DAYS, plain=True)
    direct = bench.probe("duckdb", ours["home"] / "raw")
    day = bench.probe("historical", COINS, 1)
    assert direct["rows"] == ours["rows"]
    return {
        **_figures("year", ours),
        **_figures("empty year", empty),
        **_figures("plain empty year", plain),
        "duckdb run": direct["run"],
        "year work": sum(ours["stages"].values()) - sum(empty["stages"].values()),
        "year load": ours["stages"]["transformed_prices"] + ours["stages"]["snowflake_prices"],
        "run a day wall": day["wall"] * DAYS,
    }


def dlt(bench: Bench) -> dict[str, float]:
    """The same year by dlt."""
    return _figures("dlt", bench.dlt())


def tick(bench: Bench) -> dict[str, float]:
    """What happens every six hours: in a new process, on an instance that has run before."""
    first, first_empty = bench.probe("tick", COINS, 1), bench.probe("empty", 1)
    ours = bench.probe("tick", COINS, 0, home=first["home"])
    empty = bench.probe("empty", 1, home=first_empty["home"])
    return {
        **_figures("tick", ours),
        "tick loaded more": ours["loaded"] - empty["loaded"],
        "first tick loaded": first["loaded"],
        "first tick loaded more": first["loaded"] - first_empty["loaded"],
    }


def start_up(bench: Bench) -> dict[str, float]:
    """Loading the definitions, and the UI from launch to the loaded project."""
    # The least of several: whatever else the machine does only adds to it.
    definitions, dagster = (
        min((bench.probe(name) for _ in range(5)), key=itemgetter("cpu"))
        for name in ("definitions", "dagster")
    )
    return {
        **_figures("definitions", definitions),
        **_figures("dagster", dagster),
        "dev ready": dev_server.ours(bench.folder("dev")),
        "empty dev ready": dev_server.empty(bench.folder("empty-dev")),
    }


def scaling(bench: Bench) -> dict[str, float]:
    """One year, and multiples of it: what a further row takes, which starting up is no part of."""
    measured = [(times, bench.probe("historical", COINS, DAYS * times)) for times in TIMES]
    return {
        f"CPU a row, {few} to {many} years": (more["cpu"] - less["cpu"])
        / (more["rows"] - less["rows"])
        for (few, less), (many, more) in pairwise(measured)
    }


def ten_years(bench: Bench) -> dict[str, float]:
    """Ten years of 250 coins."""
    ours = bench.probe("historical", MANY_COINS, MANY_DAYS)
    alone = bench.probe("ingestion", MANY_COINS, MANY_DAYS)
    seconds = ours["stages"]["transformed_prices"] + ours["stages"]["snowflake_prices"]
    return {
        **_figures("ten years", ours),
        "ten years files": _files_of(ours["home"]),
        "ten years ingestion memory": alone["memory"],
        "ten years rows a second": ours["rows"] / seconds,
    }


def _files_of(home: Path) -> int:
    """How many files the stream has in the lake, manifests included."""
    folders = (home / layer / "historical_data" for layer in ("raw", "transformed"))
    return sum(path.is_file() for folder in folders for path in folder.rglob("*"))


def _figures(name: str, measured: Measured) -> dict[str, float]:
    told = ("wall", "cpu", "memory", "run", "loaded", "calls", "fewest_calls")
    return {f"{name} {what}": measured[what] for what in told if what in measured}


# What is measured, and whether once is enough, as it takes long.
PARTS: dict[str, tuple[Callable[[Bench], dict[str, float]], bool]] = {
    "year": (year, False),
    "dlt": (dlt, False),
    "tick": (tick, False),
    "start-up": (start_up, False),
    "scaling": (scaling, True),
    "ten-years": (ten_years, True),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=5, show_default=True, help="How often each is measured.")
@click.option(
    "--part",
    "names",
    type=click.Choice(list(PARTS)),
    multiple=True,
    default=list(PARTS),
    help="Measure this part alone; may be given several times.",
)
@click.option("--keep", is_flag=True, help=f"Write the figures to {KEPT.name}, to compare with.")
@click.option(
    "--dlt-python",
    default=sys.executable,
    envvar="BENCH_DLT_PYTHON",
    help="A Python that has dlt[duckdb]; by default this one.",
)
def main(*, rounds: int, names: tuple[str, ...], keep: bool, dlt_python: str) -> None:
    """Measure the platform and its references side by side."""
    console = Console(soft_wrap=True)
    parts = {name: PARTS[name] for name in names}
    if "dlt" in parts and not _has_dlt(dlt_python):
        del parts["dlt"]
        console.print(
            "[yellow]Skipped: dlt[/], which this Python does not have. For it, install "
            "dlt\\[duckdb] into an environment of its own and name its Python with --dlt-python."
        )
    figures: dict[str, list[float]] = defaultdict(list)
    # Round by round, so that what is compared was measured side by side.
    for number in range(rounds):
        for part, once in parts.values():
            if number and once:
                continue
            with (
                console.status(f"round {number + 1}: {part.__doc__}"),
                tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
                simulated_market() as base_url,
            ):
                for name, figure in part(Bench(base_url, Path(folder), dlt_python)).items():
                    figures[name].append(figure)
    before = json.loads(KEPT.read_text()) if KEPT.exists() else {"ratios": {}, "figures": {}}
    results = {
        "measured_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine(),
        "rounds": rounds,
        "ratios": {ratio.name: ratio_of(ratio, figures) for ratio in RATIOS},
        "figures": {name: round(median(values), 6) for name, values in figures.items()},
    }
    console.print(table(results, before))
    if keep:
        KEPT.write_text(json.dumps(merged(results, before), indent=2) + "\n")
        console.print(f"Written to {KEPT}.")


def machine() -> str:
    """What it was measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def _has_dlt(python: str) -> bool:
    asked = subprocess.run([python, "-c", "import dlt"], capture_output=True, check=False)
    return asked.returncode == 0


if __name__ == "__main__":
    main()
