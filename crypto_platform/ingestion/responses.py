"""What the function that asks the price API answers with, as Dagster's side reads it."""

from typing import Self

from pydantic import AwareDatetime, BaseModel

from crypto_platform.lake.manifests import AbsenceStatus


class WrittenObject(BaseModel, frozen=True):
    """A file that ingestion wrote.

    Attributes:
        window: Index of its window in the request.
        uri: Where it is.
        rows: Lines of JSON, one a coin.
        points: Prices in them.
        bytes: Size as stored, compressed.
        sha256: Of the bytes as stored.
    """

    window: int
    uri: str
    rows: int
    points: int
    bytes: int
    sha256: str


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


class PricesResponse(BaseModel, frozen=True):
    """What came of asking for prices.

    Attributes:
        objects: The files written.
        absent: What is missing, and why.
        rejected: Where answers that made no sense are kept.
        calls: Requests made to the API.
        credits: Requests that count against the month.
        source: ``coingecko`` or ``simulated``.
        fetched_at: When asking began.
    """

    objects: tuple[WrittenObject, ...]
    absent: tuple[AbsentWindows, ...]
    rejected: tuple[str, ...]
    calls: int
    credits: int
    source: str
    fetched_at: AwareDatetime

    def of_windows_from(self, first: int) -> Self:
        """This answer with its windows counted from another one than the first."""
        return self.model_copy(
            update={
                "objects": tuple(
                    one.model_copy(update={"window": one.window + first}) for one in self.objects
                ),
                "absent": tuple(
                    one.model_copy(
                        update={"windows": tuple((a + first, b + first) for a, b in one.windows)}
                    )
                    for one in self.absent
                ),
            }
        )

    def and_then(self, later: Self) -> Self:
        """This answer and the one that continued it, as one."""
        return self.model_copy(
            update={
                "objects": self.objects + later.objects,
                "absent": self.absent + later.absent,
                "rejected": self.rejected + later.rejected,
                "calls": self.calls + later.calls,
                "credits": self.credits + later.credits,
            }
        )


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
    """

    coins: tuple[Listing, ...]
    objects: tuple[WrittenObject, ...]
    calls: int
    credits: int
    source: str
    observed_at: AwareDatetime


class FearAndGreedResponse(BaseModel, frozen=True):
    """What came of asking for the Fear & Greed index.

    Attributes:
        uri: The file in which its answer is kept.
        bytes: Size as stored, compressed.
        sha256: Of the bytes as stored.
        calls: Requests made.
        source: ``alternative.me`` or ``simulated``.
        fetched_at: When it answered.
    """

    uri: str
    bytes: int
    sha256: str
    calls: int
    source: str
    fetched_at: AwareDatetime
