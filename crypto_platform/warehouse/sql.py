"""The warehouse's SQL: read from ``snowflake_scripts``, and made DuckDB's where DuckDB runs it."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache, partial
from importlib.metadata import version
from itertools import chain

from crypto_platform.core.disk_cache import kept_on_disk
from crypto_platform.core.lazy import exp, sqlglot, sqlglot_errors
from crypto_platform.core.streams import STREAMS
from crypto_platform.warehouse.catalogue import TABLE_SCRIPTS, script_text, with_columns
from crypto_platform.warehouse.dialect import mended

PRICE_TABLES = tuple(stream.table for stream in STREAMS)

# Files whose {table} is a stream's table of prices.
_ABOUT_PRICES = frozenset({"statements.sql", "checks.sql"})

# What a script is given, as SnowSQL writes a variable too.
_VARIABLE = re.compile(r"&\{(\w+)\}")

# What a DuckDB file has of all that the script creates; see the script's head.
_DUCKDB_HAS = frozenset({"SCHEMA", "TABLE", "VIEW"})


def statement(name: str, table: str = "", *, file: str = "statements.sql", **parts: str) -> str:
    """One of the named statements of a file, in Snowflake's dialect.

    Args:
        name: The name it has there.
        table: The table it is about, for those that are about one.
        file: The file in ``snowflake_scripts``.
        parts: What stands for other names in braces: made by ``identifier`` and ``literal``, since
            none of these can be bound as a value.

    Raises:
        ValueError: If ``table`` is not a stream's table, in a file whose statements are about
            those, or is no name: an identifier cannot be bound as a value can.
    """
    text = _statements(file)[name]
    if "{table}" in text:
        if file in _ABOUT_PRICES and table not in PRICE_TABLES:
            known = ", ".join(sorted(PRICE_TABLES))
            raise ValueError(f"{table!r} is not a table of prices; those are {known}.")
        text = with_columns(text.replace("{table}", identifier(table)))
    for part, said in parts.items():
        text = text.replace(f"{{{part}}}", said)
    return text


def statement_names(file: str) -> tuple[str, ...]:
    """The names of the statements of a file in ``snowflake_scripts``."""
    return tuple(_statements(file))


ledger_statement = partial(statement, file="ledger.sql")
snowflake_statement = partial(statement, file="snowflake_statements.sql")
"""A statement that only Snowflake has."""


def model_statement(name: str, table: str = "", key: Sequence[str] = ()) -> str:
    """One of the named statements in ``models.sql``, in Snowflake's dialect.

    Args:
        name: The name it has there.
        table: The model it is about, for those that are about any; see ``identifier``.
        key: The columns of the model's key, for those that need them.
    """
    return statement(name, table, file="models.sql", key=", ".join(map(identifier, key)))


def insert_model(table: str) -> str:
    """What makes the rows of a model, of its query ``make_…`` in ``models.sql``."""
    query = model_statement(f"make_{table}", table)
    return statement("insert_model", table, file="models.sql", query=query)


@cache
def model_definition() -> str:
    """A checksum of how the models are made, which changes when any of them does."""
    makers = [text for name, text in _statements("models.sql").items() if name.startswith("make_")]
    return hashlib.sha256("\n".join(makers).encode()).hexdigest()[:16]


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
    text = script_text(script)
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
    return _VARIABLE.sub(lambda found: variables[found[1]], sql)


def variables_of(sql: str) -> frozenset[str]:
    """The names that a statement of a script is given something for, see ``filled``."""
    return frozenset(_VARIABLE.findall(sql))


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
    # What was kept before divisions and lists were mended is another translation.
    key = f"{_parser_version()} mended\n{sql}"
    return kept_on_disk(kept_in, key, str, lambda: _made_duckdbs(sql))


@cache
def _parser_version() -> str:
    return version("sqlglot")


def _made_duckdbs(sql: str) -> str:
    try:
        expression = mended(sqlglot.parse_one(sql, read="snowflake"))
        return expression.sql("duckdb", unsupported_level=sqlglot_errors.ErrorLevel.RAISE)
    except sqlglot_errors.SqlglotError as error:
        raise ValueError(f"This SQL does not run on DuckDB: {error}\n{sql}") from error


@lru_cache(maxsize=256)
def only_reads(sql: str) -> bool:
    """Whether a text in Snowflake's dialect is one query, which changes nothing."""
    try:
        return isinstance(sqlglot.parse_one(sql, read="snowflake"), exp.Query)
    except sqlglot_errors.SqlglotError:
        return False


@cache
def duckdb_definition() -> str:
    """A checksum of what makes a DuckDB file, which changes when any of it does."""
    texts = "\n".join(map(script_text, TABLE_SCRIPTS))
    return hashlib.sha256(texts.encode()).hexdigest()[:16]


@cache
def duckdb_creation(kept_in: str | None = None) -> tuple[str, ...]:
    """What makes a warehouse of an empty DuckDB file: its schema, tables, views and comments.

    In DuckDB's dialect, in the order to run it in.

    Args:
        kept_in: A folder that keeps it, see ``duckdb_sql``: what reads the ledger's record makes
            such a file each time.
    """
    key = f"{_parser_version()} creation {duckdb_definition()}"
    return kept_on_disk(kept_in, key, tuple[str, ...], _made_creation)


def _made_creation() -> tuple[str, ...]:
    statements: list[str] = []
    for text in chain.from_iterable(map(script_statements, TABLE_SCRIPTS)):
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
    parts = re.split(r"^-- name: (\w+)\n", script_text(file), flags=re.MULTILINE)
    return {
        name: text.strip().removesuffix(";")
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }
