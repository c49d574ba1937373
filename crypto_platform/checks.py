"""Asset checks: what must hold of the data, judged where it is made.

A check is a value, and a judgement is a list of findings; a check's result names the partitions
and coins at fault, since a run may be of many partitions. Severity means something: an ERROR
alerts, and stops what comes after it where the check blocks; a WARN informs. What is judged by the
clock instead of by a load is in ``freshness``.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any

import dagster as dg

from crypto_platform.failures import PermanentFailure
from crypto_platform.manifests import Manifest
from crypto_platform.metadata import PRICE_COLUMNS, markdown_table
from crypto_platform.resources.warehouse import Revisions, Row, Session
from crypto_platform.resources.warehouse_sql import statement
from crypto_platform.streams import Stream, Window

if TYPE_CHECKING:
    import pyarrow as pa

ERROR = dg.AssetCheckSeverity.ERROR
WARN = dg.AssetCheckSeverity.WARN

PARTITIONS_AT_FAULT = "partitions"
"""Metadata in which a check names the partitions that failed, as a list of keys."""

COINS_AT_FAULT = "coins"
"""Metadata in which a check names the coins that failed, as a list of ids."""

FAULTS = "at_fault"
"""Metadata in which a check names what failed, exactly: see ``fault_names``."""

MOST_FAULTS = 10_000
"""How many names there are at most, since an alert remembers them all."""

WHAT_TO_DO = "what_to_do"
"""Metadata in which a check says what a person does about its failure."""

BY_THE_CLOCK = "by_the_clock"
"""Metadata of a check that judges the present, and not the partitions of the run it is part of."""

LEAST_SHARE_OF_POINTS = 0.8
"""Of the points that the granularity promises, how many a coin's window must have.

Hourly points wander 58 to 64 minutes apart, and five-minute ones 2 to 9, so a whole window may lack
one; recorded answers have 5 of 6 and 71 of 72.
"""

JUMP_IN_DEVIATIONS = 12
"""How many robust standard deviations a log return must be from its coin's median to be a jump."""

SMALLEST_JUMP = math.log(1.1)
"""No smaller move is a jump, however calm the coin: a stablecoin usually moves by 0.1 percent."""

LEAST_RETURNS = 20
"""From fewer returns nobody can tell what is usual."""

LOOK_BACK_IN_WINDOWS = 30
"""How many windows before those of the load say what is usual for a coin."""

STREAMS_TOLERANCE = 0.05
"""The streams may differ by this share: up to ten minutes lie between the two moments."""

STREAMS_CONTRADICTION = 0.25
"""No market moves so far in ten minutes and keeps the daily price: one of the streams is wrong."""

_SPACINGS = {
    "daily": timedelta(days=1),
    "hourly": timedelta(hours=1),
    "5-minute": timedelta(minutes=5),
}

# How engines call the types that the price columns are declared with.
_TYPES = {
    "string": {"VARCHAR", "TEXT"},
    "timestamp": {"TIMESTAMP", "TIMESTAMP_NTZ"},
    "double": {"DOUBLE", "FLOAT"},
}

_KEY = ("coin_id", "vs_currency", "price_at")

_CAN_CHANGE = ("price", "market_cap", "total_volume", "granularity")

_SHOWN = 20
_NAMED = 5


@dataclass(frozen=True)
class Check:
    """What must hold of an asset's data.

    Attributes:
        name: The check's name on each asset that has it.
        description: The rule, and what a failure means, for people.
        way_out: What a person does about a failure.
        severity: Of a finding that does not say otherwise.
        blocking: Whether what failed it goes no further: it does not count, and nothing downstream
            runs.
        by_the_clock: Whether it judges the present, whatever the run that it is part of is about.
    """

    name: str
    description: str
    way_out: str
    severity: dg.AssetCheckSeverity = ERROR
    blocking: bool = False
    by_the_clock: bool = False


@dataclass(frozen=True)
class Finding:
    """A fault that a check found.

    Attributes:
        check: The check.
        partition: Key of the partition at fault; empty where the fault is the whole table's.
        coin_id: The coin; ``None`` where it is all of them.
        fault: What is wrong, with values and stamps.
        severity: Where it is another than the check's.
    """

    check: Check
    partition: str
    coin_id: str | None
    fault: str
    severity: dg.AssetCheckSeverity | None = None

    def __str__(self) -> str:
        """One line for a person."""
        about = " ".join(part for part in (self.coin_id, self.partition) if part)
        return f"{about}: {self.fault}" if about else self.fault


