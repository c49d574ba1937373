"""What serves while new code is staged, promoted and taken back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from crypto_platform_tests.aws.account import account, client
from crypto_platform_tests.aws.stack import Deployment

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Served:
    """What a moment has.

    Attributes:
        code: The newest code of the function, which its next version has.
        version: What its alias serves; empty without one.
        version_code: The code of that version.
        scripts: The folders that the jobs run.
    """

    code: str
    version: str
    version_code: str
    scripts: set[str]


def served(deployment: Deployment) -> Served:
    functions, glue = client("lambda"), client("glue")
    version, version_code = "", ""
    try:
        alias = functions.get_alias(FunctionName=deployment.function, Name="live")
    except functions.exceptions.ResourceNotFoundException:
        pass
    else:
        version = alias["FunctionVersion"]
        version_code = code_of(
            functions.get_function_configuration(
                FunctionName=deployment.function, Qualifier=version
            )
        )
    jobs = glue.get_jobs()["Jobs"]
    return Served(
        code_of(functions.get_function_configuration(FunctionName=deployment.function)),
        version,
        version_code,
        {job["Command"]["ScriptLocation"].split("/")[-2] for job in jobs}
        | {job["DefaultArguments"]["--extra-py-files"].split("/")[-2] for job in jobs},
    )


def code_of(function: dict[str, Any]) -> str:
    """The code's version, by which a published one is found again."""
    _, _, code = function["Description"].rpartition("code ")
    return str(code)


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """What is served after each step of two deployments and a way back."""
    with account(tmp_path_factory.mktemp("objects"), buckets=()):
        deployment = Deployment()
        found = {}
        deployment.bootstrap()
        deployment.change(CodeVersion=deployment.upload("one"))
        found["first staged"] = served(deployment)
        first = deployment.publish()
        deployment.change(LiveFunctionVersion=first, LiveCodeVersion="one")
        found["first promoted"] = served(deployment)
        # Again, as after a change of bootstrap.yaml.
        deployment.bootstrap(GitHubEnvironment="production")
        deployment.change(CodeVersion=deployment.upload("two"))
        found["second staged"] = served(deployment)
        second = deployment.publish()
        deployment.change(LiveFunctionVersion=second, LiveCodeVersion="two")
        found["second promoted"] = served(deployment)
        deployment.change(LiveFunctionVersion=first, LiveCodeVersion="one")
        found["taken back"] = served(deployment)
        yield found


def test_what_was_not_seen_to_work_does_not_serve_not_even_at_first(
    moments: dict[str, Served],
) -> None:
    assert moments["first staged"] == Served("one", "", "", {"one"})


def test_a_promoted_version_serves(moments: dict[str, Served]) -> None:
    assert moments["first promoted"] == Served("one", "1", "one", {"one"})


def test_new_code_is_staged_beside_what_serves(moments: dict[str, Served]) -> None:
    assert moments["second staged"] == Served("two", "1", "one", {"one"})


def test_a_second_promotion_moves_the_function_and_the_jobs(moments: dict[str, Served]) -> None:
    assert moments["second promoted"] == Served("two", "2", "two", {"two"})


def test_the_way_back_needs_no_new_code(moments: dict[str, Served]) -> None:
    assert moments["taken back"] == Served("two", "1", "one", {"one"})
