"""The demo: both streams end to end on one machine, from a simulated market."""

import gc
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    SENSOR_NAME_TAG,
)
from rich.console import Console

from crypto_platform.alerts.channels import AlertChannel
from crypto_platform.alerts.delivery import watch_instance
from crypto_platform.alerts.event_reader import EventReader
from crypto_platform.alerts.messages import MessageFormatter
from crypto_platform.alerts.root_causes import root_cause
from crypto_platform.core.redaction import Secrets
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.definitions import build_definitions
from crypto_platform.local.batching_sqlite import without_waiting_for_the_disk
from crypto_platform.local.demo import (
    COINS,
    DAYS,
    demo_environment,
    first_run,
    remember_first_run,
)
from crypto_platform.local.demo_output import Steps, print_end
from crypto_platform.local.demo_story import Story
from crypto_platform.local.instance import instance_environment, run_dagster
from crypto_platform.models.assets import JOB as MODELS_JOB
from crypto_platform.models.fear_and_greed import GROUP as SENTIMENT
from crypto_platform.runs.liveness import free_slots_of_the_dead
from crypto_platform.runs.origin import LOCATION, job_origin
from crypto_platform.simulated_market import SimulatedMarket

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class DemoError(RuntimeError):
    """A run of the demo failed."""


def run_demo(home: Path) -> int:
    """Fill ``home`` from a simulated market, with faults in it, and print what stands there.

    Returns:
        The exit code: 0 where everything was loaded.
    """
    console = Console(soft_wrap=True)
    # All of it can be made again.
    without_waiting_for_the_disk()
    began = first_run(home)
    story = Story(began or datetime.now(UTC).date())
    with _simulated_platform(home, story) as (market, environment):
        console.print(
            f"[bold]A simulated market[/] answers at {market.base_url}:\n"
            "[bold]no price below is real[/]."
        )
        settings = Settings.from_environment(environment)
        definitions = build_definitions(settings)
        # As in a run of its own: what is loaded by now stays.
        gc.freeze()
        warehouse = definitions.resources["warehouse"]  # type: ignore[index]  # there are some
        before = {one.table: one.rows for one in warehouse.summary()} if began else {}
        with dg.DagsterInstance.get() as instance:
            platform = _Platform(definitions, instance, settings, Steps(console))
            try:
                platform.run_all(market, story, first=began is None)
            except DemoError as error:
                console.print("That failed:", error, style="red", markup=False)
                console.print("[bold]make demo-ui[/] opens the run in the UI.")
                return 1
        remember_first_run(home, story.day)
        print_end(console, definitions, home, story, before)
    return 0


def open_demo(home: Path, port: int, *, verbose: bool = False) -> int:
    """Run the Dagster UI and daemon on the demo's data until interrupted.

    Args:
        home: Folder of the demo, which ``run_demo`` fills.
        port: Port of the UI.
        verbose: Whether Dagster's log goes to the terminal.

    Returns:
        The exit code, as ``run_dagster`` has it.
    """
    story = Story(first_run(home) or datetime.now(UTC).date())
    with _simulated_platform(home, story) as (market, environment):
        click.echo(f"A simulated market answers at {market.base_url}: no price is real.")
        return run_dagster(environment, port, verbose=verbose)


@contextmanager
def _simulated_platform(
    home: Path, story: Story
) -> Iterator[tuple[SimulatedMarket, Mapping[str, str]]]:
    """A simulated market, and the environment in which the platform knows nothing else."""
    with SimulatedMarket(oddities=story.oddities()) as market:
        story.plant_lasting(market)
        environment = {
            **demo_environment(home),
            **instance_environment(home),
            "COINGECKO_BASE_URL": market.base_url,
            "FEAR_AND_GREED_BASE_URL": market.base_url,
        }
        os.environ.update(environment)
        yield market, environment


