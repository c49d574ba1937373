"""Load: make the warehouse hold exactly what the transformed lake says, and evaluate it there."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from crypto_platform.checks.definitions import COINS, PRICE_TABLE_CHECKS, Check, Finding
from crypto_platform.checks.warehouse import (
    evaluate_load,
    evaluate_losses,
    evaluate_revisions,
    unjudged_in_load,
)
from crypto_platform.core.numbers import count
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import WindowBatch
from crypto_platform.ingestion.tracked_coins import load_tracked_coins
from crypto_platform.lake.layers import Lake
from crypto_platform.lake.manifests import Manifest
from crypto_platform.lake.upgrade import refuse_old_layout
from crypto_platform.stages.transform import no_prices_in
from crypto_platform.warehouse.expected_windows import sync_expected_windows
from crypto_platform.warehouse.load import LoadResult
from crypto_platform.warehouse.load_record import LoadRecord
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.session import Session


class _OvertakenError(Exception):
    """Another run has made the windows anew; nothing was committed."""


class _BlockedError(Exception):
    """A finding of a blocking check keeps a load from being committed."""


@dataclass(frozen=True)
class Loaded:
    """What came of loading a batch of windows.

    Attributes:
        manifests: What was to be loaded, one a window, in the order of the batch.
        result: What the warehouse says of the load; ``None`` where a blocking check failed: then
            nothing was committed.
        findings: What is wrong with the windows as they stand in the warehouse, or would.
        evaluated: What was looked at, in words.
        unjudged: Why a check had nothing to look at.
    """

    manifests: Sequence[Manifest]
    result: LoadResult | None
    findings: Sequence[Finding]
    evaluated: str
    unjudged: Mapping[Check, str]


def load_windows(
    batch: WindowBatch, lake: Lake, warehouse: Warehouse, settings: Settings
) -> Loaded:
    """Replace exactly these windows in the warehouse, in one transaction, and record that.

    They are evaluated before it is committed, as they would stand; what fails a blocking check is
    never committed. Nor is a load whose windows another run has made anew since it began, which
    happens only to runs that share no Dagster instance: it begins again with what that run left.

    Args:
        batch: Windows that the transformed lake holds.
        lake: The lake; its raw layer has the list of tracked coins.
        warehouse: The warehouse.
        settings: Where the stream begins, and the currency in which tracked coins must have prices.

    Raises:
        OldLayoutError: An earlier version made the transformed lake.
        MissingWindowError: A window was never transformed.
        LoadMismatchError: Files, manifests and table disagree; nothing was changed.
        MixedSourcesError: Simulated prices would stand beside real ones.
        WarehouseBusyError: Another process holds the warehouse.
    """
    refuse_old_layout(lake.transformed, batch.stream)
    coins = load_tracked_coins(lake.raw)
    # Here and not where the list is made: a load has to wake the warehouse, the list need not.
    warehouse.upsert_coins(coins.coins)
    sync_expected_windows(warehouse, settings, [batch.stream], coins)
    while True:
        manifests = lake.transformed.manifests(batch.stream, batch.windows)
        with suppress(_OvertakenError):
            return _load(batch, manifests, lake, warehouse, coins.ids, settings.vs_currency)


def _load(  # noqa: PLR0913, PLR0917 - what load_windows is given, read once
    batch: WindowBatch,
    manifests: Sequence[Manifest],
    lake: Lake,
    warehouse: Warehouse,
    coins: Sequence[str],
    vs_currency: str,
) -> Loaded:
    findings: list[Finding] = []
    unjudged: dict[Check, str] = {}

    def accept(session: Session) -> None:
        # Now that no other load can come between: one that did was of newer windows.
        if lake.transformed.manifests(batch.stream, batch.windows) != manifests:
            raise _OvertakenError
        findings.extend(evaluate_load(session, batch, coins, vs_currency))
        unjudged.update(unjudged_in_load(session, batch, vs_currency))
        if any(finding.check.blocking for finding in findings):
            raise _BlockedError

    result = None
    with suppress(_BlockedError):
        result = warehouse.load(batch.stream, manifests, lake.transformed.root, accept)
    if result:
        findings += evaluate_revisions(batch.stream, result.revisions)
        with warehouse.session(read_only=True) as session:
            record = LoadRecord(lake.transformed, batch.stream)
            lost = record.update(session, batch.windows)
            findings += evaluate_losses(session, batch.stream, lost, vs_currency)
    points = sum(manifest.points for manifest in manifests)
    rejected = sum(manifest.rejected for manifest in manifests)
    if not points:
        unjudged |= dict.fromkeys(PRICE_TABLE_CHECKS, no_prices_in(len(manifests)))
    if not coins:
        unjudged[COINS] = "no coin is tracked. Name some in TRACKED_COINS"
    return Loaded(
        manifests=manifests,
        result=result,
        findings=findings,
        evaluated=(
            f"{count(len(manifests), 'window')}, {count(points, 'price')} "
            f"{'in' if result else 'that were to stand in'} {batch.stream.table}; "
            f"{count(rejected, 'rejected point')} stay in the lake"
        ),
        unjudged=unjudged,
    )
