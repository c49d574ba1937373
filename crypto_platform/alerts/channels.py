"""Where alerts go: a file on a laptop, a topic of SNS on AWS; and what is remembered of them.

Another channel is one more class here, its choice in ``profiles`` and what is to be set for it in
``settings``.
"""

import os
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import ValidationError

from crypto_platform.core.lazy import boto3, botocore_config, botocore_exceptions, lazy_import
from crypto_platform.lake.layers import Layer

if TYPE_CHECKING:
    from crypto_platform.alerts import messages
else:
    messages = lazy_import("crypto_platform.alerts.messages")

_INCIDENTS = "incidents"


class AlertNotSentError(Exception):
    """A message could not be delivered now; it is kept, and a later tick tries again."""


class AlertStateUnreadableError(Exception):
    """What is remembered of alerts could not be read."""


class AlertChannel(dg.ConfigurableResource[None], ABC):
    """A place that alerts go to, and the document of the open incidents beside it.

    Attributes:
        state_root: Folder or ``s3://`` address of the documents, one for each Dagster instance.
    """

    state_root: str

    @property
    @abstractmethod
    def place(self) -> str:
        """Where alerts go, in words for people."""

    @abstractmethod
    def send(self, alert: "messages.Alert") -> None:
        """Deliver a message.

        Raises:
            AlertNotSentError: It could not be delivered; says why and what to do.
        """

    def sent(self) -> "list[messages.Alert] | None":
        """The messages that were delivered, the oldest first; ``None`` where nobody keeps them."""
        return None

    def verify(self, *, send: bool) -> str:  # noqa: ARG002 - for channels that can
        """Look for the doctor whether messages can be delivered; says in a few words what it found.

        Raises whatever shows that they cannot.

        Args:
            send: Whether a message may really be sent.
        """
        return f"alerts go to {self.place}"

    def read_state(self, instance_id: str) -> "messages.AlertState | None":
        """What the last tick left for this Dagster instance; ``None`` before the first.

        Raises:
            AlertStateUnreadableError: The document is damaged; says what to do.
        """
        return self._state(f"{_INCIDENTS}/{instance_id}.json")

    def write_state(self, instance_id: str, state: "messages.AlertState") -> None:
        """Replace the document in one step: a kill leaves the old one or the new one.

        Args:
            instance_id: The Dagster instance.
            state: What is to be remembered.
        """
        content = state.model_dump_json(indent=1).encode()
        self._documents.put(f"{_INCIDENTS}/{instance_id}.json", content)

    def latest_state(self) -> "messages.AlertState | None":
        """The document that was written last, whichever instance it is of.

        Raises:
            AlertStateUnreadableError: The documents cannot be read; says where they are.
        """
        try:
            paths = self._documents.paths(_INCIDENTS)
            states = [self._state(path) for path in paths if path.endswith(".json")]
        except Exception as error:
            raise AlertStateUnreadableError(
                f"Alerts go to {self.place}. The open incidents in {self.state_root}/{_INCIDENTS} "
                f"cannot be read: {error}"
            ) from error
        return max(filter(None, states), key=lambda state: state.updated_at, default=None)

    def _state(self, path: str) -> "messages.AlertState | None":
        content = self._documents.read(path)
        try:
            return messages.AlertState.model_validate_json(content) if content else None
        except ValidationError as error:
            raise AlertStateUnreadableError(
                f"{self._documents.uri(path)} is not what the alerts sensor wrote: "
                f"{error.errors()[0]['msg']}. Move it away: the sensor then goes on from Dagster's "
                "cursor, without the open incidents."
            ) from error

    @property
    def _documents(self) -> Layer:
        return Layer(self.state_root, "alerts", "alerts")