@dataclass
class _Platform:
    """The platform of the demo, which does by itself what the daemon does elsewhere.

    Attributes:
        definitions: Its assets and jobs.
        instance: Where its runs are recorded.
        settings: Its settings.
        steps: Says what it is at.
    """

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    settings: Settings
    steps: Steps
    repository: dg.RepositoryDefinition = field(init=False)

    def __post_init__(self) -> None:
        self.repository = self.definitions.get_repository_def()
        # Dagster would wait for a demo that was killed here.
        for pool in self.instance.event_log_storage.get_concurrency_keys():
            free_slots_of_the_dead(self.instance, pool)

    def run_all(self, market: SimulatedMarket, story: Story, *, first: bool) -> None:
        """Load both streams, do about what goes wrong what the daemon would, and report.

        Args:
            market: Where the prices come from.
            story: What goes wrong there.
            first: Whether it goes wrong now, and not on an earlier run.

        Raises:
            DemoError: A run failed.
        """
        # It reports what happens from its first look on.
        self.send_alerts()
        self.run("the Fear & Greed index", SENTIMENT)
        yesterday = datetime.combine(story.corrected_day, datetime.min.time(), UTC)
        windows = _range(INTRA_DAY, self.settings, since=yesterday)
        self.run("the six-hourly windows since yesterday", INTRA_DAY.name, windows)
        if first:
            story.plant_passing(market)
        days = _range(HISTORICAL, self.settings)
        self.run(f"{DAYS} days of history, {COINS} coins, one range", HISTORICAL.name, days)
        self.send_alerts()
        if first:
            day = {PARTITION_NAME_TAG: str(story.corrected_day)}
            self.run("the day that the alert names, once more", HISTORICAL.name, day)
            self.send_alerts()
        for request in self.healing():
            self.run(
                "what healing found missing, once more",
                str(request.job_name),
                {**request.tags, SENSOR_NAME_TAG: "healing"},
                request.run_config,
                request.asset_selection,
            )
        self.run("the ledger, and the checks by the clock", "watch")
        self.run("the models, and the market report", MODELS_JOB)
        self.send_alerts()

    def run(
        self,
        text: str,
        job_name: str,
        tags: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        assets: Iterable[dg.AssetKey] | None = None,
    ) -> None:
        """Run a job, and say so.

        Args:
            text: What that is, in words.
            job_name: The job.
            tags: Of the run, such as its partitions.
            config: Of the run.
            assets: The assets to make; all of the job where none are named.

        Raises:
            DemoError: It failed; says why.
        """
        job = self.repository.get_job(job_name)
        selected = frozenset(assets) if assets else None
        if selected:
            job = job.get_subset(asset_selection=selected)
        run = self.instance.create_run_for_job(
            job,
            run_config={**(config or {}), **_QUIET},
            tags={**job.run_tags, **(tags or {})},
            asset_selection=selected,
            remote_job_origin=job_origin(job_name),
        )
        with self.steps.step(text) as show:
            for event in execute_run_iterator(InMemoryJob(job), run, self.instance):
                if event.event_type == dg.DagsterEventType.STEP_START:
                    show(str(event.step_key).replace("__", "/"))
                elif event.event_type == dg.DagsterEventType.RUN_FAILURE:
                    raise DemoError(self._cause(run.run_id))

    def _cause(self, run_id: str) -> str:
        (ended,) = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        steps = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        return root_cause(ended, steps)

    def send_alerts(self) -> None:
        """A tick of the alerts sensor, which need not wait until others have written."""
        channel: AlertChannel = self.definitions.resources["alerts"]  # type: ignore[index]  # as above
        reader = EventReader(
            self.instance,
            self.repository,
            now=datetime.now(UTC),
            location=LOCATION,
            settled_after=timedelta(0),
        )
        formatter = MessageFormatter(self.settings.dagster_ui_url, Secrets.of(os.environ))
        watch_instance(reader, channel, formatter)

    def healing(self) -> Sequence[dg.RunRequest]:
        """A tick of the healing sensor; returns the runs that it asks for."""
        with dg.build_sensor_context(
            instance=self.instance, resources=self.definitions.resources
        ) as context:
            tick = self.repository.get_sensor_def("healing").evaluate_tick(context)
        return tick.run_requests or []


def _range(stream: Stream, settings: Settings, since: datetime | None = None) -> dict[str, str]:
    """The tags of a run of all closed windows of a stream, or of those since a moment."""
    keys = stream.partitions(settings.first_window(stream)).get_partition_keys()
    if since is not None:
        keys = [key for key in keys if stream.window(key).start >= since]
    return {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[-1]}
