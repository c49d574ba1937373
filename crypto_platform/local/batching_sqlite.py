"""Where a laptop's Dagster keeps its runs: SQLite, as by default, with events written in batches.

A range run logs two events a partition an asset. Dagster's own SQLite storage gives each of them a
connection, a statement compiled anew and a commit in each of two files; it takes batches of events
from Dagster, and then writes them one by one.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, cast

import filelock
from dagster import DagsterEventType, EventLogEntry
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
)
from dagster._core.events import (
    ASSET_CHECK_EVENTS,
    ASSET_EVENTS,
    EVENT_TYPE_TO_PIPELINE_RUN_STATUS,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData, serialize_value
from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine
from sqlalchemy.event import listens_for

EVENTS_A_BATCH = 500
"""How many events of one step, all of them logged after its work is done, wait for each other: a
year's events of three assets took 0.67 s of CPU in such batches, and 11.3 s one by one."""

_ENGINES = 8
"""How many files' compiled statements are kept: of all runs' file, and the runs asked for last."""

_INDEXED = ASSET_EVENTS | ASSET_CHECK_EVENTS | EVENT_TYPE_TO_PIPELINE_RUN_STATUS.keys()

_PARTITION_EVENTS = {
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
}


_alone = threading.Event()


def keep_records_quickly() -> None:
    """Have this process, from now on, keep connections open and not wait for the disk.

    Both take longer at each event than all else that a small run does. Nobody can follow a run of
    it meanwhile, and should the power fail, the records of all runs may be damaged: for what can be
    made again.
    """
    if _alone.is_set():
        return
    _alone.set()

    @listens_for(Engine, "connect")
    def never_wait(connection: object, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")


def _is_indexed(event: EventLogEntry) -> bool:
    """Whether Dagster also keeps an event in the file of all runs."""
    return event.is_dagster_event and event.dagster_event_type in _INDEXED


class BatchingEventLog(SqliteEventLogStorage):
    """Dagster's SQLite event log, which writes a batch of events in one transaction a file."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """As Dagster's, which compiles each statement anew each time that it runs."""
        self._engine = lru_cache(_ENGINES)(self._new_engine)
        # What a thread has open it goes on with; the others wait for it, as they do in Dagster's.
        self._open: dict[str, Connection] = {}
        self._empty: bytes | None = None
        super().__init__(base_dir, inst_data)
        self._db_lock = cast(threading.Lock, threading.RLock())

    def _new_engine(self, shard: str) -> Engine:
        # No connection stays open: the UI follows a run by its file, which a commit changes only
        # when the last connection to it is closed.
        return create_engine(
            self.conn_string_for_shard(shard),
            poolclass=QueuePool if _alone.is_set() else NullPool,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
        )

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            if shard in self._open:
                yield self._open[shard]
                return
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._make_like_the_first(shard)
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                self._open[shard] = connection
                try:
                    yield connection
                finally:
                    del self._open[shard]

    def _make_like_the_first(self, shard: str) -> None:
        """Make a run's file as the first one of this process was before it had any event.

        Dagster reads all of its migrations to make one.
        """
        path = Path(self.path_for_shard(shard))
        if shard == INDEX_SHARD_NAME or path.exists():
            return
        if self._empty is None:
            with TemporaryDirectory() as folder:
                first = Path(folder, "empty.db")
                self._initdb(create_engine(f"sqlite:///{first}", poolclass=NullPool))
                self._empty = first.read_bytes()
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(self._empty)
        # Unlike a move, this leaves what another process has made meanwhile.
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event in one transaction a file.

        Args:
            event: The event.
        """
        # The file of all runs, which not every event goes to, is committed first.
        indexed = self.index_transaction() if _is_indexed(event) else nullcontext()
        with self.run_connection(event.run_id), indexed:
            super().store_event(event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events that Dagster logged together; the same rows as one by one.

        Where this raises, Dagster stores the events one by one.

        Args:
            events: Events of one run.
        """
        # The file of all runs, which other processes may hold, is committed first: where that
        # fails, nothing was stored.
        with self.run_connection(events[0].run_id) as log, self.index_transaction() as index:
            together = [event for event in events if event.dagster_event_type in _PARTITION_EVENTS]
            if together:
                self._store_together(together, log, index)
            # What checks plan comes in between, a few in all, and has tables of its own.
            super().store_event_batch(
                [event for event in events if event.dagster_event_type not in _PARTITION_EVENTS]
            )

    def _store_together(
        self, events: Sequence[EventLogEntry], log: Connection, index: Connection
    ) -> None:
        rows = [self._event_to_row(event) for event in events]
        insert = SqlEventLogStorageTable.insert()
        ids = [index.execute(insert, row).lastrowid for row in rows]
        self._store_asset_event_tags(index, events, ids)
        # What an asset's own row says is its last event.
        newest = {row["asset_key"]: place for place, row in enumerate(rows)}
        for place in newest.values():
            self._store_asset_event(index, events[place], ids[place])
        log.execute(insert, rows)

    def _store_asset_check_evaluation_planned(
        self, event: EventLogEntry, event_id: int | None
    ) -> None:
        """As Dagster's, which serializes the event and compiles its row anew for each partition.

        Its one statement for all of them has more values than SQLite takes from 4,096 partitions
        on.
        """
        planned = cast(AssetCheckEvaluationPlanned, event.get_dagster_event().event_specific_data)
        subset = planned.partitions_subset
        row = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            "evaluation_event": serialize_value(event),
            "evaluation_event_timestamp": self._event_insert_timestamp(event),  # type: ignore[no-untyped-call]  # Dagster's own
            "evaluation_event_storage_id": event_id,
        }
        keys = subset.get_partition_keys() if subset else [None]
        with self.index_connection() as index:
            index.execute(
                AssetCheckExecutionsTable.insert(), [{**row, "partition": key} for key in keys]
            )


class BatchingStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage of runs, events and schedules, with the event log above."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        """As Dagster's; whoever opens the instance, in whichever process, logs in batches."""
        Path(base_dir).mkdir(parents=True, exist_ok=True)
        # Of two that open a new instance at once, one would find the other's tables half made.
        with filelock.FileLock(Path(base_dir, ".opening.lock")):
            super().__init__(base_dir, inst_data)
        self._event_log_storage = BatchingEventLog(self._event_log_storage._base_dir)  # noqa: SLF001
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENTS_A_BATCH))

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """How Dagster makes it of what stands in ``dagster.yaml``.

        Args:
            inst_data: Which class it is, to make it again in another process.
            config_value: The arguments.
        """
        return cls(inst_data=inst_data, **config_value)
