"""The warehouse on fakesnow, which takes Snowflake's SQL as Snowflake's connector does."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
from fakesnow.instance import FakeSnow

from crypto_platform.resources.warehouse import Row, Session, Warehouse
from crypto_platform.resources.warehouse_sql import script_statements

_NOT_IN_FAKESNOW = ["^CREATE WAREHOUSE", "^CREATE ROLE", "^GRANT"]


def fakesnow_warehouse() -> Warehouse:
    """A warehouse of its own, as the creation script makes it."""
    snowflake = FakeSnow(nop_regexes=_NOT_IN_FAKESNOW)

    class FakesnowWarehouse(Warehouse):
        # A resource without any field makes Dagster use what pydantic has deprecated.
        database: str = "crypto_db"

        @contextmanager
        def session(self, *, read_only: bool) -> Iterator[Session]:
            del read_only
            with closing(
                snowflake.connect(self.database, "transformed", paramstyle="qmark")
            ) as connection:
                yield _SnowflakeSession(connection)

        def table_uri(self, table: str) -> str:
            return f"snowflake://{self.database}/transformed.{table}"

    warehouse = FakesnowWarehouse()
    with warehouse.session(read_only=False) as session:
        for statement in script_statements("1_creation_tables.sql"):
            session.execute(statement)
    return warehouse


class _SnowflakeSession:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(sql, tuple(_without_zone(value) for value in params))
            names = [column.name.lower() for column in cursor.description]
            return [
                {name: _in_utc(value) for name, value in zip(names, row, strict=True)}
                for row in cursor.fetchall()
            ]

    def stage_files(self, table: str, uris: Sequence[str]) -> None:
        for uri in uris:
            self.stage_rows(table, pq.ParquetFile(uri).read().to_pylist())

    def stage_rows(self, table: str, rows: Iterable[Row]) -> None:
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            names = [column.name.lower() for column in cursor.description]
            places = ", ".join("?" * len(names))
            for row in rows:
                values = tuple(_without_zone(row.get(name)) for name in names)
                cursor.execute(f"INSERT INTO {table} VALUES ({places})", values)


def _without_zone(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def _in_utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
