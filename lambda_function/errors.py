"""What can go wrong: with an invocation as a whole, and with one request to the API.

An ``IngestionError`` leaves the handler. A ``RequestProblem`` never does: it becomes the reason
why a coin is absent, or why nothing was fetched.
"""

# ruff: noqa: N818 - these names are the handler's contract: its callers know a remote error by name

from typing import ClassVar


class IngestionError(Exception):
    """An invocation failed as a whole.

    Attributes:
        retryable: Whether the same event may succeed later without anyone changing anything.
    """

    retryable: ClassVar[bool] = False


class InvalidRequest(IngestionError):
    """The event, or what it makes the handler ask of the API, is wrong."""


class InvalidSettings(IngestionError):
    """An environment variable is wrong; the message names it."""


class BudgetExceeded(IngestionError):
    """The calls needed are more than the credits left; nothing was asked."""


class Unauthorized(IngestionError):
    """The API does not accept the key, or the plan."""


class Unreachable(IngestionError):
    """The API never responded."""

    retryable = True


class OutOfTime(IngestionError):
    """The time left was too short: for another attempt, or to handle anything at all.

    Attributes:
        attempts: How often a request had been made in vain when its time ran out.
    """

    retryable = True
    attempts: int = 0


class NothingFetched(IngestionError):
    """The API responded, and nothing that was asked for could be had."""


class NothingFetchedYet(NothingFetched):
    """Nothing could be had, at least in part for a reason that passes."""

    retryable = True


class RequestProblem(Exception):
    """One request that did not give data.

    Attributes:
        transient: Whether asking again may help.
        retry_after: Seconds the API asks to wait first, where it says so.
        body: The body, where a success carried one that cannot be used.
    """

    def __init__(
        self,
        reason: str,
        *,
        transient: bool = False,
        retry_after: float | None = None,
        body: bytes | None = None,
    ) -> None:
        super().__init__(reason)
        self.transient = transient
        self.retry_after = retry_after
        self.body = body


class NoResponse(RequestProblem):
    """The connection failed, broke or timed out."""


class RateLimited(RequestProblem):
    """Too many calls in a minute; concerns every thread that calls the API."""


class OutOfPlan(RequestProblem):
    """The API has what was asked for, and the plan does not include it."""
