"""Why a run failed, in words: the root cause first."""

from collections.abc import Iterable
from typing import Any

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

_WRAPPERS = ("DagsterExecutionStepExecutionError",)


def root_cause(entry: dg.EventLogEntry, steps: Iterable[dg.EventLogEntry]) -> str:
    """Why a run failed: what its steps raised, or else what Dagster says of the run.

    Args:
        entry: The event of the run's failure.
        steps: The events of its steps' failures.
    """
    causes = []
    for step in steps:
        failure: Any = step.get_dagster_event().event_specific_data
        if failure.error:
            causes.append(error_chain(failure.error))
    if causes:
        return "\n\n".join(dict.fromkeys(causes))
    event = entry.get_dagster_event()
    data: Any = event.event_specific_data
    error = getattr(data, "error", None)
    return error_chain(error) if error else event.message or ""


def error_chain(error: SerializableErrorInfo) -> str:
    """An error and what led to it, from the root outwards, without Dagster's own wrapping."""
    chain: list[SerializableErrorInfo] = []
    at: SerializableErrorInfo | None = error
    while at is not None:
        chain.append(at)
        at = at.cause or at.context
    links = [link for link in chain if link.cls_name not in _WRAPPERS] or chain
    return "\nwhich led to: ".join(dict.fromkeys(link.message.strip() for link in reversed(links)))
