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

from crypto_platform.transformation.spark_process import SparkProcess, SparkProcessError

pytestmark = pytest.mark.integration

JOBS = {
    "does_nothing": """
        def main(argv, spark):
            pass
    """,
    "says_much": """
        import sys
        def main(argv, spark):
            for number in range(20_000):
                print(f"Line {number} of very many.", file=sys.stderr)
    """,
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
    "says_and_fails": """
        import sys
        def main(argv, spark):
            print("So far, so good.")
            raise ValueError("There is no more.")
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


def test_what_a_job_says_is_said_here_and_not_taken_for_an_answer(
    process: SparkProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert process.run("glue_jobs.says_something", []) == process.engine()
        assert capfd.readouterr() == ("", "{}\n")


def test_a_job_may_say_much(process: SparkProcess, capfd: pytest.CaptureFixture[str]) -> None:
    process.run("glue_jobs.says_much", [])
    assert capfd.readouterr().err.splitlines()[-1] == "Line 19999 of very many."


@pytest.mark.parametrize("stream", [None, "closed"])
def test_a_job_may_say_something_to_a_run_without_a_stream(
    process: SparkProcess, monkeypatch: pytest.MonkeyPatch, stream: str | None, tmp_path: Path
) -> None:
    closed = (tmp_path / "closed").open("w")
    closed.close()
    monkeypatch.setattr(sys, "stderr", stream and closed)
    assert process.run("glue_jobs.says_much", []) == process.engine()


def test_the_log_of_a_failure_has_what_was_said_before_it(process: SparkProcess) -> None:
    with pytest.raises(SparkProcessError, match=r"On Sail .*: There is no more") as failure:
        process.run("glue_jobs.says_and_fails", [])
    said, *_, last = failure.value.log.splitlines()
    assert (said, last) == ("So far, so good.", f"RuntimeError: {failure.value}")


def test_what_is_no_answer_is_an_error_that_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('Welcome!', flush=True)")
    monkeypatch.syspath_prepend(tmp_path)
    process = SparkProcess("sail", str(tmp_path))
    with pytest.raises(SparkProcessError, match="no response: Welcome!"):
        process.engine()
    assert not process.runs


def test_control_c_is_for_the_run_and_not_for_its_process(process: SparkProcess) -> None:
    # A terminal sends it to the whole group of processes in front.
    assert os.getpgid(process.pid) != os.getpgrp()


def test_it_finds_the_packages_of_the_folder_that_a_shell_runs_in(
    process: SparkProcess, tmp_path: Path
) -> None:
    code = """
        from crypto_platform.transformation.spark_process import SparkProcess
        print(SparkProcess("sail", ".").run("glue_jobs.does_nothing", []))
    """
    found = subprocess.check_output([sys.executable, "-c", dedent(code)], cwd=tmp_path, text=True)
    assert found.strip() == process.engine()


def test_an_engine_that_breaks_is_told_with_its_last_words(process: SparkProcess) -> None:
    with pytest.raises(SparkProcessError, match=r"ended .* by signal SIGABRT: .*broke\."):
        process.run("glue_jobs.crashes", [])
    assert not process.runs


def test_an_interrupted_wait_ends_the_job(process: SparkProcess, tmp_path: Path) -> None:
    file = tmp_path / "pid"

    def interrupt() -> None:
        job_process(file)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        process.run("glue_jobs.takes_long", [str(file)])
    wait_until_gone(int(file.read_text()))
    assert not process.runs


@pytest.mark.usefixtures("process")
def test_a_job_ends_with_the_run_that_was_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    code = """
        import sys
        from crypto_platform.transformation.spark_process import SparkProcess
        SparkProcess("sail", sys.argv[1]).run("glue_jobs.takes_long", [sys.argv[1]])
    """
    with subprocess.Popen([sys.executable, "-c", dedent(code), str(file)], cwd=tmp_path) as run:
        pid = job_process(file, run)
        run.kill()
    wait_until_gone(pid)


def test_a_run_that_is_killed_while_the_engine_starts_leaves_no_process(tmp_path: Path) -> None:
    code = """
        import os, signal
        from crypto_platform.transformation.spark_process import SparkProcess
        print(SparkProcess("sail", ".").pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    said = subprocess.run(
        [sys.executable, "-c", dedent(code)], cwd=tmp_path, capture_output=True, check=False
    )
    wait_until_gone(int(said.stdout))


def test_a_process_that_ends_has_ended_its_engine(tmp_path: Path) -> None:
    code = """
        from crypto_platform.transformation.spark_process import SparkProcess
        process = SparkProcess("sail", ".")
        process.engine()
        print(process.pid)
    """
    pid = subprocess.check_output([sys.executable, "-c", dedent(code)], cwd=tmp_path, text=True)
    assert not Path(f"/proc/{pid.strip()}").exists()


def test_a_fork_of_the_process_can_end_and_leaves_the_engine(process: SparkProcess) -> None:
    process.engine()
    fork = os.fork()
    if not fork:
        process.close()
        os._exit(0)
    assert os.waitpid(fork, 0)[1] == 0
    assert process.run("glue_jobs.does_nothing", []) == process.engine()


def test_a_job_that_never_ends_is_ended_and_says_so(
    process: SparkProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.engine()
    monkeypatch.setattr("crypto_platform.transformation.spark_process._ENDS_WITHIN", 2.0)

    with pytest.raises(SparkProcessError, match="gave no response within 2 s, and was ended"):
        process.run("glue_jobs.takes_long", [str(tmp_path / "pid")])

    assert not process.runs


def test_the_engine_is_reached_without_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("NO_PROXY", "no_proxy", "no_grpc_proxy"):
        monkeypatch.setenv(name, "")
    for name in ("HTTP_PROXY", "http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr("crypto_platform.transformation.spark_process._STARTS_WITHIN", 120.0)
    process = SparkProcess("sail", str(tmp_path))
    try:
        assert process.engine().startswith("Sail")
    finally:
        process.close()
