"""What the templates come to for given parameters: resources under their names, and who may what.

No CloudFormation is asked: the functions of the templates are few, and here they are evaluated.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from cfnlint import decode

ACCOUNT = "123456789012"
REGION = "us-east-2"
# What CloudFormation and Secrets Manager append to a name, which a policy cannot know.
UNKNOWN = "??????"

Properties = dict[str, Any]

_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}
_NOTHING = object()
_REGIONAL = f"{REGION}:{ACCOUNT}"

# The property that names a resource, and what the ARN makes of the name.
_ARNS = {
    "AWS::Budgets::Budget": ("Budget.BudgetName", f"arn:aws:budgets::{ACCOUNT}:budget/{{}}"),
    "AWS::CloudWatch::Alarm": ("AlarmName", f"arn:aws:cloudwatch:{_REGIONAL}:alarm:{{}}"),
    "AWS::Events::Rule": ("Name", f"arn:aws:events:{_REGIONAL}:rule/{{}}"),
    "AWS::Glue::Job": ("Name", f"arn:aws:glue:{_REGIONAL}:job/{{}}"),
    "AWS::IAM::ManagedPolicy": ("ManagedPolicyName", f"arn:aws:iam::{ACCOUNT}:policy{{}}"),
    "AWS::IAM::OIDCProvider": ("Url", f"arn:aws:iam::{ACCOUNT}:oidc-provider/{{}}"),
    "AWS::IAM::Role": ("RoleName", f"arn:aws:iam::{ACCOUNT}:role{{}}"),
    "AWS::Lambda::Alias": ("Name", f"arn:aws:lambda:{_REGIONAL}:function:{{}}"),
    "AWS::Lambda::Function": ("FunctionName", f"arn:aws:lambda:{_REGIONAL}:function:{{}}"),
    "AWS::Logs::LogGroup": ("LogGroupName", f"arn:aws:logs:{_REGIONAL}:log-group:{{}}"),
    "AWS::S3::Bucket": ("BucketName", "arn:aws:s3:::{}"),
    "AWS::S3::BucketPolicy": ("Bucket", "arn:aws:s3:::{}"),
    "AWS::SNS::Subscription": ("TopicArn", "{}"),
    "AWS::SNS::Topic": ("TopicName", f"arn:aws:sns:{_REGIONAL}:{{}}"),
    "AWS::SNS::TopicPolicy": ("Topics.0", "{}"),
    "AWS::SecretsManager::Secret": (
        "Name",
        f"arn:aws:secretsmanager:{_REGIONAL}:secret:{{}}-{UNKNOWN}",
    ),
}
# Whose Ref is the ARN and not the name.
_REFERRED_TO_BY_ARN = {
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::OIDCProvider",
    "AWS::Lambda::Alias",
    "AWS::SNS::Topic",
    "AWS::SecretsManager::Secret",
}


@dataclass(frozen=True)
class Resource:
    """A resource of a stack.

    Attributes:
        logical_id: Its name in the template.
        kind: Its type.
        arn: Its ARN; ``UNKNOWN`` stands for what only AWS will know.
        properties: Its properties, evaluated.
    """

    logical_id: str
    kind: str
    arn: str
    properties: Properties

    def has(self, path: str) -> bool:
        """Whether it has a property, or one in it: ``Code.S3Bucket``."""
        found: Any = self.properties
        for name in path.split("."):
            found = found.get(name, {})
        return found != {}


@dataclass(frozen=True)
class Principal:
    """Who asks, and all that IAM looks at before it lets them.

    Attributes:
        arn: The role's or the user's.
        policies: By name.
        boundary: What bounds them, by name; empty for nothing.
    """

    arn: str
    policies: Mapping[str, Any]
    boundary: Mapping[str, Any] = field(default_factory=dict)


class Stack:
    """A template with its parameters.

    Attributes:
        name: The stack's name.
    """

    def __init__(self, path: Path, name: str, parameters: Mapping[str, Any]) -> None:
        template, _ = decode.decode(str(path))
        self._template: dict[str, Any] = json.loads(json.dumps(template))
        declared = self._template.get("Parameters", {})
        assert not set(parameters) - set(declared), "a parameter that the template does not have"
        self.name = name
        self._parameters = {
            name: given if (given := parameters.get(name)) is not None else details["Default"]
            for name, details in declared.items()
        }

    @cached_property
    def resources(self) -> dict[str, Resource]:
        """Those whose condition is met, by their logical id."""
        return {
            logical_id: Resource(
                logical_id,
                body["Type"],
                self._arn(logical_id),
                cast(Properties, self._evaluated(body.get("Properties", {}))),
            )
            for logical_id, body in self._template["Resources"].items()
            if "Condition" not in body or self._condition(body["Condition"])
        }

    @property
    def left_out(self) -> set[str]:
        """Those whose condition is not met."""
        return set(self._template["Resources"]) - set(self.resources)

    def policy(self, logical_id: str) -> dict[str, Any]:
        """The document of a managed policy, or of a bucket's or a topic's."""
        document: dict[str, Any] = self.resources[logical_id].properties["PolicyDocument"]
        return document

    def trust(self, logical_id: str) -> dict[str, Any]:
        """Who may become a role."""
        trust: dict[str, Any] = self.resources[logical_id].properties["AssumeRolePolicyDocument"]
        return trust

    def role(self, logical_id: str, managed: Mapping[str, Any]) -> Principal:
        """A role of the stack.

        Args:
            logical_id: Its name in the template.
            managed: Documents of managed policies by their ARN: those of both stacks.
        """
        role = self.resources[logical_id]
        inline = {one["PolicyName"]: one["PolicyDocument"] for one in role.properties["Policies"]}
        attached = role.properties.get("ManagedPolicyArns", [])
        boundary = role.properties.get("PermissionsBoundary")
        return Principal(
            role.arn,
            {**inline, **{arn: managed[arn] for arn in attached}},
            {boundary: managed[boundary]} if boundary else {},
        )

    @property
    def managed_policies(self) -> dict[str, Any]:
        return {
            one.arn: one.properties["PolicyDocument"]
            for one in self.resources.values()
            if one.kind == "AWS::IAM::ManagedPolicy"
        }

    def _body(self, logical_id: str) -> dict[str, Any]:
        body: dict[str, Any] = self._template["Resources"][logical_id]
        return body

    def _name(self, logical_id: str) -> str:
        found: Any = self._body(logical_id).get("Properties", {})
        for step in _ARNS[self._body(logical_id)["Type"]][0].split("."):
            found = found[int(step)] if isinstance(found, list) else found.get(step)
        return f"{self.name}-{logical_id}-{UNKNOWN}" if found is None else self._evaluated(found)

    def _arn(self, logical_id: str) -> str:
        body, name = self._body(logical_id), self._name(logical_id)
        _, pattern = _ARNS[body["Type"]]
        if body["Type"].startswith("AWS::IAM::"):
            path = self._evaluated(body["Properties"].get("Path", "/"))
            name = name.removeprefix("https://") if "Url" in body["Properties"] else path + name
        if body["Type"] == "AWS::Lambda::Alias":
            name = f"{self._evaluated(body['Properties']['FunctionName'])}:{name}"
        return pattern.format(name)

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name == "AWS::StackName":
            return self.name
        if name in _PSEUDO:
            return _PSEUDO[name]
        if name in self._parameters:
            return self._parameters[name]
        by_arn = self._body(name)["Type"] in _REFERRED_TO_BY_ARN
        return self._arn(name) if by_arn else self._name(name)

    def _attribute(self, logical_id: str, attribute: str) -> str:
        kind = self._body(logical_id)["Type"]
        if attribute.endswith("Arn"):
            return self._arn(logical_id) + (":*" if kind == "AWS::Logs::LogGroup" else "")
        if attribute.endswith("Name"):
            return self._name(logical_id)
        return f"{attribute}-of-{logical_id}"

    def _condition(self, name: str) -> bool:
        return bool(self._evaluated(self._template["Conditions"][name]))

    def _evaluated(self, value: Any) -> Any:
        if isinstance(value, list):
            found = [self._evaluated(item) for item in value]
            return [item for item in found if item is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name in self._functions:
                return self._functions[name](argument)
        evaluated = {key: self._evaluated(item) for key, item in value.items()}
        return {key: item for key, item in evaluated.items() if item is not _NOTHING}

    @cached_property
    def _functions(self) -> dict[str, Any]:
        evaluated = self._evaluated
        return {
            "Ref": self._reference,
            "Condition": self._condition,
            "Fn::GetAtt": lambda at: self._attribute(
                *(at.split(".", 1) if isinstance(at, str) else at)
            ),
            "Fn::Sub": self._substituted,
            "Fn::If": lambda of: evaluated(of[1] if self._condition(of[0]) else of[2]),
            "Fn::Equals": lambda of: str(evaluated(of[0])) == str(evaluated(of[1])),
            "Fn::Not": lambda of: not evaluated(of[0]),
            "Fn::And": lambda of: all(map(evaluated, of)),
            "Fn::Or": lambda of: any(map(evaluated, of)),
            "Fn::Join": lambda of: of[0].join(map(str, evaluated(of[1]))),
            "Fn::Split": lambda of: evaluated(of[1]).split(of[0]),
            "Fn::Select": lambda of: evaluated(of[1])[int(of[0])],
        }

    def _substituted(self, argument: Any) -> str:
        text, given = (argument, {}) if isinstance(argument, str) else argument

        def replaced(found: re.Match[str]) -> str:
            name = found.group(1)
            if name in given:
                return str(self._evaluated(given[name]))
            if "." in name:
                return self._attribute(*name.split(".", 1))
            return str(self._reference(name))

        return re.sub(r"\$\{([^!}][^}]*)\}", replaced, text)
