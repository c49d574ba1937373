import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from crypto_platform.cli.main import main
from crypto_platform.core.settings import Settings, SettingsError
from crypto_platform.warehouse.snowflake import SnowflakeWarehouse
from crypto_platform.warehouse.snowflake_apply import (
    ACCOUNT_SCRIPT,
    SCRIPTS,
    RoleNotAssumableError,
    account_steps,
    apply,
    integrate,
    steps,
)
from crypto_platform.warehouse.snowflake_errors import SnowflakeRefusedError
from crypto_platform.warehouse.snowflake_names import SnowflakeNames
from crypto_platform_tests.warehouse.snowflake_account import (
    EXTERNAL_ID,
    QUEUE,
    USER_ARN,
    Account,
)

ENVIRONMENT = {
    "SNOWFLAKE_ACCOUNT": "example",
    "SNOWFLAKE_USER": "admin",
    "SNOWFLAKE_PRIVATE_KEY_PATH": "/nowhere/key.p8",
    "SNOWFLAKE_STORAGE_ROLE_ARN": "arn:aws:iam::123456789012:role/snowflake",
    "TRANSFORMED_BUCKET": "crypto-transformed",
}
SNOWPIPE = {"SNOWFLAKE_LOAD_MODE": "snowpipe"}
NAMES = SnowflakeNames.of(Settings.from_environment(ENVIRONMENT))
PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMIIB\nIjAN\n-----END PUBLIC KEY-----\n"
PIPES = {"HISTORICAL_PRICES_PIPE", "INTRA_DAY_PRICES_PIPE", "MARKET_SNAPSHOTS_PIPE"}

Run = Callable[..., Result]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    """A new account; each session begins with the role that it logs in with."""
    account = Account()

    def session(warehouse: SnowflakeWarehouse, **_: Any) -> nullcontext[Account]:
        account.role = warehouse.role
        return nullcontext(account)

    monkeypatch.setattr(SnowflakeWarehouse, "session", session)
    return account


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    # No .env of whoever runs the tests.
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **variables: str) -> Result:
        for name, text in {**ENVIRONMENT, **variables}.items():
            monkeypatch.setenv(name, text)
        return CliRunner().invoke(main, ["snowflake", *arguments])

    return run


def deploy_stack(account: Account, handed_over: Result) -> dict[str, str]:
    """What the stack on AWS does with the parameters that were printed: the role trusts them."""
    parameters = dict(line.split("=", 1) for line in handed_over.stdout.splitlines())
    account.trusted = (
        parameters["SnowflakeUserArn"] == USER_ARN
        and parameters["SnowflakeExternalId"] == EXTERNAL_ID
    )
    return parameters


def settings(**variables: str) -> Settings:
    return Settings.from_environment({**ENVIRONMENT, **variables})


def existing_account(account: Account) -> None:
    """Make what an earlier version's scripts made, all of it as ACCOUNTADMIN."""
    account.trusted = True
    for kind, name in (
        ("ROLE", "CRYPTO_LOADER"),
        ("ROLE", "CRYPTO_READER"),
        ("WAREHOUSE", "CRYPTO_WH"),
        ("STORAGE INTEGRATION", "CRYPTO_LAKE"),
        ("DATABASE", "CRYPTO_DB"),
        ("SCHEMA", "TRANSFORMED"),
        ("TABLE", "COINS"),
        ("VIEW", "PRICES"),
        ("FILE FORMAT", "LAKE_PARQUET"),
        ("STAGE", "TRANSFORMED_LAKE"),
        *(("PIPE", pipe) for pipe in PIPES),
    ):
        account.owners[kind, name] = "ACCOUNTADMIN"
    account.paused = dict.fromkeys(PIPES, False)


# The three phases


