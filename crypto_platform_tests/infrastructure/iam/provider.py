"""What CloudFormation asks of AWS for a stack's resources, as whom it was told to act.

AWS states it for every type, in the schema of its resource provider: the permissions that creating,
reading, updating and deleting takes. cfn-lint ships these schemas.
"""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from crypto_platform_tests.infrastructure.iam.decisions import Request
from crypto_platform_tests.infrastructure.iam.requests import (
    condition_keys,
    resource_formats,
    resource_of,
)
from crypto_platform_tests.infrastructure.iam.templates import ACCOUNT, REGION, Resource, Stack

_HANDLERS = ("create", "read", "update", "delete")

# A type's schema names what each of its properties could take. Without the property, nobody asks;
# but what a handler reads of the type itself, it reads in any case.
_ONLY_WITH = {
    "AWS::IAM::ManagedPolicy": {
        "Groups": ["iam:*GroupPolicy"],
        "Roles": ["iam:*RolePolicy"],
        "Users": ["iam:*UserPolicy"],
    },
    "AWS::IAM::Role": {
        "ManagedPolicyArns": ["iam:AttachRolePolicy", "iam:DetachRolePolicy"],
    },
    "AWS::Lambda::Alias": {
        "ProvisionedConcurrencyConfig": ["lambda:PutProvisioned*", "lambda:DeleteProvisioned*"],
        "RoutingConfig": ["codedeploy:*"],
    },
    "AWS::Lambda::Function": {
        "Code.S3ObjectVersion": ["s3:GetObjectVersion"],
        "CapacityProviderConfig": ["lambda:PassCapacityProvider"],
        "CodeSigningConfigArn": [
            "lambda:GetCodeSigningConfig",
            "lambda:PutFunctionCodeSigningConfig",
            "lambda:DeleteFunctionCodeSigningConfig",
        ],
        "FileSystemConfigs": ["elasticfilesystem:*", "s3files:*"],
        "FunctionScalingConfig": ["lambda:PutFunctionScalingConfig"],
        "KmsKeyArn": ["kms:*"],
        "Layers": ["lambda:GetLayerVersion"],
        "PublishToLatestPublished": ["lambda:PublishVersion"],
        "RecursiveLoop": ["lambda:PutFunctionRecursionConfig"],
        "RuntimeManagementConfig": [
            "lambda:AssociateRuntimeAlias",
            "lambda:PutRuntimeManagementConfig",
        ],
        "VpcConfig": ["ec2:*"],
    },
    "AWS::Logs::LogGroup": {
        "BearerTokenAuthenticationEnabled": ["logs:PutBearerTokenAuthentication"],
        "DataProtectionPolicy": [
            "firehose:*",
            "logs:CreateLogDelivery",
            "logs:DeleteDataProtectionPolicy",
            "logs:PutDataProtectionPolicy",
            "s3:*",
        ],
        "DeletionProtectionEnabled": ["logs:PutLogGroupDeletionProtection"],
        "FieldIndexPolicies": ["logs:PutIndexPolicy", "logs:DeleteIndexPolicy"],
        "KmsKeyId": ["logs:AssociateKmsKey", "logs:DisassociateKmsKey"],
        "ResourcePolicyDocument": ["logs:PutResourcePolicy", "logs:DeleteResourcePolicy"],
    },
    "AWS::S3::Bucket": {
        "AbacStatus": ["s3:PutBucketAbac"],
        "AccelerateConfiguration": ["s3:PutAccelerateConfiguration"],
        "AccessControl": ["s3:PutBucketAcl", "s3:PutObjectAcl"],
        "AnalyticsConfigurations": ["s3:*AnalyticsConfiguration"],
        "CorsConfiguration": ["s3:*BucketCORS", "s3:*BucketCors"],
        "IntelligentTieringConfigurations": ["s3:PutIntelligentTieringConfiguration"],
        "InventoryConfigurations": ["s3:PutInventoryConfiguration"],
        "LoggingConfiguration": ["s3:PutBucketLogging"],
        "MetadataTableConfiguration": [
            "s3:*Metadata*",
            "s3tables:*",
            "s3:DeleteObject",
        ],
        "MetricsConfigurations": ["s3:*MetricsConfiguration"],
        "ObjectLockConfiguration": ["s3:PutBucketObjectLockConfiguration"],
        "ReplicationConfiguration": ["iam:PassRole", "s3:*Replication*"],
        "WebsiteConfiguration": ["s3:*BucketWebsite"],
    },
    "AWS::SNS::Subscription": {"SubscriptionRoleArn": ["iam:*"]},
    "AWS::SNS::Topic": {
        "DataProtectionPolicy": ["sns:PutDataProtectionPolicy"],
        "DeliveryStatusLogging": ["iam:*"],
        "Subscription": ["sns:Subscribe", "sns:Unsubscribe"],
    },
    "AWS::SecretsManager::Secret": {
        "GenerateSecretString": ["secretsmanager:GetRandomPassword"],
        "ReplicaRegions": ["secretsmanager:*Region*"],
    },
    "AWS::Events::Rule": {"RoleArn": ["iam:PassRole"]},
}
# For a change that a commit is not to make: a boundary stays on.
_NEVER = {"iam:DeleteRolePermissionsBoundary"}
# A function's alias and its version look alike to the simulator, which then decides nothing; asked
# for all of both it does.
_ALIAS_OR_VERSION = {"lambda:GetProvisionedConcurrencyConfig"}
_PASSED_TO = {
    "AWS::Glue::Job": "glue.amazonaws.com",
    "AWS::Lambda::Function": "lambda.amazonaws.com",
}


