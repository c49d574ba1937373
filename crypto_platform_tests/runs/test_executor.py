"""Runs that share a pool, one of which is killed, with real processes and signals."""

import os
import signal
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from crypto_platform_tests.runs.conftest import Start, runs, wait_until

pytestmark = pytest.mark.integration


def waits(instance: dg.DagsterInstance) -> bool:
    return bool(instance.event_log_storage.get_concurrency_info("shared").pending_run_ids)


def test_a_run_takes_a_pool_from_one_that_was_killed_and_records_its_end(
    instance: dg.DagsterInstance, start: Start, tmp_path: Path
) -> None:
    killed = start("endless")
    wait_until((tmp_path / "endless").exists)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (dead,) = runs(instance, dg.DagsterRunStatus.STARTED)

    _, said = start("quick").communicate(timeout=90)

    assert (tmp_path / "quick").exists()
    assert f"Took the pool shared from run {dead.run_id}, whose process is gone" in said
    (failed,) = runs(instance, dg.DagsterRunStatus.FAILURE)
    assert failed.run_id == dead.run_id
    (event,) = instance.all_logs(dead.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert "The process of this run is gone" in event.message
    assert "launch it again" in event.message


def test_a_run_waits_for_one_that_lives_and_goes_on_when_that_is_killed(
    instance: dg.DagsterInstance, start: Start, tmp_path: Path
) -> None:
    holder = start("endless")
    wait_until((tmp_path / "endless").exists)
    waiting = start("quick")
    wait_until(lambda: waits(instance))
    assert not (tmp_path / "quick").exists()
    assert len(runs(instance, dg.DagsterRunStatus.STARTED)) == 2

    holder.send_signal(signal.SIGKILL)

    waiting.communicate(timeout=90)
    assert waiting.returncode == 0
    assert (tmp_path / "quick").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_waiting_for_a_pool_costs_no_core_and_ends_on_a_signal(
    number: signal.Signals, instance: dg.DagsterInstance, start: Start, tmp_path: Path
) -> None:
    start("endless")
    wait_until((tmp_path / "endless").exists)
    waiting = start("quick")
    wait_until(lambda: waits(instance))

    def used() -> float:
        text = Path(f"/proc/{waiting.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")

    if sys.platform == "linux":
        before, begun = used(), time.monotonic()
        wait_until(lambda: time.monotonic() - begun > 3)
        assert used() - before < 1
    waiting.send_signal(number)

    waiting.communicate(timeout=120)
    assert waiting.returncode != 0
    assert not waits(instance)
    assert len(runs(instance, dg.DagsterRunStatus.FAILURE)) == 1


@pytest.mark.parametrize("asset", ["endless", "persistent"])
def test_an_interrupted_step_ends_its_run_and_leaves_its_pool_free(
    asset: str, instance: dg.DagsterInstance, start: Start, tmp_path: Path
) -> None:
    interrupted = start(asset)
    wait_until((tmp_path / asset).exists)

    interrupted.send_signal(signal.SIGINT)

    interrupted.communicate(timeout=120)
    assert instance.event_log_storage.get_concurrency_info("shared").claimed_slots == []


def test_what_a_killed_run_left_to_show_that_it_lived_is_swept(
    instance: dg.DagsterInstance, start: Start, tmp_path: Path
) -> None:
    for asset in ("endless", "quick", "quick"):
        process = start(asset)
        wait_until((tmp_path / asset).exists)
        (tmp_path / asset).unlink()
        if asset == "endless":
            process.kill()
        process.communicate(timeout=90)

    assert len(list(Path(instance.storage_directory(), "running").iterdir())) == 1
