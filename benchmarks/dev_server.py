"""How long the Dagster UI takes from its launch, on a new instance, until a project is loaded."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

_LOADED = """{ workspaceOrError { ... on Workspace { locationEntries {
    locationOrLoadError { __typename } } } } }"""
_PATIENCE = 120


def ours(home: Path) -> float:
    """Seconds until the UI has loaded the platform.

    Args:
        home: An empty folder for the instance and all else.
    """
    command = [str(Path(sys.executable).with_name("crypto-platform")), "dev"]
    return _seconds(command, {"CRYPTO_HOME": str(home)}, home)


def empty(home: Path) -> float:
    """Seconds until the UI has loaded a project without a single asset.

    Args:
        home: An empty folder for the project and its instance.
    """
    project = home / "project.py"
    project.write_text("import dagster as dg\n\ndefs = dg.Definitions()\n")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    command = [sys.executable, "-m", "dagster", "dev", "-f", str(project), "-h", "127.0.0.1"]
    return _seconds(command, {"DAGSTER_HOME": str(home)}, home)


def _seconds(command: Sequence[str], variables: Mapping[str, str], folder: Path) -> float:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    with subprocess.Popen(
        [*command, "--port", str(port)],
        env={**os.environ, **variables},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            for attempt in Retrying(
                stop=stop_after_delay(_PATIENCE),
                wait=wait_fixed(0.05),
                retry=retry_if_exception_type((requests.RequestException, _NotLoadedError)),
                reraise=True,
            ):
                with attempt:
                    _look(port)
            return time.perf_counter() - began
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


class _NotLoadedError(Exception):
    """The UI is there, and the project is not."""


def _look(port: int) -> None:
    response = requests.post(
        f"http://127.0.0.1:{port}/graphql", json={"query": _LOADED}, timeout=30
    ).json()
    workspace = (response["data"] or {}).get("workspaceOrError", {})
    loaded = [entry["locationOrLoadError"] for entry in workspace.get("locationEntries", ())]
    if {(one or {}).get("__typename") for one in loaded} != {"RepositoryLocation"}:
        raise _NotLoadedError(str(response))
