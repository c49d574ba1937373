"""Load: make the warehouse hold exactly what the transformed lake says, and evaluate it there."""

from collections.abc import Sequence
from dataclasses import dataclass

from crypto_platform.checks.definitions import Finding
from crypto_platform.checks.warehouse import evaluate_load, evaluate_revisions
from crypto_platform.core.streams import WindowBatch
from crypto_platform.ingestion.tracked_coins import load_tracked_coins
from crypto_platform.lake.layers import Lake
from crypto_platform.lake.manifests import Manifest
from crypto_platform.warehouse.load import LoadResult
from crypto_platform.warehouse.resource import Warehouse


@dataclass(frozen=True)
class Loaded:
    """What came of loading a batch of windows.

    Attributes:
        manifests: What was loaded, one a window, in the order of the batch.
        result: What the warehouse says of the load.
        findings: What is wrong with the windows as they now stand in the warehouse.
        evaluated: What was looked at, in words.
    """

    manifests: Sequence[Manifest]
    result: LoadResult
    findings: Sequence[Finding]
    evaluated: str


def load_windows(batch: WindowBatch, lake: Lake, warehouse: Warehouse, vs_currency: str) -> Loaded:
    """Replace exactly these windows in the warehouse, in one transaction.

    Args:
        batch: Windows that the transformed lake holds.
        lake: The lake; its raw layer has the list of tracked coins.
        warehouse: The warehouse.
        vs_currency: The currency in which tracked coins must have prices.

    Raises:
        MissingWindowError: A window was never transformed.
        LoadMismatchError: Files, manifests and table disagree; nothing was changed.
        MixedSourcesError: Simulated prices would stand beside real ones.
        WarehouseBusyError: Another process holds the warehouse.
    """
    manifests = lake.transformed.manifests(batch.stream, batch.windows)
    result = warehouse.load(batch.stream, manifests, lake.transformed.root)
    coins = load_tracked_coins(lake.raw).ids
    with warehouse.session(read_only=True) as session:
        findings = evaluate_load(session, batch, coins, vs_currency)
    rejected = sum(file.rows for manifest in manifests for file in manifest.files_of("rejected"))
    return Loaded(
        manifests=manifests,
        result=result,
        findings=[*findings, *evaluate_revisions(batch.stream, result.revisions)],
        evaluated=(
            f"{len(manifests):,} window(s), {result.prices:,} prices in {batch.stream.table}; "
            f"{rejected:,} rejected points stay in the lake"
        ),
    )
