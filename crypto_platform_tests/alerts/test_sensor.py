"""The alerts sensor over a real Dagster instance, with real runs."""

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from sqlalchemy.exc import OperationalError

from crypto_platform.alerts import event_reader
from crypto_platform.alerts.channels import AlertChannel, AlertNotSentError, FileChannel
from crypto_platform.alerts.delivery import watch_instance
from crypto_platform.alerts.event_reader import EventReader
from crypto_platform.alerts.messages import Alert, AlertState, MessageFormatter
from crypto_platform.checks.results import FAULTS, PARTITIONS_AT_FAULT, TIME_BASED
from crypto_platform.core.redaction import Secrets
from crypto_platform.core.settings import Settings
from crypto_platform.definitions import build_definitions
from crypto_platform_tests.test_compose import Host, host, needs_postgres, postgres

pytestmark = pytest.mark.integration

__all__ = ["host", "postgres"]

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DAYS = dg.DailyPartitionsDefinition("2026-01-01", timezone="UTC")
LATER = timedelta(minutes=1)

# What the assets do next; each test sets it.
PLAN: dict[str, Any] = {}


class NoWayError(Exception):
    pass


@dg.asset(key_prefix="historical", partitions_def=DAYS)
def raw_prices(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    if error := PLAN.get("raise"):
        raise NoWayError("The price API could not be asked.") from ConnectionResetError(error)
    if PLAN.get("retry_once") and context.retry_number == 0:
        raise dg.RetryRequested(max_retries=1, seconds_to_wait=0)
    return dg.MaterializeResult()


@dg.asset(
    deps=[raw_prices],
    key_prefix="historical",
    partitions_def=DAYS,
    check_specs=[
        dg.AssetCheckSpec("unique_key", asset=["historical", "loaded"]),
        dg.AssetCheckSpec("complete", asset=["historical", "loaded"], blocking=True),
        dg.AssetCheckSpec("fresh", asset=["historical", "loaded"]),
    ],
)
def loaded() -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster wants it bare here
    return dg.MaterializeResult(
        check_results=[
            dg.AssetCheckResult(
                check_name="unique_key",
                passed=not PLAN.get("twice"),
                severity=PLAN.get("severity", dg.AssetCheckSeverity.ERROR),
                description="bitcoin is there twice",
                metadata={PARTITIONS_AT_FAULT: PLAN.get("twice") or []},
            ),
            dg.AssetCheckResult(check_name="complete", passed=not PLAN.get("incomplete")),
            dg.AssetCheckResult(
                check_name="fresh",
                passed=not PLAN.get("stale"),
                metadata={TIME_BASED: True, FAULTS: PLAN.get("stale") or []},
            ),
        ]
    )


@dg.op
def look() -> None:
    if PLAN.get("op"):
        raise NoWayError("nothing to see")


@dg.job
def watch() -> None:
    look()


@dg.schedule(cron_schedule="10 */6 * * *", job=watch, execution_timezone="UTC")
def watch_schedule() -> dg.SkipReason:
    return dg.SkipReason("for tests")


DEFINITIONS = dg.Definitions(
    assets=[raw_prices, loaded],
    jobs=[watch, dg.define_asset_job("historical", selection="*")],
    schedules=[watch_schedule],
)
REPOSITORY = DEFINITIONS.get_repository_def()


class World:
    """An instance, an channel, and a daemon that ticks when told to."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.channel = FileChannel(
            path=str(folder / "alerts" / "outbox.jsonl"), state_root=str(folder / "alerts")
        )
        self.formatter = MessageFormatter(
            "http://127.0.0.1:3000", Secrets.of({"A_KEY": "the-secret-key"})
        )

    def tick(
        self,
        alerts: AlertChannel | None = None,
        *,
        now: datetime | None = None,
        cursor: str | None = None,
    ) -> AlertState:
        reader = EventReader(self.instance, REPOSITORY, now or datetime.now(UTC) + LATER)
        return watch_instance(reader, alerts or self.channel, self.formatter, cursor)[1]

    def run(self, day: str | None, job: str = "historical", **tags: str) -> str:
        return (
            DEFINITIONS.resolve_job_def(job)
            .execute_in_process(
                instance=self.instance,
                partition_key=day,
                tags={name.replace("__", "/"): text for name, text in tags.items()},
                raise_on_error=False,
                run_config=QUIET,
            )
            .run_id
        )

    @property
    def reported(self) -> list[tuple[str, str]]:
        return [(alert.kind, alert.status) for alert in self.channel.sent()]

    def on(self, started: datetime, status: InstigatorStatus = InstigatorStatus.RUNNING) -> None:
        """Have the schedule on since a time."""
        self.schedule = InstigatorState(
            RemoteInstigatorOrigin(
                repository_origin=RemoteRepositoryOrigin(
                    code_location_origin=InProcessCodeLocationOrigin(
                        LoadableTargetOrigin(module_name="here"), location_name="here"
                    ),
                    repository_name="__repository__",
                ),
                instigator_name="watch_schedule",
            ),
            InstigatorType.SCHEDULE,
            status,
            ScheduleInstigatorData("10 */6 * * *", started.timestamp()),
        )
        self.instance.add_instigator_state(self.schedule)

    def ticked(
        self, due: datetime, *, late: timedelta = timedelta(seconds=5), error: str | None = None
    ) -> None:
        """The schedule ticks for a time that was due."""
        self.instance.create_tick(
            TickData(
                instigator_origin_id=self.schedule.instigator_origin_id,
                instigator_name="watch_schedule",
                instigator_type=InstigatorType.SCHEDULE,
                status=TickStatus.FAILURE if error else TickStatus.SUCCESS,
                timestamp=due.timestamp(),
                end_timestamp=(due + late).timestamp(),
                selector_id=self.schedule.selector_id,
                run_ids=[],
                error=dg._utils.error.SerializableErrorInfo(error, [], None)  # noqa: SLF001
                if error
                else None,
            )
        )


def instance_in(folder: Path, config: str = "") -> dg.DagsterInstance:
    folder.mkdir()
    (folder / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\n{config}")
    return dg.DagsterInstance.from_config(str(folder))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """On an instance as a laptop has it: SQLite, a file a run."""
    PLAN.clear()
    with instance_in(tmp_path / "dagster") as instance:
        yield World(tmp_path, instance)


@pytest.fixture(params=["a file a run", "one log"])
def any_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """On an instance as a laptop has it, and on one whose events share a log, as in Postgres."""
    PLAN.clear()
    one_log = f"""
event_log_storage:
  module: dagster._core.storage.event_log
  class: ConsolidatedSqliteEventLogStorage
  config: {{base_dir: {tmp_path / "log"}}}
"""
    config = one_log if request.param == "one log" else ""
    with instance_in(tmp_path / "dagster", config) as instance:
        yield World(tmp_path, instance)


OPENED, RECOVERED = ("run_failed", "opened"), ("run_failed", "recovered")


def test_a_failed_run_is_reported_once_and_so_is_its_recovery(any_world: World) -> None:
    any_world.tick()
    PLAN["raise"] = "reset by peer"
    run_id = any_world.run("2026-01-02")
    any_world.tick()
    any_world.tick()
    (alert,) = any_world.channel.sent()
    PLAN.clear()
    any_world.run("2026-01-02")
    any_world.tick()
    any_world.tick()

    assert any_world.reported == [OPENED, RECOVERED]
    assert alert.subject == "[ERROR] historical/raw_prices failed: 2026-01-02"
    assert "ConnectionResetError: reset by peer" in alert.body
    assert "NoWayError: The price API could not be asked." in alert.body
    assert f"http://127.0.0.1:3000/runs/{run_id}" in alert.body
    assert alert.stream == "historical"


def test_a_run_that_the_ui_starts_for_chosen_assets_is_seen(world: World) -> None:
    world.tick()
    PLAN["raise"] = "reset by peer"
    DEFINITIONS.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=world.instance, partition_key="2026-01-02", raise_on_error=False, run_config=QUIET
    )
    world.tick()

    (alert,) = world.channel.sent()
    assert "__ASSET_JOB" not in alert.body


def test_a_job_of_ops_is_seen(world: World) -> None:
    world.tick()
    PLAN["op"] = True
    world.run(None, "watch")
    world.tick()
    PLAN.clear()
    world.run(None, "watch")
    world.tick()

    assert world.reported == [OPENED, RECOVERED]


def test_the_history_of_an_instance_is_not_reported(world: World) -> None:
    PLAN["raise"] = "long ago"
    world.run("2026-01-02")
    world.tick()
    world.run("2026-01-03")
    world.tick()

    assert [alert.subject for alert in world.channel.sent()] == [
        "[ERROR] historical/raw_prices failed: 2026-01-03"
    ]


def test_what_failed_while_the_daemon_was_off_is_reported_when_it_is_back(world: World) -> None:
    world.tick()
    PLAN["raise"] = "reset by peer"
    for day in ("2026-01-02", "2026-01-03"):
        world.run(day)
    world.tick(now=datetime.now(UTC) + timedelta(days=3))

    assert world.reported == [OPENED, OPENED]


def test_a_backfill_with_many_failed_runs_is_one_message(world: World) -> None:
    world.tick()
    PLAN["raise"] = "reset by peer"
    days = ["2026-01-01", "2026-01-02", "2026-01-03"]
    for day in days:
        world.run(day, dagster__backfill="the-backfill")
        world.tick()
    PLAN.clear()
    for day in days:
        world.run(day)
    world.tick()

    assert world.reported == [OPENED, RECOVERED]


def give_up_backfill(world: World, *days: str, error: str | None) -> None:
    """Dagster ends a backfill as failed, by its own error or for failed runs."""
    cells = {AssetKeyPartitionKey(raw_prices.key, day) for day in days}
    graph = REPOSITORY.asset_graph
    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id="the-backfill",
        backfill_timestamp=datetime.now(UTC).timestamp(),
        tags={},
        dynamic_partitions_store=world.instance,
        asset_graph_subset=AssetGraphSubset.from_asset_partition_set(cells, graph),
        title=None,
        description=None,
        run_config=None,
    )
    world.instance.add_backfill(backfill)
    backfill = backfill.with_status(BulkActionStatus.FAILED).with_end_timestamp(
        (datetime.now(UTC) + timedelta(seconds=1)).timestamp()
    )
    if error:
        backfill = backfill.with_error(
            dg._utils.error.SerializableErrorInfo(error, [], None)  # noqa: SLF001
        )
    world.instance.update_backfill(backfill)


def test_a_backfill_that_fails_without_a_run_is_reported_until_its_partitions_are_there(
    world: World,
) -> None:
    world.tick(now=datetime.now(UTC))
    give_up_backfill(world, "2026-01-02", "2026-01-03", error="The code could not be loaded.")
    world.tick()
    world.tick()
    (alert,) = world.channel.sent()
    for day in ("2026-01-02", "2026-01-03"):
        world.run(day)
    world.tick()

    assert world.reported == [OPENED, RECOVERED]
    assert alert.subject == "[ERROR] backfill the-backfill failed: 2026-01-02, 2026-01-03"
    assert "The code could not be loaded." in alert.body
    assert "/runs/b/the-backfill" in alert.body


def test_a_backfill_that_ends_as_failed_for_its_runs_is_reported_by_these(world: World) -> None:
    world.tick(now=datetime.now(UTC))
    PLAN["raise"] = "reset by peer"
    world.run("2026-01-02", dagster__backfill="the-backfill")
    world.tick()
    give_up_backfill(world, "2026-01-02", error=None)
    world.tick()

    assert world.reported == [OPENED]


def test_a_failed_range_run_names_its_range(any_world: World) -> None:
    any_world.tick()
    PLAN["raise"] = "reset by peer"
    any_world.run(
        None,
        dagster__asset_partition_range_start="2026-01-02",
        dagster__asset_partition_range_end="2026-01-11",
    )
    state = any_world.tick()

    (alert,) = any_world.channel.sent()
    assert alert.subject.endswith("10 from 2026-01-02 to 2026-01-11")
    assert len(state.incidents[0].affected["historical/raw_prices"]) == 10


def test_a_step_that_succeeds_on_its_second_attempt_is_no_message(world: World) -> None:
    world.tick()
    PLAN["retry_once"] = True
    world.run("2026-01-02")
    world.tick()

    assert world.reported == []


def test_a_run_that_dagster_retries_is_no_message_until_the_last_attempt(world: World) -> None:
    world.tick()
    PLAN["raise"] = "reset by peer"
    first = world.run("2026-01-02", dagster__will_retry="true")
    world.tick()
    assert world.reported == []

    world.instance.add_run_tags(first, {"dagster/auto_retry_run_id": "second"})
    world.run("2026-01-02")
    world.tick()
    assert world.reported == [OPENED]


def test_a_promised_retry_that_cannot_be_launched_is_a_failure_after_all(world: World) -> None:
    world.tick()
    PLAN["raise"] = "reset by peer"
    first = world.run("2026-01-02", dagster__will_retry="true")
    world.tick()
    world.tick()
    world.instance.add_run_tags(first, {"dagster/will_retry": "false"})
    world.tick()
    world.tick()

    assert world.reported == [OPENED]


def test_a_run_of_healing_that_fails_is_no_message(world: World) -> None:
    world.tick()
    PLAN["op"] = True
    world.run(None, "watch", crypto_platform__heal="1")
    world.tick()

    assert world.reported == []


def test_a_canceled_run_is_no_message(world: World) -> None:
    world.tick()
    run = world.instance.create_run_for_job(DEFINITIONS.resolve_job_def("watch"))
    world.instance.report_run_canceled(run)
    world.tick()

    assert world.reported == []


def test_a_run_that_died_without_a_word_is_reported_with_what_dagster_says(world: World) -> None:
    world.tick()
    run = world.instance.create_run_for_job(DEFINITIONS.resolve_job_def("watch"))
    world.instance.report_run_failed(run, "Detected run worker status FAILED.")
    world.tick()

    (alert,) = world.channel.sent()
    assert "Detected run worker status FAILED." in alert.body


def test_a_deleted_run_disturbs_nothing(world: World) -> None:
    world.tick()
    PLAN["raise"] = "reset by peer"
    world.instance.delete_run(world.run("2026-01-02"))
    world.run("2026-01-03")
    world.tick()

    assert world.reported == [OPENED]


def test_a_run_that_cannot_be_read_is_reported_and_silences_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tick()
    PLAN["raise"] = "reset by peer"
    odd = world.run("2026-01-02")
    world.run("2026-01-03")
    read = dg.DagsterInstance.get_asset_keys_for_run

    def read_all_but_one(self: dg.DagsterInstance, run_id: str, **options: Any) -> Any:
        if run_id == odd:
            raise KeyError("an event of another version")
        return read(self, run_id, **options)

    monkeypatch.setattr(dg.DagsterInstance, "get_asset_keys_for_run", read_all_but_one)
    world.tick()

    assert world.reported == [OPENED, OPENED]
    assert "an event of another version" in world.channel.sent()[0].body


def test_a_storage_that_is_away_costs_no_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tick()
    PLAN["raise"] = "reset by peer"
    world.run("2026-01-02")

    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {}, sqlite3.OperationalError("database is locked"))

    with monkeypatch.context() as busy:
        busy.setattr(dg.DagsterInstance, "get_asset_keys_for_run", away)
        with pytest.raises(OperationalError):
            world.tick()
    world.tick()

    assert [alert.subject for alert in world.channel.sent()] == [
        "[ERROR] historical/raw_prices failed: 2026-01-02"
    ]


def test_a_failed_error_check_of_a_successful_run_is_reported_until_it_passes(
    any_world: World,
) -> None:
    any_world.tick()
    PLAN["twice"] = ["2026-01-03"]
    any_world.run(
        None,
        dagster__asset_partition_range_start="2026-01-02",
        dagster__asset_partition_range_end="2026-01-05",
    )
    any_world.tick()
    (alert,) = any_world.channel.sent()
    PLAN.clear()
    any_world.run("2026-01-02")
    any_world.tick()
    assert any_world.reported == [("check_failed", "opened")]
    any_world.run("2026-01-03")
    any_world.tick()

    assert any_world.reported == [("check_failed", "opened"), ("check_failed", "recovered")]
    assert alert.subject == ("[ERROR] check unique_key of historical/loaded failed: 2026-01-03")
    assert "bitcoin is there twice" in alert.body


def test_a_failed_warn_check_is_no_message(world: World) -> None:
    world.tick()
    PLAN.update(twice=["2026-01-02"], severity=dg.AssetCheckSeverity.WARN)
    world.run("2026-01-02")
    world.tick()

    assert world.reported == []


def test_a_failed_blocking_check_fails_the_run_and_is_one_message(world: World) -> None:
    world.tick()
    PLAN["incomplete"] = True
    world.run("2026-01-02")
    world.tick()
    PLAN.clear()
    world.run("2026-01-02")
    world.tick()

    assert world.reported == [OPENED, RECOVERED]
    assert "historical/loaded:complete" in world.channel.sent()[0].body


def test_a_check_by_the_clock_is_over_once_it_passes_in_a_run_of_any_partition(
    world: World,
) -> None:
    world.tick()
    PLAN["stale"] = ["bitcoin"]
    world.run("2026-01-02")
    world.tick()
    PLAN.clear()
    world.run("2026-01-05")
    world.tick()

    assert world.reported == [("check_failed", "opened"), ("check_failed", "recovered")]


def test_a_coin_that_goes_stale_beside_another_is_reported_and_each_is_over_by_itself(
    any_world: World,
) -> None:
    any_world.tick()
    for day, coins in enumerate([["ether"], ["ether", "monero"], ["ether", "monero"], ["ether"]]):
        PLAN["stale"] = coins
        any_world.run(f"2026-01-0{day + 2}")
        any_world.tick()

    assert [alert.subject for alert in any_world.channel.sent()] == [
        "[ERROR] check fresh of historical/loaded failed: ether",
        "[ERROR] check fresh of historical/loaded failed: monero",
        "[OK] recovered: check fresh of historical/loaded failed: monero",
    ]


def test_a_check_may_name_its_faults_finer_than_by_coins(world: World) -> None:
    world.tick()
    for faults in (["ether/2026-01-02"], ["ether/2026-01-02", "ether/2026-01-03"]):
        world.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=loaded.key,
                check_name="by_hand",
                passed=False,
                metadata={FAULTS: dg.MetadataValue.json(faults)},
            )
        )
        world.tick()

    assert [alert.subject for alert in world.channel.sent()] == [
        "[ERROR] check by_hand of historical/loaded failed: ether/2026-01-02",
        "[ERROR] check by_hand of historical/loaded failed: ether/2026-01-03",
    ]


def test_a_check_that_is_evaluated_outside_of_a_run_is_seen(any_world: World) -> None:
    any_world.tick()
    for passed in (False, False, True):
        any_world.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=loaded.key, check_name="by_hand", passed=passed, metadata={}
            )
        )
        any_world.tick()

    assert any_world.reported == [("check_failed", "opened"), ("check_failed", "recovered")]


def test_freshness_that_fails_and_passes_is_reported(any_world: World) -> None:
    any_world.tick()
    for state in ("UNKNOWN", "PASS", "FAIL", "WARN", "PASS"):
        any_world.instance._report_runless_asset_event(  # noqa: SLF001 - as Dagster's daemon does
            FreshnessStateChange(
                key=loaded.key,
                new_state=FreshnessState(state),
                previous_state=FreshnessState.UNKNOWN,
                state_change_timestamp=0.0,
            )
        )
    any_world.tick()

    assert any_world.reported == [("freshness_failed", "opened"), ("freshness_failed", "recovered")]


MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
TEN_PAST = timedelta(minutes=10)


def test_a_schedule_that_ticks_is_no_message(world: World) -> None:
    world.on(MIDNIGHT)
    world.tick(now=MIDNIGHT)
    for hour in (0, 6, 12):
        due = MIDNIGHT + timedelta(hours=hour) + TEN_PAST
        world.tick(now=due + timedelta(minutes=9))
        world.ticked(due)
        world.tick(now=due + timedelta(minutes=30))

    assert world.reported == []


def test_a_schedule_that_is_silent_is_reported_once_until_it_ticks(world: World) -> None:
    world.on(MIDNIGHT)
    world.tick(now=MIDNIGHT)
    for hour in (1, 2, 8, 14):
        world.tick(now=MIDNIGHT + timedelta(hours=hour))
    world.ticked(MIDNIGHT + timedelta(hours=18) + TEN_PAST)
    world.tick(now=MIDNIGHT + timedelta(hours=18, minutes=11))
    world.tick(now=MIDNIGHT + timedelta(hours=19))

    assert world.reported == [("schedule_missed", "opened"), ("schedule_missed", "recovered")]
    assert "2026-11-24 00:10" in world.channel.sent()[0].subject


def test_a_daemon_that_was_off_for_days_is_reported_once_and_so_is_its_return(
    any_world: World,
) -> None:
    any_world.on(MIDNIGHT)
    any_world.tick(now=MIDNIGHT)
    back = MIDNIGHT + timedelta(days=3, minutes=5)
    any_world.tick(now=back)
    # The scheduler catches up with the newest five only.
    for number in range(1, 6):
        due = MIDNIGHT + timedelta(days=3) - number * timedelta(hours=6) + TEN_PAST
        any_world.ticked(due, late=back - due)
    any_world.tick(now=back + timedelta(seconds=30))
    any_world.tick(now=back + timedelta(seconds=60))

    assert any_world.reported == [("schedule_missed", "opened"), ("schedule_missed", "recovered")]
    assert "12 from 2026-11-24 00:10 to 2026-11-26 18:10" in any_world.channel.sent()[0].body


def test_ticks_that_came_hours_late_are_reported_though_they_came(world: World) -> None:
    world.on(MIDNIGHT)
    world.tick(now=MIDNIGHT)
    world.ticked(MIDNIGHT + TEN_PAST, late=timedelta(hours=2))
    world.tick(now=MIDNIGHT + timedelta(hours=3))

    assert world.reported == [("schedule_missed", "opened"), ("schedule_missed", "recovered")]


def test_a_schedule_whose_evaluation_fails_is_reported_with_the_error(world: World) -> None:
    world.on(MIDNIGHT)
    world.tick(now=MIDNIGHT)
    world.ticked(MIDNIGHT + TEN_PAST, error="KeyError: 'window'")
    world.tick(now=MIDNIGHT + timedelta(hours=1))

    (alert,) = world.channel.sent()
    assert "KeyError: 'window'" in alert.body


def test_a_schedule_that_is_off_or_was_just_switched_on_is_no_message(world: World) -> None:
    world.on(MIDNIGHT, InstigatorStatus.STOPPED)
    world.tick(now=MIDNIGHT)
    world.tick(now=MIDNIGHT + timedelta(days=1))
    started = MIDNIGHT + timedelta(days=2, hours=1)
    world.instance.update_instigator_state(
        world.schedule.with_status(InstigatorStatus.RUNNING).with_data(
            ScheduleInstigatorData("10 */6 * * *", started.timestamp())
        )
    )
    world.tick(now=started)

    assert world.reported == []


def test_an_incident_of_a_schedule_that_is_switched_off_is_over(world: World) -> None:
    world.on(MIDNIGHT)
    world.tick(now=MIDNIGHT)
    world.tick(now=MIDNIGHT + timedelta(hours=1))
    world.instance.update_instigator_state(world.schedule.with_status(InstigatorStatus.STOPPED))
    world.tick(now=MIDNIGHT + timedelta(hours=2))
    world.tick(now=MIDNIGHT + timedelta(hours=3))

    assert world.reported == [("schedule_missed", "opened"), ("schedule_missed", "recovered")]


def test_more_than_a_tick_can_take_is_reported_over_several(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_reader, "RUNS_A_TICK", 3)
    world.tick()
    for number in range(8):
        run = world.instance.create_run_for_job(
            DEFINITIONS.resolve_job_def("watch"), tags={"dagster/partition": str(number)}
        )
        world.instance.report_run_failed(run)
    world.run(None, "watch")
    for _ in range(4):
        world.tick()

    assert world.reported == [OPENED] * 8
    ids = [alert.alert_id for alert in world.channel.sent()]
    assert len(set(ids)) == len(ids)


def test_an_event_is_left_alone_until_what_was_written_beside_it_can_be_read(
    world: World,
) -> None:
    world.tick()
    PLAN["op"] = True
    world.run(None, "watch")
    world.tick(now=datetime.now(UTC))
    assert world.reported == []
    world.tick()
    assert world.reported == [OPENED]


class Refusing(FileChannel):
    """A topic that does not take messages now."""

    def send(self, alert: Alert) -> None:
        raise AlertNotSentError(f"not now: {alert.subject}")


def test_a_message_that_cannot_be_sent_is_kept_and_sent_by_a_later_tick(world: World) -> None:
    world.tick()
    refusing = Refusing(path=world.channel.path, state_root=world.channel.state_root)
    PLAN["op"] = True
    world.run(None, "watch")
    # Each time, its pause is over.
    now, *later = (datetime.now(UTC) + LATER + timedelta(minutes=10 * n) for n in range(5))
    for moment in (now, *later[:2]):
        with pytest.raises(AlertNotSentError, match="not now"):
            world.tick(refusing, now=moment)
    PLAN.clear()
    world.run(None, "watch")
    with pytest.raises(AlertNotSentError):
        world.tick(refusing, now=later[2])
    world.tick(now=later[3])
    world.tick(now=later[3])

    assert world.reported == [OPENED, RECOVERED]


def test_what_was_seen_once_is_reported_though_it_cannot_be_seen_any_more(world: World) -> None:
    refusing = Refusing(path=world.channel.path, state_root=world.channel.state_root)
    world.on(MIDNIGHT)
    world.tick(now=MIDNIGHT)
    with pytest.raises(AlertNotSentError):
        world.tick(refusing, now=MIDNIGHT + timedelta(hours=1))
    world.instance.update_instigator_state(world.schedule.with_status(InstigatorStatus.STOPPED))
    world.tick(now=MIDNIGHT + timedelta(hours=2))

    assert world.reported == [("schedule_missed", "opened"), ("schedule_missed", "recovered")]


class Deadly(FileChannel):
    """Ends its process at a chosen step of a tick."""

    dies_at: str

    def send(self, alert: Alert) -> None:
        self._die("before sending")
        super().send(alert)
        self._die("after sending")

    def write_state(self, instance_id: str, state: AlertState) -> None:
        self._die("before remembering")
        super().write_state(instance_id, state)
        self._die("after remembering")

    def _die(self, step: str) -> None:
        if step == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


def tick_in_a_process(folder: str, dies_at: str) -> None:
    channel = Deadly(
        path=f"{folder}/alerts/outbox.jsonl", state_root=f"{folder}/alerts", dies_at=dies_at
    )
    with dg.DagsterInstance.from_config(f"{folder}/dagster") as instance:
        reader = EventReader(instance, REPOSITORY, datetime.now(UTC) + LATER)
        watch_instance(reader, channel, MessageFormatter("http://ui", Secrets.of({})))


@pytest.mark.parametrize(
    "dies_at", ["before remembering", "after remembering", "before sending", "after sending"]
)
def test_a_daemon_killed_during_a_tick_loses_and_repeats_nothing(
    world: World, tmp_path: Path, dies_at: str
) -> None:
    world.tick()
    PLAN["raise"] = "reset by peer"
    for day in ("2026-01-02", "2026-01-03"):
        world.run(day)
    for _ in range(2):
        daemon = multiprocessing.get_context("fork").Process(
            target=tick_in_a_process, args=(str(tmp_path), dies_at)
        )
        daemon.start()
        daemon.join(60)
        assert daemon.exitcode == -signal.SIGKILL
    world.tick()
    world.tick()

    assert [alert.subject for alert in world.channel.sent()] == [
        "[ERROR] historical/raw_prices failed: 2026-01-02",
        "[ERROR] historical/raw_prices failed: 2026-01-03",
    ]


def test_where_the_document_was_lost_dagsters_cursor_says_where_to_go_on(world: World) -> None:
    state = world.tick()
    PLAN["op"] = True
    world.run(None, "watch")
    for document in Path(world.channel.state_root, "incidents").iterdir():
        document.unlink()
    world.tick(cursor=f'{{"run_events": {state.run_events}, "other_events": {state.other_events}}}')

    assert world.reported == [OPENED]


def test_an_instance_made_anew_begins_at_its_own_beginning(world: World, tmp_path: Path) -> None:
    for _ in range(3):
        world.run(None, "watch")
    world.tick()
    with instance_in(tmp_path / "anew") as instance:
        anew = World(tmp_path, instance)
        anew.tick()
        PLAN["op"] = True
        anew.run(None, "watch")
        anew.tick()

    assert world.reported == [OPENED]


def test_no_secret_of_an_exception_reaches_the_channel(world: World, tmp_path: Path) -> None:
    world.tick()
    PLAN["raise"] = "GET https://me:hunter2@api/x?api_key=abc123 with the-secret-key"
    world.run("2026-01-02")
    world.tick()

    written = b"".join(
        file.read_bytes() for file in (tmp_path / "alerts").rglob("*") if file.is_file()
    )
    for secret in (b"hunter2", b"abc123", b"the-secret-key"):
        assert secret not in written


def platform(folder: Path, variables: Mapping[str, str] | None = None) -> dg.Definitions:
    return build_definitions(
        Settings.from_environment({"CRYPTO_HOME": str(folder), **(variables or {})})
    )


def test_the_sensor_runs_by_default_and_says_what_it_did(world: World, tmp_path: Path) -> None:
    definitions = platform(tmp_path)
    sensor = definitions.resolve_sensor_def("alerts")
    with dg.build_sensor_context(
        instance=world.instance,
        repository_def=definitions.get_repository_def(),
        resources={"alerts": world.channel},
    ) as context:
        reason = sensor(context)

    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert isinstance(reason, dg.SkipReason)
    assert "0 alert(s) sent to the file" in str(reason.skip_message)
    assert context.cursor is not None
    assert "run_events" in context.cursor


@needs_postgres
def test_all_kinds_of_alert_come_from_an_instance_on_postgres(
    host: Host, postgres: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert postgres
    PLAN.clear()
    for name, text in host.environment("code_location").items():
        if name.startswith("DAGSTER_POSTGRES_"):
            monkeypatch.setenv(name, text)
    with dg.DagsterInstance.from_config(str(host.folder / "dagster")) as instance:
        world = World(tmp_path, instance)
        world.on(MIDNIGHT)
        world.tick(now=MIDNIGHT)
        PLAN["raise"] = "reset by peer"
        world.run("2026-01-02")
        PLAN.clear()
        PLAN["twice"] = ["2026-01-02"]
        world.run("2026-01-02")
        PLAN.clear()
        world.run("2026-01-02")
        instance._report_runless_asset_event(  # noqa: SLF001 - as Dagster's daemon does
            FreshnessStateChange(
                key=loaded.key,
                new_state=FreshnessState.FAIL,
                previous_state=FreshnessState.PASS,
                state_change_timestamp=0.0,
            )
        )
        for _ in range(2):
            world.tick()

        assert world.reported == [
            ("run_failed", "opened"),
            ("run_failed", "recovered"),
            ("check_failed", "opened"),
            ("check_failed", "recovered"),
            ("freshness_failed", "opened"),
            ("schedule_missed", "opened"),
        ]
