"""The present state of all of it in one value, for who wants to know at a glance.

It reads what loads left in the lake and never the warehouse, so that looking wakes nothing; where
an earlier version loaded it, the warehouse is asked once, see ``load_record``.
"""

import json
import os
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.error import URLError

import dagster as dg
from dagster._utils.schedules import schedule_execution_time_iterator

from crypto_platform.alerts.channels import AlertChannel
from crypto_platform.alerts.messages import Incident
from crypto_platform.assets.schedules import build_schedule, build_vacuum, build_watch
from crypto_platform.core.proxies import LOOPBACK
from crypto_platform.core.schedules import is_running, is_scheduled
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import STREAMS, Stream
from crypto_platform.healing.planner import Gap, find_gaps
from crypto_platform.ingestion.quota import MonthBudget, present_budget
from crypto_platform.ingestion.tracked_coins import load_tracked_coins
from crypto_platform.models.fear_and_greed import build_fear_and_greed_schedule
from crypto_platform.profiles import PROFILES
from crypto_platform.warehouse.completeness import Completeness, completeness_of
from crypto_platform.warehouse.expected_windows import asked_ledger
from crypto_platform.warehouse.sql import ledger_statement
from lambda_function.errors import InvalidSettings

_UI_TIMEOUT = 2.0

_WHERE_IT_KEEPS_RUNS = b'{"query": "{instance {info}}"}'


@dataclass(frozen=True)
class StreamState:
    """How a stream does.

    Attributes:
        stream: The stream.
        newest: Start of the newest window with a price; ``None`` where none was loaded.
        due: Start of the newest window that is due.
        scheduled: Whether its schedule runs.
        completeness: How much of what was asked for is there.
        gaps: What lacks a price that may yet be had.
    """

    stream: Stream
    newest: datetime | None
    due: datetime
    scheduled: bool
    completeness: Completeness
    gaps: tuple[Gap, ...]

    @property
    def given_up(self) -> tuple[Gap, ...]:
        """The gaps that healing asks for no longer, and that a person has to look at."""
        return tuple(gap for gap in self.gaps if gap.given_up)

    @property
    def late(self) -> bool:
        """Whether its schedule runs, and a window that is due has no price."""
        return self.scheduled and self.newest is not None and self.newest < self.due


@dataclass(frozen=True)
class Tick:
    """When a schedule comes next.

    Attributes:
        schedule: Its name.
        at: When; ``None`` where it is switched off.
    """

    schedule: str
    at: datetime | None


@dataclass(frozen=True)
class Overview:
    """The state of all of it.

    Attributes:
        now: When it was looked at.
        profile: Where the platform runs.
        home: What is looked at: the folder, or the deployment.
        coins: How many coins are tracked.
        streams: How each stream does.
        incidents: Problems that were reported and are not over; ``None`` where nobody looked yet.
        budget: The month's credits; ``None`` where the variables of the API cannot be used.
        budget_problem: Why there is none.
        ticks: When each schedule comes next, the soonest first.
        daemon: Whether Dagster's daemon runs; ``None`` where there is no instance yet.
        ui: Where the UI is, if it answers.
        ui_address: Where it was looked for.
    """

    now: datetime
    profile: str
    home: str
    coins: int
    streams: tuple[StreamState, ...]
    incidents: tuple[Incident, ...] | None
    budget: MonthBudget | None
    budget_problem: str
    ticks: tuple[Tick, ...]
    daemon: bool | None
    ui: str | None
    ui_address: str

    @property
    def empty(self) -> bool:
        """Whether nothing was ever loaded."""
        return all(state.newest is None for state in self.streams)

    @property
    def for_a_person(self) -> list[str]:
        """What needs one, a sentence each; none where all is well."""
        said = [
            f"{len(state.given_up)} gap(s) of {state.stream.name} were given up by healing: fix "
            "the cause (crypto-platform alerts), then materialize their partitions."
            for state in self.streams
            if state.given_up
        ]
        if self.incidents:
            said.append(
                f"{len(self.incidents)} incident(s) are open: crypto-platform alerts has them."
            )
        said += [
            f"The newest window of {state.stream.name} is overdue: "
            + (
                "see its runs in the UI."
                if self.daemon
                else "the daemon does not run; make dev starts it, make demo-ui the demo's."
            )
            for state in self.streams
            if state.late
        ]
        if self.budget_problem:
            said.append(self.budget_problem)
        elif self.budget and self.budget.level == "error":
            said.append(self.budget.described)
        return said


