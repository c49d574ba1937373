"""What the templates say, read as they stand: also of what moto's CloudFormation skips."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crypto_platform_tests.aws.stack import BOOTSTRAP, FILLED_IN, PLATFORM
from crypto_platform_tests.infrastructure.templates import (
    TEMPLATES,
    actions,
    documents,
    of_type,
    resources,
    statements,
    template,
    texts,
)

# What CloudFormation takes within a request.
LARGEST_TEMPLATE = 51_200


@pytest.mark.integration
def test_the_templates_are_clean() -> None:
    lint = [str(Path(sys.executable).parent / "cfn-lint"), *map(str, TEMPLATES)]
    found = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_every_resource_can_be_made_in_the_account_of_the_tests() -> None:
    kinds = {found["Type"] for found in resources(*TEMPLATES).values()}
    assert kinds - FILLED_IN == {
        "AWS::Events::Rule",
        "AWS::IAM::ManagedPolicy",
        "AWS::IAM::Role",
        "AWS::Lambda::Function",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::SNS::Topic",
    }


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_is_small_enough_to_be_sent(path: Path) -> None:
    assert path.stat().st_size < LARGEST_TEMPLATE


def test_data_and_the_key_survive_the_stack_but_not_the_operation_that_made_them() -> None:
    """What a failed first deployment kept would block the next by its name."""
    kept = {
        name: (found["DeletionPolicy"], found.get("UpdateReplacePolicy"))
        for name, found in resources(*TEMPLATES).items()
        if found.get("DeletionPolicy", "Delete") != "Delete"
    }
    assert kept == dict.fromkeys(
        ["ArtifactBucket", "GitHub", "RawBucket", "TransformedBucket", "ApiKey"],
        ("RetainExceptOnCreate", "Retain"),
    )


def test_no_role_makes_a_log_group_that_would_outlive_its_stack() -> None:
    within = [*statements(PLATFORM), *documents(BOOTSTRAP)["Boundary"]["Statement"]]
    assert not [each for each in within if "logs:CreateLogGroup" in actions(each)]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_the_first_deployments_name_stands_nowhere_but_as_a_default(path: Path) -> None:
    """The namespace of the metrics, in which each deployment has a dimension, is no name."""
    found = template(path)
    said = [*texts(found["Resources"]), *texts(found["Outputs"])]
    assert [text for text in said if "crypto" in text.replace("crypto_platform", "")] == []


def test_the_jobs_are_those_that_the_platform_starts() -> None:
    for job in of_type("AWS::Glue::Job", PLATFORM).values():
        assert (job["GlueVersion"], job["WorkerType"], job["NumberOfWorkers"]) == (
            "5.1",
            "G.1X",
            2,
        )
        assert job["DefaultArguments"]["--enable-auto-scaling"] == "true"
        assert job["MaxRetries"] == 0


def test_every_bucket_is_private_versioned_and_leaves_no_half_of_an_upload() -> None:
    buckets = of_type("AWS::S3::Bucket", *TEMPLATES)
    assert set(buckets) == {"ArtifactBucket", "RawBucket", "TransformedBucket"}
    for bucket in buckets.values():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        (rule,) = bucket["LifecycleConfiguration"]["Rules"]
        assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def test_the_lake_forgets_old_versions_and_the_code_forgets_nothing() -> None:
    def forgets(bucket: dict[str, Any]) -> object:
        (rule,) = bucket["LifecycleConfiguration"]["Rules"]
        return rule.get("NoncurrentVersionExpiration"), rule.get("ExpirationInDays")

    buckets = of_type("AWS::S3::Bucket", *TEMPLATES)
    assert {name: forgets(bucket) for name, bucket in buckets.items()} == {
        "ArtifactBucket": (None, None),
        "RawBucket": ({"NoncurrentDays": 30}, None),
        "TransformedBucket": ({"NoncurrentDays": 30}, None),
    }


def bucket_policies() -> dict[str, list[dict[str, Any]]]:
    return {
        policy["Bucket"]["Ref"]: policy["PolicyDocument"]["Statement"]
        for policy in of_type("AWS::S3::BucketPolicy", *TEMPLATES).values()
    }


def test_every_bucket_is_read_and_written_over_tls_alone() -> None:
    assert set(bucket_policies()) == set(of_type("AWS::S3::Bucket", *TEMPLATES))
    for bucket, policy in bucket_policies().items():
        assert {
            "Sid": "OnlyOverTls",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [
                {"Fn::GetAtt": [bucket, "Arn"]},
                {"Fn::Sub": f"${{{bucket}.Arn}}/*"},
            ],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        } in policy


def test_code_is_put_only_where_there_is_none() -> None:
    assert {
        "Sid": "CodeIsWrittenOnce",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": {"Fn::Sub": "${ArtifactBucket.Arn}/code/*"},
        "Condition": {
            "Null": {"s3:if-none-match": "true"},
            # The parts of an upload in parts are no object yet, and cannot say it.
            "Bool": {"s3:ObjectCreationOperation": "true"},
        },
    } in bucket_policies()["ArtifactBucket"]


BOUNDARY = "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/${Deployment}-boundary"


def test_every_role_of_the_stack_stays_within_the_boundary() -> None:
    for role in of_type("AWS::IAM::Role", PLATFORM).values():
        assert role["PermissionsBoundary"] == {
            "Fn::If": [
                "HasBoundary",
                {"Ref": "PermissionsBoundaryArn"},
                {"Fn::Sub": BOUNDARY},
            ]
        }


def test_the_stack_has_no_policy_that_could_be_attached_beyond_the_boundary() -> None:
    """A commit that rewrote one would give whoever it is attached to whatever it says."""
    assert of_type("AWS::IAM::ManagedPolicy", PLATFORM) == {}
    assert of_type("AWS::IAM::Policy", PLATFORM) == {}
    may = {action for each in statements(BOOTSTRAP) for action in actions(each)}
    assert not may & {
        "iam:AttachRolePolicy",
        "iam:CreatePolicy",
        "iam:CreatePolicyVersion",
        "iam:DeleteRolePermissionsBoundary",
        "iam:SetDefaultPolicyVersion",
    }


def test_no_policy_allows_a_kind_of_action_or_everything_without_a_condition() -> None:
    for statement in statements(*TEMPLATES):
        assert statement["Effect"] == "Allow"
        assert "*" not in "".join(actions(statement))
        assert statement["Resource"] != "*" or "Condition" in statement


def test_a_role_is_passed_on_only_to_the_service_that_it_is_for() -> None:
    passes = [each for each in statements(*TEMPLATES) if "iam:PassRole" in actions(each)]
    assert len(passes) == 2
    for statement in passes:
        assert actions(statement) == ["iam:PassRole"]
        assert "iam:PassedToService" in statement["Condition"]["StringEquals"]


def test_a_first_key_is_of_a_plan_that_is_not_limited_by_an_address_shared_with_others() -> None:
    assert template(PLATFORM)["Parameters"]["CoinGeckoPlan"]["Default"] == "demo"


def test_the_function_ends_before_a_silent_connection_is_dropped() -> None:
    """A NAT forgets one of 350 seconds."""
    (function,) = of_type("AWS::Lambda::Function", PLATFORM).values()
    assert function["Timeout"] < 350


def test_a_first_deployment_asks_for_nothing_that_a_new_account_refuses() -> None:
    """It has too few executions to reserve one, and its roles may not make budgets yet."""
    parameters = template(PLATFORM)["Parameters"]
    assert (
        parameters["ReserveConcurrency"]["Default"],
        parameters["MonthlyBudget"]["Default"],
    ) == (
        "false",
        0,
    )
