"""Which problems are one incident, which are new, and when an incident is over. Pure.

A problem joins an open incident without a message where it shares an asset and partition, a
backfill or a retried run with it, and opens one otherwise. An incident is over, and that is one
message, when all that it left broken has been resolved.

A check reports each time what it found before, so of its problems only that joins which is known:
the partitions and coins that no open incident has are an incident of their own.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from crypto_platform.alerts.events import Affected, Event
from crypto_platform.alerts.messages import Alert, Incident, MessageFormatter
from crypto_platform.alerts.problems import (
    AT_FAULT,
    Kind,
    Problem,
    Resolution,
    describe_partitions,
    interpret,
    lies_in,
    listed,
)


def update_incidents(
    incidents: Sequence[Incident], event: Event, formatter: MessageFormatter
) -> tuple[list[Incident], list[Alert]]:
    """Take an event into account.

    Args:
        incidents: The open ones, the oldest first.
        event: What happened.
        formatter: How to say it.

    Returns:
        The incidents that are open afterwards, and the messages that the event is worth.
    """
    still_open, alerts = list(incidents), []
    for found in interpret(event):
        if isinstance(found, Resolution):
            still_open, more = _resolve(still_open, found, formatter)
        else:
            still_open, more = _report(still_open, found, formatter)
        alerts += more
    return still_open, alerts


def _resolve(
    incidents: Sequence[Incident], resolution: Resolution, formatter: MessageFormatter
) -> tuple[list[Incident], list[Alert]]:
    still_open, alerts = [], []
    held = _held(incidents, resolution.kind, resolution.affected)
    for incident in incidents:
        left = incident.affected
        if incident.kind == resolution.kind:
            left = _left(left, resolution, held)
        if left:
            still_open.append(incident.model_copy(update={"affected": left}))
        else:
            alerts.append(formatter.recovered(incident, resolution))
    return still_open, alerts


def _left(affected: Affected, resolution: Resolution, held: Affected) -> Affected:
    """What of an incident is still broken, given what all incidents of its kind hold."""
    left = {}
    for thing, keys in affected.items():
        looked_at = resolution.affected.get(thing)
        if looked_at is None:
            left[thing] = keys
            continue
        broken = resolution.but.get(thing, frozenset())
        kept = {key for key in keys if not lies_in(key, looked_at) or lies_in(key, broken)}
        # Of what was broken as a whole, the coins that are named now; older versions kept no coins.
        narrowed = {key for key in broken - held.get(thing, frozenset()) if lies_in(key, keys)}
        if kept | narrowed:
            left[thing] = frozenset(kept | narrowed)
    return left


def _held(incidents: Iterable[Incident], kind: Kind, things: Iterable[str]) -> Affected:
    """All that open incidents of a kind are about, of some things."""
    incidents = [incident for incident in incidents if incident.kind == kind]
    nothing = frozenset[str]()
    return {
        thing: nothing.union(*(incident.affected.get(thing, nothing) for incident in incidents))
        for thing in things
    }


def _report(
    incidents: Sequence[Incident], problem: Problem, formatter: MessageFormatter
) -> tuple[list[Incident], list[Alert]]:
    """Have a problem join open incidents, or open one where it is new."""
    new = _new(incidents, problem)
    joined = _joined(incidents, new)
    still_open = []
    for place, incident in enumerate(incidents):
        update: dict[str, Any] = {}
        if place == joined:
            update = {
                "affected": _both(incident.affected, new.affected),
                "correlation_keys": incident.correlation_keys | new.correlation_keys,
            }
        if update or (
            incident.kind == problem.kind and _is_in(incident.affected, problem.affected)
        ):
            update |= {"seen_at": problem.at, "joined": incident.joined + 1}
        still_open.append(incident.model_copy(update=update))
    if joined is not None or not new.affected:
        return still_open, []
    opened = Incident(
        identity=new.identity,
        kind=new.kind,
        title=new.title,
        stream=new.stream,
        opened_at=new.at,
        seen_at=new.at,
        affected=new.affected,
        correlation_keys=new.correlation_keys,
    )
    return [*still_open, opened], [formatter.opened(new)]


def _new(incidents: Sequence[Incident], problem: Problem) -> Problem:
    """What of a problem no open incident has; each evaluation of a check reports all again."""
    if problem.kind != "check_failed":
        return problem
    held = _held(incidents, problem.kind, problem.affected)
    known = {
        thing: frozenset(key for key in keys if lies_in(key, held[thing]))
        for thing, keys in problem.affected.items()
    }
    if not any(known.values()):
        return problem
    new = {
        thing: keys - known[thing]
        for thing, keys in problem.affected.items()
        if keys - known[thing]
    }
    faults = frozenset[str]().union(*new.values())
    facts = {
        **problem.facts,
        AT_FAULT: listed(faults),
        "Known already, from open incidents": describe_partitions(
            frozenset[str]().union(*known.values())
        ),
    }
    return problem.model_copy(
        update={"affected": new, "where": describe_partitions(faults), "facts": facts}
    )


def _is_in(affected: Affected, wider: Affected) -> bool:
    """Whether some of what is affected is in what else is."""
    return any(
        lies_in(key, wider.get(thing, frozenset()))
        for thing, keys in affected.items()
        for key in keys
    )


def _joined(incidents: Sequence[Incident], problem: Problem) -> int | None:
    """The place of the incident that a problem belongs to, if to any."""
    for place, incident in enumerate(incidents):
        if incident.kind == problem.kind and (
            incident.correlation_keys & problem.correlation_keys
            or _is_in(problem.affected, incident.affected)
        ):
            return place
    return None


def _both(one: Affected, other: Affected) -> Affected:
    nothing = frozenset[str]()
    return {
        thing: one.get(thing, nothing) | other.get(thing, nothing)
        for thing in sorted(one.keys() | other.keys())
    }
