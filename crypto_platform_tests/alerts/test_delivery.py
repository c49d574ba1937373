"""What happened is delivered, however often the process is killed."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.alerts.channels import AlertChannel
from crypto_platform.alerts.delivery import watch_instance
from crypto_platform.alerts.events import Event
from crypto_platform.alerts.messages import Alert, AlertState
from crypto_platform_tests.alerts.events import FORMATTER, NOON, fold, histories


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
