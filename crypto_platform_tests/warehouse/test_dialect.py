# ruff: noqa: DTZ001 - a moment without a zone, as DuckDB and Snowflake's TIMESTAMP_NTZ have it
"""What a laptop answers is what Snowflake documents, or it is refused by name."""

from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

from crypto_platform.warehouse.dialect import DIFFERENCES, DialectDifferenceError
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.sql import duckdb_sql
from crypto_platform_tests.warehouse_rows import put, put_price

AT = "'2026-11-22 13:45:56.789'::TIMESTAMP_NTZ"
SUNDAY = "'2026-11-22'::DATE"
OF_LETTERS = "FROM (VALUES ('b', 2), ('a', 1)) AS letters (s, i)"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> DuckDBWarehouse:
    """A price of a whole dollar and a half, and a day of a model."""
    made = DuckDBWarehouse(path=str(tmp_path_factory.mktemp("dialect") / "crypto_db.duckdb"))
    put_price(made, "bitcoin", datetime.fromisoformat("2026-11-22T00:00Z"), 1.0, market_cap=2.5)
    sentiment = {"vs_currency": "usd", "day": date(2026, 11, 22), "coins": 1}
    put(made, "market_sentiment", [sentiment, {**sentiment, "vs_currency": "eur", "coins": 3}])
    return made


# A part of a query, and what Snowflake documents of it; ... where it says that engines differ.
DIFFERENT = {
    "TIME_SLICE": (f"SELECT TIME_SLICE({AT}, 7, 'HOUR')", datetime(2026, 11, 22, 9)),
    "DATE_PART(epoch_second)": (f"SELECT DATE_PART(epoch_second, {AT})", 1795355156),
    "A format of times with Mon, Month, Dy, quotes or zones": (
        f"SELECT TO_CHAR({AT}, 'Mon DD')",
        "Nov 22",
    ),
    "The text of a DOUBLE": ("SELECT price::VARCHAR FROM historical_prices", "1"),
    "A DOUBLE cast to a whole number": ("SELECT market_cap::INTEGER FROM historical_prices", 3),
    "A quotient of whole numbers": (
        "SELECT COUNT(*) / MAX(coins) FROM market_sentiment",
        0.666667,
    ),
    "AVG of whole numbers": ("SELECT AVG(coins) FROM market_sentiment", ...),
    "DATE_TRUNC or DATEADD of a DATE": (
        "SELECT DATE_TRUNC('month', day) FROM market_sentiment LIMIT 1",
        date(2026, 11, 1),
    ),
    "REGEXP_SUBSTR with the parameter e": ("SELECT REGEXP_SUBSTR('abc', 'b(c)', 1, 1, 'e')", "c"),
    "APPROX_COUNT_DISTINCT, HLL or APPROX_PERCENTILE": (
        "SELECT APPROX_COUNT_DISTINCT(coins) FROM market_sentiment",
        ...,
    ),
    "HASH": ("SELECT HASH('a')", ...),
    "TYPEOF": ("SELECT TYPEOF(1::VARIANT)", "INTEGER"),
    "TO_BINARY": ("SELECT TO_BINARY('61')", b"a"),
}


@pytest.mark.parametrize("name", [one.name for one in DIFFERENCES])
def test_what_duckdb_answers_otherwise_is_refused_by_name(
    name: str, warehouse: DuckDBWarehouse
) -> None:
    query, documented = DIFFERENT[name]

    with pytest.raises(DialectDifferenceError) as refused:
        warehouse.query(query)

    assert str(refused.value).startswith(f"{name} is not the same in DuckDB as in Snowflake: ")
    # Else there is nothing left to refuse.
    with duckdb.connect(warehouse.path, read_only=True) as connection:
        connection.execute("SET schema = 'transformed'")
        (row,) = connection.execute(duckdb_sql(query)).fetchall()
    assert row[0] != documented


