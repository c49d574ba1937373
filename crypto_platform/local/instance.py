"""The local Dagster instance: where it keeps its runs, and how its UI and daemon are started."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import click

_ROOT = Path(__file__).parents[2]

# How much of the log is shown where something went wrong.
_SHOWN_LINES = 20

_LOAD_ERRORS = """{workspaceOrError {... on Workspace {locationEntries {
    locationOrLoadError {... on PythonError {message}  ... on RepositoryLocation {name}}}}}}"""

# What an instance in a folder adds to the settings that all instances share. The folder is written
# out: whoever opens the instance by its folder need not have DAGSTER_HOME.
_STORAGE = """
storage:
  custom:
    module: crypto_platform.local.batching_sqlite
    class: BatchingStorage
    config:
      base_dir: %s
"""

# Where the lake is a bucket, what the steps of runs print goes there too: it outlives this machine.
_LOGS_IN_BUCKET = """
compute_logs:
  module: dagster_aws.s3.compute_log_manager
  class: S3ComputeLogManager
  config:
    bucket: %s
    prefix: compute_logs
    local_dir: %s
    upload_interval: 30
    skip_empty_files: true
"""


def home_folder(environment: Mapping[str, str]) -> Path:
    """Folder of all that the platform keeps on this machine, as ``Settings.home`` has it."""
    return Path(environment.get("CRYPTO_HOME") or ".crypto").expanduser()


def instance_environment(home: Path, log_bucket: str | None = None) -> dict[str, str]:
    """Make the instance's folder below ``home``; returns the variables that point to it.

    Args:
        home: Folder of all that the platform keeps on this machine.
        log_bucket: Bucket for what the steps of runs print; ``None`` keeps it in the folder.
    """
    folder = home.absolute() / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    settings = (_ROOT / "dagster.yaml").read_text(encoding="utf-8")
    settings += _STORAGE % json.dumps(str(folder))
    if log_bucket:
        settings += _LOGS_IN_BUCKET % (json.dumps(log_bucket), json.dumps(f"{folder}/storage"))
    # In one step, since others may be opening the instance.
    written = folder / f"dagster.yaml.{os.getpid()}"
    written.write_text(settings, encoding="utf-8")
    written.replace(folder / "dagster.yaml")
    return {"CRYPTO_HOME": str(home.absolute()), "DAGSTER_HOME": str(folder)}


def refuse_taken_port(port: int) -> None:
    """Refuse to start beside whatever has the port: the daemon would run on without a UI.

    Args:
        port: Port of the UI.

    Raises:
        ClickException: It is taken.
    """
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise click.ClickException(
                f"Port {port} of 127.0.0.1 cannot be had ({error.strerror}), perhaps because this "
                "runs already. End what has it, or choose another port with --port. Nothing was "
                "started."
            ) from error


def run_dagster(
    environment: Mapping[str, str], port: int, *, look: str = "", verbose: bool = False
) -> int:
    """Run the Dagster UI and daemon on loopback until interrupted; say where they are.

    Args:
        environment: What ``instance_environment`` gave, and whatever else is to be set.
        port: Port of the UI.
        look: What there is to see in the UI, in lines.
        verbose: Whether Dagster's log goes to the terminal, and not to a file.

    Returns:
        The exit code: 0 where it was stopped, else that of ``dagster dev``.

    Raises:
        ClickException: The port is taken.
    """
    refuse_taken_port(port)
    url = f"http://127.0.0.1:{port}"
    workspace = str(_ROOT / "workspace.yaml")
    command = [sys.executable, "-m", "dagster", "dev", "-w", workspace, "-h", "127.0.0.1"]
    log = None if verbose else _new_log(Path(environment["CRYPTO_HOME"]))
    click.echo("Starting the Dagster UI and daemon; that takes some ten seconds.")
    stopping = _Stopping()
    with (
        nullcontext() if log is None else log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            [*command, "-p", str(port)],
            env={"DAGSTER_UI_URL": url, **os.environ, **environment},
            # Dagster lets a .env in its working folder override all that is set here.
            cwd=environment["DAGSTER_HOME"],
            stdout=output,
            stderr=output,
            # Control-C is for this process, which passes it on once.
            process_group=0,
        ) as dagster,
    ):
        stopping.end_with(dagster)
        stopped = stopping.asked
        problem = _until_served(dagster, url, stopped)
        if not stopped.is_set() and dagster.poll() is None:
            click.echo(_what_there_is(url, look, log))
            if problem:
                click.echo(_with_end_of(log, problem), err=True)
        code = dagster.wait()
    if stopped.is_set():
        click.echo("Stopped.")
        return 0
    click.echo(_with_end_of(log, f"Dagster ended by itself, with code {code}."), err=True)
    return code or 1


def _new_log(home: Path) -> Path:
    """Where the log goes; that of the time before is kept beside it."""
    log = home / "dagster.log"
    if log.exists():
        log.replace(home / "dagster.previous.log")
    return log


class _Stopping:
    """Ends Dagster on a signal, and at once on a second one.

    From the first moment on, as whatever it starts ignores the signals that it ignores itself: a
    script's & has it ignore interrupts, and Dagster then ignores termination too.

    Attributes:
        asked: Set once it was asked to stop.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._dagster: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def end_with(self, dagster: "subprocess.Popen[bytes]") -> None:
        """Name the process to end, the first of its group."""
        self._dagster = dagster
        if self.asked.is_set():
            dagster.terminate()

    def _stop(self, *_: object) -> None:
        again = self.asked.is_set()
        self.asked.set()
        if self._dagster is not None and again:
            os.killpg(self._dagster.pid, signal.SIGKILL)
        elif self._dagster is not None:
            self._dagster.terminate()


def _until_served(
    dagster: "subprocess.Popen[bytes]", url: str, stopped: threading.Event
) -> str | None:
    """Wait until the UI answers, or there will be none; says what is wrong with the platform."""
    # Never by the environment's proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    asked = urllib.request.Request(  # noqa: S310 - our own address
        f"{url}/graphql",
        json.dumps({"query": _LOAD_ERRORS}).encode(),
        {"Content-Type": "application/json"},
    )
    while dagster.poll() is None and not stopped.wait(0.2):
        try:
            with opener.open(asked, timeout=60) as response:
                workspace = json.load(response)["data"]["workspaceOrError"]
        except (OSError, ValueError):
            continue
        entries = [entry["locationOrLoadError"] for entry in workspace["locationEntries"]]
        # One that is still being loaded has none.
        if all(entries):
            return next((entry["message"] for entry in entries if "message" in entry), None)
    return None


def _what_there_is(url: str, look: str, log: Path | None) -> str:
    lines = [f"The Dagster UI is at {url}", look, f"Its log: {log}" if log else ""]
    return "\n".join([line for line in lines if line] + ["Control-C stops it."])


def _with_end_of(log: Path | None, problem: str) -> str:
    """A problem, with the last lines of the log."""
    if log is None:
        return problem
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:]
    return "\n".join([problem, f"The end of {log}:", *(f"  {line}" for line in lines)])
