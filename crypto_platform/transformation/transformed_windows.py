"""What a job turns out to have written: read back, counted, evaluated, and put into its place.

Rows are counted in the files themselves, not taken from the job's word.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate, chain
from typing import Any

from crypto_platform.checks.definitions import ROW_COUNTS, SCHEMA, SNAPSHOTS, Finding
from crypto_platform.checks.parquet import evaluate_prices, schema_faults_of
from crypto_platform.core.lazy import pa, pc
from crypto_platform.core.streams import DATASETS, Dataset, Stream
from crypto_platform.lake.layers import Lake, from_json_lines
from crypto_platform.lake.manifests import Absence, CoinKey, Manifest, files_of
from crypto_platform.transformation.expected_counts import Counts, expected_counts
from crypto_platform.transformation.job_outputs import (
    JobOutput,
    JobOutputs,
    counts_of_places,
    read_output,
    written_files,
)
from crypto_platform.transformation.job_spec import MonthJob

_PREVIEW_ROWS = 5
_PREVIEWED = (
    "coin_id",
    "vs_currency",
    "price_at",
    "price",
    "market_cap",
    "total_volume",
    "granularity",
)
_COIN = ("coin_id", "vs_currency")
_SIDE_DATA: Dataset = "snapshots"
_COUNTED: tuple[Dataset, Dataset] = ("prices", "rejected")


@dataclass(frozen=True)
class TransformedWindow:
    """A window after the transformation.

    Attributes:
        manifest: The files that hold it, and who is absent.
        preview: A few of its rows.
        findings: What is wrong with it.
    """

    manifest: Manifest
    preview: list[dict[str, Any]]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class TransformedMonth:
    """A month after the transformation, none of it committed.

    Attributes:
        windows: The windows that were asked for.
        kept: The other windows whose rows were carried over into the new files.
        moves: Where the job wrote each file, and its path in the lake.
        findings: What is wrong beside the windows' own findings.
    """

    windows: Sequence[TransformedWindow]
    kept: Sequence[Manifest]
    moves: Sequence[tuple[str, str]]
    findings: Sequence[Finding]


def read_outputs(
    lake: Lake, stream: Stream, months: Sequence[MonthJob], folder: str, run_id: str
) -> Iterator[TransformedMonth]:
    """Read back what a job wrote, month by month, and evaluate it.

    Args:
        lake: The lake that the job read and wrote.
        stream: The stream of the windows.
        months: What the job was to do.
        folder: The job's own folder in the transformed lake.
        run_id: The run, which names the files.
    """
    written = written_files(lake, folder)
    for month in months:
        yield _read_month(lake, stream, month, written.get(month.number, {}), run_id)


def _read_month(
    lake: Lake, stream: Stream, month: MonthJob, written: Mapping[Dataset, str], run_id: str
) -> TransformedMonth:
    windows = [manifest.window for manifest in (*month.raw, *month.kept)]
    outputs: dict[Dataset, JobOutput] = {}
    for dataset, path in written.items():
        target = f"{stream.window_folder(windows[0], dataset)}/{dataset}-{run_id}.parquet"
        # A job that had to go on without its side data may have left a part of a file.
        with suppress(pa.ArrowInvalid) if dataset == _SIDE_DATA else nullcontext():
            outputs[dataset] = read_output(lake, path, dataset, target, windows)
    if _SIDE_DATA not in outputs:
        rewritten = [file for file in month.rewritten if file.dataset != _SIDE_DATA]
        month = replace(month, rewritten=rewritten)
    transformed = _Asked(lake, stream, month, outputs, run_id).windows()
    return TransformedMonth(
        windows=transformed,
        kept=[_carried(manifest, month, outputs, run_id) for manifest in month.kept],
        moves=[(output.written, output.file.path) for output in outputs.values()],
        findings=[*_carried_findings(stream, month, outputs), *_strays(stream, month, outputs)],
    )


class _Asked:
    """The windows that were asked for in a month, in what the job wrote of it."""

    def __init__(
        self, lake: Lake, stream: Stream, month: MonthJob, outputs: JobOutputs, run_id: str
    ) -> None:
        self._lake = lake
        self._stream = stream
        self._raw = month.raw
        self._held = month.held
        self._run_id = run_id
        self._files = {dataset: output.file for dataset, output in outputs.items()}
        self._rows = {
            dataset: output.rows.filter(pc.less(output.rows["window"], len(month.raw)))
            for dataset, output in outputs.items()
        }
        self._counts: dict[Dataset, Counter[int | None]] = {
            dataset: outputs[dataset].counts() if dataset in outputs else Counter()
            for dataset in DATASETS
        }
        self._number_of_coins = self._coins_by_window()

    def windows(self) -> list[TransformedWindow]:
        findings: dict[str, list[Finding]] = defaultdict(list)
        for finding in chain(
            self._price_findings(), self._count_findings(), self._snapshot_findings()
        ):
            findings[finding.partition].append(finding)
        previews = self._previews()
        refused = self._refused()
        priced = self._by_coin("prices", list(refused))
        now = datetime.now(UTC)
        made = [
            TransformedWindow(
                manifest=Manifest(
                    stream=self._stream.name,
                    window=raw.window,
                    run_id=self._run_id,
                    written_at=now,
                    coins=self._number_of_coins[place],
                    points=self._counts["prices"][place],
                    files=tuple(
                        self._files[dataset] for dataset in DATASETS if self._counts[dataset][place]
                    ),
                    absent=tuple(
                        sorted(
                            (*raw.absent, *_quarantined(raw, priced[place], refused[place])),
                            key=lambda absence: (absence.coin_id, absence.vs_currency),
                        )
                    ),
                    rejected=self._counts["rejected"][place],
                    snapshots=self._counts["snapshots"][place],
                ),
                preview=previews.get(place, []),
                findings=tuple(findings[self._stream.partition_key(raw.window)]),
            )
            for place, raw in enumerate(self._raw)
        ]
        return made if _SIDE_DATA in self._files else [*map(self._with_held_snapshots, made)]

    def _with_held_snapshots(self, window: TransformedWindow) -> TransformedWindow:
        """The window with the snapshots that it had, where the job wrote none of the month."""
        held = self._held.get(window.manifest.window)
        if held is None:
            return window
        files = (*window.manifest.files, *held.files_of(_SIDE_DATA))
        manifest = replace(window.manifest, files=files, snapshots=held.snapshots)
        return replace(window, manifest=manifest)

    def _snapshot_findings(self) -> Iterator[Finding]:
        """Where nothing came of a market snapshot, which stops no price."""
        for place, raw in enumerate(self._raw):
            entries = sum(file.rows for file in raw.files_of(_SIDE_DATA))
            if entries and not self._counts[_SIDE_DATA][place]:
                fault = (
                    f"its market snapshot has {entries} entries, and the transformation wrote none "
                    "of them; the log of its job says why"
                )
                yield Finding(SNAPSHOTS, self._stream.partition_key(raw.window), None, fault)

    def _coins_by_window(self) -> Counter[int | None]:
        """How many coins each window has prices of, by the window's place."""
        groups = self._coin_groups("prices")
        if groups is None:
            return Counter()
        counted = groups.group_by("window").aggregate([([], "count_all")])
        return counts_of_places(counted)

    def _coin_groups(self, dataset: Dataset) -> "pa.Table | None":
        """One row a window a coin, with how many rows it has; ``None`` where nothing is known."""
        rows = self._rows.get(dataset)
        # A column of the key may be missing, which the check of the schema tells.
        if rows is None or not set(_COIN) <= set(rows.column_names):
            return None
        return rows.group_by(["window", *_COIN]).aggregate([([], "count_all")])

    def _by_coin(
        self, dataset: Dataset, places: Sequence[int]
    ) -> defaultdict[int, dict[CoinKey, int]]:
        """How many rows each coin has in some windows, by the window's place."""
        counted: defaultdict[int, dict[CoinKey, int]] = defaultdict(dict)
        groups = self._coin_groups(dataset) if places else None
        if groups is None:
            return counted
        groups = groups.filter(pc.is_in(groups["window"], pa.array(places, pa.int32())))
        columns = (groups[name].to_pylist() for name in ("window", *_COIN, "count_all"))
        for place, coin_id, vs_currency, count in zip(*columns, strict=True):
            counted[place][coin_id, vs_currency] = count
        return counted

    def _price_findings(self) -> list[Finding]:
        prices = self._rows.get("prices")
        if prices is None:
            return []
        windows = [raw.window for raw in self._raw]
        faults = schema_faults_of(prices.schema)
        # What lacks a column cannot be evaluated by it.
        if faults:
            keys = map(self._stream.partition_key, windows)
            return [Finding(SCHEMA, key, None, fault) for key in keys for fault in faults]
        return evaluate_prices(prices, self._stream, windows)

    def _count_findings(self) -> Iterator[Finding]:
        """Where what was written is not what the raw answers give, coin by coin."""
        doubtful = [place for place, raw in enumerate(self._raw) if not self._is_plain(place, raw)]
        if not doubtful:
            return
        windows = {self._raw[place].window: place for place in doubtful}
        expected: dict[int, dict[CoinKey, Counts]] = defaultdict(dict)
        files = files_of((self._raw[place] for place in doubtful), "prices")
        records = (
            record
            for file in files
            for record in from_json_lines(self._lake.raw.read(file.path) or b"")
        )
        counts = expected_counts(records, self._stream, windows.keys())
        for (window, coin), count in counts.items():
            expected[windows[window]][coin] = count
        written, rejected = (self._by_coin(name, doubtful) for name in _COUNTED)
        for place in doubtful:
            rows, refused = written[place], rejected[place]
            # A key may lack a part, which is another check's finding.
            for coin in sorted(expected[place].keys() | rows.keys() | refused.keys(), key=str):
                due = expected[place].get(coin, Counts(0, 0))
                found = Counts(rows.get(coin, 0), refused.get(coin, 0))
                if due != found:
                    fault = (
                        f"its raw records give {due.prices} prices and {due.rejected} rejected "
                        f"points, the transformation wrote {found.prices} and {found.rejected}"
                    )
                    partition = self._stream.partition_key(self._raw[place].window)
                    yield Finding(ROW_COUNTS, partition, coin[0], fault)

    def _is_plain(self, place: int, raw: Manifest) -> bool:
        """Whether as many rows as points are in sight: nothing was folded, rejected or lost."""
        return (
            len(raw.files_of("prices")) <= 1
            and not self._counts["rejected"][place]
            and self._counts["prices"][place] == raw.points
            and self._number_of_coins[place] == raw.coins
        )

    def _refused(self) -> dict[int, list[dict[str, Any]]]:
        """The rejected rows of each window, by its place."""
        rows = self._rows.get("rejected")
        by_place: dict[int, list[dict[str, Any]]] = defaultdict(list)
        if rows is not None:
            names = ["window", *_COIN, "reason", "run_id", "fetched_at"]
            for row in rows.select(names).to_pylist():
                by_place[row["window"]].append(row)
        return by_place

    def _previews(self) -> dict[int, list[dict[str, Any]]]:
        """A few prices of each window, by its place."""
        rows = self._rows.get("prices")
        if rows is None:
            return {}
        by_window = pc.sort_indices(rows["window"])
        counts = [self._counts["prices"][place] for place in range(len(self._raw))]
        starts = accumulate(counts, initial=0)
        shown = [
            by_window.slice(start, min(count, _PREVIEW_ROWS))
            for start, count in zip(starts, counts, strict=False)
        ]
        previews: dict[int, list[dict[str, Any]]] = defaultdict(list)
        known = [name for name in _PREVIEWED if name in rows.column_names]
        for row in rows.select(["window", *known]).take(pa.concat_arrays(shown)).to_pylist():
            previews[row["window"]].append(row)
        return previews


