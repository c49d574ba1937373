"""How the jobs read what a job spec names and write their files, on both engines."""

import gzip
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import glue_jobs
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.transformation.resource import TransformError
from crypto_platform_tests.glue_jobs.jobs import (
    START,
    JobRunner,
    grain_of,
    iso,
    milliseconds,
    record,
    values,
)
from glue_jobs.job import WINDOWS_A_WRITE

pytestmark = pytest.mark.integration

AT = milliseconds(START)
DAY = HISTORICAL.window_length


def days(number: int) -> list[Any]:
    """Two coins, a price a day."""
    starts = [START + DAY * day for day in range(number)]
    return [
        record([[milliseconds(start), 1.5]], coin=coin, start=start)
        for start in starts
        for coin in ("bitcoin", "ethereum")
    ]


def test_a_window_is_one_file_under_the_runs_own_folder(jobs: JobRunner) -> None:
    jobs.transform(days(3))
    assert [file.parent.relative_to(jobs.home).as_posix() for file in jobs.files("prices")] == [
        f"prices/date=2026-01-0{day}/run=transform" for day in (1, 2, 3)
    ]


def test_an_intra_day_window_has_a_folder_for_its_hour(jobs: JobRunner) -> None:
    start = START + 3 * INTRA_DAY.window_length
    jobs.transform([record([[milliseconds(start), 1]], start=start, stream=INTRA_DAY)], INTRA_DAY)
    [file] = jobs.files("prices")
    assert file.parent == jobs.home / "prices" / "date=2026-01-01" / "hour=18" / "run=transform"


def test_more_windows_than_one_write_holds_are_all_written(jobs: JobRunner) -> None:
    made = days(WINDOWS_A_WRITE + 1)
    assert len(jobs.transform(made)) == len(made)
    assert len(jobs.files("prices")) == WINDOWS_A_WRITE + 1


def test_a_second_run_adds_its_files_and_touches_no_other(jobs: JobRunner) -> None:
    spec = jobs.write_raw(days(2))
    jobs.run(spec, run_id="first")
    before = {file: file.read_bytes() for file in jobs.files("prices")}
    jobs.run(spec[:1], run_id="second")
    after = {file: file.read_bytes() for file in jobs.files("prices")}
    assert len(after) == 3
    assert {file: after[file] for file in before} == before


def test_times_are_utc_microseconds_in_parquet(jobs: JobRunner) -> None:
    jobs.transform(days(1))
    schema = pq.read_schema(jobs.files("prices")[0])
    times = {name: str(schema.field(name).type) for name in ("price_at", "fetched_at")}
    assert times == dict.fromkeys(times, "timestamp[us, tz=UTC]")


def test_files_are_compressed_alike_by_every_engine(jobs: JobRunner) -> None:
    jobs.transform(days(1))
    file = pq.ParquetFile(jobs.files("prices")[0]).metadata.row_group(0)
    assert {file.column(n).compression for n in range(file.num_columns)} == {"SNAPPY"}


@pytest.mark.parametrize(
    "line",
    ["not json", '{"coin_id": "bitcoin", "prices": [[1, 2]', '{"prices": "none"}', "5"],
    ids=["no JSON", "cut", "wrong type", "no object"],
)
def test_a_corrupt_line_fails_the_job(jobs: JobRunner, line: str) -> None:
    spec = jobs.write_raw(days(2))
    with gzip.open(spec[1]["prices"][0], "at") as file:
        file.write(line + "\n")
    with pytest.raises(TransformError, match="2026-01-01T00:00:00Z to 2026-01-02T00:00:00Z") as got:
        jobs.run(spec)
    assert "historical_data_transformation" in str(got.value.description)
    assert len(str(got.value.description).splitlines()) == 1


def test_a_truncated_file_fails_the_job(jobs: JobRunner) -> None:
    spec = jobs.write_raw(days(2))
    raw = Path(spec[1]["prices"][0])
    raw.write_bytes(raw.read_bytes()[:-12])
    with pytest.raises(TransformError):
        jobs.run(spec)


