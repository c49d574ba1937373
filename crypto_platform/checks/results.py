"""What Dagster is told of checks: their specs, their results, and that a blocking one failed.

The metadata of a result is what alerts are made from, so its names stand here.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from crypto_platform.checks.definitions import ERROR, SHOWN, WARN, Check, Finding
from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.markdown import markdown_table

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

_NAMED = 5


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
    checks: Iterable[Check],
    findings: Sequence[Finding],
    evaluated: str,
    unjudged: Mapping[Check, str] | None = None,
) -> list[dg.AssetCheckResult]:
    """A result a check.

    Args:
        checks: What was evaluated.
        findings: What was found, of any check.
        evaluated: What was looked at, such as ``365 windows, 9,125 prices``.
        unjudged: Why a check had nothing to look at, for each that had not.
    """
    reasons = unjudged or {}
    results = []
    for check in checks:
        found = [one for one in findings if one.check is check]
        if check in reasons and not found:
            results.append(unjudged_result(check.name, reasons[check], time_based=check.time_based))
        else:
            results.append(check_result(check, found, evaluated))
    return results


def unjudged_result(
    check_name: str,
    reason: str,
    *,
    asset: str | None = None,
    time_based: bool = False,
    **metadata: Any,
) -> dg.AssetCheckResult:
    """The result of a check that had nothing to look at: a warning, which says why.

    It is not green, since nobody knows whether the rule holds, and it alerts nobody and stops
    nothing, since nothing is known to be broken.

    Args:
        check_name: The check's name.
        reason: Why there was nothing, and what would bring something, without a full stop.
        asset: The asset; ``None`` where a step makes only one.
        time_based: Whether the check is about the present.
        metadata: What else it shows.
    """
    return dg.AssetCheckResult(
        check_name=check_name,
        asset_key=asset,
        passed=False,
        severity=WARN,
        description=f"Judged nothing: {reason.removesuffix('.')}.",
        metadata={"evaluated": "nothing", **({TIME_BASED: True} if time_based else {}), **metadata},
    )


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


def _described(findings: Sequence[Finding]) -> str:
    partitions = sorted({finding.partition for finding in findings} - {""})
    # A fault may be a sentence, as the reasons of the ledger are; here it is part of another.
    named = "; ".join(str(finding).removesuffix(".") for finding in findings[:_NAMED])
    more = f"; and {len(findings) - _NAMED:,} more" if len(findings) > _NAMED else ""
    where = ""
    if len(partitions) > 1:
        where = f" in {len(partitions):,} partitions, {partitions[0]} to {partitions[-1]}"
    return f"{len(findings):,} fault{'s' * (len(findings) > 1)}{where}: {named}{more}."
