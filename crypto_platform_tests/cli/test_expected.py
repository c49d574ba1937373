"""What goes wrong at a person's hands: one line that says what to do, and never a trace."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from crypto_platform.cli.main import COMMANDS, READERS, main
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform_tests.warehouse_rows import put_coin

DAMAGED = b"{no json"
MONTH = "month=2026-11"


def damage(path: str) -> Callable[[Path], None]:
    def put(home: Path) -> None:
        file = home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(DAMAGED * 100)

    return put


def another_database(home: Path) -> None:
    home.mkdir()
    with sqlite3.connect(home / "crypto_db.duckdb") as connection:
        connection.execute("CREATE TABLE prices (price REAL)")
    connection.close()


def a_folder(home: Path) -> None:
    (home / "crypto_db.duckdb").mkdir(parents=True)


def an_instance_of_nobody(home: Path) -> None:
    (home / "dagster").mkdir(parents=True)
    (home / "dagster" / "dagster.yaml").write_text("no_such_entry: 1\n")


def damaged_runs(home: Path) -> None:
    (home / "dagster").mkdir(parents=True)
    (home / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    damage("dagster/history/runs.db")(home)


MOVE = "Move the file away"
WAREHOUSE = [["list"], ["prices", "bitcoin"]]
LAKE_AND_INSTANCE = [["budget"], ["status"]]
MANIFEST = f"historical_data/{MONTH}/_manifest.json"

# What is wrong, the commands that meet it, and what each of them says.
FAULTS: list[tuple[str, Callable[[Path], object], list[list[str]], str]] = [
    ("home_is_a_file", lambda home: home.write_text(""), [], "name another in CRYPTO_HOME"),
    ("damaged_database", damage("crypto_db.duckdb"), WAREHOUSE, MOVE),
    ("another_database", another_database, WAREHOUSE, MOVE),
    ("database_is_a_folder", a_folder, WAREHOUSE, MOVE),
    ("coins", damage("raw/tracked_coins.json"), LAKE_AND_INSTANCE, MOVE),
    (
        "manifest",
        damage(f"transformed/{MANIFEST}"),
        [["lake", "files", "historical"]],
        "Materialize historical/transformed_prices",
    ),
    (
        "record_of_loads",
        damage(f"transformed/loaded/historical_data/{MONTH}/ledger.pq"),
        [["status"]],
        "Materialize historical/snowflake_prices",
    ),
    ("incidents", damage("alerts/incidents/one.json"), [["alerts"], ["status"]], "Move it away"),
    ("instance", an_instance_of_nobody, LAKE_AND_INSTANCE, "move that folder away"),
    ("runs", damaged_runs, LAKE_AND_INSTANCE, "move that folder away"),
]

ARGUMENTS = {"lake": ["files", "historical"], "prices": ["bitcoin"], "inspect": ["--list"]}


def cases() -> list[object]:
    return [
        pytest.param(make, command, said, id=f"{name}-{command[0]}")
        for name, make, commands, said in FAULTS
        for command in commands
        or [[reader, *ARGUMENTS.get(reader, [])] for reader in sorted(READERS & COMMANDS.keys())]
    ]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return lambda *words: CliRunner().invoke(main, words)


def assert_one_line(shown: Result, said: str) -> None:
    assert isinstance(shown.exception, SystemExit), shown.exception
    assert shown.exit_code != 0
    (*_usage, line) = shown.output.strip().splitlines()
    assert line.startswith("Error: "), shown.output
    assert said in line


@pytest.mark.parametrize(("make", "command", "said"), cases())
def test_what_is_damaged_or_in_the_way_is_one_line_that_says_what_to_do(
    make: Callable[[Path], object],
    command: list[str],
    said: str,
    invoke: Callable[..., Result],
    tmp_path: Path,
) -> None:
    make(tmp_path / "home")

    assert_one_line(invoke(*command), said)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["estimate", "historical", "2026-13-01"], "such as 20"),
        (["estimate", "historical", "2026-02-01...2026-01-01"], "ends before it begins"),
        (["estimate", "historical", "2999-01-01"], "not closed yet"),
        (["estimate", "weekly"], "is none of historical, intra_day"),
        (["estimate", "--plan", "gold"], "must be one of keyless"),
        (["lake", "files", "weekly"], "is not one of 'historical', 'intra_day'"),
        (["lake", "files", "historical", "--start", "soon"], "write 2026-11-22"),
        (["prices", "bitcoin", "--last", "5x"], "write 12h, 30d or 8w"),
        (["prices", "bitcoin", "--start", "2026-01-01T00:00"], "has no zone"),
        (["prices", "bitcoin", "--start", "2026-02-01", "--end", "2026-01-01"], "is not before"),
        (["nosuch"], "No such command"),
        (["dev", "--demo"], "--demo"),
        (["--demo", "dev"], "takes no --demo"),
        (["--demo", "prices", "bitcoin"], "make demo fills it"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else given,
)
def test_what_names_nothing_is_one_line_that_says_what_would(
    command: list[str], said: str, invoke: Callable[..., Result]
) -> None:
    assert_one_line(invoke(*command), said)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("COINGECKO_PLAN", "gold", "must be one of keyless"),
        ("COINGECKO_API_KEY", "CG-'planted'", "a character that no key has"),
        ("TRACKED_COINS", "top25", "write top:25"),
    ],
)
def test_nothing_is_started_that_no_run_could_use(
    name: str,
    value: str,
    said: str,
    invoke: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(name, value)

    for command in ("dev", "launch"):
        shown = invoke(command)

        assert shown.exit_code == 1
        assert said in shown.output
        assert "planted" not in shown.output


@pytest.mark.parametrize("content", [b"NAME=\xff\xfe", None], ids=["no_text", "a_folder"])
def test_an_env_file_that_cannot_be_read_is_one_line(
    content: bytes | None, invoke: Callable[..., Result], tmp_path: Path
) -> None:
    if content is None:
        (tmp_path / ".env").mkdir()
    else:
        (tmp_path / ".env").write_bytes(content)

    assert_one_line(invoke("list"), ".env cannot be read")


def test_a_slip_in_the_env_file_is_warned_of_and_the_environment_is_left_as_it_was(
    invoke: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VS_CURRENCY", raising=False)
    (tmp_path / ".env").write_text("COINGEKO_API_KEY=CG-planted\nVS_CURRENCY=eur\n")

    shown = invoke("estimate", "--json")

    assert shown.stderr.startswith("Warning: COINGEKO_API_KEY in .env is no variable")
    assert "planted" not in shown.output
    # What a program reads has no warning in it.
    json.loads(shown.stdout)
    with pytest.raises(KeyError):
        monkeypatch.delenv("VS_CURRENCY")


@pytest.mark.parametrize("option", ["--csv", "--parquet"])
def test_a_file_goes_nowhere_where_its_folder_is_missing(
    option: str, invoke: Callable[..., Result], tmp_path: Path
) -> None:
    warehouse = DuckDBWarehouse(path=str(tmp_path / "home" / "crypto_db.duckdb"))
    put_coin(warehouse, "bitcoin", symbol="btc", name="Bitcoin")

    shown = invoke("prices", "bitcoin", "--last", "2d", option, "nosuch/prices")

    assert_one_line(shown, "folder first")
