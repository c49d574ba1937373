"""What a disk refuses comes out as a failure that names the folder and says what to do."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import pytest

from crypto_platform.core.disk import DiskFullError, DiskRefusedError, explaining_disk
from crypto_platform.core.streams import HISTORICAL
from crypto_platform.lake.layers import Layer
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform_tests.lake.commits import naming
from lambda_function.lake import write_lines

_NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in which nobody may write; root may anywhere, so the test is somebody else.

    Not pytest's own, into which somebody else may not even look.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "there").touch()
        folder.chmod(0o555)
        was = os.geteuid()
        if was == 0:
            os.seteuid(_NOBODY)
        yield folder
        os.seteuid(was)
        folder.chmod(0o755)


def commits(folder: Path) -> None:
    layer = Layer(str(folder / "raw"), "raw", "raw_prices")
    layer.commit(HISTORICAL, [naming(layer, b"content")])


def replaces_a_manifest(folder: Path) -> None:
    layer = Layer(str(folder), "raw", "raw_prices")
    layer.update_month(HISTORICAL, "historical_data/month=2026-11", lambda month: type(month)("h"))


def removes(folder: Path) -> None:
    Layer(str(folder), "raw", "raw_prices").remove("there")


def moves(folder: Path) -> None:
    Layer(str(folder), "raw", "raw_prices").move("there", "elsewhere/there")


def ingests(folder: Path) -> None:
    with explaining_disk("a file"):
        write_lines(str(folder / "raw" / "prices.json.gz"), [b"{}\n"])


def loads(folder: Path) -> None:
    DuckDBWarehouse(path=str(folder / "crypto_db.duckdb")).query("SELECT 1")


@pytest.mark.parametrize("write", [commits, replaces_a_manifest, removes, moves, ingests, loads])
def test_a_folder_that_may_not_be_written_is_named_with_what_to_do(
    write: Callable[[Path], None], folder: Path
) -> None:
    with pytest.raises(DiskRefusedError) as told:
        write(folder)

    said = str(told.value.description)
    assert str(folder) in said
    assert "CRYPTO_HOME" in said
    assert not told.value.allow_retries


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "raw").touch()

    with pytest.raises(DiskRefusedError, match=r"raw.* in its way.*Move that away"):
        commits(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_says_to_make_room_and_may_be_tried_again(number: int) -> None:
    with pytest.raises(DiskFullError) as told, explaining_disk("/home/raw"):
        raise OSError(number, os.strerror(number))

    assert str(told.value.description).startswith("/home/raw could not be written")
    assert told.value.allow_retries


def test_what_a_library_says_of_the_disk_is_known_by_its_words() -> None:
    class LibraryError(Exception):
        """As of DuckDB, or of a Spark engine."""

    with pytest.raises(DiskFullError), explaining_disk("/home/raw", LibraryError):
        raise LibraryError("External: No space left on device (os error 28)")

    with pytest.raises(LibraryError), explaining_disk("/home/raw", LibraryError):
        raise LibraryError("a column is missing")


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(ConnectionResetError), explaining_disk("/home/raw"):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


def test_a_refusal_is_a_failure_that_dagster_shows() -> None:
    assert issubclass(DiskRefusedError, dg.Failure)
    assert issubclass(DiskFullError, dg.Failure)
