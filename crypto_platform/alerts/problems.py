"""What an event leaves broken or resolves. Pure.

A problem says what has to be resolved before it is over, so that ``incidents`` can tell what is new
and what has ended.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import AwareDatetime, BaseModel

from crypto_platform.alerts.events import (
    NO_STREAM,
    UNPARTITIONED,
    WITHIN,
    Affected,
    BackfillFailed,
    CheckEvaluated,
    Event,
    FreshnessChanged,
    RunEnded,
    ScheduleEvaluated,
)
from crypto_platform.core.streams import STREAMS

Kind = Literal["run_failed", "check_failed", "freshness_failed", "schedule_missed"]

RUNBOOK: Mapping[Kind, str] = {
    "run_failed": (
        "Open the run. If the cause names what to do, do that; then materialize the same "
        "partitions again, which is safe at any time."
    ),
    "check_failed": (
        "Open the asset's Checks tab: the result names partitions and coins at fault. "
        "docs/checks.md says what to do about each."
    ),
    "freshness_failed": (
        "Look whether its schedule runs and whether its last runs failed, then materialize the "
        "newest partition."
    ),
    "schedule_missed": (
        "Look whether the daemon runs and the schedule is on. Materialize the windows that it "
        "did not launch."
    ),
}
"""What a person does about each kind of alert; docs/runbook.md says more."""


_WHOLE = frozenset({UNPARTITIONED})


_FEW = 3

AT_FAULT = "At fault"
"""The heading of the fact that lists what a check found at fault."""


class Problem(BaseModel, frozen=True):
    """What an event shows to be broken.

    Attributes:
        kind: The kind of alert.
        identity: Tells this problem from every other; the same event gives the same.
        at: When it happened.
        affected: What has to be resolved before it is over.
        correlation_keys: What else it belongs to, such as a backfill.
        what: What failed, in a few words.
        where: In which partitions or coins, in a few words.
        stream: The stream that it is about.
        facts: What a person wants to know, by heading.
        path: Where the UI shows it.
        what_to_do: What they do about it, where it is more specific than ``RUNBOOK``.
    """

    kind: Kind
    identity: str
    at: AwareDatetime
    affected: Affected
    correlation_keys: frozenset[str] = frozenset()
    what: str
    where: str = ""
    stream: str
    facts: dict[str, str]
    path: str
    what_to_do: str = ""

    @property
    def title(self) -> str:
        """What failed where, in one line."""
        return f"{self.what}: {self.where}" if self.where else self.what


class Resolution(BaseModel, frozen=True):
    """What an event shows to be in order (again).

    Attributes:
        kind: The kind of alert that it ends.
        at: When it happened.
        affected: What was looked at.
        but: What of it is broken all the same.
        by: What resolved it, in words.
        path: Where the UI shows it.
    """

    kind: Kind
    at: AwareDatetime
    affected: Affected
    but: Affected = {}
    by: str
    path: str


def interpret(event: Event) -> list[Problem | Resolution]:
    """The problems that an event opens and those it resolves; resolutions come first."""
    match event:
        case RunEnded():
            return _of_run(event)
        case BackfillFailed():
            return [_of_backfill(event)]
        case CheckEvaluated():
            return _of_check(event)
        case FreshnessChanged():
            return _of_freshness(event)
        case ScheduleEvaluated():
            return _of_schedule(event)


def describe_partitions(partitions: Iterable[str]) -> str:
    """Partitions and coins in a few words: their keys, or how many from which to which."""
    named = [key for key in partitions if key != UNPARTITIONED]
    keys = sorted(key.removeprefix(WITHIN) for key in named)
    if len(keys) <= _FEW:
        return ", ".join(keys)
    if any(WITHIN in key for key in named):
        # From one coin to another is no range that anybody knows.
        return f"{len(keys)}, such as {', '.join(keys[:_FEW])}"
    return f"{len(keys)} from {keys[0]} to {keys[-1]}"


def stream_of(names: Iterable[str]) -> str:
    """The one stream that assets, jobs or checks belong to, by their names; else ``platform``."""
    streams = {
        stream.name
        for stream in STREAMS
        for name in names
        if name == stream.name or name.startswith((f"{stream.name}/", f"{stream.name}_"))
    }
    return streams.pop() if len(streams) == 1 else NO_STREAM


def _of_run(run: RunEnded) -> list[Problem | Resolution]:
    path = f"/runs/{run.run_id}"
    where = describe_partitions(run.partitions)
    # A job that materializes nothing is resolved by its own success.
    whole = {f"job {run.job}": run.partitions or _WHOLE}
    found: list[Problem | Resolution] = [
        Resolution(
            kind="run_failed",
            at=run.at,
            affected={**run.done, **(whole if run.succeeded else {})},
            by=f"run {run.run_id} of {run.job}",
            path=path,
        )
    ]
    of_checks = [one for check in run.checks for one in _of_check(check)]
    if run.succeeded:
        return found + of_checks
    # A run that failed is one message, which names its failed checks.
    found += [one for one in of_checks if isinstance(one, Resolution)]
    if run.will_retry or run.heals:
        return found
    what = ", ".join(run.failed) or run.job
    facts = {
        "What failed": f"{what}, in run {run.run_id} of {run.job}",
        "Partitions": where or "none",
        "Cause": run.cause or "Dagster names none; see the run.",
    }
    if broken := [check for check in run.checks if check.is_broken]:
        facts["Failed checks"] = "\n".join(f"{one.check}: {one.description}" for one in broken)
    correlation_keys = {f"run {run.root_run or run.run_id}"}
    if run.backfill:
        facts["Backfill"] = f"{run.backfill}; more failures of it bring no message of their own"
        correlation_keys.add(f"backfill {run.backfill}")
    problem = Problem(
        kind="run_failed",
        identity=f"run_failed/{run.run_id}",
        at=run.at,
        affected=run.broken or whole,
        correlation_keys=frozenset(correlation_keys),
        what=f"{what} failed",
        where=where,
        stream=stream_of([*run.failed, *run.broken, run.job]),
        facts=facts,
        path=path,
    )
    return [*found, problem]


def _of_backfill(failed: BackfillFailed) -> Problem:
    where = describe_partitions(frozenset().union(*failed.affected.values()))
    name = f"backfill {failed.backfill}"
    return Problem(
        kind="run_failed",
        identity=f"run_failed/{name}",
        at=failed.at,
        affected=failed.affected or {name: _WHOLE},
        correlation_keys=frozenset({name}),
        what=f"{name} failed",
        where=where,
        stream=stream_of(failed.affected),
        facts={
            "What failed": f"the {name} of {', '.join(sorted(failed.affected))}",
            "Partitions": where or "none",
            "Cause": failed.cause,
        },
        path=f"/runs/b/{failed.backfill}",
    )


def _of_check(check: CheckEvaluated) -> list[Problem | Resolution]:
    asset, _, name = check.check.rpartition(":")
    path = f"/runs/{check.run_id}" if check.run_id else f"/assets/{asset}?view=checks"
    partitions = check.partitions or _WHOLE
    # All of the partitions that were looked at, where it does not say which failed.
    at_fault = frozenset(key for key in check.at_fault if lies_in(key, partitions)) or partitions
    # A warning only informs: it ends an incident, so that the next error begins one.
    faults = at_fault if check.is_broken else frozenset()
    outcome = "passed" if check.passed else "is down to a warning"
    if check.is_broken:
        outcome = "does not name it any more"
    resolution = Resolution(
        kind="check_failed",
        at=check.at,
        affected={check.check: partitions},
        but={check.check: faults},
        by=f"the check {outcome}" + (f", in run {check.run_id}" if check.run_id else ""),
        path=path,
    )
    if not check.is_broken:
        return [resolution]
    backfill = f"backfill {check.backfill} {check.check}" if check.backfill else None
    problem = Problem(
        kind="check_failed",
        identity=f"check_failed/{check.identity}",
        at=check.at,
        affected={check.check: faults},
        correlation_keys=frozenset({backfill} if backfill else ()),
        what=f"check {name} of {asset} failed",
        where=describe_partitions(faults),
        stream=stream_of([asset]),
        facts={
            "What failed": f"the check {name} of {asset}",
            AT_FAULT: listed(faults),
            "Cause": check.description or "The check gives no description; see its metadata.",
        },
        path=path,
        what_to_do=check.what_to_do,
    )
    return [resolution, problem]


def _of_freshness(change: FreshnessChanged) -> list[Problem | Resolution]:
    affected = {change.asset: _WHOLE}
    path = f"/assets/{change.asset}"
    if change.state == "FAIL":
        return [
            Problem(
                kind="freshness_failed",
                identity=f"freshness_failed/{change.asset}/{change.identity}",
                at=change.at,
                affected=affected,
                what=f"{change.asset} is stale",
                stream=stream_of([change.asset]),
                facts={
                    "What failed": f"the freshness policy of {change.asset}",
                    "Cause": "No materialization came in the time that the policy allows.",
                },
                path=path,
            )
        ]
    # WARN after FAIL is still on the way back.
    resolved = {"PASS": "it is fresh", "NOT_APPLICABLE": "it has no freshness policy any more"}
    if by := resolved.get(change.state):
        return [
            Resolution(kind="freshness_failed", at=change.at, affected=affected, by=by, path=path)
        ]
    return []


def _of_schedule(evaluated: ScheduleEvaluated) -> list[Problem | Resolution]:
    affected = {evaluated.schedule: _WHOLE}
    path = "/automation"
    found: list[Problem | Resolution] = []
    if evaluated.missed:
        times = [f"{time:%Y-%m-%d %H:%M}" for time in evaluated.missed]
        found.append(
            Problem(
                kind="schedule_missed",
                identity=f"schedule_missed/{evaluated.schedule}/{times[0]}",
                at=evaluated.at,
                affected=affected,
                what=f"{evaluated.schedule} did not tick",
                where=f"{describe_partitions(times)} UTC",
                stream=evaluated.stream,
                facts={
                    "What failed": f"the schedule {evaluated.schedule}",
                    "Times that did not come, or too late (UTC)": describe_partitions(times),
                    "Cause": evaluated.error
                    or "The daemon was off, the code could not be loaded, or the machine slept.",
                },
                path=path,
            )
        )
    if evaluated.ticking:
        by = "the schedule ticks again, or was switched off"
        found.append(
            Resolution(kind="schedule_missed", at=evaluated.at, affected=affected, by=by, path=path)
        )
    return found


def listed(faults: frozenset[str]) -> str:
    """All coins by their names; of partitions alone, the range says as much."""
    if any(WITHIN in key for key in faults):
        return ", ".join(sorted(key.removeprefix(WITHIN) for key in faults))
    return describe_partitions(faults) or "all of it"


def lies_in(key: str, wider: frozenset[str]) -> bool:
    """Whether something is among other things, or within one of them.

    Args:
        key: A partition, or a coin in one.
        wider: Partitions, and coins in them.
    """
    if key in wider or WITHIN not in key:
        return key in wider
    return lies_in(key.rpartition(WITHIN)[0], wider)
