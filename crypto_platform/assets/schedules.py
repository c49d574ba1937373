"""What runs by the clock: each stream's newest closed window, and the checks that watch."""

from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from crypto_platform.core.streams import Stream


def build_schedule(stream: Stream, first_window: datetime) -> dg.ScheduleDefinition:
    """The schedule that runs a stream's job, in UTC.

    Written out because Dagster's schedule from a partitioned job takes no minutes past the hour
    for partitions by cron.

    Args:
        stream: The stream.
        first_window: Start of its first partition.
    """
    partitions = stream.partitions(first_window)

    @dg.schedule(
        name=stream.schedule_name,
        job_name=stream.name,
        cron_schedule=stream.schedule_cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING
        if stream.scheduled_by_default
        else dg.DefaultScheduleStatus.STOPPED,
        description=f"Materializes the newest closed window of {stream.name}.",
    )
    def newest_window(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        with dg.partition_loading_context(effective_dt=context.scheduled_execution_time):
            key = partitions.get_last_partition_key()
        if key is None:
            return dg.SkipReason(f"No window of {stream.name} has closed yet.")
        return dg.RunRequest(run_key=key, partition_key=key)

    return newest_window


def build_watch(
    assets: Sequence[dg.AssetsDefinition], checks: Sequence[dg.AssetChecksDefinition]
) -> dg.ScheduleDefinition:
    """The job ``watch`` and its schedule: the checks of the present, which no load evaluates.

    Args:
        assets: What to materialize, such as a view of the state of things.
        checks: The asset checks to run.
    """
    job = dg.define_asset_job(
        "watch",
        description="Evaluates what no load would notice: freshness, gaps and the month's credits.",
        selection=dg.AssetSelection.assets(*assets) | dg.AssetSelection.checks(*checks),
    )
    return dg.ScheduleDefinition(
        name="watch_schedule",
        job=job,
        # Between the streams' ticks, when their loads have had time to end.
        cron_schedule="40 * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Runs the time-based checks, hourly.",
    )
