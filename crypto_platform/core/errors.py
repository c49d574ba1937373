"""Failures as Dagster sees them, and what a person asked for that cannot be used."""

from collections.abc import Mapping
from typing import Any

import dagster as dg


class InvalidInputError(ValueError):
    """What a person gave cannot be used; the message says what would fit."""


class NothingThereError(InvalidInputError):
    """There is nothing to read where it was looked for; the message says where that was."""


class PermanentFailure(dg.Failure):
    """A failure that trying again cannot heal: a retry policy lets it stand.

    Args:
        message: What happened, to which coin and window, and what to do.
        metadata: What helps to find the cause, such as a log's last lines.
    """

    def __init__(self, message: str, metadata: Mapping[str, Any] | None = None) -> None:
        """See the class."""
        super().__init__(description=message, metadata=metadata, allow_retries=False)


class MixedSourcesError(PermanentFailure):
    """Simulated prices would stand beside real ones; nothing was changed."""


RETRIES = dg.RetryPolicy(
    max_retries=3, delay=30, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
"""How a step is tried again whose failure may heal by itself, such as a busy warehouse."""
