"""The seam to ingestion: asking the price API through the function, here in this process."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg
from pydantic import BaseModel, ValidationError

from crypto_platform.core.disk import explaining_disk
from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.lazy import lazy_import
from crypto_platform.ingestion.responses import FearAndGreedResponse
from lambda_function.errors import IngestionError

if TYPE_CHECKING:
    from lambda_function import handler
else:
    handler = lazy_import("lambda_function.handler")


ResponseT = TypeVar("ResponseT", bound=BaseModel)


class IngestionFailure(dg.Failure):
    """The price API could not be asked now; a later attempt may succeed."""


class FunctionBusy(IngestionFailure):
    """The function was doing other work all the while that was waited for it."""


class Ingestion(dg.ConfigurableResource[None], ABC):
    """The function that asks the price API, wherever it runs."""

    @abstractmethod
    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Run the function once on an event, and return its response.

        Events are described in ``lambda_function.events``, responses in ``responses``.

        Raises:
            IngestionFailure: A later attempt may succeed.
            PermanentFailure: It cannot.
        """

    def ask(self, event: Mapping[str, Any], kind: type[ResponseT]) -> ResponseT:
        """Run the function once on an event, and read its response.

        Args:
            event: See ``invoke``.
            kind: The response that the event has.

        Raises:
            IngestionFailure: As for ``invoke``.
            PermanentFailure: As for ``invoke``; or the response is none that this version reads.
        """
        response = self.invoke(event)
        try:
            return kind.model_validate(response)
        except ValidationError as error:
            raise PermanentFailure(
                f"The function's response is none that this version of the platform reads: deploy "
                f"the function of this version. {error}"
            ) from error

    def fear_and_greed(self, *, run_id: str, uri: str) -> FearAndGreedResponse:
        """Have all days of the Fear & Greed index written to a file.

        Args:
            run_id: The run that asks.
            uri: The file.
        """
        event = {"action": "fear_and_greed", "run_id": run_id, "uri": uri}
        return self.ask(event, FearAndGreedResponse)


class LocalIngestion(Ingestion):
    """The function in this process, its event and response passed as JSON as Lambda would."""

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Ingestion.invoke``."""
        try:
            with explaining_disk("A file of the raw lake"):
                response = handler.lambda_handler(json.loads(json.dumps(event)), None)
        except IngestionError as error:
            if error.retryable:
                raise IngestionFailure(description=str(error)) from error
            raise PermanentFailure(str(error)) from error
        passed: dict[str, Any] = json.loads(json.dumps(response))
        return passed
