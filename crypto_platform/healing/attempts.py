"""Healing runs as Dagster keeps them: the coins and windows that each asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from crypto_platform.core.run_tags import HEAL_TAG
from crypto_platform.core.streams import Stream, Window

MAX_ATTEMPTS = 5
"""So many attempts last a day and a half, with the pauses of ``planner``."""


@dataclass(frozen=True)
class Attempt:
    """A healing run that has ended.

    Attributes:
        coins: The coins that it asked for.
        first: Start of its first window.
        last: Start of its last window.
        at: When it ended.
    """

    coins: frozenset[str]
    first: datetime
    last: datetime
    at: datetime


def raw_prices_config(stream: Stream, coins: Sequence[str]) -> dict[str, Any]:
    """The run configuration that restricts a stream's run to some coins.

    Args:
        stream: The stream.
        coins: Their ids.
    """
    return {"ops": {f"{stream.name}__raw_prices": {"config": {"coins": list(coins)}}}}


def coins_of_run(stream: Stream, run: dg.DagsterRun) -> list[str]:
    """The coins that a run is restricted to; none where it asks for all.

    Args:
        stream: The stream that the run is on.
        run: The run.
    """
    config: Any = run.run_config
    for part in ("ops", f"{stream.name}__raw_prices", "config"):
        config = config.get(part, {})
    coins: list[str] = config.get("coins", [])
    return coins


def range_of_run(stream: Stream, tags: Mapping[str, str]) -> Window | None:
    """The stretch of time that a run is about; ``None`` for no partition.

    Args:
        stream: The stream that the run is on.
        tags: The run's tags.
    """
    first = tags.get(ASSET_PARTITION_RANGE_START_TAG) or tags.get(PARTITION_NAME_TAG)
    last = tags.get(ASSET_PARTITION_RANGE_END_TAG) or first
    if first is None or last is None:
        return None
    return Window(start=stream.window(first).start, end=stream.window(last).end)


def past_attempts(stream: Stream, instance: dg.DagsterInstance) -> list[Attempt]:
    """The healing runs of a stream that have ended.

    Args:
        stream: The stream.
        instance: Dagster's instance.
    """
    records = instance.get_run_records(
        dg.RunsFilter(
            job_name=stream.name,
            statuses=[
                dg.DagsterRunStatus.SUCCESS,
                dg.DagsterRunStatus.FAILURE,
                dg.DagsterRunStatus.CANCELED,
            ],
            tags={HEAL_TAG: [str(number + 1) for number in range(MAX_ATTEMPTS)]},
        )
    )
    attempts = []
    for record in records:
        run = record.dagster_run
        if about := range_of_run(stream, run.tags):
            ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None
            attempts.append(
                Attempt(
                    coins=frozenset(coins_of_run(stream, run)),
                    first=about.start,
                    last=about.end - stream.window_length,
                    at=ended or record.update_timestamp.replace(tzinfo=UTC),
                )
            )
    return attempts
