"""A deployment as the variables name it: its names, its stack, and what AWS says of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from botocore.exceptions import ClientError

from infrastructure.stack_changes import Stack

PARAMETERS = {
    "CRYPTO_DEPLOYMENT": "Deployment",
    "ARTIFACT_BUCKET": "ArtifactBucket",
    "RAW_BUCKET": "RawBucketName",
    "TRANSFORMED_BUCKET": "TransformedBucketName",
    "COINGECKO_PLAN": "CoinGeckoPlan",
    "ALERT_EMAIL": "AlertEmail",
    "MONTHLY_BUDGET": "MonthlyBudget",
    "LOG_RETENTION_DAYS": "LogRetentionDays",
    "PERMISSIONS_BOUNDARY_ARN": "PermissionsBoundaryArn",
}
"""Parameters of the stack by the variables that set them."""

# Below this, Lambda lets nobody reserve: the rest of an account keeps so much.
_UNRESERVED_MINIMUM = 100


@dataclass(frozen=True)
class Deployment:
    """A deployment as its variables name it."""

    environment: Mapping[str, str]

    @property
    def name(self) -> str:
        """The prefix of every name."""
        return self._get("CRYPTO_DEPLOYMENT", "crypto")

    @property
    def region(self) -> str:
        """Where it is."""
        return self._get("AWS_REGION", "us-east-2")

    @property
    def artifact_bucket(self) -> str:
        """The bucket of the code."""
        return self._get("ARTIFACT_BUCKET", f"{self.name}-code-0704")

    @property
    def function(self) -> str:
        """The name of the ingestion function."""
        return f"{self.name}-ingestion"

    @cached_property
    def stack(self) -> Stack:
        """The stack of the platform."""
        _, partition, *_ = self.identity["Arn"].split(":")
        role = f"arn:{partition}:iam::{self.identity['Account']}:role/{self.name}-stack"
        return Stack(f"{self.name}-platform", self.region, self._get("STACK_ROLE_ARN", role))

    @cached_property
    def identity(self) -> dict[str, str]:
        """Who deploys, and in which account."""
        identity: dict[str, str] = self.client("sts").get_caller_identity()
        return identity

    def parameters(self) -> dict[str, str]:
        """What the variables say of the stack's parameters; nothing of those that are unset."""
        return {
            parameter: self.environment[variable]
            for variable, parameter in PARAMETERS.items()
            if self.environment.get(variable)
        }

    def tags(self) -> dict[str, str]:
        """What everything of the stack is tagged with."""
        return {"project": "crypto_platform", "deployment": self.name}

    def buckets(self) -> list[tuple[str, str, str]]:
        """Of each bucket of the lake: its variable, its name, and its name in the template."""
        return [
            (f"{layer.upper()}_BUCKET", self._get(f"{layer.upper()}_BUCKET", name), logical)
            for layer, name, logical in (
                ("raw", f"{self.name}-raw-data-0704", "RawBucket"),
                ("transformed", f"{self.name}-transformed-data-0704", "TransformedBucket"),
            )
        ]

    def client(self, service: str) -> Any:
        """A client in the deployment's region."""
        return boto3.client(service, region_name=self.region)

    def code_versions(self) -> dict[str, str]:
        """The code version of each published function, by its number, oldest first."""
        pages = self.client("lambda").get_paginator("list_versions_by_function")
        return {
            one["Version"]: code_version(one)
            for page in pages.paginate(FunctionName=self.function)
            for one in page["Versions"]
            if one["Version"] != "$LATEST"
        }

    def bucket_status(self, name: str) -> str:
        """Of the name of a bucket: ``free``, ``ours`` or ``taken``."""
        try:
            self.client("s3").head_bucket(Bucket=name)
        except ClientError as error:
            # A redirect: it is there, in a region that is not the deployment's.
            return "free" if error.response["Error"]["Code"] == "404" else "taken"
        return "ours"

    def may_reserve(self) -> bool:
        """Whether the account is large enough to reserve a concurrency of one.

        What a stack has reserved stays so: the account's rest no longer counts it.
        """
        if self.stack.parameters().get("ReserveConcurrency") == "true":
            return True
        limits = self.client("lambda").get_account_settings()["AccountLimit"]
        unreserved: int = limits["UnreservedConcurrentExecutions"]
        return unreserved > _UNRESERVED_MINIMUM

    def _get(self, variable: str, default: str) -> str:
        return self.environment.get(variable) or default


def code_version(function: Mapping[str, Any]) -> str:
    """The code version that a function's description ends with; empty where it has none."""
    found = re.search(r"code (\w+)$", function.get("Description", ""))
    return found[1] if found else ""
