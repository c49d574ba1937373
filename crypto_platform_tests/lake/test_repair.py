"""A damaged manifest is named with its way out, and the raw one is made again from its files."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crypto_platform.core.streams import HISTORICAL
from crypto_platform.lake.layers import (
    MANIFEST_NAME,
    SET_ASIDE,
    DamagedManifestError,
    Lake,
    Layer,
    to_json_lines,
)
from crypto_platform.lake.manifests import NewerManifestError
from crypto_platform.lake.repair import repair_raw
from crypto_platform.lake.vacuum import KEPT_FOR, vacuum
from crypto_platform_tests.lake.commits import FOLDER, WINDOW, naming

NEIGHBOUR = HISTORICAL.window("2026-11-23")
MANIFEST = f"{FOLDER}/{MANIFEST_NAME}"
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "zeros": lambda content: bytes(len(content)),
    "no text": lambda _: b"\xff\xfe\x00",
    "another document": lambda _: b"[]",
    "names a file that it does not list": lambda content: content.replace(
        b'"files":[0]', b'"files":[7]'
    ),
    "tells an absence of no window": lambda content: content.replace(
        b'"absent":[', b'"absent":[{"windows":[[5,5]]}'
    ),
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(raw_root=str(tmp_path / "raw"), transformed_root=str(tmp_path / "transformed"))


def answer(layer: Layer, run_id: str, coin: str, *stamps: object, end: str = "2026-11-24") -> str:
    """A raw file of one line, of the days from the 22nd on; gives its path."""
    path = f"{FOLDER}/prices-{run_id}-00000.json.gz"
    line = {
        "coin_id": coin,
        "vs_currency": "usd",
        "window_start": "2026-11-22T00:00:00Z",
        "window_end": f"{end}T00:00:00Z",
        "prices": [[stamp, 1.5] for stamp in stamps],
    }
    layer.put(path, to_json_lines([line]))
    return path


def midnight(day: int) -> int:
    return int(datetime(2026, 11, day, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_manifest_is_named_with_its_month_and_what_to_do(how: str, lake: Lake) -> None:
    lake.raw.commit(HISTORICAL, [naming(lake.raw, b"content")])
    content = lake.raw.read(MANIFEST)
    assert content
    lake.raw.put(MANIFEST, DAMAGE[how](content))

    with pytest.raises(DamagedManifestError) as told:
        lake.raw.manifests(HISTORICAL, [WINDOW])

    said = str(told.value.description)
    assert said.startswith(f"The manifest {lake.raw.uri(MANIFEST)}, of historical in the raw lake")
    assert "Materialize historical/raw_prices" in said
    assert not told.value.allow_retries


def test_a_manifest_of_a_newer_version_is_not_damaged(lake: Lake) -> None:
    lake.raw.put(MANIFEST, b'{"format": 4, "stream": "historical"}')

    with pytest.raises(NewerManifestError, match="newer version"):
        repair_raw(lake.raw, HISTORICAL, [WINDOW], list, "r2")

    assert lake.raw.read(MANIFEST) == b'{"format": 4, "stream": "historical"}'


def test_a_raw_month_is_made_again_with_what_every_answer_has(lake: Lake) -> None:
    both = answer(lake.raw, "r1", "bitcoin", midnight(22), midnight(23))
    one = answer(lake.raw, "r2", "ethereum", midnight(22), None, "a", float("inf"))
    lake.raw.put(MANIFEST, b"{")

    (month,) = repair_raw(lake.raw, HISTORICAL, [WINDOW], lambda: ["bitcoin", "tether"], "r3")

    first, second = lake.raw.manifests(HISTORICAL, [WINDOW, NEIGHBOUR])
    assert (month.windows, month.unreadable) == (2, [])
    assert [file.path for file in first.files] == [both, one]
    assert (first.coins, first.points, second.coins, second.points) == (2, 2, 1, 1)
    assert first.present == {("bitcoin", "usd"), ("ethereum", "usd")}
    assert [(lost.coin_id, lost.status) for lost in second.absent] == [
        ("ethereum", "failed"),
        ("tether", "failed"),
    ]
    lake.raw.check(HISTORICAL, [first, second])


def test_what_was_damaged_is_set_aside_and_no_vacuum_removes_it(lake: Lake) -> None:
    answer(lake.raw, "r1", "bitcoin", midnight(22))
    lake.raw.put(MANIFEST, b"{")

    repair_raw(lake.raw, HISTORICAL, [WINDOW], list, "r2")
    vacuum(lake, now=datetime.now(UTC) + KEPT_FOR + timedelta(minutes=1))

    (path,) = [path for path in lake.raw.paths(FOLDER) if SET_ASIDE in path]
    assert lake.raw.read(path) == b"{"


def test_a_file_that_cannot_be_read_does_not_count_and_is_named(lake: Lake) -> None:
    whole = answer(lake.raw, "r1", "bitcoin", midnight(22))
    content = lake.raw.read(whole)
    assert content
    cut, text, other = (f"{FOLDER}/prices-{name}-00000.json.gz" for name in ("cut", "b", "c"))
    lake.raw.put(cut, content[:-9])
    lake.raw.put(text, b"no gzip")
    lake.raw.put(other, to_json_lines([{"no": "record"}]))
    lake.raw.put(f"{FOLDER}/.prices-killed-00000.json.gz.0123", content)
    lake.raw.put(MANIFEST, b"{")

    (month,) = repair_raw(lake.raw, HISTORICAL, [WINDOW], list, "r2")

    (manifest,) = lake.raw.manifests(HISTORICAL, [WINDOW])
    assert [file.path for file in manifest.files] == [whole]
    assert month.unreadable == [text, other, cut]
    assert cut in month.described


def test_of_two_runs_that_repair_the_first_one_counts(lake: Lake) -> None:
    answer(lake.raw, "r1", "bitcoin", midnight(22))
    lake.raw.put(MANIFEST, b"{")
    repair_raw(lake.raw, HISTORICAL, [WINDOW], list, "r2")

    assert not lake.raw.replace_damaged(HISTORICAL, FOLDER, [])
    assert repair_raw(lake.raw, HISTORICAL, [WINDOW], list, "r3") == []

    (manifest,) = lake.raw.manifests(HISTORICAL, [WINDOW])
    assert manifest.run_id == "r2"


def test_what_readers_may_have_heard_of_stays_a_day_after_the_month_was_made_again(
    lake: Lake,
) -> None:
    old = naming(lake.transformed, b"old")
    lake.transformed.put(MANIFEST, b"{")

    lake.transformed.replace_damaged(
        HISTORICAL, FOLDER, [naming(lake.transformed, b"new", run_id="r2")]
    )

    assert list(lake.transformed.month(HISTORICAL, FOLDER).replaced) == [old.files[0].path]
