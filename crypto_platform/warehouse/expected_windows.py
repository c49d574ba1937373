"""Which windows and coins are expected: what ``coin_windows`` lays beside the ledger.

Every load says it before anything else, so that a query for gaps never looks clean merely because
nobody told the warehouse what to expect.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg

from crypto_platform.core.schedules import first_scheduled
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import Stream
from crypto_platform.ingestion.tracked_coins import TrackedCoins, load_tracked_coins
from crypto_platform.lake.layers import Lake
from crypto_platform.warehouse.load_record import recorded_ledger
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.sql import ledger_statement


def sync_expected_windows(
    warehouse: Warehouse, settings: Settings, streams: Sequence[Stream], coins: TrackedCoins
) -> None:
    """Tell the warehouse which windows and coins are expected; writes only what changed.

    Args:
        warehouse: The warehouse.
        settings: Where the streams begin, and their currency.
        streams: The streams.
        coins: The tracked coins, as the raw lake has them.

    Raises:
        WarehouseBusyError: Another process holds the warehouse.
    """
    wanted = [
        {
            "stream": stream.name,
            "vs_currency": settings.vs_currency,
            "first_window": settings.first_window(stream),
            "window_minutes": int(stream.window_length.total_seconds() // 60),
        }
        for stream in sorted(streams, key=lambda stream: stream.name)
    ]
    with warehouse.session(read_only=True) as session:
        known_streams = session.execute(ledger_statement("known_streams"))
        known_coins = {row["coin_id"] for row in session.execute(ledger_statement("known_coins"))}
    if known_coins != set(coins.ids):
        warehouse.upsert_coins(coins.coins)
    # Of other streams nothing is said here, and what stands of them stays.
    if any(row not in known_streams for row in wanted):
        with warehouse.session(read_only=False) as session:
            session.execute(ledger_statement("stage_streams"))
            session.stage_rows("staged_streams", wanted)
            session.execute(ledger_statement("merge_streams"))


@contextmanager
def asked_ledger(
    lake: Lake,
    warehouse: Warehouse,
    settings: Settings,
    streams: Sequence[Stream],
    instance: dg.DagsterInstance,
) -> Iterator[Warehouse]:
    """The ledger as the record in the lake has it, with all that was asked for.

    Beside what loads were about, that is every window since the schedule's first run, which may
    have failed before it could load anything.

    Args:
        lake: The lake; its raw layer has the list of tracked coins.
        warehouse: The warehouse; it is asked only where an earlier version loaded it.
        settings: Where the streams begin, their currency, and where statements are kept.
        streams: Whose ledger.
        instance: Dagster's instance, for the schedules' runs.

    Raises:
        DamagedRecordError: A month cannot be read; says what to do.
        WarehouseBusyError: The warehouse had to be asked, and another process holds it.
    """
    cache_folder = str(settings.home.absolute() / "cache" / "sql")
    with recorded_ledger(lake.transformed, warehouse, streams, cache_folder) as ledger:
        sync_expected_windows(ledger, settings, streams, load_tracked_coins(lake.raw))
        for stream in streams:
            _expect_from(ledger, stream, first_scheduled(stream, instance))
        yield ledger


def _expect_from(ledger: Warehouse, stream: Stream, first: datetime | None) -> None:
    """Expect a window that was asked for and all that came after it, if the ledger does not yet."""
    if first is None:
        return
    (asked,) = ledger.query(ledger_statement("asked_windows"), [stream.name])
    if asked["oldest"] is None or first < asked["oldest"]:
        with ledger.session(read_only=False) as session:
            values = [first, datetime.now(UTC), stream.name]
            session.execute(ledger_statement("insert_pending"), values)
