"""Secrets are planted wherever the platform has one, and looked for wherever it leaves a trace."""

import gzip
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import dagster as dg
import pytest

from crypto_platform.core.streams import HISTORICAL
from crypto_platform_tests.aws.account import RAW_BUCKET, TRANSFORMED_BUCKET, client, keys
from crypto_platform_tests.aws.cloud import API_KEY, Cloud
from crypto_platform_tests.aws.stack import CODE_BUCKET
from crypto_platform_tests.conftest import STAGES
from crypto_platform_tests.test_end_to_end import newest_keys
from crypto_platform_tests.warehouse.fakesnow_server import write_private_key

pytestmark = [
    pytest.mark.integration,
    # The types that are known to be skipped; see the tests of the templates.
    pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto"),
]

PASSPHRASE = "planted-passphrase"  # noqa: S105 - of nobody
PLANTED = {
    # As someone may have left it in .env, though the function reads its own.
    "COINGECKO_API_KEY": "CG-planted-here",
    "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": PASSPHRASE,
    "AWS_SECRET_ACCESS_KEY": "planted/secret/access/key",
}


def nothing(cloud: Cloud) -> None:
    """All goes well."""


def a_refused_key(cloud: Cloud) -> None:
    cloud.market.inject("wrong_key")


def a_failed_job(cloud: Cloud) -> None:
    cloud.jobs.reported = ("FAILED", "Glue says why.")


def another_passphrase(cloud: Cloud) -> None:
    write_private_key(Path(cloud.warehouse.private_key_path), b"another-passphrase")


@pytest.fixture
def planted(build_cloud: Callable[..., Cloud], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A platform with its secrets planted."""
    cloud = build_cloud()
    write_private_key(Path(cloud.warehouse.private_key_path), PASSPHRASE.encode())
    for name, text in PLANTED.items():
        monkeypatch.setenv(name, text)
    # A session keeps the credentials that it began with.
    boto3.setup_default_session()
    yield cloud
    boto3.setup_default_session()


def contents(folder: Path, *, but: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, unpacked."""
    for path in folder.rglob("*"):
        if path.is_file() and path != but:
            yield str(path), unpacked(path.read_bytes())


def run(cloud: Cloud, instance_home: Path) -> str:
    """Materialize a day, with all of Dagster's records in a folder, and give the error if any."""
    (partition,) = newest_keys(HISTORICAL, 1)
    error = ""
    instance_home.mkdir()
    with dg.DagsterInstance.local_temp(str(instance_home)) as instance:
        try:
            cloud.platform.materialize(
                HISTORICAL, partition, stages=("tracked_coins", *STAGES), instance=instance
            )
        except Exception:  # noqa: BLE001 - whatever it is, what it says is looked at
            error = traceback.format_exc()
    return error


def unpacked(content: bytes) -> bytes:
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def in_buckets() -> Iterator[tuple[str, bytes]]:
    """Every object of the account, unpacked."""
    for bucket in (RAW_BUCKET, TRANSFORMED_BUCKET, CODE_BUCKET):
        for key in keys(bucket):
            content = client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
            yield f"s3://{bucket}/{key}", unpacked(content)


@pytest.mark.parametrize("fault", [nothing, a_refused_key, a_failed_job, another_passphrase])
def test_no_secret_leaves_a_trace(
    fault: Callable[[Cloud], None],
    planted: Cloud,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    key_file = Path(planted.warehouse.private_key_path)
    fault(planted)
    caplog.set_level("DEBUG")
    error = run(planted, tmp_path / "instance")

    assert bool(error) == (fault is not nothing)
    output = capfd.readouterr()
    traces = {
        **dict(contents(tmp_path, but=key_file)),
        **dict(in_buckets()),
        "the error": error.encode(),
        "stdout": output.out.encode(),
        "stderr": output.err.encode(),
        "the log": caplog.text.encode(),
        "the function's events": repr(planted.functions.events).encode(),
        "the jobs' arguments": repr(planted.jobs.started).encode(),
        "the statements": repr((planted.wire.statements, planted.wire.logins)).encode(),
        "the resources": repr(planted.warehouse).encode(),
    }
    secrets = {API_KEY, *PLANTED.values(), *key_file.read_text().splitlines()[1:3]}
    assert len(traces) > 50
    assert [
        (place, secret)
        for place, content in traces.items()
        for secret in secrets
        if secret.encode() in content
    ] == []
