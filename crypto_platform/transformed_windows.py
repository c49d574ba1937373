"""What a transformation is told to do, and what it turns out to have done."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from crypto_platform.checks import ROW_COUNTS, Finding, judge_parquet
from crypto_platform.manifests import Absence, LakeFile, Manifest
from crypto_platform.resources.lake import Lake, from_json_lines, in_parallel
from crypto_platform.streams import DATASETS, Dataset, Stream, Window

_PREVIEW_ROWS = 5
_COIN = ("coin_id", "vs_currency")

_Coin = tuple[str | None, str | None]


@dataclass(frozen=True)
class TransformedWindow:
    """A window after the transformation.

    Attributes:
        manifest: The files written, and who is absent.
        rejected: How many stamps were rejected, with a reason each, in the rejected dataset.
        preview: A few of its rows.
        findings: What is wrong with it.
    """

    manifest: Manifest
    rejected: int
    preview: list[dict[str, Any]]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Output:
    file: LakeFile
    # How many rows each coin has.
    coins: Counter[_Coin]
    # The first few rows; of what was rejected all, as the ledger wants the reason of each coin.
    rows: list[dict[str, Any]]
    findings: list[Finding]


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
    """Read back what a run of the transformation wrote, window by window, and judge it.

    Rows are counted in the files themselves, not taken from the job's word.
    """

    def collect_window(manifest: Manifest) -> TransformedWindow:
        return _transformed_window(lake, stream, manifest, run_id)

    return in_parallel(collect_window, raw)


def _transformed_window(
    lake: Lake, stream: Stream, raw: Manifest, run_id: str
) -> TransformedWindow:
    outputs = (
        [
            _read_output(lake, dataset, path, stream, raw.window)
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
        rejected=sum(output.file.rows for output in rejected),
        preview=[row for output in prices for row in output.rows][:_PREVIEW_ROWS],
        findings=(
            *(finding for output in prices for finding in output.findings),
            *_count_findings(lake, stream, raw, prices, rejected),
        ),
    )


def _count_findings(
    lake: Lake,
    stream: Stream,
    raw: Manifest,
    prices: Sequence[_Output],
    rejected: Sequence[_Output],
) -> list[Finding]:
    """Where what was written is not what the raw files give, coin by coin."""
    rows = sum((output.coins for output in prices), Counter[_Coin]())
    refused = sum((output.coins for output in rejected), Counter[_Coin]())
    # As many rows as points, all in sight: nothing was folded, rejected or lost.
    if not refused and rows.total() == raw.points and len(rows) == raw.coins:
        return []
    given: dict[_Coin, tuple[int, int]] = {}
    for file in raw.files_of("prices"):
        for record in from_json_lines(lake.raw.read(file.path) or b""):
            given[record["coin_id"], record["vs_currency"]] = counts_of(record, stream, raw.window)
    findings = []
    # A key may lack a part, which is another check's finding.
    for coin in sorted(given.keys() | rows.keys() | refused.keys(), key=str):
        expected, found = given.get(coin, (0, 0)), (rows[coin], refused[coin])
        if expected != found:
            fault = (
                f"its raw answer gives {expected[0]} prices and {expected[1]} rejected points, the "
                f"transformation wrote {found[0]} and {found[1]}"
            )
            partition = stream.partition_key(raw.window)
            findings.append(Finding(ROW_COUNTS, partition, coin[0], fault))
    return findings


def counts_of(record: Mapping[str, Any], stream: Stream, window: Window) -> tuple[int, int]:
    """How many prices and how many rejected points a raw record has to become.

    The rules of the transformation once more, to hold it to them: what it lost it cannot count.
    """
    millisecond = timedelta(milliseconds=1)
    start, end = (
        (at - datetime.fromtimestamp(0, UTC)) // millisecond for at in (window.start, window.end)
    )
    stamps = {
        point[0] if point else None
        for series in ("prices", "market_caps", "total_volumes")
        for point in record[series] or ()
    }
    good = {
        point[0]
        for point in record["prices"] or ()
        if len(point) > 1
        and None not in point[:2]
        and start <= point[0] < end
        and 0 < point[1] < math.inf
    }
    grain = stream.floored_to // millisecond
    return len({stamp // grain for stamp in good}), len(stamps - good)


def _read_output(
    lake: Lake, dataset: Dataset, path: str, stream: Stream, window: Window
) -> _Output:
    # Loading the definitions must not pay for it.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    content = lake.transformed.read(path) or b""
    # Windows are read side by side; threads within one only get into each other's way.
    table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    # A column of the key may be missing, which the schema's check tells.
    coin = (
        table[name].to_pylist() if name in table.column_names else [None] * table.num_rows
        for name in _COIN
    )
    shown = table if dataset == "rejected" else table.slice(0, _PREVIEW_ROWS)
    return _Output(
        file=lake.transformed.describe_file(dataset, path, table.num_rows, content),
        coins=Counter(zip(*coin, strict=True)),
        rows=shown.to_pylist(),
        findings=judge_parquet(table, window, stream.partition_key(window))
        if dataset == "prices"
        else [],
    )
