"""The settings that every local instance has."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import dagster as dg
import pytest
from dagster._core.run_coordinator import QueuedRunCoordinator

from crypto_platform.local.instance import home_folder, instance_environment, run_dagster

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


@pytest.mark.integration
def test_two_first_runs_at_once_make_the_instance_together(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **instance_environment(tmp_path)}
    opening = "import dagster; dagster.DagsterInstance.get().get_runs_count()"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", opening], env=environment, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]

    said = [process.communicate(timeout=120)[1] for process in both]

    assert [process.returncode for process in both] == [0] * len(both), said


def test_a_port_that_is_taken_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(click.ClickException, match=rf"Port {port} .* choose another .*--port"):
            run_dagster(instance_environment(tmp_path), port)


@pytest.fixture
def signals() -> Iterator[None]:
    """Have the handlers of signals afterwards that there were before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_what_ends_while_it_starts_is_told_with_the_end_of_its_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    signals: None,  # noqa: ARG001 - puts them back
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no module named anything\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))

    code = run_dagster(instance_environment(tmp_path), free_port())

    shown = capsys.readouterr()
    assert code == 3
    assert "The Dagster UI is at" not in shown.out
    assert shown.err.splitlines() == [
        "Dagster ended by itself, with code 3.",
        f"The end of {tmp_path / 'dagster.log'}:",
        "  no module named anything",
    ]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_home_is_the_folder_that_the_shell_would_make_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert home_folder({"CRYPTO_HOME": "~/crypto"}) == tmp_path / "crypto"
