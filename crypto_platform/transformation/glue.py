"""Transformation on AWS Glue: one job run for a range of windows, watched to its end."""

import logging
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Any

import dagster as dg

from crypto_platform.core.lazy import boto3, botocore_config, tenacity
from crypto_platform.core.lazy import botocore_exceptions as boto_errors
from crypto_platform.transformation.resource import (
    Transform,
    TransformError,
    TransformResult,
    TransformUnreachableError,
)

logger = logging.getLogger(__name__)

LOG_LINES = 40

_SUCCEEDED = "SUCCEEDED"
_TERMINAL = {_SUCCEEDED, "FAILED", "TIMEOUT", "STOPPED", "ERROR", "EXPIRED"}
# What passes when other job runs end.
_BUSY = {"ConcurrentRunsExceededException", "ResourceNumberLimitExceededException"}
# What passes by itself: too many calls, and credentials that whoever provides them renews.
_PASSING = {
    "ExpiredToken",
    "ExpiredTokenException",
    "OperationTimeoutException",
    "RequestExpired",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
# How often it is looked whether a job run was started after all, and among how many.
_LOOKS, _NEWEST = 3, 50


class GlueTransform(Transform):
    """Runs jobs on AWS Glue.

    With boto3 and not through Dagster Pipes: the jobs have nothing to report, since rows are
    counted in the files they wrote, and they stay plain PySpark; and PipesGlueClient polls a job
    run that EXPIRED for ever, and loses the log of one that failed.

    Attributes:
        jobs: Name of the Glue job of each script in ``glue_jobs``.
        region: Where the jobs are.
        poll_seconds: How often to look at a job run.
        patience: Seconds that a job run may take, and seconds to wait for others to end first;
            above the jobs' own timeout.
        silence: Seconds for which Glue may give no answer, for a reason that passes, before a job
            run is given up.
        log_group: Where the jobs' own output goes, as the stack has it.
        dpu_hour_price: What an hour of a data processing unit costs, in dollars: the list price
            in us-east-2 of July 2026 (aws.amazon.com/glue/pricing).
    """

    jobs: dict[str, str]
    region: str
    poll_seconds: float = 10
    patience: float = 3 * 3600
    silence: float = 900
    log_group: str = "/crypto/glue/output"
    dpu_hour_price: float = 0.44

    def run(self, job: str, arguments: Mapping[str, str]) -> TransformResult:
        """See ``Transform.run``."""
        name = self.jobs[job]
        try:
            run_id = self._start(name, {f"--{key}": text for key, text in arguments.items()})
        except (boto_errors.BotoCoreError, boto_errors.ClientError) as error:
            raise _failure(error)(
                f"The Glue job {name} in {self.region} could not be run: {error} Nothing was "
                "committed; materialize again when this is resolved."
            ) from error
        try:
            ended = self._watch(name, run_id)
        except (boto_errors.BotoCoreError, boto_errors.ClientError) as error:
            raise _failure(error)(
                f"The job run {run_id} of the Glue job {name} in {self.region} could not be "
                f"watched, and was told to stop: {error} Nothing was committed; materialize again "
                f"when this is resolved. Its log: {self._console_link(name, run_id)}"
            ) from error
        metadata = self._metadata(name, ended)
        if ended["JobRunState"] == _SUCCEEDED:
            return TransformResult(ran_on=f"AWS Glue {ended.get('GlueVersion')}", metadata=metadata)
        reason = ended.get("ErrorMessage") or "Glue gives no reason."
        raise TransformError(
            f"The Glue job {name} ended as {ended['JobRunState']} (job run {run_id}): {reason} "
            f"Nothing was committed. Its log: {self._console_link(name, run_id)}",
            {**metadata, "log_tail": dg.MetadataValue.md(f"```\n{self._log_tail(run_id)}\n```")},
        )

    def _start(self, name: str, arguments: Mapping[str, str]) -> str:
        patiently = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_busy),
            wait=tenacity.wait_random_exponential(max=60),
            stop=tenacity.stop_after_delay(self.patience),
            reraise=True,
        )
        try:
            started = patiently(
                self._client_that_asks_once.start_job_run, JobName=name, Arguments=dict(arguments)
            )
        except (boto_errors.BotoCoreError, boto_errors.ClientError) as error:
            run_id = self._started_unheard(name, arguments) if _may_have_started(error) else None
            if run_id is None:
                raise
            return run_id
        return str(started["JobRunId"])

    def _started_unheard(self, name: str, arguments: Mapping[str, str]) -> str | None:
        """The job run of just these arguments, which are of one attempt of one run alone.

        That the response to starting it was lost does not mean that it does not run.
        """
        try:
            for look in range(_LOOKS):
                if look:
                    time.sleep(self.poll_seconds)
                runs = self._answer(self._client.get_job_runs, JobName=name, MaxResults=_NEWEST)
                for run in runs["JobRuns"]:
                    # Beside them may stand what the job has by default.
                    if arguments.items() <= run.get("Arguments", {}).items():
                        return str(run["Id"])
        except (boto_errors.BotoCoreError, boto_errors.ClientError) as error:
            logger.warning("It is not known whether the Glue job %s was started. %s", name, error)
        return None

    def _watch(self, name: str, run_id: str) -> dict[str, Any]:
        """Wait for a job run's end, and stop it where the waiting ends before it does."""
        try:
            return self._end(name, run_id)
        except BaseException:
            # Not only errors: Dagster terminates a run by raising an interruption in here.
            self._stop(name, run_id)
            raise

    def _stop(self, name: str, run_id: str) -> None:
        """Tell a job run to stop; where that fails, what led to it is still the news."""
        try:
            told = self._client.batch_stop_job_run(JobName=name, JobRunIds=[run_id])
            reasons = [one["ErrorDetail"]["ErrorMessage"] for one in told.get("Errors", ())]
        except (boto_errors.BotoCoreError, boto_errors.ClientError) as error:
            reasons = [str(error)]
        for reason in reasons:
            logger.warning(
                "The job run %s of the Glue job %s could not be stopped: %s Stop it by hand: %s",
                run_id,
                name,
                reason,
                self._console_link(name, run_id),
            )

    def _end(self, name: str, run_id: str) -> dict[str, Any]:
        give_up_at = time.monotonic() + self.patience
        while time.monotonic() < give_up_at:
            answer = self._answer(self._client.get_job_run, JobName=name, RunId=run_id)
            run: dict[str, Any] = answer["JobRun"]
            if run["JobRunState"] in _TERMINAL:
                return run
            time.sleep(self.poll_seconds)
        raise TransformError(
            f"The Glue job {name} did not end within {self.patience:g} s, and was stopped. "
            f"Nothing was committed. Its log: {self._console_link(name, run_id)}"
        )

    def _answer(self, call: Callable[..., dict[str, Any]], **asked: Any) -> dict[str, Any]:
        """What Glue answers to a call that changes nothing, made again while that may help."""
        patiently = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            wait=tenacity.wait_fixed(self.poll_seconds),
            stop=tenacity.stop_after_delay(self.silence),
            before_sleep=_log_silence,
            reraise=True,
        )
        return patiently(call, **asked)

    def _metadata(self, name: str, run: Mapping[str, Any]) -> dict[str, Any]:
        # Glue counts the units itself only where it scales their number.
        dpu_seconds = run.get("DPUSeconds") or run.get("ExecutionTime", 0) * run.get(
            "MaxCapacity", 0
        )
        return {
            "glue_job_run": dg.MetadataValue.url(self._console_link(name, run["Id"])),
            "glue_dpu_seconds": float(dpu_seconds),
            "glue_cost_usd": round(dpu_seconds / 3600 * self.dpu_hour_price, 4),
        }

    def _console_link(self, name: str, run_id: str) -> str:
        return (
            f"https://{self.region}.console.aws.amazon.com/gluestudio/home?region={self.region}"
            f"#/job/{name}/run/{run_id}"
        )

    def _log_tail(self, run_id: str) -> str:
        """The last lines that the driver wrote, or why they cannot be had."""
        logs = self._boto3_client("logs", attempts=3)
        try:
            streams = logs.describe_log_streams(
                logGroupName=self.log_group, logStreamNamePrefix=run_id
            )["logStreams"]
            lines = [
                event["message"].rstrip()
                for stream in streams[:1]
                for event in logs.get_log_events(
                    logGroupName=self.log_group,
                    logStreamName=stream["logStreamName"],
                    limit=LOG_LINES,
                )["events"]
            ]
        except (boto_errors.BotoCoreError, boto_errors.ClientError) as error:
            return f"The log in {self.log_group} could not be read: {error}"
        return "\n".join(lines)

    @cached_property
    def _client(self) -> Any:
        return self._boto3_client("glue", attempts=5)

    @cached_property
    def _client_that_asks_once(self) -> Any:
        """For starting: a second job run of the same arguments would write every row twice."""
        return self._boto3_client("glue", attempts=1)

    def _boto3_client(self, service: str, *, attempts: int) -> Any:
        config = botocore_config.Config(
            connect_timeout=10,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": attempts},
        )
        return boto3.client(service, region_name=self.region, config=config)


