"""When streams are materialized by themselves: the newest closed window, soon after its close."""

from datetime import datetime

import dagster as dg

from crypto_platform.streams import Stream


def build_schedule(stream: Stream, first_window: datetime) -> dg.ScheduleDefinition:
    """The schedule that runs a stream's job, in UTC.

    Written out because Dagster's schedule from a partitioned job takes no minutes past the hour
    for partitions by cron.
    """
    partitions = stream.partitions(first_window)

    @dg.schedule(
        name=f"{stream.name}_schedule",
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
