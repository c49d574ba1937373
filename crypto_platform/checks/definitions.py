"""Asset checks as values: what must hold of the data, and what is said where it does not.

An evaluation is a list of findings; a check's result names the partitions and coins at fault, since
a run may be of many partitions. Severity means something: an ERROR alerts, and stops what comes
after it where the check blocks; a WARN informs. Files are evaluated in ``parquet``, loads in
``warehouse``, freshness in ``freshness`` and the month's credits in ``quota``.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.markdown import markdown_table
from crypto_platform.core.streams import Stream
from crypto_platform.lake.manifests import Manifest
from crypto_platform.warehouse.catalogue import PRICE_COLUMNS

ERROR = dg.AssetCheckSeverity.ERROR

WARN = dg.AssetCheckSeverity.WARN

PARTITIONS_AT_FAULT = "partitions"
"""Metadata in which a check names the partitions that failed, as a list of keys."""

COINS_AT_FAULT = "coins"
"""Metadata in which a check names the coins that failed, as a list of ids."""

FAULTS = "at_fault"
"""Metadata in which a check names what failed, exactly: see ``fault_names``."""

MAX_FAULTS = 10_000
"""How many names there are at most, since an alert remembers them all."""

WHAT_TO_DO = "what_to_do"
"""Metadata in which a check says what a person does about its failure."""

TIME_BASED = "by_the_clock"
"""Metadata of a check of the present, rather than of the partitions of the run it is part of."""

MIN_SHARE_OF_POINTS = 0.8
"""Of the points that the granularity promises, how many a coin's window must have.

Hourly points wander 58 to 64 minutes apart, and five-minute ones 2 to 9, so a whole window may lack
one; recorded responses have 5 of 6 and 71 of 72.
"""

JUMP_IN_DEVIATIONS = 12
"""How many robust standard deviations a log return must be from its coin's median to be a jump.

With this and ``MIN_JUMP`` ten recorded years of daily bitcoin (2013 to 2023, 3,687 returns) have
five jumps, the largest 20 deviations; recorded stablecoins, hourly and 5-minute series have none.
"""

MIN_JUMP = math.log(1.1)
"""No smaller move is a jump, however calm the coin: recorded stablecoins moved up to 3 % a day."""

MIN_RETURNS = 20
"""From fewer returns nobody can tell what is usual: two thirds of ``LOOK_BACK_IN_WINDOWS``."""

LOOK_BACK_IN_WINDOWS = 30
"""How many windows before those of the load say what is usual for a coin: as ``volatility_30d``."""

STREAMS_TOLERANCE = 0.05
"""The streams may differ by this share: up to ten minutes lie between the two moments.

