"""Whether a stream's schedule runs, and since when, as the Dagster instance knows it."""

from datetime import datetime

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    SCHEDULE_NAME_TAG,
)

from crypto_platform.core.streams import Stream


def is_scheduled(stream: Stream, instance: dg.DagsterInstance | None) -> bool:
    """Whether a stream's schedule runs: switched on, or by default and not switched off.

    Args:
        stream: The stream.
        instance: Knows what was switched in the UI; without one, or with one that lives in memory
            alone and so keeps no schedules, the default counts.
    """
    return is_running(stream.schedule_name, instance, by_default=stream.scheduled_by_default)


def is_running(schedule: str, instance: dg.DagsterInstance | None, *, by_default: bool) -> bool:
    """Whether a schedule runs, see ``is_scheduled``.

    Args:
        schedule: Its name.
        instance: Knows what was switched in the UI.
        by_default: Whether it runs where nobody switched it.
    """
    states = instance.all_instigator_state() if instance and instance.schedule_storage else ()
    for state in states:
        if state.instigator_name == schedule and state.status.name in _SWITCHED:
            return _SWITCHED[state.status.name]
    return by_default


def first_scheduled(stream: Stream, instance: dg.DagsterInstance) -> datetime | None:
    """Start of the first window that the schedule launched a run for, whatever became of it.

    Args:
        stream: The stream.
        instance: Dagster's instance.
    """
    runs = instance.get_run_records(
        dg.RunsFilter(job_name=stream.name, tags={SCHEDULE_NAME_TAG: stream.schedule_name}),
        limit=1,
        ascending=True,
    )
    tags = runs[0].dagster_run.tags if runs else {}
    key = tags.get(ASSET_PARTITION_RANGE_START_TAG) or tags.get(PARTITION_NAME_TAG)
    return stream.window(key).start if key else None


# Any other status, such as DECLARED_IN_CODE, leaves the decision to the code.
_SWITCHED = {"RUNNING": True, "STOPPED": False}
