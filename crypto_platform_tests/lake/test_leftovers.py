"""What fifty killed runs leave behind: nothing, once a day has passed and the vacuum has run."""

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import pytest

from crypto_platform.core.streams import HISTORICAL
from crypto_platform.lake.layers import MANIFEST_NAME, Lake, Layer
from crypto_platform.lake.storage import LOCK_NAME
from crypto_platform.lake.vacuum import KEPT_FOR, vacuum
from crypto_platform.transformation.job_spec import job_folder, write_job_spec
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform_tests.lake.commits import FOLDER, WINDOW, naming
from lambda_function import lake as lake_objects

KILLS = 50
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["crypto_platform_tests.lake.test_leftovers"])


def run(lake: Lake, run_id: str) -> None:
    """Write one of everything that a run writes, in its order."""
    lake.raw.put("tracked_coins.json", b"{}")
    lake.raw.put(f"rejected/historical_data/run={run_id}/body.txt", b"no JSON")
    lake.raw.put(f"api_usage/month=2026-11/{run_id}.json", b"{}")
    lake.raw.commit(HISTORICAL, [naming(lake.raw, b"content", run_id=run_id)])
    folder = job_folder(HISTORICAL, run_id)
    write_job_spec(lake, folder, [])
    lake.transformed.put(f"{folder}/output/dataset=prices/number=0/part-0.parquet", b"rows")
    target = f"{FOLDER}/prices-{run_id}.parquet"
    lake.transformed.move(f"{folder}/output/dataset=prices/number=0/part-0.parquet", target)
    lake.transformed.commit(HISTORICAL, [naming(lake.transformed, b"rows", run_id=run_id)])
    lake.transformed.remove_folder(folder)
    lake.transformed.put("market_report/latest.html", b"page")


def lake_in(folder: Path) -> Lake:
    return Lake(raw_root=str(folder / "raw"), transformed_root=str(folder / "transformed"))


def killed_run(folder: Path, run_id: str, nth: int) -> None:
    """Be killed while the nth file is half written."""
    objects = lake_objects._new_object  # noqa: SLF001 - what every file of the lake goes through
    seen = 0

    @contextmanager
    def half_of_it(uri: str) -> Iterator[IO[bytes]]:
        nonlocal seen
        seen += 1
        with objects(uri) as stored:
            if seen == nth:
                stored.write(b"half of it")
                stored.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            yield stored

    lake_objects._new_object = half_of_it  # noqa: SLF001
    run(lake_in(folder), run_id)


def files(root: Path) -> Counter[str]:
    """How many files each folder has, whatever their names."""
    return Counter(str(path.parent.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.mark.integration
def test_fifty_kills_leave_as_many_files_as_none(tmp_path: Path) -> None:
    lake = lake_in(tmp_path)
    for kill in range(KILLS):
        process = FORKING.Process(target=killed_run, args=(tmp_path, f"r{kill}", kill % 10 + 1))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert sum("half of it" in path.read_text() for path in tmp_path.rglob("*.*") if path.is_file())
    run(lake, "last")

    vacuum(lake, now=datetime.now(UTC) + KEPT_FOR + timedelta(minutes=1))

    left = files(tmp_path)
    # What each run said of itself stays; a kill after it was said is none.
    assert left.pop("raw/api_usage/month=2026-11") <= KILLS + 1
    rejected = [folder for folder in left if folder.startswith("raw/rejected/")]
    assert {left.pop(folder) for folder in rejected} == {1}
    assert left == {
        "raw": 2,
        f"raw/{FOLDER}": 2,
        "transformed": 1,
        f"transformed/{FOLDER}": 2,
        "transformed/market_report": 1,
    }
    assert (tmp_path / "raw" / LOCK_NAME).exists()
    assert lake.raw.read(f"{FOLDER}/{MANIFEST_NAME}")
    assert [held.run_id for held in lake.transformed.manifests(HISTORICAL, [WINDOW])] == ["last"]


def test_a_part_is_no_file_for_those_who_list_a_folder(tmp_path: Path) -> None:
    layer = Layer(str(tmp_path), "raw", "raw_prices")
    layer.put("api_usage/a.json", b"{}")
    (tmp_path / "api_usage" / f".b.json.{'0' * 32}").touch()

    assert layer.paths("api_usage") == ["api_usage/a.json"]


def test_a_file_that_is_written_again_takes_its_old_parts_with_it(tmp_path: Path) -> None:
    layer = Layer(str(tmp_path), "alerts", "alerts")
    old, new, other = (
        tmp_path / f".{name}.json.{letter * 32}" for name, letter in ("aa", "ab", "ca")
    )
    for part in (old, new, other):
        part.touch()
    for part in (old, other):
        os.utime(part, (1, 1))

    layer.put("a.json", b"{}")

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["a.json", new.name, other.name]
    )


def test_what_a_killed_load_moved_out_of_memory_is_deleted_a_day_later(tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(path=str(tmp_path / "crypto_db.duckdb"))
    old, new = (tmp_path / "crypto_db.duckdb.tmp" / f"duckdb_temp_{name}" for name in "ab")
    old.parent.mkdir()
    for left in (old, new):
        left.touch()
    os.utime(old, (1, 1))

    with warehouse.session(read_only=False):
        pass

    assert [path.name for path in old.parent.iterdir()] == [new.name]
