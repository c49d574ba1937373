"""The stack, created, updated and deleted over HTTP; its resources read back through their own API.

moto's CloudFormation says CREATE_COMPLETE while it skips ``SKIPPED``, and a bucket's properties but
its encryption. Of these the tests look at the template itself.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cfnlint import decode

from crypto_platform.core.settings import Settings
from crypto_platform_tests.aws.account import client
from crypto_platform_tests.aws.stack import (
    BOOTSTRAP,
    CODE_BUCKET,
    FILLED_IN,
    PLATFORM,
    STACK,
    account_with_code,
)
from infrastructure.package import artifacts, version

# What SKIPPED says, said by moto.
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto")

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "infrastructure").glob("*.yaml"))
SETTINGS = Settings.from_environment({})

# Its own S3 takes the policy's condition for always met, and would refuse everything.
SKIPPED = {"AWS::S3::BucketPolicy"}


def resources(path: Path = PLATFORM) -> dict[str, Any]:
    template, _ = decode.decode(str(path))
    found: dict[str, Any] = json.loads(json.dumps(template["Resources"]))
    return found


def of_type(kind: str) -> list[dict[str, Any]]:
    return [found["Properties"] for found in resources().values() if found["Type"] == kind]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Creates the stack in an account that has nothing but the code; a second call updates it."""
    with account_with_code(tmp_path) as (_, deploy):
        yield deploy


@pytest.mark.integration
def test_the_templates_are_clean() -> None:
    lint = [str(Path(sys.executable).parent / "cfn-lint"), *map(str, TEMPLATES)]
    found = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.integration
def test_the_function_is_created_as_the_platform_expects_it(stack: Callable[..., None]) -> None:
    stack(CoinGeckoPlan="demo")
    function = client("lambda").get_function(FunctionName=SETTINGS.ingestion_function)
    configuration = function["Configuration"]
    assert configuration["Timeout"] == 900
    assert configuration["Handler"] == "lambda_function.handler.lambda_handler"
    assert function["Concurrency"]["ReservedConcurrentExecutions"] == 1
    secret = client("secretsmanager").describe_secret(SecretId="crypto/coingecko-api-key")
    assert configuration["Environment"]["Variables"] == {
        "COINGECKO_PLAN": "demo",
        "COINGECKO_API_KEY_SECRET_ARN": secret["ARN"],
    }


@pytest.mark.integration
def test_the_jobs_are_created_with_this_version_of_the_code(stack: Callable[..., None]) -> None:
    stack()
    for name in (SETTINGS.historical_glue_job, SETTINGS.intra_day_glue_job):
        job = client("glue").get_job(JobName=name)["Job"]
        bucket, _, key = job["Command"]["ScriptLocation"].removeprefix("s3://").partition("/")
        assert client("s3").head_object(Bucket=bucket, Key=key)["ContentLength"] > 0
        assert key.startswith(f"code/{version(artifacts())}/")


@pytest.mark.integration
def test_alarms_go_to_the_topic_and_from_there_to_the_address(stack: Callable[..., None]) -> None:
    stack(AlertEmail="someone@example.org")
    (subscription,) = client("sns").list_subscriptions()["Subscriptions"]
    assert subscription["Endpoint"] == "someone@example.org"
    alarms = client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert {alarm["AlarmName"]: alarm["AlarmActions"] for alarm in alarms} == {
        "crypto-ingestion-errors": [subscription["TopicArn"]],
        "crypto-ingestion-throttles": [subscription["TopicArn"]],
    }


@pytest.mark.integration
def test_the_buckets_are_created_encrypted_under_the_projects_names(
    stack: Callable[..., None],
) -> None:
    stack()
    for bucket in (SETTINGS.raw_bucket, SETTINGS.transformed_bucket):
        encryption = client("s3").get_bucket_encryption(Bucket=bucket)
        (rule,) = encryption["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


@pytest.mark.integration
def test_the_logs_the_topic_and_the_rule_are_created(stack: Callable[..., None]) -> None:
    stack(LogRetentionDays="14")
    groups = client("logs").describe_log_groups()["logGroups"]
    assert {group["logGroupName"]: group["retentionInDays"] for group in groups} == {
        "/aws/lambda/crypto-ingestion": 14,
        "/crypto/glue/error": 14,
        "/crypto/glue/output": 14,
    }
    (topic,) = client("sns").list_topics()["Topics"]
    assert topic["TopicArn"].endswith(f":{SETTINGS.alerts_topic}")
    pattern = json.loads(
        client("events").describe_rule(Name="crypto-glue-job-failures")["EventPattern"]
    )
    assert set(pattern["detail"]["jobName"]) == {
        SETTINGS.historical_glue_job,
        SETTINGS.intra_day_glue_job,
    }


@pytest.mark.integration
def test_an_update_adds_the_role_that_snowflake_assumes(stack: Callable[..., None]) -> None:
    stack()
    with pytest.raises(ClientError, match="NoSuchEntity"):
        client("iam").get_role(RoleName="crypto-snowflake-reader")
    stack(SnowflakeUserArn="arn:aws:iam::123456789012:user/snowflake", SnowflakeExternalId="ID_1")
    role = client("iam").get_role(RoleName="crypto-snowflake-reader")["Role"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"AWS": "arn:aws:iam::123456789012:user/snowflake"}
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "ID_1"}}


