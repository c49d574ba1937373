"""Rows put straight into the tables of a warehouse, for tests of what reads them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from crypto_platform.warehouse.resource import Warehouse

SEEN = datetime(2026, 11, 22, 12, tzinfo=UTC)


def put(warehouse: Warehouse, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows; what they do not say is null."""
    with warehouse.session(read_only=False) as session:
        session.stage_rows(table, [dict(row) for row in rows])


def put_coin(warehouse: Warehouse, coin_id: str, *, symbol: str, name: str) -> None:
    put(
        warehouse,
        "coins",
        [
            {
                "coin_id": coin_id,
                "symbol": symbol,
                "name": name,
                "first_tracked_at": SEEN,
                "tracked": True,
            }
        ],
    )


def price_row(coin_id: str, at: datetime, price: float, **columns: object) -> dict[str, Any]:
    return {
        "coin_id": coin_id,
        "vs_currency": "usd",
        "price_at": at,
        "price": price,
        "market_cap": price * 1e7,
        "total_volume": price * 1e5,
        "granularity": "daily",
        "fetched_at": SEEN,
        "loaded_at": SEEN,
        "source": "simulated",
        **columns,
    }


def put_price(
    warehouse: Warehouse, coin_id: str, at: datetime, price: float, **columns: object
) -> None:
    row = price_row(coin_id, at, price, **columns)
    table = "historical_prices" if row["granularity"] == "daily" else "intra_day_prices"
    put(warehouse, table, [row])


def ledger_row(coin_id: str, start: datetime, status: str, **columns: object) -> dict[str, Any]:
    return {
        "stream": "historical",
        "coin_id": coin_id,
        "vs_currency": "usd",
        "window_start": start,
        "status": status,
        "reason": None if status == "present" else f"it is {status}",
        "points": 1 if status == "present" else 0,
        "run_id": "run",
        "updated_at": SEEN,
        **columns,
    }
