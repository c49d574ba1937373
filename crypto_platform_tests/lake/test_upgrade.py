"""A lake of an earlier version is taken over: nothing is lost, whatever happens on the way."""

import gzip
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from crypto_platform.cli.lake_upgrade import upgrade as upgrade_command
from crypto_platform.core.streams import (
    DATASETS,
    HISTORICAL,
    INTRA_DAY,
    STREAMS,
    Stream,
    WindowBatch,
)
from crypto_platform.lake.layers import MANIFEST_NAME, Lake, Layer
from crypto_platform.lake.manifests import files_of
from crypto_platform.lake.storage import sha256
from crypto_platform.lake.upgrade import Fault, OldLayoutError, refuse_old_layout, upgrade
from crypto_platform.stages.ingest import ingest_windows
from crypto_platform.stages.load import load_windows
from crypto_platform.stages.transform import transform_windows
from crypto_platform.transformation.local import LocalTransform
from crypto_platform_tests.warehouse.test_schema_changes import VERSIONS, WINDOWS, windows
from glue_jobs import prices

DAY = "historical_data/date=2026-11-22"
SIX_HOURS = "intra_day/date=2026-11-27/hour=18"
ABSENCE = {
    "coin_id": "dogecoin",
    "vs_currency": "usd",
    "status": "quarantined",
    "reason": "The price is null.",
    "run_id": "r1",
    "seen_at": "2026-11-23T01:00:00Z",
}

Rows = dict[str, list[str]]
"""All rows, as text and in order, by the layer and the dataset."""


def at_home(home: Path) -> Lake:
    return Lake(raw_root=str(home / "raw"), transformed_root=str(home / "transformed"))


def change_manifest(layer: Layer, folder: str, change: Callable[[dict[str, Any]], None]) -> None:
    path = f"{folder}/{MANIFEST_NAME}"
    document = json.loads(layer.read(path) or b"")
    change(document)
    layer.put(path, json.dumps(document).encode())


def add_rejected(layer: Layer) -> None:
    """A rejected point as 0.2 wrote it, and the coin that is absent by it."""
    (old,) = Path(layer.root).glob(f"{DAY}/run=*/*.parquet")
    rows = pq.ParquetFile(old).read().slice(0, 1)
    rows = rows.append_column("stamp", pa.array([1.5])).append_column("reason", pa.array(["bad"]))
    body = io.BytesIO()
    pq.write_table(rows, body)
    path = f"rejected/{DAY}/run=r1/part.parquet"
    layer.put(path, body.getvalue())
    file = layer.describe_file("rejected", path, 1, body.getvalue())

    def change(document: dict[str, Any]) -> None:
        document["files"].append(file.model_dump())
        document["absent"].append(ABSENCE)

    change_manifest(layer, DAY, change)


