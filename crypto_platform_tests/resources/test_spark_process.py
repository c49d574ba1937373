import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from crypto_platform.resources.spark_process import SparkProcess, SparkProcessError

pytestmark = pytest.mark.integration

JOBS = {
    "says_something": """
        def main(argv, spark):
            print("{}")
    """,
    "crashes": """
        import os, sys
        def main(argv, spark):
            print("Something broke.", file=sys.stderr, flush=True)
            os.abort()
    """,
    "takes_long": """
        import os, pathlib, time
        def main(argv, spark):
            pathlib.Path(argv[0]).write_text(str(os.getpid()))
            time.sleep(120)
    """,
}


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SparkProcess]:
    """A process with Sail, and with the jobs above in place of the real ones."""
    package = tmp_path / "glue_jobs"
    package.mkdir()
    for name, code in {"__init__": "", **JOBS}.items():
        (package / f"{name}.py").write_text(dedent(code))
    monkeypatch.syspath_prepend(tmp_path)
    process = SparkProcess("sail", str(tmp_path))
    yield process
    process.close()


def job_process(file: Path, of: subprocess.Popen[bytes] | None = None) -> int:
    """The process that ``takes_long`` runs in, once it does."""
    give_up_at = time.monotonic() + 60
    while not file.exists() or not file.read_text():
        assert time.monotonic() < give_up_at
        assert of is None or of.poll() is None
        time.sleep(0.05)
    return int(file.read_text())


def wait_until_gone(pid: int) -> None:
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail(f"The process {pid} is still there.")


def test_what_a_job_prints_is_not_taken_for_an_answer(process: SparkProcess) -> None:
    for _ in range(2):
        assert process.run("says_something", []) == process.engine()


def test_an_engine_that_breaks_is_told_with_its_last_words(process: SparkProcess) -> None:
    with pytest.raises(SparkProcessError, match=r"ended .* by signal SIGABRT: .*broke\."):
        process.run("crashes", [])
    assert not process.runs


def test_an_interrupted_wait_ends_the_job(process: SparkProcess, tmp_path: Path) -> None:
    file = tmp_path / "pid"

    def interrupt() -> None:
        job_process(file)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        process.run("takes_long", [str(file)])
    wait_until_gone(int(file.read_text()))


@pytest.mark.usefixtures("process")
def test_a_job_ends_with_the_run_that_was_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = """
        import sys
        from crypto_platform.resources.spark_process import SparkProcess
        SparkProcess("sail", sys.argv[1]).run("takes_long", [sys.argv[1]])
    """
    with subprocess.Popen(
        [sys.executable, "-c", dedent(code), str(file)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    ) as run:
        pid = job_process(file, run)
        run.kill()
    wait_until_gone(pid)
