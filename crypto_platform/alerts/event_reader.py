"""What happened in a Dagster instance since the alerts sensor last looked, as event values.

Only the instance's own interface is used, so that SQLite and Postgres serve alike. Ends of runs
are read by their place in the event log; what happened in a run is read from that run; freshness
and checks outside of runs share the log of no run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from operator import itemgetter
from typing import Any

import dagster as dg
from dagster._core.event_api import EventLogCursor
from dagster._core.execution.backfill import (
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)
from dagster._core.instance.utils import RUNLESS_RUN_ID
from dagster._core.scheduler.instigation import InstigatorState, InstigatorType
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    AUTO_RETRY_RUN_ID_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
    WILL_RETRY_TAG,
)
from sqlalchemy.exc import DBAPIError

from crypto_platform.alerts.messages import FORGET_AFTER, AlertState, ScheduleMark
from crypto_platform.alerts.problems import (
    UNPARTITIONED,
    WITHIN,
    BackfillFailed,
    CheckEvaluated,
    Event,
    FreshnessChanged,
    RunEnded,
    ScheduleEvaluated,
)
from crypto_platform.alerts.root_causes import error_chain, root_cause
from crypto_platform.alerts.schedule_times import ScheduleTimes, in_utc
from crypto_platform.checks.definitions import (
    FAULTS,
    PARTITIONS_AT_FAULT,
    TIME_BASED,
    WHAT_TO_DO,
)
from crypto_platform.core.run_tags import HEAL_TAG

SETTLED_AFTER = timedelta(seconds=10)
"""Age from which an event counts: by then, what was written at the same time can be read too, and
Dagster has said whether it will retry the run."""

RUNS_A_TICK = 40
OTHER_EVENTS_A_TICK = 200
"""How many a tick takes in, so that it ends within Dagster's minute; the next takes the others."""

_ENDS = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)