_AGAIN = "Materialize these partitions again, from transformed_prices on; if that fails, report it."

SCHEMA = Check(
    "schema",
    "Columns and their types are the declared ones.",
    "Make the table as snowflake_scripts/1_creation_tables.sql has it; where the transformed files "
    "are at fault, materialize transformed_prices again.",
    blocking=True,
)
KEYS = Check(
    "keys",
    "Every row has its key (coin_id, vs_currency, price_at), and no key comes twice.",
    _AGAIN,
    blocking=True,
)
STAMPS = Check(
    "stamps",
    "Every price_at lies inside its window: from its start up to, and not at, its end.",
    _AGAIN,
    blocking=True,
)
PRICES = Check(
    "prices",
    "Every price is positive and finite.",
    _AGAIN,
    blocking=True,
)
CAPS_AND_VOLUMES = Check(
    "caps_and_volumes",
    "Market cap and volume are not negative, and finite; null and zero are the API's own. A "
    "warning: they are kept as the API has them, and the price beside them counts all the same.",
    "Nothing: leave such values out where you compute with caps and volumes.",
    severity=WARN,
)
POINTS = Check(
    "points",
    f"Completeness over time: a coin's window has at least {LEAST_SHARE_OF_POINTS:.0%} of the "
    "points that its granularity promises (daily, hourly, 5-minute). Stamps wander, so a window "
    "may lack one. A warning: a coin that was listed or halted within the window has no more.",
    "Materialize the window again, from raw_prices on, while the API still has it so fine.",
    severity=WARN,
)
ROW_COUNTS = Check(
    "row_counts",
    "Row counts reconcile from raw to transformed to warehouse: each point is a row, is folded "
    "into its day, or is rejected with a reason. Nothing is lost, and nothing is added.",
    _AGAIN,
    blocking=True,
)
COINS = Check(
    "coins",
    "Completeness over coins: each tracked coin has prices in the window, or the reason why not "
    "stands in the ledger. A coin that was asked for and has neither is an error; one that failed, "
    "or that a run did not ask for, is a warning, as healing asks for it again.",
    "Materialize the partitions named again, from raw_prices on; take a coin that is dead out of "
    "TRACKED_COINS.",
)
PRICE_JUMPS = Check(
    "price_jumps",
    f"No price jumps: a log return lies within {JUMP_IN_DEVIATIONS} robust standard deviations (by "
    "the median absolute deviation) of its coin's median, or within 10 %. A warning: markets do "
    "jump, and the API's number stays.",
    "Compare the price with another source; the API may correct it when asked again.",
    severity=WARN,
)
STREAMS_AGREE = Check(
    "streams_agree",
    "The daily price and the intra-day one nearest to 00:00 UTC, at most ten minutes from it, "
    f"differ by no more than {STREAMS_TOLERANCE:.0%}. A warning, as the market moves meanwhile; an "
    f"error beyond {STREAMS_CONTRADICTION:.0%}, as one of the streams must be wrong.",
    "Materialize the day in historical and the window in intra_day again, from raw_prices on.",
    severity=WARN,
)
REVISIONS = Check(
    "revisions",
    "The load changed no value that stood in the warehouse, and took none out. A warning: sources "
    "do correct themselves; the values before are in price_revisions, and history can be asked as "
    "it was known then.",
    "Nothing, unless what you computed from these prices has to be computed again.",
    severity=WARN,
)

RAW_CHECKS = (COINS,)
TRANSFORMED_CHECKS = (SCHEMA, KEYS, STAMPS, PRICES, CAPS_AND_VOLUMES, POINTS, ROW_COUNTS)
WAREHOUSE_CHECKS = (
    SCHEMA,
    KEYS,
    PRICES,
    CAPS_AND_VOLUMES,
    ROW_COUNTS,
    COINS,
    PRICE_JUMPS,
    STREAMS_AGREE,
    REVISIONS,
)


class BlockedByCheckError(PermanentFailure):
    """Data that failed a blocking check; names the checks, partitions and coins, and what to do."""


