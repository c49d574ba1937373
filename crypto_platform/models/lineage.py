"""The columns that a model's columns are computed from, read from its SQL."""

from collections.abc import Sequence
from importlib.metadata import version

from crypto_platform.core.disk_cache import kept_on_disk
from crypto_platform.core.lazy import exp as expressions
from crypto_platform.core.lazy import sqlglot
from crypto_platform.core.lazy import sqlglot_lineage as lineage
from crypto_platform.warehouse.catalogue import tables as catalogue_tables

Lineage = dict[str, list[tuple[str, str]]]
"""For each column, the tables and columns that its values are computed from."""


def column_lineage(sql: str, tables: Sequence[str], kept_in: str | None = None) -> Lineage:
    """Where the values of a query's columns come from.

    What only joins, filters, partitions or orders rows is no source of a value.

    Args:
        sql: The query, or what inserts it, in Snowflake's dialect.
        tables: What it reads.
        kept_in: A folder that keeps results; reading the SQL anew takes half a second.
    """
    columns = {
        table: {column.name: column.base_type for column in catalogue_tables()[table]}
        for table in tables
    }
    key = f"column lineage by sqlglot {version('sqlglot')}\n{columns}\n{sql}"
    return kept_on_disk(kept_in, key, Lineage, lambda: _read_lineage(sql, columns))


def _read_lineage(sql: str, columns: dict[str, dict[str, str]]) -> Lineage:
    query = next(sqlglot.parse_one(sql, read="snowflake").find_all(expressions.Query))
    for window in list(query.find_all(expressions.Window)):
        window.set("partition_by", None)
        window.set("order", None)
    found = lineage.lineage(None, query, columns, dialect="snowflake", trim_selects=False)
    return {column.lower(): _sources(node) for column, node in found.items()}


def _sources(column: "lineage.Node") -> list[tuple[str, str]]:
    sources = {
        (node.expression.name.lower(), node.name.rpartition(".")[2].lower())
        for node in column.walk()
        if isinstance(node.expression, expressions.Table)
    }
    return sorted(sources)
