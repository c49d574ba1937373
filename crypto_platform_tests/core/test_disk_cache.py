from pathlib import Path

import pytest

from crypto_platform.core.disk_cache import kept_on_disk

Lineage = dict[str, list[tuple[str, str]]]
COLUMNS: Lineage = {"open": [("intra_day_prices", "price")]}


def test_what_was_computed_for_a_key_is_not_computed_again(tmp_path: Path) -> None:
    folder = str(tmp_path / "cache")
    kept_on_disk(folder, "a query", Lineage, lambda: COLUMNS)

    assert kept_on_disk(folder, "a query", Lineage, dict) == COLUMNS
    assert kept_on_disk(folder, "another query", Lineage, dict) == {}


@pytest.mark.parametrize("left", [b"", b'{"open": [["intra', b'"text"', b'{"open": [["one"]]}'])
def test_a_damaged_file_is_replaced(tmp_path: Path, left: bytes) -> None:
    kept_on_disk(str(tmp_path), "a query", Lineage, lambda: COLUMNS)
    (file,) = tmp_path.iterdir()
    file.write_bytes(left)

    assert kept_on_disk(str(tmp_path), "a query", Lineage, lambda: COLUMNS) == COLUMNS
    assert kept_on_disk(str(tmp_path), "a query", Lineage, dict) == COLUMNS


def test_without_a_folder_or_where_it_cannot_be_written_it_is_computed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for folder in (None, str(tmp_path / "file")):
        assert kept_on_disk(folder, "a query", Lineage, lambda: COLUMNS) == COLUMNS
