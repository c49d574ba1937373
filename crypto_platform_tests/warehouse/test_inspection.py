"""What each question of the inspection answers, on each engine, of a warehouse of known content."""

import csv
import json
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from crypto_platform.cli.inspect import _show
from crypto_platform.cli.main import main
from crypto_platform.core.errors import InvalidInputError
from crypto_platform.core.streams import STREAMS, Stream
from crypto_platform.profiles import PROFILES
from crypto_platform.warehouse.completeness import STATUSES, completeness_of
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.inspection import answer, bound, question, questions
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.sql import only_reads
from crypto_platform_tests.warehouse_rows import price_row, put

NOW = datetime.now(UTC).replace(microsecond=0)
TODAY = NOW.replace(hour=0, minute=0, second=0)
EARLIER, LATER, LAST = NOW - timedelta(days=3), NOW - timedelta(hours=1), NOW
SEEN = TODAY - timedelta(days=1) + timedelta(hours=1)

GONE, NULL, DOWN = "Nothing is there [red].", "The price is null.", "The API was down."
PENDING = "No load has reported on it yet."

# What only Snowflake can say is parsed by its grammar, see test_scripts.
ASKED = [one for one in questions().values() if not one.only_snowflake]
OF_COINS = [one.name for one in ASKED if "coin" in one.variables]


def day(ago: int) -> datetime:
    return TODAY - timedelta(days=ago)


OF_STREAM = {"stream": "historical", "vs_currency": "usd"}
OF_DAY = {"vs_currency": "usd", "day": day(1).date()}
COIN = {"first_tracked_at": day(6), "tracked": True}
MADE_FROM = {"input": "historical_prices", "loaded_at": EARLIER, "definition": "as now"}


def became(coin_id: str, ago: int, status: str, reason: str | None = None) -> dict[str, Any]:
    """A row of the ledger."""
    return {
        **OF_STREAM,
        "coin_id": coin_id,
        "window_start": day(ago),
        "status": status,
        "reason": reason,
        "points": int(status == "present"),
        "run_id": "a-run",
        "updated_at": EARLIER,
    }


# Two coins over six days: two days were never loaded, of others a price lacks for a reason.
ROWS: dict[str, list[dict[str, Any]]] = {
    "coins": [
        {**COIN, "coin_id": "bitcoin", "symbol": "btc"},
        {**COIN, "coin_id": "ethereum", "symbol": "eth"},
    ],
    "streams": [{**OF_STREAM, "first_window": day(6), "window_minutes": 1440}],
    "ingestion_ledger": [
        became("bitcoin", 6, "present"),
        became("bitcoin", 5, "missing_at_source", GONE),
        became("bitcoin", 4, "missing_at_source", GONE),
        became("bitcoin", 1, "present"),
        became("ethereum", 6, "present"),
        became("ethereum", 5, "quarantined", NULL),
        became("ethereum", 4, "present"),
        became("ethereum", 1, "failed", DOWN),
    ],
    "historical_prices": [
        price_row("bitcoin", day(6), 100.0, loaded_at=LATER),
        price_row("bitcoin", day(1), 110.0, loaded_at=LATER),
        price_row("ethereum", day(6), 10.0, loaded_at=EARLIER),
        price_row("ethereum", day(4), 11.0, loaded_at=EARLIER),
    ],
    "intra_day_prices": [price_row("bitcoin", SEEN, 111.0, granularity="5-minute", loaded_at=LAST)],
    "price_revisions": [
        {
            **OF_STREAM,
            "coin_id": "bitcoin",
            "price_at": day(6),
            "window_start": day(6),
            "known_from": EARLIER,
            "revised_at": LATER,
            "old_price": 80.0,
            "old_granularity": "daily",
            "old_fetched_at": EARLIER,
            "new_price": 100.0,
            "new_granularity": "daily",
            "new_fetched_at": LATER,
            "source": "simulated",
        }
    ],
    "market_snapshots": [
        {
            "coin_id": "bitcoin",
            "vs_currency": "usd",
            "observed_at": SEEN,
            "window_start": day(1),
            "rank": 1,
            "current_price": 111.5,
            "loaded_at": LAST,
            "source": "simulated",
        }
    ],
    "price_moves": [{**OF_DAY, "coin_id": "bitcoin", "close": 110.0, "return_1d": 0.1}],
    "trading_volumes": [{**OF_DAY, "coin_id": "bitcoin", "unusual": True}],
    "market_sentiment": [{**OF_DAY, "coins": 2, "breadth_1d": 1.0}],
    "model_inputs": [
        {**MADE_FROM, "day": day(6).date(), "row_count": 2},
        {**MADE_FROM, "day": day(1).date(), "row_count": 1},
    ],
}


