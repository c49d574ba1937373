"""The Fear & Greed index, from its answer to the models, and where it cannot be had."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from crypto_platform.core.errors import MixedSourcesError, PermanentFailure
from crypto_platform.core.streams import HISTORICAL
from crypto_platform.models.build import make_models
from crypto_platform.models.fear_and_greed import (
    LOADED,
    FearAndGreed,
    FearAndGreedDay,
    keep_fear_and_greed,
)
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform_tests.conftest import STAGES, Platform
from crypto_platform_tests.replay import RECORDED, needs_recorded, replay

BuildPlatform = Callable[[str, Mapping[str, str]], Platform]

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
ASKED_AT = datetime(2026, 11, 24, 0, 5, tzinfo=UTC)


def entry(day: str, value: Any = "20", **others: Any) -> dict[str, Any]:
    stamp = int(datetime.fromisoformat(f"{day}+00:00").timestamp())
    return {
        "value": value,
        "value_classification": "Extreme Fear",
        "timestamp": str(stamp),
        **others,
    }


def parsed(*entries: Any) -> FearAndGreed:
    return FearAndGreed.parse({"data": list(entries)})


def test_strings_and_seconds_newest_first_become_numbers_and_days_oldest_first() -> None:
    index = parsed(entry("2025-11-25", "20", time_until_update="43777"), entry("2025-11-24", "19"))

    assert index.days == (
        FearAndGreedDay(date(2025, 11, 24), 19, "Extreme Fear"),
        FearAndGreedDay(date(2025, 11, 25), 20, "Extreme Fear"),
    )
    assert index.invalid == ()


def test_a_day_that_comes_twice_has_the_newer_value() -> None:
    index = parsed(entry("2025-11-25", "20"), entry("2025-11-25T11:00", "99"))

    assert [one.value for one in index.days] == [20]


@pytest.mark.parametrize(
    "odd",
    [
        entry("2025-11-25", "101"),
        entry("2025-11-25", "-1"),
        entry("2025-11-25", "20.5"),
        entry("2025-11-25", None),
        entry("2025-11-25", timestamp="25-11-2025"),
        entry("2025-11-25", timestamp=None),
        {},
        "20",
        None,
    ],
)
def test_an_entry_that_cannot_be_a_day_is_left_out_and_told(odd: Any) -> None:
    index = parsed(odd, entry("2025-11-24"))

    assert [one.day for one in index.days] == [date(2025, 11, 24)]
    assert index.invalid == (odd,)


@needs_recorded
def test_the_recorded_index_is_read_to_the_day() -> None:
    (recording,) = (RECORDED / "fng").glob("fng_full_*.json")
    body = json.loads(recording.read_text())

    index = FearAndGreed.parse(body)

    days = {one.day: one for one in index.days}
    assert (len(index.days), index.invalid) == (len(body["data"]), ())
    assert index.days[0] == FearAndGreedDay(date(2018, 2, 1), 30, "Fear")
    assert index.days[-1].value == 20
    whole = {date(2018, 2, 1) + timedelta(days=n) for n in range((max(days) - min(days)).days + 1)}
    assert {*map(str, whole - days.keys())} == {
        "2018-04-14",
        "2018-04-15",
        "2018-04-16",
        "2024-10-26",
    }


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(path=str(tmp_path / "crypto_db.duckdb"))


def test_real_values_and_simulated_ones_do_not_stand_in_one_warehouse(
    warehouse: DuckDBWarehouse,
) -> None:
    day = FearAndGreedDay(date(2026, 11, 23), 20, "Fear")
    keep_fear_and_greed(warehouse, [day], ASKED_AT, "simulated")

    with pytest.raises(MixedSourcesError, match=r"alternative\.me"):
        keep_fear_and_greed(warehouse, [day], ASKED_AT, "alternative.me")
    assert warehouse.query("SELECT source FROM fear_and_greed") == [{"source": "simulated"}]


def run_job(
    platform: Platform, job: str, instance: dg.DagsterInstance | None = None, **options: Any
) -> dg.ExecuteInProcessResult:
    return platform.definitions.resolve_job_def(job).execute_in_process(
        run_config=QUIET, raise_on_error=False, instance=instance, **options
    )


def test_the_index_of_a_simulated_market_comes_to_the_lake_the_warehouse_and_the_models(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcoin"})
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"

    asked = run_job(platform, "sentiment")
    run_job(platform, "historical", partition_key=yesterday)
    run_job(platform, "models_and_report")

    assert asked.success
    assert all(check.passed for check in asked.get_asset_check_evaluations())
    (kept,) = (platform.home / "raw" / "fear_and_greed").rglob("*.gz")
    assert kept.parent.name == f"asked={datetime.now(UTC):%Y-%m-%d}"
    (day,) = platform.query(
        "SELECT index.source, index.value, models.fear_and_greed FROM market_sentiment AS models "
        f"JOIN fear_and_greed AS index ON index.day = models.day WHERE models.day = '{yesterday}'"
    )
    assert day["source"] == "simulated"
    assert day["value"] == day["fear_and_greed"]


BY_SCHEDULE = {"dagster/schedule_name": "sentiment_schedule"}


def test_the_schedule_wakes_the_warehouse_only_for_an_index_that_changed(
    market: SimulatedMarket, build_platform: BuildPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcoin"})
    loaded = run_job(platform, "sentiment", tags=BY_SCHEDULE)

    def woken(warehouse: DuckDBWarehouse, **asked: Any) -> Any:
        raise PermanentFailure(f"{warehouse} was woken: {asked}.")

    with monkeypatch.context() as asleep:
        asleep.setattr(DuckDBWarehouse, "session", woken)
        unchanged = run_job(platform, "sentiment", tags=BY_SCHEDULE)
        by_a_person = run_job(platform, "sentiment")
    platform.lake.raw.put(LOADED, b'{"checksum":"another","rows":1,"at":"2026-11-28T00:00:00Z"}')
    changed = run_job(platform, "sentiment", tags=BY_SCHEDULE)

    assert [run.success for run in (loaded, unchanged, by_a_person, changed)] == [
        *(True, True, False, True)
    ]
    checks = unchanged.get_asset_check_evaluations()
    assert len(checks) == 3
    assert all(check.passed for check in checks)


def test_where_the_index_cannot_be_had_prices_and_models_go_on_without(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcoin"})
    market.inject("wrong_key", path="/fng/")
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"

    asked = run_job(platform, "sentiment")
    prices = run_job(platform, "historical", partition_key=yesterday)
    models = run_job(platform, "models_and_report")

    assert not asked.success
    assert prices.success
    assert models.success
    (day,) = platform.query("SELECT fear_and_greed, bitcoin_dominance FROM market_sentiment")
    assert day["fear_and_greed"] is None


@needs_recorded
def test_a_real_index_is_refused_beside_simulated_prices_and_leaves_nothing(
    market: SimulatedMarket, build_platform: BuildPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcoin"})
    platform.materialize(HISTORICAL, "2026-11-01", stages=["tracked_coins"])

    with replay({}) as real:
        monkeypatch.setenv("FEAR_AND_GREED_BASE_URL", real.base_url)
        refused = run_job(platform, "sentiment")

    (step,) = refused.filter_events(lambda event: event.is_step_failure)
    assert "FEAR_AND_GREED_BASE_URL is alternative.me" in str(step.step_failure_data.error)
    assert not list((platform.home / "raw" / "fear_and_greed").rglob("*.gz"))
    assert platform.query("SELECT * FROM fear_and_greed") == []


def test_the_run_of_the_prices_makes_no_model_and_the_models_have_a_run_of_their_own(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcoin,tether"})
    yesterday = datetime.now(UTC) - timedelta(days=1)

    prices = run_job(platform, "intra_day", partition_key=f"{yesterday:%Y-%m-%d}-12:00")
    result = run_job(platform, "models_and_report")

    loaded = {event.asset_key.path[-1] for event in prices.get_asset_materialization_events()}
    assert loaded == {"tracked_coins", *STAGES}
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    models = {"daily_prices", "price_moves", "trading_volumes", "market_sentiment"}
    assert made == {*models, "market_report"}
    lineage = result.asset_materializations_for_node("models")[1].metadata["dagster/column_lineage"]
    assert isinstance(lineage.value, dg.TableColumnLineage)
    snapshots = dg.AssetKey(["intra_day", "snowflake_prices"])
    assert dg.TableColumnDep(snapshots, "ath") in lineage.value.deps_by_column["ath_distance"]
    assert all(check.passed for check in result.get_asset_check_evaluations())
    rows = platform.query("SELECT coin_id, granularity FROM daily_prices ORDER BY coin_id")
    assert [row["coin_id"] for row in rows] == ["bitcoin", "tether"]
    assert make_models(platform.warehouse).first_day is None


def requested(
    platform: Platform, instance: dg.DagsterInstance, cursor: Any = None
) -> tuple[set[str], Any]:
    """What the models' automation asks for now, and where it goes on from."""
    graph = platform.definitions.resolve_asset_graph()
    result = dg.evaluate_automation_conditions(
        platform.definitions,
        instance,
        asset_selection=dg.AssetSelection.groups("models"),
        cursor=cursor,
    )
    keys = (key for key in graph.get_all_asset_keys() if result.get_num_requested(key))
    return {key.to_user_string() for key in keys}, result.cursor


def test_each_load_is_followed_once_whoever_launched_it(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcoin"})
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    with dg.DagsterInstance.ephemeral() as instance:
        at_first, cursor = requested(platform, instance)
        run_job(platform, "historical", instance, partition_key=yesterday)
        after_the_job, cursor = requested(platform, instance, cursor)
        run_job(platform, "models_and_report", instance)
        after_the_models, cursor = requested(platform, instance, cursor)
        platform.materialize(HISTORICAL, yesterday, stages=STAGES, instance=instance)
        after_the_ui, cursor = requested(platform, instance, cursor)
        once_more, cursor = requested(platform, instance, cursor)

    assert (at_first, after_the_models, once_more) == (set(), set(), set())
    assert after_the_job == after_the_ui
    assert after_the_ui >= {"daily_prices"}
