"""The settings that every local instance has."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.run_coordinator import QueuedRunCoordinator

from crypto_platform.local.instance import instance_environment

ROOT = Path(__file__).parents[2]


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


@pytest.mark.integration
@pytest.mark.parametrize(
    "command",
    [
        ["crypto-platform", "budget"],
        ["dagster", "asset", "materialize", "-m", "here", "--select", "an_asset"],
    ],
)
def test_an_instance_that_version_0_2_made_opens_with_what_it_holds(
    command: list[str], tmp_path: Path
) -> None:
    folder = Path(instance_environment(tmp_path)["DAGSTER_HOME"])
    written = (folder / "dagster.yaml").read_text()
    older = written.replace("crypto_platform.local.batching_sqlite", "crypto_platform.run_records")
    assert older != written
    (folder / "dagster.yaml").write_text(older)
    (tmp_path / "here.py").write_text(
        "import dagster as dg\n@dg.asset\ndef an_asset(): pass\n"
        "defs = dg.Definitions(assets=[an_asset])\n"
    )

    ran = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        cwd=tmp_path,
        env={
            **os.environ,
            "CRYPTO_HOME": str(tmp_path),
            "DAGSTER_HOME": str(folder),
            "PYTHONPATH": f"{ROOT}:{tmp_path}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert ran.returncode == 0, ran.stderr
