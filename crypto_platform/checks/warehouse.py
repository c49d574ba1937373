"""What is wrong with the windows of a load, before it is committed; asked by SQL."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from crypto_platform.checks.definitions import (
    COINS,
    ERROR,
    JUMP_IN_DEVIATIONS,
    JUMPS_NAMED,
    LOOK_BACK_AT_MIDNIGHTS,
    LOOK_BACK_IN_WINDOWS,
    MIN_JUMP,
    MIN_RETURNS,
    NOTHING_LOST,
    PRICE_JUMPS,
    REVISIONS,
    SCHEMA,
    STREAMS_AGREE,
    STREAMS_CONTRADICTION,
    STREAMS_TOLERANCE,
    WAREHOUSE_CHECKS,
    WARN,
    Check,
    Finding,
    at_moment,
    schema_faults,
)
from crypto_platform.core.streams import Stream, WindowBatch
from crypto_platform.warehouse.load import Revisions
from crypto_platform.warehouse.load_record import LostWindow
from crypto_platform.warehouse.session import Row, Session
from crypto_platform.warehouse.sql import statement

# How engines call the types that the price columns are declared with.
_TYPES = {
    "string": {"VARCHAR", "TEXT"},
    "timestamp": {"TIMESTAMP", "TIMESTAMP_NTZ"},
    "double": {"DOUBLE", "FLOAT"},
}

# From so many times a price on, the factor says more than the percents.
_READ_AS_PERCENT = 100

_CAN_CHANGE = ("price", "market_cap", "total_volume", "granularity")


def evaluate_load(
    session: Session, batch: WindowBatch, coins: Sequence[str], vs_currency: str
) -> list[Finding]:
    """What is wrong with the windows of a load, as they stand in the warehouse.

    Args:
        session: A session that sees the load: its own, before it is committed.
        batch: The windows that were loaded.
        coins: The coins that are tracked.
        vs_currency: The currency of their prices.
    """
    table = batch.stream.table
    (columns,) = _ask(session, table, {"columns_of_table": [table]}).values()
    wrong = schema_faults({row["name"]: row["type"] for row in columns}, _TYPES)
    if wrong:
        return [Finding(SCHEMA, "", None, f"{table}: {fault}") for fault in wrong]
    found = _ask(session, table, _queries(batch, vs_currency))
    return [
        *_faulty_rows(batch.stream, found["faulty_rows"]),
        *_coins_in_ledger(batch, coins, found["ledger_by_coin"], found["ledger_to_explain"]),
        *_jumps(batch.stream, found["price_jumps"]),
        *_disagreements(batch, found["disagreements_at_midnight"]),
    ]


def unjudged_in_load(session: Session, batch: WindowBatch, vs_currency: str) -> dict[Check, str]:
    """Why checks that compare prices with others have nothing to compare, where they have not.

    Args:
        session: A session that sees the load.
        batch: The windows that were loaded.
        vs_currency: The currency of the prices.
    """
    stream, span = batch.stream, batch.span
    ((judged,),) = _ask(
        session,
        stream.table,
        {
            "judged_in_load": (
                *(_looked_back(batch), span.end, MIN_RETURNS),
                *(_first_midnight(batch), span.end),
                *(stream.name, vs_currency),
            )
        },
    ).values()
    reasons = {}
    if not judged["coins_with_returns"]:
        reasons[PRICE_JUMPS] = (
            f"no coin has the {MIN_RETURNS} returns yet that tell what is usual for it. Load the "
            "windows before these too"
        )
    if not judged["midnights"]:
        reasons[STREAMS_AGREE] = (
            "no coin has a price at 00:00 UTC in both streams, in these windows and the "
            f"{LOOK_BACK_AT_MIDNIGHTS} days before. Load both streams for the same days"
        )
    if not judged["promised_coins"]:
        reasons[NOTHING_LOST] = "the ledger has no price yet. Load windows that have one"
    return reasons


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


def evaluate_losses(
    session: Session, stream: Stream, lost: Sequence[LostWindow], vs_currency: str
) -> list[Finding]:
    """What earlier loads committed, and the warehouse no longer has.

    Args:
        session: A session on the warehouse, after a load was committed.
        stream: The stream that was loaded.
        lost: The windows in which the warehouse falls behind the record of earlier loads.
        vs_currency: The currency of the prices.
    """
    behind = session.execute(
        statement("prices_behind_ledger", stream.table, file="checks.sql"),
        [stream.name, vs_currency, vs_currency],
    )
    return [
        *(Finding(NOTHING_LOST, stream.key_at(one.start), None, _loss(one)) for one in lost),
        *(
            Finding(
                NOTHING_LOST,
                stream.key_at(row["newest_window"]),
                row["coin_id"],
                "the ledger has a price here, and the newest one in the table is of "
                f"{at_moment(row['newest_price'])}",
            )
            for row in behind
        ),
    ]


def _loss(lost: LostWindow) -> str:
    if lost.found is None:
        return f"it was loaded with {lost.recorded.points:,} price(s), and is no longer there"
    return (
        f"it was loaded as of {at_moment(lost.recorded.updated_at)}, and stands there as of "
        f"{at_moment(lost.found.updated_at)}"
    )


def _queries(batch: WindowBatch, vs_currency: str) -> Mapping[str, Sequence[object]]:
    """The statements that find what may be wrong, with the values that each is given."""
    stream, span = batch.stream, batch.span
    ledger = (stream.name, vs_currency, span.start, span.end)
    return {
        "faulty_rows": (span.start, span.end) * 3,
        "ledger_by_coin": ledger,
        "ledger_to_explain": (*ledger, _windows_in_span(batch)),
        "price_jumps": (
            *(_looked_back(batch), span.end, span.start),
            *(MIN_RETURNS, MIN_JUMP, JUMP_IN_DEVIATIONS, JUMPS_NAMED),
        ),
        "disagreements_at_midnight": (
            *(_first_midnight(batch), span.end) * 2,
            STREAMS_TOLERANCE,
        ),
    }


def _looked_back(batch: WindowBatch) -> datetime:
    return batch.span.start - LOOK_BACK_IN_WINDOWS * batch.stream.window_length


def _first_midnight(batch: WindowBatch) -> datetime:
    return batch.span.start - timedelta(days=LOOK_BACK_AT_MIDNIGHTS)


def _ask(
    session: Session, table: str, queries: Mapping[str, Sequence[object]]
) -> dict[str, list[Row]]:
    return {
        name: session.execute(statement(name, table, file="checks.sql"), values)
        for name, values in queries.items()
    }


def _faulty_rows(stream: Stream, rows: Sequence[Row]) -> list[Finding]:
    checks = {check.name: check for check in WAREHOUSE_CHECKS}
    return [
        Finding(
            checks[row["broken"]],
            stream.key_at(row["price_at"]),
            row["coin_id"],
            f"{row['fault']} at {at_moment(row['price_at'])}",
        )
        for row in rows
    ]


def _coins_in_ledger(
    batch: WindowBatch, coins: Sequence[str], counts: Sequence[Row], explained: Sequence[Row]
) -> list[Finding]:
    # Who has a row in each window of the span has one in each of the batch; of the others the
    # ledger has told all rows, since those that it has may be of windows between.
    complete = {row["coin_id"] for row in counts if row["windows"] == _windows_in_span(batch)}
    failed = {row["coin_id"] for row in counts if row["failed"]}
    loaded = {window.start for window in batch.windows}
    by_coin: dict[str, dict[datetime, Row]] = {}
    for row in explained:
        by_coin.setdefault(row["coin_id"], {})[row["window_start"]] = row
    findings = []
    for coin in sorted({*coins, *failed}):
        if coin in coins and coin not in complete:
            findings += [
                Finding(
                    COINS,
                    batch.key(window),
                    coin,
                    # A run may ask for some coins only; raw_prices evaluates those it asked for.
                    "it is tracked, and neither here nor explained: pending. Healing asks for "
                    f"it; or materialize {batch.stream.name}/raw_prices and what follows it",
                    WARN,
                )
                for window in batch.windows
                if window.start not in by_coin.get(coin, {})
            ]
        findings += [
            Finding(COINS, batch.stream.key_at(start), coin, f"failed: {row['reason']}", WARN)
            for start, row in by_coin.get(coin, {}).items()
            if row["status"] == "failed" and start in loaded
        ]
    return findings


def _windows_in_span(batch: WindowBatch) -> int:
    return (batch.span.end - batch.span.start) // batch.stream.window_length


def _jumps(stream: Stream, rows: Sequence[Row]) -> list[Finding]:
    return [
        Finding(
            PRICE_JUMPS,
            stream.key_at(row["price_at"]),
            row["coin_id"],
            f"from {row['price_before']!r} at {at_moment(row['before_at'])} to {row['price']!r} at "
            f"{at_moment(row['price_at'])}, {_ratio(row['price'] / row['price_before'])}"
            + _of_more(row),
        )
        for row in rows
    ]


def _ratio(ratio: float) -> str:
    """How far a price moved, in percent as long as people read it so."""
    return f"{ratio - 1:+.1%}" if ratio < _READ_AS_PERCENT else f"times {ratio:.3g}"


def _of_more(row: Row) -> str:
    more = row["jumps"] - JUMPS_NAMED
    return f"; the coin has {more:,} smaller jump(s) in this load" if more > 0 else ""


def _disagreements(batch: WindowBatch, rows: Sequence[Row]) -> list[Finding]:
    start, end = batch.span.start, batch.span.end
    findings = []
    for row in rows:
        # Of the two moments, the one that this load is of.
        own = [moment for moment in _moments(row) if start <= moment < end]
        if not own and min(_moments(row)) >= end:
            continue
        wrong = bool(own) and _difference(row) > STREAMS_CONTRADICTION
        findings.append(
            Finding(
                STREAMS_AGREE,
                batch.stream.key_at(next(iter(own), row["seen_at"])),
                row["coin_id"],
                f"{row['daily_price']!r} in historical_prices at {at_moment(row['midnight'])}, "
                f"{row['intra_day_price']!r} in intra_day_prices at {at_moment(row['seen_at'])}"
                + ("" if own else ", loaded earlier"),
                ERROR if wrong else WARN,
            )
        )
    return findings


def _moments(row: Row) -> tuple[datetime, datetime]:
    return row["midnight"], row["seen_at"]


def _difference(row: Row) -> float:
    daily: float = row["daily_price"]
    return abs(row["intra_day_price"] - daily) / daily if daily else math.inf


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
