import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto_platform.core.streams import HISTORICAL
from crypto_platform.lake.layers import MANIFEST_NAME, CorruptFileError, Layer, MissingWindowError
from crypto_platform.lake.manifests import Manifest, MonthManifest
from crypto_platform.lake.storage import LOCK_NAME
from crypto_platform_tests.lake.commits import FOLDER, WINDOW, naming

ROOT = Path(__file__).parents[2]
NEIGHBOUR = HISTORICAL.window("2026-11-23")


@pytest.fixture(params=["plain", "with space and [brackets]"])
def layer(tmp_path: Path, request: pytest.FixtureRequest) -> Layer:
    return Layer(str(tmp_path / request.param), "raw", "raw_prices")


def test_a_committed_manifest_reads_back_as_it_was(layer: Layer) -> None:
    manifest = naming(layer, b"content")

    layer.commit(HISTORICAL, [manifest])

    assert layer.manifests(HISTORICAL, [WINDOW]) == [manifest]


def test_windows_of_several_months_are_held_in_the_order_in_which_they_are_asked_for(
    layer: Layer,
) -> None:
    windows = [HISTORICAL.window(key) for key in ("2026-12-01", "2026-11-22", "2026-11-23")]
    manifests = [naming(layer, b"content", window=window) for window in windows]

    assert layer.commit(HISTORICAL, manifests) == manifests

    other = HISTORICAL.window("2026-11-24")
    assert layer.held(HISTORICAL, [*windows, other]) == [*manifests, None]
    assert layer.folders(HISTORICAL) == [FOLDER, "historical_data/month=2026-12"]


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
    assert layer.folders(HISTORICAL) == []


def test_only_folders_that_windows_share_are_folders_of_a_stream(layer: Layer) -> None:
    layer.commit(HISTORICAL, [naming(layer, b"content")])
    layer.put(f"historical_data/date=2026-11-21/{MANIFEST_NAME}", b"of version 0.2")
    layer.put("historical_data/month=2026-10/prices-killed-00000.json.gz", b"never committed")

    assert layer.folders(HISTORICAL) == [FOLDER]


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
        "layer.held(HISTORICAL, [HISTORICAL.window('2026-11-22')]); layer.remove('a/b'); "
        "print({'boto3', 'cloudpathlib'} & sys.modules.keys())"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert ran.stdout.strip() == b"set()"


def test_an_address_and_its_path_name_each_other(layer: Layer) -> None:
    assert layer.path(layer.uri("a/b=1/c")) == "a/b=1/c"


def test_a_file_that_is_listed_has_its_size_and_when_it_was_written(layer: Layer) -> None:
    before = datetime.now(UTC)
    layer.put("a/b", b"content")

    (file,) = layer.files("a")

    assert (file.path, file.bytes) == ("a/b", 7)
    assert abs((file.written_at - before).total_seconds()) < 60


def test_a_file_that_a_commit_replaces_is_listed_as_replaced_and_stays(layer: Layer) -> None:
    first = naming(layer, b"first", run_id="r1")
    layer.commit(HISTORICAL, [first])

    layer.commit(HISTORICAL, [naming(layer, b"second", run_id="r2")])

    month = layer.month(HISTORICAL, FOLDER)
    assert list(month.replaced) == [first.files[0].path]
    layer.check(HISTORICAL, [first])


def test_a_file_that_another_window_still_names_is_not_replaced(layer: Layer) -> None:
    first = naming(layer, b"of both", run_id="r1")
    layer.commit(HISTORICAL, [first, replace(first, window=NEIGHBOUR)])

    layer.commit(HISTORICAL, [naming(layer, b"second", run_id="r2")])

    assert layer.month(HISTORICAL, FOLDER).replaced == {}


def test_a_replaced_file_that_is_named_again_is_no_longer_replaced(layer: Layer) -> None:
    first = naming(layer, b"first", run_id="r1")
    second = naming(layer, b"second", run_id="r2")

    for manifest in (first, second, first):
        layer.commit(HISTORICAL, [manifest])

    assert list(layer.month(HISTORICAL, FOLDER).replaced) == [second.files[0].path]


