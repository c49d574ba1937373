"""Sail and Apache Spark against each other."""

from pathlib import Path
from random import Random
from struct import unpack
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from crypto_platform.resources.transform import Engine
from crypto_platform.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform_tests.glue_jobs.jobs import (
    RECORDED,
    START,
    JobRunner,
    Record,
    milliseconds,
    record,
    recorded_records,
    use_engine,
)

pytestmark = [pytest.mark.integration, pytest.mark.spark]

ENGINES: tuple[Engine, ...] = ("sail", "spark")


def generated_records(stream: Stream) -> list[Record]:
    """Records whose values are any bits that make a number, some null, some stamps amiss."""
    random = Random(0)  # noqa: S311 - test data

    def value() -> float | None:
        [number] = unpack("<d", random.randbytes(8))
        return number if abs(number) < float("inf") and random.random() < 0.9 else None

    def points(start: int) -> list[list[Any]]:
        return [
            [start + random.randrange(-1000, 21_600_000, 500), value()]
            for _ in range(random.randrange(80))
        ]

    return [
        record(
            *(points(milliseconds(start)) for _ in range(3)),
            coin=f"coin-{coin}",
            start=start,
            stream=stream,
        )
        for coin in range(20)
        for start in (START + number * stream.window_length for number in range(3))
    ]


def tables(runner: JobRunner) -> dict[str, pa.Table]:
    """All a run wrote, with the columns as they stand in the files, in an order of its own."""
    return {
        name: ds.dataset(runner.files(name), format="parquet")
        .to_table()
        .sort_by([(key, "ascending") for key in ("coin_id", "window_start", "price_at", "price")])
        for name in ("prices", "rejected")
        if runner.files(name)
    }


@pytest.mark.recorded
@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"There are no recorded responses in {RECORDED}.")
@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY], ids=lambda stream: stream.name)
def test_both_engines_write_the_same_values_of_recorded_data(
    stream: Stream, tmp_path: Path, cache_folder: str
) -> None:
    compare(recorded_records(RECORDED, stream), stream, tmp_path, cache_folder)


@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY], ids=lambda stream: stream.name)
def test_both_engines_write_the_same_values_of_generated_data(
    stream: Stream, tmp_path: Path, cache_folder: str
) -> None:
    compare(generated_records(stream), stream, tmp_path, cache_folder)


def compare(records: list[Record], stream: Stream, folder: Path, cache_folder: str) -> None:
    runners = [JobRunner(engine, cache_folder, folder / engine) for engine in ENGINES]
    for runner in runners:
        with use_engine(runner.engine, cache_folder):
            runner.run(runner.write_raw(records), stream)
    sail, spark = (tables(runner) for runner in runners)
    assert sail["prices"].num_rows > 0
    assert folders(runners[0]) == folders(runners[1])
    assert {name: exact(table) for name, table in sail.items()} == {
        name: exact(table) for name, table in spark.items()
    }


def folders(runner: JobRunner) -> list[str]:
    return [
        file.parent.relative_to(runner.home).as_posix()
        for name in ("prices", "rejected")
        for file in runner.files(name)
    ]


def exact(table: pa.Table) -> dict[str, list[Any]]:
    """Columns by name, with floats as their bits."""
    bits = {
        field.name: pa.compute.cast(table[field.name], pa.float64()).to_pylist()
        if field.type == pa.float64()
        else table[field.name].to_pylist()
        for field in table.schema
    }
    return {
        name: [value.hex() if isinstance(value, float) else value for value in values]
        for name, values in bits.items()
    }
