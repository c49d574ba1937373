from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform_tests.aws.account import TRANSFORMED_BUCKET, account, client, role
from crypto_platform_tests.aws.cloud import BuildSnowflake, Cloud, cloud
from crypto_platform_tests.aws.glue_runs import GlueRuns, running_jobs
from crypto_platform_tests.aws.lambda_runtime import Lambda, running_functions
from crypto_platform_tests.aws.stack import account_with_code
from crypto_platform_tests.warehouse.fakesnow_server import Wire
from infrastructure.package import GLUE_SCRIPTS, artifacts, function_zip

FUNCTION = "crypto-ingestion"


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[str]:
    with account(tmp_path / "objects") as address:
        yield address


@pytest.fixture
def build_cloud(
    tmp_path: Path, market: SimulatedMarket, build_snowflake: BuildSnowflake, wire: Wire
) -> Iterator[Callable[..., Cloud]]:
    """Makes the platform in the aws profile with further variables, once a test."""
    with ExitStack() as stack:

        def build(**variables: str) -> Cloud:
            return stack.enter_context(cloud(tmp_path, market, build_snowflake, wire, variables))

        yield build


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Creates the platform's stack in an account of its own; a second call updates it."""
    with account_with_code(tmp_path / "objects") as (_, deploy):
        yield deploy


@pytest.fixture
def lambda_service(tmp_path: Path) -> Iterator[Lambda]:
    """What runs an account's functions."""
    with running_functions(tmp_path / "lambda") as service:
        yield service


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
def glue_service(tmp_path: Path) -> Iterator[GlueRuns]:
    """What runs an account's Glue jobs."""
    with running_jobs(tmp_path / "glue") as runs:
        yield runs


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
