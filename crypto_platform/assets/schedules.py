"""What runs by the clock: each stream's newest window, the checks that watch, the vacuum."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import dagster as dg

from crypto_platform.core.errors import RETRIES, PermanentFailure
from crypto_platform.core.markdown import markdown_table
from crypto_platform.core.streams import Stream
from crypto_platform.lake.layers import Lake
from crypto_platform.lake.vacuum import vacuum as vacuum_lake


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


def build_vacuum(streams: Sequence[Stream]) -> dg.ScheduleDefinition:
    """The job ``vacuum`` and its schedule, by default weekly.

    It runs without being switched on: each run replaces files, so that a lake without it only
    grows, and it takes no more than what nothing has named for a day, and no credit of the API.

    Args:
        streams: All streams of the lake.
    """

    @dg.op(
        name="vacuum_lake",
        description="Removes the files of both layers that no manifest has named for a day.",
        out=dg.Out(dg.Nothing),
        retry_policy=RETRIES,
    )
    def remove_files(context: dg.OpExecutionContext, lake: Lake) -> None:
        done = vacuum_lake(lake, streams)
        context.log.info("Removed %s.", done.described)
        context.add_output_metadata(
            {
                "files": done.files,
                "bytes": done.bytes,
                "removed": markdown_table([asdict(one) for one in done.removed]),
            }
        )
        if done.problems:
            raise PermanentFailure(" ".join(done.problems), {"removed_files": done.files})

    @dg.job(
        name="vacuum",
        description="Removes the files of the lake that no manifest has named for a day.",
    )
    def vacuum() -> None:
        remove_files()

    return dg.ScheduleDefinition(
        name="vacuum_schedule",
        job=vacuum,
        # A quiet hour, between the streams' ticks.
        cron_schedule="25 3 * * 0",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Removes what the lake no longer needs, on Sundays.",
    )
