import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import hypothesis
import pytest

from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import Stream
from crypto_platform.definitions import build_definitions
from crypto_platform.lake.layers import Lake
from crypto_platform.local.batching_sqlite import EVENTS_A_BATCH
from crypto_platform.local.instance import instance_environment
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.snowflake import SnowflakeWarehouse
from crypto_platform_tests.transformed_lake import TransformedLake

if TYPE_CHECKING:
    from crypto_platform_tests.warehouse.fakesnow_server import Wire

# moto's CloudFormation takes jsonschema with it, and that a check of IRIs, which nobody asks here:
# 38 grammars are compiled when it is imported, which takes longer than moto.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

# How long an example takes says something of the machine, and nothing of the law.
hypothesis.settings.register_profile(
    "unhurried",
    parent=hypothesis.settings(),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unhurried")

# Memory enough for all that the tests write, as Linux has it where it is not a small container.
_MEMORY_DISK = Path("/dev/shm")  # noqa: S108 - pytest makes a folder there that is the user's own
_ROOM_IN_MEMORY = 4 * 2**30

STAGES = ("raw_prices", "transformed_prices", "snowflake_prices")


def pytest_configure() -> None:
    """Keep the tests' folders in memory: each event of a run in SQLite waits for a disk.

    A test is about what is written, and about who is killed while writing; never about a machine
    that loses its power.
    """
    if _MEMORY_DISK.is_dir() and shutil.disk_usage(_MEMORY_DISK).free >= _ROOM_IN_MEMORY:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY_DISK))


@dataclass(frozen=True)
class Platform:
    """The platform of one test: its definitions over a folder and an API of its own."""

    definitions: dg.Definitions
    home: Path

    @property
    def lake(self) -> Lake:
        return Lake(
            raw_root=str(self.home / "raw"), transformed_root=str(self.home / "transformed")
        )

    @property
    def warehouse(self) -> DuckDBWarehouse:
        return DuckDBWarehouse(path=str(self.home / "crypto_db.duckdb"))

    def materialize(  # noqa: PLR0913 - as the launchpad has it
        self,
        stream: Stream,
        first: str,
        last: str | None = None,
        *,
        stages: Sequence[str] = STAGES,
        only: Sequence[str] = (),
        instance: dg.DagsterInstance | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Materialize a partition, or a range of them in one run as a backfill does.

        Args:
            stream: The stream.
            first: The partition, or the first of the range.
            last: The last of the range.
            stages: Which assets.
            only: Which coins the price API is asked for; none is all.
            instance: Where the run is kept; none is in memory, for this run alone.
        """
        asks = {f"{stream.name}__raw_prices": {"config": {"coins": list(only)}}} if only else {}
        return self.definitions.resolve_job_def(stream.name).execute_in_process(
            partition_key=None if last else first,
            tags={
                "dagster/asset_partition_range_start": first,
                "dagster/asset_partition_range_end": last,
            }
            if last
            else {},
            asset_selection=[
                dg.AssetKey(["tracked_coins"] if stage == "tracked_coins" else [stream.name, stage])
                for stage in stages
            ],
            instance=instance,
            run_config={
                "loggers": {"console": {"config": {"log_level": "ERROR"}}},
                "ops": asks,
            },
        )

    def query(self, sql: str) -> list[dict[str, Any]]:
        return self.warehouse.query(sql)


@pytest.fixture(scope="session", autouse=True)
def _migrations_read_once() -> Iterator[None]:
    """Dagster reads all of its migrations for each instance, of which it wants to know the last."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as late as Dagster does

    directories: dict[str | None, ScriptDirectory] = {}

    def read_once(config: Any) -> ScriptDirectory:
        location = config.get_alembic_option("script_location")
        return directories.setdefault(location, read(config))

    read = ScriptDirectory.from_config
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", read_once)
        yield


@pytest.fixture
def market() -> Iterator[SimulatedMarket]:
    with SimulatedMarket() as simulated:
        yield simulated


@pytest.fixture
def build_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Mapping[str, str]], Platform]:
    """Make a platform that asks a given API, with further variables set."""

    def build(base_url: str, variables: Mapping[str, str]) -> Platform:
        environment = {
            "CRYPTO_HOME": str(tmp_path / "home"),
            "COINGECKO_BASE_URL": base_url,
            "FEAR_AND_GREED_BASE_URL": base_url,
            "COINGECKO_PLAN": "pro",
            "COINGECKO_CALLS_A_MINUTE": "1000000",
            **variables,
        }
        for name, text in environment.items():
            monkeypatch.setenv(name, text)
        settings = Settings.from_environment(environment)
        return Platform(definitions=build_definitions(settings), home=settings.home)

    return build


