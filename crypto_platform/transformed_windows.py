"""What a transformation is told to do, and what it turns out to have done."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from crypto_platform.failures import PermanentFailure
from crypto_platform.manifests import Absence, LakeFile, Manifest
from crypto_platform.resources.lake import Lake, describe, in_parallel
from crypto_platform.streams import DATASETS, Dataset, Stream

_PREVIEW_ROWS = 5
_COIN = ("coin_id", "vs_currency")

_REJECTED_COLUMNS = (*_COIN, "reason", "run_id", "fetched_at")

PREVIEW_COLUMNS = ("coin_id", "price_at", "price", "market_cap", "total_volume", "granularity")
"""What a preview of prices shows of them."""


@dataclass(frozen=True)
class TransformedWindow:
    """A window after the transformation.

    Attributes:
        manifest: The files written, and who is absent.
        coins: How many coins its outputs have, with a price or only rejected.
        rejected: How many stamps were rejected, with a reason each, in the rejected dataset.
        preview: A few of its rows.
    """

    manifest: Manifest
    coins: int
    rejected: int
    preview: list[dict[str, Any]]


@dataclass(frozen=True)
class _Output:
    file: LakeFile
    coins: set[tuple[str, str]]
    # The first few rows; of what was rejected all, as the ledger wants the reason of each coin.
    rows: list[dict[str, Any]]


class LostCoinsError(PermanentFailure):
    """A coin that stands in the raw files is in none of the transformation's outputs."""


def write_work_order(lake: Lake, stream: Stream, raw: Sequence[Manifest], run_id: str) -> str:
    """Tell a transformation which files to read, window by window; returns the order's path."""
    lines = []
    for manifest in raw:
        values = [
            part.partition("=")[2]
            for part in manifest.window.start.strftime(stream.folder_format).split("/")
        ]
        window = manifest.window.model_dump(mode="json")
        line = {
            **{f"window_{end}": time for end, time in window.items()},
            **dict(zip(stream.partition_columns, values, strict=True)),
            "prices": [lake.raw.uri(file.path) for file in manifest.files_of("prices")],
            "snapshots": [lake.raw.uri(file.path) for file in manifest.files_of("snapshots")],
        }
        lines.append(json.dumps(line))
    path = f"work_orders/{stream.name}/run={run_id}.json"
    lake.transformed.put(path, "\n".join(lines).encode())
    return path


def job_arguments(lake: Lake, stream: Stream, work_order: str, run_id: str) -> dict[str, str]:
    """The arguments of a transformation, as its script takes them."""
    layer = lake.transformed
    datasets: list[Dataset] = ["prices", "rejected"]
    if stream.snapshot_within:
        datasets.append("snapshots")
    return {
        "work_order": layer.uri(work_order),
        **{f"{name}_output": layer.uri(stream.dataset_folder(name)) for name in datasets},
        "partition_by": ",".join(stream.partition_columns),
        "run_id": run_id,
    }


def collect(
    lake: Lake, stream: Stream, raw: Sequence[Manifest], run_id: str
) -> list[TransformedWindow]:
    """Read back what a run of the transformation wrote, window by window.

    Rows are counted in the files themselves, not taken from the job's word.

    Raises:
        LostCoinsError: A coin of a raw window is neither among its prices nor rejected.
    """

    def collect_window(manifest: Manifest) -> TransformedWindow:
        return _transformed_window(lake, stream, manifest, run_id)

    windows = in_parallel(collect_window, raw)
    lost = [
        manifest.window
        for manifest, window in zip(raw, windows, strict=True)
        if manifest.coins != window.coins
    ]
    if lost:
        raise LostCoinsError(
            f"The transformation lost coins of {describe(stream, lost)}: their raw files hold more "
            "coins than its outputs. Nothing was committed; materialize "
            f"{stream.name}/transformed_prices again, and report it if it happens again."
        )
    return windows


def _transformed_window(
    lake: Lake, stream: Stream, raw: Manifest, run_id: str
) -> TransformedWindow:
    outputs = (
        [
            _read_output(lake, dataset, path)
            for dataset in DATASETS
            for path in lake.transformed.paths(
                f"{stream.window_folder(raw.window, dataset)}/run={run_id}"
            )
            if path.endswith(".parquet")
        ]
        if raw.files
        else []
    )
    prices = [output for output in outputs if output.file.dataset == "prices"]
    rejected = [output for output in outputs if output.file.dataset == "rejected"]
    present = {coin for output in prices for coin in output.coins}
    absent = {(absence.coin_id, absence.vs_currency) for absence in raw.absent}
    refused = {
        (row["coin_id"], row["vs_currency"]): row for output in rejected for row in output.rows
    }
    quarantined = tuple(
        Absence(
            coin_id=row["coin_id"],
            vs_currency=row["vs_currency"],
            status="quarantined",
            reason=row["reason"],
            run_id=row["run_id"],
            seen_at=row["fetched_at"],
        )
        for coin, row in sorted(refused.items())
        if coin not in present and coin not in absent
    )
    return TransformedWindow(
        manifest=Manifest(
            stream=stream.name,
            window=raw.window,
            run_id=run_id,
            written_at=datetime.now(UTC),
            coins=len(present),
            points=sum(output.file.rows for output in prices),
            files=tuple(output.file for output in outputs),
            absent=(*raw.absent, *quarantined),
        ),
        coins=len(present | refused.keys()),
        rejected=sum(output.file.rows for output in rejected),
        preview=[row for output in prices for row in output.rows][:_PREVIEW_ROWS],
    )


def _read_output(lake: Lake, dataset: Dataset, path: str) -> _Output:
    # Loading the definitions must not pay for it.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    content = lake.transformed.read(path) or b""
    file = pq.ParquetFile(pa.BufferReader(content))
    count = file.metadata.num_rows
    # Windows are read side by side; threads within one only get into each other's way.
    coins = file.read(columns=list(_COIN), use_threads=False)
    kept = {"prices": (_PREVIEW_ROWS, PREVIEW_COLUMNS), "rejected": (count, _REJECTED_COLUMNS)}
    rows: list[dict[str, Any]] = []
    if count and dataset in kept:
        size, columns = kept[dataset]
        batches = file.iter_batches(size, columns=list(columns), use_threads=False)
        rows = next(batches).to_pylist()
    return _Output(
        file=lake.transformed.describe_file(dataset, path, count, content),
        coins=set(zip(*(coins[name].to_pylist() for name in _COIN), strict=True)),
        rows=rows,
    )
