"""Which windows and coins are expected: what ``coin_windows`` lays beside the ledger.

Every load says it before anything else, so that a query for gaps never looks clean merely because
nobody told the warehouse what to expect.
"""

from collections.abc import Sequence

from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import Stream
from crypto_platform.ingestion.tracked_coins import TrackedCoins
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
