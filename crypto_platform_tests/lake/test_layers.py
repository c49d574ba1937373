import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto_platform.core.streams import HISTORICAL
from crypto_platform.lake.layers import (
    MANIFEST_NAME,
    SWEEP_AFTER,
    CorruptFileError,
    Layer,
    MissingWindowError,
)
from crypto_platform.lake.manifests import Manifest

WINDOW = HISTORICAL.window("2026-11-22")
FOLDER = "historical_data/date=2026-11-22"


@pytest.fixture(params=["plain", "with space and [brackets]"])
def layer(tmp_path: Path, request: pytest.FixtureRequest) -> Layer:
    return Layer(str(tmp_path / request.param), "raw", "raw_prices")


def manifest_naming(layer: Layer, *contents: bytes, run_id: str = "r1") -> Manifest:
    files = []
    for number, content in enumerate(contents):
        path = f"{FOLDER}/run={run_id}/prices-{number}.json.gz"
        layer.put(path, content)
        files.append(layer.describe_file("prices", path, 1, content))
    return Manifest(
        stream=HISTORICAL.name,
        window=WINDOW,
        run_id=run_id,
        written_at=datetime(2026, 11, 23, tzinfo=UTC),
        coins=1,
        points=1,
        files=tuple(files),
    )


def made_old(layer: Layer, path: str) -> None:
    long_ago = time.time() - SWEEP_AFTER.total_seconds() - 60
    os.utime(layer.uri(path), (long_ago, long_ago))


def test_a_committed_manifest_reads_back_as_it_was(layer: Layer) -> None:
    manifest = manifest_naming(layer, b"content")

    layer.commit(HISTORICAL, [manifest])

    assert layer.manifests(HISTORICAL, [WINDOW]) == [manifest]


def test_a_window_without_a_manifest_says_which_asset_to_materialize(layer: Layer) -> None:
    with pytest.raises(MissingWindowError, match=r"2026-11-22: materialize historical/raw_prices"):
        layer.manifests(HISTORICAL, [WINDOW])


def test_a_put_leaves_nothing_but_the_file(layer: Layer) -> None:
    layer.put("folder/file", b"one")
    layer.put("folder/file", b"two")

    assert layer.read("folder/file") == b"two"
    assert layer.paths("folder") == ["folder/file"]


def test_what_is_not_there_reads_as_nothing(layer: Layer) -> None:
    assert layer.read("nowhere/file") is None
    assert layer.paths("nowhere") == []


def test_a_layer_that_is_named_by_a_file_address_is_its_folder(tmp_path: Path) -> None:
    by_path = Layer(str(tmp_path), "raw", "raw_prices")
    by_address = Layer(tmp_path.as_uri(), "raw", "raw_prices")

    by_address.put("a/b=1/c", b"content")

    assert by_address.paths("a") == by_path.paths("a") == ["a/b=1/c"]
    assert by_address.read("a/b=1/c") == by_path.read("a/b=1/c") == b"content"


def test_what_stays_on_this_disk_loads_no_library_of_the_cloud(tmp_path: Path) -> None:
    script = (
        "import sys; from crypto_platform.lake.layers import Layer; "
        "from crypto_platform.core.streams import HISTORICAL; "
        f"layer = Layer({str(tmp_path)!r}, 'raw', 'raw_prices'); layer.put('a/b', b'c'); "
        "assert layer.read('a/b') == b'c'; assert layer.paths('a') == ['a/b']; "
        "layer.manifest(HISTORICAL, HISTORICAL.window('2026-11-22')); layer.remove('a/b'); "
        "print({'boto3', 'cloudpathlib'} & sys.modules.keys())"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert ran.stdout.strip() == b"set()"


def test_an_address_and_its_path_name_each_other(layer: Layer) -> None:
    assert layer.path(layer.uri("a/b=1/c")) == "a/b=1/c"


def test_old_files_that_no_manifest_names_are_swept(layer: Layer) -> None:
    layer.commit(HISTORICAL, [manifest_naming(layer, b"first", run_id="r1")])
    made_old(layer, f"{FOLDER}/run=r1/prices-0.json.gz")

    layer.commit(HISTORICAL, [manifest_naming(layer, b"second", run_id="r2")])
    layer.commit(HISTORICAL, layer.manifests(HISTORICAL, [WINDOW]))

    assert layer.paths(FOLDER) == [
        f"{FOLDER}/{MANIFEST_NAME}",
        f"{FOLDER}/run=r2/prices-0.json.gz",
    ]


def test_a_reader_of_the_replaced_manifest_still_finds_its_files(layer: Layer) -> None:
    layer.commit(HISTORICAL, [manifest_naming(layer, b"first", run_id="r1")])
    (held,) = layer.manifests(HISTORICAL, [WINDOW])
    made_old(layer, held.files[0].path)

    layer.commit(HISTORICAL, [manifest_naming(layer, b"second", run_id="r2")])

    layer.check(HISTORICAL, [held])


def test_old_files_are_swept_from_every_dataset_of_a_window(layer: Layer) -> None:
    stray = f"rejected/{FOLDER}/run=killed/stray.parquet"
    layer.put(stray, b"stray")
    made_old(layer, stray)

    layer.commit(HISTORICAL, [manifest_naming(layer, b"content")])

    assert layer.read(stray) is None


def test_files_of_a_run_that_may_still_be_writing_are_left_alone(layer: Layer) -> None:
    layer.put(f"{FOLDER}/run=other/prices-0.json.gz", b"being written")

    layer.commit(HISTORICAL, [manifest_naming(layer, b"mine")])

    assert layer.read(f"{FOLDER}/run=other/prices-0.json.gz") == b"being written"


def test_an_old_file_that_the_manifest_names_stays(layer: Layer) -> None:
    manifest = manifest_naming(layer, b"content")
    made_old(layer, manifest.files[0].path)

    layer.commit(HISTORICAL, [manifest])

    assert layer.read(manifest.files[0].path) == b"content"


@pytest.mark.parametrize("damage", [b"changed", None])
def test_a_damaged_file_is_named_with_its_window(layer: Layer, damage: bytes | None) -> None:
    manifest = manifest_naming(layer, b"content")
    path = manifest.files[0].path
    if damage is None:
        layer.remove(path)
    else:
        layer.put(path, damage)

    with pytest.raises(CorruptFileError) as caught:
        layer.check(HISTORICAL, [manifest])

    assert layer.uri(path) in str(caught.value)
    assert "historical 2026-11-22" in str(caught.value)