@dataclass(frozen=True)
class EventReader:
    """Reads one instance, with the eyes of one code location.

    Attributes:
        instance: The instance.
        repository: The code location's definitions: its assets' partitions, and its schedules.
        now: The time of the tick.
        location: Name of the code location; an instance may remember schedules of others that
            have the same names. ``None`` for all.
    """

    instance: dg.DagsterInstance
    repository: dg.RepositoryDefinition
    now: datetime
    location: str | None = None

    @property
    def instance_id(self) -> str:
        """What distinguishes this instance from every other, and from itself made anew.

        Raises:
            DagsterInvariantViolationError: Its storage keeps no such id.
        """
        storage = self.instance.run_storage
        if not isinstance(storage, SqlRunStorage):
            raise dg.DagsterInvariantViolationError(
                f"The alerts sensor knows SQLite and Postgres, not {type(storage).__name__}."
            )
        return storage.get_run_storage_id()

    def beginning(self) -> AlertState:
        """Where to begin on an instance that was never looked at: at its end, not its history."""
        ends = [self.instance.fetch_run_status_changes(kind, limit=1).records for kind in _ENDS]
        other = self.instance.get_records_for_run(RUNLESS_RUN_ID, limit=1, ascending=False).records
        return AlertState(
            updated_at=self.now,
            run_events=max((found[0].storage_id for found in ends if found), default=0),
            other_events=other[0].storage_id if other else 0,
            backfills_until=self.now.timestamp(),
        )

    def since(self, state: AlertState) -> tuple[list[Event], AlertState]:
        """What happened since a state, oldest first, and the state with the new positions."""
        runs, run_events, retrying = self._runs(state)
        backfills, backfills_until = self._backfills(state.backfills_until)
        others, other_events = self._outside_of_runs(state.other_events)
        evaluated, schedules = self._schedules(state)
        positions = {
            "run_events": run_events,
            "other_events": other_events,
            "backfills_until": backfills_until,
            "schedules": schedules,
            "retrying": retrying,
        }
        return [*runs, *backfills, *others, *evaluated], state.model_copy(update=positions)

    def _runs(self, state: AlertState) -> tuple[list[RunEnded], int, tuple[str, ...]]:
        cursor = EventLogCursor.from_storage_id(state.run_events).to_string()
        records = [
            record
            for kind in _ENDS
            for record in self.instance.fetch_run_status_changes(
                kind, limit=RUNS_A_TICK, cursor=cursor, ascending=True
            ).records
        ]
        records.sort(key=lambda record: record.storage_id)
        records = list(takewhile(self._is_settled, records[:RUNS_A_TICK]))
        runs = [self._run_or_what_is_known(one.run_id, one.event_log_entry) for one in records]
        ended = [run for run in runs if run]
        given_up, waiting = self._given_up(state.retrying)
        waiting += [run.run_id for run in ended if run.will_retry]
        position = records[-1].storage_id if records else state.run_events
        return [*given_up, *ended], position, tuple(waiting)

    def _given_up(self, retrying: Iterable[str]) -> tuple[list[RunEnded], list[str]]:
        """Runs whose promised retry could not be launched, and those still waiting for theirs."""
        given_up: list[RunEnded] = []
        waiting = []
        for run_id in retrying:
            run = self.instance.get_run_by_id(run_id)
            if run is None or AUTO_RETRY_RUN_ID_TAG in run.tags:
                continue
            if run.tags.get(WILL_RETRY_TAG) == "true":
                waiting.append(run_id)
                continue
            for entry in self.instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE):
                event = self._run_or_what_is_known(run_id, entry)
                given_up += [event] if event else []
        return given_up, waiting

    def _run_or_what_is_known(self, run_id: str, entry: dg.EventLogEntry) -> RunEnded | None:
        try:
            return self._run(run_id, entry)
        except DBAPIError:
            # The storage is busy or away; the next tick reads the same events.
            raise
        except Exception as error:  # noqa: BLE001 - one odd run must not silence all after it
            return RunEnded(
                run_id=run_id,
                at=in_utc(entry.timestamp),
                job=entry.job_name or "a job",
                succeeded=entry.dagster_event_type == dg.DagsterEventType.RUN_SUCCESS,
                cause=f"What happened in the run could not be read: {error!r}",
            )

    def _run(self, run_id: str, entry: dg.EventLogEntry) -> RunEnded | None:
        run = self.instance.get_run_by_id(run_id)
        if run is None:
            # Deleted since.
            return None
        succeeded = entry.dagster_event_type == dg.DagsterEventType.RUN_SUCCESS
        steps = (
            []
            if succeeded
            else self.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        )
        failed_steps = [step.step_key.split("[")[0] for step in steps if step.step_key]
        planned = self.instance.get_asset_keys_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        )
        failed_assets = [key for key in planned if self._step(key) in failed_steps]
        materialized = self.instance.get_asset_partitions_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        done = {
            _name(key): frozenset(partition or UNPARTITIONED for partition in partitions)
            for key, partitions in materialized.items()
            if key not in failed_assets
        }
        wanted = {_name(key): self._partitions(key, run.tags) for key in planned}
        missing = {name: wanted[name] - done.get(name, frozenset()) for name in sorted(wanted)}
        broken = {name: partitions for name, partitions in missing.items() if partitions}
        failed_names = sorted(_name(key) for key in failed_assets)
        other_steps = sorted(set(failed_steps) - {self._step(key) for key in failed_assets})
        return RunEnded(
            run_id=run_id,
            at=in_utc(entry.timestamp),
            job=_job(run.job_name, planned),
            succeeded=succeeded,
            will_retry=run.tags.get(WILL_RETRY_TAG) == "true",
            heals=HEAL_TAG in run.tags,
            root_run=run.root_run_id,
            backfill=run.tags.get(BACKFILL_ID_TAG),
            partitions=frozenset().union(*wanted.values(), _tagged(run.tags)) - {UNPARTITIONED},
            done=done,
            broken={} if succeeded else broken,
            failed=(*failed_names, *(f"op {step}" for step in other_steps)),
            cause=root_cause(entry, steps),
            checks=self._checks(run),
        )

    def _checks(self, run: dg.DagsterRun) -> tuple[CheckEvaluated, ...]:
        """The last evaluation of each check: a step that was retried evaluates it again."""
        entries = self.instance.all_logs(
            run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        )
        checks = [self._check(entry, run, run.run_id) for entry in entries]
        return tuple({(check.check, check.partitions): check for check in checks}.values())

    def _check(
        self, entry: dg.EventLogEntry, run: dg.DagsterRun | None, identity: str
    ) -> CheckEvaluated:
        found = entry.get_dagster_event().asset_check_evaluation_data
        tags = run.tags if run else {}
        if found.partition:
            partitions = frozenset({found.partition})
        elif TIME_BASED in found.metadata:
            partitions = frozenset({UNPARTITIONED})
        else:
            partitions = self._partitions(found.asset_key, tags)
        name = f"{_name(found.asset_key)}:{found.check_name}"
        what_to_do = found.metadata.get(WHAT_TO_DO)
        return CheckEvaluated(
            identity=f"{name}/{found.partition or ''}/{identity}",
            at=in_utc(entry.timestamp),
            check=name,
            passed=found.passed,
            is_error=found.severity == dg.AssetCheckSeverity.ERROR,
            partitions=partitions,
            at_fault=_at_fault(found.metadata, partitions),
            description=found.description or "",
            what_to_do=str(what_to_do.value) if what_to_do else "",
            run_id=run.run_id if run else None,
            backfill=tags.get(BACKFILL_ID_TAG),
        )

    def _backfills(self, until: float) -> tuple[list[Event], float]:
        """Backfills that failed by themselves; one with failed runs is reported by these."""
        settled = (self.now - SETTLED_AFTER).timestamp()
        failed = self.instance.get_backfills(
            filters=BulkActionsFilter(
                statuses=[BulkActionStatus.FAILED], created_after=self.now - FORGET_AFTER
            )
        )
        ended = [
            (end, backfill)
            for backfill in failed
            if until < (end := backfill.backfill_end_timestamp or 0.0) <= settled
        ]
        ended.sort(key=itemgetter(0))
        events: list[Event] = [
            BackfillFailed(
                backfill=backfill.backfill_id,
                at=in_utc(end),
                affected=_wanted(backfill),
                cause=error_chain(backfill.error),
            )
            for end, backfill in ended
            if backfill.error
        ]
        return events, ended[-1][0] if ended else until

    def _outside_of_runs(self, position: int) -> tuple[list[Event], int]:
        records = self.instance.get_records_for_run(
            RUNLESS_RUN_ID,
            cursor=EventLogCursor.from_storage_id(position).to_string(),
            of_type={
                dg.DagsterEventType.ASSET_CHECK_EVALUATION,
                dg.DagsterEventType.FRESHNESS_STATE_CHANGE,
            },
            limit=OTHER_EVENTS_A_TICK,
        ).records
        settled = list(takewhile(self._is_settled, records))
        events: list[Event] = []
        for record in settled:
            entry = record.event_log_entry
            if entry.dagster_event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                events.append(self._check(entry, None, f"event {record.storage_id}"))
                continue
            change: Any = entry.get_dagster_event().event_specific_data
            events.append(
                FreshnessChanged(
                    identity=str(record.storage_id),
                    at=in_utc(entry.timestamp),
                    asset=_name(change.key),
                    state=change.new_state.value,
                )
            )
        return events, settled[-1].storage_id if settled else position

    def _schedules(self, state: AlertState) -> tuple[list[Event], dict[str, ScheduleMark]]:
        running = {
            schedule.instigator_name: schedule
            for schedule in self.instance.all_instigator_state(
                instigator_type=InstigatorType.SCHEDULE
            )
            if schedule.is_running and self._is_of_here(schedule)
        }
        late = {
            thing
            for incident in state.incidents
            if incident.kind == "schedule_missed"
            for thing in incident.affected
        }
        events: list[Event] = []
        marks: dict[str, ScheduleMark] = {}
        for schedule in self.repository.schedule_defs:
            stored = running.get(schedule.name)
            if stored:
                times = ScheduleTimes(schedule, stored, self.instance)
                event, mark = times.evaluate(state.schedules.get(schedule.name), self.now)
                marks[schedule.name] = mark
                if event or schedule.name in late:
                    events.append(event or times.newest(self.now))
        events += [
            ScheduleEvaluated(at=self.now, schedule=name, ticking=True)
            for name in sorted(late - running.keys())
        ]
        return events, marks

    def _is_of_here(self, schedule: InstigatorState) -> bool:
        origin = schedule.origin.repository_origin.code_location_origin
        return self.location in (None, origin.location_name)

    def _partitions(self, key: dg.AssetKey, tags: Mapping[str, str]) -> frozenset[str]:
        """Those of an asset's partitions that a run is about."""
        tagged = _tagged(tags)
        if not self.repository.asset_graph.has(key):
            return tagged or frozenset({UNPARTITIONED})
        partitions = self.repository.asset_graph.get(key).partitions_def
        if partitions is None or not tagged:
            return frozenset({UNPARTITIONED})
        if PARTITION_NAME_TAG in tags:
            return tagged
        span = dg.PartitionKeyRange(
            tags[ASSET_PARTITION_RANGE_START_TAG], tags[ASSET_PARTITION_RANGE_END_TAG]
        )
        try:
            with dg.partition_loading_context(dynamic_partitions_store=self.instance):
                return frozenset(partitions.get_partition_keys_in_range(span))
        except dg.DagsterError:
            # The partitions were redefined since.
            return tagged

    def _step(self, key: dg.AssetKey) -> str | None:
        definition = self.repository.assets_defs_by_key.get(key)
        return definition.node_def.name if definition else key.to_python_identifier()

    def _is_settled(self, record: dg.EventLogRecord) -> bool:
        return in_utc(record.event_log_entry.timestamp) <= self.now - SETTLED_AFTER


