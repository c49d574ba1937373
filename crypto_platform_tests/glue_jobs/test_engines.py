"""Sail and Apache Spark against each other."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from struct import unpack
from typing import Any

import pytest

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.transformation.spark_engines import Engine
from crypto_platform_tests.glue_jobs.jobs import (
    RECORDED,
    START,
    JobRunner,
    Record,
    Row,
    bits,
    milliseconds,
    record,
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
            [start + random.randrange(-100_000, 21_800_000, 100_000), value()]
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


@pytest.mark.recorded
@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"There are no recorded responses in {RECORDED}.")
@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY], ids=lambda stream: stream.name)
def test_both_engines_write_the_same_values_of_recorded_data(
    stream: Stream, recorded_jobs: Callable[[Engine, Stream], JobRunner]
) -> None:
    compare(*(recorded_jobs(engine, stream) for engine in ENGINES))


@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY], ids=lambda stream: stream.name)
def test_both_engines_write_the_same_values_of_generated_data(
    stream: Stream, tmp_path: Path, cache_folder: str
) -> None:
    sail, spark = (JobRunner(engine, cache_folder, tmp_path / engine) for engine in ENGINES)
    for runner in (sail, spark):
        runner.run(runner.write_raw(generated_records(stream), stream), stream)
    compare(sail, spark)


def compare(sail: JobRunner, spark: JobRunner) -> None:
    assert sail.rows("prices")
    for dataset in ("prices", "rejected"):
        assert to_the_bit(sail.rows(dataset)) == to_the_bit(spark.rows(dataset))
        assert folders(sail, dataset) == folders(spark, dataset)


def to_the_bit(rows: list[Row]) -> list[Row]:
    return [{name: bits(value) for name, value in row.items()} for row in rows]


def folders(runner: JobRunner, dataset: str) -> list[Path]:
    return [file.parent.relative_to(runner.home) for file in runner.files(dataset)]