Recorded 5-minute prices of 2021 and 2023 moved by 2.6 % at most in ten minutes.
"""

STREAMS_CONTRADICTION = 0.25
"""Ten times what was seen in ten minutes (``STREAMS_TOLERANCE``): one of the streams is wrong."""

SHOWN = 20
"""How many faults are shown in full, of a result or of a window."""

_NAMED = 5


@dataclass(frozen=True)
class Check:
    """What must hold of an asset's data.

    Attributes:
        name: The check's name on each asset that has it.
        description: The rule, and what a failure means, for people.
        remediation: What a person does about a failure.
        severity: Of a finding that does not say otherwise.
        blocking: Whether what failed it goes no further: it does not count, and nothing downstream
            runs.
        time_based: Whether it is about the present, whatever the run that it is part of is about.
    """

    name: str
    description: str
    remediation: str
    severity: dg.AssetCheckSeverity = ERROR
    blocking: bool = False
    time_based: bool = False


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

POSITIVE_PRICES = Check(
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
    f"Completeness over time: a coin's window has at least {MIN_SHARE_OF_POINTS:.0%} of the "
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
    "Materialize the partitions named again, from raw_prices on; take a delisted coin out of "
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

TRANSFORMED_CHECKS = (SCHEMA, KEYS, STAMPS, POSITIVE_PRICES, CAPS_AND_VOLUMES, POINTS, ROW_COUNTS)

WAREHOUSE_CHECKS = (
    SCHEMA,
    KEYS,
    POSITIVE_PRICES,
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
    """The checks of an asset, as its definition declares them.

    Args:
        checks: The checks.
        asset: The asset.
    """
    return [
        dg.AssetCheckSpec(
            check.name, asset=asset, description=check.description, blocking=check.blocking
        )
        for check in checks
    ]


def check_results(
    checks: Iterable[Check], findings: Sequence[Finding], evaluated: str
) -> list[dg.AssetCheckResult]:
    """A result a check.

    Args:
        checks: What was evaluated.
        findings: What was found, of any check.
        evaluated: What was looked at, such as ``365 windows, 9,125 prices``.
    """
    return [
        check_result(check, [one for one in findings if one.check is check], evaluated)
        for check in checks
    ]


def check_result(check: Check, findings: Sequence[Finding], evaluated: str) -> dg.AssetCheckResult:
    """A check's result: it passed where nothing was found; else it names partitions and coins.

    An error names those in error only: a warning beside it must not keep its alert open.

    Args:
        check: The check.
        findings: What it found.
        evaluated: What was looked at, such as ``365 windows, 9,125 prices``.
    """
    severities = {finding.severity or check.severity for finding in findings}
    severity = max(severities, key=[WARN, ERROR].index, default=check.severity)
    worst = [one for one in findings if (one.severity or check.severity) is severity]
    # What it failed for is shown before what it only warns of.
    findings = sorted(findings, key=lambda one: (one.severity or check.severity) is not severity)
    partitions = sorted({finding.partition for finding in worst} - {""})
    coins = sorted({finding.coin_id for finding in worst if finding.coin_id})
    metadata: dict[str, Any] = {"evaluated": evaluated, "faults": len(findings)}
    if check.time_based:
        metadata[TIME_BASED] = True
    if findings:
        names = fault_names(
            # By the clock it is another partition each time, of the same fault.
            ("" if check.time_based else one.partition, one.coin_id or "")
            for one in worst
        )
        metadata |= {
            PARTITIONS_AT_FAULT: dg.MetadataValue.json(partitions),
            WHAT_TO_DO: check.remediation,
            COINS_AT_FAULT: dg.MetadataValue.json(coins),
            FAULTS: dg.MetadataValue.json(names),
            "found": markdown_table(
                [
                    {"partition": one.partition, "coin": one.coin_id or "", "fault": one.fault}
                    for one in findings[:SHOWN]
                ]
            ),
        }
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=not findings,
        severity=severity,
        description=_described(findings) if findings else f"Holds for {evaluated}.",
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
    if len(names) > MAX_FAULTS:
        names = {partition for partition, _ in faults} - {""}
    return sorted(names)


def raise_on_blocking(
    asset: str, findings: Sequence[Finding], *, consequence: str, remediation: str
) -> None:
    """Let nothing go on that failed a blocking check.

    Args:
        asset: The asset that was evaluated, for the message.
        findings: What was found.
        consequence: What is kept from happening, in a sentence.
        remediation: What to do, in a sentence.

    Raises:
        BlockedByCheckError: A finding is of a blocking check.
    """
    blocking = [finding for finding in findings if finding.check.blocking]
    if blocking:
        names = ", ".join(sorted({finding.check.name for finding in blocking}))
        raise BlockedByCheckError(
            f"{asset} failed its blocking checks ({names}): {_described(blocking)} "
            f"{consequence} {remediation}"
        )


def evaluate_raw(
    stream: Stream, manifests: Iterable[Manifest], coins: Sequence[str]
) -> list[Finding]:
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


def schema_faults(columns: Mapping[str, str], types: Mapping[str, set[str]]) -> list[str]:
    """Which of the declared columns of prices are missing or of another type, in words.

    Args:
        columns: The type of each column there is, as the engine calls it.
        types: For each declared type what the engine may call it.
    """
    faults = []
    for column in PRICE_COLUMNS.columns:
        found = columns.get(column.name)
        if found is None:
            faults.append(f"there is no column {column.name}")
        elif found not in types[column.type]:
            faults.append(f"{column.name} is {found}, not {column.type}")
    return faults


def at_moment(moment: datetime | None) -> str:
    """A moment in the words of a fault."""
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "no moment"


def _described(findings: Sequence[Finding]) -> str:
    partitions = sorted({finding.partition for finding in findings} - {""})
    named = "; ".join(str(finding) for finding in findings[:_NAMED])
    more = f"; and {len(findings) - _NAMED:,} more" if len(findings) > _NAMED else ""
    where = ""
    if len(partitions) > 1:
        where = f" in {len(partitions):,} partitions, {partitions[0]} to {partitions[-1]}"
    return f"{len(findings):,} fault{'s' * (len(findings) > 1)}{where}: {named}{more}."
