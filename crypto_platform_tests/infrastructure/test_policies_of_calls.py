"""Whether the policies allow every call that a day of the platform's makes, whoever makes it.

moto takes the calls without asking anybody; they are written down there with who made them, and
decided afterwards. Those of a deployment are decided where one is played, in ``test_deployment``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner
from cloudpathlib import S3Client

from crypto_platform.cli.main import main
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.profiles import PROFILES
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform.transformation.resource import TransformError
from crypto_platform_tests.aws.account import client
from crypto_platform_tests.aws.cloud import Cloud, cloud
from crypto_platform_tests.aws.glue_runs import LOG_GROUP
from crypto_platform_tests.conftest import STAGES
from crypto_platform_tests.infrastructure.iam.accounts import (
    FUNCTION_DOES,
    GLUE_DOES,
    Account,
    refused,
    unexplained,
)
from crypto_platform_tests.infrastructure.iam.calls import Call, recorded
from crypto_platform_tests.infrastructure.iam.decisions import (
    Request,
    Simulator,
    running_simulator,
)
from crypto_platform_tests.infrastructure.iam.requests import requests_of, unused
from crypto_platform_tests.test_end_to_end import newest_keys
from crypto_platform_tests.warehouse.fakesnow_server import Wire, fakesnow_warehouse

pytestmark = [
    pytest.mark.integration,
    # The types that are known to be skipped; see the tests of the templates.
    pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto"),
]

DAGSTER = "dagster"
# Who it is, by what their ARN or key has in it.
CALLERS = {DAGSTER: DAGSTER, "function": "-FunctionRole-", "glue": "-GlueRole-"}
# What is allowed and no day asks for, each with the reason.
UNSEEN = {
    "dagster: glue:BatchStopJobRun on *:job/crypto-intra-day-*": "as of the other job",
    "dagster: glue:GetJobRuns on *": "looks for a job run where the answer to its start was lost",
    "function: s3:PutObject on *:::crypto-raw-data-0704/fear_and_greed/*": "an asset of its own",
    "function: s3:PutObject on *:::crypto-raw-data-0704/rejected/*": "the API says nothing wrong",
    "glue: s3:GetObject on *:::crypto-transformed-data-0704/*": "other windows of a month",
    "glue: s3:ListMultipartUploadParts on *": "a committer may look at what it began",
}


@contextmanager
def acting_as(access_key: str) -> Iterator[None]:
    """While this lasts, calls are made with a key that tells who makes them."""
    cache = S3Client.get_default_client()._local_cache_dir  # noqa: SLF001 - it has no other name
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", access_key)
        # Both keep the credentials of before.
        boto3.setup_default_session()
        S3Client(local_cache_dir=cache).set_as_default_client()
        yield
    boto3.setup_default_session()
    S3Client(local_cache_dir=cache).set_as_default_client()


@pytest.fixture(scope="module")
def calls(
    tmp_path_factory: pytest.TempPathFactory,
    snowflake_server: tuple[dict[str, Any], Wire, Path],
) -> list[Call]:
    """All that is asked of AWS in a day."""
    connection, wire, private_key = snowflake_server
    wire.rewrites.clear()

    build_snowflake = partial(fakesnow_warehouse, connection, private_key)
    with (
        SimulatedMarket() as market,
        cloud(tmp_path_factory.mktemp("day"), market, build_snowflake, wire, {}) as platform,
        recorded() as asked,
        acting_as(DAGSTER),
    ):
        a_day(platform)
    wire.rewrites.clear()
    return asked


def a_day(platform: Cloud) -> None:
    """Both streams, a job run that fails, one that takes too long, and a look at all of it."""
    for stream, stages in ((HISTORICAL, ("tracked_coins", *STAGES)), (INTRA_DAY, STAGES)):
        (key,) = newest_keys(stream, 1)
        assert platform.platform.materialize(stream, key, stages=stages).success
    transform = PROFILES["aws"].builders["transform"](platform.settings)
    # The stand-in makes it for the log of a job run that fails.
    client("logs").delete_log_group(logGroupName=LOG_GROUP)
    with pytest.raises(TransformError):
        transform.run(HISTORICAL.job, {"nothing": "that the job knows"})
    hasty = type(transform)(**{**dict(transform), "patience": 0})
    with pytest.raises(TransformError, match="was stopped"):
        hasty.run(HISTORICAL.job, {})
    looked = CliRunner().invoke(main, ["doctor", "--send"])
    assert looked.exit_code == 0, looked.output


def by_caller(calls: list[Call]) -> dict[str, list[Request]]:
    found: dict[str, list[Request]] = {name: [] for name in CALLERS}
    for call in calls:
        (name,) = [name for name, sign in CALLERS.items() if sign in call.caller]
        found[name] += requests_of(call)
    return found


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running_simulator() as running:
        yield running


def test_every_call_of_a_day_is_allowed_to_whoever_makes_it(
    calls: list[Call], simulator: Simulator
) -> None:
    account = Account()
    for name, requests in by_caller(calls).items():
        assert len(requests) > 1
        assert refused(simulator, account, account.everybody[name], requests) == []


def test_what_is_allowed_and_no_day_asks_for_is_known(calls: list[Call]) -> None:
    account = Account()
    asked = by_caller(calls)
    asked["glue"] += GLUE_DOES
    asked["function"] += FUNCTION_DOES
    found = [
        f"{name}: {grant}"
        for name, requests in asked.items()
        for grant in unused(account.everybody[name].policies.values(), requests)
    ]

    assert unexplained(found, UNSEEN) == []