@pytest.mark.parametrize(
    ("instead", "documented"),
    [
        (f"DATEDIFF('second', '1970-01-01'::TIMESTAMP_NTZ, {AT})", 1795355156),
        (f"TO_CHAR({AT}, 'DD MON YYYY HH24:MI:SS.FF3')", "22 Nov 2026 13:45:56.789"),
        ("ROUND(2.5::DOUBLE)::INTEGER", 3),
        ("2::DOUBLE / 3", 2 / 3),
        (f"DATE_TRUNC('month', {SUNDAY})::DATE", date(2026, 11, 1)),
        ("LISTAGG(s) WITHIN GROUP (ORDER BY s) " + OF_LETTERS, "ab"),
        ("LISTAGG(s, ', ') WITHIN GROUP (ORDER BY s DESC) " + OF_LETTERS, "b, a"),
        ("LISTAGG(s) " + OF_LETTERS + " WHERE i > 2", ""),
        (f"DAYOFWEEK({SUNDAY})", 0),
        (f"DAYOFWEEKISO({SUNDAY})", 7),
        (f"WEEK({SUNDAY})", 47),
        (f"DATE_TRUNC('week', {AT})", datetime(2026, 11, 16)),
        (f"LAST_DAY({SUNDAY})", date(2026, 11, 30)),
        ("ADD_MONTHS('2026-02-28'::DATE, 1)", date(2026, 3, 31)),
        (f"DATEDIFF('week', {SUNDAY}, '2026-11-23'::DATE)", 1),
        ("DATEDIFF('day', '2026-01-01 23:59'::TIMESTAMP_NTZ, '2026-01-02'::TIMESTAMP_NTZ)", 1),
        ("ROUND(-2.5)", -3),
        ("MOD(-7, 3)", -1),
        ("DIV0(1::DOUBLE, 0)", 0),
        ("ZEROIFNULL(NULL)", 0),
        ("NULLIFZERO(0)", None),
        ("GREATEST(1, NULL)", None),
        ("CONCAT_WS('-', 'a', NULL)", None),
        ("EQUAL_NULL(NULL, NULL)", True),
        ("REGEXP_LIKE('abc', 'b')", False),
        ("POSITION('b', 'abc')", 2),
        ("CHARINDEX('a', 'banana', 3)", 4),
        ("SPLIT_PART('a,b,c', ',', -1)", "c"),
        ("SUBSTR('abc', -2)", "bc"),
        ("TRY_TO_NUMBER('1.7')", 2),
        ("TRY_TO_NUMBER('x')", None),
        ("MEDIAN(i) " + OF_LETTERS, 1.5),
        ("x FROM (VALUES (1), (NULL)) AS n (x) ORDER BY x LIMIT 1", 1),
        ("x FROM (VALUES (1), (NULL)) AS n (x) ORDER BY x DESC LIMIT 1", None),
        ("LAST_VALUE(s) OVER (ORDER BY s) " + OF_LETTERS + " LIMIT 1", "b"),
    ],
)
def test_what_is_not_refused_is_what_snowflake_documents(
    instead: str, documented: object, warehouse: DuckDBWarehouse
) -> None:
    (row,) = warehouse.query(f"SELECT {instead}")

    (value,) = row.values()
    if isinstance(value, datetime):
        value = value.replace(tzinfo=None)
    assert value == documented


@pytest.mark.parametrize("quotient", ["1::DOUBLE / 0", "price / (price - 1)", "MOD(7, points_)"])
def test_a_division_by_zero_is_an_error_as_in_snowflake(
    quotient: str, warehouse: DuckDBWarehouse
) -> None:
    with pytest.raises(duckdb.Error, match="Division by zero"):
        warehouse.query(
            f"SELECT {quotient} FROM (SELECT price, 0 AS points_ FROM historical_prices)"
        )


def test_a_divisor_that_is_bound_is_bound_once(warehouse: DuckDBWarehouse) -> None:
    assert warehouse.query("SELECT 7::DOUBLE / ? AS half", [2]) == [{"half": 3.5}]


def test_each_difference_is_told_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "warehouse.md").read_text(encoding="utf-8")

    assert [one.name for one in DIFFERENCES if f"| {one.name} |" not in page] == []
