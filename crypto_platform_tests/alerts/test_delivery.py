"""What happened is delivered, however often the process is killed."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.alerts.channels import AlertChannel, AlertNotSentError
from crypto_platform.alerts.delivery import watch_instance
from crypto_platform.alerts.events import Event
from crypto_platform.alerts.messages import Alert, AlertState
from crypto_platform_tests.alerts.events import FORMATTER, NOON, failed, fold, histories, succeeded


class KilledError(BaseException):
    """Stands for the process ending here and now."""


class Account(AlertChannel):
    """Remembers what is sent, and dies at a chosen step."""

    state_root: str = ""

    def __init__(self, deaths: set[int]) -> None:
        super().__init__()
        self._deaths = deaths
        self._steps = 0
        self._content: str | None = None
        self._delivered: list[str] = []

    @property
    def place(self) -> str:
        return "memory"

    @property
    def delivered(self) -> list[str]:
        return self._delivered

    def read_state(self, instance_id: str) -> AlertState | None:  # noqa: ARG002
        return AlertState.model_validate_json(self._content) if self._content else None

    def write_state(self, instance_id: str, state: AlertState) -> None:  # noqa: ARG002
        self._step()
        self._content = state.model_dump_json()
        self._step()

    def send(self, alert: Alert) -> None:
        self._step()
        self._delivered.append(alert.alert_id)
        self._step()

    def _step(self) -> None:
        self._steps += 1
        if self._steps in self._deaths:
            raise KilledError


class Log:
    """An event log that gives so many events a tick, in place of an instance's."""

    instance_id = "the instance"

    def __init__(self, events: Sequence[Event], chunks: Sequence[int]) -> None:
        self._events = events
        self._chunks = list(chunks)
        self.now = NOON

    def beginning(self) -> AlertState:
        return AlertState(updated_at=self.now)

    def since(self, state: AlertState) -> tuple[list[Event], AlertState]:
        until = state.run_events + (self._chunks.pop(0) if self._chunks else len(self._events))
        events = list(self._events[state.run_events : until])
        return events, state.model_copy(update={"run_events": state.run_events + len(events)})


@given(
    histories(),
    st.lists(st.integers(0, 5), max_size=10),
    st.sets(st.integers(1, 60), max_size=8),
)
def test_any_ticks_and_any_kills_give_the_same_messages(
    history: list[Event], chunks: list[int], deaths: set[int]
) -> None:
    account = Account(deaths)
    log = Log(history, chunks)
    killed = 0
    quiet = 0
    while quiet < len(chunks) + 2:
        try:
            delivered, _ = watch_instance(log, account, FORMATTER)  # type: ignore[arg-type]
            quiet = 0 if delivered else quiet + 1
        except KilledError:
            killed += 1

    expected = [alert.alert_id for alert in fold(history)[1]]
    counts = Counter(account.delivered)
    assert list(dict.fromkeys(account.delivered)) == expected
    # Only a kill between sending and noting it repeats a message.
    assert sum(counts.values()) - len(counts) <= killed
    if not killed:
        assert account.delivered == expected


class Picky(Account):
    """Refuses some messages, each attempt of which it counts."""

    def __init__(self, refuses: Callable[[Alert], bool]) -> None:
        super().__init__(set())
        self._refuses = refuses
        self._attempts: list[str] = []

    @property
    def attempts(self) -> list[str]:
        return self._attempts

    def send(self, alert: Alert) -> None:
        self._attempts.append(alert.alert_id)
        if self._refuses(alert):
            raise AlertNotSentError(f"not {alert.subject}")
        super().send(alert)


def tick(log: Log, account: Account, after: timedelta = timedelta()) -> None:
    log.now += after
    with suppress(AlertNotSentError):
        watch_instance(log, account, FORMATTER)  # type: ignore[arg-type]


def remembered(account: Account) -> AlertState:
    state = account.read_state("the instance")
    assert state is not None
    return state


FAILURES = [failed(f"run {day}", f"2026-11-2{day}-00:00") for day in range(3)]


def test_a_message_that_is_refused_holds_up_no_other_and_their_order_stays() -> None:
    first, *others = (alert.alert_id for alert in fold(FAILURES)[1])
    account = Picky(lambda alert: alert.alert_id == first)

    tick(Log(FAILURES, []), account)

    assert account.delivered == others


def test_a_refused_message_is_tried_after_pauses_that_double_and_then_put_aside() -> None:
    account = Picky(lambda _: True)
    log = Log(FAILURES[:1], [])
    tick(log, account)

    pauses = []
    while remembered(account).unsent:
        (delivery,) = remembered(account).failed_deliveries.values()
        pauses.append(delivery.next_at - log.now)
        # A tick before its time is none of its attempts.
        tick(log, account, pauses[-1] - timedelta(seconds=1))
        tick(log, account, timedelta(seconds=1))

    assert pauses == [timedelta(seconds=30) * 2**number for number in range(11)]
    assert len(account.attempts) == 12
    (aside,) = remembered(account).put_aside
    assert aside.delivery.reason == f"not {aside.alert.subject}"
    tick(log, account, timedelta(days=1))
    assert len(account.attempts) == 12


def test_what_a_resolution_resolves_is_told_first() -> None:
    blocked = True
    account = Picky(lambda alert: blocked and alert.status == "opened")
    resolved = succeeded("again", "2026-11-20-00:00")
    history = [FAILURES[0], resolved]
    log = Log(history, [1])
    tick(log, account)
    tick(log, account)
    assert account.delivered == []

    blocked = False
    tick(log, account, timedelta(minutes=1))

    assert account.delivered == [alert.alert_id for alert in fold(history)[1]]