@pytest.mark.integration
def test_a_deleted_stack_leaves_nothing_that_runs(stack: Callable[..., None]) -> None:
    stack()
    client("cloudformation").delete_stack(StackName=STACK)
    assert client("lambda").list_functions()["Functions"] == []
    assert client("glue").get_jobs()["Jobs"] == []


def test_every_resource_is_read_back_or_known_to_be_skipped() -> None:
    assert {found["Type"] for found in resources().values()} - SKIPPED - FILLED_IN == {
        "AWS::Events::Rule",
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Role",
        "AWS::Lambda::Function",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::SNS::Topic",
    }


def test_the_jobs_are_those_that_the_platform_starts() -> None:
    jobs = of_type("AWS::Glue::Job")
    assert {job["Name"] for job in jobs} == {
        SETTINGS.historical_glue_job,
        SETTINGS.intra_day_glue_job,
    }
    for job in jobs:
        assert (job["GlueVersion"], job["WorkerType"], job["NumberOfWorkers"]) == (
            "5.1",
            "G.1X",
            2,
        )
        assert job["DefaultArguments"]["--enable-auto-scaling"] == "true"
        assert job["MaxRetries"] == 0


def test_the_buckets_are_private_versioned_and_forget_old_versions() -> None:
    for bucket in of_type("AWS::S3::Bucket"):
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        (rule,) = bucket["LifecycleConfiguration"]["Rules"]
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
        assert rule["ExpiredObjectDeleteMarker"] is True


def test_both_buckets_are_read_and_written_over_tls_alone() -> None:
    policies = {
        policy["Bucket"]["Ref"]: policy["PolicyDocument"]["Statement"]
        for policy in of_type("AWS::S3::BucketPolicy")
    }
    assert set(policies) == {"RawBucket", "TransformedBucket"}
    for bucket, (statement,) in policies.items():
        assert statement == {
            "Sid": "OnlyOverTls",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [
                {"Fn::GetAtt": [bucket, "Arn"]},
                {"Fn::Sub": f"${{{bucket}.Arn}}/*"},
            ],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }


@pytest.mark.integration
def test_alarms_and_rules_of_this_account_alone_may_publish_to_the_topic(
    stack: Callable[..., None],
) -> None:
    stack()
    (topic,) = client("sns").list_topics()["Topics"]
    attributes = client("sns").get_topic_attributes(TopicArn=topic["TopicArn"])["Attributes"]
    assert json.loads(attributes["Policy"])["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com"]},
            "Action": "sns:Publish",
            "Resource": topic["TopicArn"],
            "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
        }
    ]


def assume_policy(role: str) -> dict[str, Any]:
    document = client("iam").get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    (statement,) = document["Statement"]
    found: dict[str, Any] = statement
    return found


def actions(role: str, policy: str) -> set[str]:
    document = client("iam").get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    listed = [statement["Action"] for statement in document["Statement"]]
    return {
        action for found in listed for action in (found if isinstance(found, list) else [found])
    }


@pytest.mark.integration
def test_only_the_repositorys_environment_becomes_the_role_that_deploys(
    stack: Callable[..., None],
) -> None:
    assert stack
    (provider,) = client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
    assert provider["Arn"].endswith("oidc-provider/token.actions.githubusercontent.com")
    assert assume_policy("crypto-deploy") == {
        "Effect": "Allow",
        "Principal": {"Federated": provider["Arn"]},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {
                "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                "token.actions.githubusercontent.com:sub": "repo:owner/name:environment:aws",
            }
        },
    }


@pytest.mark.integration
def test_the_role_that_deploys_only_hands_changes_over_and_looks(
    stack: Callable[..., None],
) -> None:
    assert stack
    assert assume_policy("crypto-stack")["Principal"] == {"Service": "cloudformation.amazonaws.com"}
    assert actions("crypto-deploy", "deploy") == {
        "cloudformation:CreateChangeSet",
        "cloudformation:DescribeChangeSet",
        "cloudformation:DescribeStacks",
        "cloudformation:ExecuteChangeSet",
        "glue:GetJob",
        "iam:PassRole",
        "lambda:GetFunctionConfiguration",
        "lambda:InvokeFunction",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
        "sns:GetTopicAttributes",
    }


@pytest.mark.integration
def test_the_bucket_of_the_code_is_created_encrypted(stack: Callable[..., None]) -> None:
    assert stack
    encryption = client("s3").get_bucket_encryption(Bucket=CODE_BUCKET)
    (rule,) = encryption["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    (bucket,) = (
        found["Properties"]
        for found in resources(BOOTSTRAP).values()
        if found["Type"] == "AWS::S3::Bucket"
    )
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}


def test_data_and_the_key_survive_the_stack() -> None:
    kept = {name for name, found in resources().items() if found.get("DeletionPolicy") == "Retain"}
    assert kept == {"RawBucket", "TransformedBucket", "ApiKey"}


def test_no_role_may_do_everything_or_act_on_everything() -> None:
    policies = [
        policy["PolicyDocument"]
        for role in of_type("AWS::IAM::Role")
        for policy in role["Policies"]
    ] + [policy["PolicyDocument"] for policy in of_type("AWS::IAM::ManagedPolicy")]
    for statement in (statement for policy in policies for statement in policy["Statement"]):
        actions = statement["Action"]
        assert "*" not in "".join([actions] if isinstance(actions, str) else actions)
        assert statement["Resource"] != "*" or "Condition" in statement
