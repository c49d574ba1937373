"""Tests what stands on private code of Dagster against one end of the versions that are allowed.

    python -m crypto_platform_tests.dagster_range newest

Dagster promises nothing of what begins with an underscore. The versions go into a folder of their
own before those that are installed, which stay as they are.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]

TESTS = {
    "alerts": "alerts",
    "assets": "test_definitions.py",
    "core": "core",
    "healing": "healing",
    "local": "local",
    "runs": "runs",
}
"""What tests each package of the platform that uses private code of Dagster."""

ENDS = ("oldest", "newest")

_ALLOWED = re.compile(r"(?P<name>dagster[a-z-]*)>=(?P<oldest>[\d.]+),<[\d.]+")


def requirements(end: str) -> list[str]:
    """What is asked of pip for one end of what ``pyproject.toml`` allows.

    The private code is that of the package ``dagster``, whose newest version comes before those of
    the packages around it; its oldest one needs them as old as it is.

    Args:
        end: One of ``ENDS``.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = [*project["project"]["dependencies"], *project["dependency-groups"]["docker"]]
    allowed = list(filter(None, map(_ALLOWED.fullmatch, listed)))
    if end == "newest":
        return [one[0] for one in allowed if one["name"] == "dagster"]
    return [f"{one['name']}=={one['oldest']}" for one in allowed]


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def resolved(end: str) -> list[str]:
    """What has to be installed for that end beside what is, each with its version."""
    plan = _pip(
        *("install", "--quiet", "--dry-run", "--report", "-", "--upgrade"),
        *("--upgrade-strategy", "only-if-needed", *requirements(end)),
    )
    chosen: list[dict[str, Any]] = [one["metadata"] for one in json.loads(plan)["install"]]
    return [f"{one['name']}=={one['version']}" for one in chosen]


def main(end: str, options: Sequence[str]) -> int:
    """Run the tests; gives pytest's exit code.

    Args:
        end: One of ``ENDS``.
        options: More arguments of pytest.
    """
    chosen = resolved(end)
    sys.stdout.write(f"{end}: {' '.join(chosen) or 'what is installed'}\n")
    sys.stdout.flush()
    tests = [f"crypto_platform_tests/{name}" for name in sorted(set(TESTS.values()))]
    with TemporaryDirectory(prefix="dagster-") as folder:
        if chosen:
            _pip("install", "--quiet", "--no-deps", "--target", folder, *chosen)
        path = os.pathsep.join([folder, str(ROOT)])
        command = [sys.executable, "-m", "pytest", "-m", "not soak and not spark", *tests, *options]
        ran = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=False)
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
