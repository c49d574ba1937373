from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.awslambda.models import LambdaFunction

from crypto_platform_tests.aws.account import account, client, role
from crypto_platform_tests.aws.lambda_runtime import Lambda
from infrastructure.package import function_zip

FUNCTION = "crypto-ingestion"


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[str]:
    with account(tmp_path / "objects") as address:
        yield address


@pytest.fixture
def lambda_service(
    aws: str,  # noqa: ARG001 - the account comes first
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Lambda]:
    """What runs the account's functions."""
    service = Lambda(tmp_path / "lambda")

    def invoke(self: LambdaFunction, event: Any = None) -> tuple[str, bool, str]:
        return service.invoke(self, event)

    monkeypatch.setattr(LambdaFunction, "_invoke_lambda", invoke)
    yield service
    service.stop()


@pytest.fixture
def deploy(lambda_service: Lambda) -> Callable[..., None]:  # noqa: ARG001 - as above
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