def fill(warehouse: Warehouse) -> None:
    with warehouse.session(read_only=False) as session:
        for table, rows in ROWS.items():
            session.stage_rows(table, rows)


EXPECTED: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "newest": (
        "coin_id price_at price granularity source",
        [
            ("ethereum", day(4), 11.0, "daily", "simulated"),
            ("bitcoin", SEEN, 111.0, "5-minute", "simulated"),
        ],
    ),
    "gaps": (
        "stream coin_id status first_window last_window windows reason",
        [
            ("historical", "ethereum", "failed", day(1), day(1), 1, DOWN),
            ("historical", "bitcoin", "pending", day(3), day(2), 2, PENDING),
            ("historical", "ethereum", "pending", day(3), day(2), 2, PENDING),
            ("historical", "bitcoin", "missing_at_source", day(5), day(4), 2, GONE),
            ("historical", "ethereum", "quarantined", day(5), day(5), 1, NULL),
        ],
    ),
    "statuses": (
        "stream status coin_windows coins first_window newest_window",
        [
            ("historical", "failed", 1, 1, day(1), day(1)),
            ("historical", "missing_at_source", 2, 1, day(5), day(4)),
            ("historical", "present", 4, 2, day(6), day(1)),
            ("historical", "quarantined", 1, 1, day(5), day(5)),
        ],
    ),
    "completeness": (
        "stream since expected present complete missing_at_source quarantined failed pending",
        [("historical", day(6), 12, 4, 1 / 3, 2, 1, 1, 4)],
    ),
    "completeness_by_coin": (
        "coin_id since expected present complete missing_at_source quarantined failed pending",
        [
            ("bitcoin", day(6), 6, 2, 1 / 3, 2, 0, 0, 2),
            ("ethereum", day(6), 6, 2, 1 / 3, 0, 1, 1, 2),
        ],
    ),
    "never_loaded": (
        "stream vs_currency last_window_before first_window_after",
        [("historical", "usd", day(4), day(1))],
    ),
    "quarantined": (
        "window_start coin_id reason run_id",
        [(day(5), "ethereum", NULL, "a-run")],
    ),
    "revisions": (
        "revised_at coin_id price_at old_price new_price price_change",
        [(LATER, "bitcoin", day(6), 80.0, 100.0, 0.25)],
    ),
    "known": (
        "coin_id price_at price known_from",
        [
            ("ethereum", day(4), 11.0, EARLIER),
            ("bitcoin", day(6), 80.0, EARLIER),
            ("ethereum", day(6), 10.0, EARLIER),
        ],
    ),
    "spans": (
        "stream coin_id granularity prices first_price_at newest_price_at days days_without",
        [
            ("historical", "bitcoin", "daily", 2, day(6), day(1), 2, 4),
            ("intra_day", "bitcoin", "5-minute", 1, SEEN, SEEN, 1, 0),
            ("historical", "ethereum", "daily", 2, day(6), day(4), 2, 1),
        ],
    ),
    "duplicates": ("table_name", []),
    "days": (
        "day historical_rows intra_day_rows coins",
        [
            (day(1).date(), 1, 1, 1),
            (day(4).date(), 1, 0, 1),
            (day(6).date(), 2, 0, 2),
        ],
    ),
    "loads": (
        "stream loaded_at prices coins first_price_at newest_price_at",
        [
            ("intra_day", LAST, 1, 1, SEEN, SEEN),
            ("historical", LATER, 2, 1, day(6), day(1)),
            ("historical", EARLIER, 2, 1, day(6), day(4)),
        ],
    ),
    "tables": (
        "table_name row_count first_at newest_at",
        [
            ("coins", 2, day(6), day(6)),
            ("daily_prices", 0, None, None),
            ("fear_and_greed", 0, None, None),
            ("historical_prices", 4, day(6), day(1)),
            ("ingestion_ledger", 8, day(6), day(1)),
            ("intra_day_prices", 1, SEEN, SEEN),
            ("market_sentiment", 1, day(1), day(1)),
            ("market_snapshots", 1, SEEN, SEEN),
            ("model_inputs", 2, day(6), day(1)),
            ("price_moves", 1, day(1), day(1)),
            ("price_revisions", 1, LATER, LATER),
            ("streams", 1, day(6), day(6)),
            ("trading_volumes", 1, day(1), day(1)),
        ],
    ),
    "coins": (
        "coin_id symbol tracked rank current_price",
        [("bitcoin", "btc", True, 1, 111.5), ("ethereum", "eth", True, None, None)],
    ),
    "moves": (
        "coin_id day close return_1d unusual",
        [("bitcoin", day(1).date(), 110.0, 0.1, True)],
    ),
    "sentiment": ("day coins breadth_1d", [(day(1).date(), 2, 1.0)]),
    "inputs": (
        "input days row_count first_day newest_day loaded_at",
        [("historical_prices", 2, 3, day(6).date(), day(1).date(), EARLIER)],
    ),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose warehouse is filled."""
    folder = tmp_path_factory.mktemp("home")
    fill(DuckDBWarehouse(path=str(folder / "crypto_db.duckdb")))
    return folder


@pytest.fixture(scope="module")
def snowflake(snowflake_server: tuple[Any, Any, Path], home: Path) -> Warehouse:
    """The same in Snowflake."""
    from crypto_platform_tests.warehouse.fakesnow_server import (  # noqa: PLC0415 - optional
        fakesnow_warehouse,
    )

    options, _, private_key = snowflake_server
    made = fakesnow_warehouse(options, private_key, str(home))
    fill(made)
    return made


@pytest.fixture(
    scope="module", params=["duckdb", pytest.param("snowflake", marks=pytest.mark.integration)]
)
def warehouse(request: pytest.FixtureRequest, home: Path) -> Warehouse:
    """Each engine in turn, filled once: nothing here changes it."""
    if request.param == "duckdb":
        return DuckDBWarehouse(path=str(home / "crypto_db.duckdb"))
    made: Warehouse = request.getfixturevalue("snowflake")
    return made


def asked(warehouse: Warehouse, name: str, **given: object) -> list[tuple[Any, ...]]:
    """The answer, in the columns that are expected of it."""
    columns = EXPECTED[name][0].split()
    rows = answer(warehouse, question(name), given, "CRYPTO_WH")
    return [tuple(row[column] for column in columns) for row in rows]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_question_is_answered_from_what_stands_there(name: str, warehouse: Warehouse) -> None:
    assert asked(warehouse, name) == EXPECTED[name][1]


def test_every_question_that_both_engines_answer_is_tested() -> None:
    assert sorted(one.name for one in ASKED) == sorted(EXPECTED)


@pytest.mark.parametrize("name", [name for name in OF_COINS if "coin_id" in EXPECTED[name][0]])
def test_a_coin_narrows_an_answer_to_its_rows(name: str, warehouse: Warehouse) -> None:
    place = EXPECTED[name][0].split().index("coin_id")

    narrowed = asked(warehouse, name, coin="bitcoin")

    assert narrowed == [row for row in EXPECTED[name][1] if row[place] == "bitcoin"]


def test_what_is_counted_is_counted_of_the_coin_stream_and_time(warehouse: Warehouse) -> None:
    until = {"start_at": day(6), "end_at": day(4)}

    gaps = asked(warehouse, "gaps", coin="bitcoin", stream="historical", **until)

    assert gaps == [("historical", "bitcoin", "missing_at_source", day(5), day(5), 1, GONE)]
    assert asked(warehouse, "days", coin="ethereum", **until) == [(day(6).date(), 1, 0, 1)]
    assert [row[2] for row in asked(warehouse, "statuses", coin="bitcoin")] == [2, 2]
    assert asked(warehouse, "statuses", stream="intra_day") == []
    assert [row[0] for row in asked(warehouse, "loads", stream="intra_day")] == ["intra_day"]
    assert asked(warehouse, "never_loaded", stream="intra_day") == []
    assert asked(warehouse, "revisions", start_at=day(5)) == []


def test_what_was_known_is_told_of_any_moment(warehouse: Warehouse) -> None:
    assert asked(warehouse, "known", known_at=EARLIER - timedelta(hours=1)) == []
    now = asked(warehouse, "known", known_at=LAST, coin="bitcoin")
    assert [(price_at, price) for _, price_at, price, _ in now] == [
        (day(1), 110.0),
        (day(6), 100.0),
    ]


def test_a_value_that_is_given_is_no_part_of_the_statement(warehouse: Warehouse) -> None:
    assert asked(warehouse, "newest", coin="x' OR '1' = '1") == []


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
@pytest.mark.parametrize("newest", [3, 1, 0], ids=["late", "loaded before due", "all loaded"])
def test_a_stream_is_as_complete_as_status_says(
    stream: Stream, newest: int, duckdb_warehouse: DuckDBWarehouse
) -> None:
    last = stream.index_at(NOW) - 1
    starts = [stream.window_of_index(last - ago).start for ago in (9, newest)]
    of_stream = {"stream": stream.name, "vs_currency": "usd"}
    minutes = stream.window_length // timedelta(minutes=1)
    with duckdb_warehouse.session(read_only=False) as session:
        session.stage_rows("coins", ROWS["coins"])
        session.stage_rows(
            "streams", [{**of_stream, "first_window": starts[0], "window_minutes": minutes}]
        )
        rows = [became("bitcoin", 0, "present") | of_stream | {"window_start": at} for at in starts]
        session.stage_rows("ingestion_ledger", rows)
    (said,) = completeness_of(duckdb_warehouse, [stream], datetime.now(UTC))

    (row,) = answer(duckdb_warehouse, question("completeness"), {}, "CRYPTO_WH")
    coins = answer(duckdb_warehouse, question("completeness_by_coin"), {}, "CRYPTO_WH")

    found = {status: row[status] for status in STATUSES}
    assert (row["since"], row["expected"], found) == (said.since, said.expected, said.statuses)
    assert row["complete"] == said.share
    assert sum(coin["expected"] for coin in coins) == said.expected


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_a_window_is_expected_as_long_after_its_close_as_the_stream_says(stream: Stream) -> None:
    hours = {"historical": 2, "intra_day": 1}

    assert stream.overdue_after == timedelta(hours=hours[stream.name])
    for name in ("completeness", "completeness_by_coin"):
        assert "DATEADD('hour', IFF(windows.stream = 'historical', -2, -1)" in question(name).sql


@pytest.mark.parametrize(("minutes", "hours"), [(24, 0.4), (90, 1.5), (1500, 25.0)])
def test_a_price_is_as_many_hours_old_as_have_gone_by(
    minutes: int, hours: float, duckdb_warehouse: DuckDBWarehouse
) -> None:
    seen = datetime.now(UTC) - timedelta(minutes=minutes)
    put(duckdb_warehouse, "historical_prices", [price_row("bitcoin", seen, 1.0)])

    (row,) = answer(duckdb_warehouse, question("newest"), {}, "CRYPTO_WH")

    assert row["hours_old"] == hours


def test_a_key_that_stands_twice_is_told_of_each_table(duckdb_warehouse: DuckDBWarehouse) -> None:
    fill(duckdb_warehouse)
    tables = "historical_prices", "intra_day_prices", "market_snapshots", "ingestion_ledger"
    with duckdb_warehouse.session(read_only=False) as session:
        for table in tables:
            session.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE coin_id = 'bitcoin'")

    rows = answer(duckdb_warehouse, question("duplicates"), {}, "CRYPTO_WH")

    assert {row["table_name"] for row in rows} == set(tables)
    assert {(row["coin_id"], row["times"]) for row in rows} == {("bitcoin", 2)}
    assert len(rows) == 2 + 1 + 1 + 4


def test_a_hole_in_one_currency_is_not_hidden_by_another(
    duckdb_warehouse: DuckDBWarehouse,
) -> None:
    fill(duckdb_warehouse)
    with duckdb_warehouse.session(read_only=False) as session:
        session.execute(
            "INSERT INTO ingestion_ledger SELECT * REPLACE ('eur' AS vs_currency, "
            "DATEADD('day', 1, window_start) AS window_start) FROM ingestion_ledger"
        )

    assert asked(duckdb_warehouse, "never_loaded") == [
        ("historical", "eur", day(3), day(0)),
        ("historical", "usd", day(4), day(1)),
    ]


def test_the_last_two_weeks_are_fourteen_days_however_many_currencies_there_are(
    duckdb_warehouse: DuckDBWarehouse,
) -> None:
    put(
        duckdb_warehouse,
        "market_sentiment",
        [
            {"vs_currency": currency, "day": day(ago).date(), "coins": 1}
            for ago in range(1, 23)
            for currency in ("btc", "eur", "usd")
        ],
    )

    days = [row[0] for row in asked(duckdb_warehouse, "sentiment")]

    assert len(days) == 14 * 3
    assert min(days) == day(14).date()


@pytest.mark.integration
def test_what_has_landed_is_told_by_snowflake_alone(snowflake: Warehouse, home: Path) -> None:
    with snowflake.session(read_only=False) as session:
        session.execute(
            "INSERT INTO historical_prices_landing (window_start, file_name) "
            "VALUES (?, 'a'), (?, 'a')",
            [day(1), day(1)],
        )

    (waiting,) = answer(snowflake, question("landing"), {}, "CRYPTO_WH")

    assert (waiting["landing"], waiting["rows_waiting"], waiting["files_waiting"]) == (
        "historical_prices",
        2,
        1,
    )
    on_a_laptop = DuckDBWarehouse(path=str(home / "crypto_db.duckdb"))
    for one in questions().values():
        if one.only_snowflake:
            with pytest.raises(InvalidInputError, match="only with CRYPTO_PROFILE=aws"):
                answer(on_a_laptop, one, {}, "CRYPTO_WH")


@pytest.mark.integration
def test_that_snowflake_is_woken_is_said_before(
    snowflake: Warehouse, command: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROFILES["aws"].builders, "warehouse", lambda _: snowflake)  # type: ignore[arg-type] # a dict
    monkeypatch.setenv("CRYPTO_PROFILE", "aws")

    ran = command.invoke(main, ["inspect", "newest", "--coin", "BTC", "--json"])

    assert ran.stderr.startswith("This wakes CRYPTO_WH in Snowflake, which costs credits")
    assert [row["coin_id"] for row in json.loads(ran.stdout)] == ["bitcoin"]


@pytest.mark.parametrize("name", ["credits", "statements"])
def test_credits_and_statements_are_those_of_the_deployments_own_warehouse(name: str) -> None:
    sql, params = bound(question(name), {}, "CRYPTO_STAGING_WH")

    assert "WAREHOUSE_NAME => 'CRYPTO_STAGING_WH'" in sql
    assert params == []


@pytest.mark.parametrize("one", questions().values(), ids=questions())
def test_a_question_only_reads_and_says_what_it_asks_in_a_sentence(one: Any) -> None:
    assert only_reads(one.sql)
    assert re.fullmatch(r"[A-Z].*\?", one.asks)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gap", "'gap' is no question; did you mean gaps?"),
        ("why", "'why' is no question; those are"),
    ],
)
def test_a_question_that_is_none_is_answered_with_the_nearest(name: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(said)):
        question(name)


@pytest.fixture
def command(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """The command line over the filled DuckDB."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYPTO_HOME", str(home))
    return CliRunner()


