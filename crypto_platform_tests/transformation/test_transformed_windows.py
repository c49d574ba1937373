"""What a transformation wrote is read back from its files, and each window is told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crypto_platform.checks.definitions import SNAPSHOTS
from crypto_platform.core.streams import HISTORICAL, Dataset, Window
from crypto_platform.lake.layers import Lake, to_json_lines
from crypto_platform.lake.manifests import Absence, LakeFile, Manifest, MonthManifest
from crypto_platform.transformation.job_spec import job_folder, plan_months
from crypto_platform.transformation.transformed_windows import (
    TransformedMonth,
    TransformedWindow,
    read_outputs,
)

RUN = "a-run"
FIRST = datetime(2026, 1, 1, tzinfo=UTC)

Row = dict[str, Any]


class Transformation:
    """Raw windows of the historical stream, and what a transformation is said to make of them."""

    def __init__(self, root: Path) -> None:
        self.lake = Lake(raw_root=str(root / "raw"), transformed_root=str(root / "transformed"))
        self._raw: list[Manifest] = []
        self._held: dict[str, MonthManifest] = {}
        self._written: dict[tuple[str, Dataset], list[pa.Table]] = {}

    def window(self, rows: Sequence[Row] = (), coins: Sequence[str] = ("bitcoin",)) -> Window:
        """The next day, of which raw has a price a coin, and the transformation wrote rows."""
        window = self._next()
        stamp = int(window.start.timestamp() * 1000)
        content = to_json_lines(
            {
                "coin_id": coin,
                "vs_currency": "usd",
                "window_start": window.start.isoformat(),
                "window_end": window.end.isoformat(),
                "granularity": "daily",
                "prices": [[stamp, 1.5]],
                "market_caps": [],
                "total_volumes": [],
            }
            for coin in coins
        )
        path = f"{HISTORICAL.window_folder(window)}/prices-raw-{len(self._raw)}.json.gz"
        self.lake.raw.put(path, content)
        raw = self.lake.raw.describe_file("prices", path, len(coins), content)
        self._raw.append(manifest_of(window, coins=len(coins), files=(raw,)))
        if rows:
            self.write(window, rows)
        return window

    def absent(self, coin: str) -> Window:
        """The next day, of which raw has nothing but the reason why."""
        window = self._next()
        absence = Absence(
            coin_id=coin,
            vs_currency="usd",
            status="missing_at_source",
            reason="the source has none",
            run_id="raw",
            seen_at=FIRST,
        )
        self._raw.append(manifest_of(window, absent=(absence,)))
        return window

    def add_raw(self, window: Window, file: LakeFile) -> None:
        """Raw has one file more of a window."""
        self._raw = [
            replace(raw, files=(*raw.files, file)) if raw.window == window else raw
            for raw in self._raw
        ]

    def leave(self, content: bytes, *, dataset: Dataset) -> None:
        """A job that failed has left something of the first month."""
        output = f"{job_folder(HISTORICAL, RUN)}/output"
        self.lake.transformed.put(f"{output}/dataset={dataset}/number=0/part-0.parquet", content)

    def held(self, window: Window, manifest: Manifest) -> None:
        """The transformed lake already holds a window."""
        folder = HISTORICAL.window_folder(window)
        month = self._held.get(folder, MonthManifest(HISTORICAL.name))
        self._held[folder] = month.with_windows([manifest], FIRST)

    def write(self, window: Window, rows: Sequence[Row], *, dataset: Dataset = "prices") -> None:
        """Rows of a window that each say only how they differ from a good one."""
        self.put(window, table(window, rows), dataset=dataset)

    def put(self, window: Window, rows: pa.Table, *, dataset: Dataset = "prices") -> None:
        folder = HISTORICAL.window_folder(window)
        self._written.setdefault((folder, dataset), []).append(rows)

    def months(self) -> list[TransformedMonth]:
        output = job_folder(HISTORICAL, RUN) + "/output"
        folders = list(HISTORICAL.by_folder(manifest.window for manifest in self._raw))
        for (folder, dataset), tables in self._written.items():
            path = f"{output}/dataset={dataset}/number={folders.index(folder)}/part-0.parquet"
            file = Path(self.lake.transformed.uri(path))
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.concat_tables(tables), file)
        held = {folder: self._held.get(folder, MonthManifest("historical")) for folder in folders}
        jobs = plan_months(HISTORICAL, self._raw, held, lambda _: True)
        return list(read_outputs(self.lake, HISTORICAL, jobs, job_folder(HISTORICAL, RUN), RUN))

    def collected(self) -> list[TransformedWindow]:
        return [window for month in self.months() for window in month.windows]

    def _next(self) -> Window:
        start = FIRST + timedelta(days=len(self._raw))
        return Window(start=start, end=start + timedelta(days=1))


def manifest_of(window: Window, **said: Any) -> Manifest:
    coins = said.pop("coins", 0)
    return Manifest(
        stream=HISTORICAL.name,
        window=window,
        run_id="raw",
        written_at=FIRST,
        coins=coins,
        points=coins,
        **{"files": (), **said},
    )


def table(window: Window, rows: Sequence[Row]) -> pa.Table:
    """A file of a window; each row says only how it differs from a good one."""
    good = {
        "coin_id": "bitcoin",
        "vs_currency": "usd",
        "window_start": window.start,
        "price_at": window.start,
        "stamped_at": window.start,
        "price": 1.5,
        "market_cap": 2.5,
        "total_volume": 3.5,
        "granularity": "daily",
        "fetched_at": window.end,
        "source": "simulated",
        "run_id": "raw",
    }
    kinds: Mapping[type, pa.DataType] = {
        datetime: pa.timestamp("us", tz="UTC"),
        float: pa.float64(),
        str: pa.string(),
    }
    columns = {**good, **{name: value for row in rows for name, value in row.items()}}
    schema = pa.schema({name: kinds[type(value)] for name, value in columns.items()})
    return pa.Table.from_pylist([{**good, **row} for row in rows], schema)


@pytest.fixture
def transformation(tmp_path: Path) -> Transformation:
    return Transformation(tmp_path)


def faults(window: TransformedWindow) -> list[str]:
    return [f"{finding.check.name}: {finding}" for finding in window.findings]


def test_hundreds_of_windows_are_told_apart_and_keep_their_order(
    transformation: Transformation,
) -> None:
    windows = [transformation.window([{"price": float(day)}]) for day in range(1, 251)]

    collected = transformation.collected()

    assert [one.manifest.window for one in collected] == windows
    assert [one.preview[0]["price"] for one in collected] == [float(day) for day in range(1, 251)]
    assert {(one.manifest.coins, one.manifest.points) for one in collected} == {(1, 1)}
    assert not any(one.findings for one in collected)


def test_the_windows_of_a_month_share_a_file(transformation: Transformation) -> None:
    transformation.window([{}])
    transformation.window([{}])

    (month,) = transformation.months()

    assert {window.manifest.files for window in month.windows} == {
        tuple(file for file in month.windows[0].manifest.files)
    }
    (file,) = month.windows[0].manifest.files
    assert (file.path, file.rows) == ("historical_data/month=2026-01/prices-a-run.parquet", 2)


def test_a_key_that_comes_twice_is_told(transformation: Transformation) -> None:
    transformation.window([{}, {}])

    (window,) = transformation.collected()

    assert faults(window)[0] == (
        "keys: bitcoin 2026-01-01: the key is there 2 times at 2026-01-01 00:00:00"
    )


def test_a_fault_is_told_of_its_window_alone(transformation: Transformation) -> None:
    transformation.window([{}])
    transformation.window([{"price": -1.0}])
    transformation.window([{}])

    before, broken, after = transformation.collected()

    assert (before.findings, after.findings) == ((), ())
    assert faults(broken) == ["prices: bitcoin 2026-01-02: price -1.0 at 2026-01-02 00:00:00"]


def test_a_price_that_lies_in_the_next_window_is_outside_its_own(
    transformation: Transformation,
) -> None:
    transformation.window([{"price_at": FIRST + timedelta(days=1)}])
    transformation.window([{}])

    broken, sound = transformation.collected()

    assert [fault.partition(":")[0] for fault in faults(broken)] == ["stamps"]
    assert sound.findings == ()


def test_a_file_of_another_shape_is_at_fault_in_all_its_windows(
    transformation: Transformation,
) -> None:
    for _ in range(2):
        window = transformation.window()
        transformation.put(window, table(window, [{}]).drop_columns(["market_cap"]))

    told = [faults(window) for window in transformation.collected()]

    assert told == [
        ["schema: 2026-01-01: there is no column market_cap"],
        ["schema: 2026-01-02: there is no column market_cap"],
    ]


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_coins_are_counted_whatever_type_their_column_has(
    transformation: Transformation, kind: pa.DataType
) -> None:
    window = transformation.window((), ["bitcoin", "ether"])
    rows = table(window, [{"coin_id": "bitcoin"}, {"coin_id": "ether"}])
    transformation.put(window, rows.set_column(0, "coin_id", rows["coin_id"].cast(kind)))

    (collected,) = transformation.collected()

    assert (collected.manifest.coins, collected.manifest.points) == (2, 2)
    told = f"schema: 2026-01-01: coin_id is {kind}, not string"
    assert faults(collected) == ([] if kind == pa.large_string() else [told])


def test_a_row_without_its_coin_is_a_coin_of_its_own(transformation: Transformation) -> None:
    window = transformation.window((), ["bitcoin", "ether"])
    rows = table(window, [{}, {}, {}])
    coins = pa.array(["bitcoin", None, "bitcoin"])
    currencies = pa.array(["usd", "usd", None])
    rows = rows.set_column(0, "coin_id", coins).set_column(1, "vs_currency", currencies)
    transformation.put(window, rows)

    (collected,) = transformation.collected()

    assert collected.manifest.coins == 3


def test_columns_that_nobody_declared_are_left_aside(transformation: Transformation) -> None:
    window = transformation.window()
    transformation.put(window, table(window, [{}]).append_column("beside", pa.array([1])))

    assert [faults(window) for window in transformation.collected()] == [[]]


def test_every_coin_with_too_few_points_is_named(transformation: Transformation) -> None:
    coins = [f"coin-{number:02}" for number in range(60)]
    transformation.window(
        [{"coin_id": coin, "granularity": "hourly"} for coin in coins], coins=coins
    )

    (window,) = transformation.collected()

    assert [finding.coin_id for finding in window.findings] == coins
    assert {finding.check.name for finding in window.findings} == {"points"}


def test_of_the_rows_of_a_window_that_are_broken_the_first_few_are_told(
    transformation: Transformation,
) -> None:
    coins = [f"coin-{number:02}" for number in range(60)]
    for _ in range(2):
        transformation.window([{"coin_id": coin, "price": -1.0} for coin in coins], coins=coins)

    told = [[finding.coin_id for finding in one.findings] for one in transformation.collected()]

    assert told == [coins[:20], coins[:20]]


def test_a_window_of_which_nothing_was_written_has_lost_its_coins(
    transformation: Transformation,
) -> None:
    transformation.window((), coins=["bitcoin", "ether"])
    transformation.window([{}])

    lost, sound = transformation.collected()

    assert (lost.manifest.coins, lost.manifest.points) == (0, 0)
    assert [finding.coin_id for finding in lost.findings] == ["bitcoin", "ether"]
    assert sound.findings == ()


def test_a_window_without_raw_files_has_its_absences_and_no_fault(
    transformation: Transformation,
) -> None:
    transformation.absent("bitcoin")

    (window,) = transformation.collected()

    assert [absence.coin_id for absence in window.manifest.absent] == ["bitcoin"]
    assert (window.manifest.files, window.findings) == ((), ())


def test_a_coin_of_which_all_was_rejected_is_quarantined_with_the_reason(
    transformation: Transformation,
) -> None:
    window = transformation.window([{}], coins=["bitcoin", "ether"])
    rejected = {"coin_id": "ether", "reason": "The price is null."}
    transformation.write(window, [rejected], dataset="rejected")

    (collected,) = transformation.collected()

    (absence,) = collected.manifest.absent
    assert (absence.coin_id, absence.status, absence.reason) == (
        "ether",
        "quarantined",
        "The price is null.",
    )
    assert collected.manifest.rejected == 1


def kept_file(transformation: Transformation, *windows: Window, rows: int) -> LakeFile:
    """A file that the transformed lake has held of these windows, one row each."""
    file = LakeFile(
        dataset="prices",
        path="historical_data/month=2026-01/prices-earlier.parquet",
        rows=rows,
        bytes=1,
        sha256="",
    )
    for window in windows:
        transformation.held(window, manifest_of(window, coins=1, files=(file,)))
    return file


def with_snapshot(transformation: Transformation, window: Window) -> LakeFile:
    """The file of a market snapshot of two coins, which raw has of the newest window."""
    file = LakeFile(dataset="snapshots", path="snapshots.json.gz", rows=2, bytes=1, sha256="")
    transformation.add_raw(window, file)
    return file


@pytest.mark.parametrize("left", [None, b"", b"PAR1 and no more"])
def test_snapshots_that_were_not_written_stay_as_they_were_and_stop_no_price(
    transformation: Transformation, left: bytes | None
) -> None:
    asked = transformation.window([{}])
    other = Window(start=asked.end, end=asked.end + timedelta(days=1))
    with_snapshot(transformation, asked)
    before = LakeFile(dataset="snapshots", path="earlier.parquet", rows=4, bytes=1, sha256="")
    for window in (asked, other):
        transformation.held(window, manifest_of(window, files=(before,), snapshots=2))
    if left is not None:
        transformation.leave(left, dataset="snapshots")

    (month,) = transformation.months()

    (window,) = month.windows
    assert (window.manifest.points, window.manifest.snapshots) == (1, 2)
    assert window.manifest.files_of("snapshots") == (before,)
    assert [(kept.window, kept.files_of("snapshots")) for kept in month.kept] == [
        (other, (before,))
    ]
    assert [*month.findings] == []
    assert faults(window) == [
        (
            "snapshots: 2026-01-01: its market snapshot has 2 entries, and the transformation "
            "wrote none of them; the log of its job says why"
        )
    ]
    assert not SNAPSHOTS.blocking


def test_the_other_windows_of_a_rewritten_file_are_carried_over(
    transformation: Transformation,
) -> None:
    asked = transformation.window([{"price": 2.5}])
    other = Window(start=asked.end, end=asked.end + timedelta(days=1))
    earlier = kept_file(transformation, asked, other, rows=2)
    transformation.write(other, [{}])

    (month,) = transformation.months()

    (kept,) = month.kept
    assert (kept.window, kept.points, month.findings) == (other, 1, [])
    assert kept.files == month.windows[0].manifest.files
    assert earlier not in kept.files


def test_a_row_that_is_not_carried_over_is_told(transformation: Transformation) -> None:
    asked = transformation.window([{"price": 2.5}])
    other = Window(start=asked.end, end=asked.end + timedelta(days=1))
    kept_file(transformation, asked, other, rows=2)

    (month,) = transformation.months()

    assert [str(finding) for finding in month.findings] == [
        (
            "2026-01-02: 1 rows of prices were to be carried over from "
            "historical_data/month=2026-01/prices-earlier.parquet, the transformation wrote 0"
        )
    ]


def test_a_row_of_a_window_that_nobody_asked_for_is_told(transformation: Transformation) -> None:
    window = transformation.window([{}])
    transformation.write(window, [{"window_start": window.end, "price_at": window.end}])

    (month,) = transformation.months()

    assert [str(finding) for finding in month.findings] == [
        "2026-01-01: the transformation wrote 1 rows of prices outside of its windows"
    ]


def test_windows_in_files_of_their_own_are_left_where_they_are(
    transformation: Transformation,
) -> None:
    asked = transformation.window([{}])
    other = Window(start=asked.end, end=asked.end + timedelta(days=1))
    kept_file(transformation, other, rows=1)

    (month,) = transformation.months()

    assert list(month.kept) == []


def test_many_small_files_of_a_month_become_one(transformation: Transformation) -> None:
    asked = transformation.window([{}])
    for day in range(1, 18):
        window = Window(
            start=asked.start + timedelta(days=day), end=asked.end + timedelta(days=day)
        )
        small = LakeFile(dataset="prices", path=f"small-{day}", rows=1, bytes=1, sha256="")
        transformation.held(window, manifest_of(window, coins=1, files=(small,)))
        transformation.write(window, [{}])

    (month,) = transformation.months()

    assert len(month.kept) == 17
    assert {file.path for one in month.kept for file in one.files} == {
        "historical_data/month=2026-01/prices-a-run.parquet"
    }
    assert month.findings == []


def test_two_answers_are_counted_as_the_observations_that_they_give(
    transformation: Transformation,
) -> None:
    transformation.window([{}])
    (first,) = transformation._raw  # noqa: SLF001 - a second answer that says the same
    again = first.files[0].model_copy(update={"path": "again.json.gz"})
    content = transformation.lake.raw.read(first.files[0].path)
    assert content is not None
    transformation.lake.raw.put("again.json.gz", content)
    transformation._raw[0] = replace(first, files=(*first.files, again), points=2)  # noqa: SLF001

    (window,) = transformation.collected()

    assert (window.manifest.points, window.findings) == (1, ())
