"""What loads have committed, kept in the lake: the ledger, for who must not wake the warehouse.

Snowflake bills a minute whenever its warehouse is asked anything, so nothing that runs by the clock
asks it. That reads the record instead: a file a month of each stream, with the ledger's own rows.
Only a load writes it, once its transaction is committed and while the warehouse is awake anyway;
and it writes what the warehouse then says, never what it meant to load. So the record may lack a
load that was killed in between, which is then loaded again; it has none that was not committed.
"""

import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.lazy import duckdb, pa, pc, pq
from crypto_platform.core.streams import Stream, Window
from crypto_platform.lake.layers import Layer, folder_start
from crypto_platform.warehouse.catalogue import tables
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.session import Row, Session
from crypto_platform.warehouse.sql import ledger_statement

RECORDS = "loaded"
"""The folder of the records, in the transformed layer."""

# Not .parquet: the bucket tells Snowpipe of each of those.
_FILE = "ledger.pq"

_LOST = "lost.json"

_TABLE = "ingestion_ledger"


class DamagedRecordError(PermanentFailure):
    """A month's record of what was loaded cannot be read."""


class LoadedWindow(NamedTuple):
    """What tells the ledger of a window from another one.

    Attributes:
        coins: How many coins it has, present or absent.
        points: How many prices.
        updated_at: When the newest of it was learned.
    """

    coins: int
    points: int
    updated_at: AwareDatetime


_Lost = TypeAdapter(dict[AwareDatetime, LoadedWindow])


@dataclass(frozen=True)
class LostWindow:
    """A window that a load had committed, and that the warehouse no longer has so.

    Attributes:
        start: Where it begins.
        recorded: What the record had of it.
        found: What the warehouse has instead; ``None`` for nothing.
    """

    start: datetime
    recorded: LoadedWindow
    found: LoadedWindow | None


@dataclass(frozen=True)
class LoadRecord:
    """The record of one stream.

    Attributes:
        layer: The transformed layer.
        stream: The stream.
    """

    layer: Layer
    stream: Stream

    def newest_windows(self, vs_currency: str) -> dict[str, datetime]:
        """Start of the newest window in which each coin has a price; coins without any are not in.

        Args:
            vs_currency: The currency of the prices.

        Raises:
            DamagedRecordError: A month cannot be read; says what to do.
        """
        ledger = self.ledger()
        present = ledger.filter((pc.field("status") == "present") & _in(vs_currency))
        newest = present.group_by("coin_id").aggregate([("window_start", "max")])
        return {row["coin_id"]: row["window_start_max"] for row in newest.to_pylist()}

    def of_window(self, window: Window, vs_currency: str) -> dict[str, Row]:
        """The ledger's row of each coin that it has in a window.

        Args:
            window: The window.
            vs_currency: The currency of the prices.

        Raises:
            DamagedRecordError: The month cannot be read; says what to do.
        """
        month = self._read(self._path(self._month_of(window.start)))
        if month is None:
            return {}
        rows = month.filter((pc.field("window_start") == window.start) & _in(vs_currency))
        return {row["coin_id"]: row for row in rows.to_pylist()}

    def ledger(self) -> "pa.Table":
        """The stream's rows of the table ``ingestion_ledger``.

        Raises:
            DamagedRecordError: A month cannot be read; says what to do.
        """
        months = [_schema().empty_table(), *self.layer.each(self._read, self._paths())]
        return pa.concat_tables(month for month in months if month is not None)

    def ensure(self, warehouse: Warehouse) -> None:
        """Ask the warehouse, once, for months without a record: an earlier version loaded them.

        Each month by itself, so that one that was cut off, or still goes on elsewhere, is completed
        here before anything is read.

        Args:
            warehouse: The warehouse.

        Raises:
            WarehouseBusyError: Another process holds the warehouse.
        """
        recorded = set(self._paths())
        # What was never transformed was never loaded, and a month without any row is a record too.
        months = map(_name, self.layer.folders(self.stream))
        missing = [month for month in months if self._path(month) not in recorded]
        if missing and warehouse.exists():
            with warehouse.session(read_only=True) as session:
                self._write(session, missing)

    def update(self, session: Session, loaded: Collection[Window]) -> list[LostWindow]:
        """Make the record say what the warehouse holds, after a load was committed.

        All of it and not only the load: so a warehouse that was dropped, or restored to an earlier
        state, is noticed here.

        Args:
            session: A session on the warehouse, after the commit.
            loaded: The windows of the load.

        Returns:
            Windows of earlier loads that the warehouse has no longer, the oldest first; each load
            names them, until they are loaded again.
        """
        recorded = self._recorded()
        found = {
            row["window_start"]: LoadedWindow(
                int(row["coins"]), int(row["points"]), row["updated_at"]
            )
            for row in session.execute(ledger_statement("loaded_windows"), [self.stream.name])
        }
        starts = {window.start for window in loaded}
        differing = {start for start in recorded | found if recorded.get(start) != found.get(start)}
        lost = {
            start: before
            for start, before in {**self._lost(), **_only(recorded, differing)}.items()
            if start not in starts and _is_older(found.get(start), before)
        }
        # First, since the months forget them.
        self._remember(lost)
        self._write(session, {self._month_of(start) for start in starts | differing})
        return [LostWindow(start, lost[start], found.get(start)) for start in sorted(lost)]

    def _lost(self) -> dict[datetime, LoadedWindow]:
        """What earlier loads have missed; where that is damaged, nothing."""
        content = self.layer.read(f"{self._folder}/{_LOST}")
        with suppress(ValidationError):
            return _Lost.validate_json(content) if content else {}
        return {}

    def _remember(self, lost: Mapping[datetime, LoadedWindow]) -> None:
        if lost or self._lost():
            self.layer.put(f"{self._folder}/{_LOST}", _Lost.dump_json(dict(lost)))

    def _recorded(self) -> dict[datetime, LoadedWindow]:
        """What the record has of each window; of a month that is damaged, nothing."""

        def summary(path: str) -> list[Row]:
            try:
                month = self._read(path)
            except DamagedRecordError:
                return []
            if month is None:
                return []
            counted = [("coin_id", "count"), ("points", "sum"), ("updated_at", "max")]
            windows: list[Row] = month.group_by("window_start").aggregate(counted).to_pylist()
            return windows

        return {
            row["window_start"]: LoadedWindow(
                row["coin_id_count"], row["points_sum"], row["updated_at_max"]
            )
            for month in self.layer.each(summary, self._paths())
            for row in month
        }

    def _write(self, session: Session, months: Iterable[str]) -> None:
        for month in sorted(months):
            span = self._span(month)

            def as_the_warehouse_says(
                held: bytes | None, values: Sequence[object] = (self.stream.name, *span)
            ) -> bytes:
                del held
                # Asked for anew where another load was first, and so never older than the record.
                return _packed(session.execute(ledger_statement("loaded_rows"), values))

            self.layer.update(self._path(month), as_the_warehouse_says)

    def _read(self, path: str) -> "pa.Table | None":
        content = self.layer.read(path)
        if content is None:
            return None
        try:
            return pq.read_table(io.BytesIO(content), schema=_schema())
        except pa.ArrowException as error:
            month = path.split("/")[-2]
            raise DamagedRecordError(
                f"{self.layer.uri(path)}, the record of what was loaded of {self.stream.name} in "
                f"{month}, is damaged: {error}. Materialize {self.stream.name}/snowflake_prices "
                "for any partition: the run makes it again from the warehouse."
            ) from error

    def _paths(self) -> list[str]:
        return sorted(path for path in self.layer.paths(self._folder) if path.endswith(f"/{_FILE}"))

    def _path(self, month: str) -> str:
        return f"{self._folder}/{month}/{_FILE}"

    @property
    def _folder(self) -> str:
        return f"{RECORDS}/{self.stream.folder}"

    def _month_of(self, start: datetime) -> str:
        return _name(self.stream.window_folder(self.stream.window_at(start)))

    def _span(self, month: str) -> tuple[datetime, datetime]:
        """From the first moment of a folder to that of the next one."""
        first = folder_start(self.stream, month)
        if first is None:
            raise ValueError(f"{month!r} is no folder of {self.stream.name}.")
        index = self.stream.index_at(first) + 1
        while self._month_of(start := self.stream.window_of_index(index).start) == month:
            index += 1
        return first, start


