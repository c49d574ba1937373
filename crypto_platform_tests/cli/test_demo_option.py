"""``--demo``: what reads the platform reads the demo, and what finds nothing names it."""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import crypto_platform
from crypto_platform.cli.main import COMMANDS, READERS, main
from crypto_platform.core.errors import NothingThereError
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform_tests.warehouse_rows import put_coin


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command where there are no prices, beside a demo that has some."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path / "home"))
    warehouse = DuckDBWarehouse(path=str(tmp_path / "home-demo" / "crypto_db.duckdb"))
    put_coin(warehouse, "bitcoin", symbol="btc", name="Bitcoin")
    return lambda *words: CliRunner().invoke(main, words)


@pytest.mark.parametrize("words", [["--demo", "list", "--json"], ["list", "--demo", "--json"]])
def test_it_stands_before_or_behind_the_command(
    words: list[str], invoke: Callable[..., Result]
) -> None:
    shown = invoke(*words)

    assert shown.exit_code == 0, shown.output
    (coin,) = json.loads(shown.stdout)
    assert (coin["coin_id"], coin["symbol"], coin["name"]) == ("bitcoin", "btc", "Bitcoin")


@pytest.mark.parametrize("words", [["list"], ["prices", "bitcoin"]])
def test_what_finds_nothing_names_the_demo_once(
    words: list[str], invoke: Callable[..., Result], tmp_path: Path
) -> None:
    shown = invoke(*words)

    assert shown.exit_code == 1
    assert shown.output.count(f"The demo's prices are in {tmp_path / 'home-demo'}") == 1


@pytest.mark.usefixtures("invoke")
def test_python_names_the_demo_too() -> None:
    with pytest.raises(NothingThereError, match="crypto-platform --demo reads them"):
        crypto_platform.prices("bitcoin")


def test_what_finds_nothing_names_no_demo_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert "demo" not in CliRunner().invoke(main, ["list"]).output


def test_the_help_says_of_each_command_whether_it_reads_the_demo() -> None:
    with main.make_context("crypto-platform", [], resilient_parsing=True) as context:
        for name in COMMANDS:
            command = main.get_command(context, name)
            assert command is not None
            options = [option for one in command.params for option in one.opts]
            assert ("--demo" in options) == (name in READERS), name


def test_the_help_is_not_cut_in_80_columns() -> None:
    shown = CliRunner().invoke(main, ["lake", "--help"], terminal_width=80)

    assert "told." in shown.output


def test_the_version_is_that_of_the_package() -> None:
    shown = CliRunner().invoke(main, ["--version"])

    assert shown.output == f"crypto-platform {version('crypto_platform')}\n"
