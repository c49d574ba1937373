"""A short connection to Snowflake, and how files and rows get into its temporary tables."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

from crypto_platform.core.lazy import snowflake_constants
from crypto_platform.warehouse.session import Row, from_engine, to_engine
from crypto_platform.warehouse.snowflake_errors import failures
from crypto_platform.warehouse.sql import identifier, literal, snowflake_statement

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

# Snowflake's own limit on FILES.
_FILES_A_COPY = 1_000

# Above 65,280 values the connector uploads a batch to a stage; below, it goes with the statement.
_VALUES_A_BATCH = 50_000

# The types that the tables have, as the connector names them and as SQL casts to them.
_CASTS = {
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "FIXED": "NUMBER",
    "REAL": "DOUBLE",
    "TEXT": "VARCHAR",
    "TIMESTAMP_NTZ": "TIMESTAMP_NTZ",
}


class CopySession:
    """A ``Session`` on Snowflake that copies files from the stage.

    Args:
        connection: To Snowflake.
        stage_root: The address that the stage ``transformed_lake`` stands for.
    """

    def __init__(self, connection: "SnowflakeConnection", stage_root: str) -> None:
        """See the class."""
        self._connection = connection
        self._stage_root = stage_root.rstrip("/") + "/"

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """See ``Session.execute``."""
        with failures(), closing(self._connection.cursor()) as cursor:
            cursor.execute(sql, tuple(to_engine(value) for value in params))
            names = [column.name.lower() for column in cursor.description]
            return [
                {name: from_engine(value) for name, value in zip(names, row, strict=True)}
                for row in cursor.fetchall()
            ]

    def stage_files(self, table: str, uris: Sequence[str], windows: str) -> None:
        """See ``Session.stage_files``."""
        self.copy_files(table, [self.path(uri) for uri in uris])
        self.keep_windows(table, windows)

    def keep_windows(self, table: str, windows: str) -> None:
        """Take the rows of other windows out of a table: a COPY reads whole files.

        Args:
            table: The table.
            windows: The table whose ``window_start`` names the windows to keep.
        """
        self.execute(snowflake_statement("keep_windows", table, windows=identifier(windows)))

    def copy_files(self, table: str, paths: Iterable[str]) -> None:
        """Add the rows of files to a table.

        Args:
            table: The table.
            paths: The files, relative to the stage.
        """
        casts = self.casts(table)
        remaining = iter(paths)
        while batch := list(islice(remaining, _FILES_A_COPY)):
            self.execute(
                snowflake_statement(
                    "copy_files",
                    table,
                    columns=", ".join(casts),
                    values=", ".join(f"$1:{name}::{cast}" for name, cast in casts.items()),
                    files=", ".join(map(literal, batch)),
                )
            )

    def stage_rows(self, table: str, rows: Iterable[Row]) -> None:
        """See ``Session.stage_rows``."""
        names = list(self.casts(table))
        sql = snowflake_statement(
            "insert_rows",
            table,
            columns=", ".join(names),
            places=", ".join("?" * len(names)),
        )
        remaining = (tuple(to_engine(row.get(name)) for name in names) for row in rows)
        with failures(), closing(self._connection.cursor()) as cursor:
            while batch := list(islice(remaining, _VALUES_A_BATCH // len(names))):
                cursor.executemany(sql, batch)

    def path(self, uri: str) -> str:
        """Where a file is, relative to the stage.

        Raises:
            ValueError: It is not below what the stage stands for.
        """
        if not uri.startswith(self._stage_root):
            raise ValueError(
                f"{uri} is not under {self._stage_root}, which the stage transformed_lake stands "
                "for; set TRANSFORMED_BUCKET to the stage's bucket, or make the stage again."
            )
        return uri.removeprefix(self._stage_root)

    def casts(self, table: str) -> dict[str, str]:
        """The type of each column of a table, by its name."""
        with failures(), closing(self._connection.cursor()) as cursor:
            cursor.execute(snowflake_statement("columns", table))
            types = snowflake_constants.FIELD_ID_TO_NAME
            return {
                identifier(column.name.lower()): _CASTS[types[column.type_code]]
                for column in cursor.description
            }