def check_specs(checks: Iterable[Check], asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of an asset, as its definition declares them."""
    return [
        dg.AssetCheckSpec(
            check.name, asset=asset, description=check.description, blocking=check.blocking
        )
        for check in checks
    ]


def check_results(
    checks: Iterable[Check], findings: Sequence[Finding], judged: str
) -> list[dg.AssetCheckResult]:
    """A result a check.

    Args:
        checks: What was judged.
        findings: What was found, of any check.
        judged: What was looked at, such as ``365 windows, 9,125 prices``.
    """
    return [
        check_result(check, [one for one in findings if one.check is check], judged)
        for check in checks
    ]


def check_result(check: Check, findings: Sequence[Finding], judged: str) -> dg.AssetCheckResult:
    """A check's result: it passed where nothing was found; else it names partitions and coins.

    An error names those in error only: a warning beside it must not keep its alert open.
    """
    severities = {finding.severity or check.severity for finding in findings}
    severity = max(severities, key=[WARN, ERROR].index, default=check.severity)
    worst = [one for one in findings if (one.severity or check.severity) is severity]
    # What it failed for is shown before what it only warns of.
    findings = sorted(findings, key=lambda one: (one.severity or check.severity) is not severity)
    partitions = sorted({finding.partition for finding in worst} - {""})
    coins = sorted({finding.coin_id for finding in worst if finding.coin_id})
    metadata: dict[str, Any] = {"judged": judged, "faults": len(findings)}
    if check.by_the_clock:
        metadata[BY_THE_CLOCK] = True
    if findings:
        names = fault_names(
            # By the clock it is another partition each time, of the same fault.
            ("" if check.by_the_clock else one.partition, one.coin_id or "")
            for one in worst
        )
        metadata |= {
            PARTITIONS_AT_FAULT: dg.MetadataValue.json(partitions),
            WHAT_TO_DO: check.way_out,
            COINS_AT_FAULT: dg.MetadataValue.json(coins),
            FAULTS: dg.MetadataValue.json(names),
            "found": markdown_table(
                [
                    {"partition": one.partition, "coin": one.coin_id or "", "fault": one.fault}
                    for one in findings[:_SHOWN]
                ]
            ),
        }
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=not findings,
        severity=severity,
        description=_described(findings) if findings else f"Holds for {judged}.",
        metadata=metadata,
    )


def fault_names(faults: Iterable[tuple[str, str]]) -> list[str]:
    """Names of what failed a check: ``partition/coin``, or the one of both that there is.

    An alert is sent for each name that is new, so a fault keeps its name for as long as it lasts.
    Too many are named by their partitions alone.

    Args:
        faults: The partition and the coin of each, empty where a fault is not of one alone.
    """
    faults = list(faults)
    names = {"/".join(part for part in fault if part) for fault in faults} - {""}
    if len(names) > MOST_FAULTS:
        names = {partition for partition, _ in faults} - {""}
    return sorted(names)


def stop_if_blocked(
    asset: str, findings: Sequence[Finding], *, consequence: str, way_out: str
) -> None:
    """Let nothing go on that failed a blocking check.

    Args:
        asset: The asset that was judged, for the message.
        findings: What was found.
        consequence: What is kept from happening, in a sentence.
        way_out: What to do, in a sentence.

    Raises:
        BlockedByCheckError: A finding is of a blocking check.
    """
    blocking = [finding for finding in findings if finding.check.blocking]
    if blocking:
        names = ", ".join(sorted({finding.check.name for finding in blocking}))
        raise BlockedByCheckError(
            f"{asset} failed its blocking checks ({names}): {_described(blocking)} "
            f"{consequence} {way_out}"
        )


def judge_raw(stream: Stream, manifests: Iterable[Manifest], coins: Sequence[str]) -> list[Finding]:
    """Whether every coin that was asked for is in the raw lake or explained.

    Args:
        stream: The stream of the windows.
        manifests: What the raw lake now holds, one a window.
        coins: The coins that were asked for.
    """
    findings = []
    for manifest in manifests:
        partition = stream.partition_key(manifest.window)
        explained = manifest.coins + len(manifest.absent)
        if explained < len(coins):
            fault = f"{len(coins)} coins were asked for, {explained} are here or explained"
            findings.append(Finding(COINS, partition, None, fault))
        findings += [
            Finding(COINS, partition, absence.coin_id, f"failed: {absence.reason}", WARN)
            for absence in manifest.absent
            if absence.status == "failed"
        ]
    return findings


def judge_prices(prices: Mapping[Window, Sequence["pa.Table"]], stream: Stream) -> list[Finding]:
    """What is wrong with the prices of transformed windows; all of them are judged at once.

    Args:
        prices: The rows of each window, file by file.
        stream: The stream of the windows.
    """
    # Loading the definitions must not pay for it.
    import pyarrow as pa  # noqa: PLC0415

    windows = list(prices)
    findings, sound = [], []
    for place, window in enumerate(windows):
        for table in prices[window]:
            faults = _schema_faults(_types(table.schema), _PARQUET_TYPES)
            partition = stream.partition_key(window)
            findings += [Finding(SCHEMA, partition, None, fault) for fault in faults]
            # What lacks a column cannot be judged by it.
            if not faults:
                found_in = pa.repeat(pa.scalar(place, pa.int32()), table.num_rows)
                declared = table.select([column.name for column in PRICE_COLUMNS.columns])
                sound.append(declared.append_column("window", found_in))
    if sound:
        together = pa.concat_tables(sound, promote_options="permissive")
        judged = _Judged(together, stream, windows)
        findings += [*_row_findings(judged), *_point_findings(judged)]
    return findings


def judge_load(
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
    wrong = _schema_faults({row["name"]: row["type"] for row in columns}, _TYPES)
    findings = [Finding(SCHEMA, "", None, f"{stream.table}: {fault}") for fault in wrong]
    if findings:
        return findings
    for row in session.execute(_sql("faulty_rows", stream), [start, end] * 3):
        check = next(one for one in WAREHOUSE_CHECKS if one.name == row["broken"])
        at = row["price_at"]
        fault = f"{row['fault']} at {_moment(at)}"
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
    (standing,) = session.execute(_sql("rows_of_windows", stream), [start, end])
    rejected = sum(file.rows for manifest in manifests for file in manifest.files_of("rejected"))
    counts = (
        f"{len(manifests):,} window(s), {expected:,} prices and {rejected:,} rejected points in "
        f"the transformed lake, {standing['prices']:,} prices in {stream.table}"
    )
    if standing["prices"] == expected:
        return [], counts
    windows = [manifest.window for manifest in manifests]
    return [Finding(ROW_COUNTS, partition_range(stream, windows), None, counts)], counts


def judge_revisions(stream: Stream, revisions: Revisions) -> list[Finding]:
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


def partition_range(stream: Stream, windows: Sequence[Window]) -> str:
    """A run's partitions as Dagster writes a range, or the only one."""
    keys = [stream.partition_key(window) for window in windows]
    return keys[0] if len(keys) == 1 else f"{keys[0]}...{keys[-1]}"


_PARQUET_TYPES = {
    "string": {"string", "large_string"},
    "timestamp": {"timestamp[us, tz=UTC]", "timestamp[ns, tz=UTC]", "timestamp[ms, tz=UTC]"},
    "double": {"double"},
}


def _types(schema: "pa.Schema") -> dict[str, str]:
    return {name: str(kind) for name, kind in zip(schema.names, schema.types, strict=True)}


def _schema_faults(columns: Mapping[str, str], types: Mapping[str, set[str]]) -> list[str]:
    faults = []
    for column in PRICE_COLUMNS.columns:
        found = columns.get(column.name)
        if found is None:
            faults.append(f"there is no column {column.name}")
        elif found not in types[column.type]:
            faults.append(f"{column.name} is {found}, not {column.type}")
    return faults


@dataclass(frozen=True)
class _Judged:
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
        told: Callable[[Row], str],
        most: int | None = None,
    ) -> list[Finding]:
        """What is wrong in each of the rows ``broken``, in words.

        Args:
            check: The check that found them.
            broken: Rows, with their ``window`` and ``coin_id``.
            told: Says what is wrong with a row.
            most: How many rows of a window are told; None for all.
        """
        if not broken.num_rows:
            return []
        rows = broken.sort_by([("window", "ascending"), ("coin_id", "ascending")])
        of_windows = groupby(rows["window"].to_pylist())
        counts = [len(list(of_window)) for _, of_window in of_windows]
        starts = accumulate(counts, initial=0)
        # All rows of a run may be broken: only what is told is made into objects.
        shown = [
            row
            for start, count in zip(starts, counts, strict=False)
            for row in rows.slice(start, count if most is None else min(count, most)).to_pylist()
        ]
        return [
            Finding(
                check,
                self.stream.partition_key(self.windows[row["window"]]),
                row["coin_id"],
                told(row),
            )
            for row in shown
        ]


