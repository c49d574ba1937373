"""Events as they may happen, and what becomes of them: for the tests of incidents and messages."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from crypto_platform.alerts.events import (
    CheckEvaluated,
    Event,
    FreshnessChanged,
    RunEnded,
    ScheduleEvaluated,
)
from crypto_platform.alerts.incidents import update_incidents
from crypto_platform.alerts.messages import Alert, Incident, MessageFormatter
from crypto_platform.core.redaction import Secrets

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
RAW, LOADED = "intra_day/raw_prices", "intra_day/snowflake_prices"
FORMATTER = MessageFormatter(
    "http://ui.example:3000", Secrets.of({"COINGECKO_API_KEY": "CG-the-real-key"})
)


def fold(events: Sequence[Event]) -> tuple[list[Incident], list[Alert]]:
    incidents: list[Incident] = []
    alerts: list[Alert] = []
    for event in events:
        incidents, reported = update_incidents(incidents, event, FORMATTER)
        alerts += reported
    return incidents, alerts


def reported(*events: Event) -> list[tuple[str, str]]:
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


def check(
    identity: str, *, passed: bool, coins: Iterable[str] = (), **details: Any
) -> CheckEvaluated:
    """An evaluation; ``coins`` failed in each of the partitions at fault, by default in all."""
    at_fault = details.pop("at_fault", ())
    if coins:
        within = at_fault or details.get("partitions", {"A"})
        at_fault = {f"{partition}/{coin}" for partition in within for coin in coins}
    return CheckEvaluated(
        **{
            "identity": identity,
            "at": NOON,
            "check": f"{LOADED}:unique_key",
            "passed": passed,
            "is_error": True,
            "partitions": {"A"},
            "at_fault": at_fault,
            "description": "bitcoin is there twice",
            **details,
        }
    )


OPENED, RECOVERED = ("run_failed", "opened"), ("run_failed", "recovered")


keys = st.frozensets(st.sampled_from("ABC"), min_size=1)
some_coins = st.frozensets(st.sampled_from(["ether", "monero"]))
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
            coins=draw(some_coins),
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
                        ScheduleEvaluated(
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
