"""What is wrong with the prices in the files that a transformation wrote, all evaluated at once."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, groupby
from typing import Any

from crypto_platform.checks.definitions import (
    CAPS_AND_VOLUMES,
    KEYS,
    MIN_SHARE_OF_POINTS,
    POINTS,
    POSITIVE_PRICES,
    SHOWN,
    STAMPS,
    Check,
    Finding,
    at_moment,
    schema_faults,
)
from crypto_platform.core.lazy import pa, pc
from crypto_platform.core.streams import Stream, Window
from crypto_platform.warehouse.catalogue import price_columns
from crypto_platform.warehouse.session import Row

_SPACINGS = {
    "daily": timedelta(days=1),
    "hourly": timedelta(hours=1),
    "5-minute": timedelta(minutes=5),
}

_KEY = ("coin_id", "vs_currency", "price_at")


def evaluate_prices(prices: "pa.Table", stream: Stream, windows: Sequence[Window]) -> list[Finding]:
    """What is wrong with the prices of transformed windows; all are evaluated at once.

    Args:
        prices: Rows of the declared columns, with ``window``: the place in ``windows`` of the one
            that each was written for.
        stream: The stream of the windows.
        windows: The windows.
    """
    declared = [column.name for column in price_columns().columns]
    evaluated = _EvaluatedPrices(prices.select([*declared, "window"]), stream, windows)
    return [*_row_findings(evaluated), *_point_findings(evaluated)]


def schema_faults_of(schema: "pa.Schema") -> list[str]:
    """Which of the declared columns a file lacks, or has of another type, in words.

    Args:
        schema: The file's.
    """
    return schema_faults(_types(schema), _PARQUET_TYPES)


_PARQUET_TYPES = {
    "string": {"string", "large_string"},
    "timestamp": {"timestamp[us, tz=UTC]", "timestamp[ns, tz=UTC]", "timestamp[ms, tz=UTC]"},
    "double": {"double"},
}


def _types(schema: "pa.Schema") -> dict[str, str]:
    return {name: str(kind) for name, kind in zip(schema.names, schema.types, strict=True)}


@dataclass(frozen=True)
class _EvaluatedPrices:
    """Prices of some windows.

    Attributes:
        prices: The rows, with ``window``: the place in ``windows`` of the one each was found in.
        stream: The stream of the windows.
        windows: The windows.
    """

    prices: "pa.Table"
    stream: Stream
    windows: Sequence[Window]

    def findings(
        self,
        check: Check,
        broken: "pa.Table",
        described: Callable[[Row], str],
        limit: int | None = None,
    ) -> list[Finding]:
        """What is wrong in each of the rows ``broken``, in words.

        Args:
            check: The check that found them.
            broken: Rows, with their ``window`` and ``coin_id``.
            described: Says what is wrong with a row.
            limit: How many rows of a window are described; None for all.
        """
        if not broken.num_rows:
            return []
        rows = broken.sort_by([("window", "ascending"), ("coin_id", "ascending")])
        of_windows = groupby(rows["window"].to_pylist())
        counts = [len(list(of_window)) for _, of_window in of_windows]
        starts = accumulate(counts, initial=0)
        # All rows of a run may be broken: only what is described is made into objects.
        shown = [
            row
            for start, count in zip(starts, counts, strict=False)
            for row in rows.slice(start, count if limit is None else min(count, limit)).to_pylist()
        ]
        return [
            Finding(
                check,
                self.stream.partition_key(self.windows[row["window"]]),
                row["coin_id"],
                described(row),
            )
            for row in shown
        ]


def _row_findings(evaluated: _EvaluatedPrices) -> list[Finding]:
    table = evaluated.prices
    no = False

    def broken(check: Check, which: Any, described: Callable[[Row], str]) -> list[Finding]:
        rows = table.filter(which)
        return evaluated.findings(check, rows, lambda row: f"{described(row)} at {_at(row)}", SHOWN)

    def not_from_zero(column: str) -> Any:
        values = table[column]
        return pc.fill_null(pc.or_(pc.less(values, 0.0), pc.invert(pc.is_finite(values))), no)

    def of_window(bounds: Iterable[datetime]) -> Any:
        return pa.array(bounds, pa.timestamp("us", tz="UTC")).take(table["window"])

    prices, stamps = table["price"], table["price_at"]
    inside = pc.and_(
        pc.greater_equal(stamps, of_window(window.start for window in evaluated.windows)),
        pc.less(stamps, of_window(window.end for window in evaluated.windows)),
    )
    positive = pc.and_(pc.greater(prices, 0.0), pc.is_finite(prices))
    null_key = pc.or_(
        pc.or_(pc.is_null(table["coin_id"]), pc.is_null(table["vs_currency"])), pc.is_null(stamps)
    )
    counted = table.group_by(["window", *_KEY]).aggregate([([], "count_all")])
    repeated = counted.filter(pc.greater(counted["count_all"], 1))
    return [
        *broken(
            KEYS,
            null_key,
            lambda row: f"the key of {row['coin_id']} in {row['vs_currency']} lacks a part",
        ),
        *evaluated.findings(
            KEYS,
            repeated,
            lambda row: f"the key is there {row['count_all']} times at {_at(row)}",
            SHOWN,
        ),
        *broken(
            STAMPS,
            pc.invert(pc.fill_null(inside, no)),
            lambda _: "a price stands outside its window",
        ),
        *broken(
            POSITIVE_PRICES,
            pc.invert(pc.fill_null(positive, no)),
            lambda row: f"price {row['price']}",
        ),
        *broken(
            CAPS_AND_VOLUMES,
            pc.or_(not_from_zero("market_cap"), not_from_zero("total_volume")),
            lambda row: f"market cap {row['market_cap']}, volume {row['total_volume']}",
        ),
    ]


def _point_findings(evaluated: _EvaluatedPrices) -> list[Finding]:
    length = evaluated.stream.window_length
    promised = {name: max(1, length // spacing) for name, spacing in _SPACINGS.items()}
    coins = evaluated.prices.group_by(["window", "coin_id", "granularity"])
    counted = coins.aggregate([([], "count_all")])
    kind = pc.index_in(counted["granularity"], pa.array(list(promised)))
    least = pa.array([MIN_SHARE_OF_POINTS * points for points in promised.values()])
    # A granularity that nobody knows promises nothing that can be compared.
    few = pc.less(counted["count_all"], pc.fill_null(least.take(kind), math.inf))

    def described(row: Row) -> str:
        granularity = row["granularity"]
        if granularity not in promised:
            return f"the granularity {granularity!r} is not one of {', '.join(promised)}"
        return f"{row['count_all']} of about {promised[granularity]} {granularity} points"

    return evaluated.findings(POINTS, counted.filter(few), described)


def _at(row: Row) -> str:
    return at_moment(row["price_at"])