class FileChannel(AlertChannel):
    """A file of JSON lines, one a message, for where nobody has a topic.

    Attributes:
        path: The file.
    """

    path: str

    @property
    def place(self) -> str:
        """See ``AlertChannel.place``."""
        return f"the file {self.path}"

    def send(self, alert: "messages.Alert") -> None:
        """Append a message, unless it is there: sending twice is sending once.

        Raises:
            AlertNotSentError: See ``AlertChannel.send``.
        """
        if any(sent.alert_id == alert.alert_id for sent in self.sent()):
            return
        file = Path(self.path)
        line = alert.model_dump_json().encode() + b"\n"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.exists() and file.read_bytes()[-1:] not in (b"", b"\n"):
                # A full disk once cut off the last line.
                line = b"\n" + line
            descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                # One call, so that a kill leaves all of the line or none.
                written = os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._failure(str(error)) from error
        if written != len(line):
            raise self._failure("only a part of the line could be written")

    def sent(self) -> "list[messages.Alert]":
        """See ``AlertChannel.sent``."""
        file = Path(self.path)
        if not file.exists():
            return []
        alerts = []
        for line in file.read_bytes().splitlines():
            try:
                alerts.append(messages.Alert.model_validate_json(line))
            except ValidationError:
                # What a full disk cut off; its message was sent again below it.
                continue
        return alerts

    def _failure(self, reason: str) -> AlertNotSentError:
        return AlertNotSentError(
            f"The alert could not be written to {self.path}: {reason}. Make room on the disk, or "
            "let this user write there."
        )


class SnsTopic(AlertChannel):
    """A topic of SNS.

    Attributes:
        topic: ARN of the topic, or its name in the account that the credentials belong to.
        region: Where it is.
    """

    topic: str
    region: str

    @property
    def place(self) -> str:
        """See ``AlertChannel.place``."""
        return f"the SNS topic {self.topic} in {self.region}"

    def send(self, alert: "messages.Alert") -> None:
        """See ``AlertChannel.send``.

        Raises:
            AlertNotSentError: SNS refused it, or could not be reached.
        """
        try:
            self._client("sns").publish(
                TopicArn=self.arn,
                Subject=alert.subject,
                Message=alert.body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": text}
                    for name, text in alert.attributes.items()
                },
            )
        except botocore_exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            raise self._failure(
                f"SNS refused it ({code}: {error.response['Error']['Message']}).",
                _REMEDIES.get(code, ""),
            ) from error
        except Exception as error:
            # Of botocore's own, some share no class: that of a gateway's HTML for one.
            raise self._failure(
                f"SNS could not be reached: {error}.",
                "Look at this machine's way to AWS and at its credentials.",
            ) from error

    def verify(self, *, send: bool) -> str:
        """See ``AlertChannel.verify``."""
        sns = self._client("sns")
        attributes = sns.get_topic_attributes(TopicArn=self.arn)["Attributes"]
        subscribed = int(attributes.get("SubscriptionsConfirmed", 0))
        who = f"{subscribed} confirmed subscription(s)" if subscribed else "nobody subscribed to it"
        if not send:
            return f"{self.arn} is there, with {who}; --send really sends"
        sns.publish(
            TopicArn=self.arn,
            Subject="crypto_platform: a test",
            Message="crypto-platform doctor --send sent this: alerts arrive. Nothing is wrong.",
        )
        return f"{self.arn} took a message, with {who}"

    @cached_property
    def arn(self) -> str:
        """The topic's ARN, also where the setting has its name alone."""
        if self.topic.startswith("arn:"):
            return self.topic
        # Needs no permission, unlike a list of topics.
        caller = self._client("sts").get_caller_identity()["Arn"]
        _, partition, _, _, account, *_ = caller.split(":")
        return f"arn:{partition}:sns:{self.region}:{account}:{self.topic}"

    def _client(self, service: str) -> Any:
        # A tick of a sensor has a minute in all.
        config = botocore_config.Config(
            connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
        )
        return boto3.client(service, region_name=self.region, config=config)

    def _failure(self, reason: str, remedy: str) -> AlertNotSentError:
        return AlertNotSentError(f"The alert was not delivered to {self.place}: {reason} {remedy}")


_NO_PERMISSION = "Attach the platform's policy to the role that Dagster runs as."
_BAD_CREDENTIALS = "Renew the AWS credentials that Dagster runs with."
_REMEDIES = {
    "AuthorizationError": _NO_PERMISSION,
    "AccessDenied": _NO_PERMISSION,
    "AccessDeniedException": _NO_PERMISSION,
    "NotFound": "Deploy the stack, or correct ALERTS_TOPIC_ARN and AWS_REGION.",
    "InvalidClientTokenId": _BAD_CREDENTIALS,
    "ExpiredToken": _BAD_CREDENTIALS,
    "SignatureDoesNotMatch": _BAD_CREDENTIALS,
}
