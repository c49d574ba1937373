"""Failures as Dagster sees them."""

import dagster as dg


class PermanentFailure(dg.Failure):
    """A failure that trying again cannot heal: a retry policy lets it stand.

    Args:
        message: What happened, to which coin and window, and what to do.
    """

    def __init__(self, message: str) -> None:
        """See the class."""
        super().__init__(description=message, allow_retries=False)
