"""The warehouse on a laptop: a DuckDB file, and how runs share it."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from glob import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

from crypto_platform.core.streams import Stream
from crypto_platform.lake.layers import Layer, at
from crypto_platform.lake.manifests import Manifest
from crypto_platform.warehouse.resource import (
    LoadResult,
    Row,
    Session,
    Warehouse,
    WarehouseBusyError,
    from_engine,
    to_engine,
    transaction,
)
from crypto_platform.warehouse.sql import (
    duckdb_creation,
    duckdb_relations,
    duckdb_sql,
    statement,
)

if TYPE_CHECKING:
    import duckdb

# A load is one of several things on a laptop; beyond this DuckDB spills to disk.
_MEMORY = "1GB"

# Seconds that a sensor may wait, which has to answer within a minute.
_SHORT_TIMEOUT = 5.0

# Rows that go through memory at once where they do not come from files.
_ROWS_A_BATCH = 50_000


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
        self, stream: Stream, manifests: Sequence[Manifest], transformed_root: str
    ) -> LoadResult:
        """See ``Warehouse.load``.

        Raises:
            CorruptFileError: A file is missing or damaged; names it, its window and what to do.
        """
        layer = Layer(transformed_root, "transformed", "transformed_prices")
        layer.check(stream, manifests)
        return super().load(stream, manifests, transformed_root)

    def query(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """See ``Warehouse.query``. It is kept nowhere: whoever asks may put anything into it."""
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
        with closing(self._open(read_only=read_only)) as session:
            yield session

    def _open(self, *, read_only: bool) -> "_DuckDBSession":
        if read_only and Path(self.path).exists():
            session = self._session(read_only=True)
            if session.enter():
                return session
            session.close()
        session = self._session(read_only=False)
        if not session.enter():
            session.create_tables()
            session.enter()
        return session

    def _session(self, *, read_only: bool) -> "_DuckDBSession":
        return _DuckDBSession(self._connect(read_only=read_only), self.cache_folder)

    def _connect(self, *, read_only: bool) -> "duckdb.DuckDBPyConnection":
        import duckdb  # noqa: PLC0415 - loading the definitions need not take the time.
        from tenacity import (  # noqa: PLC0415
            Retrying,
            retry_if_exception,
            stop_after_delay,
            wait_random_exponential,
        )

        retrying = Retrying(
            retry=retry_if_exception(_is_held_by_another),
            wait=wait_random_exponential(multiplier=0.05, max=1),
            stop=stop_after_delay(self.patience),
            reraise=True,
        )
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        try:
            return retrying(duckdb.connect, self.path, read_only=read_only)
        except duckdb.Error as error:
            if not _is_held_by_another(error):
                raise
            raise WarehouseBusyError(
                f"The warehouse {self.path} was held by someone else for {self.patience:.0f} "
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

    def enter(self) -> bool:
        """Enter the schema, if all is there; a file of an older version may lack a table."""
        there = {row["relation"] for row in self.execute(statement("relations"))}
        if not there >= duckdb_relations():
            return False
        self._connection.execute("SET schema = 'transformed'")
        return True

    def create_tables(self) -> None:
        """Make all that is not there, or nothing."""
        with transaction(self):
            for sql in duckdb_creation():
                self._connection.execute(sql)

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        said = duckdb_sql(sql, self._cache_folder)
        cursor = self._connection.execute(said, [to_engine(value) for value in params])
        names = [column[0].lower() for column in cursor.description or ()]
        return [
            {name: from_engine(value) for name, value in zip(names, row, strict=True)}
            for row in cursor.fetchall()
        ]

    def stage_files(self, table: str, uris: Sequence[str]) -> None:
        if uris:
            read = self._connection.read_parquet(_local_files(uris), hive_partitioning=False)
            self._add(table, read)

    def stage_rows(self, table: str, rows: Iterable[Row]) -> None:
        import pyarrow as pa  # noqa: PLC0415

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
        import duckdb  # noqa: PLC0415

        columns = self._connection.table(table).columns
        rows.select(*(duckdb.ColumnExpression(column) for column in columns)).insert_into(table)


def _is_held_by_another(error: BaseException) -> bool:
    # DuckDB has no error of its own for this. The first is said across processes, the second
    # within one, where writers and readers do not share the file either.
    said = str(error)
    return "Could not set lock on file" in said or "with a different configuration" in said


def _local_files(uris: Iterable[str]) -> list[str]:
    # DuckDB takes each name for a pattern.
    return [escape(os.fspath(at(uri))) for uri in uris]