def requests_of_stack(stack: Stack, handlers: Iterable[str] = _HANDLERS) -> Iterator[Request]:
    """What IAM is asked when each resource of a stack is created, read, updated and deleted."""
    for resource in stack.resources.values():
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, resource.kind).schema
        for handler in handlers:
            for action in sorted(schema["handlers"].get(handler, {}).get("permissions", [])):
                # The schemas name some actions that IAM does not have.
                if resource_formats(action) and not _needless(resource, handler, action):
                    why = f"{handler} {resource.logical_id}"
                    for own in _own_arns(resource):
                        yield _request(stack, resource, own, action, why)


def _needless(resource: Resource, handler: str, action: str) -> bool:
    if action in _NEVER:
        return True
    own = action.split(":", maxsplit=1)[0] == resource.kind.split("::")[1].lower()
    if own and handler == "read":
        return False
    return any(
        not resource.has(name) and any(fnmatchcase(action, glob) for glob in globs)
        for name, globs in _ONLY_WITH.get(resource.kind, {}).items()
    )


def _own_arns(resource: Resource) -> list[str]:
    """The forms in which IAM may name a resource: which one is not documented for each action."""
    if resource.kind == "AWS::Logs::LogGroup":
        return [resource.arn, f"{resource.arn}:log-stream:"]
    if resource.kind == "AWS::Lambda::Alias":
        return [resource.arn, resource.arn.rpartition(":")[0]]
    return [resource.arn]


def _request(stack: Stack, resource: Resource, own: str, action: str, why: str) -> Request:
    candidates = [own, resource.arn, *_others(stack, resource)]
    keys = {
        "iam:PassedToService": _PASSED_TO.get(resource.kind),
        "iam:PermissionsBoundary": resource.properties.get("PermissionsBoundary"),
        "iam:PolicyARN": next(iter(resource.properties.get("ManagedPolicyArns", [])), None),
    }
    context = {key: value for key in condition_keys(action) if (value := keys.get(key))}
    arn = resource_of(action, candidates)
    if action in _ALIAS_OR_VERSION:
        arn = f"{arn.rpartition(':')[0]}:*"
    return Request(action, arn, context, why)


def _others(stack: Stack, resource: Resource) -> Iterator[str]:
    """ARNs of what a resource names, which a call for it may be about as well."""
    if role := resource.properties.get("Role"):
        yield role
    code: dict[str, Any] = resource.properties.get("Code", {})
    if "S3Bucket" in code:
        yield f"arn:aws:s3:::{code['S3Bucket']}/{code['S3Key']}"
    for name in resource.properties.get("Roles", []):
        yield next(one.arn for one in stack.resources.values() if one.arn.endswith(f"/{name}"))
    yield f"arn:aws:billing::{ACCOUNT}:billingview/primary"
