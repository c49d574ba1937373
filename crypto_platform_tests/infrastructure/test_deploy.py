"""The steps of a deployment, one at a time: what each refuses, and what it says to do."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from click.testing import CliRunner, Result
from moto.cloudformation.models import cloudformation_backends
from moto.core import DEFAULT_ACCOUNT_ID

from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform_tests.aws.account import REGION, account, client
from crypto_platform_tests.aws.stack import BOOTSTRAP, Deployment
from infrastructure import deploy as tool
from infrastructure import stack_changes
from infrastructure.stack_changes import Change, Stack, StackError

pytestmark = [
    pytest.mark.integration,
    # The types that are known to be skipped; see the tests of the templates.
    pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto"),
]

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs a command of the tool, with further variables, in an account that has nothing."""

    def command(*words: str, **variables: str) -> Result:
        return CliRunner().invoke(tool.deploy, words, env=variables)

    with account(tmp_path / "objects", buckets=()):
        yield command


def bucket(name: str) -> None:
    where = {"LocationConstraint": REGION}
    client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)


def test_names_that_can_be_had_are_said_and_those_that_cannot_come_with_the_variable_to_set(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = run("names")
    assert missing.exit_code == 1
    assert "deploy infrastructure/bootstrap.yaml first" in missing.output

    bucket("crypto-code-0704")
    assert run("names").exit_code == 0

    bucket("crypto-raw-data-0704")
    left = run("names")
    assert left.exit_code == 1
    assert "is not of the stack crypto-platform" in left.output
    assert "variable RAW_BUCKET" in left.output

    others = {"crypto-transformed-data-0704"}
    # moto has no bucket of another account.
    status = tool.Deployment.bucket_status
    monkeypatch.setattr(
        tool.Deployment,
        "bucket_status",
        lambda of, name: "taken" if name in others else status(of, name),
    )
    taken = run("names", RAW_BUCKET="my-raw")
    assert taken.exit_code == 1
    assert "my-raw: free" in taken.output
    assert f"TRANSFORMED_BUCKET, to crypto-transformed-data-0704-{DEFAULT_ACCOUNT_ID}" in (
        taken.output
    )


def test_what_was_uploaded_is_never_overwritten(run: Run, tmp_path: Path) -> None:
    bucket("my-code")
    built = tmp_path / "build"
    built.mkdir()
    (built / "ingestion.zip").write_bytes(b"code")

    first, again = (run("upload", str(built), ARTIFACT_BUCKET="my-code") for _ in range(2))
    assert (first.exit_code, again.exit_code) == (0, 0)
    code = first.stdout.strip()
    client("s3").put_object(Bucket="my-code", Key=f"code/{code}/ingestion.zip", Body=b"other")
    changed = run("upload", str(built), ARTIFACT_BUCKET="my-code")

    assert changed.exit_code == 1
    assert "somebody changed it" in changed.output


def test_an_update_that_could_not_be_taken_back_comes_with_the_command_that_does(
    run: Run,
) -> None:
    deployment = Deployment()
    deployment.bootstrap()
    stack = cloudformation_backends[DEFAULT_ACCOUNT_ID][REGION].get_stack("crypto-bootstrap")
    stack.status = "UPDATE_ROLLBACK_FAILED"

    assert run  # the account
    with pytest.raises(StackError, match="continue-update-rollback --stack-name crypto-bootstrap"):
        Stack("crypto-bootstrap", REGION).prepare()


def test_a_change_that_goes_on_is_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Deployment().bootstrap()
    stack = cloudformation_backends[DEFAULT_ACCOUNT_ID][REGION].get_stack("crypto-bootstrap")
    stack.status = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"

    def ends(_: float) -> None:
        stack.status = "UPDATE_COMPLETE"

    monkeypatch.setattr(stack_changes.time, "sleep", ends)
    assert run  # the account
    assert Stack("crypto-bootstrap", REGION).prepare()


@pytest.mark.parametrize(
    ("change", "loses"),
    [
        (("Modify", "AWS::S3::Bucket", "False", ""), False),
        (("Modify", "AWS::S3::Bucket", "True", "ReplaceAndRetain"), True),
        (("Modify", "AWS::SecretsManager::Secret", "Conditional", ""), True),
        (("Remove", "AWS::S3::Bucket", "", "Retain"), True),
        (("Remove", "AWS::CloudWatch::Alarm", "", "Delete"), False),
        (("Modify", "AWS::IAM::Role", "True", "ReplaceAndDelete"), False),
    ],
)
def test_what_would_let_go_of_data_is_known(change: tuple[str, ...], loses: bool) -> None:  # noqa: FBT001 - a column of the table
    action, kind, replacement, policy = change
    assert Change(action, "Name", kind, replacement, policy, ()).loses_data is loses


def test_such_a_change_is_shown_and_not_carried_out(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replaced = Change("Modify", "RawBucket", "AWS::S3::Bucket", "True", "", ("BucketName",))
    monkeypatch.setattr(Stack, "propose", lambda *_: [replaced])
    monkeypatch.setattr(Stack, "prepare", lambda _: True)
    monkeypatch.setattr(Stack, "execute", lambda *_: pytest.fail("it was carried out"))

    lines = tmp_path / "handover"
    lines.write_text("SnowflakeUserArn=arn:aws:iam::1:user/one\n")
    refused = run("connect", str(lines))

    assert refused.exit_code == 1
    assert "BucketName" in refused.output
    assert "would remove or replace RawBucket" in refused.output


def test_only_variables_that_are_set_become_parameters() -> None:
    deployment = tool.Deployment({"ALERT_EMAIL": "", "RAW_BUCKET": "my-raw"})
    assert deployment.parameters() == {"RawBucketName": "my-raw"}


def test_drift_is_shown_and_ends_with_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Stack, "drifts", lambda _: [("HistoricalJob", "AWS::Glue::Job", "/Timeout")]
    )
    drifted = run("drift")
    monkeypatch.setattr(Stack, "drifts", lambda _: [])

    assert drifted.exit_code == 1
    assert "/Timeout" in drifted.output
    assert run("drift").exit_code == 0


def answering(*answers: tuple[str, dict[str, Any]]) -> Stack:
    """A stack whose CloudFormation gives these answers in turn, which botocore checks."""
    cloudformation = boto3.client("cloudformation", region_name=REGION)
    stubber = Stubber(cloudformation)
    for operation, answer in answers:
        stubber.add_response(operation, answer)
    stubber.activate()
    stack = Stack("crypto-platform", REGION)
    vars(stack)["_client"] = cloudformation
    return stack


def test_drift_is_looked_for_and_each_difference_named() -> None:
    difference = {
        "PropertyPath": "/Timeout",
        "ExpectedValue": "300",
        "ActualValue": "3",
        "DifferenceType": "NOT_EQUAL",
    }
    drifted = {
        "StackId": "arn:stack",
        "LogicalResourceId": "IngestionFunction",
        "ResourceType": "AWS::Lambda::Function",
        "StackResourceDriftStatus": "MODIFIED",
        "Timestamp": datetime(2026, 11, 28, tzinfo=UTC),
    }
    detected = {
        "StackId": "arn:stack",
        "StackDriftDetectionId": "one",
        "DetectionStatus": "DETECTION_COMPLETE",
        "Timestamp": datetime(2026, 11, 28, tzinfo=UTC),
    }
    stack = answering(
        ("detect_stack_drift", {"StackDriftDetectionId": "one"}),
        ("describe_stack_drift_detection_status", detected),
        (
            "describe_stack_resource_drifts",
            {"StackResourceDrifts": [{**drifted, "PropertyDifferences": [difference]}]},
        ),
    )

    assert stack.drifts() == [("IngestionFunction", "AWS::Lambda::Function", "/Timeout")]


@pytest.mark.parametrize(
    ("reason", "refused"),
    [
        ("The submitted information didn't contain changes.", False),
        ("No updates are to be performed.", False),
        ("Parameter validation failed: Deployment", True),
    ],
)
def test_a_change_set_without_changes_is_no_failure_and_any_other_is(
    reason: str,
    refused: bool,  # noqa: FBT001 - a column of the table
) -> None:
    there = {
        "Stacks": [
            {
                "StackName": "crypto-platform",
                "StackStatus": "UPDATE_COMPLETE",
                "CreationTime": datetime(2026, 11, 28, tzinfo=UTC),
            }
        ]
    }
    failed = {"Status": "FAILED", "StatusReason": reason}
    stack = answering(
        ("describe_stacks", there),
        ("describe_stacks", there),
        ("create_change_set", {"Id": "arn:change-set"}),
        ("describe_change_set", failed),
        ("describe_change_set", failed),
        *([] if refused else [("delete_change_set", {})]),
    )

    if refused:
        with pytest.raises(StackError, match="Parameter validation failed"):
            stack.propose("one", {})
    else:
        assert stack.propose("one", {}) == []


@pytest.mark.parametrize(
    ("executed", "ended"), [("EXECUTE_COMPLETE", True), ("EXECUTE_FAILED", False)]
)
def test_a_status_of_before_the_change_is_not_taken_for_its_end(
    monkeypatch: pytest.MonkeyPatch,
    executed: str,
    ended: bool,  # noqa: FBT001 - a column of the table
) -> None:
    monkeypatch.setattr(stack_changes.time, "sleep", lambda _: None)

    def stack_is(status: str) -> tuple[str, dict[str, Any]]:
        now = datetime(2026, 11, 28, tzinfo=UTC)
        stack = {"StackName": "crypto-platform", "StackStatus": status, "CreationTime": now}
        return "describe_stacks", {"Stacks": [stack]}

    stack = answering(
        ("execute_change_set", {}),
        # Meanwhile the stack is still CREATE_COMPLETE: whoever asked for it would get no answer.
        ("describe_change_set", {"ExecutionStatus": "AVAILABLE"}),
        ("describe_change_set", {"ExecutionStatus": "EXECUTE_IN_PROGRESS"}),
        ("describe_change_set", {"ExecutionStatus": executed}),
        stack_is("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS" if ended else "UPDATE_ROLLBACK_IN_PROGRESS"),
        stack_is("UPDATE_COMPLETE" if ended else "UPDATE_ROLLBACK_COMPLETE"),
        *([] if ended else [("describe_stack_events", {"StackEvents": []})]),
    )

    if ended:
        stack.execute("one")
    else:
        with pytest.raises(StackError, match="The change failed: UPDATE_ROLLBACK_COMPLETE"):
            stack.execute("one")


@pytest.mark.parametrize(
    ("plan", "accepts", "said"),
    [
        ("demo", True, "accepts the key on the plan demo"),
        ("demo", False, "did not accept COINGECKO_API_KEY on the plan demo"),
        ("keyless", True, "keyless plan takes no key"),
    ],
)
def test_a_key_that_the_price_api_refuses_never_reaches_what_serves(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    plan: str,
    accepts: bool,  # noqa: FBT001 - a column of the table
    said: str,
) -> None:
    secret = client("secretsmanager").create_secret(Name="key", SecretString="serves")["ARN"]
    monkeypatch.setattr(Stack, "outputs", lambda _: {"ApiKeySecret": secret})
    monkeypatch.setattr(Stack, "parameters", lambda _: {"CoinGeckoPlan": plan})
    with SimulatedMarket() as market:
        if not accepts:
            market.inject("wrong_key")
        done = run(
            "key",
            COINGECKO_API_KEY="CG-planted-key",
            COINGECKO_BASE_URL=market.base_url,
            COINGECKO_PLAN="",
        )

    written = plan == "demo" and accepts
    assert (done.exit_code == 0) is written
    assert said in done.output
    assert "CG-planted-key" not in done.output
    held = client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"]
    assert held == ("CG-planted-key" if written else "serves")


def test_the_way_back_needs_no_code_of_the_function() -> None:
    """What is to be left may be so broken that it cannot be imported."""
    imported = "import sys, infrastructure.deploy; print('lambda_function' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", imported], capture_output=True, text=True, check=True
    )

    assert told.stdout == "False\n"


