"""What the doctor finds in a Snowflake account that is not as the scripts make it.

Its answers are as documented; tables, columns and stages are looked at on fakesnow, in aws/.
"""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from crypto_platform.doctor.preflight import PreflightResult
from crypto_platform.doctor.runner import examine
from crypto_platform.doctor.snowflake import SNOWFLAKE_CHECKS, defined_pipes
from crypto_platform.warehouse.snowflake import SnowflakeWarehouse
from crypto_platform.warehouse.snowflake_errors import SnowflakeRefusedError

ENVIRONMENT = {
    "CRYPTO_PROFILE": "aws",
    "SNOWFLAKE_ACCOUNT": "example",
    "SNOWFLAKE_USER": "CRYPTO_SERVICE",
    "SNOWFLAKE_PRIVATE_KEY_PATH": "/nowhere/key.p8",
}
SNOWPIPE = {"SNOWFLAKE_LOAD_MODE": "snowpipe"}
STAGE = "s3://crypto-transformed-data-0704/"


class Account:
    """What an account answers the doctor."""

    def __init__(self) -> None:
        self.pipes = dict(defined_pipes())
        self.state = "RUNNING"
        self.timeouts = {
            "STATEMENT_TIMEOUT_IN_SECONDS": "1800",
            "STATEMENT_QUEUED_TIMEOUT_IN_SECONDS": "600",
        }
        self.monitors = [
            {
                "name": "CRYPTO_MONITOR",
                "level": "WAREHOUSE",
                "credit_quota": "30.00",
                "used_credits": "1.50",
            }
        ]
        self.is_trusted = True

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[dict[str, Any]]:
        assert not params
        if sql.startswith("LIST") and not self.is_trusted:
            raise SnowflakeRefusedError("Snowflake says: Error assuming AWS_ROLE.")
        user = {"user_name": "CRYPTO_SERVICE", "role": "CRYPTO_LOADER", "warehouse": "CRYPTO_WH"}
        answers: dict[str, list[dict[str, Any]]] = {
            "SHOW PIPES": [
                {"name": one.upper(), "definition": text} for one, text in self.pipes.items()
            ],
            "SHOW PARAMETERS": [
                {"key": name, "value": text} for name, text in self.timeouts.items()
            ],
            "SHOW RESOURCE MONITORS": self.monitors,
            "SHOW STAGES": [{"name": "TRANSFORMED_LAKE", "url": STAGE}],
            "SYSTEM$PIPE_STATUS": [{"status": json.dumps({"executionState": self.state})}],
            "CURRENT_WAREHOUSE": [user],
        }
        return next((rows for words, rows in answers.items() if words in sql), [])


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    account = Account()
    monkeypatch.setattr(SnowflakeWarehouse, "session", lambda *_, **__: nullcontext(account))
    # Of the profile's checks only these: the others ask AWS.
    monkeypatch.setattr("crypto_platform.doctor.runner.CHECKS", {"aws": SNOWFLAKE_CHECKS})
    return account


def look(check: str, **variables: str) -> PreflightResult:
    results = examine({**ENVIRONMENT, **variables})
    (result,) = [one for one in results if one.check == check]
    return result


@pytest.mark.usefixtures("account")
def test_pipes_as_the_scripts_have_them_that_run_are_right_in_mode_snowpipe() -> None:
    result = look("Snowflake pipes", **SNOWPIPE)

    assert (result.status, result.found) == (
        "passed",
        "3 pipes are as the scripts have them, and run",
    )


def test_a_pipe_that_is_missing_is_a_fault_in_mode_snowpipe_alone(account: Account) -> None:
    del account.pipes["historical_prices_pipe"]
    account.state = "PAUSED"

    assert "historical_prices_pipe is not there" in look("Snowflake pipes", **SNOWPIPE).found
    assert look("Snowflake pipes").found.endswith("the 2 that are there are paused")


def test_mode_copy_needs_no_pipes(account: Account) -> None:
    account.pipes.clear()

    result = look("Snowflake pipes")

    assert (result.status, result.found) == (
        "passed",
        "SNOWFLAKE_LOAD_MODE=copy needs no pipes, and there are none",
    )


def test_a_pipe_that_copies_otherwise_than_its_script(account: Account) -> None:
    account.pipes["historical_prices_pipe"] = "COPY INTO other"

    result = look("Snowflake pipes", **SNOWPIPE)

    assert result.status == "failed"
    assert "historical_prices_pipe copies otherwise than its script" in result.found


@pytest.mark.parametrize(
    ("state", "mode", "wanted"), [("RUNNING", "copy", "PAUSED"), ("PAUSED", "snowpipe", "RUNNING")]
)
def test_a_pipe_in_another_state_than_the_load_mode_wants(
    account: Account, state: str, mode: str, wanted: str
) -> None:
    account.state = state

    result = look("Snowflake pipes", SNOWFLAKE_LOAD_MODE=mode)

    assert result.status == "failed"
    assert f"is {state}, and SNOWFLAKE_LOAD_MODE={mode} wants it {wanted}" in result.found


def test_a_role_on_aws_that_does_not_trust_snowflake(account: Account) -> None:
    account.is_trusted = False

    result = look("Snowflake stage")

    assert result.status == "failed"
    assert "Error assuming AWS_ROLE" in result.found
    assert "crypto-platform snowflake handover prints" in result.what_to_do


@pytest.mark.usefixtures("account")
def test_limits_that_are_there_are_told_with_what_is_used() -> None:
    result = look("Snowflake limits")

    assert (result.status, result.found) == (
        "passed",
        "CRYPTO_MONITOR: 1.50 of 30.00 credits of this month; statements end in time",
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("STATEMENT_TIMEOUT_IN_SECONDS", "172800"),
        ("STATEMENT_TIMEOUT_IN_SECONDS", "0"),
        ("STATEMENT_QUEUED_TIMEOUT_IN_SECONDS", "0"),
    ],
)
def test_a_warehouse_without_limits_of_time(account: Account, name: str, text: str) -> None:
    account.timeouts[name] = text

    result = look("Snowflake limits")

    assert result.status == "failed"
    assert f"{name} of CRYPTO_WH is {text}" in result.found


def test_a_stricter_limit_is_left_to_whoever_set_it(account: Account) -> None:
    account.timeouts["STATEMENT_TIMEOUT_IN_SECONDS"] = "300"

    assert look("Snowflake limits").status == "passed"


def test_a_resource_monitor_that_is_missing_or_watches_nothing(account: Account) -> None:
    account.monitors[0]["level"] = "NULL"
    assert "CRYPTO_MONITOR watches no warehouse" in look("Snowflake limits").found

    account.monitors.clear()
    result = look("Snowflake limits")
    assert "CRYPTO_MONITOR is not there, or not for this role" in result.found
    assert "snowflake integration" in result.what_to_do


@pytest.mark.usefixtures("account")
def test_a_warehouse_that_the_scripts_did_not_make_is_its_owners_to_limit() -> None:
    result = look("Snowflake limits", SNOWFLAKE_WAREHOUSE="COMPUTE_WH")

    assert result.status == "skipped"
    assert "SNOWFLAKE_WAREHOUSE=COMPUTE_WH is not CRYPTO_WH" in result.found
