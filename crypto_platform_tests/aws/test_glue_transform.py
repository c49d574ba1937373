import json
import threading
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

import dagster as dg
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from crypto_platform.core.streams import HISTORICAL
from crypto_platform.lake.layers import Lake, to_json_lines
from crypto_platform.transformation import glue as glue_transform
from crypto_platform.transformation.glue import GlueTransform
from crypto_platform.transformation.job_spec import job_arguments
from crypto_platform.transformation.resource import (
    TransformError,
    TransformResult,
    TransformUnreachableError,
)
from crypto_platform_tests.aws.account import RAW_BUCKET, REGION, TRANSFORMED_BUCKET, keys
from crypto_platform_tests.aws.glue_runs import GlueRuns
from crypto_platform_tests.glue_jobs.jobs import START, milliseconds, record

pytestmark = pytest.mark.integration

LAKE = Lake(raw_root=f"s3://{RAW_BUCKET}", transformed_root=f"s3://{TRANSFORMED_BUCKET}")
RAW = f"historical_data/month={START:%Y-%m}/prices-r1-00000.json.gz"
JOB = "jobs/historical/run=r1"


def glue(**options: Any) -> GlueTransform:
    jobs = {HISTORICAL.job: f"the-{HISTORICAL.job}"}
    return GlueTransform(jobs=jobs, region=REGION, **{"poll_seconds": 0.2, **options})


ONE_PRICE = to_json_lines([record([[milliseconds(START), 1.5]])])


def transform(transform: GlueTransform, content: bytes = ONE_PRICE) -> TransformResult:
    """Run the job on one window with one raw file."""
    LAKE.raw.put(RAW, content)
    month = {
        "number": 0,
        "windows": [f"{START:%Y-%m-%dT%H:%M:%SZ}"],
        "points": 1,
        "prices": [LAKE.raw.uri(RAW)],
    }
    LAKE.transformed.put(f"{JOB}/job_spec.jsonl", json.dumps(month).encode())
    arguments = job_arguments(LAKE, HISTORICAL, JOB, f"{JOB}/job_spec.jsonl")
    return transform.run(HISTORICAL.job, arguments)


def written() -> list[str]:
    return [
        key.rsplit("/", 1)[0]
        for key in keys(TRANSFORMED_BUCKET, f"{JOB}/output/")
        if key.endswith(".parquet")
    ]


def test_a_job_run_writes_parquet_to_the_transformed_bucket(glue_runs: GlueRuns) -> None:
    ran = transform(glue())
    assert written() == [f"{JOB}/output/dataset=prices/number=0"]
    assert ran.ran_on == "AWS Glue 5.1"
    assert len(glue_runs.started) == 1


def test_a_job_run_says_what_it_cost_and_where_to_look(glue_runs: GlueRuns) -> None:
    glue_runs.scripted = ("SUCCEEDED", "")
    metadata = transform(glue()).metadata
    assert (metadata["glue_dpu_seconds"], metadata["glue_cost_usd"]) == (180.0, 0.022)
    link = metadata["glue_job_run"].value
    assert link.startswith(f"https://{REGION}.console.aws.amazon.com/gluestudio/home")
    assert f"the-{HISTORICAL.job}/run/jr_" in link


def test_a_failed_job_run_shows_its_error_and_the_tail_of_its_log(
    glue_runs: GlueRuns,  # noqa: ARG001 - the jobs
) -> None:
    with pytest.raises(TransformError, match=r"ended as FAILED .*could not transform") as failure:
        transform(glue(), b"neither gzip nor JSON")
    assert "Traceback" in str(failure.value.metadata["log_tail"].value)
    assert written() == []


@pytest.mark.parametrize("state", ["TIMEOUT", "STOPPED", "ERROR", "EXPIRED"])
def test_every_other_end_is_a_failure_with_a_link_to_the_log(
    glue_runs: GlueRuns, state: str
) -> None:
    glue_runs.scripted = (state, "Glue says why.")
    with pytest.raises(TransformError, match=rf"ended as {state} .*Glue says why.*https://"):
        transform(glue())


def test_after_a_failure_the_next_try_succeeds(glue_runs: GlueRuns) -> None:
    glue_runs.scripted = ("TIMEOUT", "")
    with pytest.raises(TransformError):
        transform(glue())
    glue_runs.scripted = None
    transform(glue())
    assert len(written()) == 1


def test_a_job_run_that_does_not_end_is_stopped(glue_runs: GlueRuns) -> None:
    glue_runs.scripted = ("RUNNING", "")
    with pytest.raises(TransformError, match="did not end within 1 s, and was stopped"):
        transform(glue(patience=1))
    assert len(glue_runs.stopped) == 1


