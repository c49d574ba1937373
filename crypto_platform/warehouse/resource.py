"""The warehouse: where prices stand to be queried.

All that a load is stands in shared SQL, in Snowflake's dialect. An engine adds how to open a
session, and how files and rows get into a session's temporary tables.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, Self

import dagster as dg

from crypto_platform.core.errors import MixedSourcesError, PermanentFailure
from crypto_platform.core.streams import SIMULATED, STREAMS, Dataset, Stream, Window
from crypto_platform.lake.manifests import Manifest
from crypto_platform.warehouse.catalogue import tables
from crypto_platform.warehouse.sql import only_reads, statement

Row = dict[str, Any]

# The datasets of a window that a load brings in, each into the temporary table staged_….
_DATASETS: tuple[Dataset, ...] = ("prices", "snapshots")


class LoadMismatchError(PermanentFailure):
    """What is loaded is not what the manifests say; nothing was changed."""


class WarehouseBusyError(Exception):
    """Another process holds the warehouse for longer than a load takes."""


class CoinRow(Protocol):
    """What the warehouse keeps of a coin, by the names of the columns of the table ``coins``."""

    @property
    def coin_id(self) -> str:
        """The API's id."""

    @property
    def symbol(self) -> str | None:
        """Its ticker; ``None`` leaves what is known."""

    @property
    def name(self) -> str | None:
        """Its name; ``None`` leaves what is known."""

    @property
    def image(self) -> str | None:
        """Address of its picture; ``None`` leaves what is known."""

    @property
    def first_tracked_at(self) -> datetime:
        """Since when it has been tracked."""

    @property
    def tracked(self) -> bool:
        """Whether new windows ask for it."""


@dataclass(frozen=True)
class Revisions:
    """Values that stood in a table of prices until a load changed them or took them out.

    Attributes:
        by_window: How many observations were revised, by the start of their window; windows
            without any are not in it.
        examples: A few of them with their old and new values, of as many coins as there are.
    """

    by_window: Mapping[datetime, int]
    examples: Sequence[Row]

    @property
    def total(self) -> int:
        """How many observations were revised."""
        return sum(self.by_window.values())


@dataclass(frozen=True)
class LoadResult:
    """What a load put into the warehouse.

    Attributes:
        prices: Rows now in the stream's table of prices for the windows of the load.
        coins: How many coins these prices are of.
        snapshots: Rows now in ``market_snapshots`` for the windows.
        ledger: Coins times windows by their status in the ledger.
        previews: The first few prices of a window, by its start; windows without any are not in it.
        revisions: What stood in the windows before with other values, or no longer stands.
        loaded_at: The moment that stands in ``loaded_at`` of all rows that were not there before
            with these values.
    """

    prices: int
    coins: int
    snapshots: int
    ledger: Mapping[str, int]
    previews: Mapping[datetime, Sequence[Row]]
    revisions: Revisions
    loaded_at: datetime


@dataclass(frozen=True)
class TableSummary:
    """What stands in a stream's table of prices.

    Attributes:
        stream: The stream's name.
        table: The table's name.
        rows: Its prices.
        coins: How many coins they are of.
        oldest: The first ``price_at``; ``None`` in an empty table.
        newest: The last ``price_at``; ``None`` in an empty table.
        windows: How many windows were loaded.
        ledger: Coins times windows by their status in the ledger.
    """

    stream: str
    table: str
    rows: int
    coins: int
    oldest: datetime | None
    newest: datetime | None
    windows: int
    ledger: Mapping[str, int]

    @property
    def gaps(self) -> int:
        """Coins times windows that have no price; the ledger has the reason of each."""
        return sum(count for status, count in self.ledger.items() if status != "present")


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

    def stage_files(self, table: str, uris: Sequence[str]) -> None:
        """Add the rows of Parquet files to a temporary table, column by column of its names.

        Args:
            table: The temporary table.
            uris: The files; of several versions, what one lacks is null.
        """

    def stage_rows(self, table: str, rows: Iterable[Row]) -> None:
        """Add rows to a temporary table, however many, with flat memory.

        Args:
            table: The temporary table.
            rows: The rows, by the columns' names.
        """


