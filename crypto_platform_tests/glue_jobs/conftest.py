from collections.abc import Callable
from pathlib import Path

import pytest

from crypto_platform.transformation.spark_engines import Engine
from crypto_platform_tests.glue_jobs.jobs import JobRunner


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
