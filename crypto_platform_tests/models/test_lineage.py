"""The lineage of the models' columns, which is read from the SQL that makes them."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import sqlglot
from sqlglot import exp

from crypto_platform.models.build import MODELS, Model
from crypto_platform.models.lineage import Lineage, column_lineage
from crypto_platform.warehouse.catalogue import tables
from crypto_platform.warehouse.sql import model_statement

DAILY = "daily_prices"
PRICES = ("historical_prices", "intra_day_prices")
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def lineage_of(model: Model, sql: str | None = None, kept_in: str | None = None) -> Lineage:
    sql = sql or model_statement(f"make_{model.name}", model.name)
    return column_lineage(sql, model.reads, kept_in)


def columns_of(*tables: str, columns: str) -> list[tuple[str, str]]:
    return sorted((table, column) for table in tables for column in columns.split())


def of_moments(column: str) -> list[tuple[str, str]]:
    """A value of both tables of prices, which counts by when it was."""
    of_both = columns_of(*PRICES, columns=f"{column} price_at")
    return sorted([*of_both, ("historical_prices", "stamped_at")])


@each_model
def test_every_column_of_a_model_has_sources_that_the_model_reads(model: Model) -> None:
    lineage = lineage_of(model)

    assert list(lineage) == [column.name for column in tables()[model.name]]
    for sources in lineage.values():
        assert sources
        for table, column in sources:
            assert table in model.reads
            assert column in {one.name for one in tables()[table]}


@each_model
def test_a_model_reads_the_tables_that_its_sql_names(model: Model) -> None:
    statement = sqlglot.parse_one(model_statement(f"make_{model.name}"), read="snowflake")
    query = statement.find(exp.Query)
    assert query

    named = {table.name for table in query.find_all(exp.Table)}
    assert named - {cte.alias for cte in query.ctes} == set(model.reads)


@pytest.mark.parametrize(
    ("name", "column", "sources"),
    [
        (DAILY, "day", columns_of(*PRICES, columns="price_at")),
        (DAILY, "open", of_moments("price")),
        (DAILY, "volume", of_moments("total_volume")),
        (DAILY, "market_cap", of_moments("market_cap")),
        (DAILY, "observations", columns_of(*PRICES, columns="price_at")),
        (DAILY, "hours_observed", columns_of("intra_day_prices", columns="price_at")),
        (DAILY, "granularity", columns_of("intra_day_prices", columns="granularity")),
        ("price_moves", "close", columns_of(DAILY, columns="close")),
        ("price_moves", "drawdown", columns_of(DAILY, columns="close")),
        ("price_moves", "range_24h", columns_of(DAILY, columns="high hours_observed low open")),
        # What was forgotten where lineage was written by hand: the all-time high of the API.
        (
            "price_moves",
            "ath_distance",
            [
                *columns_of(DAILY, columns="close day high open"),
                *columns_of("market_snapshots", columns="ath window_start"),
            ],
        ),
        ("trading_volumes", "median_30d", columns_of(DAILY, columns="day volume")),
        ("trading_volumes", "turnover", columns_of(DAILY, columns="market_cap volume")),
        ("market_sentiment", "fear_and_greed", [("fear_and_greed", "value")]),
        ("market_sentiment", "breadth_7d", [("price_moves", "return_7d")]),
        ("market_sentiment", "bitcoin_dominance", columns_of(DAILY, columns="coin_id market_cap")),
    ],
)
def test_a_columns_sources_are_what_its_values_are_computed_from(
    name: str, column: str, sources: list[tuple[str, str]]
) -> None:
    (model,) = (model for model in MODELS if model.name == name)

    assert lineage_of(model)[column] == sources


def test_lineage_follows_a_change_of_the_sql(tmp_path: Path) -> None:
    (model,) = (model for model in MODELS if model.name == "trading_volumes")
    sql = model_statement("make_trading_volumes")
    before = lineage_of(model, sql, str(tmp_path))

    after = lineage_of(
        model,
        sql.replace("daily_prices.volume / daily_prices.market_cap", "daily_prices.close"),
        str(tmp_path),
    )

    assert before["turnover"] == columns_of(DAILY, columns="market_cap volume")
    assert after == {**before, "turnover": [(DAILY, "close")]}


def test_kept_lineage_is_read_without_the_parser(tmp_path: Path) -> None:
    model = MODELS[0]
    lineage = lineage_of(model, kept_in=str(tmp_path))

    code = """
        import sys
        from crypto_platform.models.build import MODELS
        from crypto_platform.models.lineage import column_lineage
        from crypto_platform.warehouse.sql import model_statement
        model = MODELS[0]
        sql = model_statement(f"make_{model.name}", model.name)
        print(column_lineage(sql, model.reads, sys.argv[1]))
        assert "sqlglot" not in sys.modules
    """
    read = subprocess.check_output([sys.executable, "-c", dedent(code), str(tmp_path)], text=True)
    assert read.strip() == str(lineage)
