"""The warehouse's SQL: read from ``snowflake_scripts``, and made DuckDB's where DuckDB runs it."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from importlib.resources import files
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from crypto_platform.core.disk_cache import kept_on_disk
from crypto_platform.core.streams import STREAMS

if TYPE_CHECKING:
    from sqlglot import exp

# What makes a warehouse of an empty DuckDB file, in this order.
_CREATION_SCRIPTS = ("1_creation_tables.sql", "5_creation_models.sql")

PRICE_TABLES = frozenset(stream.table for stream in STREAMS)

# What a DuckDB file has of all that the script creates; see the script's head.
_DUCKDB_HAS = frozenset({"SCHEMA", "TABLE", "VIEW"})


class Column(NamedTuple):
    """A column as the script that creates its table describes it."""

    name: str
    type: str
    description: str


def statement(name: str, table: str = "", *, file: str = "statements.sql") -> str:
    """One of the named statements of a file, in Snowflake's dialect.

    Args:
        name: The name it has there.
        table: The table of prices it is about, for those that are about one.
        file: The file in ``snowflake_scripts``.

    Raises:
        ValueError: If ``table`` is not a stream's table: an identifier cannot be bound as a value
            can, so only known ones reach the text.
    """
    text = _statements(file)[name]
    if "{table}" not in text:
        return text
    if table not in PRICE_TABLES:
        known = ", ".join(sorted(PRICE_TABLES))
        raise ValueError(f"{table!r} is not a table of prices; those are {known}.")
    return text.replace("{table}", table)


def model_statement(name: str, table: str = "", key: Sequence[str] = ()) -> str:
    """One of the named statements in ``models.sql``, in Snowflake's dialect.

    Args:
        name: The name it has there.
        table: The model it is about, for those that are about any; see ``identifier``.
        key: The columns of the model's key, for those that need them.
    """
    text = _statements("models.sql")[name]
    if "{table}" in text:
        text = text.replace("{table}", identifier(table))
    return text.replace("{key}", ", ".join(map(identifier, key)))


@cache
def model_definition() -> str:
    """A checksum of how the models are made, which changes when any of them does."""
    makers = [text for name, text in _statements("models.sql").items() if name.startswith("make_")]
    return hashlib.sha256("\n".join(makers).encode()).hexdigest()[:16]


@cache
def described_columns(table: str) -> tuple[Column, ...]:
    """The columns of a table, as the script that creates it describes them.

    Read with no SQL parser, which loading the definitions need not take the time for.
    """
    scripts = "".join(map(_text, _CREATION_SCRIPTS))
    _, _, creation = scripts.partition(f" transformed.{table} (\n")
    columns = re.findall(
        r"^    (\w+) (\w+)(?:\(\d+\))?(?: NOT NULL)? COMMENT '((?:[^']|'')*)',$",
        creation.partition("PRIMARY KEY")[0],
        flags=re.MULTILINE,
    )
    return tuple(Column(name, kind, text.replace("''", "'")) for name, kind, text in columns)


def snowflake_statement(name: str, **parts: str) -> str:
    """One of the named statements in ``snowflake_statements.sql``, which only Snowflake has.

    Args:
        name: The name it has there.
        parts: What stands for each name in braces: made by ``identifier`` and ``literal``, since
            none of these can be bound as a value.
    """
    return _statements("snowflake_statements.sql")[name].format_map(parts)


def ledger_statement(name: str) -> str:
    """One of the named statements in ``ledger.sql``, in Snowflake's dialect."""
    return _statements("ledger.sql")[name]


def identifier(name: str) -> str:
    """A name as SQL takes it without quotes.

    Raises:
        ValueError: If it is anything but letters, digits and underscores.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name, flags=re.ASCII):
        raise ValueError(f"{name!r} cannot stand in SQL as the name of a table or column.")
    return name


def literal(text: str) -> str:
    """A text as Snowflake's SQL quotes it."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


@cache
def script_statements(script: str) -> tuple[str, ...]:
    """The statements of a script in ``snowflake_scripts``, each as it stands there."""
    import sqlglot  # noqa: PLC0415 - loading the definitions need not take the time.

    text = _text(script)
    statements: list[str] = []
    begin: int | None = None
    for token in sqlglot.tokenize(text, read="snowflake"):
        if begin is None:
            begin = token.start
        if token.text == ";":
            statements.append(text[begin : token.start])
            begin = None
    return tuple(statements)


def filled(sql: str, variables: Mapping[str, str]) -> str:
    """A statement of a script with what it is given in place of each ``&{name}``.

    Args:
        sql: The statement.
        variables: What each name stands for; checked by whoever gives it.

    Raises:
        KeyError: If something that the statement needs is not given.
    """
    return re.sub(r"&\{(\w+)\}", lambda found: variables[found[1]], sql)