@pytest.mark.parametrize("mode", ["copy", "snowpipe"])
def test_the_three_phases_follow_one_another_and_all_can_be_run_again(
    account: Account, run: Run, mode: str
) -> None:
    for time in ("first", "again"):
        integration = run("integration", SNOWFLAKE_LOAD_MODE=mode)
        assert integration.exit_code == 0, integration.output
        deploy_stack(account, run("handover"))
        applied = run("apply")
        assert applied.exit_code == 0, applied.output
        created = re.findall(r"^created", integration.output + applied.output, flags=re.MULTILINE)
        assert bool(created) == (time == "first")

    assert {name for kind, name in account.owners if kind == "PIPE"} == (
        PIPES if mode == "snowpipe" else set()
    )
    assert not any(account.paused.values())


def test_pipes_before_the_stack_are_refused_with_what_to_do_and_come_after_it(
    account: Account, run: Run
) -> None:
    run("integration", **SNOWPIPE)

    account.role = "SYSADMIN"

    with pytest.raises(RoleNotAssumableError, match=r"snowflake handover prints.*AWS_ROLE"):
        list(apply(account, steps(settings(**SNOWPIPE)), settings(**SNOWPIPE), patience=0))

    deploy_stack(account, run("handover"))
    assert run("apply").exit_code == 0
    assert account.paused.keys() == PIPES


def test_a_trust_that_is_not_known_everywhere_yet_is_waited_for(account: Account, run: Run) -> None:
    run("integration", **SNOWPIPE)
    deploy_stack(account, run("handover"))
    account.tries_until_trusted = 2
    account.role = "SYSADMIN"

    outcomes = apply(account, steps(settings(**SNOWPIPE)), settings(**SNOWPIPE), interval=0)

    assert {"created"} == {one.change for one in outcomes if one.step.sql.startswith("CREATE PIPE")}


def test_another_refusal_of_a_pipe_is_not_waited_for(account: Account) -> None:
    account.role, account.trusted = "SYSADMIN", True
    pipes = [one for one in steps(settings(**SNOWPIPE)) if one.sql.startswith("CREATE PIPE")]

    with pytest.raises(SnowflakeRefusedError, match=r"Insufficient privileges .* for PIPE"):
        list(apply(account, pipes, settings(**SNOWPIPE)))

    assert sum("CREATE PIPE" in sql for sql in account.statements) == 1


def test_each_phase_says_what_comes_next(account: Account, run: Run) -> None:
    integration = run("integration", **SNOWPIPE).output
    account.trusted = True
    applied = run("apply").output

    connect = "python -m infrastructure.deploy connect FILE\n"
    assert "the stack needs SnowflakeUserArn, SnowflakeExternalId." in integration
    assert integration.endswith(f"{connect}Then: crypto-platform snowflake apply\n")
    assert "SnowflakeUserArn, SnowflakeExternalId, SnowpipeQueueArn." in applied
    assert applied.endswith(f"{connect}Then: crypto-platform doctor\n")
    assert run("apply", SNOWFLAKE_LOAD_MODE="copy").output.endswith(
        "Next: crypto-platform doctor\n"
    )


def test_only_the_handover_shows_what_the_role_trusts(account: Account, run: Run) -> None:
    """The other phases are run by CI, whose logs many may read."""
    shown = run("integration", **SNOWPIPE).output
    account.trusted = True
    shown += run("apply", **SNOWPIPE).output

    assert [said for said in (USER_ARN, EXTERNAL_ID, QUEUE) if said in shown] == []


def test_the_handover_prints_parameters_and_a_queue_only_where_there_are_pipes(
    account: Account, run: Run
) -> None:
    run("integration")
    before = deploy_stack(account, run("handover"))
    run("apply", **SNOWPIPE)
    after = deploy_stack(account, run("handover"))

    assert before == {"SnowflakeUserArn": USER_ARN, "SnowflakeExternalId": EXTERNAL_ID}
    assert after == {**before, "SnowpipeQueueArn": QUEUE}


@pytest.mark.usefixtures("account")
def test_a_handover_before_there_is_an_integration_is_an_error_and_prints_no_parameter(
    run: Run,
) -> None:
    result = run("handover")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Integration 'CRYPTO_LAKE' does not exist" in result.stderr


