"""A deployment as its templates make it: the two stacks, and everybody who acts in them."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from crypto_platform.core.streams import STREAMS
from crypto_platform_tests.aws.account import RAW_BUCKET, TRANSFORMED_BUCKET
from crypto_platform_tests.aws.stack import BOOTSTRAP, PLATFORM
from crypto_platform_tests.infrastructure.iam.decisions import Request, Simulator
from crypto_platform_tests.infrastructure.iam.provider import requests_of_stack
from crypto_platform_tests.infrastructure.iam.templates import ACCOUNT, REGION, Principal, Stack

CODE = "crypto-code-0704"
SNOWFLAKE_USER = "arn:aws:iam::111122223333:user/snowflake"
# With all that is optional.
PARAMETERS = {
    "ArtifactBucket": CODE,
    "CodeVersion": "abc",
    "AlertEmail": "someone@example.org",
    "LiveFunctionVersion": "1",
    "MonthlyBudget": "50",
    "ReserveConcurrency": "true",
    "SnowflakeUserArn": SNOWFLAKE_USER,
    "SnowflakeExternalId": "EXTERNAL_1",
    "SnowpipeQueueArn": "arn:aws:sqs:us-east-2:111122223333:snowpipe",
}


class Account:
    """The two stacks of a deployment, and who is in them."""

    def __init__(self, name: str = "crypto", **of_github: str) -> None:
        given = {"GitHubRepository": "owner/name", **of_github, "Deployment": name}
        self.bootstrap = Stack(BOOTSTRAP, f"{name}-bootstrap", given)
        parameters = {**PARAMETERS, "ArtifactBucket": f"{name}-code-0704", "Deployment": name}
        self.platform = Stack(PLATFORM, f"{name}-platform", parameters)
        managed = {**self.bootstrap.managed_policies, **self.platform.managed_policies}
        self.stack = self.bootstrap.role("StackRole", managed)
        self.deploy = self.bootstrap.role("DeployRole", managed)
        self.function = self.platform.role("FunctionRole", managed)
        self.glue = self.platform.role("GlueRole", managed)
        self.snowflake = self.platform.role("SnowflakeRole", managed)
        self.dagster = Principal(
            f"arn:aws:iam::{ACCOUNT}:user/dagster",
            {"platform": self.bootstrap.policy("PlatformPolicy")},
        )
        self.boundary = self.bootstrap.resources["Boundary"].arn
        self.bucket_policies = {
            one.arn: one.properties["PolicyDocument"]
            for stack in (self.bootstrap, self.platform)
            for one in stack.resources.values()
            if one.kind == "AWS::S3::BucketPolicy"
        }

    @property
    def everybody(self) -> dict[str, Principal]:
        return {name: one for name, one in vars(self).items() if isinstance(one, Principal)}


def refused(
    simulator: Simulator, account: Account, who: Principal, requests: Iterable[Request]
) -> list[str]:
    """Those of the requests that IAM would not allow, each once."""
    once = list(dict.fromkeys(requests))
    decided = simulator.allowed([(who, one) for one in once], account.bucket_policies)
    return [str(one) for one, allowed in zip(once, decided, strict=True) if not allowed]


def unexplained(found: list[str], reasons: Mapping[str, str]) -> list[str]:
    """What no reason covers, and reasons that cover nothing any longer."""
    seen = [one for one in found if not any(fnmatchcase(one, glob) for glob in reasons)]
    stale = [glob for glob in reasons if not any(fnmatchcase(one, glob) for one in found)]
    return seen + stale


def of_objects(bucket: str, key: str, *actions: str) -> list[Request]:
    return [Request(f"s3:{action}", f"arn:aws:s3:::{bucket}/{key}") for action in actions]


def of_bucket(bucket: str, *actions: str) -> list[Request]:
    return [Request(f"s3:{action}", f"arn:aws:s3:::{bucket}") for action in actions]


def of_log(group: str) -> list[Request]:
    stream = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:run"
    return [Request(f"logs:{action}", stream) for action in ("CreateLogStream", "PutLogEvents")]


# What Lambda does as the function's role for itself.
FUNCTION_DOES = of_log("/aws/lambda/crypto-ingestion")
S3A_WRITES = ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload")
GLUE_DOES = [
    *of_objects(CODE, "code/abc/glue_jobs.zip", "GetObject"),
    *(
        request
        for stream in STREAMS
        for request in of_objects(RAW_BUCKET, f"{stream.folder}/month=2026-11/x", "GetObject")
    ),
    *of_bucket(RAW_BUCKET, "ListBucket"),
    *of_bucket(TRANSFORMED_BUCKET, "ListBucket", "ListBucketMultipartUploads"),
    *of_objects(TRANSFORMED_BUCKET, "jobs/1/part-0.parquet", *S3A_WRITES),
    Request("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "Glue"}),
    *of_log("/crypto/glue/output"),
    *of_log("/crypto/glue/error"),
]
SNOWFLAKE_DOES = [
    *of_objects(TRANSFORMED_BUCKET, "historical_data/x", "GetObject", "GetObjectVersion"),
    *of_bucket(TRANSFORMED_BUCKET, "ListBucket", "GetBucketLocation"),
]


def drift_of(account: Account) -> list[Request]:
    """What the weekly look for drift asks: CloudFormation reads all as whoever looks."""
    stack = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{account.platform.name}/id"
    actions = ("DetectStackDrift", "DetectStackResourceDrift", "DescribeStackResourceDrifts")
    return [
        *(Request(f"cloudformation:{action}", stack) for action in actions),
        Request("cloudformation:DescribeStackDriftDetectionStatus", "*"),
        Request("cloudformation:BatchDescribeTypeConfigurations", "*"),
        *(
            request
            for request in requests_of_stack(account.platform, ["read"])
            # A value that the template does not give is none of its business.
            if request.action != "secretsmanager:GetSecretValue"
        ),
    ]
