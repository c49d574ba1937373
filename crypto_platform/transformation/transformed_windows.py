"""What a job is asked to read, and what it turns out to have written."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any

from crypto_platform.checks.definitions import ROW_COUNTS, Finding
from crypto_platform.checks.parquet import evaluate_prices
from crypto_platform.core.lazy import pa, pq
from crypto_platform.core.streams import DATASETS, Dataset, Stream, Window
from crypto_platform.lake.layers import Lake, from_json_lines
from crypto_platform.lake.manifests import Absence, LakeFile, Manifest

# About how many prices are read back and evaluated at once. Window by window takes several times as
# long; all of a long backfill would not fit into memory.
_A_BLOCK = 100_000

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
    """A file that the transformation wrote, with its rows."""

    file: LakeFile
    rows: "pa.Table"


def write_job_spec(lake: Lake, stream: Stream, raw: Sequence[Manifest], run_id: str) -> str:
    """Write which files a job is to read: one line of JSON a window.

    Args:
        lake: Whose raw files are named, and whose transformed layer keeps the spec.
        stream: The stream of the windows.
        raw: What the raw lake holds, one manifest a window.
        run_id: The run, which names the spec.

    Returns:
        The spec's path in the transformed lake.
    """
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
    path = f"job_specs/{stream.name}/run={run_id}.json"
    lake.transformed.put(path, "\n".join(lines).encode())
    return path


def job_arguments(lake: Lake, stream: Stream, job_spec: str, run_id: str) -> dict[str, str]:
    """The arguments of a job, as its script in ``glue_jobs`` takes them.

    Args:
        lake: Whose transformed layer is written.
        stream: The stream, which says which datasets there are.
        job_spec: The spec's path in the transformed lake.
        run_id: The run, under which the files are written.
    """
    layer = lake.transformed
    datasets: list[Dataset] = ["prices", "rejected"]
    if stream.snapshot_within:
        datasets.append("snapshots")
    return {
        "job_spec": layer.uri(job_spec),
        **{f"{name}_output": layer.uri(stream.dataset_folder(name)) for name in datasets},
        "grain": str(stream.floored_to // timedelta(milliseconds=1)),
        "partition_by": ",".join(stream.partition_columns),
        "run_id": run_id,
    }


def read_outputs(
    lake: Lake, stream: Stream, raw: Sequence[Manifest], run_id: str
) -> list[TransformedWindow]:
    """Read back what a run of the transformation wrote, window by window, and evaluate it.

    Rows are counted in the files themselves, not taken from the job's word.

    Args:
        lake: The lake that the job read and wrote.
        stream: The stream of the windows.
        raw: What the job was to read, one manifest a window.
        run_id: The run under which it wrote.

    Returns:
        The windows in the order of ``raw``, none of them committed.
    """
    before = accumulate((manifest.points for manifest in raw), initial=0)
    numbered = zip((points // _A_BLOCK for points in before), raw, strict=False)
    return [
        window
        for _, block in groupby(numbered, key=itemgetter(0))
        for window in _read_block(lake, stream, [manifest for _, manifest in block], run_id)
    ]


def _read_block(
    lake: Lake, stream: Stream, raw: Sequence[Manifest], run_id: str
) -> list[TransformedWindow]:
    outputs = lake.transformed.each(lambda one: _outputs(lake, stream, one, run_id), raw)
    findings: dict[str, list[Finding]] = defaultdict(list)
    prices = {
        manifest.window: [output.rows for output in _of("prices", written)]
        for manifest, written in zip(raw, outputs, strict=True)
    }
    for finding in evaluate_prices(prices, stream):
        findings[finding.partition].append(finding)

    def transformed(one: tuple[Manifest, list[_Output]]) -> TransformedWindow:
        manifest, written = one
        evaluated = findings[stream.partition_key(manifest.window)]
        return _transformed_window(
            lake, stream, manifest, run_id, outputs=written, evaluated=evaluated
        )

    # Side by side: where something was rejected, the raw files are read again.
    return lake.raw.each(transformed, zip(raw, outputs, strict=True))


def _outputs(lake: Lake, stream: Stream, raw: Manifest, run_id: str) -> list[_Output]:
    """What a run wrote of a window."""
    if not raw.files:
        return []
    return [
        _read_output(lake, dataset, path)
        for dataset in DATASETS
        for path in lake.transformed.paths(
            f"{stream.window_folder(raw.window, dataset)}/run={run_id}"
        )
        if path.endswith(".parquet")
    ]


def _read_output(lake: Lake, dataset: Dataset, path: str) -> _Output:
    content = lake.transformed.read(path) or b""
    # A window's file is too small to be shared among threads.
    rows = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    return _Output(lake.transformed.describe_file(dataset, path, rows.num_rows, content), rows)


def _of(dataset: Dataset, outputs: Sequence[_Output]) -> list[_Output]:
    return [output for output in outputs if output.file.dataset == dataset]


def _transformed_window(  # noqa: PLR0913 - where it is, and what came of it
    lake: Lake,
    stream: Stream,
    raw: Manifest,
    run_id: str,
    *,
    outputs: Sequence[_Output],
    evaluated: Sequence[Finding],
) -> TransformedWindow:
    prices, rejected = _of("prices", outputs), _of("rejected", outputs)
    points = sum(output.file.rows for output in prices)
    coins = _number_of_coins(prices)
    # As many rows as points, all in sight: nothing was folded, rejected or lost.
    plain = not rejected and points == raw.points and coins == raw.coins
    return TransformedWindow(
        manifest=Manifest(
            stream=stream.name,
            window=raw.window,
            run_id=run_id,
            written_at=datetime.now(UTC),
            coins=coins,
            points=points,
            files=tuple(output.file for output in outputs),
            absent=(*raw.absent, *_quarantined(raw, prices, rejected)),
        ),
        rejected=sum(output.file.rows for output in rejected),
        preview=[
            row for output in prices for row in output.rows.slice(0, _PREVIEW_ROWS).to_pylist()
        ][:_PREVIEW_ROWS],
        findings=(
            *evaluated,
            *([] if plain else _count_findings(lake, stream, raw, prices, rejected)),
        ),
    )


def _number_of_coins(prices: Sequence[_Output]) -> int:
    if len(prices) == 1 and set(_COIN) <= set(prices[0].rows.column_names):
        # As for a file: too small to be shared among threads.
        coins = prices[0].rows.group_by(list(_COIN), use_threads=False)
        number: int = coins.aggregate([]).num_rows
        return number
    return len(_by_coin(prices))


def _by_coin(outputs: Sequence[_Output]) -> Counter[_Coin]:
    """How many rows each coin has."""
    counted: Counter[_Coin] = Counter()
    for output in outputs:
        # A column of the key may be missing, which the check of the schema tells.
        known = (
            output.rows[name].to_pylist()
            if name in output.rows.column_names
            else [None] * output.rows.num_rows
            for name in _COIN
        )
        counted.update(zip(*known, strict=True))
    return counted


def _quarantined(
    raw: Manifest, prices: Sequence[_Output], rejected: Sequence[_Output]
) -> Iterator[Absence]:
    """The coins of which all that the API gave was rejected."""
    if not rejected:
        return
    absent = {(absence.coin_id, absence.vs_currency) for absence in raw.absent}
    known = absent | _by_coin(prices).keys()
    refused = {
        (row["coin_id"], row["vs_currency"]): row
        for output in rejected
        for row in output.rows.to_pylist()
    }
    for coin in sorted(refused.keys() - known):
        row = refused[coin]
        yield Absence(
            coin_id=row["coin_id"],
            vs_currency=row["vs_currency"],
            status="quarantined",
            reason=row["reason"],
            run_id=row["run_id"],
            seen_at=row["fetched_at"],
        )


def _count_findings(
    lake: Lake,
    stream: Stream,
    raw: Manifest,
    prices: Sequence[_Output],
    rejected: Sequence[_Output],
) -> list[Finding]:
    """Where what was written is not what the raw files give, coin by coin."""
    rows, refused = _by_coin(prices), _by_coin(rejected)
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
                f"its raw records give {expected[0]} prices and {expected[1]} rejected points, the "
                f"transformation wrote {found[0]} and {found[1]}"
            )
            partition = stream.partition_key(raw.window)
            findings.append(Finding(ROW_COUNTS, partition, coin[0], fault))
    return findings


def counts_of(record: Mapping[str, Any], stream: Stream, window: Window) -> tuple[int, int]:
    """How many prices and how many rejected points a raw record has to become.

    The rules of the transformation once more, to hold it to them: what it lost it cannot count.

    Args:
        record: A line of raw JSON: one coin in one window.
        stream: The stream, whose grain folds prices together.
        window: The window.
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
    return len({(stamp - start) // grain for stamp in good}), len(stamps - good)
