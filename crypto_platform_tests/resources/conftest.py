from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crypto_platform.resources.duckdb_warehouse import DuckDBWarehouse
from crypto_platform.resources.snowflake_warehouse import SnowflakeWarehouse
from crypto_platform.resources.warehouse import Warehouse
from crypto_platform_tests.resources.transformed_lake import TransformedLake

if TYPE_CHECKING:
    from crypto_platform_tests.resources.fakesnow_server import Wire


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


@pytest.fixture(scope="session")
def snowflake_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[dict[str, Any], "Wire", Path]]:
    """Snowflake on loopback: how to connect, the wire to it, and a private key."""
    pytest.importorskip("fakesnow", reason="fakesnow is not installed")
    from crypto_platform_tests.resources.fakesnow_server import (  # noqa: PLC0415
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
    from crypto_platform_tests.resources.fakesnow_server import fakesnow_warehouse  # noqa: PLC0415

    connection, wire, private_key = snowflake_server
    wire.statements.clear()
    wire.logins.clear()

    def build(lake_root: str, **options: Any) -> SnowflakeWarehouse:
        return fakesnow_warehouse(connection, private_key, lake_root, **options)

    return build