def test_a_dagster_run_that_is_terminated_stops_the_job_run(
    glue_runs: GlueRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> NoReturn:
        raise dg.DagsterExecutionInterruptedError

    # Not the clock of everybody: other threads sleep too.
    clock = SimpleNamespace(sleep=interrupted, monotonic=time.monotonic)
    monkeypatch.setattr(glue_transform, "time", clock)
    with pytest.raises(dg.DagsterExecutionInterruptedError):
        transform(glue())
    assert len(glue_runs.stopped) == 1
    assert written() == []


def test_other_job_runs_are_waited_for(glue_runs: GlueRuns) -> None:
    glue_runs.scripted = ("RUNNING", "")
    with pytest.raises(TransformError):
        transform(glue(patience=0.5))

    def end() -> None:
        glue_runs.scripted = ("SUCCEEDED", "")
        glue()._client.get_job_runs(JobName=f"the-{HISTORICAL.job}")  # noqa: SLF001

    threading.Timer(1.5, end).start()
    assert transform(glue(patience=30)).ran_on == "AWS Glue 5.1"


def test_other_job_runs_that_do_not_end_are_a_failure_that_says_so(glue_runs: GlueRuns) -> None:
    glue_runs.scripted = ("RUNNING", "")
    for _ in range(2):
        with pytest.raises(TransformError) as failure:
            transform(glue(patience=0.5))
    assert "already running" in str(failure.value.description)
    assert len(glue_runs.started) == 1


def test_a_glue_that_cannot_be_reached_is_tried_again(
    aws: str,  # noqa: ARG001 - credentials
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", "http://127.0.0.1:9")

    with pytest.raises(TransformUnreachableError) as failure:
        transform(glue())

    assert failure.value.allow_retries


def test_a_job_that_is_not_deployed_is_a_failure_that_names_it(
    aws: str,  # noqa: ARG001 - an account without the job
) -> None:
    with pytest.raises(TransformError, match=f"the-{HISTORICAL.job} in {REGION} could not be run"):
        transform(glue())


class Unreliable:
    """A client of Glue, some of whose calls fail.

    Args:
        client: The client.
        call: The call that fails.
        errors: How it fails, one time after the other; then it succeeds.
        heard: Whether Glue gets the call all the same.
    """

    def __init__(
        self, client: Any, call: str, errors: Sequence[Exception], *, heard: bool = False
    ) -> None:
        self.asked: list[str] = []
        self._client = client
        self._call = call
        self._errors = list(errors)
        self._heard = heard

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**asked: Any) -> Any:
            self.asked.append(name)
            if name == self._call and self._errors:
                if self._heard:
                    getattr(self._client, name)(**asked)
                raise self._errors.pop(0)
            return getattr(self._client, name)(**asked)

        return call


def unreliable(call: str, *errors: Exception, heard: bool = False, **options: Any) -> GlueTransform:
    """The jobs on Glue, asked by a client that is unreliable."""
    transform = glue(**options)
    client = "_client_that_asks_once" if call == "start_job_run" else "_client"
    made = getattr(transform, client)
    transform.__dict__[client] = Unreliable(made, call, errors, heard=heard)
    return transform


def said(code: str, status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetJobRun")


NO_WAY = EndpointConnectionError(endpoint_url="https://glue")
NO_ANSWER = ReadTimeoutError(endpoint_url="https://glue")


@pytest.mark.parametrize(
    "error",
    [NO_WAY, NO_ANSWER, said("ThrottlingException"), said("ExpiredTokenException"), said("x", 503)],
    ids=["no way", "no answer", "throttled", "expired", "a fault of AWS"],
)
def test_a_job_run_is_watched_on_when_glue_gives_no_answer(
    glue_runs: GlueRuns, error: Exception
) -> None:
    glue_runs.scripted = ("SUCCEEDED", "")
    transform(unreliable("get_job_run", error, error, error, poll_seconds=0.01))
    assert (len(glue_runs.started), glue_runs.stopped) == (1, [])


def test_a_glue_that_stays_silent_is_given_up_and_may_be_tried_again(glue_runs: GlueRuns) -> None:
    glue_runs.scripted = ("RUNNING", "")
    silent = unreliable("get_job_run", *[NO_ANSWER] * 1_000, poll_seconds=0.01, silence=0.05)
    with pytest.raises(TransformUnreachableError, match="could not be watched, and was told to"):
        transform(silent)
    assert len(glue_runs.stopped) == 1


@pytest.mark.parametrize("code", ["AccessDeniedException", "EntityNotFoundException"])
def test_what_does_not_pass_ends_the_watch_at_once(glue_runs: GlueRuns, code: str) -> None:
    glue_runs.scripted = ("RUNNING", "")
    with pytest.raises(TransformError, match=code):
        transform(unreliable("get_job_run", said(code)))
    assert len(glue_runs.stopped) == 1


def test_a_job_run_that_cannot_be_stopped_does_not_hide_why_it_was_to_be(
    glue_runs: GlueRuns, caplog: pytest.LogCaptureFixture
) -> None:
    glue_runs.scripted = ("RUNNING", "")
    with pytest.raises(TransformError, match="did not end within"):
        transform(unreliable("batch_stop_job_run", NO_WAY, patience=0.1))
    assert "could not be stopped" in caplog.text


def test_a_job_run_whose_start_was_not_heard_of_is_found_and_watched(glue_runs: GlueRuns) -> None:
    glue_runs.scripted = ("SUCCEEDED", "")
    transform(unreliable("start_job_run", NO_ANSWER, heard=True))
    assert len(glue_runs.started) == 1


def test_a_start_that_never_arrived_may_be_tried_again(glue_runs: GlueRuns) -> None:
    with pytest.raises(TransformUnreachableError, match="could not be run"):
        transform(unreliable("start_job_run", NO_ANSWER, poll_seconds=0.01))
    assert glue_runs.started == []


def test_a_start_that_was_not_sent_is_not_looked_for(glue_runs: GlueRuns) -> None:
    unsent = unreliable("start_job_run", NO_WAY)
    asked = unsent.__dict__["_client"] = Unreliable(unsent._client, "", ())  # noqa: SLF001 - as above
    with pytest.raises(TransformUnreachableError):
        transform(unsent)
    assert (glue_runs.started, asked.asked) == ([], [])
