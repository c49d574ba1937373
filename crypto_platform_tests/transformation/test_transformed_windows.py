"""What a transformation wrote is read back from its files, and each window is told apart."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crypto_platform.core.streams import DATASETS, HISTORICAL, Dataset, Window
from crypto_platform.lake.layers import Lake, to_json_lines
from crypto_platform.lake.manifests import Absence, Manifest
from crypto_platform.transformation.transformed_windows import TransformedWindow, read_outputs

RUN = "a-run"
FIRST = datetime(2026, 1, 1, tzinfo=UTC)

Row = dict[str, Any]


class Transformation:
    """Raw windows of the historical stream, and what a transformation is said to make of them."""

    def __init__(self, root: Path) -> None:
        self.lake = Lake(raw_root=str(root / "raw"), transformed_root=str(root / "transformed"))
        self._raw: list[Manifest] = []

    def window(self, *files: Sequence[Row], coins: Sequence[str] = ("bitcoin",)) -> Window:
        """The next day, of which raw has a price a coin, and the transformation wrote files."""
        start = FIRST + timedelta(days=len(self._raw))
        window = Window(start=start, end=start + timedelta(days=1))
        folder = HISTORICAL.window_folder(window)
        stamp = int(start.timestamp() * 1000)
        content = to_json_lines(
            {
                "coin_id": coin,
                "vs_currency": "usd",
                "prices": [[stamp, 1.5]],
                "market_caps": [],
                "total_volumes": [],
            }
            for coin in coins
        )
        path = f"{folder}/run=raw/prices.json.gz"
        self.lake.raw.put(path, content)
        raw = self.lake.raw.describe_file("prices", path, len(coins), content)
        self._raw.append(manifest_of(window, coins=len(coins), files=(raw,)))
        for number, rows in enumerate(files):
            self.write(window, rows, name=f"part-{number}")
        return window

    def absent(self, coin: str) -> Window:
        """The next day, of which raw has nothing but the reason why."""
        start = FIRST + timedelta(days=len(self._raw))
        window = Window(start=start, end=start + timedelta(days=1))
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

    def write(
        self, window: Window, rows: Sequence[Row], *, name: str, dataset: Dataset = "prices"
    ) -> None:
        """A file of rows that each say only how they differ from a good one."""
        self.put(window, table(window, rows), name=name, dataset=dataset)

    def put(
        self, window: Window, rows: pa.Table, *, name: str = "part", dataset: Dataset = "prices"
    ) -> None:
        folder = f"{HISTORICAL.window_folder(window, dataset)}/run={RUN}"
        path = Path(self.lake.transformed.uri(f"{folder}/{name}.parquet"))
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, path)

    def collected(self) -> list[TransformedWindow]:
        return read_outputs(self.lake, HISTORICAL, self._raw, RUN)


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


def test_several_files_of_a_window_are_counted_together(transformation: Transformation) -> None:
    transformation.window(
        [{"coin_id": "bitcoin"}], [{"coin_id": "ether"}], coins=["bitcoin", "ether"]
    )

    (window,) = transformation.collected()

    assert (window.manifest.coins, window.manifest.points) == (2, 2)
    assert len(window.manifest.files_of("prices")) == 2
    assert window.findings == ()


def test_a_key_that_two_files_of_a_window_have_comes_twice(transformation: Transformation) -> None:
    transformation.window([{}], [{}])

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


def test_a_file_of_another_shape_does_not_keep_the_others_from_being_judged(
    transformation: Transformation,
) -> None:
    misshapen = transformation.window()
    transformation.put(misshapen, table(misshapen, [{}]).drop_columns(["market_cap"]))
    transformation.window([{"price": 0.0}])

    first, second = transformation.collected()

    assert faults(first) == ["schema: 2026-01-01: there is no column market_cap"]
    assert faults(second) == ["prices: bitcoin 2026-01-02: price 0.0 at 2026-01-02 00:00:00"]


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_coins_are_counted_whatever_type_their_column_has(
    transformation: Transformation, kind: pa.DataType
) -> None:
    window = transformation.window(coins=["bitcoin", "ether"])
    rows = table(window, [{"coin_id": "bitcoin"}, {"coin_id": "ether"}])
    transformation.put(window, rows.set_column(0, "coin_id", rows["coin_id"].cast(kind)))

    (collected,) = transformation.collected()

    assert (collected.manifest.coins, collected.manifest.points) == (2, 2)
    told = f"schema: 2026-01-01: coin_id is {kind}, not string"
    assert faults(collected) == ([] if kind == pa.large_string() else [told])


def test_a_row_without_its_coin_is_a_coin_of_its_own(transformation: Transformation) -> None:
    window = transformation.window(coins=["bitcoin", "ether"])
    rows = table(window, [{}, {}, {}])
    coins = pa.array(["bitcoin", None, "bitcoin"])
    currencies = pa.array(["usd", "usd", None])
    rows = rows.set_column(0, "coin_id", coins).set_column(1, "vs_currency", currencies)
    transformation.put(window, rows)

    (collected,) = transformation.collected()

    assert collected.manifest.coins == 3


def test_columns_that_nobody_declared_are_left_aside(transformation: Transformation) -> None:
    for extra in (pa.array([1]), pa.array(["one"])):
        window = transformation.window()
        transformation.put(window, table(window, [{}]).append_column("window", extra))

    assert [faults(window) for window in transformation.collected()] == [[], []]


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
    transformation.window(coins=["bitcoin", "ether"])
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
    transformation.write(window, [rejected], name="part", dataset="rejected")

    (collected,) = transformation.collected()

    (absence,) = collected.manifest.absent
    assert (absence.coin_id, absence.status, absence.reason) == (
        "ether",
        "quarantined",
        "The price is null.",
    )
    assert collected.rejected == 1


def test_files_that_other_runs_wrote_are_not_counted(transformation: Transformation) -> None:
    window = transformation.window([{}])
    for dataset in DATASETS:
        stray = f"{HISTORICAL.window_folder(window, dataset)}/run=other/stray.parquet"
        transformation.lake.transformed.put(stray, json.dumps("not Parquet").encode())

    (collected,) = transformation.collected()

    assert collected.manifest.points == 1
