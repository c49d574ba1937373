from collections.abc import Callable
from pathlib import Path

import pytest

from crypto_platform.resources.duckdb_warehouse import DuckDBWarehouse
from crypto_platform.resources.warehouse import Warehouse
from crypto_platform_tests.resources.transformed_lake import TransformedLake


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
