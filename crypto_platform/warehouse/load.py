"""A load: windows are staged, compared with their manifests, replaced and compared again.

All of it is shared SQL, in Snowflake's dialect, over whichever engine's session.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime

from crypto_platform.core.errors import MixedSourcesError, PermanentFailure
from crypto_platform.core.streams import SIMULATED, Dataset, Stream, Window
from crypto_platform.lake.manifests import Manifest, files_of
from crypto_platform.warehouse.session import Row, Session, transaction
from crypto_platform.warehouse.sql import statement

# The datasets of a window that a load brings in, each into the temporary table staged_….
_DATASETS: tuple[Dataset, ...] = ("prices", "snapshots")


Accept = Callable[[Session], None]
"""Looks at a load before it counts, and refuses it by raising."""


class LoadMismatchError(PermanentFailure):
    """What is loaded is not what the manifests say; nothing was changed."""


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
        ledger: Coin-windows of the load by their status in the ledger.
        table_rows: Rows now in the whole table of prices.
        previews: The first few prices of a window, by its start; windows without any are not in it.
        revisions: What stood in the windows before with other values, or no longer stands.
        loaded_at: The moment that stands in ``loaded_at`` of all rows that were not there before
            with these values.
    """

    prices: int
    coins: int
    snapshots: int
    ledger: Mapping[str, int]
    table_rows: int
    previews: Mapping[datetime, Sequence[Row]]
    revisions: Revisions
    loaded_at: datetime


def replace_windows(
    session: Session,
    stream: Stream,
    manifests: Sequence[Manifest],
    transformed_root: str,
    accept: Accept | None = None,
) -> LoadResult:
    """Make a session's warehouse hold what the manifests say: see ``Warehouse.load``."""
    # Not before: a load that waited for another one comes after it.
    loaded_at = datetime.now(UTC)
    _stage(session, stream, manifests, transformed_root)
    with transaction(session):
        _refuse_mixed_sources(session)
        _refuse_faults(session, stream)
        _refuse_mismatches(session, stream, "staged_mismatches", "its files hold")
        _replace(session, stream, loaded_at)
        for check in _checks_of_tables(stream):
            _refuse_mismatches(session, stream, check, "the table would hold")
        if accept:
            accept(session)
    return _result(session, stream, loaded_at)


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
    transformed_root: str,
) -> None:
    """Put what the files and the manifests say into temporary tables."""
    ranges = merge_neighbours(manifest.window for manifest in manifests)
    for name in ("prices", "snapshots", "ledger", "windows", "ranges", "standing"):
        session.execute(statement(f"stage_{name}", stream.table))
    session.stage_rows("staged_windows", (_expected(manifest) for manifest in manifests))
    for dataset in _DATASETS:
        uris = [f"{transformed_root}/{file.path}" for file in files_of(manifests, dataset)]
        session.stage_files(f"staged_{dataset}", uris, "staged_windows")
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
        "snapshots": manifest.snapshots,
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
            f"window {stream.key_at(row['window_start'])}, coin {row['coin_id']} in "
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
            f"window {stream.key_at(row['window_start'])}: the manifest says {row['expected']} "
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
    ledger = counts_by_status(session.execute(statement("staged_statuses")))
    (prices,) = session.execute(statement("summary_of_prices", stream.table))
    return LoadResult(
        **counts,
        ledger=ledger,
        table_rows=prices["prices"],
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


def _listed(sources: Iterable[str]) -> str:
    return " and ".join(sorted(sources)) or "nowhere"


def counts_by_status(rows: Sequence[Row]) -> dict[str, int]:
    """Coin-windows by their status in the ledger, from rows of ``status`` and ``coin_windows``."""
    return {row["status"]: row["coin_windows"] for row in rows}
