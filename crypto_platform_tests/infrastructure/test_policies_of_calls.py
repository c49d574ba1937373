"""Whether the policies allow every call that is made: a day of the platform's, and a deployment.

moto takes the calls without asking anybody; they are written down there with who made them, and
decided afterwards. What it cannot be made to see stands in ``RARELY``.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
from click.testing import CliRunner
from cloudpathlib import S3Client

from crypto_platform.cli.main import main
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.profiles import PROFILES
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform.transformation.resource import TransformError
from crypto_platform_tests.aws.cloud import Cloud, as_documented, cloud
from crypto_platform_tests.conftest import STAGES
from crypto_platform_tests.infrastructure.iam.accounts import Account, refused, unexplained
from crypto_platform_tests.infrastructure.iam.calls import Call, recorded
from crypto_platform_tests.infrastructure.iam.decisions import (
    Request,
    Simulator,
    running_simulator,
)
from crypto_platform_tests.infrastructure.iam.requests import requests_of, unused
from crypto_platform_tests.test_end_to_end import newest_keys
from crypto_platform_tests.warehouse.fakesnow_server import Wire, fakesnow_warehouse
from infrastructure.deploy import deploy
from infrastructure.package import artifacts, version

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto"),
]

DAGSTER, DEPLOYER = "dagster", "deploy"


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
    tmp_path_factory: pytest.TempPathFactory, snowflake_server: tuple[dict, Wire, object]
) -> list[Call]:
    connection, wire, private_key = snowflake_server

    def build_snowflake(lake_root: str, **options):
        return fakesnow_warehouse(connection, private_key, lake_root, **options)

    folder = tmp_path_factory.mktemp("day")
    with (
        SimulatedMarket() as market,
        cloud(folder, market, build_snowflake, wire, {}) as platform,
        recorded() as calls,
    ):
        import time; t0=time.time(); c0=time.process_time(); T=lambda w: print('TIME',w,time.time()-t0,time.process_time()-c0)
        T('cloud')
        with acting_as(DAGSTER):
            global TT; TT=T
            a_day(platform)
        with acting_as(DEPLOYER):
            a_deployment()
    return calls


def a_day(cloud: Cloud) -> None:
    for stream, stages in ((HISTORICAL, ("tracked_coins", *STAGES)), (INTRA_DAY, STAGES)):
        (key,) = newest_keys(stream, 1)
        assert cloud.platform.materialize(stream, key, stages=stages).success
    TT('materialized')
    transform = PROFILES["aws"].builders["transform"](cloud.settings)
    with pytest.raises(TransformError):
        transform.run(HISTORICAL.job, {"nothing": "of use"})
    with pytest.raises(TransformError, match="did not end"):
        type(transform)(**{**dict(transform), "patience": 0}).run(HISTORICAL.job, {})
    TT('transform')
    looked = CliRunner().invoke(main, ["doctor", "--send"])
    assert looked.exit_code == 0, looked.output


def a_deployment() -> None:
    TT('doctor')
    for command in (
        ["names"],
        ["stage", version(artifacts())],
        ["publish", version(artifacts())],
        ["promote", "1"],
        ["rollback", version(artifacts())],
        ["versions"],
        ["settings"],
        ["drift"],
    ):
        TT(command); print(command, CliRunner().invoke(deploy, command))


def test_x(calls):
    seen = dict.fromkeys((c.caller, c.service, c.operation) for c in calls)
    for one in seen:
        print(one)
    for c in calls:
        for r in requests_of(c):
            print(c.caller, r)
    assert 0
