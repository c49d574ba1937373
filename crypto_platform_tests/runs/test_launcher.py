import logging
import signal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from crypto_platform_tests.runs.conftest import Start, runs, wait_until

pytestmark = pytest.mark.integration


def test_monitoring_ends_a_run_whose_process_and_code_server_are_gone_and_frees_its_pool(
    instance: dg.DagsterInstance, start: Start, tmp_path: Path
) -> None:
    process = start("endless")
    wait_until((tmp_path / "endless").exists)
    (run,) = runs(instance, dg.DagsterRunStatus.STARTED)
    launcher: Any = instance.run_launcher
    assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))

    process.send_signal(signal.SIGKILL)
    process.wait()
    workspace: Any = None
    monitor_started_run(instance, workspace, record, logging.getLogger())

    assert [failed.run_id for failed in runs(instance, dg.DagsterRunStatus.FAILURE)] == [run.run_id]
    assert instance.event_log_storage.get_concurrency_info("shared").claimed_slots == []


def test_a_killed_run_is_noticed_and_its_pool_free_within_a_minute(
    instance: dg.DagsterInstance,
) -> None:
    settings = instance.run_monitoring_settings

    # Monitoring looks whether a run's time to keep its slots is over at the same intervals.
    poll = instance.run_monitoring_poll_interval_seconds
    assert poll + settings["free_slots_after_run_end_seconds"] < 60
    assert instance.run_launcher.supports_check_run_worker_health
