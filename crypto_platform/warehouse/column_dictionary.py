"""Every column of the warehouse and of the lake's files, as a page: ``docs/columns.md``.

``python -m crypto_platform.warehouse.column_dictionary > docs/columns.md`` makes it from the lists
that tables, statements and the UI follow too.
"""

import sys
from collections.abc import Iterable, Iterator

from crypto_platform.core.schema import RAW_COLUMNS
from crypto_platform.warehouse.catalogue import ONLY_IN_FILES, Column, described, tables

_HEAD = """\
# Columns

Every table and view of the [warehouse](warehouse.md), and what the [lake's](lake.md) files have,
in the words that the UI shows and that the database has as comments. This page is made from
`snowflake_scripts/`, never by hand: see [Development](development.md#these-pages).

- A `timestamp` is UTC, always. A `date` is a UTC day.
- *In vs_currency* means in the currency of the row's column `vs_currency`, `usd` unless you chose
  another.
- A share or a change is a fraction, 0.05 is 5 %, unless the column's name ends in `percentage_24h`.
- A null always means *not known*; the column *null* says when that can be.
- In SQL, `string`, `double`, `bigint`, `boolean`, `timestamp` and `date` are `VARCHAR`, `DOUBLE`,
  `INTEGER`, `BOOLEAN`, `TIMESTAMP_NTZ(6)` and `DATE`.

"""


def column_dictionary() -> str:
    """The page, in Markdown."""
    return _HEAD + "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield "## Tables"
    yield ""
    for name, relation in described().items():
        if name in tables():
            yield from _relation(name, relation.description)
            yield from _table(tables()[name])
    yield "## Views"
    yield ""
    yield "A column has the type of the column that it is of; counts are whole numbers, and `ratio`"
    yield "is a double."
    yield ""
    for name, relation in described().items():
        if name not in tables():
            yield from _relation(name, relation.description)
            yield "| column | null | what it holds |"
            yield "|---|---|---|"
            for column, text in relation.columns.items():
                holds, null = _parted(text)
                yield f"| `{column}` | {null or 'never'} | {holds} |"
            yield ""
    yield "## Files of the lake"
    yield ""
    yield "### Parquet"
    yield ""
    yield "A file of prices has the columns of `historical_prices`, but for `loaded_at`, and these:"
    yield ""
    yield from _table(ONLY_IN_FILES)
    yield "A file of snapshots has the columns of `market_snapshots`, but for `loaded_at`, and the"
    yield "column `run_id`."
    yield ""
    yield "### Raw JSON lines"
    yield ""
    yield "A line of raw prices is what one answer said of a coin in neighbouring windows:"
    yield ""
    yield "| field | type | what it holds |"
    yield "|---|---|---|"
    for field in RAW_COLUMNS.columns:
        yield f"| `{field.name}` | {field.type} | {_cell(field.description or '')} |"


def _relation(name: str, description: str) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    yield f"{description}."
    yield ""


def _table(columns: Iterable[Column]) -> Iterator[str]:
    yield "| column | type | null | what it holds |"
    yield "|---|---|---|---|"
    for column in columns:
        holds, null = _parted(column.description)
        yield f"| `{column.name}` | {column.shown_type} | {null or 'never'} | {holds} |"
    yield ""


def _parted(description: str) -> tuple[str, str]:
    """What a description says of the column, and of when it is null."""
    parts = description.split("; ")
    null = [part.removeprefix("null ") for part in parts if part.startswith("null ")]
    return _cell("; ".join(part for part in parts if not part.startswith("null "))), _cell(*null)


def _cell(text: str = "") -> str:
    return text.replace("|", "\\|").replace("[", "\\[")


if __name__ == "__main__":
    sys.stdout.write(column_dictionary())