def test_a_commit_that_is_refused_changes_nothing_of_its_month(layer: Layer) -> None:
    layer.commit(HISTORICAL, [naming(layer, b"first")])
    before = layer.read(f"{FOLDER}/{MANIFEST_NAME}")

    def refuse_what_is_held(held: Manifest | None, new: Manifest) -> Manifest:
        if held is not None:
            raise LookupError
        return new

    news = [naming(layer, b"second", run_id="r2", window=one) for one in (NEIGHBOUR, WINDOW)]
    with pytest.raises(LookupError):
        layer.commit(HISTORICAL, news, refuse_what_is_held)

    assert layer.read(f"{FOLDER}/{MANIFEST_NAME}") == before


def test_a_commit_that_changes_nothing_writes_nothing(layer: Layer) -> None:
    manifest = naming(layer, b"first")
    layer.commit(HISTORICAL, [manifest])
    before = Path(layer.uri(f"{FOLDER}/{MANIFEST_NAME}")).stat()

    committed = layer.commit(HISTORICAL, [manifest], lambda held, new: held or new)

    assert committed == [manifest]
    assert Path(layer.uri(f"{FOLDER}/{MANIFEST_NAME}")).stat().st_mtime_ns == before.st_mtime_ns


def overtaken(layer: Layer, other: Manifest) -> Callable[[Manifest | None, Manifest], Manifest]:
    """A merge during which, the first time, another run commits."""
    asked: list[Manifest | None] = []

    def merge(held: Manifest | None, new: Manifest) -> Manifest:
        asked.append(held)
        if len(asked) == 1:
            layer.commit(HISTORICAL, [other])
        return replace(new, points=0 if held is None else held.points + new.points)

    return merge


def assert_that_who_comes_second_looks_again(layer: Layer) -> None:
    other = replace(naming(layer, b"other", run_id="other"), points=5)

    (committed,) = layer.commit(
        HISTORICAL, [naming(layer, b"mine", run_id="mine")], overtaken(layer, other)
    )

    assert (committed.run_id, committed.points) == ("mine", 6)
    assert layer.manifests(HISTORICAL, [WINDOW]) == [committed]


def test_who_comes_second_to_a_month_looks_again(layer: Layer) -> None:
    assert_that_who_comes_second_looks_again(layer)


def test_who_comes_second_to_an_existing_month_looks_again(layer: Layer) -> None:
    layer.commit(HISTORICAL, [naming(layer, b"before", run_id="before", window=NEIGHBOUR)])

    assert_that_who_comes_second_looks_again(layer)
    assert layer.held(HISTORICAL, [NEIGHBOUR]) != [None]


@pytest.mark.integration
def test_processes_that_commit_to_one_month_at_once_lose_nothing_and_show_no_less(
    tmp_path: Path,
) -> None:
    layer = Layer(str(tmp_path), "raw", "raw_prices")
    command = [sys.executable, "-m", "crypto_platform_tests.lake.commits", str(tmp_path)]
    writers = [subprocess.Popen([*command, str(first), "15"], cwd=ROOT) for first in (1, 16)]
    seen: set[datetime] = set()
    try:
        while any(writer.poll() is None for writer in writers):
            windows = layer.month(HISTORICAL, FOLDER).windows.keys()
            assert seen <= windows
            seen |= windows
    finally:
        codes = [writer.wait(60) for writer in writers]

    assert codes == [0, 0]
    month = layer.month(HISTORICAL, FOLDER)
    assert [start.day for start in month.windows] == list(range(1, 31))
    layer.check(HISTORICAL, list(month.windows.values()))
    assert (tmp_path / LOCK_NAME).exists()


@pytest.mark.parametrize("damage", [b"changed", None])
def test_a_damaged_file_is_named_with_its_window(layer: Layer, damage: bytes | None) -> None:
    manifest = naming(layer, b"content")
    path = manifest.files[0].path
    if damage is None:
        layer.remove(path)
    else:
        layer.put(path, damage)

    with pytest.raises(CorruptFileError) as caught:
        layer.check(HISTORICAL, [manifest])

    assert layer.uri(path) in str(caught.value)
    assert "historical 2026-11-22" in str(caught.value)


def test_an_unchanged_month_is_not_put(layer: Layer) -> None:
    def same(month: MonthManifest) -> MonthManifest:
        return month

    assert layer.update_month(HISTORICAL, FOLDER, same) == MonthManifest(HISTORICAL.name)
    assert layer.read(f"{FOLDER}/{MANIFEST_NAME}") is None