def _name(key: dg.AssetKey) -> str:
    return key.to_user_string()


def _job(name: str, assets: Iterable[dg.AssetKey]) -> str:
    # What the UI and backfills start has no job of its own, and a name that nobody knows.
    hidden = name.startswith("__")
    return ", ".join(sorted(map(_name, assets))) or name if hidden else name


def _tagged(tags: Mapping[str, str]) -> frozenset[str]:
    """The partitions that a run's tags name: its one, or the two ends of its range."""
    names = (PARTITION_NAME_TAG, ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)
    return frozenset(tags[name] for name in names if name in tags)


def _wanted(backfill: PartitionBackfill) -> dict[str, frozenset[str]]:
    """What a backfill was to materialize."""
    wanted: dict[str, set[str]] = {}
    if backfill.asset_backfill_data:
        for cell in backfill.asset_backfill_data.target_subset.iterate_asset_partitions():
            wanted.setdefault(_name(cell.asset_key), set()).add(cell.partition_key or UNPARTITIONED)
    return {name: frozenset(partitions) for name, partitions in sorted(wanted.items())}


def _at_fault(
    metadata: Mapping[str, dg.MetadataValue[Any]], partitions: frozenset[str]
) -> frozenset[str]:
    """What a check's metadata names as failed, in terms of the partitions that it looked at."""
    names = _named(metadata, FAULTS)
    if not names:
        return _named(metadata, PARTITIONS_AT_FAULT) & partitions
    if partitions == {UNPARTITIONED}:
        return frozenset(f"{UNPARTITIONED}{WITHIN}{name}" for name in names)
    return names


def _named(metadata: Mapping[str, dg.MetadataValue[Any]], name: str) -> frozenset[str]:
    """The partitions or coins that a check's metadata lists under a name."""
    listed = metadata.get(name)
    if listed is None:
        return frozenset()
    keys = listed.value
    return frozenset(map(str, keys)) if isinstance(keys, list | tuple) else frozenset({str(keys)})