class Warehouse(dg.ConfigurableResource[None]):
    """Where prices stand to be queried, on any engine."""

    @abstractmethod
    def session(self, *, read_only: bool) -> AbstractContextManager[Session]:
        """A session on the warehouse, whose tables are made on first use.

        Args:
            read_only: Whether nothing is to be changed, so that others may read meanwhile.
        """

    def loading_session(
        self, stream: Stream, manifests: Sequence[Manifest]
    ) -> AbstractContextManager[Session]:
        """The session of one load, for an engine to which it matters what is loaded.

        Args:
            stream: The stream of the windows.
            manifests: What is to be loaded.
        """
        del stream, manifests
        return self.session(read_only=False)

    def load(
        self, stream: Stream, manifests: Sequence[Manifest], transformed_root: str
    ) -> LoadResult:
        """Make the warehouse hold exactly what the manifests say of their windows.

        The prices, market snapshots and ledger rows of the windows are replaced in one
        transaction, after the files were compared with the manifests, and only if what then
        stands in the tables agrees with them too. Values that no longer stand afterwards go to
        ``price_revisions`` in the same transaction. Doing it again changes nothing.

        Args:
            stream: The stream of the windows.
            manifests: What the transformed lake holds, one a window, in any order.
            transformed_root: The root of the transformed lake.

        Raises:
            LoadMismatchError: Files and manifests differ; names a window, coin and what to do.
            MixedSourcesError: Simulated prices would stand beside real ones.
            WarehouseBusyError: Another process holds the warehouse.
        """
        ranges = merge_neighbours(manifest.window for manifest in manifests)
        with self.loading_session(stream, manifests) as session:
            # Not before: a load that waited for another one comes after it.
            loaded_at = datetime.now(UTC)
            _stage(session, stream, manifests, ranges, transformed_root)
            with transaction(session):
                _refuse_mixed_sources(session)
                _refuse_faults(session, stream)
                _refuse_mismatches(session, stream, "staged_mismatches", "its files hold")
                _replace(session, stream, loaded_at)
                for check in _checks_of_tables(stream):
                    _refuse_mismatches(session, stream, check, "the table would hold")
            return _result(session, stream, loaded_at)

    def upsert_coins(self, coins: Sequence[CoinRow]) -> None:
        """Add coins to the table ``coins``, and bring those that are there up to date.

        What is not known of a coin any longer (``None``) stays as it was, and so does the
        earliest ``first_tracked_at``.
        """
        columns = [column.name for column in tables()["coins"]]
        with self.session(read_only=False) as session:
            session.execute(statement("stage_coins"))
            session.stage_rows(
                "staged_coins",
                ({column: getattr(coin, column, None) for column in columns} for coin in coins),
            )
            session.execute(statement("merge_coins"))

    def query(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """Ask the warehouse something.

        Args:
            sql: One query in Snowflake's dialect.
            params: A value for each ``?``; datetimes have a zone.

        Returns:
            The rows, by the columns' names in lower case; datetimes are in UTC.

        Raises:
            ValueError: If it is anything but a query.
            WarehouseBusyError: Another process holds the warehouse.
        """
        if not only_reads(sql):
            raise ValueError(f"Only a single query can be asked of the warehouse, not: {sql}")
        with self.session(read_only=True) as session:
            return session.execute(sql, params)

    def prices_as_known_at(self, stream: Stream, moment: datetime, span: Window) -> list[Row]:
        """The prices of a stream as its table held them at a moment, whatever came later.

        Args:
            stream: The stream.
            moment: When.
            span: Of ``price_at``: which prices, since a whole table may not fit into memory.

        Returns:
            One row a coin an observation, with the values that stood then, and ``known_from``:
            since when they had stood.
        """
        sql = statement("prices_as_known_at", stream.table)
        of_span = (span.start, span.end)
        return self.query(sql, [moment, *of_span, stream.name, moment, moment, *of_span])

    def exists(self) -> bool:
        """Whether there is anything to read, for who must not make it by asking."""
        return True

    def with_timeout(self) -> Self:
        """The same warehouse, for who would rather come back later than wait long for it."""
        return self

    @abstractmethod
    def table_uri(self, table: str) -> str:
        """An address of a table that tells a person where it is."""

    def summary(self) -> list[TableSummary]:
        """What stands in each stream's table of prices, and what the ledger says is missing."""
        with self.session(read_only=True) as session:
            return [_summary(session, stream) for stream in STREAMS]


def merge_neighbours(windows: Iterable[Window]) -> list[Window]:
    """The same time in as few windows as possible, in their order.

    Raises:
        ValueError: If two windows overlap: each moment has one manifest.
    """
    merged: list[Window] = []
    for window in sorted(windows, key=lambda window: window.start):
        if merged and window.start < merged[-1].end:
            raise ValueError(f"Two windows to load overlap at {window.start:%Y-%m-%d %H:%M}.")
        adjoins = merged and window.start == merged[-1].end
        start = merged.pop().start if adjoins else window.start
        merged.append(Window(start=start, end=window.end))
    return merged


def _stage(
    session: Session,
    stream: Stream,
    manifests: Sequence[Manifest],
    ranges: Sequence[Window],
    transformed_root: str,
) -> None:
    """Put what the files and the manifests say into temporary tables."""
    for name in ("prices", "snapshots", "ledger", "windows", "ranges", "standing"):
        session.execute(statement(f"stage_{name}", stream.table))
    for dataset in _DATASETS:
        paths = [file.path for manifest in manifests for file in manifest.files_of(dataset)]
        session.stage_files(f"staged_{dataset}", [f"{transformed_root}/{path}" for path in paths])
    session.stage_rows("staged_windows", (_expected(manifest) for manifest in manifests))
    session.stage_rows(
        "staged_ranges", ({"range_start": one.start, "range_end": one.end} for one in ranges)
    )
    session.stage_rows("staged_ledger", _absences(stream, manifests))
    session.execute(statement("stage_present"), [stream.name])


def _expected(manifest: Manifest) -> Row:
    return {
        "window_start": manifest.window.start,
        "window_end": manifest.window.end,
        "prices": manifest.points,
        "coins": manifest.coins,
        "snapshots": sum(file.rows for file in manifest.files_of("snapshots")),
    }


def _absences(stream: Stream, manifests: Iterable[Manifest]) -> Iterator[Row]:
    for manifest in manifests:
        for absence in manifest.absent:
            yield {
                "stream": stream.name,
                "coin_id": absence.coin_id,
                "vs_currency": absence.vs_currency,
                "window_start": manifest.window.start,
                "status": absence.status,
                "reason": absence.reason,
                "points": 0,
                "run_id": absence.run_id,
                "updated_at": absence.seen_at,
            }


def _refuse_mixed_sources(session: Session) -> None:
    staged = {row["source"] for row in session.execute(statement("staged_sources"))}
    existing = {row["source"] for row in session.execute(statement("standing_sources"))}
    refuse_mixed_sources(staged, existing)


def refuse_mixed_sources(staged: AbstractSet[str], existing: AbstractSet[str]) -> None:
    """Refuse to put simulated values beside real ones, whichever of them came first.

    Args:
        staged: The sources of what is to be loaded.
        existing: The sources of what stands in the warehouse.

    Raises:
        MixedSourcesError: Some are simulated, and some are not.
    """
    if len({source == SIMULATED for source in staged | existing}) > 1:
        raise MixedSourcesError(
            f"The files hold prices from {_listed(staged)}, the warehouse holds prices from "
            f"{_listed(existing)}: simulated prices and real ones are never mixed. "
            "Nothing was loaded; set CRYPTO_HOME to another folder for one of them."
        )


def _refuse_faults(session: Session, stream: Stream) -> None:
    faults = session.execute(statement("staged_faults"))
    if faults:
        described = "; ".join(
            f"window {_key(stream, row['window_start'])}, coin {row['coin_id']} in "
            f"{row['vs_currency']} at {row['moment']:%Y-%m-%dT%H:%M:%S.%fZ}: {row['fault']}"
            for row in faults
        )
        raise LoadMismatchError(
            f"{described}. Nothing was loaded; materialize {stream.name}/transformed_prices for "
            "these partitions again, and report it if that does not help."
        )


def _refuse_mismatches(session: Session, stream: Stream, check: str, found_in: str) -> None:
    mismatches = session.execute(statement(check, stream.table))
    if mismatches:
        described = "; ".join(
            f"window {_key(stream, row['window_start'])}: the manifest says {row['expected']} "
            f"{row['counted']}, {found_in} {row['found']}"
            for row in mismatches
        )
        raise LoadMismatchError(
            f"{described}. Nothing was loaded; materialize {stream.name}/transformed_prices for "
            "these partitions again, and report it if that does not help."
        )


def _replace(session: Session, stream: Stream, loaded_at: datetime) -> None:
    session.execute(statement("keep_standing", stream.table))
    session.execute(statement("insert_revisions"), [stream.name, loaded_at])
    session.execute(statement("delete_prices", stream.table))
    session.execute(statement("insert_prices", stream.table), [loaded_at])
    # Snapshots do not say their stream: the one that takes none must leave them alone.
    if stream.snapshot_within is not None:
        session.execute(statement("delete_snapshots"))
        session.execute(statement("insert_snapshots"), [loaded_at])
    session.execute(statement("delete_ledger"), [stream.name])
    session.execute(statement("insert_ledger"))


def _checks_of_tables(stream: Stream) -> list[str]:
    snapshots = [] if stream.snapshot_within is None else ["standing_snapshot_mismatches"]
    return ["standing_price_mismatches", *snapshots]


def _result(session: Session, stream: Stream, loaded_at: datetime) -> LoadResult:
    previews: dict[datetime, list[Row]] = {}
    for row in session.execute(statement("staged_previews")):
        previews.setdefault(row.pop("window_start"), []).append(row)
    (counts,) = session.execute(statement("staged_counts"))
    ledger = _by_status(session.execute(statement("staged_statuses")))
    return LoadResult(
        **counts,
        ledger=ledger,
        previews=previews,
        revisions=_revisions(session, stream, loaded_at),
        loaded_at=loaded_at,
    )


def _revisions(session: Session, stream: Stream, loaded_at: datetime) -> Revisions:
    of_load = (stream.name, loaded_at)
    windows = session.execute(statement("revised_windows"), of_load)
    return Revisions(
        by_window={row["window_start"]: row["revised"] for row in windows},
        examples=session.execute(statement("revised_examples"), of_load) if windows else [],
    )


def _summary(session: Session, stream: Stream) -> TableSummary:
    (prices,) = session.execute(statement("summary_of_prices", stream.table))
    (windows,) = session.execute(statement("summary_of_windows"), [stream.name])
    ledger = _by_status(session.execute(statement("summary_of_ledger"), [stream.name]))
    return TableSummary(
        stream=stream.name,
        table=stream.table,
        rows=prices["prices"],
        coins=prices["coins"],
        oldest=prices["oldest"],
        newest=prices["newest"],
        windows=windows["windows"],
        ledger=ledger,
    )


def _by_status(rows: Sequence[Row]) -> dict[str, int]:
    return {row["status"]: row["coin_windows"] for row in rows}


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


def _key(stream: Stream, start: datetime) -> str:
    return stream.partition_key(Window(start=start, end=start + stream.window_length))


def _listed(sources: Iterable[str]) -> str:
    return " and ".join(sorted(sources)) or "nowhere"


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