def test_what_snowflake_said_has_to_wait_for_a_stack(run: Run, tmp_path: Path) -> None:
    lines = tmp_path / "handover"
    lines.write_text("SnowflakeUserArn=arn:aws:iam::1:user/one\n")

    refused = run("connect", str(lines))

    assert refused.exit_code == 1
    assert "deploy it first" in refused.output


def test_a_version_that_was_never_published_is_refused_with_those_that_were(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool.Deployment, "code_versions", lambda _: {"1": "aaa", "2": "bbb"})

    refused = run("rollback", "ccc")

    assert refused.exit_code == 1
    assert "never published here. There are, oldest first: aaa, bbb." in refused.output


def test_what_is_deployed_by_hand_is_deployed_by_the_real_command_line_twice(run: Run) -> None:
    command = [
        *(sys.executable, "-m", "awscli", "cloudformation", "deploy"),
        *("--stack-name", "crypto-bootstrap", "--template-file", str(BOOTSTRAP)),
        *("--capabilities", "CAPABILITY_NAMED_IAM", "--no-fail-on-empty-changeset"),
        *("--tags", "project=crypto_platform", "deployment=crypto"),
        *("--parameter-overrides", "GitHubRepository=owner/name"),
    ]

    def deploy(*parameters: str) -> dict[str, Any]:
        done = subprocess.run([*command, *parameters], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = client("iam").get_role(RoleName="crypto-deploy")["Role"]
        trust: dict[str, Any] = found["AssumeRolePolicyDocument"]
        return trust

    assert run  # the account
    assert "repo:owner/name:environment:aws" in json.dumps(deploy())
    renewed = deploy("GitHubOwnerId=12", "GitHubRepositoryId=34")
    assert "repo:owner@12/name@34:environment:aws" in json.dumps(renewed)
