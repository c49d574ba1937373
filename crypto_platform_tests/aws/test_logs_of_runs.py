"""What the steps of runs print outlives the machine that ran them."""

from pathlib import Path

import dagster as dg
import pytest

from crypto_platform.local.instance import instance_environment
from crypto_platform_tests.aws.account import RAW_BUCKET, client, keys

pytestmark = pytest.mark.integration


@dg.op
def talk() -> None:
    print("what the step said")  # noqa: T201 - it is what is looked for


@dg.job(executor_def=dg.in_process_executor)
def talking() -> None:
    talk()


def test_what_a_step_prints_is_in_the_bucket(
    aws: str,  # noqa: ARG001 - an account with the buckets
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = instance_environment(tmp_path, RAW_BUCKET)
    for name, text in environment.items():
        monkeypatch.setenv(name, text)

    with dg.DagsterInstance.get() as instance:
        run = talking.execute_in_process(instance=instance)

    (printed,) = [key for key in keys(RAW_BUCKET) if key.endswith(".out")]
    assert printed.startswith(f"compute_logs/storage/{run.run_id}/")
    body = client("s3").get_object(Bucket=RAW_BUCKET, Key=printed)["Body"].read()
    assert body == b"what the step said\n"
