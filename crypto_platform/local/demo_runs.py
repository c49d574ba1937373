"""The demo: both streams end to end on one machine, from a simulated market."""

import gc
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    SENSOR_NAME_TAG,
)

from crypto_platform.alerts.channels import AlertChannel
from crypto_platform.alerts.delivery import watch_instance
from crypto_platform.alerts.event_reader import EventReader
from crypto_platform.alerts.messages import MessageFormatter
from crypto_platform.alerts.root_causes import root_cause
from crypto_platform.core.redaction import Secrets
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.definitions import build_definitions
from crypto_platform.healing.sensor import STAGES
from crypto_platform.local.batching_sqlite import keep_records_quickly
from crypto_platform.local.demo import (
    COINS,
    DAYS,
    first_run,
    remember_first_run,
    simulated_platform,
)
from crypto_platform.local.demo_output import Steps, print_end, terminal
from crypto_platform.local.demo_story import Story
from crypto_platform.models.assets import JOB as MODELS_JOB
from crypto_platform.models.fear_and_greed import GROUP as SENTIMENT
from crypto_platform.runs.liveness import free_slots_of_the_dead
from crypto_platform.runs.origin import LOCATION, job_origin
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform.transformation.local import processes
from crypto_platform.transformation.spark_process import SparkProcess

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


_GARBAGE = 100_000
"""How many new objects the collector waits for, in place of 700: this process is a short one."""


class DemoError(RuntimeError):
    """A run of the demo failed."""


def run_demo(home: Path, started: SparkProcess) -> int:
    """Fill ``home`` from a simulated market, with faults in it, and print what stands there.

    Args:
        home: Folder of the demo.
        started: A process with the engine of the settings, for its runs.

    Returns:
        The exit code: 0 where everything was loaded.
    """
    console = terminal()
    # All of it can be made again.
    keep_records_quickly()
    began = first_run(home)
    story = Story(began or datetime.now(UTC).date())
    with simulated_platform(home, story) as (market, environment):
        console.print(
            f"[bold]A simulated market[/] answers at {market.base_url}:\n"
            "[bold]no price below is real[/]."
        )
        settings = Settings.from_environment(environment)
        processes[settings.spark] = started
        definitions = build_definitions(settings)
        # What is loaded by now stays, and of what comes little has to be looked for.
        gc.freeze()
        gc.set_threshold(_GARBAGE)
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
        windows = _all_windows(INTRA_DAY, self.settings)
        self.run(f"the six-hourly windows since {story.corrected_day}", INTRA_DAY.name, windows)
        if first:
            story.plant_passing(market)
        days = _all_windows(HISTORICAL, self.settings)
        self.run(f"{DAYS} days of history, {COINS} coins, one range", HISTORICAL.name, days)
        self.send_alerts()
        for request in self.healing():
            self.run(
                "what healing found missing, once more",
                str(request.job_name),
                {**request.tags, SENSOR_NAME_TAG: "healing"},
                request.run_config,
                request.asset_selection,
            )
        if first:
            # Last, so that the checks of the table still tell of it.
            day = {PARTITION_NAME_TAG: str(story.corrected_day)}
            self.run(
                "the day that the alert names, once more",
                HISTORICAL.name,
                day,
                assets=[dg.AssetKey([HISTORICAL.name, stage]) for stage in STAGES],
            )
            self.send_alerts()
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


def _all_windows(stream: Stream, settings: Settings) -> dict[str, str]:
    """The tags of a run of all closed windows of a stream."""
    keys = stream.partitions(settings.first_window(stream)).get_partition_keys()
    return {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[-1]}
