"""What the templates' policies allow, decided by a simulator of IAM.

Everybody may do what they do, and nothing else of weight: neither a commit nor another deployment
becomes more than its templates say. What is allowed and never asked for is listed with a reason.
"""

from collections.abc import Iterator

import pytest

from crypto_platform_tests.aws.account import RAW_BUCKET, TRANSFORMED_BUCKET
from crypto_platform_tests.infrastructure.iam.accounts import (
    CODE,
    GLUE_DOES,
    SNOWFLAKE_DOES,
    SNOWFLAKE_USER,
    Account,
    of_objects,
    refused,
    unexplained,
)
from crypto_platform_tests.infrastructure.iam.decisions import (
    EVERYTHING,
    GITHUB,
    Request,
    Simulator,
    running_simulator,
)
from crypto_platform_tests.infrastructure.iam.provider import requests_of_stack
from crypto_platform_tests.infrastructure.iam.requests import (
    grants,
    resource_formats,
    unused,
)
from crypto_platform_tests.infrastructure.iam.templates import (
    ACCOUNT,
    REGION,
    UNKNOWN,
    Principal,
)

pytestmark = pytest.mark.integration

NUMBERS = {"GitHubOwnerId": "1", "GitHubRepositoryId": "2"}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def crypto() -> Account:
    return Account()


# What CloudFormation does as the stack's role.

UNSEEN_OF_THE_STACK = {
    "lambda:* on *:function:crypto-ingestion*": "the function's or its alias', as Lambda asks",
    "iam:ListRoleTags on *": "drift of a role's tags",
}


def test_cloudformation_may_do_all_that_the_stacks_resources_take(
    simulator: Simulator, crypto: Account
) -> None:
    requests = list(requests_of_stack(crypto.platform))

    assert not crypto.platform.left_out
    assert len({one.action for one in requests}) > 100
    assert refused(simulator, crypto, crypto.stack, requests) == []


def test_what_cloudformation_may_do_and_never_does_is_known(crypto: Account) -> None:
    found = unused(crypto.stack.policies.values(), requests_of_stack(crypto.platform))

    assert unexplained(found, UNSEEN_OF_THE_STACK) == []


# What nobody may do.


