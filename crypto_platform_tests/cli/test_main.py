"""The command line, as a newcomer uses it: most commands in a process of their own."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest
import requests
from click.testing import CliRunner
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from crypto_platform.cli.main import COMMANDS, main
from crypto_platform.core.run_tags import HEAL_TAG
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.local.instance import instance_environment
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform_tests.test_end_to_end import newest_keys

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(
    command: Sequence[str], variables: Mapping[str, str], cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a command of the virtual environment to its end, in a known environment."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("COINGECKO_")}
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        env={**kept, "PYTHONPATH": str(ROOT), **variables},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture
def variables(market: SimulatedMarket, tmp_path: Path) -> dict[str, str]:
    """An installation that asks the simulated market, with a folder of its own."""
    return {
        **instance_environment(tmp_path / "home"),
        "COINGECKO_BASE_URL": market.base_url,
        "FEAR_AND_GREED_BASE_URL": market.base_url,
        "COINGECKO_PLAN": "pro",
        "COINGECKO_API_KEY": "CG-simulated",
        "TRACKED_COINS": "bitcoin,ethereum",
    }


def count(home: str, table: str) -> int:
    with duckdb.connect(f"{home}/crypto_db.duckdb", read_only=True) as warehouse:
        (rows,) = warehouse.execute(f"SELECT COUNT(*) FROM transformed.{table}").fetchall()
    return int(rows[0])


def test_the_demo_fills_a_warehouse_of_its_own_and_says_what_stands_in_it(tmp_path: Path) -> None:
    # Whoever has set up the real API must not get it, or its limits, into the demo; nor AWS, with
    # no login for Snowflake there.
    (tmp_path / ".env").write_text(
        "CRYPTO_PROFILE=aws\nCOINGECKO_API_KEY=CG-real\nCOINGECKO_PLAN=demo\nCOINGECKO_CALLS_A_MINUTE=1\n"
        "TRACKED_COINS=bitcoin\nVS_CURRENCY=eur\n"
    )
    demo = run(
        ["crypto-platform", "demo"],
        {
            "CRYPTO_HOME": str(tmp_path / "prices"),
            # A terminal that cannot show all that it prints, and a proxy that is not there: what
            # runs on this machine needs none.
            "PYTHONIOENCODING": "ascii",
            **dict.fromkeys(("NO_PROXY", "no_proxy", "no_grpc_proxy"), ""),
            **dict.fromkeys(("HTTP_PROXY", "http_proxy", "grpc_proxy"), "http://127.0.0.1:9"),
        },
        cwd=tmp_path,
    )

    assert demo.returncode == 0, demo.stderr
    assert "no price below is real" in demo.stdout
    assert re.search(r"historical_prices\W+10\W+888\W", demo.stdout)
    assert "API calls used, all simulated" in demo.stdout
    # Neither ticks nor boxes that the terminal would show as something else.
    assert "?" not in demo.stdout
    assert max(len(line) for line in demo.stdout.splitlines() if str(tmp_path) not in line) <= 80
    report = tmp_path / "prices-demo" / "transformed" / "market_report" / "latest.html"
    assert demo.stdout.rstrip().endswith(str(report))
    assert "No price, volume or mood on this page is real." in report.read_text()
    assert {entry.name for entry in tmp_path.iterdir()} == {".env", "prices-demo"}
    with duckdb.connect(str(tmp_path / "prices-demo" / "crypto_db.duckdb")) as warehouse:
        sources = warehouse.execute("SELECT DISTINCT source FROM transformed.prices").fetchall()
        revised = warehouse.execute("SELECT coin_id FROM transformed.price_revisions").fetchall()
        absent = warehouse.execute(
            "SELECT coin_id, status, COUNT(*) FROM transformed.ingestion_ledger "
            "WHERE stream = 'historical' AND status != 'present' GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    assert sources == [("simulated",)]
    # The gap of another coin has been healed; the wrong price brought an alert, and its end.
    assert revised == [("solana",)]
    assert absent == [("aurel-protocol", "failed", 11), ("ripple", "quarantined", 1)]
    outbox = (tmp_path / "prices-demo" / "alerts" / "outbox.jsonl").read_text()
    assert re.findall(r"\[(ERROR|OK)\]", outbox) == ["ERROR", "OK"]
    with dg.DagsterInstance.from_config(str(tmp_path / "prices-demo" / "dagster")) as instance:
        runs = instance.get_runs()
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    assert {run.remote_job_origin and run.remote_job_origin.location_name for run in runs} == {
        "crypto_platform"
    }
    assert [run.job_name for run in runs if HEAL_TAG in run.tags] == ["historical"]


def test_a_damaged_warehouse_is_a_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    (tmp_path / "crypto_db.duckdb").write_bytes(b"no database" * 1000)

    shown = CliRunner().invoke(main, ["prices", "bitcoin"])

    assert shown.exit_code == 1
    assert shown.output.startswith(f"Error: The warehouse {tmp_path / 'crypto_db.duckdb'}")
    assert "Move the file away and materialize snowflake_prices" in shown.output


def test_a_launch_is_a_run_of_the_platforms_instance(
    variables: dict[str, str], tmp_path: Path
) -> None:
    there = variables.pop("DAGSTER_HOME")
    (key,) = newest_keys(HISTORICAL, 1)
    words = ["--assets", "historical/raw_prices", "--partition", key]

    ran = run(["crypto-platform", "launch", *words], variables, cwd=tmp_path)

    assert ran.returncode == 0, ran.stderr
    with dg.DagsterInstance.from_config(there) as instance:
        (run_record,) = instance.get_runs()
    assert run_record.status == dg.DagsterRunStatus.SUCCESS
    # Else the UI shows it neither on its timeline nor under its job.
    assert run_record.remote_job_origin is not None
    assert run_record.remote_job_origin.location_name == "crypto_platform"


def test_the_help_has_what_each_command_says_of_itself() -> None:
    with main.make_context("crypto-platform", [], resilient_parsing=True) as context:
        commands = {name: main.get_command(context, name) for name in main.list_commands(context)}

    assert {name: command and command.help for name, command in commands.items()} == COMMANDS


@pytest.mark.parametrize("command", [["--help"], ["dev", "--help"], ["simulate", "--help"]])
def test_what_needs_no_dagster_starts_without_it(command: list[str]) -> None:
    code = (
        "import sys\nfrom crypto_platform.cli.main import main\n"
        f"main({command}, standalone_mode=False)\nprint('dagster' in sys.modules)"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert ran.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    "command",
    [
        ["alerts"],
        ["budget"],
        ["estimate"],
        ["estimate", "historical", "2026-01-01"],
        ["lake", "files", "historical"],
        ["lake", "vacuum"],
        ["prices", "bitcoin"],
        ["snowflake", "apply", "--dry-run"],
    ],
)
def test_a_malformed_variable_is_one_line_that_names_it(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VS_CURRENCY", "no such")

    shown = CliRunner().invoke(main, command)

    assert shown.exit_code == 1
    assert shown.output.startswith("Error: ")
    assert "VS_CURRENCY='no such'" in shown.output


@contextmanager
def served(folder: Path, *command: str) -> Iterator[int]:
    """A command that serves the UI, run in a folder until the block ends; gives the port.

    It says in the folder's ``said`` what it says on the terminal.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    environment = {name: text for name, text in os.environ.items() if name != "CRYPTO_HOME"}
    with (
        (folder / "said").open("wb") as said,
        subprocess.Popen(
            [str(BIN / "crypto-platform"), *command, "--port", str(port)],
            cwd=folder,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=said,
            stderr=said,
            # As a script's & starts it: it has to end on a signal all the same.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # noqa: PLW1509 - no threads yet
        ) as serving,
    ):
        try:
            yield port
        finally:
            serving.terminate()
    assert serving.returncode == 0


