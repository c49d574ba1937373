"""fakesnow's translations, kept: the same statement is translated once in a process.

fakesnow parses each statement twice and walks it some eighty times, and parses what it made of it
once more to describe the result. The platform's statements are the same in every test.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest import mock

import fakesnow.cursor
import fakesnow.dialect
import fakesnow.server
from fakesnow.cursor import FakeSnowflakeCursor
from sqlglot import exp

# What is made of these depends on nothing but their text and the session's schema, and is not
# changed when it is run; a COPY, PUT or SET is translated each time.
_KEPT = (exp.Query, exp.Insert, exp.Update, exp.Delete, exp.Drop)
_KEPT_CREATIONS = {"SCHEMA", "TABLE", "VIEW"}


@contextmanager
def kept_translations() -> Iterator[None]:
    """Let fakesnow take what it has made of a statement before."""
    parsed = cache(fakesnow.dialect.parse_one)
    to_sql = exp.Expression.sql
    explode = FakeSnowflakeCursor._transform_explode  # noqa: SLF001 - there is no seam
    transform = FakeSnowflakeCursor._transform  # noqa: SLF001 - as above
    # By who they are, and all are kept: the hash of an expression is one of its whole tree.
    exploded: dict[int, list[exp.Expr]] = {}
    made: dict[tuple[int, str | None, str | None], exp.Expr] = {}
    written: dict[int, str] = {}

    def parts(cursor: Any, expression: exp.Expr) -> list[exp.Expr]:
        if id(expression) not in exploded:
            exploded[id(expression)] = explode(cursor, expression.copy())
        return exploded[id(expression)]

    def transformed(cursor: Any, expression: exp.Expr, params: Any) -> exp.Expr:
        if not _is_kept(expression):
            return transform(cursor, expression.copy(), params)
        key = (id(expression), cursor._conn.database, cursor._conn.schema)  # noqa: SLF001 - as above
        if key not in made:
            made[key] = transform(cursor, expression.copy(), params)
            written[id(made[key])] = to_sql(made[key], dialect="duckdb")
        return made[key]

    def sql(expression: exp.Expr, dialect: Any = None, **options: Any) -> str:
        there = written.get(id(expression)) if dialect == "duckdb" and not options else None
        return to_sql(expression, dialect, **options) if there is None else there

    def described(cursor: Any) -> list[Any]:
        question = f"DESCRIBE {cursor._last_sql}"  # noqa: SLF001 - as above
        found = cursor._duck_conn.execute(question, cursor._last_params)  # noqa: SLF001 - as above
        return list(found.fetchall())

    with ExitStack() as stack:
        for owner, name, replacement in (
            (fakesnow.server, "parse_one", parsed),
            (fakesnow.cursor, "parse_one", parsed),
            (FakeSnowflakeCursor, "_transform_explode", parts),
            (FakeSnowflakeCursor, "_transform", transformed),
            (FakeSnowflakeCursor, "_describe_last_sql", described),
            (exp.Expression, "sql", sql),
        ):
            stack.enter_context(mock.patch.object(owner, name, replacement))
        yield


def _is_kept(expression: exp.Expr) -> bool:
    if isinstance(expression, exp.Create):
        return expression.kind in _KEPT_CREATIONS
    return isinstance(expression, _KEPT)