def test_a_missing_file_fails_the_job(jobs: JobRunner) -> None:
    spec = jobs.write_raw(days(2))
    Path(spec[1]["prices"][0]).unlink()
    with pytest.raises(TransformError, match=r"2026-01-02T00/prices-00000\.json\.gz is missing"):
        jobs.run(spec)


def test_a_record_of_a_window_that_the_job_spec_does_not_name_fails_the_job(
    jobs: JobRunner,
) -> None:
    [first, second] = jobs.write_raw(days(2))
    with pytest.raises(TransformError, match="window that the job spec does not name: bitcoin"):
        jobs.run([{**first, "prices": [*first["prices"], *second["prices"]]}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: [], "names no window"),
        (lambda spec: [*spec, *spec], "names a window twice"),
        (lambda spec: [{**spec[0], "date": None}], "lacks one of"),
    ],
)
def test_a_job_spec_that_makes_no_sense_is_refused(
    jobs: JobRunner,
    change: Any,
    message: str,
) -> None:
    with pytest.raises(TransformError, match=message):
        jobs.run(change(jobs.write_raw(days(1))))


@pytest.mark.parametrize("name", ["a folder", "br[1]", "br{a,b}", "st*r", "q?m", "100%41", "uni é"])
def test_a_path_may_hold_any_character(
    jobs: JobRunner,
    name: str,
) -> None:
    odd = JobRunner(jobs.engine, jobs.cache_folder, jobs.home / name)
    odd.home.mkdir()
    assert values(odd.transform(days(1)[:1])) == [(AT, 1.5, None, None)]


def test_glues_own_arguments_are_ignored(jobs: JobRunner) -> None:
    jobs.run(jobs.write_raw(days(1)), run_id="a --JOB_NAME b")
    assert len(jobs.rows("prices")) == 2


SCRIPT = Path(glue_jobs.__file__).parent / "historical_data_transformation.py"

ON_SAIL = """
import os, runpy, sys
from pysail.spark import SparkConnectServer
server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
os.environ["SPARK_REMOTE"] = "sc://{}:{}".format(*server.listening_address)
sys.argv[1:] = [*sys.argv[1:], "--path_syntax", "uri"]
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def test_a_script_runs_with_the_package_as_a_zip_in_another_time_zone(
    jobs: JobRunner,
    tmp_path: Path,
) -> None:
    """As on Glue: the script alone in a folder, the package in a zip on the path."""
    made = days(1)
    [line] = jobs.write_raw(made)
    expected = jobs.transform(made)
    script = Path(shutil.copy(SCRIPT, tmp_path))
    with zipfile.ZipFile(tmp_path / "glue_jobs.zip", "w") as package:
        for module in SCRIPT.parent.glob("*.py"):
            package.write(module, f"glue_jobs/{module.name}")

    command = [sys.executable, *(["-c", ON_SAIL] if jobs.engine == "sail" else []), str(script)]
    arguments = {
        "JOB_NAME": "a-name-that-glue-adds",
        "job_spec": str(jobs.home / "transform.jsonl"),
        "prices_output": str(jobs.home / "script"),
        "rejected_output": str(jobs.home / "script_rejected"),
        "grain": str(grain_of(HISTORICAL)),
        "partition_by": "date",
        "run_id": "script",
    }
    argv = [text for name, value in arguments.items() for text in (f"--{name}", value)]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SPARK_")},
        "PYTHONPATH": str(tmp_path / "glue_jobs.zip"),
        "PYSPARK_PYTHON": sys.executable,
        "RUST_LOG": "error",
        "TZ": "America/New_York",
    }
    subprocess.run(
        [*command, *argv],
        check=True,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=300,
    )
    assert line["window_start"] == iso(START)
    assert jobs.rows("script") == expected
