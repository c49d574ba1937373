"""A change of a CloudFormation stack: made, shown, guarded, carried out, and followed to its end.

Written for what can stand in its way: a first creation that failed and left a stack that can only
be deleted, a run that was killed while CloudFormation went on, an update that could not be taken
back. Each is resolved or said, with what a person has to do.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from botocore.exceptions import ClientError, WaiterError

POLL_SECONDS = 5.0
"""Between two looks at a stack that is changing."""

# No resource of a stack in one of these states was ever in use: its creation failed, or was never
# begun.
_NEVER_CREATED = frozenset(
    {"REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"}
)
_CHANGED = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE"})
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
# Until a change set has left these, the stack may still show the status of before.
_NOT_YET_EXECUTED = frozenset({"AVAILABLE", "EXECUTE_IN_PROGRESS"})
# What CloudFormation keeps when the stack lets go of it: data, or a secret that people put there.
_RETAINING = frozenset({"Retain", "ReplaceAndRetain"})
_KEPT_TYPES = frozenset({"AWS::S3::Bucket", "AWS::SecretsManager::Secret"})


class StackError(RuntimeError):
    """A stack cannot be changed, or its change failed; the message says what to do."""


@dataclass(frozen=True)
class Change:
    """What a change set does to one resource."""

    action: str
    name: str
    kind: str
    replacement: str
    policy: str
    properties: Sequence[str]

    @property
    def loses_data(self) -> bool:
        """Whether the stack would let go of something that holds data."""
        is_kept = self.kind in _KEPT_TYPES or self.policy in _RETAINING
        return is_kept and (self.action == "Remove" or self.replacement in {"True", "Conditional"})


@dataclass(frozen=True)
class Stack:
    """A stack by its name.

    Attributes:
        name: Its name.
        region: Where it is.
        role_arn: What CloudFormation acts as; whoever calls where it is empty.
    """

    name: str
    region: str
    role_arn: str = ""

    @cached_property
    def _client(self) -> Any:
        return boto3.client("cloudformation", region_name=self.region)

    def describe(self) -> dict[str, Any] | None:
        """What CloudFormation says of it; ``None`` where it is not there."""
        try:
            (described,) = self._client.describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                return None
            raise
        return None if described["StackStatus"] == "DELETE_COMPLETE" else dict(described)

    def outputs(self) -> dict[str, str]:
        """Its outputs by name.

        Raises:
            StackError: There is no stack, or its creation failed.
        """
        described = self.describe()
        if described is None or described["StackStatus"] in _NEVER_CREATED:
            raise self.missing()
        return _by_key(described, "Output")

    def missing(self) -> StackError:
        """That it is not there, as an error to raise."""
        return StackError(
            f"There is no stack {self.name} in {self.region}: deploy it first, by a push or by "
            "python -m infrastructure.deploy stage."
        )

    def parameters(self) -> dict[str, str]:
        """Its parameters by name; empty where there is no stack."""
        return _by_key(self.describe() or {}, "Parameter")

    def resources(self) -> dict[str, str]:
        """The ids of its resources by their names in the template; empty where there is none."""
        described = self.describe()
        if described is None or described["StackStatus"] in _NEVER_CREATED:
            return {}
        pages = self._client.get_paginator("list_stack_resources").paginate(StackName=self.name)
        return {
            one["LogicalResourceId"]: one.get("PhysicalResourceId", "")
            for page in pages
            for one in page["StackResourceSummaries"]
        }

    def prepare(self) -> bool:
        """Bring it into a state in which it can be changed.

        Waits for a change that goes on, as after a run that was killed, and deletes what a failed
        first creation left.

        Returns:
            Whether the stack is there.

        Raises:
            StackError: A person has to do something first; says what.
        """
        status = self._settled()
        if status in _NEVER_CREATED:
            self._client.delete_stack(StackName=self.name, **self._role())
            status = self._settled()
            if status is not None:
                raise self._failure(
                    f"What its failed creation left could not be deleted: {status}. Remove by "
                    f"hand what is named, then: aws cloudformation delete-stack --stack-name "
                    f"{self.name}"
                )
        if status in {"UPDATE_ROLLBACK_FAILED", "UPDATE_FAILED"}:
            role = f" --role-arn {self.role_arn}" if self.role_arn else ""
            raise self._failure(
                f"An earlier update could not be taken back ({status}). Mend what is named, then: "
                f"aws cloudformation continue-update-rollback --stack-name {self.name}{role} "
                "(--resources-to-skip NAME for what cannot be mended), and deploy again."
            )
        return status is not None

    def propose(
        self,
        change_set: str,
        parameters: Mapping[str, str],
        template: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> list[Change]:
        """Make a change set; nothing is changed by it.

        Args:
            change_set: Its name.
            parameters: What differs; every other parameter of a stack keeps its value.
            template: The new template; without it, that of the stack stays.
            tags: New tags; without them, those of the stack stay.

        Returns:
            What it would do; nothing where the stack is already so.

        Raises:
            StackError: CloudFormation cannot make it; says why.
        """
        is_there = self.describe() is not None
        given = [{"ParameterKey": key, "ParameterValue": text} for key, text in parameters.items()]
        kept = self._parameters_to_keep(template) - parameters.keys() if is_there else set()
        given += [{"ParameterKey": key, "UsePreviousValue": True} for key in sorted(kept)]  # type: ignore[dict-item]
        body = {"TemplateBody": template} if template else {"UsePreviousTemplate": True}
        named = {"StackName": self.name, "ChangeSetName": change_set}
        try:
            self._client.create_change_set(
                **named,
                ChangeSetType="UPDATE" if is_there else "CREATE",
                Parameters=given,
                Capabilities=["CAPABILITY_NAMED_IAM"],
                **body,
                **self._role(),
                **({"Tags": [{"Key": k, "Value": v} for k, v in tags.items()]} if tags else {}),
            )
            self._client.get_waiter("change_set_create_complete").wait(
                **named, WaiterConfig={"Delay": max(1, round(POLL_SECONDS)), "MaxAttempts": 120}
            )
        except ClientError as error:
            if _says_no_changes(str(error)):
                return []
            raise
        except WaiterError as error:
            reason = self._client.describe_change_set(**named).get("StatusReason", str(error))
            if not _says_no_changes(reason):
                raise StackError(f"{self.name}: no change set could be made: {reason}") from error
            self._client.delete_change_set(**named)
            return []
        pages = self._client.get_paginator("describe_change_set").paginate(**named)
        return [_change(one) for page in pages for one in page.get("Changes", ())]

    def execute(self, change_set: str) -> None:
        """Carry a change set out, and wait for its end.

        Raises:
            StackError: It failed, and CloudFormation took it back; names the resources.
        """
        named = {"StackName": self.name, "ChangeSetName": change_set}
        self._client.execute_change_set(**named)
        while self._execution(named) in _NOT_YET_EXECUTED:
            time.sleep(POLL_SECONDS)
        status = self._settled()
        if status not in _CHANGED:
            raise self._failure(f"The change failed: {status}.")

    def drifts(self) -> list[tuple[str, str, str]]:
        """What was changed past CloudFormation: name, kind and how, of each resource."""
        started = self._client.detect_stack_drift(StackName=self.name)["StackDriftDetectionId"]
        look = self._client.describe_stack_drift_detection_status
        while (found := look(StackDriftDetectionId=started))["DetectionStatus"] == (
            "DETECTION_IN_PROGRESS"
        ):
            time.sleep(POLL_SECONDS)
        if found["DetectionStatus"] == "DETECTION_FAILED":
            raise StackError(
                f"{self.name}: drift could not be looked for: {found.get('DetectionStatusReason')}"
            )
        drifts: list[dict[str, Any]] = []
        asked = {"StackName": self.name}
        while True:
            page = self._client.describe_stack_resource_drifts(
                **asked, StackResourceDriftStatusFilters=["MODIFIED", "DELETED"]
            )
            drifts += page["StackResourceDrifts"]
            if not page.get("NextToken"):
                break
            asked["NextToken"] = page["NextToken"]
        return [
            (
                one["LogicalResourceId"],
                one["ResourceType"],
                ", ".join(part["PropertyPath"] for part in one.get("PropertyDifferences", ()))
                or one["StackResourceDriftStatus"],
            )
            for one in drifts
        ]

    def _execution(self, named: Mapping[str, str]) -> str:
        """How far a change set was carried out; empty once CloudFormation has let go of it."""
        try:
            return str(self._client.describe_change_set(**named)["ExecutionStatus"])
        except ClientError as error:
            if error.response["Error"]["Code"] in {"ChangeSetNotFound", "ValidationError"}:
                return ""
            raise

    def _settled(self) -> str | None:
        """Its status once nothing changes any more; ``None`` where there is no stack."""
        while True:
            described = self.describe()
            status = None if described is None else str(described["StackStatus"])
            # A stack in review waits for a change set, which nobody may ever carry out.
            if (
                status is None
                or status == "REVIEW_IN_PROGRESS"
                or not status.endswith("_IN_PROGRESS")
            ):
                return status
            time.sleep(POLL_SECONDS)

    def _parameters_to_keep(self, template: str | None) -> set[str]:
        held = self.parameters().keys()
        if template is None:
            return set(held)
        summary = self._client.get_template_summary(TemplateBody=template)
        return {one["ParameterKey"] for one in summary.get("Parameters", ())} & held

    def _failure(self, message: str) -> StackError:
        lines = "".join(f"\n  {line}" for line in self._failed_events())
        return StackError(f"{self.name}: {message}{lines}")

    def _failed_events(self) -> Iterator[str]:
        """What failed in the latest operation, oldest first."""
        failed = []
        try:
            pages = self._client.get_paginator("describe_stack_events").paginate(
                StackName=self.name
            )
            for event in (one for page in pages for one in page["StackEvents"]):
                status = event["ResourceStatus"]
                of_stack = event["LogicalResourceId"] == self.name
                reason = event.get("ResourceStatusReason", "")
                if status.endswith("_FAILED") or (reason and "ROLLBACK" in status):
                    failed.append(f"{event['LogicalResourceId']} ({status}): {reason}")
                # Newest first: here the operation began.
                if of_stack and status in {"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"}:
                    break
        except ClientError as error:
            failed.append(f"Its events cannot be read: {error}")
        return reversed(failed)

    def _role(self) -> dict[str, str]:
        return {"RoleARN": self.role_arn} if self.role_arn else {}


def _by_key(described: Mapping[str, Any], kind: str) -> dict[str, str]:
    return {one[f"{kind}Key"]: str(one[f"{kind}Value"]) for one in described.get(f"{kind}s") or ()}


def _change(described: Mapping[str, Any]) -> Change:
    resource = described["ResourceChange"]
    targets = [detail.get("Target", {}) for detail in resource.get("Details", ())]
    properties = {target.get("Name") or target.get("Attribute", "") for target in targets}
    return Change(
        action=resource["Action"],
        name=resource["LogicalResourceId"],
        kind=resource["ResourceType"],
        replacement=resource.get("Replacement", ""),
        policy=resource.get("PolicyAction", ""),
        properties=sorted(properties - {""}),
    )


def _says_no_changes(reason: str) -> bool:
    return any(words in reason for words in _NO_CHANGES)
