"""The sensor that heals: it asks again for what the ledger lacks, without a person.

It reads the ledger from the record that loads leave in the lake, so that no tick wakes the
warehouse, and only when there may be news: a run on a stream has ended, a window became overdue, or
the next attempt is due.
"""

import os
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES, NOT_FINISHED_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)
from pydantic import AwareDatetime, BaseModel

from crypto_platform.core.lazy import dagster_backfill as backfill
from crypto_platform.core.run_tags import HEAL_TAG
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import Stream, Window
from crypto_platform.healing.attempts import coins_of_run, range_of_run, raw_prices_config
from crypto_platform.healing.planner import (
    HealRequest,
    find_gaps,
    plan_requests,
    select_requests,
)
from crypto_platform.ingestion.quota import MonthBudget, present_budget
from crypto_platform.ingestion.tracked_coins import load_tracked_coins
from crypto_platform.lake.layers import Lake
from crypto_platform.warehouse.expected_windows import asked_ledger
from crypto_platform.warehouse.resource import Warehouse, WarehouseBusyError
from lambda_function.plans import Plan, configured_plan

STAGES = ("raw_prices", "transformed_prices", "snowflake_prices")

# Healing leaves the API to the schedule again after so many minutes of calls.
_MAX_CALL_MINUTES = 30
# Where credits were short, or a backfill held a stream, the ledger is read again after so long.
_RECHECK_AFTER = timedelta(minutes=15)


class SensorCursor(BaseModel, frozen=True):
    """What the sensor remembers of the last time that it read the ledger.

    The fields are stored, as instances of version 0.2.0 have them too.

    Attributes:
        at: When that was.
        newest: Key of the newest overdue window of each stream then.
        again_at: When to read it again without any news; ``None`` for never.
    """

    at: AwareDatetime
    newest: dict[str, str]
    again_at: AwareDatetime | None = None


def build_healing_sensor(
    settings: Settings, streams: Sequence[Stream], jobs: Sequence[Any]
) -> dg.SensorDefinition:
    """The sensor of all streams.

    Args:
        settings: The platform's settings.
        streams: The streams to heal.
        jobs: The streams' jobs, by their names.
    """

    @dg.sensor(
        name="healing",
        jobs=jobs,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=60,
        description=(
            "Asks again for what the ledger has as pending or failed, or missing for so short a "
            "time that the source may yet have it: in few runs, within the plan, a few times."
        ),
    )
    def healing(
        context: dg.SensorEvaluationContext, lake: Lake, warehouse: Warehouse
    ) -> dg.SensorResult | dg.SkipReason:
        now = datetime.now(UTC)
        newest = {stream.name: stream.partition_key(stream.latest_due(now)) for stream in streams}
        last = SensorCursor.model_validate_json(context.cursor) if context.cursor else None
        if last and not _has_news(context.instance, streams, last, newest, now):
            return dg.SkipReason(
                f"Nothing that could have changed the ledger happened since {last.at:%F %H:%M} UTC."
            )
        if not load_tracked_coins(lake.raw).ids:
            return dg.SkipReason("No coin is tracked yet: nothing was ever loaded.")
        prompt = warehouse.with_timeout()
        try:
            with asked_ledger(lake, prompt, settings, streams, context.instance) as ledger:
                requests, reasons, again_at = _plan(
                    context.instance, settings, streams, lake, ledger, now
                )
        except WarehouseBusyError as error:
            return dg.SkipReason(f"Will look again in a minute. {error}")
        cursor = SensorCursor(at=now, newest=newest, again_at=again_at).model_dump_json()
        return dg.SensorResult(
            run_requests=[_run_request(request) for request in requests] or None,
            skip_reason=None if requests else " ".join(reasons),
            cursor=cursor,
        )

    return healing


def _has_news(
    instance: dg.DagsterInstance,
    streams: Sequence[Stream],
    last: SensorCursor,
    newest: dict[str, str],
    now: datetime,
) -> bool:
    if newest != last.newest or (last.again_at is not None and now >= last.again_at):
        return True
    ended = instance.get_run_records(
        # A run that ends while the ledger is being read is news.
        dg.RunsFilter(statuses=FINISHED_STATUSES, updated_after=last.at)
    )
    return any(_is_on(stream, record.dagster_run) for record in ended for stream in streams)