def _quarantined(
    raw: Manifest, priced: Mapping[CoinKey, int], refused: Sequence[Mapping[str, Any]]
) -> Iterator[Absence]:
    """The coins of which all that the API gave was rejected."""
    if not refused:
        return
    absent = {(absence.coin_id, absence.vs_currency) for absence in raw.absent}
    # Of a coin's rows one of its price says more than one of a market cap: the last one counts.
    by_reason = sorted(refused, key=lambda row: row["reason"].startswith("The price"))
    rows = {(row["coin_id"], row["vs_currency"]): row for row in by_reason}
    for coin in sorted(rows.keys() - absent - priced.keys()):
        row = rows[coin]
        yield Absence(
            coin_id=row["coin_id"],
            vs_currency=row["vs_currency"],
            status="quarantined",
            reason=row["reason"],
            run_id=row["run_id"],
            seen_at=row["fetched_at"],
        )


def _carried(manifest: Manifest, month: MonthJob, outputs: JobOutputs, run_id: str) -> Manifest:
    """A window that was carried over: its rows are the same, in other files."""
    rewritten = {file.path for file in month.rewritten}
    files = tuple(
        outputs[file.dataset].file if file.path in rewritten and file.dataset in outputs else file
        for file in manifest.files
    )
    return replace(manifest, files=files, run_id=run_id, written_at=datetime.now(UTC))


