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

A message that cannot be delivered has attempts and pauses of its own, and holds up only what
follows on the same incident; after the last attempt it is put aside. Those are in the document,
too.

Dagster's own cursor only repeats the place, for where the document was lost.
"""

import json
import time
from datetime import datetime

from crypto_platform.alerts.channels import AlertChannel, AlertNotSentError
from crypto_platform.alerts.event_reader import EventReader
from crypto_platform.alerts.incidents import update_incidents
from crypto_platform.alerts.messages import (
    FORGET_AFTER,
    MAX_ATTEMPTS,
    Alert,
    AlertState,
    FailedDelivery,
    MessageFormatter,
    UndeliverableAlert,
)

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
        AlertNotSentError: Messages could not be delivered; says which, and what becomes of them.
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
        update={
            "incidents": tuple(incidents),
            "unsent": tuple(unsent),
            "put_aside": tuple(
                one for one in before.put_aside if one.alert.at > reader.now - FORGET_AFTER
            ),
            "updated_at": reader.now,
        }
    )
    if remembered is None or state != remembered.model_copy(update={"updated_at": reader.now}):
        channel.write_state(reader.instance_id, state)
    sent: list[Alert] = []
    refused: list[str] = []
    held_up: set[str] = set()
    stop_at = time.monotonic() + SEND_FOR_SECONDS
    for alert in state.unsent:
        delivery = state.failed_deliveries.get(alert.alert_id)
        paused = delivery is not None and delivery.next_at > reader.now
        if paused or _incident(alert) in held_up or time.monotonic() >= stop_at:
            held_up.add(_incident(alert))
            continue
        try:
            channel.send(alert)
        except Exception as error:  # noqa: BLE001 - whatever one message is refused for
            state, said = _refused(state, alert, str(error) or type(error).__name__, reader.now)
            held_up.add(_incident(alert))
            refused.append(said)
        else:
            sent.append(alert)
            state = _without(state, alert)
        channel.write_state(reader.instance_id, state)
    if refused:
        raise AlertNotSentError("\n".join(refused))
    return sent, state


def _incident(alert: Alert) -> str:
    """What the messages on one incident share."""
    return alert.alert_id.rpartition("/")[0]


def _without(state: AlertState, alert: Alert) -> AlertState:
    """What is remembered once a message need not be sent any more."""
    return state.model_copy(
        update={
            "unsent": tuple(one for one in state.unsent if one.alert_id != alert.alert_id),
            "failed_deliveries": {
                alert_id: delivery
                for alert_id, delivery in state.failed_deliveries.items()
                if alert_id != alert.alert_id
            },
        }
    )


def _refused(state: AlertState, alert: Alert, reason: str, now: datetime) -> tuple[AlertState, str]:
    """What is remembered after an attempt that failed, and what there is to say of it."""
    before = state.failed_deliveries.get(alert.alert_id)
    delivery = FailedDelivery.after(before, reason, now)
    if delivery.attempts < MAX_ATTEMPTS:
        deliveries = {**state.failed_deliveries, alert.alert_id: delivery}
        what_next = f"It is tried again at {delivery.next_at:%Y-%m-%d %H:%M:%S} UTC."
        kept = state.model_copy(update={"failed_deliveries": deliveries})
    else:
        aside = UndeliverableAlert(alert=alert, delivery=delivery)
        what_next = "It is put aside: crypto-platform alerts shows it."
        kept = _without(state, alert).model_copy(update={"put_aside": (*state.put_aside, aside)})
    return kept, (
        f"{alert.subject!r} failed its attempt {delivery.attempts} of {MAX_ATTEMPTS}: {reason} "
        f"{what_next}"
    )


def cursor_of(state: AlertState) -> str:
    """The place in the event log that a tick came to, as Dagster's cursor keeps it."""
    return state.model_dump_json(include={"run_events", "other_events"})
