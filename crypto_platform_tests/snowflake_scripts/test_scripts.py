"""The scripts, as text and as what they make of a warehouse."""

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from textwrap import dedent

import duckdb
import pytest
import sqlglot
from sqlfluff.core import FluffConfig, Linter
from sqlglot import exp

from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL
from crypto_platform.warehouse.catalogue import relations
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.snowflake_apply import ACCOUNT_SCRIPT, account_steps, steps
from crypto_platform.warehouse.snowflake_apply import SCRIPTS as TABLE_SCRIPTS
from crypto_platform.warehouse.sql import (
    duckdb_creation,
    duckdb_sql,
    filled,
    script_statements,
    snowflake_statement,
    statement,
    statement_names,
)
from crypto_platform_tests.transformed_lake import (
    TransformedLake,
    price,
)

SCRIPTS = sorted(
    path.name for path in files("snowflake_scripts").iterdir() if path.name[0].isdigit()
)
CREATION = "1_creation_tables.sql"
MODELS = "5_creation_models.sql"
INSPECTION = "4_inspection.sql"
SETTINGS = Settings.from_environment(
    {
        "SNOWFLAKE_LOAD_MODE": "snowpipe",
        "SNOWFLAKE_STORAGE_ROLE_ARN": "arn:aws:iam::123456789012:role/snowflake",
    }
)
PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMIIBIjAN\n-----END PUBLIC KEY-----"
# Every statement that an account is brought to its state with, filled in.
STEPS = [*account_steps(SETTINGS, credit_quota=50, public_key=PUBLIC_KEY), *steps(SETTINGS)]


@pytest.fixture(scope="module")
def snowflake_grammar() -> Linter:
    """A parser of Snowflake's SQL, which knows integrations, monitors and pipes too."""
    return Linter(config=FluffConfig(overrides={"dialect": "snowflake"}))


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(path=str(tmp_path / "crypto_db.duckdb"))


@pytest.fixture
def lake(tmp_path: Path) -> TransformedLake:
    return TransformedLake(str(tmp_path / "transformed"))


def test_duckdb_gets_every_table_and_view(warehouse: DuckDBWarehouse) -> None:
    rows = warehouse.query(statement("columns"))

    assert {row["relation"] for row in rows} == {
        "historical_prices",
        "intra_day_prices",
        "market_snapshots",
        "coins",
        "ingestion_ledger",
        "price_revisions",
        "streams",
        "prices",
        "coin_windows",
        "completeness",
        "fear_and_greed",
        "daily_prices",
        "price_moves",
        "trading_volumes",
        "market_sentiment",
        "model_inputs",
    }
    assert {row["relation"] for row in rows} == relations()


def test_every_table_view_and_column_says_in_duckdb_what_it_means(
    warehouse: DuckDBWarehouse,
) -> None:
    uncommented = warehouse.query(
        "SELECT table_name AS name FROM duckdb_tables() WHERE comment IS NULL "
        "UNION ALL SELECT view_name FROM duckdb_views() "
        "WHERE schema_name = 'transformed' AND comment IS NULL "
        "UNION ALL SELECT table_name || '.' || column_name FROM duckdb_columns() "
        "WHERE schema_name = 'transformed' AND comment IS NULL"
    )

    assert uncommented == []


def test_prices_are_doubles_and_times_have_no_zone(warehouse: DuckDBWarehouse) -> None:
    rows = warehouse.query(
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_name = 'historical_prices'"
    )

    types = {row["column_name"]: row["data_type"] for row in rows}
    assert {types[name] for name in ("price", "market_cap", "total_volume")} == {"DOUBLE"}
    assert {types[name] for name in ("price_at", "fetched_at", "loaded_at")} == {"TIMESTAMP"}


