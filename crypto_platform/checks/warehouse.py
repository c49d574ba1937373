"""What is wrong with the windows of a load, as they stand in the warehouse; asked by SQL."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from crypto_platform.checks.definitions import (
    COINS,
    ERROR,
    JUMP_IN_DEVIATIONS,
    LOOK_BACK_IN_WINDOWS,
    MIN_JUMP,
    MIN_RETURNS,
    PRICE_JUMPS,
    REVISIONS,
    ROW_COUNTS,
    SCHEMA,
    STREAMS_AGREE,
    STREAMS_CONTRADICTION,
    STREAMS_TOLERANCE,
    WAREHOUSE_CHECKS,
    WARN,
    Finding,
    at_moment,
    partition_range,
    schema_faults,
)
from crypto_platform.core.streams import Stream, Window
from crypto_platform.lake.manifests import Manifest
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
    session: Session, stream: Stream, windows: Sequence[Window], coins: Sequence[str], currency: str
) -> list[Finding]:
    """What is wrong with the windows of a load, as they stand in the warehouse.

    Args:
        session: A session that need only read.
        stream: The stream of the windows.
        windows: The windows that were loaded.
        coins: The coins that are tracked.
        currency: The currency of their prices.
    """
    start = min(window.start for window in windows)
    end = max(window.end for window in windows)
    columns = session.execute(_sql("columns_of_table"), [stream.table])
    wrong = schema_faults({row["name"]: row["type"] for row in columns}, _TYPES)
    findings = [Finding(SCHEMA, "", None, f"{stream.table}: {fault}") for fault in wrong]
    if findings:
        return findings
    for row in session.execute(_sql("faulty_rows", stream), [start, end] * 3):
        check = next(one for one in WAREHOUSE_CHECKS if one.name == row["broken"])
        at = row["price_at"]
        fault = f"{row['fault']} at {at_moment(at)}"
        findings.append(Finding(check, _partition(stream, at), row["coin_id"], fault))
    findings += _coins_in_ledger(session, stream, windows, coins, currency)
    findings += _jumps(session, stream, start, end)
    findings += _disagreements(session, stream, start, end)
    return findings


def reconcile(
    stream: Stream, manifests: Sequence[Manifest], session: Session
) -> tuple[list[Finding], str]:
    """Whether the warehouse has as many prices as the manifests; with the counts in words."""
    start = min(manifest.window.start for manifest in manifests)
    end = max(manifest.window.end for manifest in manifests)
    expected = sum(manifest.points for manifest in manifests)
    (existing,) = session.execute(_sql("rows_of_windows", stream), [start, end])
    rejected = sum(file.rows for manifest in manifests for file in manifest.files_of("rejected"))
    counts = (
        f"{len(manifests):,} window(s), {expected:,} prices and {rejected:,} rejected points in "
        f"the transformed lake, {existing['prices']:,} prices in {stream.table}"
    )
    if existing["prices"] == expected:
        return [], counts
    windows = [manifest.window for manifest in manifests]
    return [Finding(ROW_COUNTS, partition_range(stream, windows), None, counts)], counts


def evaluate_revisions(stream: Stream, revisions: Revisions) -> list[Finding]:
    """What a load changed of prices that people may have used already; one finding a window.

    Args:
        stream: The stream that was loaded.
        revisions: What the load revised.
    """
    examples: dict[str, list[str]] = {}
    for row in revisions.examples:
        examples.setdefault(_partition(stream, row["price_at"]), []).append(_change(row))
    findings = []
    for start, count in sorted(revisions.by_window.items()):
        partition = _partition(stream, start)
        fault = "; ".join([f"{count:,} observation(s) revised", *examples.get(partition, ())])
        findings.append(Finding(REVISIONS, partition, None, fault))
    return findings


def _coins_in_ledger(
    session: Session, stream: Stream, windows: Sequence[Window], coins: Sequence[str], currency: str
) -> list[Finding]:
    start = min(window.start for window in windows)
    end = max(window.end for window in windows)
    about = [stream.name, currency, start, end]
    by_coin = {row["coin_id"]: row for row in session.execute(_sql("ledger_by_coin"), about)}
    findings = []
    for coin in sorted({*coins, *(coin for coin, row in by_coin.items() if row["failed"])}):
        row = by_coin.get(coin, {"windows": 0, "failed": 0})
        unexplained = coin in coins and row["windows"] < len(windows)
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
                    stream.partition_key(window),
                    coin,
                    # A run may ask for some coins only; raw_prices judges those it asked for.
                    "it is tracked, and neither here nor explained: pending. Healing asks for "
                    f"it; or materialize {stream.name}/raw_prices and what follows it",
                    WARN,
                )
                for window in windows
                if window.start not in told
            ]
        findings += [
            Finding(COINS, _partition(stream, at), coin, f"failed: {one['reason']}", WARN)
            for at, one in told.items()
            if one["status"] == "failed"
        ]
    return findings


def _jumps(session: Session, stream: Stream, start: datetime, end: datetime) -> list[Finding]:
    rows = session.execute(
        _sql("price_jumps", stream),
        [
            start - LOOK_BACK_IN_WINDOWS * stream.window_length,
            end,
            start,
            MIN_RETURNS,
            MIN_JUMP,
            JUMP_IN_DEVIATIONS,
        ],
    )
    return [
        Finding(
            PRICE_JUMPS,
            _partition(stream, row["price_at"]),
            row["coin_id"],
            f"from {row['price_before']!r} at {at_moment(row['before_at'])} to {row['price']!r} at "
            f"{at_moment(row['price_at'])}, {row['price'] / row['price_before'] - 1:+.1%}",
        )
        for row in rows
    ]


def _disagreements(
    session: Session, stream: Stream, start: datetime, end: datetime
) -> list[Finding]:
    rows = session.execute(
        _sql("disagreements_at_midnight"), [start, end, start, end, STREAMS_TOLERANCE]
    )
    return [
        Finding(
            STREAMS_AGREE,
            # Of the two moments, the one that this load is of.
            _partition(stream, next(m for m in _moments(row) if start <= m < end)),
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


def _sql(name: str, stream: Stream | None = None) -> str:
    return statement(name, stream.table if stream else "", file="checks.sql")


def _partition(stream: Stream, moment: datetime) -> str:
    since = (moment - datetime(1970, 1, 1, tzinfo=UTC)) % stream.window_length
    return stream.partition_key(Window(start=moment - since, end=moment))


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
