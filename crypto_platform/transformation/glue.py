"""Transformation on AWS Glue: one job run for a range of windows, watched to its end."""

import time
from collections.abc import Mapping
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

LOG_LINES = 40

_SUCCEEDED = "SUCCEEDED"
_TERMINAL = {_SUCCEEDED, "FAILED", "TIMEOUT", "STOPPED", "ERROR", "EXPIRED"}
# What passes when other job runs end.
_BUSY = {"ConcurrentRunsExceededException", "ResourceNumberLimitExceededException"}


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
        log_group: Where the jobs' own output goes, as the stack has it.
        dpu_hour_price: What an hour of a data processing unit costs, in dollars: the list price
            in us-east-2 of July 2026 (aws.amazon.com/glue/pricing).
    """

    jobs: dict[str, str]
    region: str
    poll_seconds: float = 10
    patience: float = 3 * 3600
    log_group: str = "/crypto/glue/output"
    dpu_hour_price: float = 0.44

    def run(self, job: str, arguments: Mapping[str, str]) -> TransformResult:
        """See ``Transform.run``."""
        name = self.jobs[job]
        failure: type[dg.Failure]
        try:
            run_id = self._start(name, {f"--{key}": text for key, text in arguments.items()})
            ended = self._watch(name, run_id)
        except (boto_errors.BotoCoreError, boto_errors.ClientError) as error:
            failure = TransformUnreachableError if _may_pass(error) else TransformError
            raise failure(
                f"The Glue job {name} in {self.region} could not be run: {error} Nothing was "
                "committed; materialize again when this is resolved."
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
        started = patiently(
            self._client_that_asks_once.start_job_run, JobName=name, Arguments=dict(arguments)
        )
        return str(started["JobRunId"])

    def _watch(self, name: str, run_id: str) -> dict[str, Any]:
        """Wait for a job run's end, and stop it where the waiting ends before it does."""
        try:
            return self._end(name, run_id)
        except BaseException:
            # Not only errors: Dagster terminates a run by raising an interruption in here.
            self._client.batch_stop_job_run(JobName=name, JobRunIds=[run_id])
            raise

    def _end(self, name: str, run_id: str) -> dict[str, Any]:
        give_up_at = time.monotonic() + self.patience
        while time.monotonic() < give_up_at:
            run: dict[str, Any] = self._client.get_job_run(JobName=name, RunId=run_id)["JobRun"]
            if run["JobRunState"] in _TERMINAL:
                return run
            time.sleep(self.poll_seconds)
        raise TransformError(
            f"The Glue job {name} did not end within {self.patience:g} s, and was stopped. "
            f"Nothing was committed. Its log: {self._console_link(name, run_id)}"
        )

    def _metadata(self, name: str, run: Mapping[str, Any]) -> dict[str, Any]:
        # Glue counts the units itself only where it scales their number.
        dpu_seconds = run.get("DPUSeconds") or run["ExecutionTime"] * run.get("MaxCapacity", 0)
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
            retries={"mode": "standard", "total_max_attempts": attempts}
        )
        return boto3.client(service, region_name=self.region, config=config)


def _is_busy(error: BaseException) -> bool:
    response = getattr(error, "response", {})
    return response.get("Error", {}).get("Code") in _BUSY


def _may_pass(error: BaseException) -> bool:
    """Whether a failed call may succeed by itself: no way there, a fault of AWS, too many calls."""
    if isinstance(error, boto_errors.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        return status >= HTTPStatus.INTERNAL_SERVER_ERROR or "Throttl" in code
    return isinstance(error, boto_errors.HTTPClientError | boto_errors.ConnectionError)
