"""What is wrong with the windows of a load, as they stand in the warehouse; asked by SQL."""

import math
from collections.abc import Sequence
from datetime import datetime

from crypto_platform.checks.definitions import (
    COINS,
    ERROR,
    JUMP_IN_DEVIATIONS,
    LOOK_BACK_IN_WINDOWS,
    MIN_JUMP,
    MIN_RETURNS,
    PRICE_JUMPS,
    REVISIONS,
    SCHEMA,
    STREAMS_AGREE,
    STREAMS_CONTRADICTION,
    STREAMS_TOLERANCE,
    WAREHOUSE_CHECKS,
    WARN,
    Finding,
    at_moment,
    schema_faults,
)
from crypto_platform.core.streams import Stream, WindowBatch
from crypto_platform.warehouse.resource import Revisions, Row, Session
from crypto_platform.warehouse.sql import statement

# How engines call the types that the price columns are declared with.
_TYPES = {
    "string": {"VARCHAR", "TEXT"},
    "timestamp": {"TIMESTAMP", "TIMESTAMP_NTZ"},
    "double": {"DOUBLE", "FLOAT"},
}

_CAN_CHANGE = ("price", "market_cap", "total_volume", "granularity")


def evaluate_load(
    session: Session, batch: WindowBatch, coins: Sequence[str], vs_currency: str
) -> list[Finding]:
    """What is wrong with the windows of a load, as they stand in the warehouse.

    Args:
        session: A session that need only read.
        batch: The windows that were loaded.
        coins: The coins that are tracked.
        vs_currency: The currency of their prices.
    """
    table = batch.stream.table
    columns = session.execute(_sql("columns_of_table"), [table])
    wrong = schema_faults({row["name"]: row["type"] for row in columns}, _TYPES)
    if wrong:
        return [Finding(SCHEMA, "", None, f"{table}: {fault}") for fault in wrong]
    return [
        *_faulty_rows(session, batch),
        *_coins_in_ledger(session, batch, coins, vs_currency),
        *_jumps(session, batch),
        *_disagreements(session, batch),
    ]


def evaluate_revisions(stream: Stream, revisions: Revisions) -> list[Finding]:
    """What a load changed of prices that people may have used already; one finding a window.

    Args:
        stream: The stream that was loaded.
        revisions: What the load revised.
    """
    examples: dict[str, list[str]] = {}
    for row in revisions.examples:
        examples.setdefault(stream.key_at(row["price_at"]), []).append(_change(row))
    findings = []
    for start, count in sorted(revisions.by_window.items()):
        partition = stream.key_at(start)
        fault = "; ".join([f"{count:,} observation(s) revised", *examples.get(partition, ())])
        findings.append(Finding(REVISIONS, partition, None, fault))
    return findings


def _faulty_rows(session: Session, batch: WindowBatch) -> list[Finding]:
    checks = {check.name: check for check in WAREHOUSE_CHECKS}
    span = batch.span
    return [
        Finding(
            checks[row["broken"]],
            batch.stream.key_at(row["price_at"]),
            row["coin_id"],
            f"{row['fault']} at {at_moment(row['price_at'])}",
        )
        for row in session.execute(
            _sql("faulty_rows", batch.stream.table), [span.start, span.end] * 3
        )
    ]


def _coins_in_ledger(
    session: Session, batch: WindowBatch, coins: Sequence[str], vs_currency: str
) -> list[Finding]:
    about = [batch.stream.name, vs_currency, batch.span.start, batch.span.end]
    by_coin = {row["coin_id"]: row for row in session.execute(_sql("ledger_by_coin"), about)}
    findings = []
    for coin in sorted({*coins, *(coin for coin, row in by_coin.items() if row["failed"])}):
        row = by_coin.get(coin, {"windows": 0, "failed": 0})
        unexplained = coin in coins and row["windows"] < len(batch.windows)
        if not unexplained and not row["failed"]:
            continue
        told = {
            one["window_start"]: one
            for one in session.execute(_sql("ledger_of_coin"), [*about, coin])
        }
        if unexplained:
            findings += [
                Finding(
                    COINS,
                    batch.stream.partition_key(window),
                    coin,
                    # A run may ask for some coins only; raw_prices evaluates those it asked for.
                    "it is tracked, and neither here nor explained: pending. Healing asks for "
                    f"it; or materialize {batch.stream.name}/raw_prices and what follows it",
                    WARN,
                )
                for window in batch.windows
                if window.start not in told
            ]
        findings += [
            Finding(COINS, batch.stream.key_at(at), coin, f"failed: {one['reason']}", WARN)
            for at, one in told.items()
            if one["status"] == "failed"
        ]
    return findings


def _jumps(session: Session, batch: WindowBatch) -> list[Finding]:
    span = batch.span
    rows = session.execute(
        _sql("price_jumps", batch.stream.table),
        [
            span.start - LOOK_BACK_IN_WINDOWS * batch.stream.window_length,
            span.end,
            span.start,
            MIN_RETURNS,
            MIN_JUMP,
            JUMP_IN_DEVIATIONS,
        ],
    )
    return [
        Finding(
            PRICE_JUMPS,
            batch.stream.key_at(row["price_at"]),
            row["coin_id"],
            f"from {row['price_before']!r} at {at_moment(row['before_at'])} to {row['price']!r} at "
            f"{at_moment(row['price_at'])}, {row['price'] / row['price_before'] - 1:+.1%}",
        )
        for row in rows
    ]


def _disagreements(session: Session, batch: WindowBatch) -> list[Finding]:
    start, end = batch.span.start, batch.span.end
    rows = session.execute(
        _sql("disagreements_at_midnight"), [start, end, start, end, STREAMS_TOLERANCE]
    )
    return [
        Finding(
            STREAMS_AGREE,
            # Of the two moments, the one that this load is of.
            batch.stream.key_at(next(m for m in _moments(row) if start <= m < end)),
            row["coin_id"],
            f"{row['daily_price']!r} in historical_prices at {at_moment(row['midnight'])}, "
            f"{row['intra_day_price']!r} in intra_day_prices at {at_moment(row['seen_at'])}",
            ERROR if _difference(row) > STREAMS_CONTRADICTION else WARN,
        )
        for row in rows
        if any(start <= moment < end for moment in _moments(row))
    ]


def _moments(row: Row) -> tuple[datetime, datetime]:
    return row["midnight"], row["seen_at"]


def _difference(row: Row) -> float:
    daily: float = row["daily_price"]
    return abs(row["intra_day_price"] - daily) / daily if daily else math.inf


def _sql(name: str, table: str = "") -> str:
    return statement(name, table, file="checks.sql")


def _change(row: Row) -> str:
    """An observation, and all that changed of it."""
    what = f"{row['coin_id']} at {at_moment(row['price_at'])}"
    if row["new_price"] is None:
        return f"{what}: gone, its price was {row['old_price']!r}"
    changes = [
        f"{name} from {row[f'old_{name}']!r} to {row[f'new_{name}']!r}"
        for name in _CAN_CHANGE
        if row[f"old_{name}"] != row[f"new_{name}"]
    ]
    return f"{what}: {', '.join(changes)}"
