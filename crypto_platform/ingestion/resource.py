"""The seam to ingestion: asking the price API through the function, here in this process."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.lazy import lazy_import
from crypto_platform.core.streams import Stream, Window
from crypto_platform.ingestion.responses import (
    FearAndGreedResponse,
    MarketsResponse,
    PricesResponse,
    merge_responses,
)
from lambda_function import events
from lambda_function.errors import IngestionError

if TYPE_CHECKING:
    from lambda_function import handler
else:
    handler = lazy_import("lambda_function.handler")


class IngestionFailure(dg.Failure):
    """The price API could not be asked now; a later attempt may succeed."""


class FunctionBusy(IngestionFailure):
    """The function was doing other work all the while that was waited for it."""


class Ingestion(dg.ConfigurableResource[None], ABC):
    """The function that asks the price API, wherever it runs."""

    @abstractmethod
    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Run the function once on an event and return its response.

        Raises:
            IngestionFailure: A later attempt may succeed.
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
    ) -> PricesResponse:
        """Have the prices of all windows written to the lake, however many invocations it takes.

        Args:
            stream: Says which granularity to ask for.
            windows: Closed windows.
            coins: Ids of the coins.
            vs_currency: The currency of the prices.
            window_uris: The folder that each window's file goes to.
            rejected_uri: The folder for responses that cannot be used.
            run_id: The run that asks.
            credits_left: What the month's budget still allows; ``None`` where there is none.

        Raises:
            IngestionFailure: A later attempt may succeed.
            PermanentFailure: It cannot.
        """
        request: dict[str, Any] = {
            "action": "prices",
            "run_id": run_id,
            "granularity": stream.granularity,
            "vs_currency": vs_currency,
            "coins": list(coins),
            "rejected_uri": rejected_uri,
        }
        targets = [
            {**window.model_dump(mode="json"), "uri": uri}
            for window, uri in zip(windows, window_uris, strict=True)
        ]
        parts: list[tuple[int, PricesResponse]] = []
        for first in range(0, len(targets), events.MAX_WINDOWS):
            used = sum(part.credits for _, part in parts)
            event: dict[str, Any] | None = {
                **request,
                "windows": targets[first : first + events.MAX_WINDOWS],
                # Every invocation's files have a name of their own.
                "part": len(parts),
                "credits_left": None if credits_left is None else max(0, credits_left - used),
            }
            while event:
                response = self.invoke(event)
                parts.append((first, PricesResponse.model_validate(response)))
                event = {**event, **response["continuation"]} if response["continuation"] else None
        return merge_responses(parts)

    def markets(  # noqa: PLR0913 - the request's facts, each by name
        self,
        *,
        vs_currency: str,
        run_id: str,
        credits_left: int | None,
        top: int = 0,
        ids: Sequence[str] = (),
        snapshot: tuple[Window, str] | None = None,
    ) -> MarketsResponse:
        """Ask for the market's present state, and keep it where a snapshot is wanted.

        Args:
            vs_currency: The currency of the prices.
            run_id: The run that asks.
            credits_left: What the month's budget still allows; ``None`` where there is none.
            top: This many coins by market capitalization.
            ids: These coins too.
            snapshot: The window that the snapshot belongs to, and the folder it goes to.

        Raises:
            IngestionFailure: A later attempt may succeed.
            PermanentFailure: It cannot.
        """
        window = snapshot and {"window": snapshot[0].model_dump(mode="json"), "uri": snapshot[1]}
        return MarketsResponse.model_validate(
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

    def fear_and_greed(self, *, run_id: str, uri: str) -> FearAndGreedResponse:
        """Have all days of the Fear & Greed index written to a file.

        Args:
            run_id: The run that asks.
            uri: The file.
        """
        event = {"action": "fear_and_greed", "run_id": run_id, "uri": uri}
        return FearAndGreedResponse.model_validate(self.invoke(event))


class LocalIngestion(Ingestion):
    """The function in this process, its event and response passed as JSON as Lambda would."""

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Ingestion.invoke``."""
        try:
            response = handler.lambda_handler(json.loads(json.dumps(event)), None)
        except IngestionError as error:
            if error.retryable:
                raise IngestionFailure(description=str(error)) from error
            raise PermanentFailure(str(error)) from error
        passed: dict[str, Any] = json.loads(json.dumps(response))
        return passed