def test_dev_serves_the_ui_with_the_settings_of_the_env_file(tmp_path: Path) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    (tmp_path / ".env").write_text(f"CRYPTO_HOME=prices\nHISTORY_START={yesterday}\n")
    with served(tmp_path, "dev") as port:
        partitions = partitions_in_the_ui(port)
        said_in_time(tmp_path, "Control-C stops it.")

    assert partitions == [str(yesterday)]
    log = tmp_path / "prices" / "dagster.log"
    assert (tmp_path / "said").read_text().splitlines()[1:] == [
        f"The Dagster UI is at http://127.0.0.1:{port}",
        f"Its log: {log}",
        "Control-C stops it.",
        "Stopped.",
    ]
    assert "dagster.daemon" in log.read_text()
    assert (tmp_path / "prices" / "dagster" / "dagster.yaml").exists()
    with socket.socket() as stopped:
        assert stopped.connect_ex(("127.0.0.1", port)) != 0


def test_the_demos_ui_has_the_demos_settings_beside_an_env_file_of_the_aws_profile(
    tmp_path: Path,
) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    (tmp_path / ".env").write_text(f"CRYPTO_PROFILE=aws\nHISTORY_START={yesterday}\n")
    with served(tmp_path, "demo", "--ui") as port:
        partitions = partitions_in_the_ui(port)

    assert len(partitions) == 90
    assert {entry.name for entry in tmp_path.iterdir()} == {".env", ".crypto-demo", "said"}


