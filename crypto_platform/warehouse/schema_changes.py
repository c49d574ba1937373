"""What a warehouse that is there does not have as the scripts do, and what changes it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.warehouse.catalogue import Column, tables
from crypto_platform.warehouse.sql import literal, statement


class FoundColumn(NamedTuple):
    """A column as a warehouse has it.

    Attributes:
        type: Its type as the engine calls it.
        nullable: Whether it may be null.
    """

    type: str
    nullable: bool


FoundColumns = Mapping[str, Mapping[str, FoundColumn]]
"""The columns of each table and view of a warehouse, by their names."""


@dataclass(frozen=True)
class SchemaChange:
    """What brings a column of a warehouse to what the scripts say of it.

    Attributes:
        fault: The table, the column and how it differs, in words.
        statements: What changes it, in the engine's SQL.
        is_safe: Whether they may be run unasked: no row and no reader's query changes by them.
    """

    fault: str
    statements: tuple[str, ...]
    is_safe: bool


class SchemaChangeRefusedError(PermanentFailure):
    """A table differs from the scripts in a way that a person has to decide on."""


def found_columns(rows: Iterable[Mapping[str, object]]) -> FoundColumns:
    """The columns of a warehouse, from the rows of the statement ``columns``."""
    found: dict[str, dict[str, FoundColumn]] = {}
    for row in rows:
        column = FoundColumn(str(row["type"]), bool(row["nullable"]))
        found.setdefault(str(row["relation"]), {})[str(row["name"])] = column
    return found


def schema_changes(
    found: FoundColumns, types: Mapping[str, Sequence[str]]
) -> Iterator[SchemaChange]:
    """What the tables of a warehouse do not have as the scripts do.

    Columns that the scripts do not know, of a person or of a newer version, are left alone, and
    so is the order of columns: every statement names those it means. A table that is not there is
    created, and no change.

    Args:
        found: The columns that are there.
        types: For each type of the scripts what the engine calls it; the first where it is given.
    """
    for table in sorted(found.keys() & tables().keys()):
        for column in tables()[table]:
            yield from _changes(table, column, found[table].get(column.name), types)


def refuse_unsafe(place: str, changes: Iterable[SchemaChange]) -> None:
    """Refuse to go on with a warehouse that a person has to change.

    Args:
        place: Which warehouse it is, for people.
        changes: What it does not have as the scripts do.

    Raises:
        SchemaChangeRefusedError: A change is not safe; names all of these and what to run.
    """
    unsafe = [change for change in changes if not change.is_safe]
    if unsafe:
        statements = chain.from_iterable(change.statements for change in unsafe)
        raise SchemaChangeRefusedError(
            f"{place} differs from snowflake_scripts in what is not changed unasked: "
            f"{'; '.join(change.fault for change in unsafe)}. Look at its rows, put a value in "
            "place of any question mark, and run: " + " ".join(f"{sql};" for sql in statements)
        )


def _changes(
    table: str, column: Column, found: FoundColumn | None, types: Mapping[str, Sequence[str]]
) -> Iterator[SchemaChange]:
    known_as = types[column.base_type]
    sql_type = column.sql_type if known_as[0] == column.base_type else known_as[0]
    named = f"{table}.{column.name}"

    def sql(name: str) -> str:
        parts = {"column": column.name, "sql_type": sql_type}
        parts["description"] = literal(column.description)
        return statement(name, table, file="schema_changes.sql", **parts)

    if found is None:
        fill = () if column.nullable else (sql("fill_column"), sql("set_not_null"))
        added = (sql("add_column"), *fill, sql("comment_column"))
        yield SchemaChange(f"{named} is not there", added, is_safe=column.nullable)
    elif found.type not in known_as:
        fault = f"{named} is {found.type} and not {column.sql_type}"
        yield SchemaChange(fault, (sql("set_type"),), is_safe=False)
    elif found.nullable and not column.nullable:
        yield SchemaChange(f"{named} may be null", (sql("set_not_null"),), is_safe=False)
    elif column.nullable and not found.nullable:
        yield SchemaChange(f"{named} may not be null", (sql("drop_not_null"),), is_safe=False)