def _is_busy(error: BaseException) -> bool:
    return _code(error) in _BUSY


def _code(error: BaseException) -> str | None:
    # An error without a response has none, or None for it.
    code: str | None = (getattr(error, "response", None) or {}).get("Error", {}).get("Code")
    return code


def _failure(error: BaseException) -> type[TransformError | TransformUnreachableError]:
    return TransformUnreachableError if _may_pass(error) else TransformError


def _may_pass(error: BaseException) -> bool:
    """Whether a failed call may succeed by itself.

    No way there, a fault of AWS, too many calls, or credentials that are about to be renewed.
    """
    if isinstance(error, boto_errors.ClientError):
        return _is_fault_of_aws(error) or _code(error) in _PASSING
    return isinstance(
        error,
        boto_errors.HTTPClientError
        | boto_errors.ConnectionError
        | boto_errors.CredentialRetrievalError
        | boto_errors.MetadataRetrievalError,
    )


def _may_have_started(error: BaseException) -> bool:
    """Whether a job run may have been started though starting it gave an error.

    Not where Glue refused it, nor where there was no connection to ask by.
    """
    if isinstance(error, boto_errors.ClientError):
        return _is_fault_of_aws(error)
    unsent = (
        boto_errors.EndpointConnectionError
        | boto_errors.ConnectTimeoutError
        | boto_errors.ProxyConnectionError
    )
    return _may_pass(error) and not isinstance(error, unsent)


def _is_fault_of_aws(error: Any) -> bool:
    status: int = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _log_silence(state: Any) -> None:
    logger.warning("Glue gave no answer, and is asked again. %s", state.outcome.exception())
