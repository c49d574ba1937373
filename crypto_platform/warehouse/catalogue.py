"""The tables and their columns: the one list, which is the SQL that creates them.

``1_creation_tables.sql`` and ``5_creation_models.sql`` are what people read and deploy, so they are
also what the rest is made from: which columns a statement names (``{columns:coins}`` in it), which
columns files are staged and landed with, what the UI shows, and what a warehouse that an older
version made lacks. They are read with no SQL parser: every process wants to know.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import NamedTuple

import dagster as dg

TABLE_SCRIPTS = ("1_creation_tables.sql", "5_creation_models.sql")
"""What creates the tables and views of both engines, in this order."""

LANDING_SCRIPTS = ("2_creating_pipe_for_historical.sql", "3_creating_pipe_for_intra_day.sql")
"""What creates the tables that Snowflake's pipes land files in."""

_TABLE = re.compile(
    r"^CREATE TABLE IF NOT EXISTS transformed\.(\w+) \(\n(.*?)\n\) COMMENT = '((?:[^']|'')*)'",
    re.DOTALL | re.MULTILINE,
)
_VIEW = re.compile(
    r"^CREATE OR REPLACE VIEW transformed\.(\w+) \(\n(.*?)\n\) COPY GRANTS\n"
    r"    COMMENT = '((?:[^']|'')*)'",
    re.DOTALL | re.MULTILINE,
)
_VIEW_COLUMN = re.compile(r" {4}(\w+) COMMENT '((?:[^']|'')*)',?")
_COLUMN = re.compile(r" {4}(\w+) ([A-Z_]+(?:\(\d+\))?)( NOT NULL)? COMMENT '((?:[^']|'')*)',?")
_KEY = re.compile(r" {4}PRIMARY KEY \((.*)\)")
_PLACEHOLDER = re.compile(r"\{(columns|file_columns|file_values|landing_columns):(\w+)\}")

# The load says when it was; its files do not.
_MADE_BY_LOAD = "loaded_at"
# How Dagster's UI, and what checks Parquet, call these types.
_SHOWN_AS = {
    "VARCHAR": "string",
    "TIMESTAMP_NTZ": "timestamp",
    "TIMESTAMP_LTZ": "timestamp",
    "INTEGER": "bigint",
}


class Column(NamedTuple):
    """A column as the script that creates its table has it.

    Attributes:
        name: Its name.
        sql_type: Its type in Snowflake's SQL, as ``TIMESTAMP_NTZ(6)``.
        nullable: Whether it may be null.
        description: What it holds, with its unit.
    """

    name: str
    sql_type: str
    nullable: bool
    description: str

    @property
    def base_type(self) -> str:
        """Its type without a precision, as ``TIMESTAMP_NTZ``."""
        return self.sql_type.partition("(")[0]

    @property
    def shown_type(self) -> str:
        """Its type as people read it, as ``timestamp``."""
        return _SHOWN_AS.get(self.base_type, self.base_type.lower())

    @property
    def definition(self) -> str:
        """How SQL defines it."""
        text = self.description.replace("'", "''")
        null = "" if self.nullable else " NOT NULL"
        return f"{self.name} {self.sql_type}{null} COMMENT '{text}'"


class Described(NamedTuple):
    """A table or a view, in the words of its script.

    Attributes:
        description: What it holds, and what one row is.
        columns: What each of its columns holds, by the column's name.
    """

    description: str
    columns: Mapping[str, str]


# What files say beside the columns of prices: of which window and by which run they are.
_WINDOW_START = Column(
    "window_start",
    "TIMESTAMP_LTZ(6)",
    nullable=True,
    description="Start of the window that the price belongs to",
)
_RUN_ID = Column("run_id", "VARCHAR", nullable=True, description="The run that wrote the file")

ONLY_IN_FILES = (
    _WINDOW_START,
    _RUN_ID,
    Column(
        "stamp",
        "DOUBLE",
        nullable=True,
        description="The API's timestamp, in milliseconds since 1970; null where there is none",
    ),
    Column(
        "reason",
        "VARCHAR",
        nullable=True,
        description="Why the point is no price, in a sentence; null in files of prices",
    ),
)
"""What files of prices have beside the columns of their table, but for when they were loaded."""


def script_text(script: str) -> str:
    """A file of ``snowflake_scripts``, with the columns that it leaves to this list.

    In braces stands what is filled in for a table: ``columns``, its columns; ``file_columns`` and
    ``file_values``, the columns of its files in the lake and how COPY reads them;
    ``landing_columns``, the definitions of those where a pipe lands them.
    """
    return with_columns(files("snowflake_scripts").joinpath(script).read_text(encoding="utf-8"))