def test_the_command_lists_the_questions_and_prints_answers(command: CliRunner) -> None:
    listed = command.invoke(main, ["inspect"])
    gaps = command.invoke(main, ["inspect", "gaps", "--coin", "BTC", "--last", "5d"])

    assert all(f"│ {name} " in listed.stdout for name in questions())
    assert gaps.exit_code == 0, gaps.output
    assert gaps.stdout.startswith("What is missing, and why?")
    rows = [re.split(r" *[│┃] *", line)[1:-1] for line in gaps.stdout.splitlines()]
    assert [row[3] for row in rows if row and row[1:2] == ["bitcoin"]] == [
        "pending",
        "missing_at_source",
    ]
    assert [row[-1] for row in rows if row and row[1:2] == ["bitcoin"]] == [PENDING, GONE]


def printed(rows: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The heading and the rows of a table, each cell as wide as it stands there."""
    _show(rows, as_json=False, as_csv=False, title="")
    lines = capsys.readouterr().out.splitlines()
    return [re.split("[│┃]", line)[1:-1] for line in lines if line[:1] in {"│", "┃"}]


def test_a_number_is_shown_as_what_its_column_means(capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "vs_currency": "eur",
        "price": 56_044.399,
        "total_market_cap": 1.8514299e12,
        "return_1d": -4.8873646e-05,
        "price_change_percentage_24h": -4.20607,
        "bitcoin_dominance": 0.57222857,
        "complete": 0.99999,
        "volatility_30d": 1.6389433,
        "hours_old": 0.4,
        "ratio_to_median": 0.98567123,
        "windows": 1234,
        "unusual": True,
    }

    heading, cells = printed([row], capsys)

    shown = dict(zip(map(str.strip, heading), map(str.strip, cells), strict=True))
    assert shown == {
        "vs currency": "eur",
        "price (eur)": "56,044.399",
        "total market cap (eur)": "1.85 T",
        "return 1d": "0.00 %",
        "price change percentage 24h": "\N{MINUS SIGN}4.21 %",
        "bitcoin dominance": "57.22 %",
        "complete": "99.99 %",
        "volatility 30d": "163.89 %",
        "hours old": "0.4",
        "ratio to median": "0.9857",
        "windows": "1,234",
        "unusual": "yes",
    }


def test_the_points_of_a_column_stand_below_each_other_and_currencies_are_not_mixed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows: list[dict[str, Any]] = [
        {"vs_currency": "usd", "price": 56_044.399},
        {"vs_currency": "eur", "price": 0.21026898},
        {"vs_currency": "eur", "price": None},
    ]

    heading, *cells = printed(rows, capsys)

    assert heading[1].strip() == "price"
    assert [cell[1] for cell in cells] == [
        " 56,044.399      ",
        "      0.21026898 ",
        "                 ",
    ]


def test_programs_get_the_values_as_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (True, False):
        row = {"total_market_cap": 1851429912345.678}
        _show([row], as_json=as_json, as_csv=not as_json, title="")
        assert "1851429912345.678" in capsys.readouterr().out


def test_an_answer_as_json_or_csv_is_nothing_else(command: CliRunner) -> None:
    as_json = command.invoke(main, ["inspect", "newest", "--json"])
    as_csv = command.invoke(main, ["inspect", "newest", "--csv"])

    newest = [row["coin_id"] for row in json.loads(as_json.stdout)]
    assert newest == [row["coin_id"] for row in csv.DictReader(StringIO(as_csv.stdout))]
    assert newest == ["ethereum", "bitcoin"]
    assert as_json.stderr == as_csv.stderr == ""


def test_an_answer_without_rows_says_so(command: CliRunner) -> None:
    nothing = command.invoke(main, ["inspect", "quarantined", "--coin", "bitcoin"])
    no_json = command.invoke(main, ["inspect", "quarantined", "--coin", "bitcoin", "--json"])

    assert "Nothing: no row answers that." in nothing.stdout
    assert no_json.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gap"], "did you mean gaps?"),
        (["gaps", "--coin", "bitcon"], "did you mean bitcoin?"),
        (["gaps", "--start", "soon"], "--start 'soon' is no time"),
        (["gaps", "--at", "2026-01-01"], "What it takes: --coin, --stream, --start, --end."),
        (["never-loaded", "--coin", "bitcoin"], "What it takes: --stream."),
        (["gaps", "--last", "5d", "--end", "2026-01-01"], "--last reaches from now back"),
        (["credits"], "credits asks Snowflake itself: only with CRYPTO_PROFILE=aws."),
        (["--coin", "bitcoin"], "Which question?"),
        (["gaps", "--json", "--csv"], "give one of them"),
    ],
)
def test_what_cannot_be_asked_is_answered_with_what_can(
    command: CliRunner, arguments: list[str], said: str
) -> None:
    ran = command.invoke(main, ["inspect", *arguments])

    assert ran.exit_code in {1, 2}
    assert said in ran.stderr


def test_where_there_is_no_warehouse_asking_makes_none(
    command: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path / "none"))

    ran = command.invoke(main, ["inspect", "newest"])

    assert "has no prices yet" in ran.stderr
    assert not (tmp_path / "none").exists()


def test_a_warehouse_that_somebody_holds_is_named_within_seconds(
    command: CliRunner, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crypto_platform.warehouse.duckdb._SHORT_TIMEOUT", 0.1)

    with duckdb.connect(str(home / "crypto_db.duckdb")):
        ran = command.invoke(main, ["inspect", "newest"])

    assert ran.exit_code == 1
    assert "crypto_db.duckdb was held by someone else" in ran.stderr