TESTS = Path(__file__).parent

SPREAD = ("test_faults.py", "test_end_to_end.py")
"""Long files whose tests share no more than a market: they fill the end of each worker's time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests a worker gets together, of those that ``--dist loadgroup`` shares out.

    What a file's tests share is set up once, and Apache Spark is started by one worker.
    """
    for item in items:
        path = item.path.relative_to(TESTS)
        if path.name not in SPREAD:
            group = "spark" if path.parts[0] == "glue_jobs" else path.as_posix()
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Dagster as on a laptop, which takes events in batches: for runs of many partitions.

    The one in memory, which a run has otherwise, takes minutes for ten years of days.
    """
    # Otherwise the storage sets it, and for longer than the test.
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", str(EVENTS_A_BATCH))
    folder = instance_environment(tmp_path / "laptop")["DAGSTER_HOME"]
    monkeypatch.setenv("DAGSTER_HOME", folder)
    with dg.DagsterInstance.get() as instance:
        yield instance


@pytest.fixture(scope="session")
def snowflake_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[dict[str, Any], "Wire", Path]]:
    """Snowflake on loopback: how to connect, the wire to it, and a private key."""
    pytest.importorskip("fakesnow", reason="fakesnow is not installed")
    from crypto_platform_tests.warehouse.fakesnow_server import (  # noqa: PLC0415
        fakesnow_server,
        write_private_key,
    )

    private_key = tmp_path_factory.mktemp("key") / "snowflake.p8"
    write_private_key(private_key)
    with fakesnow_server() as (options, wire):
        yield options, wire, private_key


@pytest.fixture
def wire(snowflake_server: tuple[dict[str, Any], "Wire", Path]) -> "Wire":
    return snowflake_server[1]


@pytest.fixture
def build_snowflake(
    snowflake_server: tuple[dict[str, Any], "Wire", Path],
) -> Callable[..., SnowflakeWarehouse]:
    """Make a warehouse in an account of its own, over a lake's root."""
    from crypto_platform_tests.warehouse.fakesnow_server import fakesnow_warehouse  # noqa: PLC0415

    connection, wire, private_key = snowflake_server
    wire.statements.clear()
    wire.logins.clear()
    wire.rewrites.clear()

    return partial(fakesnow_warehouse, connection, private_key)


@pytest.fixture
def lake(tmp_path: Path) -> TransformedLake:
    return TransformedLake(str(tmp_path / "transformed"))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "home" / "crypto_db.duckdb")


@pytest.fixture
def duckdb_warehouse(path: str) -> DuckDBWarehouse:
    return DuckDBWarehouse(path=path)


@pytest.fixture(params=["duckdb", pytest.param("snowflake", marks=pytest.mark.integration)])
def warehouse(
    request: pytest.FixtureRequest, duckdb_warehouse: DuckDBWarehouse, lake: TransformedLake
) -> Warehouse:
    """Each engine in turn: the SQL is shared, so what it promises must hold on all of them."""
    if request.param == "duckdb":
        return duckdb_warehouse
    build: Callable[[str], Warehouse] = request.getfixturevalue("build_snowflake")
    return build(lake.root)
