"""What moto's CloudFormation leaves out, filled in for as long as this module is imported.

Resource types that it skips are created through the same server's own API (policies of buckets
alone are not, see there). Of its own types, roles
get all of their policies, and updates reach what moto would leave as it was. Changes are found by
all parameters that a resource names, also within ``Fn::Sub`` and conditions. What fails is rolled
back, and what is retained is retained: both as CloudFormation's documents say.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.cloudformation import parsing
from moto.cloudformation.models import ChangeSet, CloudFormationBackend, Stack
from moto.cloudformation.parsing import OutputMap, ResourceMap
from moto.core.common_models import CloudFormationModel
from moto.iam.models import ManagedPolicy, Role, iam_backends

from crypto_platform_tests.aws.account import client

Properties = dict[str, Any]

_RETAINED = "RetainExceptOnCreate"


def _create_job(properties: Properties) -> str:
    return str(client("glue").create_job(**properties)["Name"])


def _delete_job(name: str) -> None:
    client("glue").delete_job(JobName=name)


def _create_secret(properties: Properties) -> str:
    return str(client("secretsmanager").create_secret(**properties)["ARN"])


def _delete_secret(arn: str) -> None:
    client("secretsmanager").delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)


def _keep(physical_id: str, _: Properties) -> str:
    return physical_id


def _put_alarm(properties: Properties) -> str:
    client("cloudwatch").put_metric_alarm(**properties)
    return str(properties["AlarmName"])


def _delete_alarm(name: str) -> None:
    client("cloudwatch").delete_alarms(AlarmNames=[name])


def _create_subscription(properties: Properties) -> str:
    return str(client("sns").subscribe(**properties, ReturnSubscriptionArn=True)["SubscriptionArn"])


def _delete_subscription(arn: str) -> None:
    client("sns").unsubscribe(SubscriptionArn=arn)


def _create_provider(properties: Properties) -> str:
    created = client("iam").create_open_id_connect_provider(
        Url=properties["Url"], ClientIDList=properties["ClientIdList"]
    )
    return str(created["OpenIDConnectProviderArn"])


def _delete_provider(arn: str) -> None:
    client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


def _put_topic_policy(properties: Properties) -> str:
    for topic in properties["Topics"]:
        client("sns").set_topic_attributes(
            TopicArn=topic,
            AttributeName="Policy",
            AttributeValue=json.dumps(properties["PolicyDocument"]),
        )
    return str(properties["Topics"])


def _goes_with_its_owner(_: str) -> None:
    """Nothing is left to delete."""


def _leave_bucket(properties: Properties) -> str:
    """moto's S3 takes a policy's condition for always met, and would refuse everything."""
    return str(properties["Bucket"])


def _create_alias(properties: Properties) -> str:
    return str(client("lambda").create_alias(**properties)["AliasArn"])


def _update_alias(_: str, properties: Properties) -> str:
    return str(client("lambda").update_alias(**properties)["AliasArn"])


def _delete_alias(arn: str) -> None:
    function, _, alias = arn.rpartition(":")
    functions = client("lambda")
    # The function may have gone before, and took its aliases with it.
    with suppress(functions.exceptions.ResourceNotFoundException):
        functions.delete_alias(FunctionName=function, Name=alias)


def _create_budget(properties: Properties) -> str:
    budget = properties["Budget"]
    limit = {**budget["BudgetLimit"], "Amount": str(budget["BudgetLimit"]["Amount"])}
    client("budgets").create_budget(
        AccountId=_account(),
        Budget={**budget, "BudgetLimit": limit},
        NotificationsWithSubscribers=properties["NotificationsWithSubscribers"],
    )
    return str(budget["BudgetName"])


def _delete_budget(name: str) -> None:
    client("budgets").delete_budget(AccountId=_account(), BudgetName=name)


def _account() -> str:
    return str(client("sts").get_caller_identity()["Account"])


def _model(
    kind: str,
    create: Callable[[Properties], str],
    delete: Callable[[str], None],
    update: Callable[[str, Properties], str] | None = None,
) -> type[CloudFormationModel]:
    """A resource type; what has no update of its own is deleted and created again."""

    class Model(CloudFormationModel):
        def __init__(self, physical_resource_id: str) -> None:
            self.physical_resource_id = physical_resource_id

        @staticmethod
        def cloudformation_name_type() -> str:
            return ""

        @staticmethod
        def cloudformation_type() -> str:
            return kind

        @classmethod
        def create_from_cloudformation_json(
            cls, _name: str, cloudformation_json: Any, *_: Any, **__: Any
        ) -> "Model":
            return cls(create(cloudformation_json["Properties"]))

        @classmethod
        def update_from_cloudformation_json(
            cls, original_resource: Any, cloudformation_json: Any, **_: Any
        ) -> Any:
            held, properties = (
                original_resource.physical_resource_id,
                cloudformation_json["Properties"],
            )
            if update:
                return cls(update(held, properties))
            delete(held)
            return cls(create(properties))

        @classmethod
        def delete_from_cloudformation_json(cls, resource_name: str, *_: Any, **__: Any) -> None:
            delete(resource_name)

    return Model


# moto finds them among the subclasses of its own.
MODELS = (
    _model("AWS::Budgets::Budget", _create_budget, _delete_budget),
    _model(
        "AWS::CloudWatch::Alarm",
        _put_alarm,
        _delete_alarm,
        lambda _, properties: _put_alarm(properties),
    ),
    _model("AWS::Glue::Job", _create_job, _delete_job),
    _model("AWS::IAM::OIDCProvider", _create_provider, _delete_provider, _keep),
    _model("AWS::Lambda::Alias", _create_alias, _delete_alias, _update_alias),
    _model("AWS::S3::BucketPolicy", _leave_bucket, _goes_with_its_owner),
    _model("AWS::SNS::Subscription", _create_subscription, _delete_subscription),
    _model("AWS::SNS::TopicPolicy", _put_topic_policy, _goes_with_its_owner),
    _model("AWS::SecretsManager::Secret", _create_secret, _delete_secret, _keep),
)


def _give_policies(role: Role, properties: Properties) -> None:
    """moto keeps a policy as Python writes it, which its own IAM cannot read, and attaches none."""
    role.policies = {
        policy["PolicyName"]: json.dumps(policy["PolicyDocument"])
        for policy in properties.get("Policies", ())
    }
    iam = iam_backends[role.account_id]["aws"]
    for arn in properties.get("ManagedPolicyArns", ()):
        iam.attach_role_policy(arn, role.name)


def _create_role(
    cls: type[Role], name: str, cloudformation_json: Any, *where: Any, **named: Any
) -> Role:
    role = _moto_creates_role(cls, name, cloudformation_json, *where, **named)
    _give_policies(role, cloudformation_json["Properties"])
    return role


def _update_role(
    _cls: type[Role], original_resource: Role, cloudformation_json: Any, **_: Any
) -> Role:
    properties = cloudformation_json["Properties"]
    original_resource.assume_role_policy_document = json.dumps(
        properties["AssumeRolePolicyDocument"]
    )
    original_resource.permissions_boundary_arn = properties.get("PermissionsBoundary", "")
    _give_policies(original_resource, properties)
    return original_resource


def _update_policy(
    _cls: type[ManagedPolicy], original_resource: ManagedPolicy, cloudformation_json: Any, **_: Any
) -> ManagedPolicy:
    client("iam").create_policy_version(
        PolicyArn=original_resource.arn,
        PolicyDocument=json.dumps(cloudformation_json["Properties"]["PolicyDocument"]),
        SetAsDefault=True,
    )
    return original_resource


def _update_function(
    cls: type[LambdaFunction], original_resource: Any, cloudformation_json: Any, **named: Any
) -> Any:
    properties = cloudformation_json["Properties"]
    original_resource.reserved_concurrency = properties.get("ReservedConcurrentExecutions")
    return _moto_updates_function(
        cls, original_resource, cloudformation_json=cloudformation_json, **named
    )


def parameters_of(part: Any, conditions: Mapping[str, Any]) -> set[str]:
    """Names that a part of a template refers to, by itself or through its conditions."""
    if isinstance(part, list):
        return {name for each in part for name in parameters_of(each, conditions)}
    if not isinstance(part, dict):
        return set()
    found: set[str] = set()
    for key, value in part.items():
        if key == "Ref":
            found.add(value)
        elif key == "Fn::Sub":
            text, named = value if isinstance(value, list) else (value, {})
            found |= set(re.findall(r"\$\{(\w+)\}", text)) | parameters_of(named, conditions)
        elif key == "Fn::If":
            found |= parameters_of(conditions[value[0]], conditions)
            found |= parameters_of(value[1:], conditions)
        elif key == "Condition" and isinstance(value, str):
            found |= parameters_of(conditions[value], conditions)
        else:
            found |= parameters_of(value, conditions)
    return found


def _differences(
    self: ResourceMap, other_template: dict[str, Any], parameters: Any = None
) -> dict[str, Any]:
    given = parameters or getattr(self, "of_change_set", {})
    found = _moto_finds_differences(self, other_template, given)
    changed = {name for name in given if self.input_parameters.get(name) != given[name]}
    conditions = other_template.get("Conditions", {})
    found["Modify"] += [
        name
        for name, resource in other_template["Resources"].items()
        if name in self._resource_json_map
        and name not in found["Modify"]
        and changed & parameters_of(resource, conditions)
    ]
    return found


def _changes(self: ChangeSet) -> Any:
    held = self.stack.resource_map
    # What a change set does not name keeps its value.
    held.of_change_set = {**held.input_parameters, **(self.parameters or {})}  # type: ignore[attr-defined]
    try:
        return _moto_lists_changes(self)
    finally:
        del held.of_change_set  # type: ignore[attr-defined]


def _update_resource(
    logical_id: str, resource_json: Any, resources_map: ResourceMap, **where: Any
) -> Any:
    """Update, or create or delete where a condition has changed."""
    held = resources_map._parsed_resources.get(logical_id)  # noqa: SLF001 - moto has no other way
    condition = resource_json.get("Condition")
    if condition and not resources_map.lazy_condition_map[condition]:
        if held is not None:
            resources_map._delete_resource(held, resource_json)  # noqa: SLF001 - as above
        return None
    if held is None:
        resources_map._parsed_resources.pop(logical_id, None)  # noqa: SLF001 - as above
        return resources_map[logical_id]
    # A type that moto cannot update stays what it was, and is still there.
    return _moto_updates_resource(logical_id, resource_json, resources_map, **where) or held


def _delete_all(self: ResourceMap) -> None:
    for resource in self._resource_json_map.values():
        if resource.get("DeletionPolicy") == _RETAINED:
            resource["DeletionPolicy"] = "Retain"
    _moto_deletes_all(self)


def _create_or_roll_back(self: Stack) -> None:
    try:
        _moto_creates(self)
    except Exception as error:  # noqa: BLE001 - whatever a resource's own API refuses
        _roll_back_creation(self, error)


def _execute_or_roll_back(
    self: CloudFormationBackend, change_set_name: str, stack_name: str | None = None
) -> None:
    change_set = next(
        found
        for arn, found in self.change_sets.items()
        if change_set_name in {arn, found.change_set_name}
        and stack_name in {None, found.stack_name, found.stack_id}
    )
    stack = self.stacks[change_set.stack_id]
    before = (stack.resource_map._template, stack.resource_map.input_parameters)  # noqa: SLF001
    try:
        _moto_executes(self, change_set.change_set_id, stack_name)
    except Exception as error:  # noqa: BLE001 - whatever a resource's own API refuses
        change_set.execution_status = "EXECUTE_FAILED"
        if change_set.change_set_type == "CREATE":
            _roll_back_creation(stack, error)
        else:
            stack.resource_map.update(*before)
            _say(stack, "UPDATE_ROLLBACK_COMPLETE", error)


def _roll_back_creation(stack: Stack, error: Exception) -> None:
    """What this very operation made goes, but for what is retained whatever happens."""
    _moto_deletes_all(stack.resource_map)
    stack.output_map = OutputMap(stack.resource_map, {"Outputs": {}}, stack.stack_id)
    _say(stack, "ROLLBACK_COMPLETE", error)


def _say(stack: Stack, status: str, error: Exception) -> None:
    stack.status = status
    stack._add_stack_event(status, resource_status_reason=str(error))  # noqa: SLF001 - as above


def _fill_in(owner: Any, name: str, replacement: Callable[..., Any]) -> Any:
    """Replace a function of moto's, and return what it was."""
    was = vars(owner)[name]
    of_class = isinstance(was, classmethod)
    setattr(owner, name, classmethod(replacement) if of_class else replacement)
    return was.__func__ if of_class else was


_moto_creates_role = _fill_in(Role, "create_from_cloudformation_json", _create_role)
_fill_in(Role, "update_from_cloudformation_json", _update_role)
ManagedPolicy.update_from_cloudformation_json = classmethod(_update_policy)  # type: ignore[assignment,method-assign]
_moto_updates_function = _fill_in(
    LambdaFunction, "update_from_cloudformation_json", _update_function
)
_moto_finds_differences = _fill_in(ResourceMap, "build_resource_diff", _differences)
_moto_lists_changes = _fill_in(ChangeSet, "diff", _changes)
_moto_updates_resource = _fill_in(parsing, "parse_and_update_resource", _update_resource)
_moto_deletes_all = _fill_in(ResourceMap, "delete", _delete_all)
_moto_creates = _fill_in(Stack, "create_resources", _create_or_roll_back)
_moto_executes = _fill_in(CloudFormationBackend, "execute_change_set", _execute_or_roll_back)
