"""Which events are worth a message."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.alerts.events import CheckEvaluated, Event, FreshnessChanged, ScheduleEvaluated
from crypto_platform.alerts.incidents import update_incidents
from crypto_platform.alerts.messages import AlertState, Incident
from crypto_platform.alerts.problems import Problem, Resolution, interpret
from crypto_platform_tests.alerts.events import (
    FORMATTER,
    LOADED,
    NOON,
    OPENED,
    RAW,
    RECOVERED,
    check,
    failed,
    fold,
    histories,
    keys,
    reported,
    some_coins,
    succeeded,
)


def test_a_failed_run_opens_an_incident_and_the_same_partitions_materialized_close_it() -> None:
    assert reported(failed("1", "A"), succeeded("2", "A")) == [OPENED, RECOVERED]


def test_the_same_thing_failing_again_is_the_same_incident() -> None:
    assert reported(failed("1", "A"), failed("2", "A"), failed("3", "A")) == [OPENED]


def test_another_partition_failing_is_another_incident() -> None:
    assert reported(failed("1", "A"), failed("2", "B")) == [OPENED, OPENED]


def test_a_backfill_with_many_failed_runs_is_one_message_and_one_recovery() -> None:
    keys = [f"2026-01-{day:02}" for day in range(1, 31)]

    alerts = reported(
        *(failed(key, key, backfill="b") for key in keys),
        *(succeeded(f"{key} again", key) for key in keys),
    )

    assert alerts == [OPENED, RECOVERED]


def test_a_range_is_resolved_only_when_all_of_it_is() -> None:
    events = [failed("1", "A", "B", "C"), succeeded("2", "A"), succeeded("3", "C")]

    assert reported(*events) == [OPENED]
    assert reported(*events, succeeded("4", "B")) == [OPENED, RECOVERED]


def test_another_asset_of_the_same_partition_resolves_nothing() -> None:
    assert reported(failed("1", "A"), succeeded("2", "A", done={RAW: {"A"}})) == [OPENED]


def test_what_a_failed_run_did_materialize_is_resolved() -> None:
    incidents, alerts = fold(
        [
            failed("1", "A"),
            failed("2", "A", done={RAW: {"A"}}, broken={LOADED: {"A"}}, failed=(LOADED,)),
        ]
    )

    assert [alert.status for alert in alerts] == ["opened"]
    assert incidents[0].affected == {LOADED: {"A"}}


def test_a_retry_that_will_come_is_no_message() -> None:
    assert reported(failed("1", "A", will_retry=True), succeeded("2", "A")) == []


def test_the_last_attempt_of_a_retried_run_that_fails_is_one_message() -> None:
    events = [failed("1", "A", will_retry=True), failed("2", "A", root_run="1")]

    assert reported(*events) == [OPENED]


def test_a_failed_attempt_of_healing_is_no_message_and_what_it_healed_is_resolved() -> None:
    assert reported(failed("1", "A", heals=True)) == []
    assert reported(failed("1", "A"), succeeded("2", "A", heals=True)) == [OPENED, RECOVERED]


def test_a_job_without_assets_is_resolved_by_its_own_success() -> None:
    broken = failed("1", job="watch", broken={}, failed=("op look",))

    assert reported(broken, succeeded("2", job="watch", done={})) == [OPENED, RECOVERED]


def test_a_failed_error_check_of_a_good_run_opens_an_incident_until_it_passes() -> None:
    events = [
        succeeded("1", "A", checks=[check("1", passed=False)]),
        succeeded("2", "A", checks=[check("2", passed=True)]),
    ]

    assert reported(*events) == [("check_failed", "opened"), ("check_failed", "recovered")]


def test_a_check_of_severity_warn_is_no_message() -> None:
    assert reported(check("1", passed=False, is_error=False)) == []


def test_a_check_that_is_down_to_a_warning_is_over_so_that_its_next_error_is_reported() -> None:
    warned = check("2", passed=False, is_error=False)
    events = [check("1", passed=False), warned, check("3", passed=False)]

    assert reported(*events) == [
        ("check_failed", "opened"),
        ("check_failed", "recovered"),
        ("check_failed", "opened"),
    ]


def test_a_check_that_passes_for_another_partition_resolves_nothing() -> None:
    events = [check("1", passed=False), check("2", passed=True, partitions={"B"})]

    assert reported(*events) == [("check_failed", "opened")]


def test_a_range_check_is_resolved_where_the_partitions_at_fault_pass() -> None:
    events = [
        check("1", passed=False, partitions={"A", "B", "C"}, at_fault={"B"}),
        check("2", passed=True, partitions={"B"}),
    ]

    assert reported(*events) == [("check_failed", "opened"), ("check_failed", "recovered")]


def time_based(identity: str, *coins: str, **details: Any) -> CheckEvaluated:
    """A check that evaluates all coins at once, and names those at fault."""
    return check(
        identity,
        **{
            "check": f"{LOADED}:fresh",
            "passed": not coins,
            "partitions": {""},
            "coins": coins,
            **details,
        },
    )


CHECK_OPENED, CHECK_RECOVERED = ("check_failed", "opened"), ("check_failed", "recovered")


def test_a_coin_that_is_newly_at_fault_is_reported_though_another_has_been_for_long() -> None:
    _, alerts = fold([time_based("1", "ether"), time_based("2", "ether", "monero")])

    assert [alert.subject for alert in alerts] == [
        f"[ERROR] check fresh of {LOADED} failed: ether",
        f"[ERROR] check fresh of {LOADED} failed: monero",
    ]
    assert "At fault:\nmonero\n" in alerts[1].body
    assert "Known already, from open incidents:\nether\n" in alerts[1].body


def test_the_same_coins_at_fault_again_are_silent_however_they_were_reported() -> None:
    incidents, alerts = fold(
        [
            time_based("1", "ether"),
            time_based("2", "ether", "monero"),
            time_based("3", "ether", "monero"),
            time_based("4", "ether", "monero", at=NOON + timedelta(days=89)),
        ]
    )

    assert [alert.status for alert in alerts] == ["opened", "opened"]
    # What is still seen must not be forgotten.
    assert {incident.seen_at for incident in incidents} == {NOON + timedelta(days=89)}
    assert [incident.joined for incident in incidents] == [3, 2]


def test_an_incident_is_over_when_its_own_coins_are_though_others_are_still_at_fault() -> None:
    _, alerts = fold(
        [
            time_based("1", "ether"),
            time_based("2", "ether", "monero", "solana"),
            time_based("3", "ether", "solana"),
            time_based("4", "ether"),
            time_based("5"),
        ]
    )

    assert [alert.subject for alert in alerts[2:]] == [
        f"[OK] recovered: check fresh of {LOADED} failed: monero, solana",
        f"[OK] recovered: check fresh of {LOADED} failed: ether",
    ]
    assert "the check does not name it any more" in alerts[2].body
    assert "the check passed" in alerts[3].body


def test_thirty_coins_newly_at_fault_are_one_message_that_names_them_all() -> None:
    coins = [f"coin-{number:02}" for number in range(30)]

    _, alerts = fold([time_based("1", "ether"), time_based("2", "ether", *coins)])

    assert len(alerts) == 2
    assert alerts[1].subject.endswith("failed: 30, such as coin-00, coin-01, coin-02")
    assert all(coin in alerts[1].body for coin in coins)


def test_a_coin_that_recovers_and_fails_again_is_reported_again() -> None:
    events = [
        time_based("1", "ether", "monero"),
        time_based("2", "ether"),
        time_based("3", "ether", "monero"),
    ]

    assert reported(*events) == [CHECK_OPENED, CHECK_OPENED]


def test_a_partition_that_is_newly_at_fault_is_reported_though_another_fails_beside_it() -> None:
    _, alerts = fold(
        [check("1", passed=False), check("2", passed=False, partitions={"A", "B", "C"})]
    )

    assert [alert.subject for alert in alerts] == [
        f"[ERROR] check unique_key of {LOADED} failed: A",
        f"[ERROR] check unique_key of {LOADED} failed: B, C",
    ]


def test_another_coin_of_the_same_partition_is_reported_and_each_is_over_by_itself() -> None:
    events = [
        check("1", passed=False, coins={"ether"}),
        check("2", passed=False, coins={"ether", "monero"}),
        check("3", passed=True, partitions={"B"}),
        check("4", passed=False, coins={"monero"}),
    ]

    assert reported(*events) == [CHECK_OPENED, CHECK_OPENED, CHECK_RECOVERED]


def test_a_backfill_whose_check_fails_in_ever_more_partitions_is_one_message() -> None:
    events = [
        check("1", passed=False, backfill="b"),
        check("2", passed=False, backfill="b", partitions={"A", "B"}),
        check("3", passed=False, backfill="b", partitions={"C"}),
    ]

    incidents, alerts = fold(events)

    assert [alert.status for alert in alerts] == ["opened"]
    assert [incident.joined for incident in incidents] == [2]


def test_a_known_fault_in_a_backfill_does_not_silence_the_new_ones_of_that_backfill() -> None:
    events = [
        check("1", passed=False),
        check("2", passed=False, backfill="b"),
        check("3", passed=False, backfill="b", partitions={"B"}),
    ]

    assert reported(*events) == [CHECK_OPENED, CHECK_OPENED]


def test_a_check_that_failed_as_a_whole_has_reported_the_coins_that_it_names_later() -> None:
    events = [
        time_based("1", passed=False),
        time_based("2", "ether", "monero"),
        time_based("3", "ether", "monero", "solana"),
        time_based("4", "solana"),
    ]

    assert reported(*events) == [CHECK_OPENED, CHECK_OPENED, CHECK_RECOVERED]


def test_a_coin_at_fault_in_one_partition_is_news_in_another() -> None:
    events = [
        check("1", passed=False, partitions={"A", "B"}, at_fault={"A/ether", "B/monero"}),
        check("2", passed=False, partitions={"A", "B"}, at_fault={"A/ether", "A/monero"}),
    ]

    _, alerts = fold(events)

    assert [alert.subject for alert in alerts] == [
        f"[ERROR] check unique_key of {LOADED} failed: A/ether, B/monero",
        f"[ERROR] check unique_key of {LOADED} failed: A/monero",
    ]


def test_a_check_that_fails_as_a_whole_is_reported_though_a_coin_of_it_is_known() -> None:
    events = [
        time_based("1", "ether"),
        time_based("2", passed=False),
        time_based("3", "ether"),
        time_based("4"),
    ]

    assert reported(*events) == [CHECK_OPENED, CHECK_OPENED, CHECK_RECOVERED, CHECK_RECOVERED]


def test_a_failure_that_joins_an_incident_brings_its_backfill_with_it() -> None:
    events = [
        failed("1", "A"),
        failed("2", "A", backfill="b"),
        failed("3", "B", backfill="b"),
    ]

    incidents, _ = fold(events)

    assert reported(*events) == [OPENED]
    assert incidents[0].correlation_keys == {"run 1", "run 2", "run 3", "backfill b"}


def test_an_incident_that_an_older_version_remembered_takes_over_its_coins_without_a_message() -> (
    None
):
    remembered = """{
      "updated_at": "2026-11-24T12:00:00Z", "run_events": 7, "other_events": 3,
      "backfills_until": 0.0, "schedules": {}, "retrying": [], "unsent": [],
      "incidents": [{
        "identity": "check_failed/ingestion_ledger:healing//a-run", "kind": "check_failed",
        "title": "check healing of ingestion_ledger failed", "stream": "platform",
        "opened_at": "2026-11-23T12:00:00Z", "seen_at": "2026-11-24T11:00:00Z",
        "affected": {"ingestion_ledger:healing": [""]}, "lineage": [], "joined": 22
      }]
    }"""
    incidents: Sequence[Incident] = AlertState.model_validate_json(remembered).incidents
    statuses = []
    for number, coins in enumerate([["ether"], ["ether", "monero"], ["monero"], []]):
        event = time_based(str(number), *coins, check="ingestion_ledger:healing")
        incidents, alerts = update_incidents(incidents, event, FORMATTER)
        statuses.append([alert.status for alert in alerts])

    assert statuses == [[], ["opened"], ["recovered"], ["recovered"]]
    assert not incidents


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
def test_freshness_that_fails_and_passes_again_is_reported_each_time(
    states: list[str], statuses: list[str]
) -> None:
    events = [
        FreshnessChanged(identity=str(place), at=NOON, asset=LOADED, state=state)
        for place, state in enumerate(states)
    ]

    assert reported(*events) == [("freshness_failed", status) for status in statuses]


def test_a_schedule_that_missed_many_times_is_one_message_until_it_ticks() -> None:
    hours = [NOON - timedelta(hours=number) for number in (18, 12, 6)]
    events = [
        ScheduleEvaluated(at=NOON, schedule="intra_day_schedule", missed=tuple(hours[:2])),
        ScheduleEvaluated(at=NOON, schedule="intra_day_schedule", missed=(hours[2],)),
        ScheduleEvaluated(at=NOON, schedule="intra_day_schedule", ticking=True),
    ]

    _, alerts = fold(events)

    assert [alert.status for alert in alerts] == ["opened", "recovered"]
    assert "2026-11-23 18:00, 2026-11-24 00:00" in alerts[0].subject


def cells_of(affected: Mapping[str, frozenset[str]]) -> set[tuple[str, str, str]]:
    """What is broken, one by one; a partition as a whole is broken in each coin."""
    return {
        (thing, partition, one)
        for thing, keys in affected.items()
        for partition, _, coin in (key.partition("/") for key in keys)
        for one in ([coin] if coin else ["ether", "monero", "any other"])
    }


@given(histories())
def test_every_incident_is_reported_once_and_nothing_broken_is_silent(history: list[Event]) -> None:
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
    broken: set[tuple[str, str, str, str]] = set()
    for event in history:
        for found in interpret(event):
            match found:
                case Problem():
                    broken |= {(found.kind, *cell) for cell in cells_of(found.affected)}
                case Resolution():
                    resolution = cells_of(found.affected) - cells_of(found.but)
                    broken -= {(found.kind, *cell) for cell in resolution}
    assert {
        (incident.kind, *cell) for incident in incidents for cell in cells_of(incident.affected)
    } == broken


@st.composite
def evaluations(draw: st.DrawFn) -> list[CheckEvaluated]:
    """One check, evaluated again and again."""
    return [
        check(
            str(place),
            passed=draw(st.booleans()),
            partitions=partitions,
            at_fault=draw(keys) & partitions,
            coins=draw(some_coins),
        )
        for place in range(draw(st.integers(0, 8)))
        for partitions in [draw(keys)]
    ]


@given(evaluations())
def test_a_check_is_reported_once_an_evaluation_and_only_where_it_names_a_new_fault(
    history: list[CheckEvaluated],
) -> None:
    incidents: list[Incident] = []
    for event in history:
        known = {cell for incident in incidents for cell in cells_of(incident.affected)}
        faults = {
            cell
            for found in interpret(event)
            if isinstance(found, Problem)
            for cell in cells_of(found.affected)
        }
        incidents, alerts = update_incidents(incidents, event, FORMATTER)
        opened = [alert for alert in alerts if alert.status == "opened"]

        assert len(opened) == bool(faults - known)
