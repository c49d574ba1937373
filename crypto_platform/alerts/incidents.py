"""Which troubles are one incident, which are news, and when an incident is over. Pure.

A trouble joins an open incident in silence where it shares an asset and partition, a backfill or a
retried run with it, and opens one otherwise; an incident is over, and says so once, when all that
it left broken has been mended.

A check says again each time what it found before, so of its troubles only that joins in silence
which is known: the partitions and coins that no open incident has are one of their own.
"""

from collections.abc import Iterable, Sequence

from crypto_platform.alerts.messages import Alert, Incident, Voice
from crypto_platform.alerts.problems import (
    AT_FAULT,
    Affected,
    Event,
    Kind,
    Mended,
    Trouble,
    describe_partitions,
    lies_in,
    listed,
    readings,
)


def follow(
    incidents: Sequence[Incident], event: Event, voice: Voice
) -> tuple[list[Incident], list[Alert]]:
    """Take an event into account.

    Args:
        incidents: The open ones, the oldest first.
        event: What happened.
        voice: How to say it.

    Returns:
        The incidents that are open afterwards, and the messages that the event is worth.
    """
    still_open, alerts = list(incidents), []
    for reading in readings(event):
        if isinstance(reading, Mended):
            still_open, told = _mend(still_open, reading, voice)
            alerts += told
        else:
            still_open, told = _tell(still_open, reading, voice)
            alerts += told
    return still_open, alerts


def _mend(
    incidents: Sequence[Incident], mended: Mended, voice: Voice
) -> tuple[list[Incident], list[Alert]]:
    still_open, alerts = [], []
    held = _held(incidents, mended.kind, mended.affected)
    for incident in incidents:
        left = (
            _less(incident.affected, mended, held)
            if incident.kind == mended.kind
            else incident.affected
        )
        if left:
            still_open.append(incident.model_copy(update={"affected": left}))
        else:
            alerts.append(voice.recovered(incident, mended))
    return still_open, alerts


def _less(affected: Affected, mended: Mended, held: Affected) -> Affected:
    """What of an incident is still broken, given what all incidents of its kind hold."""
    left = {}
    for thing, keys in affected.items():
        looked_at = mended.affected.get(thing)
        if looked_at is None:
            left[thing] = keys
            continue
        broken = mended.but.get(thing, frozenset())
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


def _tell(
    incidents: Sequence[Incident], trouble: Trouble, voice: Voice
) -> tuple[list[Incident], list[Alert]]:
    """Have a trouble join open incidents, or open one where it is news."""
    new = _news(incidents, trouble)
    joined = _joined(incidents, new)
    still_open = []
    for place, incident in enumerate(incidents):
        if place == joined:
            still_open.append(_with(incident, new))
        elif incident.kind == trouble.kind and _is_in(incident.affected, trouble.affected):
            still_open.append(_seen_again(incident, trouble))
        else:
            still_open.append(incident)
    if joined is not None or not new.affected:
        return still_open, []
    return [*still_open, _opened(new)], [voice.opened(new)]


def _news(incidents: Sequence[Incident], trouble: Trouble) -> Trouble:
    """What of a trouble no open incident has told; each evaluation of a check says all again."""
    if trouble.kind != "check_failed":
        return trouble
    held = _held(incidents, trouble.kind, trouble.affected)
    new, known = {}, frozenset[str]()
    for thing, keys in trouble.affected.items():
        told = frozenset(key for key in keys if lies_in(key, held.get(thing, frozenset())))
        known |= told
        if keys - told:
            new[thing] = keys - told
    if not known:
        return trouble
    rest = frozenset[str]().union(*new.values())
    facts = {
        **trouble.facts,
        AT_FAULT: listed(rest),
        "Known already, from open incidents": describe_partitions(known),
    }
    return trouble.model_copy(
        update={"affected": new, "where": describe_partitions(rest), "facts": facts}
    )


def _is_in(affected: Affected, wider: Affected) -> bool:
    """Whether some of what is affected is in what else is."""
    return any(
        lies_in(key, wider.get(thing, frozenset()))
        for thing, keys in affected.items()
        for key in keys
    )


def _joined(incidents: Sequence[Incident], trouble: Trouble) -> int | None:
    """The place of the incident that a trouble belongs to, if to any."""
    for place, incident in enumerate(incidents):
        if incident.kind == trouble.kind and (
            incident.lineage & trouble.lineage or _is_in(trouble.affected, incident.affected)
        ):
            return place
    return None


def _opened(trouble: Trouble) -> Incident:
    return Incident(
        identity=trouble.identity,
        kind=trouble.kind,
        title=trouble.title,
        stream=trouble.stream,
        opened_at=trouble.at,
        seen_at=trouble.at,
        affected=trouble.affected,
        lineage=trouble.lineage,
    )


def _with(incident: Incident, trouble: Trouble) -> Incident:
    things = incident.affected.keys() | trouble.affected.keys()
    return _seen_again(incident, trouble).model_copy(
        update={
            "affected": {
                thing: incident.affected.get(thing, frozenset())
                | trouble.affected.get(thing, frozenset())
                for thing in sorted(things)
            },
            "lineage": incident.lineage | trouble.lineage,
        }
    )


def _seen_again(incident: Incident, trouble: Trouble) -> Incident:
    return incident.model_copy(update={"seen_at": trouble.at, "joined": incident.joined + 1})
