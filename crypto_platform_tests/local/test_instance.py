"""The settings that every local instance has."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.run_coordinator import QueuedRunCoordinator

from crypto_platform.local.instance import instance_environment


@pytest.mark.integration
def test_a_launched_run_waits_for_a_second_at_most_unless_four_are_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What opening it sets for the process ends with the test.
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "500")
    for name, text in instance_environment(tmp_path).items():
        monkeypatch.setenv(name, text)

    with dg.DagsterInstance.get() as instance:
        coordinator = instance.run_coordinator
        runs = instance.get_concurrency_config().run_queue_config

    assert isinstance(coordinator, QueuedRunCoordinator)
    assert coordinator.dequeue_interval_seconds == 1
    assert runs is not None
    assert runs.max_concurrent_runs == 4
