"""When a schedule was due, and whether it ticked then."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

import dagster as dg
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorTick,
    ScheduleInstigatorData,
    TickStatus,
)
from dagster._utils.schedules import schedule_execution_time_iterator

from crypto_platform.alerts.events import ScheduleEvaluated
from crypto_platform.alerts.messages import ScheduleMark
from crypto_platform.alerts.problems import stream_of
from crypto_platform.alerts.root_causes import error_chain

TICK_GRACE = timedelta(minutes=10)
"""How late a schedule may tick: as long as the schedules wait after a window has closed."""

TIMES_A_TICK = 500
"""How many times that were due a tick evaluates: four months of the six-hourly schedule."""


@dataclass(frozen=True)
class ScheduleTimes:
    """The times of a schedule that is on: when it was due, and when it ticked."""

    schedule: dg.ScheduleDefinition
    stored: InstigatorState
    instance: dg.DagsterInstance

    def evaluate(
        self, mark: ScheduleMark | None, now: datetime
    ) -> tuple[ScheduleEvaluated | None, ScheduleMark]:
        """Whether the times that were due since the mark came, and the next mark.

        Args:
            mark: Up to when the schedule was evaluated; ``None`` at first.
            now: The time of the tick.

        Returns:
            An event where one did not come, or came too late; and the next mark.
        """
        cron = repr(self.schedule.cron_schedule)
        if mark is None or mark.cron != cron:
            return None, ScheduleMark(cron=cron, until=now)
        data = self.stored.instigator_data
        started = data.start_timestamp if isinstance(data, ScheduleInstigatorData) else None
        since = max(mark.until, in_utc(started or 0))
        times = takewhile(lambda time: time <= now - TICK_GRACE, self._due(since))
        due = [time for time in islice(times, TIMES_A_TICK) if time > since]
        if not due:
            return None, mark
        ticks = self._ticks(due[0], due[-1])
        missed = tuple(time for time in due if not _in_time(ticks.get(time), time))
        next_mark = ScheduleMark(cron=cron, until=due[-1])
        if not missed:
            return None, next_mark
        errors = [error for time in missed if time in ticks and (error := ticks[time].error)]
        event = ScheduleEvaluated(
            at=now,
            schedule=self.schedule.name,
            stream=stream_of([self.schedule.job_name]),
            missed=missed,
            ticking=_came(ticks.get(due[-1])),
            error=error_chain(errors[-1]) if errors else "",
        )
        return event, next_mark

    def newest(self, now: datetime) -> ScheduleEvaluated:
        """An event that says whether the newest time that was due came."""
        newest = next(self._due(now, ascending=False))
        tick = self._ticks(newest, newest).get(newest)
        return ScheduleEvaluated(at=now, schedule=self.schedule.name, ticking=_came(tick))

    def _due(self, start: datetime, *, ascending: bool = True) -> Iterator[datetime]:
        times = schedule_execution_time_iterator(
            start.timestamp(),
            self.schedule.cron_schedule,
            self.schedule.execution_timezone or "UTC",
            ascending=ascending,
        )
        return (time.astimezone(UTC) for time in times)

    def _ticks(self, first: datetime, last: datetime) -> dict[datetime, InstigatorTick]:
        found = self.instance.get_ticks(
            self.stored.instigator_origin_id,
            self.stored.selector_id,
            after=first.timestamp() - 1,
            before=last.timestamp() + 1,
        )
        return {in_utc(tick.timestamp): tick for tick in found}


def _came(tick: InstigatorTick | None) -> bool:
    return tick is not None and tick.status in (TickStatus.SUCCESS, TickStatus.SKIPPED)


def _in_time(tick: InstigatorTick | None, due: datetime) -> bool:
    if tick is None or not _came(tick):
        return False
    ended = tick.end_timestamp
    return ended is None or in_utc(ended) <= due + TICK_GRACE


def in_utc(timestamp: float) -> datetime:
    """The moment of a UNIX timestamp."""
    return datetime.fromtimestamp(timestamp, UTC)
