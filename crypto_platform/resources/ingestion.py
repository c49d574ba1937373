"""Ingestion: asking the price API through the function that runs on Lambda, or in process."""

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import dagster as dg
from pydantic import AwareDatetime, BaseModel

from crypto_platform.failures import PermanentFailure
from crypto_platform.manifests import AbsenceStatus
from crypto_platform.streams import Stream, Window


class IngestionFailure(dg.Failure):
    """The price API could not be asked now; a later try may succeed."""


class FunctionBusy(IngestionFailure):
    """The function was doing other work all the while that was waited for it."""


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


class FearAndGreedAnswer(BaseModel, frozen=True):
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
        # Loading the definitions must not pay for the function's modules.
        from lambda_function.events import MOST_WINDOWS  # noqa: PLC0415

        whole: dict[str, Any] = {
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
        total: PricesAnswer | None = None
        part = 0
        for first in range(0, len(targets), MOST_WINDOWS):
            left = credits_left
            if left is not None and total:
                left = max(0, left - total.credits)
            event: dict[str, Any] | None = {
                **whole,
                "windows": targets[first : first + MOST_WINDOWS],
                # Every invocation's files have a name of their own.
                "part": part,
                "credits_left": left,
            }
            while event:
                answer = self.invoke(event)
                told = PricesAnswer.model_validate(answer).of_windows_from(first)
                total = total.and_then(told) if total else told
                part += 1
                event = {**event, **answer["continuation"]} if answer["continuation"] else None
        assert total is not None  # noqa: S101 - there is at least one window
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

    def fear_and_greed(self, *, run_id: str, uri: str) -> FearAndGreedAnswer:
        """Have all days of the Fear & Greed index written to a file.

        Args:
            run_id: The run that asks.
            uri: The file.
        """
        event = {"action": "fear_and_greed", "run_id": run_id, "uri": uri}
        return FearAndGreedAnswer.model_validate(self.invoke(event))


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


class LambdaIngestion(Ingestion):
    """The function on AWS Lambda, which answers an invocation with its payload.

    Invoked by boto3 and not through Dagster Pipes: the assets need the answer itself, which Pipes
    discards, while what Pipes adds, messages in the log's last 4 KB, loses most of them. An
    invocation that Dagster terminates runs on to its end; the files it still writes are of a run
    that never commits, so they do not count.

    Attributes:
        function_name: Name or ARN of the function.
        region: Where it is.
        function_timeout: Seconds after which Lambda ends an invocation, which is how long an
            answer may take.
        patience: Seconds to wait for a function that is busy; one runs at a time, so another
            run's invocation may take all of its time first.
    """

    function_name: str
    region: str
    function_timeout: int = 900
    patience: float = 1200

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Ingestion.invoke``."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - half a second
        from tenacity import (  # noqa: PLC0415
            Retrying,
            retry_if_exception,
            stop_after_delay,
            wait_random_exponential,
        )

        patiently = Retrying(
            retry=retry_if_exception(_is_throttled),
            wait=wait_random_exponential(max=30),
            stop=stop_after_delay(self.patience),
            reraise=True,
        )
        try:
            response = patiently(
                self._client.invoke,
                FunctionName=self.function_name,
                LogType="Tail",
                Payload=json.dumps(event).encode(),
            )
            answer: dict[str, Any] = json.loads(response["Payload"].read())
        except ClientError as error:
            raise self._refusal(error) from error
        except BotoCoreError as error:
            raise IngestionFailure(
                description=f"The function {self.function_name} in {self.region} gave no answer. "
                f"{error} What it wrote does not count; the next try starts anew."
            ) from error
        if "FunctionError" in response:
            raise self._function_error(answer, response.get("LogResult", ""))
        return answer

    @cached_property
    def _client(self) -> Any:
        import boto3  # noqa: PLC0415 - half a second, which loading the definitions must not pay
        from botocore.config import Config  # noqa: PLC0415

        config = Config(
            read_timeout=self.function_timeout + 60,
            # boto3's own retries would run the function again while it still runs.
            retries={"total_max_attempts": 1},
            # A gateway on the way forgets a connection that is silent for minutes.
            tcp_keepalive=True,
        )
        return boto3.client("lambda", region_name=self.region, config=config)

    def _refusal(self, error: Any) -> dg.Failure:
        """What it means that Lambda did not run the function."""
        refused = (
            f"AWS Lambda did not run the function {self.function_name} in {self.region}: "
            f"{error.response['Error']['Message']}"
        )
        if _is_throttled(error):
            return FunctionBusy(
                description=f"{refused} It was busy for {self.patience:g} s; try again when the "
                "runs that use it have ended."
            )
        remedy = _REMEDIES.get(error.response["Error"]["Code"])
        if remedy is None:
            return IngestionFailure(description=refused)
        return PermanentFailure(f"{refused} {remedy}")

    def _function_error(self, answer: Mapping[str, Any], log_tail: str) -> dg.Failure:
        """What it means that the function raised, or that Lambda ended it."""
        from lambda_function import errors  # noqa: PLC0415 - as in LocalIngestion

        # Lambda's own errors, such as a timeout, may come without a type.
        name = str(answer.get("errorType", "no type"))
        message = str(answer.get("errorMessage", ""))
        log = base64.b64decode(log_tail).decode(errors="replace")
        metadata = {"log_tail": dg.MetadataValue.md(f"```\n{log}\n```")}
        kind = getattr(errors, name, None)
        if not (isinstance(kind, type) and issubclass(kind, errors.IngestionError)):
            return IngestionFailure(
                description=f"The function {self.function_name} ended with {name}: {message}",
                metadata=metadata,
            )
        if kind.retryable:
            return IngestionFailure(description=message, metadata=metadata)
        return PermanentFailure(message, metadata)


_REMEDIES = {
    "AccessDeniedException": "Allow lambda:InvokeFunction to the role that Dagster runs in.",
    "RequestTooLargeException": "Materialize fewer partitions in one run.",
    "ResourceNotFoundException": "Deploy it, or correct INGESTION_FUNCTION and AWS_REGION.",
}


def _is_throttled(error: BaseException) -> bool:
    response = getattr(error, "response", {})
    return bool(response.get("Error", {}).get("Code") == "TooManyRequestsException")
