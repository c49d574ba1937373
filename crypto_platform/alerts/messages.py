"""What is remembered of incidents, and the messages about them: what they say, and how.

Pure: ``problems`` interprets what happened, ``incidents`` decides what of it is worth a message.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, AwareDatetime, BaseModel, Field, PlainSerializer

from crypto_platform.alerts.events import Affected
from crypto_platform.alerts.problems import RUNBOOK, Kind, Problem, Resolution
from crypto_platform.core.redaction import Secrets

SUBJECT_LIMIT = 100
"""Characters of a subject that SNS takes."""

BODY_LIMIT = 60_000
"""Characters of a body; SNS takes 256 KB, and a character may take four."""

FORGET_AFTER = timedelta(days=90)
"""How long an incident that nothing resolves keeps silent what belongs to it."""

FIRST_PAUSE = timedelta(seconds=30)
"""After a first attempt to deliver a message that failed; each pause is twice the one before."""

MAX_ATTEMPTS = 12
"""After so many attempts, in some 17 hours, a message is put aside."""

_CAUSE_LIMIT = 4_000


class Incident(BaseModel, frozen=True):
    """A problem that was reported and is not over.

    Attributes:
        identity: That of the problem which opened it.
        kind: The kind of alert.
        title: What failed, in a few words.
        stream: The stream that it is about.
        opened_at: When it began.
        seen_at: When something last joined it.
        affected: What still has to be resolved.
        correlation_keys: What else belongs to it, such as a backfill.
        joined: How many problems joined it without a message.
    """

    identity: str
    kind: Kind
    title: str
    stream: str
    opened_at: AwareDatetime
    seen_at: AwareDatetime
    affected: Affected
    correlation_keys: Annotated[frozenset[str], PlainSerializer(sorted)] = Field(
        # Version 0.2 wrote it as lineage.
        validation_alias=AliasChoices("correlation_keys", "lineage")
    )
    joined: int = 0


class Alert(BaseModel, frozen=True):
    """A message to people: an incident begins or is over.

    Attributes:
        alert_id: The same for the same message, should it ever come twice.
        at: When what it reports happened.
        kind: The kind of alert.
        severity: ``error`` where something is broken, ``info`` where it is resolved.
        status: ``opened`` or ``recovered``.
        stream: The stream that it is about, or ``platform``.
        subject: At most 100 printable ASCII characters in one line.
        body: What failed, where, why, and what to do.
    """

    alert_id: str
    at: AwareDatetime
    kind: Kind
    severity: Literal["error", "info"]
    status: Literal["opened", "recovered"]
    stream: str
    subject: str
    body: str

    @property
    def attributes(self) -> dict[str, str]:
        """What a subscription may filter on."""
        return self.model_dump(include={"severity", "status", "stream", "kind", "alert_id"})


class FailedDelivery(BaseModel, frozen=True):
    """What came of the attempts to deliver a message so far.

    Attributes:
        attempts: How many there were.
        next_at: When it is tried again.
        reason: Why the last one failed.
    """

    attempts: int
    next_at: AwareDatetime
    reason: str

    @classmethod
    def after(cls, before: "FailedDelivery | None", reason: str, now: datetime) -> Self:
        """One more attempt that failed; the pause after it is twice as long as the one before.

        Args:
            before: Those before; ``None`` after the first.
            reason: Why it failed.
            now: When it did.
        """
        attempts = before.attempts + 1 if before else 1
        pause = FIRST_PAUSE * 2 ** (attempts - 1)
        return cls(attempts=attempts, next_at=now + pause, reason=reason)


class UndeliverableAlert(BaseModel, frozen=True):
    """A message that was tried for the last time, with what came of it."""

    alert: Alert
    delivery: FailedDelivery


class ScheduleMark(BaseModel, frozen=True):
    """Up to when a schedule has been evaluated, and by which cron."""

    cron: str
    until: AwareDatetime


class AlertState(BaseModel, frozen=True):
    """All that is remembered from one tick of the sensor to the next.

    Attributes:
        updated_at: When it was last written.
        run_events: The last event on a run's end that was taken into account.
        other_events: The last event outside of runs that was.
        backfills_until: Up to when ends of backfills were, in seconds since 1970.
        schedules: Up to when each schedule has been evaluated.
        retrying: Failed runs that Dagster said it would retry.
        incidents: The open incidents, the oldest first.
        unsent: Messages that are still to be delivered, in order.
        failed_deliveries: What came of their attempts so far, by ``alert_id``.
        put_aside: Messages that are tried no more, the oldest first.
    """

    updated_at: AwareDatetime
    run_events: int = 0
    other_events: int = 0
    backfills_until: float = 0.0
    schedules: dict[str, ScheduleMark] = {}
    retrying: tuple[str, ...] = ()
    incidents: tuple[Incident, ...] = ()
    unsent: tuple[Alert, ...] = ()
    failed_deliveries: dict[str, FailedDelivery] = {}
    put_aside: tuple[UndeliverableAlert, ...] = ()


@dataclass(frozen=True)
class MessageFormatter:
    """How alerts are put into words.

    Attributes:
        ui_url: Where people reach the Dagster UI.
        secrets: What must not be said.
    """

    ui_url: str
    secrets: Secrets

    def opened(self, problem: Problem) -> Alert:
        """The message that something is broken."""
        return self._alert(
            problem,
            title=problem.title,
            at=problem.at,
            status="opened",
            facts={
                **problem.facts,
                "What to do": problem.what_to_do or RUNBOOK[problem.kind],
                "Runbook": f"docs/runbook.md#{problem.kind}",
                "Look": self._link(problem.path),
            },
        )

    def recovered(self, incident: Incident, resolution: Resolution) -> Alert:
        """The message that an incident is over.

        Args:
            incident: The incident.
            resolution: What resolved the last of it.
        """
        facts = {
            "Resolved by": resolution.by,
            "Open since": f"{incident.opened_at:%Y-%m-%d %H:%M} UTC",
            "Look": self._link(resolution.path),
        }
        if incident.joined:
            facts["Failures that joined it without a message"] = str(incident.joined)
        return self._alert(
            incident,
            title=f"recovered: {incident.title}",
            at=resolution.at,
            status="recovered",
            facts=facts,
        )

    def _link(self, path: str) -> str:
        return f"{self.ui_url.rstrip('/')}{path}"

    def _alert(
        self,
        about: Problem | Incident,
        *,
        title: str,
        at: AwareDatetime,
        status: Literal["opened", "recovered"],
        facts: Mapping[str, str],
    ) -> Alert:
        is_open = status == "opened"
        # Cut only after the secrets are out: half of one is still a secret.
        safe_title = self.secrets.redact(title)
        lines = [f"{safe_title}.", f"At {at:%Y-%m-%d %H:%M:%S} UTC."]
        for heading, text in facts.items():
            safe = self.secrets.redact(text).strip()
            lines.append(f"\n{heading}:\n{_cut(safe, _CAUSE_LIMIT)}")
        return Alert(
            alert_id=f"{about.identity}/{status}",
            at=at,
            kind=about.kind,
            severity="error" if is_open else "info",
            status=status,
            stream=about.stream,
            subject=_one_line(f"[{'ERROR' if is_open else 'OK'}] {safe_title}"),
            body=_cut("\n".join(lines), BODY_LIMIT) + "\n",
        )


def _one_line(text: str) -> str:
    """A text as SNS takes it for a subject."""
    line = " ".join(text.encode("ascii", "replace").decode().split())
    return _cut("".join(filter(str.isprintable, line)), SUBJECT_LIMIT)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
