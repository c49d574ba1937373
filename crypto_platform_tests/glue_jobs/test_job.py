"""How the jobs read what a job spec names and write their files, on both engines."""

import gzip
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import glue_jobs
from crypto_platform.core.streams import HISTORICAL
from crypto_platform.transformation.resource import TransformError
from crypto_platform.transformation.spark_engines import find_java
from crypto_platform_tests.glue_jobs.jobs import (
    START,
    JobRunner,
    arguments,
    exact,
    expected_rows,
    iso,
    milliseconds,
    record,
    spec_line,
    values,
)
from glue_jobs.job import POINTS_A_WRITE

pytestmark = pytest.mark.integration

AT = milliseconds(START)
DAY = HISTORICAL.window_length


def days(number: int, first: datetime = START) -> list[Any]:
    """Two coins, a price a day; a record a coin a month."""
    starts = [first + DAY * day for day in range(number)]
    return [
        record(
            [[milliseconds(start), 1.5] for start in month],
            coin=coin,
            start=month[0],
            windows=len(month),
        )
        for _, group in groupby(starts, key=lambda start: start.month)
        for month in [[*group]]
        for coin in ("ethereum", "bitcoin")
    ]


@pytest.fixture(scope="module")
def two_months(new_jobs: Callable[[], JobRunner]) -> JobRunner:
    """What a job writes of forty days, the second month with another number than the first's."""
    jobs = new_jobs()
    bad = [record([[AT, None]], coin="dead-coin"), record([[AT - 1, 1]], coin="late", windows=3)]
    [first, second] = jobs.write_raw([*days(40), *bad])
    jobs.run([{**first, "number": 7}, second])
    return jobs


def test_a_month_is_one_file_a_dataset_in_a_folder_of_its_number(two_months: JobRunner) -> None:
    assert [
        file.parent.relative_to(two_months.home).as_posix()
        for dataset in ("prices", "rejected", "snapshots")
        for file in two_months.files(dataset)
    ] == [
        "output/dataset=prices/number=1",
        "output/dataset=prices/number=7",
        "output/dataset=rejected/number=7",
    ]
    assert len(two_months.rows("prices")) == 80


def test_the_rows_of_a_file_are_in_the_order_of_coin_and_time(two_months: JobRunner) -> None:
    for file in two_months.files("prices"):
        rows = pq.ParquetFile(file).read(["coin_id", "price_at"]).to_pylist()
        assert rows == sorted(rows, key=lambda row: (row["coin_id"], row["price_at"]))


def test_times_are_utc_microseconds_in_parquet(two_months: JobRunner) -> None:
    schema = pq.read_schema(two_months.files("prices")[0])
    times = {name: str(schema.field(name).type) for name in ("price_at", "fetched_at")}
    assert times == dict.fromkeys(times, "timestamp[us, tz=UTC]")


def test_files_are_compressed_alike_by_every_engine(two_months: JobRunner) -> None:
    file = pq.ParquetFile(two_months.files("prices")[0]).metadata.row_group(0)
    assert {file.column(n).compression for n in range(file.num_columns)} == {"SNAPPY"}


def test_kept_rows_of_other_windows_are_copied_as_they_are(two_months: JobRunner) -> None:
    jobs = two_months
    before = {dataset: jobs.rows(dataset) for dataset in ("prices", "rejected")}
    newer = record([[milliseconds(START + DAY), 2.5]], start=START + DAY, run_id="newer")
    [newer_line] = jobs.write_raw([newer], name="prices-newer")
    kept = {f"kept_{dataset}": [str(file) for file in jobs.files(dataset)] for dataset in before}
    jobs.run([{**newer_line, **kept}], output="second")
    assert len(jobs.files("prices", "second")) == 1
    assert exact(jobs.rows("prices", "second")) == exact(
        [row for row in before["prices"] if row["window_start"] != START + DAY]
        + expected_rows([newer], HISTORICAL)
    )
    assert jobs.rows("rejected", "second") == before["rejected"]


def test_kept_rows_alone_are_copied_and_a_column_that_a_file_lacks_is_null(
    two_months: JobRunner,
) -> None:
    """A window may be left with no raw file, beside others that stay."""
    jobs = two_months
    [february, january] = jobs.files("prices")
    older = jobs.home / "older.parquet"
    table = pq.ParquetFile(february).read()
    pq.write_table(table.drop_columns(["stamp", "reason", "source"]), older)
    kept = {"kept_prices": [str(january), str(older)]}
    jobs.run([{**spec_line(0, [iso(START)], []), **kept}], output="kept")
    rows = jobs.rows("prices", "kept")
    assert {row["window_start"] for row in rows} == {START + DAY * day for day in range(1, 40)}
    without_source = {row["window_start"].month for row in rows if row["source"] is None}
    assert without_source == {2}
    assert len(rows) == 78


