"""The warehouse on a laptop: a DuckDB file, and how runs share it."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from glob import escape
from itertools import chain, islice
from pathlib import Path
from typing import Self

from crypto_platform.core.disk import explaining_disk
from crypto_platform.core.lazy import duckdb, pa, tenacity
from crypto_platform.core.streams import Stream
from crypto_platform.lake.layers import Layer
from crypto_platform.lake.manifests import Manifest
from crypto_platform.lake.storage import at
from crypto_platform.warehouse.catalogue import relations
from crypto_platform.warehouse.dialect import refuse_differences
from crypto_platform.warehouse.load import Accept, LoadResult
from crypto_platform.warehouse.resource import Warehouse, WarehouseBusyError, WarehouseDamagedError
from crypto_platform.warehouse.schema_changes import (
    SchemaChange,
    found_columns,
    refuse_unsafe,
    schema_changes,
)
from crypto_platform.warehouse.session import Row, Session, from_engine, to_engine, transaction
from crypto_platform.warehouse.sql import (
    duckdb_creation,
    duckdb_definition,
    duckdb_sql,
    only_reads,
    statement,
)

# A load is one of several things on a laptop; beyond this DuckDB spills to disk.
_MEMORY = "1GB"

# Seconds that a sensor may wait, which has to answer within a minute.
_SHORT_TIMEOUT = 5.0

# Seconds that a reader waits to bring an older file up to date, which it can read as it is.
_UPGRADE_TIMEOUT = 1.0

# Seconds after which nobody is at a file any longer that DuckDB moved out of memory.
_LEFT_AFTER = 24 * 3600

_WAY_OUT = (
    "Move the file away and materialize snowflake_prices for all partitions: that loads the lake "
    "again and asks no API."
)

# Rows that go through memory at once where they do not come from files.
_ROWS_A_BATCH = 50_000

# What DuckDB calls the types of the scripts.
_TYPES = {
    "BOOLEAN": ("BOOLEAN",),
    "DATE": ("DATE",),
    "DOUBLE": ("DOUBLE",),
    "INTEGER": ("INTEGER",),
    "TIMESTAMP_NTZ": ("TIMESTAMP",),
    "VARCHAR": ("VARCHAR",),
}


class DuckDBWarehouse(Warehouse):
    """A warehouse in one file, which one process may write or many may read.

    Connections are therefore short, and wait for each other.

    Attributes:
        path: The file; it is made on first use.
        patience: Seconds to wait for other processes.
        cache_folder: What keeps statements in DuckDB's dialect, see ``duckdb_sql``; ``None`` for
            nothing.
    """

    path: str
    patience: float = 60
    cache_folder: str | None = None

    def load(
        self,
        stream: Stream,
        manifests: Sequence[Manifest],
        transformed_root: str,
        accept: Accept | None = None,
    ) -> LoadResult:
        """See ``Warehouse.load``.

        Raises:
            CorruptFileError: A file is missing or damaged; names it, its window and what to do.
        """
        layer = Layer(transformed_root, "transformed", "transformed_prices")
        layer.check(stream, manifests)
        return super().load(stream, manifests, transformed_root, accept)

    def query(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """See ``Warehouse.query``. It is kept nowhere: whoever asks may put anything into it.

        Raises:
            DialectDifferenceError: DuckDB would answer it otherwise than Snowflake.
        """
        if only_reads(sql):
            refuse_differences(sql)
        keeps_nothing = type(self)(path=self.path, patience=self.patience)
        return Warehouse.query(keeps_nothing, sql, params)

    def exists(self) -> bool:
        """See ``Warehouse.exists``."""
        return Path(self.path).exists()

    def with_timeout(self) -> Self:
        """See ``Warehouse.with_timeout``."""
        return type(self)(path=self.path, patience=_SHORT_TIMEOUT, cache_folder=self.cache_folder)

    def table_uri(self, table: str) -> str:
        """See ``Warehouse.table_uri``."""
        return f"duckdb://{self.path}/transformed.{table}"

    @contextmanager
    def session(self, *, read_only: bool) -> Iterator[Session]:
        """See ``Warehouse.session``."""
        with (
            explaining_disk(f"The warehouse {self.path}", duckdb.Error),
            self._explaining_damage(),
            closing(self._open(read_only=read_only)) as session,
        ):
            yield session

    @contextmanager
    def _explaining_damage(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            if not _is_damage(error):
                raise
            raise WarehouseDamagedError(
                f"The warehouse {self.path} is damaged: {error} {_WAY_OUT}"
            ) from error

    def schema_changes(self) -> list[SchemaChange]:
        """What the file does not have as the scripts do; asking changes nothing.

        Raises:
            WarehouseBusyError: Another process holds the warehouse.
        """
        with closing(self._session(read_only=True)) as session:
            return session.schema_changes()

    def _open(self, *, read_only: bool) -> "_DuckDBSession":
        if not read_only or not self.exists():
            return self._up_to_date(self.patience)
        session = self._session(read_only=True)
        if session.is_up_to_date():
            return session.enter()
        is_readable = session.is_readable()
        session.close()
        if not is_readable:
            return self._up_to_date(self.patience)
        try:
            return self._up_to_date(min(self.patience, _UPGRADE_TIMEOUT))
        except (WarehouseBusyError, duckdb.IOException):
            # Others read it, or it may only be read: all that was there before can be asked for.
            return self._session(read_only=True).enter()

    def _up_to_date(self, patience: float) -> "_DuckDBSession":
        session = self._session(read_only=False, patience=patience)
        self._sweep()
        try:
            if not session.is_up_to_date():
                session.upgrade(self.path)
        except BaseException:
            session.close()
            raise
        return session.enter()

    def _session(self, *, read_only: bool, patience: float | None = None) -> "_DuckDBSession":
        patience = self.patience if patience is None else patience
        return _DuckDBSession(
            self._connect(read_only=read_only, patience=patience), self.cache_folder
        )

    def _refuse_another_format(self) -> None:
        """Refuse what is no file of DuckDB's: of SQLite's it would download an extension.

        Raises:
            WarehouseDamagedError: It is a folder, or of another format.
        """
        file = Path(self.path)
        if file.is_dir():
            raise WarehouseDamagedError(f"The warehouse {self.path} is a folder. {_WAY_OUT}")
        with suppress(OSError), file.open("rb") as opened:
            head = opened.read(12)
            # One that is being made has nothing in it yet.
            if head and head[8:] != b"DUCK":
                raise WarehouseDamagedError(
                    f"The warehouse {self.path} is damaged: it is not a valid DuckDB database "
                    f"file. {_WAY_OUT}"
                )

    def _sweep(self) -> None:
        """Delete what loads that were killed left of what did not fit into memory."""
        for left in Path(f"{self.path}.tmp").glob("*"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _LEFT_AFTER:
                    left.unlink()

    def _connect(self, *, read_only: bool, patience: float) -> "duckdb.DuckDBPyConnection":
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_held_by_another),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=1),
            stop=tenacity.stop_after_delay(patience),
            reraise=True,
        )
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        self._refuse_another_format()
        try:
            return retrying(duckdb.connect, self.path, read_only=read_only)
        except duckdb.Error as error:
            if not _is_held_by_another(error):
                raise
            raise WarehouseBusyError(
                f"The warehouse {self.path} was held by someone else for {patience:.0f} "
                "seconds: a run that loads, or a shell or notebook that has the file open. "
                f"Wait for it or close it, then try again. DuckDB says: {error}"
            ) from error


class _DuckDBSession:
    """A ``Session`` on a DuckDB file."""

    def __init__(
        self, connection: "duckdb.DuckDBPyConnection", cache_folder: str | None = None
    ) -> None:
        self._connection = connection
        self._cache_folder = cache_folder
        # Else a zone is the machine's, and the UTC of the files would become its time.
        connection.execute("SET TimeZone = 'UTC'")
        # Else it is most of the machine's; a load that needs more goes on through the disk.
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        # Else all threads wait for the oldest file of a load. Whoever wants an order asks for it.
        connection.execute("SET preserve_insertion_order = false")

    def is_up_to_date(self) -> bool:
        """Whether the scripts as they are now made the file, and nobody took a table out since."""
        # Both are asked for each time, so that a file's first opening keeps both translations.
        there = {row["relation"] for row in self.execute(statement("relations"))}
        try:
            (made_by,) = self.execute(statement("made_by"))
        except duckdb.CatalogException:
            return False
        return made_by["checksum"] == duckdb_definition() and there >= relations()

    def enter(self) -> Self:
        """Enter the schema."""
        self._connection.execute("SET schema = 'transformed'")
        return self

    def is_readable(self) -> bool:
        """Whether an older file has every table and view, and lacks at most columns."""
        there = found_columns(self.execute(statement("columns")))
        changes = schema_changes(there, _TYPES)
        return there.keys() >= relations() and all(change.is_safe for change in changes)

    def schema_changes(self) -> list[SchemaChange]:
        """What the tables that are there do not have as the scripts do."""
        return list(schema_changes(found_columns(self.execute(statement("columns"))), _TYPES))

    def upgrade(self, path: str) -> None:
        """Make all that is not there, or nothing.

        Raises:
            SchemaChangeRefusedError: A table differs in what a person has to decide on.
        """
        with transaction(self):
            changes = self.schema_changes()
            refuse_unsafe(path, changes)
            altering = chain.from_iterable(change.statements for change in changes)
            for sql in (*altering, *duckdb_creation(self._cache_folder)):
                self._connection.execute(sql)
            self.execute(statement("create_made_by"))
            self.execute(statement("comment_made_by"))
            self.execute(statement("insert_made_by"), [duckdb_definition()])

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        said = duckdb_sql(sql, self._cache_folder)
        cursor = self._connection.execute(said, [to_engine(value) for value in params])
        names = [column[0].lower() for column in cursor.description or ()]
        return [
            {name: from_engine(value) for name, value in zip(names, row, strict=True)}
            for row in cursor.fetchall()
        ]

    def stage_files(self, table: str, uris: Sequence[str], windows: str) -> None:
        if not uris:
            return
        asked_for = self._connection.table(windows)
        files = _local_files(uris)
        read = self._connection.read_parquet(files, hive_partitioning=False)
        # A join while reading passes over the parts of a file that hold other windows.
        if set(read.columns) >= set(self._connection.table(table).columns):
            # Else a file of an older version is among them, which lacks a column.
            with suppress(duckdb.InvalidInputException):
                self._add(table, read.join(asked_for, "window_start", how="semi"))
                return
        # This opens each file twice, which takes twice as long.
        read = self._connection.read_parquet(files, hive_partitioning=False, union_by_name=True)
        self._add(table, read.join(asked_for, "window_start", how="semi"))

    def stage_rows(self, table: str, rows: Iterable[Row]) -> None:
        schema = self._connection.table(table).limit(0).to_arrow_table().schema
        remaining = iter(rows)
        batches = (
            pa.RecordBatch.from_pylist(batch, schema)
            for batch in iter(lambda: list(islice(remaining, _ROWS_A_BATCH)), [])
        )
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        self._add(table, self._connection.from_arrow(reader))

    def close(self) -> None:
        self._connection.close()

    def _add(self, table: str, rows: "duckdb.DuckDBPyRelation") -> None:
        # What an older file does not have is null, and refused where a table takes no null.
        there = {name.lower() for name in rows.columns}
        null = duckdb.ConstantExpression(None)
        rows.select(
            *(
                duckdb.ColumnExpression(column) if column in there else null.alias(column)
                for column in self._connection.table(table).columns
            )
        ).insert_into(table)


def _is_held_by_another(error: BaseException) -> bool:
    # DuckDB has no error of its own for this. The first is said across processes, the second
    # within one, where writers and readers do not share the file either.
    said = str(error)
    return "Could not set lock on file" in said or "with a different configuration" in said


def _is_damage(error: "duckdb.Error") -> bool:
    # Nor for this.
    unusable = (duckdb.FatalException, duckdb.InternalException)
    said = str(error)
    return isinstance(error, unusable) or any(
        words in said for words in ("not a valid DuckDB database file", "orrupt", "checksum")
    )


def _local_files(uris: Iterable[str]) -> list[str]:
    # DuckDB takes each name for a pattern.
    return [escape(os.fspath(at(uri))) for uri in uris]
