"""Resource types that moto's CloudFormation skips, created through the same server's own API."""

import json
from collections.abc import Callable
from typing import Any

from moto.core.common_models import CloudFormationModel

from crypto_platform_tests.aws.account import client

Properties = dict[str, Any]


def _create_job(properties: Properties) -> str:
    return str(client("glue").create_job(**properties)["Name"])


def _delete_job(name: str) -> None:
    client("glue").delete_job(JobName=name)


def _create_secret(properties: Properties) -> str:
    return str(client("secretsmanager").create_secret(**properties)["ARN"])


def _create_alarm(properties: Properties) -> str:
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


def _create_topic_policy(properties: Properties) -> str:
    for topic in properties["Topics"]:
        client("sns").set_topic_attributes(
            TopicArn=topic,
            AttributeName="Policy",
            AttributeValue=json.dumps(properties["PolicyDocument"]),
        )
    return str(properties["Topics"])


def _goes_with_its_topic(_: str) -> None:
    """Nothing is left to delete."""


def _is_kept(_: str) -> None:
    """The template retains it."""


def _model(
    kind: str, create: Callable[[Properties], str], delete: Callable[[str], None]
) -> type[CloudFormationModel]:
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
        def update_from_cloudformation_json(cls, original_resource: Any, *_: Any, **__: Any) -> Any:
            return original_resource

        @classmethod
        def delete_from_cloudformation_json(cls, resource_name: str, *_: Any, **__: Any) -> None:
            delete(resource_name)

    return Model


# moto finds them among the subclasses of its own.
MODELS = (
    _model("AWS::CloudWatch::Alarm", _create_alarm, _delete_alarm),
    _model("AWS::Glue::Job", _create_job, _delete_job),
    _model("AWS::IAM::OIDCProvider", _create_provider, _delete_provider),
    _model("AWS::SNS::Subscription", _create_subscription, _delete_subscription),
    _model("AWS::SNS::TopicPolicy", _create_topic_policy, _goes_with_its_topic),
    _model("AWS::SecretsManager::Secret", _create_secret, _is_kept),
)
