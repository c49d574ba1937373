"""What a test on a real account needs, and the reason to skip it where that is not there."""

import os
from collections.abc import Mapping

import pytest

from crypto_platform.doctor.preflight import PreflightResult
from crypto_platform.doctor.runner import examine
from crypto_platform.doctor.snowflake import LOGIN_VARIABLES


@pytest.fixture(scope="module")
def environment() -> Mapping[str, str]:
    """The variables of a platform whose stack is there."""
    # Whoever has credentials for something else must not reach it by running the tests.
    if os.environ.get("CRYPTO_PROFILE") != "aws":
        pytest.skip("needs CRYPTO_PROFILE=aws, and an account that the platform is deployed to")
    import boto3  # noqa: PLC0415 - half a second, and only here

    if boto3.Session().get_credentials() is None:
        pytest.skip("needs credentials for AWS: run aws configure, or act as a role")
    return dict(os.environ)


@pytest.fixture(scope="module")
def results(environment: Mapping[str, str]) -> Mapping[str, PreflightResult]:
    """What the doctor finds, a message to the topic included."""
    return {result.check: result for result in examine(environment, send=True)}


@pytest.fixture(scope="module")
def with_snowflake(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The variables of a platform that can log in to Snowflake too."""
    unset = [name for name in LOGIN_VARIABLES if not environment.get(name)]
    if unset:
        pytest.skip(f"needs a log-in to Snowflake: set {', '.join(unset)}")
    return environment
