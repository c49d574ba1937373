"""What IAM is asked for a call: the actions, on which resource, and the keys of conditions."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any
from urllib.parse import unquote

from policy_sentry.querying.actions import get_action_data

from crypto_platform_tests.infrastructure.iam.calls import Call
from crypto_platform_tests.infrastructure.iam.decisions import Request
from crypto_platform_tests.infrastructure.iam.templates import ACCOUNT, REGION, UNKNOWN

_REGIONAL = f"{REGION}:{ACCOUNT}"

# What IAM calls an operation, where that is not the operation's own name.
_ACTIONS = {
    "lambda:Invoke": ["lambda:InvokeFunction"],
    "s3:CompleteMultipartUpload": ["s3:PutObject"],
    "s3:CopyObject": ["s3:PutObject"],
    "s3:CreateMultipartUpload": ["s3:PutObject"],
    "s3:DeleteObjects": ["s3:DeleteObject"],
    "s3:HeadBucket": ["s3:ListBucket"],
    "s3:HeadObject": ["s3:GetObject"],
    "s3:ListMultipartUploads": ["s3:ListBucketMultipartUploads"],
    "s3:ListObjectVersions": ["s3:ListBucketVersions"],
    "s3:ListObjects": ["s3:ListBucket"],
    "s3:ListObjectsV2": ["s3:ListBucket"],
    "s3:ListParts": ["s3:ListMultipartUploadParts"],
    "s3:UploadPart": ["s3:PutObject"],
}
# What of a call's parameters makes an ARN; the first that fits the action is the resource.
_ARNS = {
    "cloudformation": ["{StackName}", f"arn:aws:cloudformation:{_REGIONAL}:stack/{{StackName}}/id"],
    "glue": [f"arn:aws:glue:{_REGIONAL}:job/{{JobName}}"],
    "lambda": [
        f"arn:aws:lambda:{_REGIONAL}:function:{{FunctionName}}:{{Qualifier}}",
        f"arn:aws:lambda:{_REGIONAL}:function:{{FunctionName}}",
        "{FunctionName}",
    ],
    "logs": [
        f"arn:aws:logs:{_REGIONAL}:log-group:{{logGroupName}}:log-stream:{{logStreamName}}",
        # So IAM names a group for most actions: of any stream.
        f"arn:aws:logs:{_REGIONAL}:log-group:{{logGroupName}}:log-stream:",
    ],
    "s3": ["arn:aws:s3:::{Bucket}/{Key}", "arn:aws:s3:::{Bucket}"],
    "secretsmanager": ["{SecretId}"],
    "sns": ["{TopicArn}"],
}
# Which parameter a condition's key has its value from.
_KEYS = {
    "cloudformation:CreateChangeSet": {
        "cloudformation:ChangeSetName": "ChangeSetName",
        "cloudformation:RoleArn": "RoleARN",
    },
    "cloudwatch:PutMetricData": {"cloudwatch:namespace": "Namespace"},
    "s3:PutObject": {"s3:if-none-match": "IfNoneMatch", "s3:if-match": "IfMatch"},
    "s3:ListBucket": {"s3:prefix": "Prefix"},
}
# Keys that such a call always has.
_ALWAYS = {"s3:PutObject": {"s3:ObjectCreationOperation": "true"}}
# Policy Sentry's data knows a resource for these; IAM has none when it asks.
_NO_RESOURCE = {"cloudwatch:PutMetricData", "cloudformation:GetTemplateSummary"}


def requests_of(call: Call) -> Iterator[Request]:
    """What IAM is asked for a call."""
    given = dict(call.parameters)
    copied = given.pop("CopySource", "")
    if copied:
        yield Request(
            "s3:GetObject", f"arn:aws:s3:::{unquote(copied).lstrip('/')}", why="s3 CopyObject"
        )
    why = f"{call.service} {call.operation}"
    for action in _ACTIONS.get(name := f"{call.service}:{call.operation}", [name]):
        context = {
            key: str(given[parameter])
            for key, parameter in _KEYS.get(action, {}).items()
            if given.get(parameter)
        }
        context.update(_ALWAYS.get(action, {}))
        for key in given.get("Keys", [given.get("Key")]):
            candidates = _filled(_ARNS.get(call.service, []), {**given, "Key": key})
            yield Request(action, resource_of(action, candidates), context, why)
    if role := given.get("RoleARN"):
        passed = {"iam:PassedToService": f"{call.service}.amazonaws.com"}
        yield Request("iam:PassRole", role, passed, why)
    if any(name.startswith("Tags.") for name in given):
        action = f"{call.service}:TagResource"
        candidates = _filled(_ARNS[call.service], given)
        yield Request(action, resource_of(action, candidates), why=why)


def resource_of(action: str, candidates: Iterable[str]) -> str:
    """The first candidate that is a resource of this action, or ``*`` where it may have none.

    Raises:
        LookupError: None fits.
    """
    formats = resource_formats(action)
    if action not in _NO_RESOURCE:
        for candidate in candidates:
            if any(_pattern(known).fullmatch(candidate) for known in formats - {"*"}):
                return candidate
    if "*" in formats:
        return "*"
    raise LookupError(f"{action} wants a resource like {formats}, and not {list(candidates)}")


@cache
def resource_formats(action: str) -> frozenset[str]:
    """How ARNs of an action's resources look; empty for an action that IAM does not have."""
    service, name = action.split(":")
    data = get_action_data(service, name)
    return frozenset(row["resource_arn_format"] for row in data[service]) if data else frozenset()


@cache
def condition_keys(action: str) -> frozenset[str]:
    service, name = action.split(":")
    rows = get_action_data(service, name)[service]
    return frozenset(key for row in rows for key in row["condition_keys"])


def grants(policies: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Each action that policies allow, with each pattern of resources that they allow it on."""
    for policy in policies:
        for statement in policy["Statement"]:
            if statement["Effect"] == "Allow":
                yield from product(_listed(statement["Action"]), _listed(statement["Resource"]))


def unused(policies: Iterable[Mapping[str, Any]], requests: Iterable[Request]) -> list[str]:
    """What is allowed and never asked for, as ``action on pattern``."""
    asked: dict[str, set[str]] = {}
    for request in requests:
        asked.setdefault(request.action, set()).add(request.resource)
    return sorted(
        f"{action} on {pattern}"
        for action, pattern in set(grants(policies))
        if not any(covers(pattern, arn) for arn in asked.get(action, ()))
    )


def covers(pattern: str, arn: str) -> bool:
    """Whether a policy's pattern covers an ARN."""
    wild = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(wild, arn.replace(UNKNOWN, "ABCDEF")) is not None


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _filled(patterns: Iterable[str], parameters: Mapping[str, object]) -> list[str]:
    known = {name: value for name, value in parameters.items() if value}
    return [
        pattern.format(**known)
        for pattern in patterns
        if set(re.findall(r"\{(\w+)\}", pattern)) <= set(known)
    ]


@cache
def _pattern(arn_format: str) -> re.Pattern[str]:
    # Names with slashes exist; a colon begins another part, but in a function's qualifier.
    return re.compile(re.sub(r"\\\$\\\{\w+\\\}", ".*", re.escape(arn_format)))
