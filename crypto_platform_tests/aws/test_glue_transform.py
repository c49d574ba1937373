import json
import threading
import time
from types import SimpleNamespace
from typing import Any, NoReturn

import dagster as dg
import pytest

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
