"""Transform: have a Spark job make Parquet of raw windows, evaluate it, and make it count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from crypto_platform.checks.definitions import PRICE_FILE_CHECKS, SNAPSHOTS, Check, Finding
from crypto_platform.core.numbers import count
from crypto_platform.core.streams import Stream, WindowBatch
from crypto_platform.ingestion.tracked_coins import load_tracked_coins
from crypto_platform.lake.layers import Lake, Layer
from crypto_platform.lake.manifests import Manifest, MonthManifest, files_of
from crypto_platform.lake.repair import RepairedMonth, repair_raw
from crypto_platform.lake.upgrade import refuse_old_layout
from crypto_platform.transformation.job_spec import (
    job_arguments,
    job_folder,
    plan_months,
    write_job_spec,
)
from crypto_platform.transformation.resource import Transform, TransformResult
from crypto_platform.transformation.transformed_windows import (
    TransformedWindow,
    read_outputs,
)


@dataclass(frozen=True)
class Transformed:
    """What came of transforming a batch of windows.

    Attributes:
        windows: The windows, in the order of the batch.
        ran: What the engine says of the job.
        findings: What is wrong with the windows.
        snapshots_taken: How many of the raw windows have a market snapshot.
        blocked: Whether a blocking check failed, so that nothing was committed.
        repaired: The months whose manifests were damaged, and made again.
    """

    windows: Sequence[TransformedWindow]
    ran: TransformResult
    findings: Sequence[Finding]
    snapshots_taken: int
    blocked: bool
    repaired: Sequence[RepairedMonth]

    @property
    def evaluated(self) -> str:
        """What was looked at, in words."""
        rejected = sum(window.manifest.rejected for window in self.windows)
        return (
            f"{count(len(self.windows), 'window')}, {count(self._prices, 'price')}, "
            f"{count(rejected, 'rejected point')}"
        )

    @property
    def unjudged(self) -> Mapping[Check, str]:
        """Why a check had nothing to look at."""
        reasons: dict[Check, str] = {}
        if not self._prices:
            reasons |= dict.fromkeys(PRICE_FILE_CHECKS, no_prices_in(len(self.windows)))
        if not self.snapshots_taken:
            reasons[SNAPSHOTS] = (
                "no market snapshot was taken of these windows. A run takes one of the newest "
                "window alone, soon after its close"
            )
        return reasons

    @property
    def _prices(self) -> int:
        return sum(window.manifest.points for window in self.windows)


def no_prices_in(windows: int) -> str:
    """Why checks of prices have nothing to look at, where windows have none.

    Args:
        windows: How many windows.
    """
    return f"there is no price in {count(windows, 'window')}. The ledger says why of each coin"


class _OutrunError(Exception):
    """Another run made the same windows, or carried the same rows over, and was first."""


def transform_windows(
    batch: WindowBatch, lake: Lake, engine: Transform, run_id: str
) -> Transformed:
    """Transform windows, and commit them unless a blocking check fails.

    A month whose manifest in the transformed lake is damaged is made again as a whole.

    Where another run was first, which happens only to runs that share no Dagster instance, all of
    it is done again on what that run left.

    Args:
        batch: Windows that the raw lake holds.
        lake: Both layers: raw is read, transformed is written.
        engine: Runs the stream's job.
        run_id: The run, after which the files are named.

    Raises:
        OldLayoutError: An earlier version made the lake.
        MissingWindowError: A window was never ingested.
        CorruptFileError: A file that is read is gone, or is not what was written.
        TransformError: The job failed.
    """
    for layer in (lake.raw, lake.transformed):
        refuse_old_layout(layer, batch.stream)
    repaired = repair_raw(
        lake.raw, batch.stream, batch.windows, lambda: load_tracked_coins(lake.raw).ids, run_id
    )
    attempt = 0
    while True:
        try:
            attempted = f"{run_id}.{attempt}" if attempt else run_id
            done = _transform(batch, lake, engine, attempted)
            return replace(done, repaired=[*repaired, *done.repaired])
        except _OutrunError:
            attempt += 1


def _transform(batch: WindowBatch, lake: Lake, engine: Transform, run_id: str) -> Transformed:
    stream, layer = batch.stream, lake.transformed
    damaged = layer.damaged(stream, batch.windows)
    raw, snapshot_findings = _without_damaged_snapshots(
        lake.raw,
        stream,
        [*lake.raw.manifests(stream, batch.windows), *_others_of(lake, batch, damaged)],
    )
    lake.raw.check(stream, raw)
    folders = list(stream.by_folder(batch.windows))
    held = layer.each(
        lambda name: MonthManifest(stream.name) if name in damaged else layer.month(stream, name),
        folders,
    )
    months = plan_months(stream, raw, dict(zip(folders, held, strict=True)), layer.is_intact)
    layer.check(stream, [manifest for month in months for manifest in month.carried])
    folder = job_folder(stream, run_id)
    job_spec = write_job_spec(lake, folder, months)
    ran = engine.run(stream.job, job_arguments(lake, stream, folder, job_spec))
    made = list(read_outputs(lake, stream, months, folder, run_id))
    windows = {one.manifest.window: one for month in made for one in month.windows}
    findings = [
        *snapshot_findings,
        *(finding for one in raw for finding in windows[one.window].findings),
        *(finding for month in made for finding in month.findings),
    ]
    blocked = any(finding.check.blocking for finding in findings)
    repaired: list[RepairedMonth] = []
    if not blocked:
        seen = {window: held for month in months for window, held in month.held.items()}

        def unless_outrun(held: Manifest | None, new: Manifest) -> Manifest:
            if held != seen.get(new.window):
                raise _OutrunError
            return new

        layer.each(lambda move: layer.move(*move), [move for month in made for move in month.moves])
        manifests = [
            *(window.manifest for window in windows.values()),
            *(manifest for month in made for manifest in month.kept),
        ]
        repaired = _replace_damaged(layer, stream, damaged, manifests)
        layer.commit(
            stream,
            [one for one in manifests if stream.window_folder(one.window) not in damaged],
            unless_outrun,
        )
        layer.remove_folder(folder)
    asked = set(batch.windows)
    return Transformed(
        windows=[windows[window] for window in batch.windows],
        ran=ran,
        findings=findings,
        snapshots_taken=sum(bool(one.files_of("snapshots")) for one in raw if one.window in asked),
        blocked=blocked,
        repaired=repaired,
    )


def _others_of(lake: Lake, batch: WindowBatch, damaged: Sequence[str]) -> list[Manifest]:
    """What the raw lake holds beside the windows asked for, in months to be made as a whole."""
    asked = set(batch.windows)
    months = (lake.raw.month(batch.stream, folder) for folder in damaged)
    return [
        manifest
        for month in months
        for manifest in month.windows.values()
        # A window that cannot be read costs only itself: it is missing until it is asked again.
        if manifest.window not in asked and all(map(lake.raw.is_intact, manifest.files))
    ]


def _replace_damaged(
    layer: Layer, stream: Stream, damaged: Sequence[str], manifests: Sequence[Manifest]
) -> list[RepairedMonth]:
    """Commit the months that were made as a whole, in place of their damaged manifests."""
    repaired = []
    for folder in damaged:
        made = [one for one in manifests if stream.window_folder(one.window) == folder]
        if not layer.replace_damaged(stream, folder, made):
            raise _OutrunError
        repaired.append(RepairedMonth(folder, len(made)))
    return repaired


def _without_damaged_snapshots(
    layer: Layer, stream: Stream, raw: Sequence[Manifest]
) -> tuple[list[Manifest], list[Finding]]:
    """Raw windows without the snapshots that cannot be read: those stop no price.

    Args:
        layer: The raw layer.
        stream: The stream of the windows.
        raw: One a window.

    Returns:
        The windows, and what is wrong with their snapshots.
    """
    files = files_of(raw, "snapshots")
    intact = dict(zip(files, layer.each(layer.is_intact, files), strict=True))
    findings = [
        Finding(
            SNAPSHOTS,
            stream.partition_key(manifest.window),
            None,
            f"{layer.uri(file.path)} is gone or was changed after it was written",
        )
        for manifest in raw
        for file in manifest.files_of("snapshots")
        if not intact[file]
    ]
    without = [
        replace(manifest, files=tuple(f for f in manifest.files if intact.get(f, True)))
        for manifest in raw
    ]
    return without, findings
