"""The asset ``ingestion_ledger``: every tracked coin in every closed window, and its status.

Loads write the ledger's rows, and which windows and coins are expected beside them, so that a
window which no load was ever about shows as pending. Here both are read, from the record that loads
leave in the lake: it is shown every hour, and the warehouse sleeps on.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from crypto_platform.checks.results import COINS_AT_FAULT, FAULTS, fault_names, unjudged_result
from crypto_platform.core.errors import RETRIES
from crypto_platform.core.markdown import markdown_table
from crypto_platform.core.numbers import share_percent
from crypto_platform.core.ownership import OWNERS
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import Stream
from crypto_platform.healing.attempts import MAX_ATTEMPTS
from crypto_platform.healing.planner import Gap, find_gaps
from crypto_platform.lake.layers import Lake
from crypto_platform.report.ledger_heatmap import heat_map
from crypto_platform.warehouse.completeness import (
    STATUSES,
    Completeness,
    completeness_of,
)
from crypto_platform.warehouse.expected_windows import asked_ledger
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.session import Row
from crypto_platform.warehouse.sql import ledger_statement

# What fits into a message, and what into a table in the UI.
_SHOWN, _SHOWN_COINS = 3, 50


def cells(warehouse: Warehouse, stream: Stream, until: datetime, now: datetime) -> list[Row]:
    """How many windows of each coin have each status, in each cell of the stream's heat map.

    Args:
        warehouse: The warehouse.
        stream: The stream.
        until: Start of the last window that counts.
        now: The time, up to which the map reaches.
    """
    cell = stream.ledger_cell
    return warehouse.query(
        ledger_statement(f"cells_by_{cell.unit}"), [stream.name, cell.first(now), until]
    )


def ledger_metadata(
    warehouse: Warehouse,
    streams: Sequence[Stream],
    complete: Sequence[Completeness],
    now: datetime,
) -> dict[str, Any]:
    """The ledger in numbers, and a heat map of each stream.

    Args:
        warehouse: The warehouse.
        streams: The streams.
        complete: How complete each is.
        now: The time, up to which the maps reach.
    """
    counted = {one.stream: one for one in complete}
    heat_maps = {
        f"{stream.name}_heat_map": heat_map(
            stream,
            cells(warehouse, stream, until, now) if (until := counted[stream.name].until) else (),
            now,
        )
        for stream in streams
    }
    totals = {
        f"{name}_{status}": one.statuses[status]
        for name, one in counted.items()
        for status in STATUSES
    }
    shares = {
        f"{name}_complete_percent": 100 * one.share
        for name, one in counted.items()
        if one.share is not None
    }
    shown = [status for status in STATUSES if any(one.statuses[status] for one in complete)]
    return {
        "completeness": markdown_table([_row(one, shown) for one in complete]),
        **heat_maps,
        **shares,
        **totals,
    }


def _row(one: Completeness, shown: Sequence[str]) -> dict[str, object]:
    return {
        "stream": one.stream,
        "since (UTC)": f"{one.since:%Y-%m-%d %H:%M}" if one.since else "nothing was asked for yet",
        "complete": share_percent(one.share),
        "coin-windows": one.expected,
        **{status: one.statuses[status] for status in shown},
    }


def healing_check(
    gaps: Mapping[Stream, Sequence[Gap]], complete: Sequence[Completeness]
) -> dg.AssetCheckResult:
    """Whether healing has given up any gap: which coins, which partitions, and the last reason.

    Args:
        gaps: The gaps of each stream.
        complete: How complete each stream is.
    """
    if not any(one.expected for one in complete):
        return unjudged_result(
            "healing", "nothing was asked for yet. Materialize a partition, or wait for a schedule"
        )
    given_up = [(stream, gap) for stream, found in gaps.items() for gap in found if gap.given_up]
    rows = [
        {
            "stream": stream.name,
            "coin": gap.coin_id,
            "partitions": _partitions(stream, gap),
            "status": gap.status,
            "reason": gap.reason or "not recorded: see the failed runs of these partitions",
        }
        for stream, gap in given_up
    ]
    coins = sorted({gap.coin_id for _, gap in given_up})
    count = sum(len(_keys(stream, gap)) for stream, gap in given_up)
    described = "; ".join(
        f"{row['stream']} {row['partitions']}: {row['coin']} is {row['status']} "
        f"({row['reason'].removesuffix('.')})"
        for row in rows[:_SHOWN]
    )
    return dg.AssetCheckResult(
        check_name="healing",
        passed=not given_up,
        severity=dg.AssetCheckSeverity.ERROR,
        description=(
            f"Healing gave up on {count} windows of {len(coins)} coins after {MAX_ATTEMPTS} "
            f"attempts. {described}. Fix the cause, then materialize these partitions."
            if given_up
            else f"Healing has given nothing up. In the warehouse are {_shares(complete)}."
        ),
        metadata={
            "given_up_windows": count,
            COINS_AT_FAULT: coins[:_SHOWN_COINS],
            FAULTS: dg.MetadataValue.json(
                fault_names(fault for stream, gap in given_up for fault in _names(stream, gap))
            ),
            "given_up": markdown_table(rows[:_SHOWN_COINS]),
        },
    )


def _shares(complete: Sequence[Completeness]) -> str:
    """How complete each stream is, in the words that ``status`` has too."""
    return "; ".join(
        f"of {one.stream} {one.sentence[0].lower()}{one.sentence[1:]}"
        for one in complete
        if one.expected
    )


def _names(stream: Stream, gap: Gap) -> list[tuple[str, str]]:
    """What was given up, by names that stay the same while it is: a coin and each of its windows.

    A coin without any later price has one name: each new window makes its gap longer, and is no
    news.
    """
    keys = [stream.name] if gap.alive_since is None else _keys(stream, gap)
    return [(gap.coin_id, key) for key in keys]


def _partitions(stream: Stream, gap: Gap) -> str:
    keys = _keys(stream, gap)
    return keys[0] if len(keys) == 1 else f"{keys[0]}...{keys[-1]}"


def _keys(stream: Stream, gap: Gap) -> list[str]:
    return [stream.partition_key(window) for window in stream.windows(gap.first, gap.last)]


def build_ledger(settings: Settings, streams: Sequence[Stream]) -> dg.AssetsDefinition:
    """The asset that shows the ledger, which the loads have written.

    Args:
        settings: Where the streams begin, and their currency.
        streams: The streams.
    """

    @dg.asset(
        deps=[dg.AssetKey([stream.name, "snowflake_prices"]) for stream in streams],
        description=(
            "Every tracked coin in every closed window: present, or why not. What no load was "
            "about yet is pending. A materialization reads it, and shows gaps as a heat map."
        ),
        group_name="health",
        kinds={"table"},
        owners=OWNERS,
        metadata={"dagster/table_name": "ingestion_ledger"},
        retry_policy=RETRIES,
        check_specs=[
            dg.AssetCheckSpec(
                "healing",
                asset="ingestion_ledger",
                description=(
                    f"Fails where {MAX_ATTEMPTS} attempts of healing were in vain: these windows "
                    "need a person. It passes again once they have a price, or a reason for good."
                ),
            )
        ],
    )
    def ingestion_ledger(
        context: dg.AssetExecutionContext, lake: Lake, warehouse: Warehouse
    ) -> dg.MaterializeResult:  # type: ignore[type-arg] # Dagster takes no parameter beside checks
        now = datetime.now(UTC)
        with asked_ledger(lake, warehouse, settings, streams, context.instance) as ledger:
            complete = completeness_of(ledger, streams, now)
            metadata = ledger_metadata(ledger, streams, complete, now)
            gaps = {stream: find_gaps(ledger, stream, context.instance, now) for stream in streams}
        return dg.MaterializeResult(
            metadata={**metadata, "dagster/uri": warehouse.table_uri("ingestion_ledger")},
            check_results=[healing_check(gaps, complete)],
        )

    return ingestion_ledger