def said_in_time(folder: Path, line: str) -> None:
    for attempt in Retrying(stop=stop_after_delay(60), wait=wait_fixed(0.1)):
        with attempt:
            assert line in (folder / "said").read_text()


def partitions_in_the_ui(port: int) -> list[str]:
    """The partitions of historical/raw_prices, as the UI shows them once it is up."""
    query = """{assetNodeOrError(assetKey: {path: ["historical", "raw_prices"]}) {
        ... on AssetNode {partitionKeys}}}"""
    for attempt in Retrying(
        stop=stop_after_delay(300), wait=wait_fixed(0.5), retry=retry_if_exception_type()
    ):
        with attempt:
            response = requests.post(
                f"http://127.0.0.1:{port}/graphql", json={"query": query}, timeout=120
            )
            keys: list[str] = response.json()["data"]["assetNodeOrError"]["partitionKeys"]
    return keys


def test_the_simulated_market_answers_until_it_is_interrupted() -> None:
    with subprocess.Popen(
        [str(BIN / "crypto-platform"), "simulate", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as market:
        assert market.stdout is not None
        said = market.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/api/v3", said)
        assert found, said
        response = requests.get(f"{found[0]}/ping", timeout=120)
        market.send_signal(signal.SIGINT)
        market.wait(timeout=120)

    assert "(simulated)" in response.json()["gecko_says"]
    assert market.returncode == 0


def test_dg_launches_a_range_as_one_run(variables: dict[str, str]) -> None:
    keys = newest_keys(HISTORICAL, 3)

    launched = run(
        [
            "dg",
            "launch",
            "--assets",
            "group:historical",
            "--partition-range",
            f"{keys[0]}...{keys[-1]}",
        ],
        variables,
    )

    assert launched.returncode == 0, launched.stderr
    assert launched.stderr.count("RUN_SUCCESS") == 1
    assert count(variables["CRYPTO_HOME"], "historical_prices") == 6


def test_dg_launches_one_partition_of_a_job(variables: dict[str, str]) -> None:
    (key,) = newest_keys(INTRA_DAY, 1)

    launched = run(["dg", "launch", "--job", "intra_day", "--partition", key], variables)

    assert launched.returncode == 0, launched.stderr
    assert count(variables["CRYPTO_HOME"], "intra_day_prices") > 0
    assert count(variables["CRYPTO_HOME"], "coins") == 2