def with_columns(text: str) -> str:
    """A text with the columns of each table that it names, see ``script_text``."""
    return _PLACEHOLDER.sub(lambda found: _FILLED[found[1]](found[2]), text)


@cache
def tables() -> Mapping[str, tuple[Column, ...]]:
    """The columns of every table of the scripts, by the table's name.

    Raises:
        ValueError: A line of a table's definition is neither a column nor the key.
    """
    return {**_own_tables(), **dict(chain.from_iterable(map(_defined, LANDING_SCRIPTS)))}


@cache
def described() -> Mapping[str, Described]:
    """What every table and view of both engines holds, by its name, in the order of the scripts.

    Raises:
        ValueError: A line of a definition is neither a column nor the key.
    """
    texts = list(map(script_text, TABLE_SCRIPTS))
    found = {}
    for name, _, comment in chain.from_iterable(map(_TABLE.findall, texts)):
        columns = {column.name: column.description for column in _own_tables()[name]}
        found[name] = Described(_unquoted(comment), columns)
    for name, body, comment in chain.from_iterable(map(_VIEW.findall, texts)):
        found[name] = Described(_unquoted(comment), dict(map(_view_column, body.splitlines())))
    return found


@cache
def relations() -> frozenset[str]:
    """The names of the tables and views that both engines have."""
    head = r"^CREATE (?:OR REPLACE )?(?:TABLE|VIEW) (?:IF NOT EXISTS )?transformed\.(\w+)"
    texts = map(script_text, TABLE_SCRIPTS)
    return frozenset(name for text in texts for name in re.findall(head, text, re.MULTILINE))


def column_schema(table: str, *, without: AbstractSet[str] = frozenset()) -> dg.TableSchema:
    """A table's columns as Dagster shows them.

    Args:
        table: The table.
        without: Columns to leave out.
    """
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.shown_type,
                column.description,
            )
            for column in tables()[table]
            if column.name not in without
        ]
    )


@cache
def price_columns() -> dg.TableSchema:
    """The columns of prices in the lake and in the warehouse; both streams have the same."""
    return column_schema("historical_prices", without={_MADE_BY_LOAD})


@cache
def _own_tables() -> Mapping[str, tuple[Column, ...]]:
    """The tables that hold what the platform knows, on both engines."""
    return dict(chain.from_iterable(map(_defined, TABLE_SCRIPTS)))


def _defined(script: str) -> Iterator[tuple[str, tuple[Column, ...]]]:
    for name, body, _ in _TABLE.findall(script_text(script)):
        columns = []
        for line in body.splitlines():
            if column := _COLUMN.fullmatch(line):
                columns.append(Column(column[1], column[2], not column[3], _unquoted(column[4])))
            elif not _KEY.fullmatch(line):
                raise ValueError(f"{script}, table {name}: no column is defined by {line!r}.")
        yield name, tuple(columns)


def _view_column(line: str) -> tuple[str, str]:
    column = _VIEW_COLUMN.fullmatch(line)
    if column is None:
        raise ValueError(f"No column of a view is described by {line!r}.")
    return column[1], _unquoted(column[2])


def _unquoted(text: str) -> str:
    return text.replace("''", "'")


def _file_columns(table: str) -> list[Column]:
    """The columns of a table's files, in the order of the files."""
    columns = {
        column.name: column._replace(
            # A pipe converts in the account's time zone: moments keep their zone until the load.
            sql_type=column.sql_type.replace("_NTZ", "_LTZ"),
            nullable=True,
            description=f"As in {table}",
        )
        for column in _own_tables()[table]
        if column.name != _MADE_BY_LOAD
    }
    listed = list(columns.values())
    if _WINDOW_START.name not in columns:
        listed.insert(2, _WINDOW_START)
    return [*listed, _RUN_ID]


def _listed(items: Iterable[str], indent: int = 0) -> str:
    return f",\n{' ' * indent}".join(items) if indent else ", ".join(items)


_FILLED: Mapping[str, Callable[[str], str]] = {
    "columns": lambda table: _listed(column.name for column in _own_tables()[table]),
    "file_columns": lambda table: _listed(column.name for column in _file_columns(table)),
    "file_values": lambda table: _listed(
        (f"$1:{column.name}::{column.base_type}" for column in _file_columns(table)), indent=8
    ),
    "landing_columns": lambda table: _listed(
        (column.definition for column in _file_columns(table)), indent=4
    ),
}
