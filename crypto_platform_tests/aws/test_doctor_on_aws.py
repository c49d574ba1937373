"""The doctor in the aws profile, over the stack and the scripts themselves; each fault once."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from crypto_platform.cli.main import main
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL
from crypto_platform.doctor import aws
from crypto_platform.doctor.preflight import Preflight, PreflightResult
from crypto_platform.doctor.runner import CHECKS, examine
from crypto_platform.doctor.snowflake import SNOWFLAKE_CHECKS
from crypto_platform.profiles import PROFILES
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform.warehouse.snowflake import SnowflakeWarehouse
from crypto_platform_tests.aws.account import RAW_BUCKET, TRANSFORMED_BUCKET, client, keys
from crypto_platform_tests.aws.cloud import (
    as_documented,
    configure_function,
    pipe_status,
)
from crypto_platform_tests.aws.lambda_runtime import Lambda
from crypto_platform_tests.aws.permissions import acting, platform_policy
from crypto_platform_tests.aws.stack import CODE_BUCKET
from crypto_platform_tests.warehouse.fakesnow_server import Wire, answering
from infrastructure.package import artifacts, version, zipped

pytestmark = [
    pytest.mark.integration,
    # The types that are known to be skipped; see the tests of the templates.
    pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto"),
]

SETTINGS = Settings.from_environment({})
FUNCTION = SETTINGS.ingestion_function.removesuffix(":live")

Deploy = Callable[..., None]
BuildSnowflake = Callable[..., SnowflakeWarehouse]


@pytest.fixture
def environment(
    stack: Deploy,
    lambda_service: Lambda,  # noqa: ARG001 - it runs the function
    market: SimulatedMarket,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> dict[str, str]:
    """The variables of a platform whose stack is there; Snowflake is not set up yet."""
    stack(CoinGeckoPlan="keyless")
    configure_function({"COINGECKO_BASE_URL": market.base_url})
    monkeypatch.chdir(tmp_path)
    variables = {"CRYPTO_PROFILE": "aws", "CRYPTO_HOME": str(tmp_path / "home")}
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    return variables


@pytest.fixture
def with_snowflake(
    environment: dict[str, str],
    build_snowflake: BuildSnowflake,
    wire: Wire,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """The same with an account in which the scripts were run."""
    warehouse = build_snowflake(f"s3://{TRANSFORMED_BUCKET}", mirror=tmp_path / "mirror")
    monkeypatch.setitem(PROFILES["aws"].builders, "warehouse", lambda _: warehouse)
    wire.rewrites += as_documented()
    variables = {
        "SNOWFLAKE_ACCOUNT": "example",
        "SNOWFLAKE_USER": "loader",
        "SNOWFLAKE_PRIVATE_KEY_PATH": warehouse.private_key_path,
    }
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    return {**environment, **variables}


def look(name: str, environment: dict[str, str], *, send: bool = False) -> PreflightResult:
    """What the doctor finds of one check and of those that it needs."""
    (result,) = [one for one in examine(environment, send=send) if one.check == name]
    return result


def run_doctor(*options: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *options])


def test_all_passes_where_stack_and_scripts_were_run(with_snowflake: dict[str, str]) -> None:
    assert with_snowflake

    result = run_doctor("--json")

    response = json.loads(result.stdout)
    expected = dict.fromkeys(["settings", *(check.name for check in CHECKS["aws"])], "passed")
    assert {one["check"]: one["status"] for one in response["checks"]} == {
        **expected,
        "Dagster instance": "skipped",
    }
    assert (response["healthy"], result.exit_code) == (True, 0)
    assert [*keys(RAW_BUCKET), *keys(TRANSFORMED_BUCKET)] == []


def test_snowflake_is_skipped_with_the_reason_where_no_login_is_set(
    environment: dict[str, str],
) -> None:
    found = {one.check: one for one in examine(environment)}

    assert found["Snowflake login"].status == "skipped"
    assert "SNOWFLAKE_ACCOUNT" in found["Snowflake login"].found
    assert found["Snowflake tables"].found == "Not looked at: Snowflake login skipped."
    assert {one.status for one in found.values()} == {"passed", "skipped"}


def test_a_failure_is_reported_with_what_to_do_and_ends_with_1(environment: dict[str, str]) -> None:
    assert environment
    client("s3").delete_bucket(Bucket=RAW_BUCKET)

    result = run_doctor()

    assert result.exit_code == 1
    assert "What to do:" in result.output
    assert "RAW_BUCKET" in result.output


def test_a_bucket_that_is_missing(environment: dict[str, str]) -> None:
    client("s3").delete_bucket(Bucket=TRANSFORMED_BUCKET)

    result = look("transformed bucket", environment)

    assert result.status == "failed"
    assert f"s3://{TRANSFORMED_BUCKET}, may not be used" in result.found
    assert "does not exist" in result.found
    assert look("raw bucket", environment).status == "passed"


def test_access_that_is_denied(environment: dict[str, str]) -> None:
    with acting([]):
        settings, variables, account, *denied = examine(environment)

    assert {one.status for one in (settings, variables, account)} == {"passed"}
    denied = [result for result in denied if result.status != "skipped"]
    assert len(denied) == 8
    for result in denied:
        assert result.status == "failed"
        assert "AccessDenied" in result.found or "not authorized" in result.found
        assert "attach the platform's policy" in (result.what_to_do or "")


def test_the_stacks_policy_allows_all_that_is_looked_at(environment: dict[str, str]) -> None:
    with acting([platform_policy()]):
        results = examine(environment, send=True)

    assert [result for result in results if result.status == "failed"] == []


def test_the_workflow_may_look_at_all_but_snowflake(environment: dict[str, str]) -> None:
    iam, role = client("iam"), "crypto-deploy"
    policies = [iam.get_role_policy(RoleName=role, PolicyName="deploy")["PolicyDocument"]]
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = attached["PolicyArn"]
        default = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=arn, VersionId=default)["PolicyVersion"]
        policies.append(found["Document"])

    # It may not read these, and what they say is no fault of a version.
    for bucket in (SETTINGS.raw_bucket, SETTINGS.transformed_bucket):
        key = f"{HISTORICAL.folder}/month=2026-11/_manifest.json"
        client("s3").put_object(Bucket=bucket, Key=key, Body=b"damaged")
    incident = {"Bucket": SETTINGS.raw_bucket, "Key": "alerts/incidents/one.json"}
    client("s3").put_object(**incident, Body=b"{}")

    with acting(policies):
        results = examine(environment, code_version=version(artifacts()))

    skipped = {result.check for result in results if result.status == "skipped"}
    assert skipped == {
        *(check.name for check in SNOWFLAKE_CHECKS),
        "Dagster instance",
        "alerts delivered",
        "raw manifests",
        "transformed manifests",
    }
    assert [result for result in results if result.status == "failed"] == []


def test_credentials_that_are_refused_are_reported_once(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with acting([]):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN")
        boto3.setup_default_session()
        settings, variables, account, *others = examine(environment)

    assert (settings.status, variables.status, account.status) == ("passed", "passed", "failed")
    assert "credentials" in (account.what_to_do or "")
    assert {one.status for one in others} == {"skipped"}


def test_a_function_of_another_version(environment: dict[str, str]) -> None:
    lambdas = client("lambda")
    changed = zipped({"handler.py": b"another"})
    lambdas.update_function_code(FunctionName=FUNCTION, ZipFile=changed)
    assert look("function", environment).status == "passed"
    number = lambdas.publish_version(FunctionName=FUNCTION)["Version"]
    lambdas.update_alias(FunctionName=FUNCTION, Name="live", FunctionVersion=number)

    result = look("function", environment)

    assert result.status == "failed"
    assert "runs another version of lambda_function/" in result.found


def test_a_candidate_is_looked_at_before_it_serves(environment: dict[str, str]) -> None:
    lambdas = client("lambda")
    bad = zipped({"lambda_function/__init__.py": b"raise RuntimeError('a bad version')"})
    lambdas.update_function_code(FunctionName=FUNCTION, ZipFile=bad)
    number = lambdas.publish_version(FunctionName=FUNCTION)["Version"]

    results = {one.check: one for one in examine(environment, candidate=number)}

    assert f"{FUNCTION}:{number} runs another version" in results["function"].found
    assert results["price API"].status == "failed"
    assert "has this version to run" in results["historical Glue job"].found
    assert look("function", environment).status == "passed"


def test_after_a_way_back_what_serves_is_compared_with_the_code_that_was_meant(
    environment: dict[str, str],
) -> None:
    def put(content: bytes) -> None:
        client("s3").put_object(
            Bucket=CODE_BUCKET, Key=f"code/{earlier}/ingestion.zip", Body=content
        )

    built = {**artifacts(), "ingestion.zip": zipped({"handler.py": b"earlier"})}
    earlier = version(built)
    for name, content in built.items():
        client("s3").put_object(Bucket=CODE_BUCKET, Key=f"code/{earlier}/{name}", Body=content)

    def looked_at(check: str, code: str, **variables: str) -> PreflightResult:
        results = examine({**environment, **variables}, code_version=code)
        (result,) = [one for one in results if one.check == check]
        return result

    assert looked_at("function", version(artifacts())).status == "passed"
    assert "runs another version" in looked_at("function", earlier).found
    # It came back with the plan of its time.
    for code, status in ((earlier, "passed"), (version(artifacts()), "failed")):
        on_another_plan = looked_at("price API", code, COINGECKO_PLAN="pro")
        assert on_another_plan.status == status
        assert "COINGECKO_PLAN is pro here" in on_another_plan.found
    put(b"changed by somebody")
    assert "does not hold the code that its name says" in looked_at("function", earlier).found


def test_drift_is_a_failure_but_keeps_no_version_out(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (stack,) = client("cloudformation").describe_stacks(StackName=SETTINGS.stack)["Stacks"]
    seen = {"StackDriftStatus": "DRIFTED", "LastCheckTimestamp": datetime(2026, 11, 23, tzinfo=UTC)}
    answer = {"Stacks": [{**stack, "DriftInformation": seen}]}
    # moto has no drift.
    real = aws._client  # noqa: SLF001 - the only way to answer for one service alone

    def answering(preflight: Preflight, service: str) -> Any:
        cloudformation = SimpleNamespace(describe_stacks=lambda **_: answer)
        return cloudformation if service == "cloudformation" else real(preflight, service)

    monkeypatch.setattr(aws, "_client", answering)

    running = look("stack", environment)
    (candidate,) = [one for one in examine(environment, candidate="1") if one.check == "stack"]

    assert (running.status, candidate.status) == ("failed", "passed")
    assert "changed by hand, as was found on 2026-11-23" in running.found
    assert "changed by hand, as was found on 2026-11-23" in candidate.found


def test_names_that_are_not_those_of_the_stack(environment: dict[str, str]) -> None:
    result = look("stack", {**environment, "HISTORICAL_GLUE_JOB": "my-own"})

    assert result.status == "failed"
    assert f"my-own here, and the stack made {SETTINGS.historical_glue_job}" in result.found


def test_a_function_that_is_missing(environment: dict[str, str]) -> None:
    client("lambda").delete_function(FunctionName=FUNCTION)

    result = look("function", environment)

    assert result.status == "failed"
    assert SETTINGS.ingestion_function in result.found


def test_a_function_on_another_plan_than_the_budget_is_counted_by(
    environment: dict[str, str],
) -> None:
    result = look("price API", {**environment, "COINGECKO_PLAN": "pro"})

    assert result.status == "failed"
    assert "on the plan keyless, and COINGECKO_PLAN is pro here" in result.found


def test_an_api_that_does_not_take_the_key(
    environment: dict[str, str], market: SimulatedMarket
) -> None:
    market.inject("wrong_key")

    result = look("price API", environment)

    assert result.status == "failed"
    assert "ApiKeySecret" in (result.what_to_do or "")


def test_a_function_that_a_run_is_using_is_no_failure(
    environment: dict[str, str], lambda_service: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crypto_platform.doctor.aws._PATIENCE", 0.1)
    with lambda_service.busy:
        result = look("price API", environment)

    assert result.status == "skipped"
    assert "when the run has ended" in result.found


def test_a_job_that_is_missing(environment: dict[str, str]) -> None:
    client("glue").delete_job(JobName=SETTINGS.historical_glue_job)

    result = look("historical Glue job", environment)

    assert result.status == "failed"
    assert "HISTORICAL_GLUE_JOB" in (result.what_to_do or "")
    assert look("intra_day Glue job", environment).status == "passed"


@pytest.mark.parametrize("artifact", ["intra_day_transformation.py", "glue_jobs.zip"])
def test_a_script_that_was_changed(environment: dict[str, str], artifact: str) -> None:
    (key,) = [key for key in keys(CODE_BUCKET) if key.endswith(f"/{artifact}")]
    client("s3").put_object(Bucket=CODE_BUCKET, Key=key, Body=b"pass")

    result = look("intra_day Glue job", environment)

    assert result.status == "failed"
    assert f"which is not this version of {artifact}" in result.found


def test_a_script_that_is_gone(environment: dict[str, str]) -> None:
    (key,) = [key for key in keys(CODE_BUCKET) if key.endswith("historical_data_transformation.py")]
    client("s3").delete_object(Bucket=CODE_BUCKET, Key=key)

    result = look("historical Glue job", environment)

    assert result.status == "failed"
    assert f"s3://{CODE_BUCKET}/{key} cannot be read" in result.found


def test_a_topic_that_is_missing(environment: dict[str, str]) -> None:
    (topic,) = client("sns").list_topics()["Topics"]
    client("sns").delete_topic(TopicArn=topic["TopicArn"])

    result = look("alerts topic", environment)

    assert result.status == "failed"
    assert "ALERTS_TOPIC_ARN" in (result.what_to_do or "")


def test_a_message_is_sent_only_when_asked_for(environment: dict[str, str]) -> None:
    (topic,) = client("sns").list_topics()["Topics"]
    queue = client("sqs").create_queue(QueueName="reader")["QueueUrl"]
    arn = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    client("sns").subscribe(
        TopicArn=topic["TopicArn"], Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"]
    )

    def received() -> list[str]:
        response = client("sqs").receive_message(QueueUrl=queue)
        return [json.loads(one["Body"])["Message"] for one in response.get("Messages", ())]

    assert "--send really sends" in look("alerts topic", environment).found
    assert received() == []
    named = {**environment, "ALERTS_TOPIC_ARN": topic["TopicArn"]}
    assert "took a message" in look("alerts topic", named, send=True).found
    assert "Nothing is wrong" in received()[0]


def test_snowflake_that_cannot_be_reached(
    with_snowflake: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    built = PROFILES["aws"].builders["warehouse"](SETTINGS)
    nowhere = {**built.connection_options, "port": 9, "login_timeout": 1}
    unreachable = SnowflakeWarehouse(**{**dict(built), "connection_options": nowhere})
    monkeypatch.setitem(PROFILES["aws"].builders, "warehouse", lambda _: unreachable)

    results = {one.check: one for one in examine(with_snowflake)}

    assert results["Snowflake login"].status == "failed"
    assert "Snowflake says" in results["Snowflake login"].found
    assert results["Snowflake tables"].status == "skipped"


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            "ALTER TABLE transformed.coins DROP COLUMN image",
            "coins.image is not there (apply adds it)",
        ),
        (
            "ALTER TABLE transformed.ingestion_ledger ALTER COLUMN points TYPE VARCHAR",
            "ingestion_ledger.points is TEXT and not INTEGER (ALTER TABLE",
        ),
        ("DROP TABLE transformed.market_snapshots_landing", "market_snapshots_landing is not"),
        (
            "CREATE OR REPLACE VIEW transformed.prices AS SELECT coin_id FROM transformed.coins",
            "prices.price_at is not there (a view: apply replaces it)",
        ),
        ("ALTER TABLE transformed.coins ADD COLUMN note VARCHAR", None),
    ],
    ids=["a missing column", "another type", "a missing table", "another view", "one's own column"],
)
def test_tables_that_are_not_as_the_scripts_define_them(
    change: str, difference: str | None, with_snowflake: dict[str, str]
) -> None:
    warehouse = PROFILES["aws"].builders["warehouse"](SETTINGS)
    with warehouse.session(read_only=False) as session:
        session.execute(change)

    result = look("Snowflake tables", with_snowflake)

    assert result.status == ("failed" if difference else "passed")
    assert (difference or "have the columns of the scripts") in result.found


def test_a_role_that_may_not_use_the_warehouse(with_snowflake: dict[str, str], wire: Wire) -> None:
    wire.rewrites.insert(
        0,
        answering(
            "CURRENT_USER()",
            "SELECT 'LOADER' AS user_name, 'PUBLIC' AS role, NULL AS warehouse",
        ),
    )

    result = look("Snowflake login", with_snowflake)

    assert result.status == "failed"
    assert "LOADER may not use the warehouse CRYPTO_WH as PUBLIC" in result.found


def test_a_stage_over_another_bucket(with_snowflake: dict[str, str]) -> None:
    warehouse = PROFILES["aws"].builders["warehouse"](SETTINGS)
    with warehouse.session(read_only=False) as session:
        session.execute("CREATE OR REPLACE STAGE transformed.transformed_lake URL = 's3://other/'")

    result = look("Snowflake stage", with_snowflake)

    assert result.status == "failed"
    assert f"is s3://other/, and not s3://{TRANSFORMED_BUCKET}/" in result.found


def test_a_pipe_that_runs_where_loads_copy(with_snowflake: dict[str, str], wire: Wire) -> None:
    wire.rewrites.insert(0, answering("SYSTEM$PIPE_STATUS", pipe_status("RUNNING")))

    result = look("Snowflake pipes", with_snowflake)

    assert result.status == "failed"
    assert (
        "historical_prices_pipe is RUNNING, and SNOWFLAKE_LOAD_MODE=copy wants it PAUSED"
        in result.found
    )


def test_no_secret_is_shown(
    with_snowflake: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        "COINGECKO_API_KEY": "CG-planted-key",
        "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": "planted-passphrase",
        "AWS_SECRET_ACCESS_KEY": "planted/secret+access",
    }
    for name, text in secrets.items():
        monkeypatch.setenv(name, text)
    with_snowflake |= secrets
    client("glue").delete_job(JobName=SETTINGS.historical_glue_job)

    shown = run_doctor().output + run_doctor("--json").output + repr(examine(with_snowflake))

    assert "Snowflake login" in shown
    assert [text for text in secrets.values() if text in shown] == []
    assert base64.b64encode(b"planted/secret+access").decode() not in shown
