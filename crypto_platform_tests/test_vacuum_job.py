"""The vacuum as Dagster runs it."""

import os
import time
from pathlib import Path

import dagster as dg
import pytest

from crypto_platform.alerts.run_reader import RunReader
from crypto_platform.core.settings import Settings
from crypto_platform.definitions import build_definitions
from crypto_platform.lake.layers import MANIFEST_NAME, Layer
from crypto_platform_tests.lake.commits import FOLDER


@pytest.fixture
def definitions(tmp_path: Path) -> dg.Definitions:
    return build_definitions(Settings.from_environment({"CRYPTO_HOME": str(tmp_path)}))


@pytest.fixture
def raw(tmp_path: Path) -> Layer:
    return Layer(str(tmp_path / "raw"), "raw", "raw_prices")


def run(
    definitions: dg.Definitions, instance: dg.DagsterInstance | None = None
) -> dg.ExecuteInProcessResult:
    return definitions.resolve_job_def("vacuum").execute_in_process(
        raise_on_error=False,
        instance=instance,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def test_the_vacuum_runs_weekly_by_default(definitions: dg.Definitions) -> None:
    schedule = definitions.resolve_schedule_def("vacuum_schedule")

    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert (schedule.job_name, schedule.cron_schedule) == ("vacuum", "25 3 * * 0")


def test_a_run_says_what_it_removed(definitions: dg.Definitions, raw: Layer) -> None:
    left = f"{FOLDER}/prices-killed-00000.json.gz"
    raw.put(left, b"left")
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(raw.uri(left), (long_ago, long_ago))

    ran = run(definitions)

    assert ran.success
    assert raw.read(left) is None
    (output,) = [
        event for event in ran.all_events if event.event_type == dg.DagsterEventType.STEP_OUTPUT
    ]
    metadata = output.step_output_data.metadata
    assert (metadata["files"].value, metadata["bytes"].value) == (1, 4)
    assert raw.uri(FOLDER) in str(metadata["removed"].value)


def test_a_run_that_left_a_month_alone_fails_and_names_it(
    definitions: dg.Definitions, raw: Layer
) -> None:
    raw.put(f"{FOLDER}/{MANIFEST_NAME}", b"damaged")

    ran = run(definitions)

    assert not ran.success
    (failed,) = [event for event in ran.all_events if event.is_step_failure]
    assert "Files of month=2026-11" in str(failed.step_failure_data.error_display_string)


def test_a_run_that_failed_is_for_alerts_as_any_other(
    definitions: dg.Definitions, raw: Layer
) -> None:
    raw.put(f"{FOLDER}/{MANIFEST_NAME}", b"damaged")

    with dg.DagsterInstance.ephemeral() as instance:
        ran = run(definitions, instance)
        (entry,) = instance.all_logs(ran.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        ended = RunReader(instance, definitions.get_repository_def()).ended(ran.run_id, entry)

    assert ended is not None
    assert (ended.job, ended.succeeded, ended.failed) == ("vacuum", False, ("op vacuum_lake",))
    assert "Files of month=2026-11" in ended.cause