@lru_cache(maxsize=256)
def duckdb_sql(sql: str, kept_in: str | None = None) -> str:
    """A statement in Snowflake's dialect as DuckDB takes it.

    Args:
        sql: The statement.
        kept_in: A folder that keeps what was made of statements: most processes ask for the same,
            and the parser that makes it takes 0.2 s to import.

    Raises:
        ValueError: If it is not one statement of Snowflake's SQL, or DuckDB cannot say it.
    """
    key = f"{_parser_version()}\n{sql}"
    return kept_on_disk(kept_in, key, str, lambda: _made_duckdbs(sql))


@cache
def _parser_version() -> str:
    return version("sqlglot")


def _made_duckdbs(sql: str) -> str:
    import sqlglot  # noqa: PLC0415
    from sqlglot.errors import ErrorLevel, SqlglotError  # noqa: PLC0415

    try:
        expression = sqlglot.parse_one(sql, read="snowflake")
        return expression.sql("duckdb", unsupported_level=ErrorLevel.RAISE)
    except SqlglotError as error:
        raise ValueError(f"This SQL does not run on DuckDB: {error}\n{sql}") from error


@lru_cache(maxsize=256)
def only_reads(sql: str) -> bool:
    """Whether a text in Snowflake's dialect is one query, which changes nothing."""
    import sqlglot  # noqa: PLC0415
    from sqlglot import exp  # noqa: PLC0415
    from sqlglot.errors import SqlglotError  # noqa: PLC0415

    try:
        return isinstance(sqlglot.parse_one(sql, read="snowflake"), exp.Query)
    except SqlglotError:
        return False


@cache
def duckdb_relations() -> frozenset[str]:
    """The names of the tables and views that a DuckDB file has once it is a warehouse.

    Read with no SQL parser: every process wants to know, and hardly any has to create them.
    """
    head = r"^CREATE (?:OR REPLACE )?(?:TABLE|VIEW) (?:IF NOT EXISTS )?\w+\.(\w+)"
    texts = (_text(script) for script in _CREATION_SCRIPTS)
    return frozenset(name for text in texts for name in re.findall(head, text, re.MULTILINE))


@cache
def duckdb_creation() -> tuple[str, ...]:
    """What makes a warehouse of an empty DuckDB file: its schema, tables, views and comments.

    In DuckDB's dialect, in the order to run it in.
    """
    import sqlglot  # noqa: PLC0415
    from sqlglot import exp  # noqa: PLC0415

    statements: list[str] = []
    for text in chain.from_iterable(map(script_statements, _CREATION_SCRIPTS)):
        if _created_kind(text) not in _DUCKDB_HAS:
            continue
        create = sqlglot.parse_one(text, read="snowflake")
        named = next(create.find_all(exp.Table))
        statements += [part.sql("duckdb") for part in _duckdb_parts(create, named)]
    return tuple(statements)


def _created_kind(text: str) -> str | None:
    """The kind of thing that a statement creates, in capitals.

    By its first words and not by parsing it, since sqlglot does not know roles and future grants,
    and says so on the log.
    """
    found = re.match(r"CREATE\s+(?:OR\s+REPLACE\s+)?(\w+)", text)
    return found and found[1]


def _duckdb_parts(create: "exp.Expr", named: "exp.Table") -> Iterator["exp.Expr"]:
    """What DuckDB has of a CREATE, and then its comments, which DuckDB takes one by one."""
    from sqlglot import exp  # noqa: PLC0415

    comments: list[exp.Expr] = []
    # DuckDB has no comments on a schema.
    if create.args["kind"] != "SCHEMA":
        comments += [
            exp.Comment(this=named.copy(), kind=create.args["kind"], expression=comment.this)
            for comment in create.find_all(exp.SchemaCommentProperty)
        ]
    for column in create.find_all(exp.ColumnDef):
        name = exp.column(column.this, named.this, named.args["db"])
        for constraint in list(column.constraints):
            if isinstance(constraint.kind, exp.CommentColumnConstraint):
                text = constraint.pop().kind.this
                comments.append(exp.Comment(this=name, kind="COLUMN", expression=text))
    for key in list(create.find_all(exp.PrimaryKey)):
        key.pop()
    create.set("properties", None)
    yield create
    yield from comments


@cache
def _statements(file: str) -> dict[str, str]:
    """The text of each named statement in a file."""
    parts = re.split(r"^-- name: (\w+)\n", _text(file), flags=re.MULTILINE)
    return {
        name: text.strip().removesuffix(";")
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def _text(script: str) -> str:
    return files("snowflake_scripts").joinpath(script).read_text(encoding="utf-8")
