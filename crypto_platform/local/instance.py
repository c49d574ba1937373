"""The local Dagster instance: where it keeps its runs, and how its UI and daemon are started."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click

_ROOT = Path(__file__).parents[2]

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


def run_dagster(environment: Mapping[str, str], port: int, *, verbose: bool = False) -> int:
    """Run the Dagster UI and daemon on loopback until interrupted.

    Args:
        environment: What ``instance_environment`` gave, and whatever else is to be set.
        port: Port of the UI.

    Returns:
        The exit code of ``dagster dev``.

    Raises:
        ClickException: The port is taken.
    """
    refuse_taken_port(port)
    workspace = str(_ROOT / "workspace.yaml")
    command = [sys.executable, "-m", "dagster", "dev", "-w", workspace, "-h", "127.0.0.1"]
    # A script's & has what it starts ignore interrupts, and Dagster then ignores termination too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
        [*command, "-p", str(port)],
        env={"DAGSTER_UI_URL": f"http://127.0.0.1:{port}", **os.environ, **environment},
        # Dagster lets a .env in its working folder override all that is set here.
        cwd=environment["DAGSTER_HOME"],
    ) as dagster:
        signal.signal(signal.SIGTERM, lambda *_: dagster.terminate())
        return dagster.wait()
