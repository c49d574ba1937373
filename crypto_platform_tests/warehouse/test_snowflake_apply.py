import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from crypto_platform.cli.main import main
from crypto_platform.core.settings import Settings, SettingsError
from crypto_platform.warehouse.snowflake import SnowflakeWarehouse
from crypto_platform.warehouse.snowflake_apply import SCRIPTS, steps

ENVIRONMENT = {
    "SNOWFLAKE_ACCOUNT": "example",
    "SNOWFLAKE_USER": "admin",
    "SNOWFLAKE_PRIVATE_KEY_PATH": "/nowhere/key.p8",
    "SNOWFLAKE_STORAGE_ROLE_ARN": "arn:aws:iam::123456789012:role/snowflake",
    "TRANSFORMED_BUCKET": "crypto-transformed",
}
QUEUE = "arn:aws:sqs:us-east-2:123456789012:sf-snowpipe"


class Account:
    """A Snowflake account as a session sees it: it answers as Snowflake's documents say it does.

    fakesnow has no integrations and pipes, and calls everything new each time.
    """

    def __init__(self) -> None:
        self.objects: set[str] = set()
        self.statements: list[str] = []

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[dict[str, Any]]:
        assert not params
        self.statements.append(sql)
        if sql.startswith("DESCRIBE INTEGRATION"):
            return [
                {"property": "STORAGE_AWS_IAM_USER_ARN", "property_value": "arn:aws:iam::1:user/x"},
                {"property": "STORAGE_AWS_EXTERNAL_ID", "property_value": "EXTERNAL_ID=1"},
            ]
        if "information_schema.columns" in sql:
            return []
        if sql.startswith("SHOW PIPES"):
            return [{"name": "HISTORICAL_PRICES_PIPE", "notification_channel": QUEUE}]
        if not (made := re.match(r"CREATE [\w ]+ IF NOT EXISTS (\S+)", sql)):
            return [{"status": "Statement executed successfully."}]
        if made[1] in self.objects:
            return [{"status": f"{made[1]} already exists, statement succeeded."}]
        self.objects.add(made[1])
        return [{"status": f"{made[1]} successfully created."}]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    account = Account()
    monkeypatch.setattr(SnowflakeWarehouse, "session", lambda *_, **__: nullcontext(account))
    return account


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    # No .env of whoever runs the tests.
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **variables: str) -> Any:
        for name, text in {**ENVIRONMENT, **variables}.items():
            monkeypatch.setenv(name, text)
        return CliRunner().invoke(main, ["snowflake", "apply", *arguments])

    return run


def test_the_scripts_run_in_order_and_say_what_is_new(
    account: Account, run: Callable[..., Any]
) -> None:
    result = run()

    assert result.exit_code == 0
    assert re.search(r"created +CREATE DATABASE IF NOT EXISTS crypto_db", result.output)
    assert re.search(r"set +CREATE OR REPLACE VIEW transformed.prices", result.output)
    places = [
        next(place for place, sql in enumerate(account.statements) if made in sql)
        for made in ("CREATE DATABASE", "CREATE STAGE", "PIPE IF NOT EXISTS transformed.intra_day")
    ]
    assert places == sorted(places)


def test_run_again_it_says_that_all_is_there(account: Account, run: Callable[..., Any]) -> None:
    run()
    made = set(account.objects)

    result = run()

    assert account.objects == made
    assert not re.search(r"^created", result.output, flags=re.MULTILINE)
    assert re.search(r"already there +CREATE TABLE IF NOT EXISTS transformed.coins", result.output)


@pytest.mark.usefixtures("account")
def test_it_says_what_aws_has_to_be_told(run: Callable[..., Any]) -> None:
    output = run().output

    assert "arn:aws:iam::1:user/x with the external id EXTERNAL_ID=1" in output
    assert f"notify {QUEUE} (HISTORICAL_PRICES_PIPE)" in output


def test_a_dry_run_prints_every_statement_and_runs_none(
    account: Account, run: Callable[..., Any]
) -> None:
    result = run("--dry-run")

    assert account.statements == []
    assert all(f"-- {script}\n" in result.output for script in SCRIPTS)
    assert "URL = 's3://crypto-transformed/'" in result.output
    assert "&{" not in result.output


@pytest.mark.parametrize(("mode", "paused"), [("copy", "TRUE"), ("snowpipe", "FALSE")])
def test_pipes_run_only_where_loads_wait_for_them(mode: str, paused: str) -> None:
    todo = steps(Settings.from_environment({**ENVIRONMENT, "SNOWFLAKE_LOAD_MODE": mode}))

    alters = [step.sql for step in todo if step.sql.startswith("ALTER PIPE")]
    assert len(alters) == 3
    assert all(sql.endswith(f"SET PIPE_EXECUTION_PAUSED = {paused}") for sql in alters)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TRANSFORMED_BUCKET", "bucket'; DROP DATABASE crypto_db; --"),
        ("SNOWFLAKE_STORAGE_ROLE_ARN", ""),
        ("SNOWFLAKE_STORAGE_ROLE_ARN", "arn:aws:iam::123456789012:role/x') --"),
        ("SNOWFLAKE_DATABASE", "OTHER_DB"),
    ],
)
def test_what_cannot_be_given_to_a_script_is_named(name: str, text: str) -> None:
    settings = Settings.from_environment({**ENVIRONMENT, name: text})

    with pytest.raises(SettingsError, match=name):
        steps(settings)


def test_a_refused_login_is_told_in_a_sentence_and_not_as_a_traceback(
    run: Callable[..., Any],
) -> None:
    result = run()

    assert result.exit_code == 1
    assert "Error: The private key /nowhere/key.p8 cannot be read" in result.output
