"""The clients of AWS: how long each waits, as the documents have it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import IncompleteReadError, ResponseStreamingError
from botocore.response import StreamingBody
from cloudpathlib import S3Client

from crypto_platform.alerts.channels import SnsTopic
from crypto_platform.ingestion.aws_lambda import LambdaIngestion
from crypto_platform.lake.layers import Layer
from crypto_platform.transformation.glue import GlueTransform
from crypto_platform_tests.aws.account import RAW_BUCKET, REGION

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
GLUE = GlueTransform(jobs={}, region=REGION)
# The clients that make the calls of each row; the function's own is made in an invocation.
CLIENTS: dict[str, Callable[[], Any]] = {
    "Lambda: an invocation": lambda: LambdaIngestion(function_name="f", region=REGION)._client,  # noqa: SLF001
    "Glue: start a job run": lambda: GLUE._client_that_asks_once,  # noqa: SLF001
    "Glue: watch a job run": lambda: GLUE._client,  # noqa: SLF001
    "SNS: an alert": lambda: SnsTopic(topic="t", region=REGION, state_root="s3://b")._client("sns"),  # noqa: SLF001
    "S3: the lake": lambda: S3Client.get_default_client().client,
}


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("who", CLIENTS)
def test_the_documents_tell_how_long_a_client_waits(who: str) -> None:
    config = CLIENTS[who]().meta.config
    numbers = r" *([0-9]+) *\|" * 3
    told = re.search(rf"^\| {re.escape(who)} \|{numbers}", PAGE.read_text(), re.MULTILINE)
    assert told
    # By default boto3 makes a request up to five times.
    attempts = (config.retries or {}).get("total_max_attempts", 5)
    assert [float(cell) for cell in told.groups()] == [
        config.connect_timeout,
        config.read_timeout,
        attempts,
    ]


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    "error",
    [
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
        ResponseStreamingError(error="connection reset"),
    ],
    ids=["too short", "broken off"],
)
def test_an_object_whose_body_breaks_off_is_read_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    layer = Layer(f"s3://{RAW_BUCKET}", "raw", "raw_prices")
    layer.put("a.txt", b"whole")
    failures, read = [error, error], StreamingBody.read

    def breaking(body: StreamingBody, amt: int | None = None) -> bytes:
        if failures:
            raise failures.pop()
        return read(body, amt)

    monkeypatch.setattr(StreamingBody, "read", breaking)
    assert layer.read("a.txt") == b"whole"
