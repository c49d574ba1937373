"""A load beside another run that knows nothing of it, on each engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, WindowBatch
from crypto_platform.lake.layers import Lake
from crypto_platform.lake.manifests import Manifest
from crypto_platform.stages.load import load_windows
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform_tests.transformed_lake import TransformedLake, absence, price

DAY = "2026-11-22"
BATCH = WindowBatch(HISTORICAL, [HISTORICAL.window(DAY)])
SETTINGS = Settings.from_environment({})
STATUSES = "SELECT coin_id, status FROM ingestion_ledger ORDER BY coin_id"


@pytest.fixture
def both(tmp_path: Path, lake: TransformedLake) -> Lake:
    return Lake(raw_root=str(tmp_path / "raw"), transformed_root=lake.root)


def of_one_coin(lake: TransformedLake) -> Manifest:
    return lake.day(DAY, price("bitcoin", DAY), absent=(absence("ethereum"),))


def of_both_coins(lake: TransformedLake) -> Manifest:
    return lake.day(DAY, price("bitcoin", DAY), price("ethereum", DAY))


def before_each_first(
    monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse, act: Callable[[], object]
) -> None:
    """Have something happen between what the first load reads of the lake, and its transaction."""
    load = type(warehouse).load
    once = [act]

    def later(*arguments: Any, **options: Any) -> Any:
        if once:
            once.pop()()
        return load(*arguments, **options)

    monkeypatch.setattr(type(warehouse), "load", later)


def standing(warehouse: Warehouse) -> tuple[set[str], list[tuple[str, str]]]:
    prices = warehouse.query("SELECT coin_id FROM historical_prices")
    ledger = warehouse.query(STATUSES)
    return {row["coin_id"] for row in prices}, [(row["coin_id"], row["status"]) for row in ledger]


WHOLE = ({"bitcoin", "ethereum"}, [("bitcoin", "present"), ("ethereum", "present")])


def test_a_load_that_was_overtaken_by_a_whole_run_takes_nothing_of_it_away(
    monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse, lake: TransformedLake, both: Lake
) -> None:
    both.transformed.commit(HISTORICAL, [of_one_coin(lake)])

    def other_run() -> None:
        both.transformed.commit(HISTORICAL, [of_both_coins(lake)])
        load_windows(BATCH, both, warehouse, SETTINGS)

    before_each_first(monkeypatch, warehouse, other_run)

    loaded = load_windows(BATCH, both, warehouse, SETTINGS)

    assert standing(warehouse) == WHOLE
    assert loaded.result is not None
    assert loaded.result.coins == len(WHOLE[0])


def test_a_load_of_which_the_windows_were_made_anew_loads_the_newer_ones(
    monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse, lake: TransformedLake, both: Lake
) -> None:
    both.transformed.commit(HISTORICAL, [of_one_coin(lake)])
    before_each_first(
        monkeypatch,
        warehouse,
        lambda: both.transformed.commit(HISTORICAL, [of_both_coins(lake)]),
    )

    load_windows(BATCH, both, warehouse, SETTINGS)

    assert standing(warehouse) == WHOLE