def test_a_second_run_touches_no_file_of_the_first(
    two_months: JobRunner,
) -> None:
    jobs = two_months
    shutil.copytree(jobs.home / "output", jobs.home / "again")
    before = {file: file.read_bytes() for file in jobs.files("prices", "again")}
    jobs.run(jobs.write_raw(days(2), name="prices-again"), output="again")
    after = {file: file.read_bytes() for file in jobs.files("prices", "again")}
    assert len(after) == 3
    assert {file: after[file] for file in before} == before


def test_months_of_several_writes_are_all_written(jobs: JobRunner) -> None:
    spec = [{**line, "points": POINTS_A_WRITE} for line in jobs.write_raw(days(70))]
    jobs.run(spec)
    assert len(jobs.rows("prices")) == 140
    assert len(jobs.files("prices")) == 3


def test_windows_that_the_job_spec_does_not_name_are_left_out(jobs: JobRunner) -> None:
    [line] = jobs.write_raw(days(3))
    jobs.run([{**line, "windows": line["windows"][1:2]}])
    assert {row["window_start"] for row in jobs.rows("prices")} == {START + DAY}


def test_nothing_is_written_without_rows(jobs: JobRunner) -> None:
    jobs.run(jobs.write_raw([record()]))
    jobs.run([spec_line(0, [iso(START)], [])], output="second")
    for output in ("output", "second"):
        for dataset in ("prices", "rejected", "snapshots"):
            assert jobs.files(dataset, output) == []


@pytest.mark.parametrize(
    "line",
    ["not json", '{"coin_id": "bitcoin", "prices": [[1, 2]', '{"prices": "none"}', "5"],
    ids=["no JSON", "cut", "wrong type", "no object"],
)
def test_a_corrupt_line_fails_the_job(jobs: JobRunner, line: str) -> None:
    spec = jobs.write_raw(days(40))
    with gzip.open(spec[1]["prices"][0], "at") as file:
        file.write(line + "\n")
    with pytest.raises(TransformError, match="2026-01-01T00:00:00Z to 2026-02-09T00:00:00Z") as got:
        jobs.run(spec)
    assert "historical_data_transformation" in str(got.value.description)
    assert len(str(got.value.description).splitlines()) == 1


def test_a_truncated_file_fails_the_job(jobs: JobRunner) -> None:
    spec = jobs.write_raw(days(40))
    raw = Path(spec[1]["prices"][0])
    raw.write_bytes(raw.read_bytes()[:-12])
    with pytest.raises(TransformError):
        jobs.run(spec)


def test_a_missing_file_fails_the_job(jobs: JobRunner) -> None:
    spec = jobs.write_raw(days(40))
    Path(spec[1]["prices"][0]).unlink()
    with pytest.raises(TransformError, match=r"2026-02/prices-00000\.json\.gz is missing"):
        jobs.run(spec)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: [], "names no window"),
        (lambda spec: [*spec, *spec], "names a window twice"),
        (lambda spec: [{**spec[0], "windows": spec[0]["windows"] * 2}], "names a window twice"),
        (lambda spec: [*spec, {**spec[0], "windows": [iso(START + DAY)]}], "names a number twice"),
        (lambda spec: [{**spec[0], "number": None}], "a month without a number"),
    ],
)
def test_a_job_spec_that_makes_no_sense_is_refused(
    jobs: JobRunner,
    change: Any,
    message: str,
) -> None:
    with pytest.raises(TransformError, match=message):
        jobs.run(change(jobs.write_raw(days(1))))


def test_a_path_may_hold_any_character(jobs: JobRunner) -> None:
    folders = Path("a --folder b/br[1]/br{a,b}/st*r/q?m/100%41/uni é")
    odd = JobRunner(jobs.engine, jobs.cache_folder, jobs.home / folders)
    odd.home.mkdir(parents=True)
    assert values(odd.transform(days(1)[:1])) == [(AT, 1.5, None, None)]


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
    two_months: JobRunner,
    tmp_path: Path,
) -> None:
    """As on Glue: the script alone in a folder, the package in a zip on the path."""
    jobs = two_months
    script = Path(shutil.copy(SCRIPT, tmp_path))
    with zipfile.ZipFile(tmp_path / "glue_jobs.zip", "w") as package:
        for module in SCRIPT.parent.glob("*.py"):
            package.write(module, f"glue_jobs/{module.name}")

    command = [sys.executable, *(["-c", ON_SAIL] if jobs.engine == "sail" else []), str(script)]
    given = {
        "JOB_NAME": "a-name-that-glue-adds",
        "job_spec": str(jobs.home / "output.jsonl"),
        **arguments(HISTORICAL, jobs.home / "script"),
    }
    argv = [text for name, value in given.items() for text in (f"--{name}", value)]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SPARK_")},
        "PYTHONPATH": str(tmp_path / "glue_jobs.zip"),
        "JAVA_HOME": str(find_java().home),
        "JDK_JAVA_OPTIONS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        "PYSPARK_PYTHON": sys.executable,
        # Two hundred by default, each a task.
        "PYSPARK_SUBMIT_ARGS": "--conf spark.sql.shuffle.partitions=2 pyspark-shell",
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
    assert jobs.rows("prices", "script") == jobs.rows("prices") != []
