"""Alerts as they arrive: published to SNS over HTTP, read back from queues that subscribe to it."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from moto.sns.exceptions import SNSException
from moto.sns.models import SNSBackend

from crypto_platform.alerts.channels import AlertNotSentError, SnsTopic
from crypto_platform.alerts.messages import Alert
from crypto_platform.core.settings import Settings
from crypto_platform.profiles import PROFILES
from crypto_platform_tests.alerts.test_sensor import PLAN, World, instance_in
from crypto_platform_tests.aws.account import RAW_BUCKET, REGION, client, keys
from crypto_platform_tests.aws.permissions import acting, platform_policy
from crypto_platform_tests.aws.stack import account_with_code

pytestmark = [
    pytest.mark.integration,
    # The types that are known to be skipped; see the tests of the templates.
    pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto"),
]


class Subscriber:
    """A queue that gets what is published, raw, and keeps what was read from it."""

    def __init__(self, topic: str, name: str, filter_policy: dict[str, list[str]] | None) -> None:
        self._url = client("sqs").create_queue(QueueName=name)["QueueUrl"]
        attributes = client("sqs").get_queue_attributes(
            QueueUrl=self._url, AttributeNames=["QueueArn"]
        )
        client("sns").subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=attributes["Attributes"]["QueueArn"],
            Attributes={
                "RawMessageDelivery": "true",
                **({"FilterPolicy": json.dumps(filter_policy)} if filter_policy else {}),
            },
        )
        self._messages: list[dict[str, Any]] = []

    @property
    def messages(self) -> list[dict[str, Any]]:
        """All that arrived so far, in order."""
        while (
            found := client("sqs")
            .receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
            )
            .get("Messages")
        ):
            for message in found:
                client("sqs").delete_message(
                    QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"]
                )
            self._messages += found
        return self._messages

    @property
    def reported(self) -> list[tuple[str, str]]:
        return [(attribute(m, "kind"), attribute(m, "status")) for m in self.messages]


def attribute(message: dict[str, Any], name: str) -> str:
    return str(message["MessageAttributes"][name]["StringValue"])


Subscribe = Callable[..., Subscriber]


@pytest.fixture
def topic(aws: str) -> str:  # noqa: ARG001 - the account comes first
    return str(client("sns").create_topic(Name="crypto-alerts")["TopicArn"])


@pytest.fixture
def subscribe(topic: str) -> Subscribe:
    def add(name: str = "all", filter_policy: dict[str, list[str]] | None = None) -> Subscriber:
        return Subscriber(topic, name, filter_policy)

    return add


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    PLAN.clear()
    with instance_in(tmp_path / "dagster") as instance:
        yield World(tmp_path, instance)


def sns(topic: str = "crypto-alerts") -> SnsTopic:
    """The topic as the profile has it; each one made is a daemon started anew."""
    settings = Settings.from_environment({"CRYPTO_PROFILE": "aws", "ALERTS_TOPIC_ARN": topic})
    found: SnsTopic = PROFILES["aws"].builders["alerts"](settings)
    return found


def fail(world: World, number: int, *, backfill: str | None = None) -> None:
    tags = {"dagster/partition": f"2026-01-{number:02}"}
    if backfill:
        tags["dagster/backfill"] = backfill
    run = world.instance.create_run_for_job(WATCH, tags=tags)
    world.instance.report_run_failed(run, "The machine went away, with the-secret-key.")


@dg.op
def nothing() -> None:
    pass


@dg.job(name="watch")
def WATCH() -> None:  # noqa: N802 - a constant here
    nothing()


def test_each_incident_arrives_exactly_once_over_restarts_of_the_daemon(
    world: World, subscribe: Subscribe
) -> None:
    queue = subscribe()
    world.tick(sns())
    for day in range(1, 4):
        fail(world, day)
        world.tick(sns())
    for day in range(4, 9):
        fail(world, day, backfill="the-backfill")
        world.tick(sns())
    for _ in range(3):
        world.tick(sns())
    for day in range(1, 9):
        WATCH.execute_in_process(
            instance=world.instance, tags={"dagster/partition": f"2026-01-{day:02}"}
        )
    for _ in range(3):
        world.tick(sns())

    ids = [attribute(message, "alert_id") for message in queue.messages]
    assert queue.reported == [("run_failed", "opened")] * 4 + [("run_failed", "recovered")] * 4
    assert len(set(ids)) == 8


def test_a_message_arrives_with_its_words_and_attributes_and_without_secrets(
    world: World, subscribe: Subscribe
) -> None:
    queue = subscribe()
    world.tick(sns())
    fail(world, 1)
    world.tick(sns())

    (message,) = queue.messages
    assert "The machine went away, with [secret]." in message["Body"]
    assert "What to do:" in message["Body"]
    assert attribute(message, "severity") == "error"
    assert attribute(message, "stream") == "platform"


def test_a_subscription_chooses_by_attributes(world: World, subscribe: Subscribe) -> None:
    errors = subscribe("errors", {"severity": ["error"]})
    intra_day = subscribe("intra-day", {"stream": ["intra_day"]})
    world.tick(sns())
    fail(world, 1)
    WATCH.execute_in_process(instance=world.instance, tags={"dagster/partition": "2026-01-01"})
    world.tick(sns())

    assert errors.reported == [("run_failed", "opened")]
    assert intra_day.reported == []


def test_a_topic_may_be_named_by_its_arn(world: World, topic: str, subscribe: Subscribe) -> None:
    queue = subscribe()
    world.tick(sns(topic))
    fail(world, 1)
    world.tick(sns(topic))

    assert queue.reported == [("run_failed", "opened")]


def test_what_is_remembered_stands_in_the_raw_lake(world: World, subscribe: Subscribe) -> None:
    subscribe()
    world.tick(sns())
    fail(world, 1)
    world.tick(sns())

    (key,) = keys(RAW_BUCKET)
    assert key.startswith("alerts/incidents/")
    latest = sns().latest_state()
    assert latest is not None
    assert [incident.title for incident in latest.incidents] == ["watch failed: 2026-01-01"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("AuthorizationError", "platform's policy"),
        # moto has no such error, and answers with a page of HTML, as a gateway might.
        ("html", "could not be reached"),
        ("Throttled", "tried again at"),
        ("InternalError", "tried again at"),
    ],
)
def test_a_message_that_sns_refuses_is_explained_and_arrives_after_its_pause(
    code: str,
    advice: str,
    world: World,
    subscribe: Subscribe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = subscribe()
    world.tick(sns())
    fail(world, 1)

    def refuse(*_: object, **__: object) -> None:
        raise SNSException(code, "as SNS says")

    with monkeypatch.context() as refusing:
        refusing.setattr(SNSBackend, "publish", refuse)
        with pytest.raises(AlertNotSentError) as caught:
            world.tick(sns())
    assert code in str(caught.value)
    assert advice in str(caught.value)
    assert queue.reported == []

    later = datetime.now(UTC) + timedelta(minutes=5)
    world.tick(sns(), now=later)
    world.tick(sns(), now=later)
    assert queue.reported == [("run_failed", "opened")]


def test_a_topic_that_is_not_there_is_explained(world: World, aws: str) -> None:  # noqa: ARG001
    world.tick(sns())
    fail(world, 1)

    with pytest.raises(AlertNotSentError) as caught:
        world.tick(sns())

    assert "crypto-alerts" in str(caught.value)
    assert "correct ALERTS_TOPIC_ARN and AWS_REGION" in str(caught.value)


def test_a_message_that_was_sent_but_not_noted_comes_twice_with_one_id(
    world: World, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = subscribe()
    world.tick(sns())
    fail(world, 1)

    class KilledError(BaseException):
        pass

    publish = SnsTopic.send

    def send_and_die(self: SnsTopic, alert: Alert) -> None:
        publish(self, alert)
        raise KilledError

    with monkeypatch.context() as dying:
        dying.setattr(SnsTopic, "send", send_and_die)
        with pytest.raises(KilledError):
            world.tick(sns())
    world.tick(sns())
    world.tick(sns())

    assert len(queue.messages) == 2
    assert len({attribute(message, "alert_id") for message in queue.messages}) == 1


def test_no_way_to_aws_is_explained(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = SnsTopic(
        topic=f"arn:aws:sns:{REGION}:123456789012:crypto-alerts",
        region=REGION,
        state_root=world.channel.state_root,
    )
    for name, text in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }.items():
        monkeypatch.setenv(name, text)
    world.tick(topic)
    fail(world, 1)

    with pytest.raises(AlertNotSentError, match="could not be reached"):
        world.tick(topic)


def test_a_document_replaced_within_a_second_is_read_as_it_is_now(
    aws: str,  # noqa: ARG001 - the account comes first
    world: World,
) -> None:
    topic = sns()
    state = world.tick()
    for position in range(5):
        topic.write_state("one", state.model_copy(update={"run_events": position}))

        found = topic.read_state("one")

        assert found is not None
        assert found.run_events == position
    assert topic.read_state("another") is None


@pytest.fixture
def stack_queue(tmp_path: Path) -> Iterator[Subscriber]:
    """What subscribes to the topic that the stack made."""
    with account_with_code(tmp_path / "objects") as (_, deploy):
        deploy()
        (topic,) = client("sns").list_topics()["Topics"]
        yield Subscriber(topic["TopicArn"], "all", None)


def test_the_policy_of_the_stack_suffices_to_send(world: World, stack_queue: Subscriber) -> None:
    with acting([platform_policy()]):
        world.tick(sns())
        fail(world, 1)
        world.tick(sns())

    assert stack_queue.reported == [("run_failed", "opened")]


def test_without_the_permission_to_publish_the_message_says_what_to_attach(
    world: World, stack_queue: Subscriber
) -> None:
    policy = platform_policy()
    less = [one for one in policy["Statement"] if "sns:Publish" not in one["Action"]]
    world.tick(sns())
    fail(world, 1)
    with (
        acting([{**policy, "Statement": less}]),
        pytest.raises(AlertNotSentError, match="platform's policy"),
    ):
        world.tick(sns())
    world.tick(sns(), now=datetime.now(UTC) + timedelta(minutes=5))

    assert stack_queue.reported == [("run_failed", "opened")]
