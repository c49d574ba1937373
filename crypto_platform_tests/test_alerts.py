"""Which events are worth a message, and what it says."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.alerts import (
    BODY_LIMIT,
    SUBJECT_LIMIT,
    Alert,
    AlertState,
    CheckEvaluated,
    Event,
    FreshnessChanged,
    Incident,
    Mended,
    RunEnded,
    ScheduleJudged,
    Trouble,
    Voice,
    follow,
    readings,
)
from crypto_platform.redaction import Secrets
from crypto_platform.resources.alerts import Alerts
from crypto_platform.sensors import watch_instance

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
RAW, LOADED = "intra_day/raw_prices", "intra_day/snowflake_prices"
VOICE = Voice("http://ui.example:3000", Secrets.of({"COINGECKO_API_KEY": "CG-the-real-key"}))


def fold(events: Sequence[Event]) -> tuple[list[Incident], list[Alert]]:
    incidents: list[Incident] = []
    alerts: list[Alert] = []
    for event in events:
        incidents, told = follow(incidents, event, VOICE)
        alerts += told
    return incidents, alerts


def told(*events: Event) -> list[tuple[str, str]]:
    return [(alert.kind, alert.status) for alert in fold(events)[1]]


def failed(run_id: str, *partitions: str, **details: Any) -> RunEnded:
    return RunEnded(
        **{
            "run_id": run_id,
            "at": NOON,
            "job": "intra_day",
            "succeeded": False,
            "root_run": run_id,
            "partitions": partitions,
            "broken": {RAW: partitions, LOADED: partitions},
            "failed": (RAW,),
            "cause": "ConnectionError: no way to the API",
            **details,
        }
    )


def succeeded(run_id: str, *partitions: str, **details: Any) -> RunEnded:
    return RunEnded(
        **{
            "run_id": run_id,
            "at": NOON,
            "job": "intra_day",
            "succeeded": True,
            "partitions": partitions,
            "done": {RAW: partitions, LOADED: partitions},
            **details,
        }
    )


def check(identity: str, *, passed: bool, **details: Any) -> CheckEvaluated:
    return CheckEvaluated(
        **{
            "identity": identity,
            "at": NOON,
            "check": f"{LOADED}:unique_key",
            "passed": passed,
            "is_error": True,
            "partitions": {"A"},
            "description": "bitcoin is there twice",
            **details,
        }
    )


OPENED, RECOVERED = ("run_failed", "opened"), ("run_failed", "recovered")


def test_a_failed_run_opens_an_incident_and_the_same_partitions_materialized_close_it() -> None:
    assert told(failed("1", "A"), succeeded("2", "A")) == [OPENED, RECOVERED]


def test_the_same_thing_failing_again_is_the_same_incident() -> None:
    assert told(failed("1", "A"), failed("2", "A"), failed("3", "A")) == [OPENED]


def test_another_partition_failing_is_another_incident() -> None:
    assert told(failed("1", "A"), failed("2", "B")) == [OPENED, OPENED]


def test_a_backfill_with_many_failed_runs_is_one_message_and_one_recovery() -> None:
    keys = [f"2026-01-{day:02}" for day in range(1, 31)]

    alerts = told(
        *(failed(key, key, backfill="b") for key in keys),
        *(succeeded(f"{key} again", key) for key in keys),
    )

    assert alerts == [OPENED, RECOVERED]


def test_a_range_is_mended_only_when_all_of_it_is() -> None:
    events = [failed("1", "A", "B", "C"), succeeded("2", "A"), succeeded("3", "C")]

    assert told(*events) == [OPENED]
    assert told(*events, succeeded("4", "B")) == [OPENED, RECOVERED]


def test_another_asset_of_the_same_partition_mends_nothing() -> None:
    assert told(failed("1", "A"), succeeded("2", "A", done={RAW: {"A"}})) == [OPENED]


def test_what_a_failed_run_did_materialize_is_mended() -> None:
    incidents, alerts = fold(
        [
            failed("1", "A"),
            failed("2", "A", done={RAW: {"A"}}, broken={LOADED: {"A"}}, failed=(LOADED,)),
        ]
    )

    assert [alert.status for alert in alerts] == ["opened"]
    assert incidents[0].affected == {LOADED: {"A"}}


def test_a_retry_that_will_come_is_no_message() -> None:
    assert told(failed("1", "A", will_retry=True), succeeded("2", "A")) == []


def test_the_last_try_of_a_retried_run_that_fails_is_one_message() -> None:
    events = [failed("1", "A", will_retry=True), failed("2", "A", root_run="1")]

    assert told(*events) == [OPENED]


def test_a_failed_try_of_healing_is_no_message_and_what_it_healed_is_mended() -> None:
    assert told(failed("1", "A", heals=True)) == []
    assert told(failed("1", "A"), succeeded("2", "A", heals=True)) == [OPENED, RECOVERED]


def test_a_job_without_assets_is_mended_by_its_own_success() -> None:
    broken = failed("1", job="watch", broken={}, failed=("op look",))

    assert told(broken, succeeded("2", job="watch", done={})) == [OPENED, RECOVERED]


def test_a_failed_error_check_of_a_good_run_opens_an_incident_until_it_passes() -> None:
    events = [
        succeeded("1", "A", checks=[check("1", passed=False)]),
        succeeded("2", "A", checks=[check("2", passed=True)]),
    ]

    assert told(*events) == [("check_failed", "opened"), ("check_failed", "recovered")]


def test_a_check_of_severity_warn_is_no_message() -> None:
    assert told(check("1", passed=False, is_error=False)) == []


def test_a_check_that_is_down_to_a_warning_is_over_so_that_its_next_error_is_told() -> None:
    warned = check("2", passed=False, is_error=False)
    events = [check("1", passed=False), warned, check("3", passed=False)]

    assert told(*events) == [
        ("check_failed", "opened"),
        ("check_failed", "recovered"),
        ("check_failed", "opened"),
    ]


def test_a_check_that_passes_for_another_partition_mends_nothing() -> None:
    events = [check("1", passed=False), check("2", passed=True, partitions={"B"})]

    assert told(*events) == [("check_failed", "opened")]


def test_a_range_check_is_mended_where_the_partitions_at_fault_pass() -> None:
    events = [
        check("1", passed=False, partitions={"A", "B", "C"}, at_fault={"B"}),
        check("2", passed=True, partitions={"B"}),
    ]

    assert told(*events) == [("check_failed", "opened"), ("check_failed", "recovered")]


def test_a_failed_run_is_one_message_that_names_its_failed_checks() -> None:
    run = failed("1", "A", checks=[check("1", passed=False)])

    (alert,) = fold([run])[1]

    assert alert.kind == "run_failed"
    assert "unique_key: bitcoin is there twice" in alert.body


@pytest.mark.parametrize(
    ("states", "statuses"),
    [
        (["FAIL"], ["opened"]),
        (["WARN", "FAIL", "WARN", "FAIL", "PASS"], ["opened", "recovered"]),
        (["UNKNOWN", "PASS", "WARN", "PASS"], []),
        (["FAIL", "NOT_APPLICABLE"], ["opened", "recovered"]),
        (["FAIL", "PASS", "FAIL"], ["opened", "recovered", "opened"]),
    ],
)
def test_freshness_tells_of_failing_and_of_passing_again(
    states: list[str], statuses: list[str]
) -> None:
    events = [
        FreshnessChanged(identity=str(place), at=NOON, asset=LOADED, state=state)
        for place, state in enumerate(states)
    ]

    assert told(*events) == [("freshness_failed", status) for status in statuses]


def test_a_schedule_that_missed_many_times_is_one_message_until_it_ticks() -> None:
    hours = [NOON - timedelta(hours=number) for number in (18, 12, 6)]
    events = [
        ScheduleJudged(at=NOON, schedule="intra_day_schedule", missed=tuple(hours[:2])),
        ScheduleJudged(at=NOON, schedule="intra_day_schedule", missed=(hours[2],)),
        ScheduleJudged(at=NOON, schedule="intra_day_schedule", ticking=True),
    ]

    _, alerts = fold(events)

    assert [alert.status for alert in alerts] == ["opened", "recovered"]
    assert "2026-11-23 18:00, 2026-11-24 00:00" in alerts[0].subject


def test_the_message_says_what_where_why_and_what_to_do() -> None:
    (alert,) = fold([failed("run-1", "2026-11-24-06:00", backfill="b-1")])[1]

    assert alert.subject == "[ERROR] intra_day/raw_prices failed: 2026-11-24-06:00"
    for fact in (
        "2026-11-24-06:00",
        "ConnectionError: no way to the API",
        "http://ui.example:3000/runs/run-1",
        "materialize the same partitions again",
        "run_failed, in the README under Operations",
        "b-1",
    ):
        assert fact in alert.body
    assert alert.attributes == {
        "severity": "error",
        "status": "opened",
        "stream": "intra_day",
        "kind": "run_failed",
        "alert_id": "run_failed/run-1/opened",
    }


def test_a_range_is_told_by_its_ends() -> None:
    (alert,) = fold([failed("1", *(f"2026-01-{day:02}" for day in range(1, 32)))])[1]

    assert alert.subject.endswith("31 from 2026-01-01 to 2026-01-31")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("key CG-the-real-key refused", "CG-the-real-key"),
        ("https://api/x?x_cg_demo_api_key=abc123&vs=usd", "abc123"),
        ("GET https://user:hunter2@host/x", "hunter2"),
        ("{'x-cg-pro-api-key': 'abc123'}", "abc123"),
        ('{"password": "hunter2"}', "hunter2"),
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        ("CG-abcdefghijklmnopqrstuvwx", "CG-abcdefghijklmnopqrstuvwx"),
        ("aws AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "MIIE"),
        ("x" * 3_990 + " CG-the-real-key", "CG-the"),
    ],
)
def test_no_secret_stands_in_a_message(text: str, secret: str) -> None:
    run = failed("1", "A", cause=text, failed=(text,))
    checked = check("1", passed=False, description=text, what_to_do=text)

    for alert in fold([run, checked, succeeded("2", "A")])[1]:
        assert secret not in alert.subject + alert.body


def test_what_is_left_of_a_message_can_still_be_read() -> None:
    text = "GET https://api/x?api_key=abc123&vs_currency=usd gave 401, ask for token usage"

    assert Secrets().redact(text) == (
        "GET https://api/x?api_key=[secret]&vs_currency=usd gave 401, ask for token usage"
    )


def test_secrets_are_known_by_the_names_of_their_variables() -> None:
    secrets = Secrets.of(
        {
            "COINGECKO_API_KEY": "CG-one/two",
            "SNOWFLAKE_PRIVATE_KEY_PATH": "/home/me/snowflake.p8",
            "DAGSTER_POSTGRES_PASSWORD": "dagster",
        }
    )

    assert secrets.redact("CG-one/two CG-one%2Ftwo /home/me/snowflake.p8 dagster") == (
        "[secret] [secret] /home/me/snowflake.p8 dagster"
    )


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_gives_a_subject_that_sns_takes(what: str, where: str) -> None:
    for alert in fold([failed("1", where, failed=(what,)), succeeded("2", where)])[1]:
        assert 1 <= len(alert.subject) <= SUBJECT_LIMIT
        assert alert.subject.isascii()
        assert alert.subject.isprintable()
        assert alert.subject.startswith("[")
        assert alert.body.strip()


def test_a_body_fits_into_a_message() -> None:
    run = failed("1", "A", cause="€" * 1_000_000, checks=[check("1", passed=False)] * 10_000)

    (alert,) = fold([run])[1]

    assert len(alert.body) <= BODY_LIMIT + 1
    assert len(alert.body.encode()) < 256 * 1024


keys = st.frozensets(st.sampled_from("ABC"), min_size=1)
assets = st.sampled_from([RAW, LOADED])


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Anything that may happen, in any order."""
    events: list[Event] = []
    for place in range(draw(st.integers(0, 15))):
        partitions = draw(keys)
        affected = dict.fromkeys(draw(st.sets(assets, min_size=1)), partitions)
        checked = check(
            str(place),
            passed=draw(st.booleans()),
            is_error=draw(st.booleans()),
            partitions=partitions,
            at_fault=draw(keys) & partitions,
        )
        backfill = draw(st.sampled_from([None, "b1", "b2"]))
        events.append(
            draw(
                st.sampled_from(
                    [
                        failed(
                            str(place),
                            broken=affected,
                            backfill=backfill,
                            will_retry=draw(st.booleans()),
                            root_run=str(draw(st.integers(0, place))),
                        ),
                        succeeded(str(place), done=affected, checks=[checked]),
                        checked,
                        FreshnessChanged(
                            identity=str(place),
                            at=NOON,
                            asset=draw(assets),
                            state=draw(st.sampled_from(["PASS", "WARN", "FAIL"])),
                        ),
                        ScheduleJudged(
                            at=NOON,
                            schedule="s",
                            missed=(NOON + timedelta(hours=place),) if draw(st.booleans()) else (),
                            ticking=draw(st.booleans()),
                        ),
                    ]
                )
            )
        )
    return events


