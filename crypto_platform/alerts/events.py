"""What happened in a Dagster instance, as values: runs, checks, backfills, freshness, schedules."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, PlainSerializer

UNPARTITIONED = ""
"""Stands for the partition of what has none."""

NO_STREAM = "platform"
"""The stream of an alert that is about none, or about both."""

WITHIN = "/"
"""Stands between a partition and what of it a check names, as in ``2026-01-02/bitcoin``."""

Partitions = Annotated[frozenset[str], PlainSerializer(sorted)]

Affected = dict[str, Partitions]
"""Partitions of assets, checks and the like, by their names; of checks coins within these too."""


class CheckEvaluated(BaseModel, frozen=True):
    """An evaluation of an asset check.

    Attributes:
        identity: Tells this evaluation from every other.
        at: When it was evaluated.
        check: The check, as ``asset/key:name``.
        passed: Whether it passed.
        is_error: Whether its severity is ERROR; WARN only informs.
        partitions: The partitions that it looked at.
        at_fault: What failed: some of them as a whole, or coins within, as in
            ``2026-01-02/bitcoin``; none where it does not say.
        description: What it found.
        what_to_do: What it says to do about it, if anything.
        run_id: The run that it was part of, if of any.
        backfill: The backfill that the run was part of.
    """

    identity: str
    at: AwareDatetime
    check: str
    passed: bool
    is_error: bool
    partitions: Partitions
    at_fault: Partitions = frozenset()
    description: str = ""
    what_to_do: str = ""
    run_id: str | None = None
    backfill: str | None = None

    @property
    def is_broken(self) -> bool:
        """Whether it shows a problem, and not only a warning."""
        return self.is_error and not self.passed


class RunEnded(BaseModel, frozen=True):
    """A run that succeeded or failed; one that a person canceled is none of our business.

    Attributes:
        run_id: The run.
        at: When it ended.
        job: Its job.
        succeeded: Whether it succeeded.
        will_retry: Whether Dagster launches it once more.
        heals: Whether healing launched it, which retries; a check says when it gave up.
        root_run: The run that this one is a retry of, or itself.
        backfill: The backfill that it is part of.
        partitions: Its partitions.
        done: What it materialized, less what the failed steps did.
        broken: What it was to materialize and did not.
        failed: What failed, in words: the assets or ops whose steps did.
        cause: Why, from the root outwards.
        checks: The last evaluation of each of its checks.
    """

    run_id: str
    at: AwareDatetime
    job: str
    succeeded: bool
    will_retry: bool = False
    heals: bool = False
    root_run: str | None = None
    backfill: str | None = None
    partitions: Partitions = frozenset()
    done: Affected = {}
    broken: Affected = {}
    failed: tuple[str, ...] = ()
    cause: str = ""
    checks: tuple[CheckEvaluated, ...] = ()


class BackfillFailed(BaseModel, frozen=True):
    """A backfill that Dagster gave up on by itself; the runs that it launched end on their own.

    Attributes:
        backfill: The backfill.
        at: When it ended.
        affected: What it was to materialize.
        cause: Why, from the root outwards.
    """

    backfill: str
    at: AwareDatetime
    affected: Affected
    cause: str


class FreshnessChanged(BaseModel, frozen=True):
    """An asset's freshness as Dagster evaluates it: ``PASS``, ``WARN``, ``FAIL`` and others."""

    identity: str
    at: AwareDatetime
    asset: str
    state: str


class ScheduleEvaluated(BaseModel, frozen=True):
    """How a schedule kept its times.

    Attributes:
        at: When it was evaluated.
        schedule: Its name.
        stream: The stream that it materializes.
        missed: Times that were due and did not come, or came too late.
        ticking: Whether the newest time that was due came after all.
        error: What its evaluation raised, if that is why.
    """

    at: AwareDatetime
    schedule: str
    stream: str = NO_STREAM
    missed: tuple[AwareDatetime, ...] = ()
    ticking: bool = False
    error: str = ""


Event = RunEnded | BackfillFailed | CheckEvaluated | FreshnessChanged | ScheduleEvaluated