@pytest.fixture(params=["0.1.0", "0.2.0"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """A lake that the version made, with a rejected point and an absence."""
    home = tmp_path / "home"
    shutil.copytree(VERSIONS / request.param, home)
    lake = at_home(home)
    add_rejected(lake.transformed)
    change_manifest(lake.raw, DAY, lambda document: document["absent"].append(ABSENCE))
    return lake


def all_paths(layer: Layer) -> list[str]:
    """Every file of the streams, in whichever layout."""
    folders = sorted({stream.dataset_folder(name) for stream in STREAMS for name in DATASETS})
    return [path for folder in folders for path in layer.paths(folder)]


def old_rows(lake: Lake) -> Rows:
    """What the old manifests name."""
    found: Rows = {
        f"{name} {dataset}": [] for name in ("raw", "transformed") for dataset in DATASETS
    }
    for layer in (lake.raw, lake.transformed):
        for path in all_paths(layer):
            if path.endswith(MANIFEST_NAME) and "/date=" in path:
                for file in json.loads(layer.read(path) or b"")["files"]:
                    add_rows(found, layer, file["dataset"], file["path"])
    return {name: sorted(rows) for name, rows in found.items()}


def new_rows(lake: Lake) -> Rows:
    """What the manifests of months name."""
    found: Rows = {
        f"{name} {dataset}": [] for name in ("raw", "transformed") for dataset in DATASETS
    }
    for layer in (lake.raw, lake.transformed):
        for stream, keys in WINDOWS:
            held = [one for one in layer.held(stream, windows(stream, keys)) if one]
            for file in files_of(held):
                add_rows(found, layer, file.dataset, file.path)
    return {name: sorted(rows) for name, rows in found.items()}


def add_rows(found: Rows, layer: Layer, dataset: str, path: str) -> None:
    content = layer.read(path) or b""
    rows = found[f"{layer.name} {dataset}"]
    if layer.name == "raw":
        rows += gzip.decompress(content).decode().splitlines()
    else:
        table = pq.ParquetFile(io.BytesIO(content)).read()
        kept = [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]
        rows += map(str, kept)


def test_every_row_is_there_as_it_was_in_one_file_a_dataset_of_a_month(old: Lake) -> None:
    before = old_rows(old)
    assert {name: len(rows) for name, rows in before.items()} == {
        "raw prices": 6,
        "raw snapshots": 2,
        "raw rejected": 0,
        "transformed prices": 148,
        "transformed snapshots": 2,
        "transformed rejected": 1,
    }

    months = list(upgrade(old))

    assert new_rows(old) == before
    assert not any(month.faults for month in months)
    for layer in (old.raw, old.transformed):
        for stream, keys in WINDOWS:
            manifests = layer.manifests(stream, windows(stream, keys))
            layer.check(stream, manifests)
            for dataset in DATASETS:
                assert len(files_of(manifests, dataset)) <= 1


def test_a_window_keeps_what_its_manifest_said(old: Lake) -> None:
    before = json.loads(old.raw.read(f"{DAY}/{MANIFEST_NAME}") or b"")

    list(upgrade(old))

    (raw,) = old.raw.manifests(HISTORICAL, windows(HISTORICAL, ("2026-11-22",)))
    assert raw.run_id == before["run_id"]
    assert raw.written_at == datetime.fromisoformat(before["written_at"])
    assert raw.present == {("bitcoin", "usd"), ("ethereum", "usd")}
    assert (raw.coins, raw.points) == (2, before["points"])
    (transformed,) = old.transformed.manifests(HISTORICAL, [raw.window])
    for one in (raw, transformed):
        assert [(a.coin_id, a.reason) for a in one.absent] == [("dogecoin", "The price is null.")]
    assert (transformed.coins, transformed.points, transformed.rejected) == (2, 2, 1)
    (six,) = old.transformed.manifests(INTRA_DAY, windows(INTRA_DAY, WINDOWS[1][1]))
    assert (six.coins, six.points, six.rejected, six.snapshots) == (2, 144, 0, 2)


def test_files_of_prices_have_the_columns_that_the_transformation_writes_now(old: Lake) -> None:
    list(upgrade(old))

    manifests = [
        manifest
        for stream, keys in WINDOWS
        for manifest in old.transformed.manifests(stream, windows(stream, keys))
    ]
    for file in files_of(manifests, "prices", "rejected"):
        schema = pq.read_schema(old.transformed.uri(file.path))
        assert tuple(schema.names) == prices.COLUMNS
        assert [str(schema.field(name).type) for name in ("stamp", "reason")] == [
            "double",
            "string",
        ]


def test_nothing_of_the_old_layout_stays_and_all_else_does(old: Lake) -> None:
    old.raw.put("rejected/historical_data/run=r1/answer.json", b"kept")
    old.transformed.put("job_specs/historical/run=r1.json", b"left")
    old.transformed.put(f"{DAY}/run=killed/stray.parquet", b"left")

    list(upgrade(old))

    for layer in (old.raw, old.transformed):
        for stream in STREAMS:
            refuse_old_layout(layer, stream)
        assert not list(Path(layer.root).rglob("date=*"))
    assert old.raw.read("rejected/historical_data/run=r1/answer.json") == b"kept"
    assert old.raw.read("tracked_coins.json")
    assert old.transformed.paths("job_specs") == []


def test_a_second_upgrade_has_nothing_to_do(old: Lake) -> None:
    list(upgrade(old))
    before = contents(old)

    assert list(upgrade(old)) == []
    assert contents(old) == before


def contents(lake: Lake) -> dict[str, str]:
    roots = [Path(layer.root) for layer in (lake.raw, lake.transformed)]
    return {
        str(path): sha256(path.read_bytes())
        for root in roots
        for path in root.rglob("*")
        if path.is_file()
    }


class KilledError(BaseException):
    """As a signal would, past every handler of exceptions."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Let the step of a number, of those that change a lake, be one in which it is killed."""
    steps = ("put", "remove", "remove_folder", "move", "update_month")
    left = [-1]

    def stepping(name: str) -> Callable[..., Any]:
        real = getattr(Layer, name)

        def step(self: Layer, *arguments: Any) -> Any:
            if left[0] == 0:
                raise KilledError
            left[0] -= 1
            if name == "remove_folder":
                # Halfway through.
                for path in self.paths(*arguments)[:1]:
                    self.remove(path)
            return real(self, *arguments)

        return step

    for name in steps:
        monkeypatch.setattr(Layer, name, stepping(name))

    def kill(number: int) -> None:
        left[0] = number

    yield kill
    kill(-1)


def test_killed_at_any_step_and_started_again_it_finishes(
    old: Lake, kill_at: Callable[[int], None], tmp_path: Path
) -> None:
    before = old_rows(old)
    killed = 0
    for number in range(1_000):
        home = tmp_path / f"killed-{number}"
        shutil.copytree(Path(old.raw.root).parent, home)
        lake = at_home(home)
        kill_at(number)
        try:
            list(upgrade(lake))
        except KilledError:
            killed += 1
        else:
            break
        kill_at(-1)

        months = list(upgrade(lake))

        assert new_rows(lake) == before
        assert not [fault for month in months for fault in month.faults]
        for stream in STREAMS:
            refuse_old_layout(lake.raw, stream)
            refuse_old_layout(lake.transformed, stream)
    steps_at_least = 20
    assert killed > steps_at_least


def test_a_window_that_stands_in_the_new_layout_is_left_alone(old: Lake, tmp_path: Path) -> None:
    other = at_home(tmp_path / "other")
    shutil.copytree(Path(old.raw.root).parent, tmp_path / "other")
    list(upgrade(other))
    shutil.copytree(
        Path(other.raw.root) / "historical_data",
        Path(old.raw.root) / "historical_data",
        dirs_exist_ok=True,
    )
    month = HISTORICAL.window_folder(windows(HISTORICAL, ("2026-11-22",))[0])
    before = old.raw.read(f"{month}/{MANIFEST_NAME}")

    (raw, _) = upgrade(old)

    assert (raw.windows, raw.already) == ({"intra_day": 1}, 2)
    assert old.raw.read(f"{month}/{MANIFEST_NAME}") == before


def damage(layer: Layer, folder: str, pattern: str, content: bytes | None) -> str:
    (path,) = (p for p in layer.paths(folder) if pattern in p)
    if content is None:
        layer.remove(path)
    else:
        layer.put(path, content)
    return path


def faults_of(lake: Lake) -> list[Fault]:
    return [fault for month in upgrade(lake) for fault in month.faults]


@pytest.mark.parametrize("content", [b"changed", None])
def test_a_damaged_raw_file_is_named_and_costs_only_its_own(
    old: Lake, content: bytes | None
) -> None:
    path = damage(old.raw, DAY, "prices", content)

    (fault,) = faults_of(old)

    assert (fault.layer, fault.path) == ("raw", path)
    assert (fault.asset, fault.partition) == ("historical/raw_prices", "2026-11-22")
    gone, other = old.raw.held(HISTORICAL, windows(HISTORICAL, ("2026-11-22", "2026-11-23")))
    assert gone is None
    assert other
    assert old.raw.read(f"damaged/{path}") == content
    assert old.raw.read(f"damaged/{DAY}/{MANIFEST_NAME}")
    assert all(old.transformed.held(HISTORICAL, windows(HISTORICAL, ("2026-11-22",))))
    assert faults_of(old) == []


def test_a_raw_window_that_lost_prices_does_not_count_so_that_none_is_transformed_away(
    old: Lake,
) -> None:
    prices_path = damage(old.raw, SIX_HOURS, "prices", b"changed")
    (snapshot_path,) = (path for path in old.raw.paths(SIX_HOURS) if "snapshots" in path)
    content = old.raw.read(snapshot_path)

    (fault,) = faults_of(old)

    assert (fault.path, fault.partition) == (prices_path, "2026-11-27-18:00")
    six_hours = windows(INTRA_DAY, WINDOWS[1][1])
    assert old.raw.held(INTRA_DAY, six_hours) == [None]
    assert old.raw.read(f"damaged/{snapshot_path}") == content
    # What was made of them stays.
    (transformed,) = old.transformed.manifests(INTRA_DAY, six_hours)
    assert (transformed.points, transformed.snapshots) == (144, 2)


def test_a_raw_window_whose_snapshot_is_damaged_counts_with_its_prices(old: Lake) -> None:
    path = damage(old.raw, SIX_HOURS, "snapshots", b"changed")

    (fault,) = faults_of(old)

    assert (fault.path, fault.partition) == (path, "2026-11-27-18:00")
    (held,) = old.raw.manifests(INTRA_DAY, windows(INTRA_DAY, WINDOWS[1][1]))
    assert (held.coins, held.points) == (2, 144)
    assert [file.dataset for file in held.files] == ["prices"]
    assert old.raw.read(f"damaged/{path}") == b"changed"


def test_a_transformed_window_counts_with_all_of_its_files_or_is_made_again(old: Lake) -> None:
    path = damage(old.transformed, "market_snapshots/date=2026-11-27", "parquet", None)
    intact = [p for p in old.transformed.paths(SIX_HOURS) if p.endswith("parquet")]

    (fault,) = faults_of(old)

    assert (fault.path, fault.what) == (path, "is gone")
    assert (fault.asset, fault.partition) == ("intra_day/transformed_prices", "2026-11-27-18:00")
    assert old.transformed.held(INTRA_DAY, windows(INTRA_DAY, WINDOWS[1][1])) == [None]
    assert [p for p in old.transformed.paths("damaged") if "parquet" in p] == [
        f"damaged/{one}" for one in intact
    ]


def test_a_window_whose_manifest_cannot_be_read_is_kept_aside(old: Lake) -> None:
    files = old.transformed.paths("rejected") + old.transformed.paths(DAY)
    old.transformed.put(f"{DAY}/{MANIFEST_NAME}", b"{")

    (fault,) = faults_of(old)

    assert (fault.path, fault.partition) == (f"{DAY}/{MANIFEST_NAME}", "2026-11-22")
    assert old.transformed.paths("damaged") == sorted(f"damaged/{path}" for path in files)


def test_what_is_wrong_is_told_again_where_it_was_killed_before_the_old_files_went(
    old: Lake, kill_at: Callable[[int], None]
) -> None:
    damage(old.raw, SIX_HOURS, "prices", b"changed")
    month = next(upgrade(old))
    kill_at(1)
    with pytest.raises(KilledError):
        list(upgrade(old))
    kill_at(-1)

    assert [fault.path for fault in faults_of(old)] == [fault.path for fault in month.faults]


@pytest.mark.parametrize("stream", STREAMS)
def test_an_old_layer_is_refused_with_the_command_and_a_new_one_is_not(
    stream: Stream, tmp_path: Path
) -> None:
    layer = Layer(str(tmp_path / "raw"), "raw", "raw_prices")
    refuse_old_layout(layer, stream)
    layer.put(f"{stream.folder}/month=2026-11/{MANIFEST_NAME}", b"{}")
    refuse_old_layout(layer, stream)
    layer.put(f"{stream.folder}/date=2026-11-22/run=r1/prices.json.gz", b"")

    with pytest.raises(OldLayoutError, match="crypto-platform lake upgrade"):
        refuse_old_layout(layer, stream)


def stages_of(lake: Lake, stream: Stream) -> dict[str, Callable[[], object]]:
    """The stages on windows of a stream, with nothing behind them that they could change."""
    keys = next(keys for of, keys in WINDOWS if of is stream)
    batch = WindowBatch(stream, windows(stream, keys))
    nothing: Any = SimpleNamespace(layer=lake.raw)
    return {
        "raw": lambda: ingest_windows(batch, nothing, nothing, (), batch.newest.end),
        "transformed": lambda: load_windows(batch, lake, nothing, nothing),
        "either": lambda: transform_windows(batch, lake, nothing, "a-run"),
    }


@pytest.mark.parametrize("stream", STREAMS)
def test_a_run_on_an_old_lake_is_refused_and_changes_nothing(old: Lake, stream: Stream) -> None:
    before = contents(old)

    for stage in stages_of(old, stream).values():
        with pytest.raises(OldLayoutError):
            stage()

    assert contents(old) == before


def test_a_transformation_is_refused_where_only_the_raw_layer_was_taken_over(old: Lake) -> None:
    while_at_it = upgrade(old)
    while next(while_at_it).layer == "raw":
        pass
    refuse_old_layout(old.raw, HISTORICAL)

    with pytest.raises(OldLayoutError, match="The transformed lake"):
        stages_of(old, HISTORICAL)["either"]()


@pytest.mark.integration
def test_windows_that_are_transformed_again_have_the_same_prices_and_carry_their_neighbours(
    old: Lake, tmp_path: Path
) -> None:
    before = old_rows(old)["transformed prices"]
    list(upgrade(old))
    engine = LocalTransform(engine="sail", cache_folder=str(tmp_path))

    for stream, keys in WINDOWS:
        batch = WindowBatch(stream, windows(stream, keys[:1]))
        done = transform_windows(batch, old, engine, "a-run")
        assert (done.blocked, done.findings) == (False, [])

    assert without_stamps(new_rows(old)["transformed prices"]) == before


def without_stamps(rows: list[str]) -> list[str]:
    stamps = r", 'stamp': [^,}]*|, 'stamped_at': (None|datetime\.datetime\(.*?\)\))"
    return sorted(re.sub(stamps, "", row) for row in rows)


def test_the_command_says_what_it_did_and_fails_where_it_could_not_do_all(
    old: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = damage(old.raw, DAY, "prices", b"changed")
    monkeypatch.setenv("CRYPTO_HOME", str(Path(old.raw.root).parent))

    ran = CliRunner().invoke(upgrade_command)

    assert ran.exit_code == 1
    assert "raw 2026-11: 1 historical windows, 1 intra_day windows taken over" in ran.output
    assert f"raw {path} was changed after it was written" in ran.output
    assert "historical/raw_prices: 2026-11-22" in ran.output
    again = CliRunner().invoke(upgrade_command)
    assert again.exit_code == 0
    assert "nothing to take over" in again.output
