"""A session with an engine: one statement at a time, rows in and out, and transactions."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Protocol

Row = dict[str, Any]


class Session(Protocol):
    """A short connection to an engine: all time is UTC, and the schema is ``transformed``."""

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """Run one statement.

        Args:
            sql: A statement in Snowflake's dialect.
            params: A value for each ``?``; datetimes have a zone.

        Returns:
            The rows that result, by the columns' names in lower case; datetimes are in UTC.
        """

    def stage_files(self, table: str, uris: Sequence[str], windows: str) -> None:
        """Add the rows of Parquet files to a temporary table, column by column of its names.

        A file holds whole months: only rows of the windows asked for get in.

        Args:
            table: The temporary table.
            uris: The files; of several versions, what one lacks is null, and what the table lacks
                is left out.
            windows: The temporary table whose ``window_start`` names the windows asked for.
        """

    def stage_rows(self, table: str, rows: Iterable[Row]) -> None:
        """Add rows to a temporary table, however many, with flat memory.

        Args:
            table: The temporary table.
            rows: The rows, by the columns' names.
        """


@contextmanager
def transaction(session: Session) -> Iterator[None]:
    """All that is run within counts together, or, after any error, not at all."""
    session.execute("BEGIN")
    try:
        yield
    except BaseException:
        # Where the connection is lost this fails too, and the engine has rolled back by itself:
        # the error to tell is the first one.
        with suppress(Exception):
            session.execute("ROLLBACK")
        raise
    session.execute("COMMIT")


def to_engine(value: object) -> object:
    """A value for a ``?``: the tables' timestamps have no zone, and are UTC.

    Raises:
        ValueError: A time has no zone.
    """
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise ValueError(f"The time {value} needs a zone: what would it be in UTC?")
    return value.astimezone(UTC).replace(tzinfo=None)


def from_engine(value: object) -> object:
    """A value of a row, the inverse of ``to_engine``."""
    if not isinstance(value, datetime):
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
