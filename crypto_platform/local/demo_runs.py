"""The demo: both streams end to end on one machine, from a simulated market."""

import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import click
import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from crypto_platform.alerts.root_causes import root_cause
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.definitions import build_definitions
from crypto_platform.ingestion.metered_api import usage_of_month
from crypto_platform.local.demo import COINS, DAYS, demo_environment, remember_first_run
from crypto_platform.local.instance import instance_environment, run_dagster
from crypto_platform.models.assets import JOB as MODELS_JOB
from crypto_platform.models.fear_and_greed import GROUP as SENTIMENT
from crypto_platform.report.asset import LATEST
from crypto_platform.runs.liveness import free_slots_of_the_dead, mark_alive
from crypto_platform.simulated_market import SimulatedMarket

_SIX_HOURLY_WINDOWS = 4
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


# What is run, in this order: the job, how many of its last partitions, and what that is in words.
_BACKFILLS = (
    (SENTIMENT, 0, "the Fear & Greed index"),
    (HISTORICAL.name, DAYS, f"{DAYS} days of history, {COINS} coins, one range backfill"),
    (INTRA_DAY.name, _SIX_HOURLY_WINDOWS, f"the last {_SIX_HOURLY_WINDOWS} six-hourly windows"),
    (MODELS_JOB, 0, "the models, and the market report"),
)


def run_demo(home: Path) -> int:
    """Backfill both streams from a simulated market into ``home``, and print what stands there.

    Returns:
        The exit code: 0 where everything was loaded.
    """
    console = Console(soft_wrap=True)
    with _simulated_platform(home) as (market, environment):
        console.print(
            f"[bold]A simulated market[/] answers at {market.base_url}: "
            "[bold]no price below is real[/]."
        )
        definitions = build_definitions(Settings.from_environment(environment))
        with dg.DagsterInstance.get() as instance:
            for name, windows, text in _BACKFILLS:
                job = definitions.resolve_job_def(name)
                if reason := _run(console, instance, job, windows, text):
                    console.print(
                        f"[red]That failed:[/] {escape(reason)}\n"
                        "[bold]make demo-ui[/] opens the run in the UI."
                    )
                    return 1
        _print_warehouse(console, definitions, home)
    return 0


def open_demo(home: Path, port: int) -> int:
    """Run the Dagster UI and daemon on the demo's data until interrupted.

    Args:
        home: Folder of the demo, which ``run_demo`` fills.
        port: Port of the UI.

    Returns:
        The exit code of ``dagster dev``.
    """
    with _simulated_platform(home) as (market, environment):
        click.echo(f"A simulated market answers at {market.base_url}: no price is real.")
        return run_dagster(environment, port)


@contextmanager
def _simulated_platform(home: Path) -> Iterator[tuple[SimulatedMarket, Mapping[str, str]]]:
    """A simulated market, and the environment in which the platform knows nothing else."""
    with SimulatedMarket() as market:
        remember_first_run(home)
        environment = {
            **demo_environment(home),
            **instance_environment(home),
            "COINGECKO_BASE_URL": market.base_url,
            "FEAR_AND_GREED_BASE_URL": market.base_url,
        }
        os.environ.update(environment)
        yield market, environment


def _run(
    console: Console, instance: dg.DagsterInstance, job: dg.JobDefinition, windows: int, text: str
) -> str:
    """Run a job; says why it failed, and nothing where it did not."""
    tags = {}
    if job.partitions_def is not None:
        keys = job.partitions_def.get_partition_keys()[-windows:]
        tags = {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[-1]}
    run_id = str(uuid4())
    mark_alive(instance, run_id)
    # Dagster would wait for a demo that was killed here.
    for pool in instance.event_log_storage.get_concurrency_keys():
        free_slots_of_the_dead(instance, pool)
    spinner = Progress(
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
    )
    with ThreadPoolExecutor(1) as thread, spinner as progress:
        task = progress.add_task(text, total=1)
        running = thread.submit(
            job.execute_in_process,
            run_config=_QUIET,
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            tags=tags,
        )
        while not running.done():
            time.sleep(0.2)
            started = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START)
            step = (started[-1].step_key or "").replace("__", "/") if started else "starting"
            progress.update(task, description=f"{text}: {step}")
        succeeded = running.result().success
        progress.update(task, description=text, completed=1 if succeeded else 0)
    if succeeded:
        return ""
    (ended,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    return root_cause(ended, instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE))


def _print_warehouse(console: Console, definitions: dg.Definitions, home: Path) -> None:
    resources = definitions.resources or {}
    usage = usage_of_month(resources["lake"].raw, datetime.now(UTC))
    table = Table(title="In the warehouse (simulated)", title_justify="left")
    for name in ("table", "coins", "rows", "newest price (UTC)", "gaps"):
        table.add_column(name, justify="left" if name == "table" else "right")
    for stream in resources["warehouse"].summary():
        table.add_row(
            stream.table,
            str(stream.coins),
            f"{stream.rows:,}",
            f"{stream.newest:%Y-%m-%d %H:%M}" if stream.newest else "none",
            str(stream.gaps),
        )
    console.print(table)
    report = resources["lake"].transformed.uri(LATEST)
    console.print(f"API calls used, all simulated: {sum(used.calls for used in usage)}")
    console.print(
        f"\nAll of it stands in {home}: prices in crypto_db.duckdb, files in raw and transformed.\n"
        "How to go on:\n"
        "  [bold]make demo-ui[/]  the Dagster UI on this data, at http://127.0.0.1:3000\n"
        "  [bold]make dev[/]      the same on the real API, in a folder of its own: without a key, "
        "or with\n                COINGECKO_API_KEY and COINGECKO_PLAN in .env\n"
        f"\nThe market report, for any browser: [bold]{report}[/]"
    )