def test_creating_again_keeps_what_is_there(
    warehouse: DuckDBWarehouse, lake: TransformedLake
) -> None:
    manifest = lake.day("2026-11-22", price("bitcoin", "2026-11-22"))
    warehouse.load(HISTORICAL, [manifest], lake.root)

    with duckdb.connect(warehouse.path) as connection:
        for sql in duckdb_creation():
            connection.execute(sql)

    assert warehouse.query("SELECT coin_id FROM prices") == [{"coin_id": "bitcoin"}]


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_replaces_or_drops_what_holds_data(script: str) -> None:
    statements = [text.upper() for text in script_statements(script)]

    creations = [text for text in statements if text.startswith("CREATE")]
    safe = re.compile(r"CREATE ((\w+ ){1,2}IF NOT EXISTS|OR REPLACE VIEW) ")
    assert all(safe.match(text) for text in creations)
    changes = [
        text
        for text in statements
        if text.startswith(("DROP", "TRUNCATE", "DELETE", "ALTER", "UPDATE", "INSERT", "MERGE"))
    ]
    # What sets the same again and again, and drops nothing.
    objects = "WAREHOUSE|RESOURCE MONITOR|STORAGE INTEGRATION|FILE FORMAT"
    assert all(re.match(rf"ALTER ({objects}) \S+ SET\s", text) for text in changes)


@pytest.mark.parametrize("script", [CREATION, MODELS])
def test_the_reader_may_only_read_and_the_loader_changes_rows_but_no_table(script: str) -> None:
    grants = [text for text in script_statements(script) if text.startswith("GRANT")]

    def granted(role: str) -> set[str]:
        to_role = [text for text in grants if text.endswith(f"TO ROLE &{{{role}}}")]
        privileges = [re.sub(r"GRANT (.*?) ON .*", r"\1", text) for text in to_role]
        return {privilege for listed in privileges for privilege in listed.split(", ")}

    assert granted("reader") - {"USAGE"} == {"SELECT"}
    assert granted("loader") - {"USAGE"} == {"SELECT", "INSERT", "UPDATE", "DELETE"}


@pytest.mark.parametrize(
    "sql",
    [*(step.sql for step in STEPS), *script_statements(INSPECTION)],
    ids=lambda sql: re.sub(r"\W+", " ", sql)[:60],
)
def test_every_statement_is_one_of_snowflakes_sql(sql: str, snowflake_grammar: Linter) -> None:
    parsed = snowflake_grammar.parse_string(f"{sql};\n")

    assert parsed.violations == []
    assert parsed.tree


# What the code puts into the statements that only Snowflake has.
PARTS = {
    "columns": "coin_id, price",
    "database": "CRYPTO_DB",
    "files": "'a.parquet', 'b.parquet'",
    "integration": "CRYPTO_LAKE",
    "kinds": "WAREHOUSES",
    "landing": "historical_prices_landing",
    "of": "CRYPTO_WH",
    "owner": "SYSADMIN",
    "pattern": "'CRYPTO_WH'",
    "pipe": "historical_prices_pipe",
    # The parser does not know a ? for a bound value.
    "places": "'bitcoin', 1.0",
    "values": "$1:coin_id::VARCHAR, $1:price::DOUBLE",
    "what": "ALL FILE FORMATS IN DATABASE CRYPTO_DB",
    "windows": "staged_windows",
}


@pytest.mark.parametrize("name", statement_names("snowflake_statements.sql"))
def test_every_statement_that_only_snowflake_has_is_one_of_its_sql(
    name: str, snowflake_grammar: Linter
) -> None:
    sql = snowflake_statement(name, "staged_prices", **PARTS)

    assert "{" not in sql
    assert snowflake_grammar.parse_string(f"{sql};\n").violations == []


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE PIPE p AUTO_INGSET = TRUE AS COPY INTO t FROM @s",
        "CREATE STORAGE INTEGRATION i TYPE = EXTERNAL_STAGE STORAGE_PROVIDR = 'S3'",
        "CREATE RESOURCE MONITOR m WITH CREDIT_QUOTA 30",
        "CREATE USER u TYPE SERVICE",
        "GRANT OWNERSHIP ON PIPE p TO ROLE r COPY GRANTS",
    ],
)
def test_the_parser_refuses_what_is_none_of_it(sql: str, snowflake_grammar: Linter) -> None:
    assert snowflake_grammar.parse_string(f"{sql};\n").violations


def test_every_statement_of_the_scripts_is_among_the_steps() -> None:
    texts = [
        sql for script in (ACCOUNT_SCRIPT, *TABLE_SCRIPTS) for sql in script_statements(script)
    ]

    assert {ACCOUNT_SCRIPT, *TABLE_SCRIPTS, INSPECTION} == set(SCRIPTS)
    assert len(STEPS) == len(texts)
    assert not any("&{" in step.sql for step in STEPS)


