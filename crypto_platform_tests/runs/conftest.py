"""Command lines' runs of the assets of ``pools``, over an instance of their own."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest

from crypto_platform.local.instance import instance_environment

ROOT = Path(__file__).parents[2]

Start = Callable[[str], "subprocess.Popen[str]"]


def wait_until(happened: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"this took more than {seconds} s"
        time.sleep(0.05)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    # What opening it sets for the process ends with the test.
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1")
    monkeypatch.setenv("MARKS", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name, text in instance_environment(tmp_path / "home").items():
        monkeypatch.setenv(name, text)
    with dg.DagsterInstance.get() as opened:
        yield opened


@pytest.fixture
def start(instance: dg.DagsterInstance) -> Iterator[Start]:  # noqa: ARG001 - its environment
    """Start a command line's run of an asset of ``pools``."""
    with ExitStack() as started:

        def start_run(asset: str) -> "subprocess.Popen[str]":
            module = "crypto_platform_tests.runs.pools"
            words = ["asset", "materialize", "-m", module, "--select", asset]
            process = started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "dagster", *words],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            started.callback(process.kill)
            return process

        yield start_run


def runs(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
    return list(instance.get_runs(dg.RunsFilter(statuses=[status])))