@given(histories())
def test_every_incident_is_told_once_and_nothing_broken_is_silent(history: list[Event]) -> None:
    incidents, alerts = fold(history)
    ids = [alert.alert_id for alert in alerts]
    opened = {alert_id.removesuffix("/opened") for alert_id in ids if alert_id.endswith("/opened")}
    recovered = {
        alert_id.removesuffix("/recovered") for alert_id in ids if alert_id.endswith("/recovered")
    }

    assert len(ids) == len(set(ids))
    assert recovered <= opened
    assert {incident.identity for incident in incidents} == opened - recovered
    # By the definition: what the last event on an asset and partition left broken is open.
    broken: set[tuple[str, str, str]] = set()
    for event in history:
        for reading in readings(event):
            cells = {
                (reading.kind, thing, partition)
                for thing, partitions in reading.affected.items()
                for partition in partitions
            }
            match reading:
                case Trouble():
                    broken |= cells
                case Mended():
                    broken -= cells
    assert {
        (incident.kind, thing, partition)
        for incident in incidents
        for thing, partitions in incident.affected.items()
        for partition in partitions
    } == broken


class KilledError(BaseException):
    """Stands for the process ending here and now."""


class Account(Alerts):
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
            delivered, _ = watch_instance(log, account, VOICE)  # type: ignore[arg-type]
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