def test_after_a_change_to_mode_copy_pipes_are_paused_and_after_one_back_they_run(
    account: Account, run: Run
) -> None:
    run("integration", **SNOWPIPE)
    account.trusted = True
    run("apply")

    run("apply", SNOWFLAKE_LOAD_MODE="copy")
    assert account.paused == dict.fromkeys(PIPES, True)
    run("apply", **SNOWPIPE)
    assert account.paused == dict.fromkeys(PIPES, False)


@pytest.mark.parametrize(
    ("phase", "scripts"), [("integration", [ACCOUNT_SCRIPT]), ("apply", SCRIPTS)]
)
def test_a_dry_run_prints_every_statement_and_runs_none(
    account: Account, run: Run, phase: str, scripts: list[str]
) -> None:
    result = run(phase, "--dry-run")

    assert account.statements == []
    assert all(f"-- {script}\n" in result.output for script in scripts)
    assert "'s3://crypto-transformed/'" in result.output
    assert "&{" not in result.output


# Owners


def test_the_administrator_owns_only_what_nobody_else_may_make(account: Account, run: Run) -> None:
    run("integration", **SNOWPIPE)
    account.trusted = True
    run("apply")

    assert account.owned_by("ACCOUNTADMIN") == {"RESOURCE MONITOR", "STORAGE INTEGRATION"}
    assert account.owned_by("USERADMIN") == {"ROLE"}


def test_apply_does_not_give_tables_to_the_administrator(account: Account, run: Run) -> None:
    result = run("apply", "--role", "accountadmin")

    assert result.exit_code == 2
    assert "SYSADMIN does" in result.stderr
    assert account.statements == []


@pytest.mark.parametrize("mode", ["copy", "snowpipe"])
def test_what_earlier_scripts_made_as_administrator_is_handed_over_and_goes_on(
    account: Account, run: Run, mode: str
) -> None:
    existing_account(account)

    results = [run(phase, SNOWFLAKE_LOAD_MODE=mode) for phase in ("integration", "apply")]

    assert [result.exit_code for result in results] == [0, 0], results
    assert account.owned_by("ACCOUNTADMIN") == {"RESOURCE MONITOR", "STORAGE INTEGRATION"}
    assert account.paused == dict.fromkeys(PIPES, mode == "copy")
    assert "GRANT OWNERSHIP" not in run("integration").output


def test_a_handing_over_that_was_cut_off_is_finished_by_the_next(
    account: Account, run: Run
) -> None:
    existing_account(account)
    account.stops_before = "GRANT OWNERSHIP ON ALL VIEWS"
    assert run("integration").exit_code == 1
    account.stops_before = None

    assert run("integration").exit_code == 0
    assert account.owned_by("ACCOUNTADMIN") == {"RESOURCE MONITOR", "STORAGE INTEGRATION"}


def test_an_older_account_is_told_to_hand_over_before_apply(account: Account, run: Run) -> None:
    existing_account(account)

    result = run("apply")

    assert result.exit_code == 1
    assert "no privileges" in result.output


# Limits and the user


def test_the_warehouse_has_a_monitor_and_timeouts(account: Account, run: Run) -> None:
    run("integration")

    said = "\n".join(account.statements)
    assert account.monitor_of == {"CRYPTO_WH": "CRYPTO_MONITOR"}
    assert "CREDIT_QUOTA = 30\n" in said
    assert "ON 80 PERCENT DO NOTIFY" in said
    assert "ON 100 PERCENT DO SUSPEND" in said
    assert "STATEMENT_TIMEOUT_IN_SECONDS = 1800" in said
    assert "STATEMENT_QUEUED_TIMEOUT_IN_SECONDS = 600" in said


