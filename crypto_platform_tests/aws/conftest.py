import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.awslambda.models import LambdaFunction
from moto.glue.models import FakeJob, FakeJobRun
from moto.glue.responses import GlueResponse

from crypto_platform_tests.aws.account import TRANSFORMED_BUCKET, account, client, role
from crypto_platform_tests.aws.glue_runs import GlueRuns
from crypto_platform_tests.aws.lambda_runtime import Lambda
from crypto_platform_tests.aws.stack import account_with_code
from infrastructure.package import GLUE_SCRIPTS, artifacts, function_zip

FUNCTION = "crypto-ingestion"


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[str]:
    with account(tmp_path / "objects") as address:
        yield address


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Creates the platform's stack in an account of its own; a second call updates it."""
    with account_with_code(tmp_path / "objects") as (_, deploy):
        yield deploy


@pytest.fixture
def lambda_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lambda]:
    """What runs an account's functions."""
    service = Lambda(tmp_path / "lambda")

    def invoke(self: LambdaFunction, event: Any = None) -> tuple[str, bool, str]:
        return service.invoke(self, event)

    monkeypatch.setattr(LambdaFunction, "_invoke_lambda", invoke)
    yield service
    service.stop()


@pytest.fixture
def deploy(
    aws: str,  # noqa: ARG001 - the account comes first
    lambda_service: Lambda,  # noqa: ARG001 - as above
) -> Callable[..., None]:
    """Creates a function of the zip that is deployed, or of another."""

    def create(environment: dict[str, str], code: bytes | None = None, timeout: int = 900) -> None:
        client("lambda").create_function(
            FunctionName=FUNCTION,
            Runtime="python3.12",
            Role=role("lambda"),
            Handler="lambda_function.handler.lambda_handler",
            Code={"ZipFile": code or function_zip()},
            Timeout=timeout,
            Environment={"Variables": {"COINGECKO_CALLS_A_MINUTE": "1000000", **environment}},
        )

    return create


@pytest.fixture
def glue_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GlueRuns]:
    """What runs an account's Glue jobs."""
    runs = GlueRuns(tmp_path / "glue")

    def start(self: FakeJob, **options: Any) -> str:
        return runs.start(self, **options)

    def describe(self: FakeJobRun) -> dict[str, Any]:
        return runs.describe(self)

    def stop(self: GlueResponse) -> str:
        for run_id in self.parameters["JobRunIds"]:
            runs.stop(run_id)
        return json.dumps({"SuccessfulSubmissions": [], "Errors": []})

    monkeypatch.setattr(FakeJob, "start_job_run", start)
    monkeypatch.setattr(FakeJobRun, "as_dict", describe)
    # moto has no BatchStopJobRun.
    monkeypatch.setattr(GlueResponse, "batch_stop_job_run", stop, raising=False)
    yield runs
    runs.end_all()


@pytest.fixture
def glue_runs(
    aws: str,  # noqa: ARG001 - the account comes first
    glue_service: GlueRuns,
) -> GlueRuns:
    """What runs the account's Glue jobs, which are there as the stack creates them."""
    built = artifacts()
    for name in (*GLUE_SCRIPTS, "glue_jobs.zip"):
        client("s3").put_object(Bucket=TRANSFORMED_BUCKET, Key=f"code/{name}", Body=built[name])
    for name in GLUE_SCRIPTS:
        client("glue").create_job(
            Name=f"the-{name.removesuffix('.py')}",
            Role=role(f"glue-{name[:4]}"),
            Command={
                "Name": "glueetl",
                "ScriptLocation": f"s3://{TRANSFORMED_BUCKET}/code/{name}",
            },
            DefaultArguments={"--extra-py-files": f"s3://{TRANSFORMED_BUCKET}/code/glue_jobs.zip"},
            ExecutionProperty={"MaxConcurrentRuns": 1},
        )
    return glue_service