def look(settings: Settings, environment: Mapping[str, str]) -> Overview:
    """Look at all of it; nothing is changed, and no API is asked.

    Args:
        settings: The settings.
        environment: The variables that they come from.

    Raises:
        PermanentFailure: Something of the lake is damaged; says what to do.
        AlertStateUnreadableError: What is remembered of alerts is.
    """
    folder = settings.instance_folder(environment)
    there = (folder / "dagster.yaml").exists()
    # In memory there is one for who asks what no instance knows; it is gone with this block.
    opened = (
        dg.DagsterInstance.from_config(str(folder)) if there else dg.DagsterInstance.ephemeral()
    )
    with opened as instance:
        return _look(settings, environment, instance, there=there)


def _look(
    settings: Settings,
    environment: Mapping[str, str],
    instance: dg.DagsterInstance,
    *,
    there: bool,
) -> Overview:
    now = datetime.now(UTC)
    builders = PROFILES[settings.profile].builders
    lake = builders["lake"](settings)
    channel: AlertChannel = builders["alerts"](settings)
    warehouse = builders["warehouse"](settings)
    with asked_ledger(lake, warehouse, settings, STREAMS, instance) as ledger:
        with ledger.session(read_only=True) as session:
            rows = session.execute(ledger_statement("newest_windows"))
        newest = {row["stream"]: row["newest"] for row in rows}
        complete = completeness_of(ledger, STREAMS, now)
        streams = tuple(
            StreamState(
                stream=stream,
                newest=newest.get(stream.name),
                due=stream.latest_due(now).start,
                scheduled=is_scheduled(stream, instance),
                completeness=completeness,
                gaps=tuple(find_gaps(ledger, stream, instance, now)),
            )
            for stream, completeness in zip(STREAMS, complete, strict=True)
        )
    budget, problem = None, ""
    try:
        budget = present_budget(settings, environment, lake, instance)
    except InvalidSettings as error:
        problem = str(error)
    state = channel.latest_state()
    return Overview(
        now=now,
        profile=settings.profile,
        home=str(settings.home.absolute()) if settings.profile == "local" else settings.stack,
        coins=len(load_tracked_coins(lake.raw).ids),
        streams=streams,
        incidents=tuple(state.incidents) if state else None,
        budget=budget,
        budget_problem=problem,
        ticks=next_ticks(settings, instance, now),
        daemon=_daemon_runs(instance) if there else None,
        ui=settings.dagster_ui_url if _serves(settings, environment) else None,
        ui_address=settings.dagster_ui_url,
    )


def next_ticks(
    settings: Settings,
    instance: dg.DagsterInstance,
    now: datetime,
    streams: Sequence[Stream] = STREAMS,
) -> tuple[Tick, ...]:
    """When each schedule comes next, the soonest first; those that are switched off last.

    Args:
        settings: The settings.
        instance: Knows what was switched in the UI.
        now: The time.
        streams: The streams there are.
    """
    schedules = [
        *(build_schedule(stream, settings.first_window(stream)) for stream in streams),
        build_watch(assets=(), checks=()),
        build_fear_and_greed_schedule(),
        build_vacuum(streams),
    ]
    ticks = []
    for schedule in schedules:
        by_default = schedule.default_status is dg.DefaultScheduleStatus.RUNNING
        at = None
        if is_running(schedule.name, instance, by_default=by_default):
            times = schedule_execution_time_iterator(
                now.timestamp(), schedule.cron_schedule, schedule.execution_timezone or "UTC"
            )
            at = next(times).astimezone(UTC)
        ticks.append(Tick(schedule.name, at))
    never = datetime.max.replace(tzinfo=UTC)
    return tuple(sorted(ticks, key=lambda tick: (tick.at or never, tick.schedule)))


def _daemon_runs(instance: dg.DagsterInstance) -> bool:
    statuses = instance.get_daemon_statuses()
    return any(status.healthy for status in statuses.values() if status.required)


def _serves(settings: Settings, environment: Mapping[str, str]) -> bool:
    """Whether the UI answers, and is this instance's: two may run on this machine."""
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({})
        if any(host in settings.dagster_ui_url for host in LOOPBACK)
        else urllib.request.ProxyHandler()
    )
    asked = urllib.request.Request(  # noqa: S310 - the setting is http or https
        f"{settings.dagster_ui_url.rstrip('/')}/graphql",
        data=_WHERE_IT_KEEPS_RUNS,
        headers={"Content-Type": "application/json"},
    )
    try:
        with opener.open(asked, timeout=_UI_TIMEOUT) as response:
            info = str(json.load(response)["data"]["instance"]["info"])
    except (URLError, OSError, ValueError, KeyError, TypeError):
        return False
    # Elsewhere, as in containers, it keeps its runs in a database that both reach by other names.
    return settings.profile != "local" or os.fspath(settings.instance_folder(environment)) in info
