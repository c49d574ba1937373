"""Ingestion: asking the price API through the function that runs on Lambda, or in process."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import dagster as dg
from pydantic import AwareDatetime, BaseModel

from crypto_platform.failures import PermanentFailure
from crypto_platform.manifests import AbsenceStatus
from crypto_platform.streams import Stream, Window


class IngestionFailure(dg.Failure):
    """The price API could not be asked now; a later try may succeed."""


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


class PricesAnswer(BaseModel, frozen=True):
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
    symbol: str
    name: str
    image: str | None = None


class MarketsAnswer(BaseModel, frozen=True):
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


class Ingestion(dg.ConfigurableResource[None], ABC):
    """The function that asks the price API, wherever it runs."""

    @abstractmethod
    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Run the function once on an event and return its answer.

        Raises:
            IngestionFailure: A later try may succeed.
            PermanentFailure: It cannot.
        """

    def prices(  # noqa: PLR0913 - the request's facts, each by name
        self,
        stream: Stream,
        windows: Sequence[Window],
        *,
        coins: Sequence[str],
        vs_currency: str,
        window_uris: Sequence[str],
        rejected_uri: str,
        run_id: str,
        credits_left: int | None,
    ) -> PricesAnswer:
        """Have the prices of all windows written to the lake, however many invocations it takes.

        Args:
            stream: Says which granularity to ask for.
            windows: Closed windows.
            coins: Ids of the coins.
            vs_currency: The currency of the prices.
            window_uris: The folder that each window's file goes to.
            rejected_uri: The folder for answers that make no sense.
            run_id: The run that asks.
            credits_left: What the month's budget still allows; ``None`` where there is none.
        """
        event: dict[str, Any] | None = {
            "action": "prices",
            "run_id": run_id,
            "granularity": stream.granularity,
            "vs_currency": vs_currency,
            "coins": list(coins),
            "windows": [
                {**window.model_dump(mode="json"), "uri": uri}
                for window, uri in zip(windows, window_uris, strict=True)
            ],
            "rejected_uri": rejected_uri,
            "part": 0,
            "credits_left": credits_left,
        }
        total: PricesAnswer | None = None
        while event:
            answer = self.invoke(event)
            part = PricesAnswer.model_validate(answer)
            total = total.and_then(part) if total else part
            event = {**event, **answer["continuation"]} if answer["continuation"] else None
        assert total is not None  # noqa: S101 - the loop runs at least once
        return total

    def markets(  # noqa: PLR0913 - the request's facts, each by name
        self,
        *,
        vs_currency: str,
        run_id: str,
        credits_left: int | None,
        top: int = 0,
        ids: Sequence[str] = (),
        snapshot: tuple[Window, str] | None = None,
    ) -> MarketsAnswer:
        """Ask for the market's present state, and keep it where a snapshot is wanted.

        Args:
            vs_currency: The currency of the prices.
            run_id: The run that asks.
            credits_left: What the month's budget still allows; ``None`` where there is none.
            top: This many coins by market capitalization.
            ids: These coins too.
            snapshot: The window that the snapshot belongs to, and the folder it goes to.
        """
        window = snapshot and {"window": snapshot[0].model_dump(mode="json"), "uri": snapshot[1]}
        return MarketsAnswer.model_validate(
            self.invoke(
                {
                    "action": "markets",
                    "run_id": run_id,
                    "vs_currency": vs_currency,
                    "top": top or None,
                    "ids": list(ids),
                    "credits_left": credits_left,
                    "snapshot": window,
                }
            )
        )


class LocalIngestion(Ingestion):
    """The function in this process, its event and answer passed as JSON as Lambda would."""

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Ingestion.invoke``."""
        # requests takes a while to import, which loading the definitions must not pay.
        from lambda_function.errors import IngestionError  # noqa: PLC0415
        from lambda_function.handler import lambda_handler  # noqa: PLC0415

        try:
            answer = lambda_handler(json.loads(json.dumps(event)), None)
        except IngestionError as error:
            if error.retryable:
                raise IngestionFailure(description=str(error)) from error
            raise PermanentFailure(str(error)) from error
        passed: dict[str, Any] = json.loads(json.dumps(answer))
        return passed
