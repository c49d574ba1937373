"""Faults of the cloud, each end to end: told clearly, nothing lost or doubled, then it succeeds.

One of each seam; the others of its kind are with the tests of the function, the jobs and Snowflake.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from crypto_platform.core.streams import HISTORICAL
from crypto_platform.ingestion.aws_lambda import LambdaIngestion
from crypto_platform.ingestion.resource import FunctionBusy, IngestionFailure
from crypto_platform.lake.storage import LakeRefusedError
from crypto_platform.profiles import PROFILES
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform.transformation.resource import TransformError
from crypto_platform.warehouse.snowflake_errors import SnowflakeUnavailableError
from crypto_platform_tests.aws.account import client
from crypto_platform_tests.aws.cloud import Cloud
from crypto_platform_tests.aws.permissions import acting, platform_policy
from crypto_platform_tests.aws.test_assets_on_aws import existing, truth
from crypto_platform_tests.aws.test_lambda_ingestion import function_that
from crypto_platform_tests.test_end_to_end import newest_keys
from infrastructure.package import function_zip

pytestmark = [
    pytest.mark.integration,
    # The types that are known to be skipped; see the tests of the templates.
    pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto"),
    # The connector cancels a statement in a thread of its own, which cannot connect either.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]

Fault = Callable[[Cloud], AbstractContextManager[None]]


@contextmanager
def throttled(cloud: Cloud) -> Iterator[None]:
    """Another run has the function for longer than this one waits."""
    settings = cloud.settings
    hurried = LambdaIngestion(
        function_name=settings.ingestion_function, region=settings.aws_region, patience=0.3
    )
    with cloud.functions.busy, pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROFILES["aws"].builders, "ingestion", lambda _: hurried)
        yield


@contextmanager
def crashing(cloud: Cloud) -> Iterator[None]:
    """The function raises what nobody foresaw."""
    name = cloud.settings.ingestion_function
    code = function_that("raise KeyError('unforeseen')")
    client("lambda").update_function_code(FunctionName=name, ZipFile=code)
    yield
    client("lambda").update_function_code(FunctionName=name, ZipFile=function_zip())


def ending_as(state: str) -> Fault:
    """A job run writes all it should, and ends so nevertheless."""

    @contextmanager
    def fault(cloud: Cloud) -> Iterator[None]:
        cloud.jobs.reported = (state, "Glue says why.")
        yield
        cloud.jobs.reported = None

    return fault


def without(bucket: str) -> Fault:
    """Who Dagster runs as lacks what the stack's policy allows on a bucket."""

    @contextmanager
    def fault(cloud: Cloud) -> Iterator[None]:
        del cloud
        policy = platform_policy()
        for statement in policy["Statement"]:
            resources = statement["Resource"]
            resources = resources if isinstance(resources, list) else [resources]
            statement["Resource"] = [one for one in resources if bucket not in one]
        policy["Statement"] = [one for one in policy["Statement"] if one["Resource"]]
        with acting([policy]):
            yield

    return fault


@contextmanager
def losing_snowflake(cloud: Cloud) -> Iterator[None]:
    """The connection is lost between DELETE and COMMIT."""
    cloud.wire.cut_at = "DELETE FROM historical_prices"
    yield
    cloud.wire.mend()


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        pytest.param(throttled, FunctionBusy, "busy for 0.3 s", id="a throttled function"),
        pytest.param(crashing, IngestionFailure, "KeyError: 'unforeseen'", id="a function error"),
        pytest.param(ending_as("FAILED"), TransformError, "ended as FAILED", id="FAILED"),
        pytest.param(
            without("crypto-raw"),
            LakeRefusedError,
            "raw lake, s3://crypto-raw-data-0704, may not be used.*attach the platform.s policy",
            id="access denied to the raw bucket",
        ),
        pytest.param(
            losing_snowflake,
            SnowflakeUnavailableError,
            "connection to Snowflake was lost",
            id="a lost connection to Snowflake",
        ),
    ],
)
def test_after_a_fault_nothing_is_lost_or_doubled_and_the_next_try_succeeds(
    fault: Fault,
    error: type[Exception],
    message: str,
    build_cloud: Callable[..., Cloud],
    market: SimulatedMarket,
) -> None:
    cloud = build_cloud()
    first, second = newest_keys(HISTORICAL, 2)
    cloud.platform.materialize(HISTORICAL, first)
    before = existing(cloud, HISTORICAL)

    with fault(cloud), pytest.raises(error, match=message):
        cloud.platform.materialize(HISTORICAL, first, second)

    assert existing(cloud, HISTORICAL) == before
    cloud.platform.materialize(HISTORICAL, first, second)
    expected = truth(market, HISTORICAL, [HISTORICAL.window(first), HISTORICAL.window(second)])
    assert existing(cloud, HISTORICAL) == expected
    assert len(expected) == 4