# sqlglot does not know pipes; what each does is known to it.
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_pipe_fills_each_column_of_its_landing_table_by_its_name_and_type(script: str) -> None:
    statements = [step.sql for step in STEPS if step.script == script]
    pipes = [text.split("\nAS\n")[1] for text in statements if text.startswith("CREATE PIPE")]
    landings = {
        str(create.find(exp.Table)): create
        for create in (
            sqlglot.parse_one(text, read="snowflake")
            for text in statements
            if "_landing (" in text and text.startswith("CREATE TABLE")
        )
    }

    for copy in (sqlglot.parse_one(text, read="snowflake") for text in pipes):
        landing = landings.pop(str(copy.this.this))
        types = {
            column.name: column.args["kind"].this for column in landing.find_all(exp.ColumnDef)
        }
        selected = copy.args["files"][0].find(exp.Select).expressions
        names = [column.name for column in copy.this.expressions]
        assert names == list(types)
        assert names[-1] == "file_name"
        assert selected[-1].name.upper() == "METADATA$FILENAME"
        for name, value in zip(names[:-1], selected[:-1], strict=True):
            assert value.sql("snowflake").startswith(f"CAST(GET_PATH($1, '{name}') AS ")
            assert value.args["to"].this == types[name]
    assert not landings


def test_landing_has_the_columns_that_a_load_stages() -> None:
    creations = [
        sqlglot.parse_one(text, read="snowflake")
        for script in SCRIPTS
        for text in script_statements(script)
        if text.startswith("CREATE TABLE")
    ]
    columns = {
        create.find(exp.Table).name: {column.name for column in create.find_all(exp.ColumnDef)}
        for create in creations
    }

    of_files = {"window_start", "run_id", "file_name"}
    for table in ("historical_prices", "intra_day_prices", "market_snapshots"):
        assert columns[f"{table}_landing"] == columns[table] - {"loaded_at"} | of_files


def test_what_is_not_given_to_a_script_is_an_error_and_not_sql() -> None:
    with pytest.raises(KeyError, match="transformed_bucket"):
        filled("URL = 's3://&{transformed_bucket}/'", {})


@pytest.mark.parametrize("table", ["", "coins", "historical_prices; DROP TABLE coins"])
def test_no_unknown_table_gets_into_a_statement(table: str) -> None:
    with pytest.raises(ValueError, match="not a table of prices"):
        statement("delete_prices", table)


def test_what_duckdb_cannot_say_is_an_error_and_not_another_query() -> None:
    with pytest.raises(ValueError, match="does not run on DuckDB"):
        duckdb_sql("CREATE TABLE x (y INT COMMENT 'only Snowflake has these')")


SNOWFLAKES = "SELECT ZEROIFNULL(price) FROM prices"
DUCKDBS = "SELECT CASE WHEN price IS NULL THEN 0 ELSE price END FROM prices"


def test_what_was_made_of_a_statement_is_read_without_the_parser(tmp_path: Path) -> None:
    assert duckdb_sql(SNOWFLAKES, str(tmp_path)) == DUCKDBS

    code = """
        import sys
        from crypto_platform.warehouse.sql import duckdb_sql
        print(duckdb_sql(sys.argv[1], sys.argv[2]))
        assert "sqlglot" not in sys.modules
    """
    read = subprocess.check_output(
        [sys.executable, "-c", dedent(code), SNOWFLAKES, str(tmp_path)], text=True
    )
    assert read.strip() == DUCKDBS


@pytest.mark.parametrize("left", [b"", b'"SELECT', b"{}", b"null"])
def test_a_kept_statement_that_is_damaged_is_made_again(tmp_path: Path, left: bytes) -> None:
    duckdb_sql(SNOWFLAKES, str(tmp_path))
    duckdb_sql.cache_clear()
    [file] = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(left)
    duckdb_sql.cache_clear()

    assert duckdb_sql(SNOWFLAKES, str(tmp_path)) == DUCKDBS
    assert file.read_bytes() == whole


def test_a_statement_that_cannot_be_kept_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert duckdb_sql(SNOWFLAKES, str(tmp_path / "file")) == DUCKDBS


def test_a_semicolon_in_a_comment_does_not_end_a_statement() -> None:
    (table,) = (text for text in script_statements(CREATION) if ".historical_prices (" in text)

    assert "The API''s id of the coin; symbols are not unique" in table
    assert table.endswith("COMMENT = 'Daily history: one row a coin a day'")
