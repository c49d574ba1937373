import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lambda_function
from crypto_platform_tests.lambda_function.conftest import Ingestion, Reply
from lambda_function.errors import (
    InvalidRequest,
    InvalidSettings,
    NothingFetched,
    NothingFetchedYet,
)
from lambda_function.handler import lambda_handler


def test_a_ping_says_which_api_answered(ingestion: Ingestion) -> None:
    assert ingestion.run({"action": "ping"}) == {
        "calls": 1,
        "credits": 1,
        "source": "coingecko",
        "clock_ahead": 0.0,
        "plan": "analyst",
        "base_url": ingestion.api.base_url,
    }


@pytest.mark.parametrize(
    ("reply", "error"),
    [(Reply(status=404), NothingFetched), (Reply(status=503), NothingFetchedYet)],
)
def test_a_ping_that_is_not_answered_as_one_is_an_error(
    ingestion: Ingestion, reply: Reply, error: type[Exception]
) -> None:
    ingestion.api.always("ping", reply)
    with pytest.raises(error, match="The action ping got nothing") as caught:
        ingestion.run({"action": "ping"})
    assert caught.type is error


@pytest.mark.parametrize("event", [{}, {"action": "drop"}, {"action": None}, {"action": ["ping"]}])
def test_an_unknown_action_is_an_invalid_request(
    ingestion: Ingestion, event: dict[str, object]
) -> None:
    with pytest.raises(InvalidRequest, match="must be one of prices, markets, ping"):
        ingestion.run(event)


def test_settings_come_from_the_environment(
    ingestion: Ingestion, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ingestion.environment.items():
        monkeypatch.setenv(name, value)
    assert lambda_handler({"action": "ping"})["base_url"] == ingestion.api.base_url


def test_wrong_settings_are_an_error_before_any_call(ingestion: Ingestion) -> None:
    ingestion.environment["COINGECKO_CALLS_A_MINUTE"] = "fast"
    with pytest.raises(InvalidSettings, match="COINGECKO_CALLS_A_MINUTE is 'fast'"):
        ingestion.prices(["bitcoin"], ingestion.days(1))
    assert ingestion.api.asked == []


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


def test_the_package_can_be_zipped_with_requests_and_cloudpathlib_alone() -> None:
    # What requests raises while a body is read is urllib3's, which comes with it.
    zipped = {"lambda_function", "requests", "urllib3", "cloudpathlib"}
    in_lambdas_image = {"boto3", "botocore"}
    allowed = sys.stdlib_module_names | zipped | in_lambdas_image
    (folder,) = lambda_function.__path__
    found = {name for file in Path(folder).glob("*.py") for name in imported(file)}
    assert found - allowed == set()
