from collections.abc import Callable, Mapping
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from crypto_platform.core.streams import Stream
from crypto_platform.transformation.spark_engines import Engine
from crypto_platform_tests.glue_jobs.examples import EXAMPLES
from crypto_platform_tests.glue_jobs.jobs import RECORDED, JobRunner, Made, recorded_records


@pytest.fixture(scope="session")
def cache_folder(request: pytest.FixtureRequest) -> str:
    """Kept between test runs, as the class-data archive is."""
    return str(request.config.cache.mkdir("spark"))


@pytest.fixture(scope="session", params=["sail", pytest.param("spark", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


@pytest.fixture(scope="session")
def new_jobs(
    engine: Engine,
    cache_folder: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[], JobRunner]:
    """Makes lakes, each with jobs to run on it: one for each example of a hypothesis test."""
    return lambda: JobRunner(engine, cache_folder, tmp_path_factory.mktemp("lake"))


@pytest.fixture
def jobs(engine: Engine, cache_folder: str, tmp_path: Path) -> JobRunner:
    return JobRunner(engine, cache_folder, tmp_path)


@pytest.fixture(scope="module")
def made_of_all(
    request: pytest.FixtureRequest, engine: Engine, new_jobs: Callable[[], JobRunner]
) -> Mapping[str, Made]:
    """What the engine makes of the module's examples, by their tests: one job a stream a source."""
    tests: list[Any] = [
        item
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.module is request.module
        and item.function in EXAMPLES
        and item.callspec.params["engine"] == engine
    ]

    def kind(test: Any) -> tuple[str, str]:
        return EXAMPLES[test.function].stream.name, EXAMPLES[test.function].source

    made: dict[str, Made] = {}
    for _, group in groupby(sorted(tests, key=kind), kind):
        together = [*group]
        examples = [EXAMPLES[test.function] for test in together]
        records = [
            one.of(test.callspec.params) for one, test in zip(examples, together, strict=True)
        ]
        each = new_jobs().run_apart(records, examples[0].stream, examples[0].source)
        made |= zip((test.nodeid for test in together), each, strict=True)
    return made


@pytest.fixture
def made(request: pytest.FixtureRequest, made_of_all: Mapping[str, Made]) -> Made:
    """What the engine makes of the records that stand at the test, see ``examples``."""
    return made_of_all[request.node.nodeid]


@pytest.fixture(scope="session")
def recorded_jobs(
    cache_folder: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Engine, Stream], JobRunner]:
    """Lakes of the recorded series of a stream, transformed by an engine, once for all tests."""

    @cache
    def transformed(engine: Engine, stream: Stream) -> JobRunner:
        jobs = JobRunner(engine, cache_folder, tmp_path_factory.mktemp("recorded"))
        jobs.run(jobs.write_raw(recorded_records(RECORDED, stream), stream), stream)
        return jobs

    return transformed