def role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def policy(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:policy/{name}"


NEW_ROLE = role(f"crypto-platform-Another-{UNKNOWN}")
FUNCTION_ROLE = role(f"crypto-platform-FunctionRole-{UNKNOWN}")
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


BEYOND_ITS_STACK = [
    Request("iam:CreateRole", NEW_ROLE),
    Request("iam:CreateRole", NEW_ROLE, {"iam:PermissionsBoundary": ADMINISTRATOR}),
    Request("iam:PutRolePolicy", FUNCTION_ROLE),
    Request(
        "iam:PutRolePermissionsBoundary",
        FUNCTION_ROLE,
        {"iam:PermissionsBoundary": ADMINISTRATOR},
    ),
    Request("iam:DeleteRolePermissionsBoundary", FUNCTION_ROLE),
    Request("iam:AttachRolePolicy", FUNCTION_ROLE, {"iam:PolicyARN": ADMINISTRATOR}),
    *(
        Request(f"iam:{action}", policy(name))
        for action in ("CreatePolicyVersion", "DeletePolicy", "SetDefaultPolicyVersion")
        for name in ("crypto-boundary", "crypto-platform", "crypto-reads-the-stack")
    ),
    *(
        Request(f"iam:{action}", role(name), {"iam:PermissionsBoundary": policy("crypto-boundary")})
        for action in ("PutRolePolicy", "AttachRolePolicy", "DeleteRolePolicy")
        for name in ("crypto-stack", "crypto-deploy")
    ),
    *(
        Request(f"iam:{action}", role(name))
        for action in ("UpdateAssumeRolePolicy", "DeleteRole", "PassRole")
        for name in ("crypto-stack", "crypto-deploy", "Administrator")
    ),
    Request("iam:PassRole", FUNCTION_ROLE, {"iam:PassedToService": "ec2.amazonaws.com"}),
    Request("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/somebody"),
    Request("iam:CreateAccessKey", f"arn:aws:iam::{ACCOUNT}:user/somebody"),
    Request("sts:AssumeRole", role("crypto-deploy")),
    Request("s3:GetObject", "arn:aws:s3:::crypto-raw-data-0704/historical_data/x"),
    Request("s3:PutObject", "arn:aws:s3:::crypto-raw-data-0704/historical_data/x"),
    Request("s3:DeleteObject", "arn:aws:s3:::crypto-transformed-data-0704/historical_data/x"),
    Request("lambda:UpdateFunctionCode", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:another"),
    Request(
        "cloudformation:UpdateStack",
        f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/crypto-bootstrap/x",
    ),
]


@pytest.mark.parametrize("request_", BEYOND_ITS_STACK, ids=str)
@pytest.mark.parametrize("who", ["stack", "deploy"])
def test_a_commit_does_not_reach_beyond_its_stack(
    who: str, request_: Request, crypto: Account, simulator: Simulator
) -> None:
    assert not simulator.allowed([(crypto.everybody[who], request_)], crypto.bucket_policies)[0]


BEYOND_THE_BOUNDARY = [
    Request("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/somebody"),
    Request("iam:PutRolePolicy", FUNCTION_ROLE),
    Request("iam:CreatePolicyVersion", policy("crypto-boundary")),
    Request("sts:AssumeRole", role("crypto-stack")),
    Request("s3:GetObject", "arn:aws:s3:::somebody-elses/x"),
    Request("s3:DeleteObject", "arn:aws:s3:::crypto-raw-data-0704/historical_data/x"),
    Request("s3:PutObject", "arn:aws:s3:::crypto-code-0704/code/abc/ingestion.zip"),
    Request("lambda:UpdateFunctionCode", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:another"),
    Request(
        "secretsmanager:GetSecretValue",
        f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:another-{UNKNOWN}",
    ),
    Request("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "crypto_platform"}),
]


@pytest.mark.parametrize("request_", BEYOND_THE_BOUNDARY, ids=str)
def test_a_role_of_the_stack_that_a_commit_makes_administrator_is_none(
    request_: Request, crypto: Account, simulator: Simulator
) -> None:
    administrator = Principal(NEW_ROLE, EVERYTHING, crypto.glue.boundary)

    assert crypto.glue.boundary
    assert not simulator.allowed([(administrator, request_)], crypto.bucket_policies)[0]


def test_every_role_of_the_stack_is_made_within_the_boundary_and_passed_to_its_service_alone(
    crypto: Account, simulator: Simulator
) -> None:
    within = {"iam:PermissionsBoundary": crypto.boundary}
    roles = [one for one in crypto.platform.resources.values() if one.kind == "AWS::IAM::Role"]

    assert [one.properties["PermissionsBoundary"] for one in roles] == [crypto.boundary] * 3
    asked = [
        *(Request("iam:CreateRole", one.arn, within) for one in roles),
        Request("iam:PassRole", FUNCTION_ROLE, {"iam:PassedToService": "lambda.amazonaws.com"}),
    ]
    assert refused(simulator, crypto, crypto.stack, asked) == []


def test_one_deployment_changes_nothing_of_another(simulator: Simulator, crypto: Account) -> None:
    staging = Account("crypto-staging")
    for one, other in ((crypto, staging), (staging, crypto)):
        asked = list(
            dict.fromkeys(
                request
                for request in requests_of_stack(other.platform)
                # What knows no resource is everybody's, and alarms are read over all.
                if request.resource != "*" and not is_read(request.action)
            )
        )
        decided = simulator.allowed([(one.stack, request) for request in asked])
        assert [str(it) for it, may in zip(asked, decided, strict=True) if may] == []


def is_read(action: str) -> bool:
    return action.split(":")[1].startswith(("Describe", "Get", "List", "View"))


# Who becomes whom.


@pytest.mark.parametrize(
    ("numbers", "subject", "trusted"),
    [
        ({}, "repo:owner/name:environment:aws", True),
        ({}, "repo:owner/name:environment:other", False),
        ({}, "repo:owner/name:ref:refs/heads/main", False),
        ({}, "repo:owner/name:pull_request", False),
        ({}, "repo:owner/another:environment:aws", False),
        ({}, "repo:somebody/name:environment:aws", False),
        ({}, "repo:owner@1/name@2:environment:aws", False),
        (NUMBERS, "repo:owner@1/name@2:environment:aws", True),
        # The name was given up, and somebody else has it now.
        (NUMBERS, "repo:owner@1/name@3:environment:aws", False),
        (NUMBERS, "repo:owner@4/name@2:environment:aws", False),
        (NUMBERS, "repo:owner/name:environment:aws", False),
    ],
)
def test_only_the_repositorys_environment_becomes_the_role_that_deploys(
    numbers: dict[str, str], subject: str, *, trusted: bool, simulator: Simulator
) -> None:
    account = Account(**numbers)
    provider = account.bootstrap.resources["GitHub"].arn
    trust = account.bootstrap.trust("DeployRole")
    token = {f"{GITHUB}:aud": "sts.amazonaws.com", f"{GITHUB}:sub": subject}
    strange = {**token, f"{GITHUB}:aud": "https://github.com/owner"}

    assert simulator.may_become(
        account.deploy.arn,
        trust,
        "sts:AssumeRoleWithWebIdentity",
        [(provider, token), (provider, strange), (f"{provider}-of-another", token)],
    ) == [trusted, False, False]


def test_only_snowflakes_user_with_its_external_id_becomes_the_reader(
    crypto: Account, simulator: Simulator
) -> None:
    assert simulator.may_become(
        crypto.snowflake.arn,
        crypto.platform.trust("SnowflakeRole"),
        "sts:AssumeRole",
        [
            (SNOWFLAKE_USER, {"sts:ExternalId": "EXTERNAL_1"}),
            (SNOWFLAKE_USER, {"sts:ExternalId": "EXTERNAL_2"}),
            (f"{SNOWFLAKE_USER}s-neighbour", {"sts:ExternalId": "EXTERNAL_1"}),
        ],
    ) == [True, False, False]


# What no stand-in does as the real service: Glue's S3A and Snowflake's own reader.


def test_glue_and_snowflake_may_do_what_their_documents_say_they_do(
    crypto: Account, simulator: Simulator
) -> None:
    assert refused(simulator, crypto, crypto.glue, GLUE_DOES) == []
    assert refused(simulator, crypto, crypto.snowflake, SNOWFLAKE_DOES) == []
    assert unused(crypto.snowflake.policies.values(), SNOWFLAKE_DOES) == []


@pytest.mark.parametrize(
    ("who", "request_"),
    [
        *(
            ("snowflake", request)
            for request in [
                *of_objects(TRANSFORMED_BUCKET, "historical_data/x", "PutObject", "DeleteObject"),
                *of_objects(RAW_BUCKET, "historical_data/x", "GetObject"),
            ]
        ),
        *(
            ("glue", request)
            for request in [
                *of_objects(TRANSFORMED_BUCKET, "historical_data/x", "PutObject", "DeleteObject"),
                *of_objects(RAW_BUCKET, "historical_data/x", "PutObject", "DeleteObject"),
                Request("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "AWS/Billing"}),
            ]
        ),
        *(
            ("function", request)
            for request in [
                *of_objects(RAW_BUCKET, "historical_data/x", "DeleteObject"),
                *of_objects(TRANSFORMED_BUCKET, "historical_data/x", "PutObject"),
            ]
        ),
        ("dagster", Request("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "Glue"})),
        *(("dagster", request) for request in of_objects(CODE, "code/abc/x", "PutObject")),
    ],
    ids=str,
)
def test_nobody_writes_where_they_only_read(
    who: str, request_: Request, crypto: Account, simulator: Simulator
) -> None:
    decided = simulator.allowed([(crypto.everybody[who], request_)], crypto.bucket_policies)

    assert decided == [False]


def test_code_is_written_once_and_everything_over_tls_alone(
    crypto: Account, simulator: Simulator
) -> None:
    creates = {"s3:ObjectCreationOperation": "true"}
    artifact = f"arn:aws:s3:::{CODE}/code/abc/ingestion.zip"
    asked = {
        Request("s3:PutObject", artifact, {**creates, "s3:if-none-match": "*"}): True,
        Request("s3:PutObject", artifact, creates): False,
        # A part of an upload, which cannot say so.
        Request("s3:PutObject", artifact, {"s3:ObjectCreationOperation": "false"}): True,
        Request("s3:DeleteObject", artifact): False,
        Request("s3:GetObject", artifact): True,
        Request("s3:GetObject", artifact, {"aws:SecureTransport": "false"}): False,
    }

    decided = simulator.allowed([(crypto.deploy, one) for one in asked], crypto.bucket_policies)

    assert dict(zip(asked, decided, strict=True)) == asked
    assert set(crypto.bucket_policies) == {
        f"arn:aws:s3:::{bucket}" for bucket in (CODE, RAW_BUCKET, TRANSFORMED_BUCKET)
    }


# The statements themselves.


def test_every_action_exists_and_names_its_resource_where_it_can() -> None:
    account = Account()
    for name, who in account.everybody.items():
        for action, pattern in grants([*who.policies.values(), *who.boundary.values()]):
            assert resource_formats(action), f"{name}: IAM has no action {action}"
            assert "*" not in action, f"{name}: {action} is many"
            assert pattern != "*" or "*" in resource_formats(action), f"{name}: {action} on all"
