"""The sensor that turns what goes wrong into alerts; ``delivery`` is what it does."""

import os
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from crypto_platform.alerts.channels import AlertChannel
from crypto_platform.core.lazy import lazy_import
from crypto_platform.core.redaction import Secrets
from crypto_platform.core.settings import Settings

if TYPE_CHECKING:
    from crypto_platform.alerts import delivery, event_reader, messages
else:
    delivery = lazy_import("crypto_platform.alerts.delivery")
    event_reader = lazy_import("crypto_platform.alerts.event_reader")
    messages = lazy_import("crypto_platform.alerts.messages")

# A tick that Dagster gave up on may still be sending.
_ONE_AT_A_TIME = threading.Lock()


def build_alerts_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor, which runs by default; ``settings`` say where the UI is that messages link to."""

    @dg.sensor(
        name="alerts",
        description=(
            "Sends one message an incident: failed runs, failed ERROR checks, stale assets and "
            "schedules that did not tick; and one when it is over."
        ),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alerts_sensor(context: dg.SensorEvaluationContext, alerts: AlertChannel) -> dg.SkipReason:
        if context.repository_def is None:
            raise dg.DagsterInvariantViolationError("The sensor runs within a code location only.")
        origin = context.code_location_origin
        reader = event_reader.EventReader(
            context.instance,
            context.repository_def,
            now=datetime.now(UTC),
            location=origin.location_name if origin else None,
        )
        formatter = messages.MessageFormatter(settings.dagster_ui_url, Secrets.of(os.environ))
        if not _ONE_AT_A_TIME.acquire(blocking=False):
            return dg.SkipReason("The tick before this one is still sending.")
        try:
            sent, state = delivery.watch_instance(reader, alerts, formatter, context.cursor)
        finally:
            _ONE_AT_A_TIME.release()
        context.update_cursor(delivery.cursor_of(state))
        waiting = f", {len(state.unsent)} wait for a later tick" if state.unsent else ""
        return dg.SkipReason(
            f"{len(sent)} alert(s) sent to {alerts.place}{waiting}; "
            f"{len(state.incidents)} incident(s) open."
        )

    return alerts_sensor
