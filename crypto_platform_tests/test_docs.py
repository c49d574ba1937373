"""The README keeps its word: every command in it is run."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from crypto_platform.core.settings import Settings
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform_tests.cli.test_main import ROOT, run, variables
from crypto_platform_tests.warehouse_rows import put_coin

__all__ = ["variables"]

README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^\$ (.+)$", README, flags=re.MULTILINE)
MAKE_COMMANDS = [command for command in COMMANDS if command.startswith("make ")]

# What stands behind a make command; each of these is run by a test, by the tests themselves, or
# by hand for what measures or serves.
BEHIND = {
    "make demo": "crypto-platform demo",
    "make test": "pytest",
    "make test-fast": 'pytest -n auto --dist loadfile -m "not spark and not soak"',
    "make soak": "pytest -m soak",
    "make format": "ruff format .",
    "make bench": "python -m benchmarks",
    "make simulate": "crypto-platform simulate",
}


@pytest.mark.parametrize("command", MAKE_COMMANDS)
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_make_command_of_the_readme_does_what_it_says(command: str) -> None:
    dry = subprocess.run(
        [*shlex.split(command), "--dry-run", "--no-print-directory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert BEHIND[command] in dry.stdout


@pytest.mark.integration
@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command not in MAKE_COMMANDS]
)
def test_a_command_of_the_readme_runs(
    command: str, variables: dict[str, str], tmp_path: Path
) -> None:
    warehouse = DuckDBWarehouse(path=f"{variables['CRYPTO_HOME']}/crypto_db.duckdb")
    for coin in ("bitcoin", "ethereum"):
        put_coin(warehouse, coin, symbol=coin, name=coin)

    # What it writes is not to stand among the sources; Dagster's commands read the project there.
    cwd = tmp_path if command.startswith("crypto-platform") else ROOT
    finished = run(shlex.split(command), variables, cwd=cwd)

    assert finished.returncode == 0, finished.stderr


def test_the_readme_lists_every_setting() -> None:
    listed = set(re.findall(r"`([A-Z_]+)`", README))

    assert {str(field.alias) for field in Settings.model_fields.values()} <= listed


def test_every_file_that_the_readme_names_is_there() -> None:
    named = set(re.findall(r"`((?:snowflake_scripts|docs|crypto_platform)/[\w/]+\.\w+)`", README))
    named |= set(re.findall(r"\]\((docs/[\w./]+)\)", README))

    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_readme_lists_every_status_of_the_ledger() -> None:
    script = Path(ROOT / "snowflake_scripts" / "1_creation_tables.sql").read_text()

    for status in ("present", "missing_at_source", "out_of_plan", "quarantined", "failed"):
        assert f"| `{status}` |" in README
        assert status in script
