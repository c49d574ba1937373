"""Two deployments in one account, made over HTTP; what is there is read through its own API.

Nothing is changed here: all tests look at one account. What moto's CloudFormation cannot make is
looked at in the templates themselves.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import INTRA_DAY
from crypto_platform_tests.aws.account import account, client
from crypto_platform_tests.aws.stack import Deployment
from infrastructure.package import artifacts, version

pytestmark = pytest.mark.integration

SETTINGS = Settings.from_environment({})
ACCOUNT = "123456789012"
SNOWFLAKE = f"arn:aws:iam::{ACCOUNT}:user/snowflake"
EMAIL = "someone@example.org"

# As long as it may be, so that nothing that is named by it becomes too long.
STAGING = "crypto-staging-east1"

# What IAM takes, not counting white space.
LARGEST_MANAGED_POLICY = 6_144
LARGEST_INLINE_POLICIES = 10_240


@dataclass(frozen=True)
class Made:
    """The deployments, and the names of all that each of them has by kind."""

    first: Deployment
    staging: Deployment
    before: Mapping[str, set[str]]
    after: Mapping[str, set[str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with account(tmp_path_factory.mktemp("objects"), buckets=()):
        first = Deployment()
        first.bootstrap()
        first.deploy(
            CodeVersion=first.upload(),
            AlertEmail=EMAIL,
            MonthlyBudget="50",
            LogRetentionDays="14",
            ReserveConcurrency="true",
            SnowflakeUserArn=SNOWFLAKE,
            SnowflakeExternalId="ID_1",
        )
        before = names()
        (provider,) = client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
        staging = Deployment(STAGING)
        staging.bootstrap(
            OidcProviderArn=provider["Arn"],
            GitHubEnvironment="staging",
            GitHubOwnerId="123456",
            GitHubRepositoryId="456789",
        )
        staging.deploy(
            CodeVersion=staging.upload(),
            AlertEmail=EMAIL,
            MonthlyBudget="50",
            SnowflakeUserArn=SNOWFLAKE,
            SnowflakeExternalId="ID_1",
        )
        yield Made(first, staging, before, names())


def names() -> dict[str, set[str]]:
    """The names of all that the account has, by kind."""
    iam, budgets = client("iam"), client("budgets").describe_budgets(AccountId=ACCOUNT)
    alarms = client("cloudwatch").describe_alarms()["MetricAlarms"]
    groups = client("logs").describe_log_groups()["logGroups"]
    return {
        "alarms": {alarm["AlarmName"] for alarm in alarms},
        "buckets": {bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]},
        "budgets": {budget["BudgetName"] for budget in budgets["Budgets"]},
        "functions": {
            found["FunctionName"] for found in client("lambda").list_functions()["Functions"]
        },
        "jobs": {job["Name"] for job in client("glue").get_jobs()["Jobs"]},
        "log groups": {group["logGroupName"] for group in groups},
        "policies": {found["PolicyName"] for found in iam.list_policies(Scope="Local")["Policies"]},
        "roles": {role["RoleName"] for role in iam.list_roles()["Roles"]},
        "rules": {rule["Name"] for rule in client("events").list_rules()["Rules"]},
        "secrets": {
            secret["Name"] for secret in client("secretsmanager").list_secrets()["SecretList"]
        },
        "topics": {
            topic["TopicArn"].rpartition(":")[2] for topic in client("sns").list_topics()["Topics"]
        },
    }


def test_another_deployments_name_is_all_that_a_second_platform_in_the_account_takes(
    made: Made,
) -> None:
    for kind, all_names in made.after.items():
        added = all_names - made.before[kind]
        assert len(added) == len(made.before[kind]) > 0, kind
        for name in added:
            assert name.removeprefix("/aws/lambda").removeprefix("/").startswith(STAGING)


def test_the_names_are_those_that_the_platform_uses_by_itself(made: Made) -> None:
    assert {SETTINGS.raw_bucket, SETTINGS.transformed_bucket} < made.before["buckets"]
    assert {SETTINGS.historical_glue_job, SETTINGS.intra_day_glue_job} == made.before["jobs"]
    assert made.before["functions"] == {SETTINGS.ingestion_function.partition(":")[0]}
    assert made.before["topics"] == {SETTINGS.alerts_topic}


def test_the_outputs_name_what_is_there(made: Made) -> None:
    outputs = made.first.outputs()
    code = version(artifacts())
    assert outputs == {
        "RawBucket": "crypto-raw-data-0704",
        "TransformedBucket": "crypto-transformed-data-0704",
        "IngestionFunction": "crypto-ingestion:live",
        "HistoricalJob": "crypto-historical-transformation",
        "IntraDayJob": "crypto-intra-day-transformation",
        "AlertsTopicArn": f"arn:aws:sns:us-east-2:{ACCOUNT}:crypto-alerts",
        "PlatformPolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/crypto-platform",
        "ApiKeySecret": secret("crypto")["ARN"],
        "SnowflakeRoleArn": f"arn:aws:iam::{ACCOUNT}:role/crypto-snowflake-reader",
        "CodeVersion": code,
        "LiveCodeVersion": code,
        "LiveFunctionVersion": "1",
    }
    assert client("iam").get_policy(PolicyArn=outputs["PlatformPolicyArn"])
    found = client("iam").get_role(RoleName="crypto-snowflake-reader")["Role"]
    assert found["Arn"] == outputs["SnowflakeRoleArn"]


def secret(deployment: str) -> dict[str, Any]:
    found: dict[str, Any] = client("secretsmanager").describe_secret(
        SecretId=f"{deployment}/coingecko-api-key"
    )
    return found


def test_the_function_is_created_as_the_platform_expects_it(made: Made) -> None:
    function = client("lambda").get_function(FunctionName=made.first.function)
    configuration = function["Configuration"]
    assert configuration["Handler"] == "lambda_function.handler.lambda_handler"
    assert configuration["Environment"]["Variables"] == {
        "COINGECKO_PLAN": "demo",
        "COINGECKO_API_KEY_SECRET_ARN": secret("crypto")["ARN"],
    }


def test_an_execution_is_reserved_only_where_it_is_asked_for(made: Made) -> None:
    """An account that is new refuses it, and with it the whole stack."""
    reserved = [
        client("lambda").get_function(FunctionName=each.function).get("Concurrency")
        for each in (made.first, made.staging)
    ]
    assert reserved == [{"ReservedConcurrentExecutions": 1}, None]


def test_the_alias_serves_the_published_version(made: Made) -> None:
    alias = client("lambda").get_alias(FunctionName=made.first.function, Name="live")
    assert alias["FunctionVersion"] == "1"


def test_the_jobs_are_created_with_this_version_of_the_code(made: Made) -> None:
    for name in made.before["jobs"]:
        job = client("glue").get_job(JobName=name)["Job"]
        bucket, _, key = job["Command"]["ScriptLocation"].removeprefix("s3://").partition("/")
        assert client("s3").head_object(Bucket=bucket, Key=key)["ContentLength"] > 0
        assert key.startswith(f"code/{version(artifacts())}/")


def test_alarms_go_to_the_topic_and_from_there_to_the_address(made: Made) -> None:
    topic = made.first.outputs()["AlertsTopicArn"]
    subscribed = client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [each["Endpoint"] for each in subscribed] == [EMAIL]
    assert {
        alarm["AlarmName"]: alarm["AlarmActions"]
        for alarm in client("cloudwatch").describe_alarms()["MetricAlarms"]
        if alarm["AlarmName"] in made.before["alarms"]
    } == {
        "crypto-ingestion-errors": [topic],
        "crypto-ingestion-throttles": [topic],
        "crypto-nothing-loaded": [topic],
    }


def test_seven_hours_without_a_loaded_window_are_an_alarm(made: Made) -> None:
    name = f"{made.first.name}-nothing-loaded"
    (alarm,) = client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    loaded = next(each for each in alarm["Metrics"] if "MetricStat" in each)["MetricStat"]
    assert loaded["Metric"] == {
        "Namespace": "crypto_platform",
        "MetricName": "WindowsLoaded",
        "Dimensions": [
            {"Name": "Deployment", "Value": "crypto"},
            {"Name": "Stream", "Value": INTRA_DAY.name},
        ],
    }
    assert (loaded["Period"], alarm["EvaluationPeriods"]) == (3600, 7)
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    assert alarm["TreatMissingData"] == "breaching"


def test_an_hour_without_a_window_is_a_zero_and_no_gap(made: Made) -> None:
    """CloudWatch would look further back for values, and go off hours late."""
    name = f"{made.first.name}-nothing-loaded"
    (alarm,) = client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    (judged,) = (each for each in alarm["Metrics"] if each["ReturnData"])
    assert judged["Expression"] == "FILL(loaded, 0)"


def test_the_address_is_told_before_and_when_a_months_budget_is_spent(made: Made) -> None:
    budgets = {"AccountId": ACCOUNT, "BudgetName": f"{made.first.name}-monthly"}
    budget = client("budgets").describe_budget(**budgets)["Budget"]
    assert (budget["TimeUnit"], float(budget["BudgetLimit"]["Amount"])) == ("MONTHLY", 50)
    told = client("budgets").describe_notifications_for_budget(**budgets)["Notifications"]
    assert {(each["NotificationType"], each["Threshold"]) for each in told} == {
        ("FORECASTED", 80),
        ("ACTUAL", 100),
    }


def test_every_bucket_is_encrypted(made: Made) -> None:
    for bucket in made.after["buckets"]:
        encryption = client("s3").get_bucket_encryption(Bucket=bucket)
        (rule,) = encryption["ServerSideEncryptionConfiguration"]["Rules"]
        assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_the_logs_are_kept_for_as_long_as_was_said(made: Made) -> None:
    groups = client("logs").describe_log_groups()["logGroups"]
    kept = {group["logGroupName"]: group["retentionInDays"] for group in groups}
    assert {name: days for name, days in kept.items() if name in made.before["log groups"]} == {
        "/aws/lambda/crypto-ingestion": 14,
        "/crypto/glue/error": 14,
        "/crypto/glue/output": 14,
    }


def test_a_job_that_fails_is_reported_by_the_rule(made: Made) -> None:
    rule = client("events").describe_rule(Name="crypto-glue-job-failures")
    assert set(json.loads(rule["EventPattern"])["detail"]["jobName"]) == made.before["jobs"]


def test_alarms_of_this_account_and_rules_may_publish_to_the_topic(made: Made) -> None:
    topic = made.first.outputs()["AlertsTopicArn"]
    attributes = client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    assert json.loads(attributes["Policy"])["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic,
            "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        },
        # AWS allows no condition here: EventBridge could not publish.
        {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic,
        },
    ]


def assume_policy(role: str) -> dict[str, Any]:
    document = client("iam").get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    (statement,) = document["Statement"]
    found: dict[str, Any] = statement
    return found


def test_only_snowflakes_user_becomes_the_role_that_reads(made: Made) -> None:
    statement = assume_policy(f"{made.first.name}-snowflake-reader")
    assert statement["Principal"] == {"AWS": SNOWFLAKE}
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "ID_1"}}


@pytest.mark.parametrize(
    ("deployment", "subject"),
    [
        ("crypto", "repo:owner/name:environment:aws"),
        (STAGING, "repo:owner@123456/name@456789:environment:staging"),
    ],
)
def test_only_the_repositorys_environment_becomes_the_role_that_deploys(
    made: Made,  # noqa: ARG001 - the roles come first
    deployment: str,
    subject: str,
) -> None:
    """A repository that has its numbers in the subject is trusted by them alone."""
    (provider,) = client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
    assert provider["Arn"].endswith("oidc-provider/token.actions.githubusercontent.com")
    assert assume_policy(f"{deployment}-deploy") == {
        "Effect": "Allow",
        "Principal": {"Federated": provider["Arn"]},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {
                "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                "token.actions.githubusercontent.com:sub": subject,
            }
        },
    }


def test_only_cloudformation_becomes_the_role_that_changes_the_stack(made: Made) -> None:
    principal = assume_policy(f"{made.first.name}-stack")["Principal"]
    assert principal == {"Service": "cloudformation.amazonaws.com"}


def test_every_role_that_the_stack_made_has_the_boundary(made: Made) -> None:
    of_stack = [
        name
        for name in made.before["roles"]
        if name.startswith("crypto-platform-") or name == "crypto-snowflake-reader"
    ]
    assert len(of_stack) == 3
    for name in of_stack:
        role = client("iam").get_role(RoleName=name)["Role"]
        assert role["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith(
            ":policy/crypto-boundary"
        )


def size(document: Any) -> int:
    return len(json.dumps(document, separators=(",", ":")))


def test_every_policy_is_small_enough_for_iam(made: Made) -> None:
    iam = client("iam")
    for policy in iam.list_policies(Scope="Local")["Policies"]:
        found = iam.get_policy_version(
            PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"]
        )
        assert size(found["PolicyVersion"]["Document"]) < LARGEST_MANAGED_POLICY
    for role in made.after["roles"]:
        inline = iam.list_role_policies(RoleName=role)["PolicyNames"]
        assert (
            sum(
                size(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
                for name in inline
            )
            < LARGEST_INLINE_POLICIES
        )
