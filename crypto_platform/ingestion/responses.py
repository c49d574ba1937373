"""The responses of the function that asks the price API, as Dagster's side reads them."""

from collections.abc import Sequence
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel

from crypto_platform.lake.manifests import AbsenceStatus


class WrittenObject(BaseModel, frozen=True):
    """A file that ingestion wrote.

    Attributes:
        uri: Where it is.
        rows: Lines of JSON: of prices one a coin a stretch of windows, of a snapshot one a coin.
        points: Prices in them; of a snapshot the coins.
        bytes: Size as stored, compressed.
        sha256: Of the bytes as stored.
        windows: The windows of which it has anything, as ranges of indices of the request's
            windows, both ends included; a snapshot's request has one window.
    """

    uri: str
    rows: int
    points: int
    bytes: int
    sha256: str
    windows: tuple[tuple[int, int], ...]

    def shifted(self, by: int) -> Self:
        """The same file, as a request names it that has so many windows more before these."""
        return self.model_copy(update={"windows": _shifted(self.windows, by)})


class AbsentWindows(BaseModel, frozen=True):
    """Windows for which a coin has no price.

    Attributes:
        coin_id: The coin.
        status: The kind of reason.
        reason: The reason in a sentence.
        windows: Ranges of indices of the request's windows, both ends included.
    """

    coin_id: str
    status: AbsenceStatus
    reason: str
    windows: tuple[tuple[int, int], ...]

    def shifted(self, by: int) -> Self:
        """The same absence, in a request that has so many windows more before these."""
        return self.model_copy(update={"windows": _shifted(self.windows, by)})


class PricesResponse(BaseModel, frozen=True):
    """What came of asking for prices.

    Attributes:
        objects: The files written.
        window_points: How many prices the files have of each of the request's windows.
        absent: What is missing, and why.
        rejected: Where responses that cannot be used are kept.
        calls: Requests made to the API.
        credits: Requests that count against the month.
        source: ``coingecko`` or ``simulated``.
        fetched_at: When asking began.
        clock_ahead: By how many seconds the function's clock is ahead of the API's; ``None`` where
            nobody can tell.
        continuation: What an event for the rest has other than the event; ``None`` where all is
            done.
        usage_recorded: Whether the function itself has recorded its calls and credits.
    """

    objects: tuple[WrittenObject, ...]
    window_points: tuple[int, ...]
    absent: tuple[AbsentWindows, ...]
    rejected: tuple[str, ...]
    calls: int
    credits: int
    source: str
    fetched_at: AwareDatetime
    clock_ahead: float | None = None
    continuation: dict[str, Any] | None = None
    usage_recorded: bool = False


def merge_responses(parts: Sequence[tuple[int, PricesResponse]]) -> PricesResponse:
    """The responses of several invocations as one.

    Args:
        parts: Each response, with the place of its first window in the whole request; at least one.
            Responses of the same windows are of different coins: their points add up.
    """
    window_points = [0] * max(first + len(part.window_points) for first, part in parts)
    for first, part in parts:
        for index, points in enumerate(part.window_points, start=first):
            window_points[index] += points
    return parts[0][1].model_copy(
        update={
            "objects": tuple(one.shifted(first) for first, part in parts for one in part.objects),
            "window_points": tuple(window_points),
            "absent": tuple(one.shifted(first) for first, part in parts for one in part.absent),
            "rejected": tuple(uri for _, part in parts for uri in part.rejected),
            "calls": sum(part.calls for _, part in parts),
            "credits": sum(part.credits for _, part in parts),
            "continuation": None,
        }
    )


def _shifted(windows: tuple[tuple[int, int], ...], by: int) -> tuple[tuple[int, int], ...]:
    return tuple((first + by, last + by) for first, last in windows)


class Listing(BaseModel, frozen=True):
    """How the API names a coin; symbols are not unique, ids are."""

    coin_id: str
    symbol: str | None = None
    name: str | None = None
    image: str | None = None


class MarketsResponse(BaseModel, frozen=True):
    """What came of asking for the market's present state.

    Attributes:
        coins: The coins that the API knows, by market capitalization.
        objects: The snapshot's file, if one was asked for.
        calls: Requests made to the API.
        credits: Requests that count against the month.
        source: ``coingecko`` or ``simulated``.
        observed_at: When the market was in this state.
        ranked: How many coins the list of the largest came with; ``None`` from a function of 0.2.
        usage_recorded: Whether the function itself has recorded its calls and credits.
    """

    coins: tuple[Listing, ...]
    objects: tuple[WrittenObject, ...]
    calls: int
    credits: int
    source: str
    observed_at: AwareDatetime
    ranked: int | None = None
    usage_recorded: bool = False


class FearAndGreedResponse(BaseModel, frozen=True):
    """What came of asking for the Fear & Greed index.

    Attributes:
        uri: The file in which its response is kept.
        bytes: Size as stored, compressed.
        sha256: Of the bytes as stored.
        calls: Requests made.
        source: ``alternative.me`` or ``simulated``.
        fetched_at: When it responded.
    """

    uri: str
    bytes: int
    sha256: str
    calls: int
    source: str
    fetched_at: AwareDatetime