def _row_findings(judged: _Judged) -> list[Finding]:
    import pyarrow as pa  # noqa: PLC0415 - as above
    import pyarrow.compute as pc  # noqa: PLC0415

    table = judged.prices
    no = False

    def broken(check: Check, which: Any, told: Callable[[Row], str]) -> list[Finding]:
        rows = table.filter(which)
        return judged.findings(check, rows, lambda row: f"{told(row)} at {_at(row)}", _SHOWN)

    def not_from_zero(column: str) -> Any:
        values = table[column]
        return pc.fill_null(pc.or_(pc.less(values, 0.0), pc.invert(pc.is_finite(values))), no)

    def of_window(edges: Iterable[datetime]) -> Any:
        return pa.array(edges, pa.timestamp("us", tz="UTC")).take(table["window"])

    prices, stamps = table["price"], table["price_at"]
    inside = pc.and_(
        pc.greater_equal(stamps, of_window(window.start for window in judged.windows)),
        pc.less(stamps, of_window(window.end for window in judged.windows)),
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
        *judged.findings(
            KEYS,
            repeated,
            lambda row: f"the key is there {row['count_all']} times at {_at(row)}",
            _SHOWN,
        ),
        *broken(
            STAMPS,
            pc.invert(pc.fill_null(inside, no)),
            lambda _: "a price stands outside its window",
        ),
        *broken(PRICES, pc.invert(pc.fill_null(positive, no)), lambda row: f"price {row['price']}"),
        *broken(
            CAPS_AND_VOLUMES,
            pc.or_(not_from_zero("market_cap"), not_from_zero("total_volume")),
            lambda row: f"market cap {row['market_cap']}, volume {row['total_volume']}",
        ),
    ]


