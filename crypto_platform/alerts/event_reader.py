"""What happened in a Dagster instance since the alerts sensor last looked, as event values.

Only the instance's own interface is used, so that SQLite and Postgres serve alike. Ends of runs
are read by their place in the event log, and ``run_reader`` reads what happened in each; freshness
and checks outside of runs share the log of no run.
"""

from collections.abc import Iterable
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
    AUTO_RETRY_RUN_ID_TAG,
    WILL_RETRY_TAG,
)

from crypto_platform.alerts.events import (
    UNPARTITIONED,
    BackfillFailed,
    Event,
    FreshnessChanged,
    RunEnded,
    ScheduleEvaluated,
)
from crypto_platform.alerts.messages import FORGET_AFTER, AlertState, ScheduleMark
from crypto_platform.alerts.root_causes import error_chain
from crypto_platform.alerts.run_reader import RunReader
from crypto_platform.alerts.schedule_times import ScheduleTimes, in_utc

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
        settled_after: Age from which an event counts; none where nobody else writes any.
    """

    instance: dg.DagsterInstance
    repository: dg.RepositoryDefinition
    now: datetime
    location: str | None = None
    settled_after: timedelta = SETTLED_AFTER

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

    @property
    def _reader(self) -> RunReader:
        return RunReader(self.instance, self.repository)

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
        runs = [self._reader.ended(one.run_id, one.event_log_entry) for one in records]
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
                event = self._reader.ended(run_id, entry)
                given_up += [event] if event else []
        return given_up, waiting

    def _backfills(self, until: float) -> tuple[list[Event], float]:
        """Backfills that failed by themselves; one with failed runs is reported by these."""
        settled = (self.now - self.settled_after).timestamp()
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
                events.append(self._reader.check(entry, None, f"event {record.storage_id}"))
                continue
            change: Any = entry.get_dagster_event().event_specific_data
            events.append(
                FreshnessChanged(
                    identity=str(record.storage_id),
                    at=in_utc(entry.timestamp),
                    asset=change.key.to_user_string(),
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

    def _is_settled(self, record: dg.EventLogRecord) -> bool:
        return in_utc(record.event_log_entry.timestamp) <= self.now - self.settled_after


def _wanted(backfill: PartitionBackfill) -> dict[str, frozenset[str]]:
    """What a backfill was to materialize."""
    wanted: dict[str, set[str]] = {}
    if backfill.asset_backfill_data:
        for cell in backfill.asset_backfill_data.target_subset.iterate_asset_partitions():
            wanted.setdefault(cell.asset_key.to_user_string(), set()).add(
                cell.partition_key or UNPARTITIONED
            )
    return {name: frozenset(partitions) for name, partitions in sorted(wanted.items())}