def _carried_findings(stream: Stream, month: MonthJob, outputs: JobOutputs) -> Iterator[Finding]:
    """Where a window that was carried over has lost or gained rows."""
    rewritten = {file.path for file in month.rewritten}
    counts = {dataset: output.counts() for dataset, output in outputs.items()}
    for place, manifest in enumerate(month.kept, start=len(month.raw)):
        expected: dict[Dataset, int] = {
            "prices": manifest.points,
            "rejected": manifest.rejected,
            "snapshots": manifest.snapshots,
        }
        for file in manifest.files:
            found = counts.get(file.dataset, Counter())[place]
            if file.path in rewritten and found != expected[file.dataset]:
                fault = (
                    f"{expected[file.dataset]} rows of {file.dataset} were to be carried over from "
                    f"{file.path}, the transformation wrote {found}"
                )
                yield Finding(ROW_COUNTS, stream.partition_key(manifest.window), None, fault)


def _strays(stream: Stream, month: MonthJob, outputs: JobOutputs) -> Iterator[Finding]:
    """Rows of windows that the job was not asked for."""
    for dataset, output in outputs.items():
        strays = output.rows["window"].null_count
        if strays:
            key = stream.partition_key(month.raw[0].window)
            fault = f"the transformation wrote {strays} rows of {dataset} outside of its windows"
            yield Finding(ROW_COUNTS, key, None, fault)