def test_a_quota_that_is_there_changes_only_where_one_is_named(account: Account, run: Run) -> None:
    run("integration")
    assert not any(sql.startswith("ALTER RESOURCE MONITOR") for sql in account.statements)

    run("integration", "--credits", "50")
    assert "ALTER RESOURCE MONITOR CRYPTO_MONITOR SET CREDIT_QUOTA = 50" in account.statements


def test_the_service_user_is_made_where_its_public_key_is_given(
    account: Account, run: Run, tmp_path: Path
) -> None:
    run("integration")
    assert ("USER", "CRYPTO_SERVICE") not in account.owners

    (tmp_path / "snowflake.pub").write_text(PUBLIC_KEY)
    run("integration", "--public-key", "snowflake.pub")

    (made,) = [sql for sql in account.statements if sql.startswith("CREATE USER")]
    assert "TYPE = SERVICE" in made
    assert "RSA_PUBLIC_KEY = 'MIIBIjAN'" in made
    assert "DEFAULT_ROLE = CRYPTO_LOADER" in made
    assert "GRANT ROLE CRYPTO_LOADER TO USER CRYPTO_SERVICE" in account.statements


@pytest.mark.parametrize(
    "text",
    [
        "",
        PUBLIC_KEY.replace("PUBLIC", "PRIVATE"),
        PUBLIC_KEY.replace("MIIB", "' DEFAULT_ROLE = ACCOUNTADMIN --"),
    ],
    ids=["nothing", "a private key", "another statement"],
)
def test_what_is_no_public_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(SettingsError, match="--public-key is not") as raised:
        account_steps(settings(), public_key=text)

    assert "MIIB" not in str(raised.value)


# Names


def test_another_deployment_shares_nothing_with_the_first() -> None:
    def named(**variables: str) -> set[str]:
        chosen = settings(**SNOWPIPE, **variables)
        todo = [*account_steps(chosen, public_key=PUBLIC_KEY), *steps(chosen)]
        return set(re.findall(r"\bCRYPTO_\w+", "\n".join(step.sql for step in todo)))

    first, staging = named(), named(SNOWFLAKE_DATABASE="CRYPTO_STAGING_DB")

    assert "CRYPTO_STAGING_LOADER" in staging
    assert first
    assert first & staging == set()
    assert len(first) == len(staging)


def test_a_login_that_is_not_of_the_deployment_is_said(account: Account, run: Run) -> None:
    del account
    output = run("integration", SNOWFLAKE_DATABASE="CRYPTO_STAGING_DB").output

    assert "The role that loads CRYPTO_STAGING_DB is CRYPTO_STAGING_LOADER" in output
    assert "otherwise" not in run("integration", SNOWFLAKE_DATABASE="CRYPTO_DB").output


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TRANSFORMED_BUCKET", "bucket'; DROP DATABASE crypto_db; --"),
        ("SNOWFLAKE_STORAGE_ROLE_ARN", ""),
        ("SNOWFLAKE_STORAGE_ROLE_ARN", "arn:aws:iam::123456789012:role/x') --"),
        ("SNOWFLAKE_SCHEMA", "OTHER"),
        ("SNOWFLAKE_DATABASE", "OTHER; DROP DATABASE crypto_db"),
    ],
)
def test_what_cannot_be_given_to_a_script_is_named(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name):
        account_steps(settings(**{name: text}))


def test_the_last_phase_needs_no_role_of_aws() -> None:
    assert steps(settings(SNOWFLAKE_STORAGE_ROLE_ARN=""))


def test_a_role_that_is_no_name_gets_into_no_statement(account: Account) -> None:
    with pytest.raises(ValueError, match="cannot stand in SQL"):
        list(integrate(account, account_steps(settings(), role="x; DROP ROLE y"), NAMES))

    assert account.statements == []


def test_a_refused_login_is_told_in_a_sentence_and_not_as_a_traceback(run: Run) -> None:
    result = run("apply")

    assert result.exit_code == 1
    assert "Error: The private key /nowhere/key.p8 cannot be read" in result.output