@contextmanager
def recorded_ledger(
    layer: Layer, warehouse: Warehouse, streams: Sequence[Stream], cache_folder: str | None = None
) -> Iterator[Warehouse]:
    """The ledger as the record has it, to be asked by the SQL that the warehouse is asked by.

    It lasts as long as the context, in a DuckDB file of its own, whatever the profile.

    Args:
        layer: The transformed layer.
        warehouse: The warehouse; it is asked only where an earlier version loaded it.
        streams: Whose ledger.
        cache_folder: What keeps statements in DuckDB's dialect.

    Raises:
        DamagedRecordError: A month cannot be read; says what to do.
        WarehouseBusyError: The warehouse had to be asked, and another process holds it.
    """
    records = [LoadRecord(layer, stream) for stream in streams]
    for record in records:
        record.ensure(warehouse)
    with TemporaryDirectory() as folder:
        path = str(Path(folder, "ledger.duckdb"))
        ledger = DuckDBWarehouse(path=path, cache_folder=cache_folder)
        with ledger.session(read_only=False):
            pass  # Which makes its tables.
        with closing(duckdb.connect(path)) as connection:
            # Else the records' UTC would become the machine's time.
            connection.execute("SET TimeZone = 'UTC'")
            for record in records:
                connection.from_arrow(record.ledger()).insert_into(f"transformed.{_TABLE}")
        yield ledger


def _only(
    windows: Mapping[datetime, LoadedWindow], starts: Collection[datetime]
) -> dict[datetime, LoadedWindow]:
    return {start: window for start, window in windows.items() if start in starts}


def _is_older(found: LoadedWindow | None, recorded: LoadedWindow) -> bool:
    # What is newer than the record is a load that was killed before it could write it.
    return found is None or found.updated_at < recorded.updated_at


def _in(vs_currency: str) -> "pc.Expression":
    return pc.field("vs_currency") == vs_currency


def _name(folder: str) -> str:
    return folder.rpartition("/")[2]


def _packed(rows: Sequence[Mapping[str, object]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), _schema()), buffer, compression="zstd")
    return buffer.getvalue()


def _schema() -> "pa.Schema":
    types = {
        "VARCHAR": pa.string(),
        "INTEGER": pa.int64(),
        "TIMESTAMP_NTZ": pa.timestamp("us", tz="UTC"),
    }
    return pa.schema([(one.name, types[one.base_type]) for one in tables()[_TABLE]])
