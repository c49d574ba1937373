"""The work of a tick of the alerts sensor: events are read, remembered and reported.

The sensor keeps a place of its own in the event log, because Dagster moves a run status sensor's
cursor on even where its body raised. What survives a kill stands in one document, replaced in one
step, beside the file of sent alerts or in the raw lake:

1. The events since the document's place are read and interpreted. Killed here: nothing happened
   yet, and the next tick reads the same events to the same messages.
2. The document is written, with the new place, the open incidents and the messages to send.
   Killed here: the next tick sends them.
3. Each message is sent, and then struck from the document. Killed between these two, the message
   is sent once more: nobody can tell whether it arrived, and twice is better than never. It has
   the same ``alert_id``, by which the file, and whoever reads the topic, knows it.

Dagster's own cursor only repeats the place, for where the document was lost.
"""

import json
import time

from crypto_platform.alerts.channels import AlertChannel
from crypto_platform.alerts.event_reader import EventReader
from crypto_platform.alerts.incidents import update_incidents
from crypto_platform.alerts.messages import FORGET_AFTER, Alert, AlertState, MessageFormatter

SEND_FOR_SECONDS = 20.0
"""How long a tick begins to send messages; Dagster gives it a minute in all."""


def watch_instance(
    reader: EventReader,
    channel: AlertChannel,
    formatter: MessageFormatter,
    cursor: str | None = None,
) -> tuple[list[Alert], AlertState]:
    """Take in what happened, remember it, and deliver what it is worth.

    Args:
        reader: Reads the instance.
        channel: Where messages go, and where it is remembered.
        formatter: How they are put into words.
        cursor: The place to begin at where nothing is remembered; the log's end if ``None``.

    Returns:
        The messages that were delivered, and what is remembered.

    Raises:
        AlertNotSentError: A message could not be delivered; it and those after it are kept.
    """
    remembered = channel.read_state(reader.instance_id)
    before = remembered or reader.beginning()
    if remembered is None and cursor:
        before = before.model_copy(update=json.loads(cursor))
    events, after = reader.since(before)
    incidents = [
        incident for incident in before.incidents if incident.seen_at > reader.now - FORGET_AFTER
    ]
    unsent = list(before.unsent)
    for event in events:
        incidents, alerts = update_incidents(incidents, event, formatter)
        unsent += alerts
    state = after.model_copy(
        update={"incidents": tuple(incidents), "unsent": tuple(unsent), "updated_at": reader.now}
    )
    if remembered is None or state != remembered.model_copy(update={"updated_at": reader.now}):
        channel.write_state(reader.instance_id, state)
    sent: list[Alert] = []
    stop_at = time.monotonic() + SEND_FOR_SECONDS
    while state.unsent and time.monotonic() < stop_at:
        channel.send(state.unsent[0])
        sent.append(state.unsent[0])
        state = state.model_copy(update={"unsent": state.unsent[1:]})
        channel.write_state(reader.instance_id, state)
    return sent, state


def cursor_of(state: AlertState) -> str:
    """The place in the event log that a tick came to, as Dagster's cursor keeps it."""
    return state.model_dump_json(include={"run_events", "other_events"})
