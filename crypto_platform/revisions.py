"""The check that tells which values a load changed that people may have used already."""

import dagster as dg

from crypto_platform.metadata import markdown_table
from crypto_platform.resources.warehouse import Revisions, Row
from crypto_platform.streams import Stream, Window

_CHECK = "revisions"
_PARTITIONS_NAMED = 10

_CAN_CHANGE = ("price", "market_cap", "total_volume", "granularity")


def revisions_check(stream: Stream) -> dg.AssetCheckSpec:
    """The check on a stream's table of prices that a load's own run answers."""
    return dg.AssetCheckSpec(
        _CHECK,
        asset=_table(stream),
        description=(
            "Warns where a load changed values that stood in the warehouse, or took them out. The "
            "old ones are in price_revisions, and history can be asked as it was known before."
        ),
    )


def revisions_result(stream: Stream, revisions: Revisions) -> dg.AssetCheckResult:
    """What a load says to that check.

    Args:
        stream: The stream that was loaded.
        revisions: What the load revised.
    """
    keys = [
        stream.partition_key(Window(start=start, end=start + stream.window_length))
        for start in sorted(revisions.by_window)
    ]
    return dg.AssetCheckResult(
        check_name=_CHECK,
        asset_key=_table(stream),
        passed=not keys,
        severity=dg.AssetCheckSeverity.WARN,
        description=_description(revisions.total, keys),
        metadata={
            "revised": revisions.total,
            "partitions": keys,
            "examples": markdown_table([_change(row) for row in revisions.examples]),
        },
    )


def _table(stream: Stream) -> dg.AssetKey:
    return dg.AssetKey([stream.name, "snowflake_prices"])


def _description(total: int, keys: list[str]) -> str:
    if not keys:
        return "The load changed no value that stood in the warehouse."
    more = len(keys) - _PARTITIONS_NAMED
    named = ", ".join(keys[:_PARTITIONS_NAMED]) + (f" and {more} more" if more > 0 else "")
    return (
        f"The load revised {total} observations of {len(keys)} partitions: {named}. The values "
        "before are in price_revisions."
    )


def _change(row: Row) -> Row:
    """An observation with all that changed of it in one cell."""
    gone = row["new_price"] is None
    changes = [
        f"{name} {row[f'old_{name}']} -> {row[f'new_{name}']}"
        for name in _CAN_CHANGE
        if row[f"old_{name}"] != row[f"new_{name}"]
    ]
    return {
        "coin": row["coin_id"],
        "at": row["price_at"],
        "what": f"gone; price was {row['old_price']}" if gone else ", ".join(changes),
    }
