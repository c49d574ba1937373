"""The seam to the warehouse, where prices stand to be queried.

An engine adds how to open a session, and how files and rows get into its temporary tables; what a
load does there stands in ``load``, and is the same on all of them.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self

import dagster as dg

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.streams import STREAMS, Stream, Window
from crypto_platform.lake.manifests import Manifest
from crypto_platform.warehouse.catalogue import tables
from crypto_platform.warehouse.load import (
    Accept,
    LoadResult,
    counts_by_status,
    replace_windows,
)
from crypto_platform.warehouse.session import Row, Session
from crypto_platform.warehouse.sql import only_reads, statement


class WarehouseBusyError(Exception):
    """Another process holds the warehouse for longer than a load takes."""


class WarehouseDamagedError(PermanentFailure):
    """What holds the warehouse cannot be read; says what to do."""


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
        ledger: Coin-windows by their status in the ledger.
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
        """Coin-windows that have no price; the ledger has the reason of each."""
        return sum(count for status, count in self.ledger.items() if status != "present")


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
        self,
        stream: Stream,
        manifests: Sequence[Manifest],
        transformed_root: str,
        accept: Accept | None = None,
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
            accept: Called before the load counts, with a session that sees the tables as they
                would stand; what it raises rolls all of the load back.

        Raises:
            LoadMismatchError: Files and manifests differ; names a window, coin and what to do.
            MixedSourcesError: Simulated prices would stand beside real ones.
            WarehouseBusyError: Another process holds the warehouse.
        """
        with self.loading_session(stream, manifests) as session:
            return replace_windows(session, stream, manifests, transformed_root, accept)

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
            sql: One query in Snowflake's dialect; on a laptop, what DuckDB would answer otherwise
                is refused with what to write instead.
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


def _summary(session: Session, stream: Stream) -> TableSummary:
    (prices,) = session.execute(statement("summary_of_prices", stream.table))
    (windows,) = session.execute(statement("summary_of_windows"), [stream.name])
    ledger = counts_by_status(session.execute(statement("summary_of_ledger"), [stream.name]))
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
