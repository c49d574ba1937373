"""The live suite itself, run where all of the cloud is on this machine: that it works is known."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crypto_platform.doctor.preflight import PreflightResult
from crypto_platform.doctor.runner import CHECKS, examine
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform_tests.aws.cloud import cloud
from crypto_platform_tests.live import test_account
from crypto_platform_tests.live.test_account import (
    test_a_partition_goes_all_the_way_and_again_without_a_change,  # noqa: F401 - collected here
    test_the_doctor_finds_nothing_wrong_with,  # noqa: F401
    test_the_jobs_are_defined_as_the_platform_needs_them,  # noqa: F401
    test_what_the_function_refuses_is_reported_in_its_own_words,  # noqa: F401
)
from crypto_platform_tests.warehouse.fakesnow_server import Wire, fakesnow_warehouse

pytestmark = [
    pytest.mark.integration,
    # The types that are known to be skipped; see the tests of the templates.
    pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto"),
]


@pytest.fixture(scope="module")
def environment(
    snowflake_server: tuple[dict[str, Any], Wire, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, str]]:
    connection, wire, private_key = snowflake_server
    wire.rewrites.clear()

    build = partial(fakesnow_warehouse, connection, private_key)
    with (
        SimulatedMarket() as market,
        cloud(tmp_path_factory.mktemp("cloud"), market, build, wire, {}) as here,
    ):
        yield here.environment


@pytest.fixture(scope="module")
def results(environment: Mapping[str, str]) -> Mapping[str, PreflightResult]:
    return {result.check: result for result in examine(environment, send=True)}


@pytest.fixture(scope="module")
def with_snowflake(environment: Mapping[str, str]) -> Mapping[str, str]:
    return environment


def test_every_test_of_the_suite_is_run_here_too() -> None:
    suite = {name for name in vars(test_account) if name.startswith("test_")}
    assert suite <= globals().keys()


def test_every_check_of_the_profile_is_in_the_suite() -> None:
    (marker,) = test_account.test_the_doctor_finds_nothing_wrong_with.pytestmark
    assert [*marker.args[1], "Dagster instance"] == [check.name for check in CHECKS["aws"]]
