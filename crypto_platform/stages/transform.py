"""Transform: have a Spark job make Parquet of raw windows, evaluate it, and make it count."""

from collections.abc import Sequence
from dataclasses import dataclass

from crypto_platform.checks.definitions import Finding
from crypto_platform.core.streams import WindowBatch
from crypto_platform.lake.layers import Lake
from crypto_platform.transformation.resource import Transform, TransformResult
from crypto_platform.transformation.transformed_windows import (
    TransformedWindow,
    job_arguments,
    read_outputs,
    write_job_spec,
)


@dataclass(frozen=True)
class Transformed:
    """What came of transforming a batch of windows.

    Attributes:
        windows: The windows, in the order of the batch.
        ran: What the engine says of the job.
        blocked: Whether a blocking check failed, so that nothing was committed.
    """

    windows: Sequence[TransformedWindow]
    ran: TransformResult
    blocked: bool

    @property
    def findings(self) -> list[Finding]:
        """What is wrong with the windows."""
        return [finding for window in self.windows for finding in window.findings]

    @property
    def evaluated(self) -> str:
        """What was looked at, in words."""
        prices = sum(window.manifest.points for window in self.windows)
        rejected = sum(window.rejected for window in self.windows)
        return f"{len(self.windows):,} window(s), {prices:,} prices, {rejected:,} rejected points"


def transform_windows(
    batch: WindowBatch, lake: Lake, engine: Transform, run_id: str
) -> Transformed:
    """Transform windows, and commit them unless a blocking check fails.

    Args:
        batch: Windows that the raw lake holds.
        lake: Both layers: raw is read, transformed is written.
        engine: Runs the stream's job.
        run_id: The run, under which the files are written.

    Raises:
        MissingWindowError: A window was never ingested.
        CorruptFileError: A raw file is gone, or is not what was written.
        TransformError: The job failed.
    """
    raw = lake.raw.manifests(batch.stream, batch.windows)
    lake.raw.check(batch.stream, raw)
    job_spec = write_job_spec(lake, batch.stream, raw, run_id)
    ran = engine.run(batch.stream.job, job_arguments(lake, batch.stream, job_spec, run_id))
    windows = read_outputs(lake, batch.stream, raw, run_id)
    blocked = any(finding.check.blocking for window in windows for finding in window.findings)
    if not blocked:
        lake.transformed.commit(batch.stream, [window.manifest for window in windows])
        lake.transformed.remove(job_spec)
    return Transformed(windows, ran, blocked)
