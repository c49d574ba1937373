"""Ingestion on AWS Lambda."""

import base64
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import dagster as dg

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.lazy import boto3, botocore_config, botocore_exceptions, tenacity
from crypto_platform.ingestion.resource import FunctionBusy, Ingestion, IngestionFailure
from lambda_function import errors


class LambdaIngestion(Ingestion):
    """The function on AWS Lambda, whose response is the payload of an invocation.

    Invoked by boto3 and not through Dagster Pipes: the assets need the response itself, which Pipes
    discards, while what Pipes adds, messages in the log's last 4 KB, loses most of them. An
    invocation that Dagster terminates runs on to its end; the files it still writes are of a run
    that never commits, so they do not count, and it records itself what it spent.

    No byte passes while the function works. A NAT gateway forgets such a connection after 350 s,
    and Linux asks after it for the first time after 7,200 s, which no setting of boto3 changes: a
    response that comes later never arrives. So an invocation is asked to end well before, and what
    it leaves over is a continuation's work.

    Attributes:
        function_name: Name or ARN of the function, with a version's number or an alias behind a
            colon where it is not to be what was deployed last.
        region: Where it is.
        invocation_seconds: Seconds that one invocation may take, writing included.
        function_timeout: Seconds after which Lambda is expected to end an invocation that takes
            longer all the same.
        patience: Seconds to wait for a function that is busy; one runs at a time, so another
            run's invocation may take all of its time first.
        longest_pause: Seconds between two tries of one that is busy, at most.
    """

    function_name: str
    region: str
    invocation_seconds: int = 240
    function_timeout: int = 300
    patience: float = 1200
    longest_pause: float = 30

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Ingestion.invoke``."""
        bounded = {**event, "seconds": self.invocation_seconds}
        while_busy = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_busy),
            wait=tenacity.wait_random_exponential(max=self.longest_pause),
            stop=tenacity.stop_after_delay(self.patience),
            reraise=True,
        )
        while_unreachable = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_was_not_sent),
            wait=tenacity.wait_random_exponential(max=4),
            stop=tenacity.stop_after_attempt(_CONNECT_ATTEMPTS),
            reraise=True,
        )
        try:
            response = while_busy(
                while_unreachable,
                self._client.invoke,
                FunctionName=self.function_name,
                LogType="Tail",
                Payload=json.dumps(bounded).encode(),
            )
            payload: dict[str, Any] = json.loads(response["Payload"].read())
        except botocore_exceptions.ClientError as error:
            raise self._not_run(error) from error
        except (botocore_exceptions.BotoCoreError, ValueError) as error:
            raise IngestionFailure(
                description=f"The function {self.function_name} in {self.region} gave no response. "
                f"{error} What it wrote does not count; the next attempt starts anew."
            ) from error
        if "FunctionError" in response:
            raise self._function_error(payload, response.get("LogResult", ""))
        return payload

    @cached_property
    def _client(self) -> Any:
        config = botocore_config.Config(
            connect_timeout=10,
            read_timeout=self.function_timeout + 30,
            # boto3's own retries would run the function again while it still runs.
            retries={"total_max_attempts": 1},
        )
        return boto3.client("lambda", region_name=self.region, config=config)

    def _not_run(self, error: Any) -> dg.Failure:
        """What it means that Lambda did not run the function."""
        message = (
            f"AWS Lambda did not run the function {self.function_name} in {self.region}: "
            f"{error.response['Error']['Message']}"
        )
        if _is_busy(error):
            return FunctionBusy(
                description=f"{message} It was busy for {self.patience:g} s; try again when the "
                "runs that use it have ended."
            )
        remedy = _REMEDIES.get(error.response["Error"]["Code"])
        if remedy is None:
            return IngestionFailure(description=message)
        return PermanentFailure(f"{message} {remedy}")

    def _function_error(self, payload: Mapping[str, Any], log_tail: str) -> dg.Failure:
        """What it means that the function raised, or that Lambda ended it."""
        # Lambda's own errors, such as a timeout, may come without a type.
        name = str(payload.get("errorType", "no type"))
        message = str(payload.get("errorMessage", ""))
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
# By these Lambda says that it did not run the function, and may when something else has ended.
_BUSY = {"TooManyRequestsException", "ResourceConflictException", "ResourceNotReadyException"}
_CONNECT_ATTEMPTS = 4


def _is_busy(error: BaseException) -> bool:
    # An error without a response has none, or None for it.
    response = getattr(error, "response", None) or {}
    return response.get("Error", {}).get("Code") in _BUSY


def _was_not_sent(error: BaseException) -> bool:
    """Whether there was no connection to send the event by: the function does not run."""
    return isinstance(
        error,
        botocore_exceptions.EndpointConnectionError
        | botocore_exceptions.ConnectTimeoutError
        | botocore_exceptions.ProxyConnectionError,
    )