def _point_findings(judged: _Judged) -> list[Finding]:
    import pyarrow as pa  # noqa: PLC0415 - as above
    import pyarrow.compute as pc  # noqa: PLC0415

    length = judged.stream.window_length
    promised = {name: max(1, length // spacing) for name, spacing in _SPACINGS.items()}
    coins = judged.prices.group_by(["window", "coin_id", "granularity"])
    counted = coins.aggregate([([], "count_all")])
    kind = pc.index_in(counted["granularity"], pa.array(list(promised)))
    least = pa.array([LEAST_SHARE_OF_POINTS * points for points in promised.values()])
    # A granularity that nobody knows promises nothing that can be compared.
    few = pc.less(counted["count_all"], pc.fill_null(least.take(kind), math.inf))

    def told(row: Row) -> str:
        granularity = row["granularity"]
        if granularity not in promised:
            return f"the granularity {granularity!r} is not one of {', '.join(promised)}"
        return f"{row['count_all']} of about {promised[granularity]} {granularity} points"

    return judged.findings(POINTS, counted.filter(few), told)


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
            LEAST_RETURNS,
            SMALLEST_JUMP,
            JUMP_IN_DEVIATIONS,
        ],
    )
    return [
        Finding(
            PRICE_JUMPS,
            _partition(stream, row["price_at"]),
            row["coin_id"],
            f"from {row['price_before']!r} at {_moment(row['before_at'])} to {row['price']!r} at "
            f"{_moment(row['price_at'])}, {row['price'] / row['price_before'] - 1:+.1%}",
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
            f"{row['daily_price']!r} in historical_prices at {_moment(row['midnight'])}, "
            f"{row['intra_day_price']!r} in intra_day_prices at {_moment(row['seen_at'])}",
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
    what = f"{row['coin_id']} at {_moment(row['price_at'])}"
    if row["new_price"] is None:
        return f"{what}: gone, its price was {row['old_price']!r}"
    changes = [
        f"{name} from {row[f'old_{name}']!r} to {row[f'new_{name}']!r}"
        for name in _CAN_CHANGE
        if row[f"old_{name}"] != row[f"new_{name}"]
    ]
    return f"{what}: {', '.join(changes)}"


def _at(row: Row) -> str:
    return _moment(row["price_at"])


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "no moment"


def _described(findings: Sequence[Finding]) -> str:
    partitions = sorted({finding.partition for finding in findings} - {""})
    named = "; ".join(str(finding) for finding in findings[:_NAMED])
    more = f"; and {len(findings) - _NAMED:,} more" if len(findings) > _NAMED else ""
    where = ""
    if len(partitions) > 1:
        where = f" in {len(partitions):,} partitions, {partitions[0]} to {partitions[-1]}"
    return f"{len(findings):,} fault{'s' * (len(findings) > 1)}{where}: {named}{more}."