def _plan(  # noqa: PLR0913, PLR0917 - each is a source of its own, and one caller has them all
    instance: dg.DagsterInstance,
    settings: Settings,
    streams: Sequence[Stream],
    lake: Lake,
    ledger: Warehouse,
    now: datetime,
) -> tuple[list[HealRequest], list[str], datetime | None]:
    """What to launch, why the rest has to wait, and until when."""
    unfinished = [
        record.dagster_run
        for record in instance.get_run_records(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
    ]
    calls = calls_left(
        configured_plan(os.environ),
        present_budget(settings, os.environ, lake, instance, streams),
    )
    calls -= sum(
        len(coins_of_run(stream, run))
        for stream in streams
        for run in unfinished
        if HEAL_TAG in run.tags
    )
    if calls <= 0:
        return [], ["The budget leaves healing no call now."], now + _RECHECK_AFTER
    backfilled = _backfilled(instance, streams)
    launched: list[HealRequest] = []
    reasons: list[str] = []
    waits: list[datetime] = []
    for stream in streams:
        due = []
        for gap in find_gaps(ledger, stream, instance, now):
            at = gap.retry_due_at
            if at is not None and at <= now:
                due.append(gap)
            elif at is not None:
                waits.append(at)
        if due and stream in backfilled:
            reasons.append(f"A backfill of {stream.name} is under way.")
            waits.append(now + _RECHECK_AFTER)
            continue
        busy = _busy(stream, unfinished)
        chosen, lacking = select_requests(plan_requests(stream, due, now), busy, calls)
        launched += chosen
        calls -= sum(request.calls for request in chosen)
        if lacking:
            reasons.append(f"{lacking} calls of {stream.name} do not fit into the budget now.")
            waits.append(now + _RECHECK_AFTER)
        elif due and not chosen:
            reasons.append(f"Runs on the same windows of {stream.name} are under way.")
    again_at = min(waits, default=None)
    if not reasons:
        reasons.append(
            f"The next attempt is due at {again_at:%Y-%m-%d %H:%M} UTC."
            if again_at
            else "Nothing lacks a price that may yet be had."
        )
    return launched, reasons, again_at


def calls_left(plan: Plan, budget: MonthBudget) -> int:
    """How many calls healing may make now.

    Those of half an hour, and no more than the schedules leave of the month's credits.

    Args:
        plan: The price API's plan.
        budget: The month's budget, with what the schedules will need of it.
    """
    at_once = plan.calls_a_minute * _MAX_CALL_MINUTES
    if budget.monthly_credits is None:
        return at_once
    return max(0, min(at_once, budget.monthly_credits - budget.forecast))


def _run_request(request: HealRequest) -> dg.RunRequest:
    stream = request.stream
    first, last = request.partition_range
    return dg.RunRequest(
        job_name=stream.name,
        asset_selection=[dg.AssetKey([stream.name, stage]) for stage in STAGES],
        run_config=raw_prices_config(stream, request.coins),
        tags={
            ASSET_PARTITION_RANGE_START_TAG: first,
            ASSET_PARTITION_RANGE_END_TAG: last,
            HEAL_TAG: str(request.number),
        },
    )


def _is_on(stream: Stream, run: dg.DagsterRun) -> bool:
    """Whether a run materializes assets of a stream, from whatever job."""
    return _concerns(stream, run.job_name, run.asset_selection)


def _concerns(stream: Stream, job: str | None, assets: Collection[dg.AssetKey] | None) -> bool:
    return job == stream.name or any(key.path[0] == stream.name for key in assets or ())


def _backfilled(instance: dg.DagsterInstance, streams: Sequence[Stream]) -> list[Stream]:
    """The streams that a backfill works on."""
    requested = backfill.BulkActionsFilter(statuses=[backfill.BulkActionStatus.REQUESTED])
    return [
        stream
        for one in instance.get_backfills(filters=requested)
        for stream in streams
        if _concerns(stream, one.job_name, one.asset_selection)
    ]


def _busy(stream: Stream, runs: Sequence[dg.DagsterRun]) -> list[Window]:
    """The stretches of time that runs on a stream are about."""
    return [
        about for run in runs if _is_on(stream, run) and (about := range_of_run(stream, run.tags))
    ]
