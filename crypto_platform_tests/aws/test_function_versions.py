"""What the deployment by versions stands on: a version keeps its code and settings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.ingestion.aws_lambda import LambdaIngestion
from crypto_platform_tests.aws.account import REGION, account, client, role
from crypto_platform_tests.aws.lambda_runtime import running_functions
from infrastructure.package import zipped

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("_two_versions")]

NAME = "crypto-ingestion"


def code(word: str) -> bytes:
    """The zip of a function that says which code and which setting it is run with."""
    body = (
        "import os\n"
        "def lambda_handler(event, context):\n"
        f"    return {{'code': '{word}', 'setting': os.environ.get('SETTING'),\n"
        "            'version': context.function_version, 'arn': context.invoked_function_arn}\n"
    )
    return zipped({"handler.py": body.encode()})


def invoked(name: str, **options: Any) -> dict[str, Any]:
    response = client("lambda").invoke(FunctionName=name, Payload=b"{}", **options)
    answer: dict[str, Any] = json.loads(response["Payload"].read())
    return answer


@pytest.fixture(scope="module")
def _two_versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Version 1 behind the alias ``live``, version 2 published, and a newer $LATEST."""
    folder: Path = tmp_path_factory.mktemp("versions")
    with account(folder / "objects", buckets=()), running_functions(folder / "lambda"):
        functions = client("lambda")
        functions.create_function(
            FunctionName=NAME,
            Runtime="python3.12",
            Role=role("lambda"),
            Handler="handler.lambda_handler",
            Code={"ZipFile": code("first")},
            Environment={"Variables": {"SETTING": "old"}},
        )
        first = functions.publish_version(FunctionName=NAME, Description="first")["Version"]
        functions.create_alias(FunctionName=NAME, Name="live", FunctionVersion=first)
        functions.update_function_code(FunctionName=NAME, ZipFile=code("second"))
        functions.update_function_configuration(
            FunctionName=NAME, Environment={"Variables": {"SETTING": "new"}}
        )
        functions.publish_version(FunctionName=NAME, Description="second")
        functions.update_function_code(FunctionName=NAME, ZipFile=code("third"))
        yield


def test_an_alias_runs_the_code_and_settings_of_its_version() -> None:
    answer = invoked(f"{NAME}:live")
    assert (answer["code"], answer["setting"]) == ("first", "old")
    assert (answer["version"], answer["arn"].rpartition(":")[2]) == ("1", "1")


@pytest.mark.parametrize(("number", "ran"), [("1", ("first", "old")), ("2", ("second", "new"))])
def test_a_version_is_run_by_its_number(number: str, ran: tuple[str, str]) -> None:
    answer = invoked(f"{NAME}:{number}")
    assert (answer["code"], answer["setting"]) == ran


def test_the_name_alone_runs_what_was_deployed_last() -> None:
    assert invoked(NAME)["code"] == "third"


def test_a_qualifier_beside_the_name_counts() -> None:
    assert invoked(NAME, Qualifier="live")["code"] == "first"


def test_the_platform_invokes_an_alias_by_the_functions_name() -> None:
    ingestion = LambdaIngestion(function_name=f"{NAME}:live", region=REGION)
    assert ingestion.invoke({})["code"] == "first"


def test_an_alias_that_is_moved_back_runs_the_version_of_before() -> None:
    functions = client("lambda")
    functions.update_alias(FunctionName=NAME, Name="live", FunctionVersion="2")
    moved = invoked(f"{NAME}:live")["code"]
    functions.update_alias(FunctionName=NAME, Name="live", FunctionVersion="1")
    assert (moved, invoked(f"{NAME}:live")["code"]) == ("second", "first")


def test_an_alias_that_is_not_there_is_a_failure_that_says_what_to_do() -> None:
    ingestion = LambdaIngestion(function_name=f"{NAME}:none", region=REGION)
    with pytest.raises(PermanentFailure, match="INGESTION_FUNCTION"):
        ingestion.invoke({})
    with pytest.raises(ClientError):
        invoked(f"{NAME}:3")


def test_the_configuration_of_a_version_is_its_own() -> None:
    held = client("lambda").get_function_configuration(FunctionName=f"{NAME}:live")
    assert held["Description"] == "first"
    assert held["Version"] == "1"
    assert held["Environment"]["Variables"] == {"SETTING": "old"}
