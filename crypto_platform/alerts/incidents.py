"""Which troubles are one incident, which are news, and when an incident is over. Pure.

A trouble joins an open incident in silence where it shares an asset and partition, a backfill or a
retried run with it, and opens one otherwise; an incident is over, and says so once, when all that
it left broken has been mended.

A check says again each time what it found before, so of its troubles only that joins in silence
which is known: the partitions and coins that no open incident has are one of their own.
"""

from collections.abc import Iterable, Sequence

from crypto_platform.alerts.messages import Alert, Incident, MessageFormatter
from crypto_platform.alerts.problems import (
    AT_FAULT,
    Affected,
    Event,
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
    for interpreted in interpret(event):
        if isinstance(interpreted, Resolution):
            still_open, told = _resolve(still_open, interpreted, formatter)
            alerts += told
        else:
            still_open, told = _report(still_open, interpreted, formatter)
            alerts += told
    return still_open, alerts


def _resolve(
    incidents: Sequence[Incident], resolution: Resolution, formatter: MessageFormatter
) -> tuple[list[Incident], list[Alert]]:
    still_open, alerts = [], []
    held = _held(incidents, resolution.kind, resolution.affected)
    for incident in incidents:
        left = (
            _less(incident.affected, resolution, held)
            if incident.kind == resolution.kind
            else incident.affected
        )
        if left:
            still_open.append(incident.model_copy(update={"affected": left}))
        else:
            alerts.append(formatter.recovered(incident, resolution))
    return still_open, alerts


def _less(affected: Affected, resolution: Resolution, held: Affected) -> Affected:
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
    """Have a trouble join open incidents, or open one where it is news."""
    new = _news(incidents, problem)
    joined = _joined(incidents, new)
    still_open = []
    for place, incident in enumerate(incidents):
        if place == joined:
            still_open.append(_with(incident, new))
        elif incident.kind == problem.kind and _is_in(incident.affected, problem.affected):
            still_open.append(_seen_again(incident, problem))
        else:
            still_open.append(incident)
    if joined is not None or not new.affected:
        return still_open, []
    return [*still_open, _opened(new)], [formatter.opened(new)]


def _news(incidents: Sequence[Incident], problem: Problem) -> Problem:
    """What of a trouble no open incident has told; each evaluation of a check says all again."""
    if problem.kind != "check_failed":
        return problem
    held = _held(incidents, problem.kind, problem.affected)
    new, known = {}, frozenset[str]()
    for thing, keys in problem.affected.items():
        told = frozenset(key for key in keys if lies_in(key, held.get(thing, frozenset())))
        known |= told
        if keys - told:
            new[thing] = keys - told
    if not known:
        return problem
    rest = frozenset[str]().union(*new.values())
    facts = {
        **problem.facts,
        AT_FAULT: listed(rest),
        "Known already, from open incidents": describe_partitions(known),
    }
    return problem.model_copy(
        update={"affected": new, "where": describe_partitions(rest), "facts": facts}
    )


def _is_in(affected: Affected, wider: Affected) -> bool:
    """Whether some of what is affected is in what else is."""
    return any(
        lies_in(key, wider.get(thing, frozenset()))
        for thing, keys in affected.items()
        for key in keys
    )


def _joined(incidents: Sequence[Incident], problem: Problem) -> int | None:
    """The place of the incident that a trouble belongs to, if to any."""
    for place, incident in enumerate(incidents):
        if incident.kind == problem.kind and (
            incident.correlation_keys & problem.correlation_keys
            or _is_in(problem.affected, incident.affected)
        ):
            return place
    return None


def _opened(problem: Problem) -> Incident:
    return Incident(
        identity=problem.identity,
        kind=problem.kind,
        title=problem.title,
        stream=problem.stream,
        opened_at=problem.at,
        seen_at=problem.at,
        affected=problem.affected,
        correlation_keys=problem.correlation_keys,
    )


def _with(incident: Incident, problem: Problem) -> Incident:
    things = incident.affected.keys() | problem.affected.keys()
    return _seen_again(incident, problem).model_copy(
        update={
            "affected": {
                thing: incident.affected.get(thing, frozenset())
                | problem.affected.get(thing, frozenset())
                for thing in sorted(things)
            },
            "lineage": incident.correlation_keys | problem.correlation_keys,
        }
    )


def _seen_again(incident: Incident, problem: Problem) -> Incident:
    return incident.model_copy(update={"seen_at": problem.at, "joined": incident.joined + 1})
