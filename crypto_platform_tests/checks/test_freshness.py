"""Freshness by the data's own clock: no backfill hides a stale stream, no coin a dead one."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
)

from crypto_platform.checks.definitions import ERROR, WARN, Finding
from crypto_platform.checks.freshness import (
    due_window,
    evaluate_freshness,
    expected_coins,
    freshness_rule,
)
from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, STREAMS, Stream
from crypto_platform.definitions import build_definitions
from crypto_platform.ingestion.tracked_coins import DOCUMENT, TrackedCoin, TrackedCoins
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform_tests.conftest import Platform
from crypto_platform_tests.test_end_to_end import newest_keys

BuildPlatform = Callable[[str, Mapping[str, str]], Platform]

DUE = INTRA_DAY.window("2026-11-22-12:00")
FRESH = DUE.start
STALE = DUE.start - INTRA_DAY.window_length
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def tracked(*names: str) -> list[TrackedCoin]:
    return [TrackedCoin(coin_id=name, first_tracked_at=LONG_AGO) for name in names]


class NeverAsked(DuckDBWarehouse):
    """A warehouse that costs a minute whenever it is asked, and must sleep on."""

    def session(self, *, read_only: bool) -> Any:
        del read_only
        raise PermanentFailure("The warehouse was woken.")


def ledger(coin: str, status: str) -> dict[str, dict[str, Any]]:
    return {coin: {"coin_id": coin, "status": status, "reason": "it is gone"}}


def severities(findings: list[Finding]) -> dict[str | None, Any]:
    return {finding.coin_id: finding.severity for finding in findings}


@pytest.mark.parametrize(
    ("stream", "now", "key"),
    [
        (INTRA_DAY, datetime(2026, 11, 22, 20, 0, tzinfo=UTC), "2026-11-22-12:00"),
        (INTRA_DAY, datetime(2026, 11, 22, 19, 59, tzinfo=UTC), "2026-11-22-06:00"),
        (HISTORICAL, datetime(2026, 11, 22, 6, 0, tzinfo=UTC), "2026-11-21"),
        (HISTORICAL, datetime(2026, 11, 22, 5, 59, tzinfo=UTC), "2026-11-20"),
    ],
)
def test_a_window_is_due_once_it_has_been_closed_for_as_long_as_a_load_may_take(
    stream: Stream, now: datetime, key: str
) -> None:
    assert due_window(stream, LONG_AGO, now) == stream.window(key)


def test_nothing_is_due_before_the_first_window_has_closed() -> None:
    assert due_window(HISTORICAL, datetime(2026, 11, 22, tzinfo=UTC), DUE.end) is None


def test_a_stream_whose_coins_all_have_the_window_that_is_due_is_fresh() -> None:
    newest = {"bitcoin": FRESH, "ethereum": DUE.end}

    assert evaluate_freshness(INTRA_DAY, DUE, ["bitcoin", "ethereum"], newest, {}) == []


def test_a_stream_without_the_window_that_is_due_is_stale_with_its_newest_stamp() -> None:
    newest = {"bitcoin": STALE, "ethereum": STALE - timedelta(days=3)}

    findings = evaluate_freshness(INTRA_DAY, DUE, ["bitcoin", "ethereum"], newest, {})

    assert findings[0].fault == (
        "the stream is stale: no coin has a price of this window, "
        "the newest with a price is 2026-11-22-06:00"
    )
    assert {finding.partition for finding in findings} == {"2026-11-22-12:00"}
    assert severities(findings) == {None: ERROR, "bitcoin": ERROR, "ethereum": ERROR}
    assert "2026-11-19-06:00" in findings[2].fault


def test_one_delisted_coin_does_not_hide_behind_24_living_ones() -> None:
    names = [f"coin-{number}" for number in range(25)]
    newest = {**dict.fromkeys(names, FRESH), "coin-7": STALE}

    (finding,) = evaluate_freshness(INTRA_DAY, DUE, names, newest, {})

    assert (finding.coin_id, finding.severity) == ("coin-7", ERROR)
    assert finding.fault == (
        "the newest with a price is 2026-11-22-06:00; the window was not loaded for it"
    )


def test_a_coin_that_never_had_a_price_is_named_too() -> None:
    (finding,) = evaluate_freshness(INTRA_DAY, DUE, ["bitcoin", "ethereum"], {"bitcoin": FRESH}, {})

    assert (finding.coin_id, finding.severity) == ("ethereum", ERROR)
    assert "it has no price" in finding.fault


@pytest.mark.parametrize(
    ("status", "severity"),
    [
        ("missing_at_source", WARN),
        ("out_of_plan", WARN),
        ("quarantined", WARN),
        ("failed", ERROR),
    ],
)
def test_a_coin_that_the_source_has_nothing_of_is_dead_and_one_that_failed_is_late(
    status: str, severity: dg.AssetCheckSeverity
) -> None:
    newest = {"bitcoin": FRESH, "ethereum": STALE}

    (finding,) = evaluate_freshness(
        INTRA_DAY, DUE, ["bitcoin", "ethereum"], newest, ledger("ethereum", status)
    )

    assert (finding.coin_id, finding.severity) == ("ethereum", severity)
    assert f"the ledger says {status}: it is gone" in finding.fault


def test_a_source_that_has_nothing_of_any_coin_makes_the_stream_stale() -> None:
    findings = evaluate_freshness(
        INTRA_DAY,
        DUE,
        ["bitcoin"],
        {"bitcoin": STALE},
        ledger("bitcoin", "missing_at_source"),
    )

    assert severities(findings) == {None: ERROR, "bitcoin": WARN}


def test_a_coin_is_expected_from_the_first_window_on_that_closed_after_it_was_tracked() -> None:
    gone = TrackedCoin(coin_id="gone", first_tracked_at=LONG_AGO, tracked=False)
    newcomer = TrackedCoin(coin_id="newcomer", first_tracked_at=DUE.end)
    coins = TrackedCoins(coins=(*tracked("bitcoin"), newcomer, gone))

    assert expected_coins(coins, DUE, {"newcomer": STALE}) == ["bitcoin"]


def test_a_new_coin_whose_window_was_loaded_is_evaluated_too() -> None:
    newcomer = TrackedCoin(coin_id="newcomer", first_tracked_at=DUE.end)
    coins = TrackedCoins(coins=(newcomer,))

    assert expected_coins(coins, DUE, {"newcomer": FRESH}) == ["newcomer"]


@pytest.mark.parametrize("stream", STREAMS)
def test_the_rule_says_how_long_a_window_may_take(stream: Stream) -> None:
    hours = stream.late_after // timedelta(hours=1)

    assert f"closed at least {hours} hours ago" in freshness_rule(stream).description


def test_the_ui_shows_freshness_at_the_end_of_what_a_schedule_runs() -> None:
    graph = build_definitions(Settings.from_environment({})).resolve_asset_graph()

    policies = {
        node.key.to_user_string(): node.freshness_policy
        for node in graph.asset_nodes
        if node.freshness_policy and node.group_name in {stream.name for stream in STREAMS}
    }

    assert policies == {
        "intra_day/snowflake_prices": dg.FreshnessPolicy.time_window(
            fail_window=timedelta(hours=8), warn_window=timedelta(hours=7)
        )
    }


@pytest.fixture
def platform(market: SimulatedMarket, build_platform: BuildPlatform) -> Platform:
    built = build_platform(
        market.base_url, {"TRACKED_COINS": "bitcoin,ethereum", "HISTORY_START": "2026-01-01"}
    )
    coins = TrackedCoins(coins=tuple(tracked("bitcoin", "ethereum")))
    built.lake.raw.put(DOCUMENT, coins.model_dump_json().encode())
    return built


def switch_on(schedule: str, instance: dg.DagsterInstance) -> None:
    """What the UI does where a person switches a schedule on."""
    switch(schedule, InstigatorType.SCHEDULE, InstigatorStatus.RUNNING, instance)


def switch(
    name: str, kind: InstigatorType, status: InstigatorStatus, instance: dg.DagsterInstance
) -> None:
    """What the UI does where a person switches a schedule or a sensor."""
    location = RegisteredCodeLocationOrigin("crypto_platform")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    is_schedule = kind is InstigatorType.SCHEDULE
    data = ScheduleInstigatorData("45 0 * * *") if is_schedule else SensorInstigatorData()
    instance.add_instigator_state(InstigatorState(origin, kind, status, data))


def watch(
    platform: Platform,
    instance: dg.DagsterInstance | None = None,
    warehouse: Warehouse | None = None,
) -> dict[str, Any]:
    """What the job ``watch`` says of each stream's freshness."""
    result = platform.definitions.resolve_job_def("watch").execute_in_process(
        instance=instance,
        resources={
            "lake": platform.lake,
            "warehouse": warehouse or platform.warehouse,
        },
    )
    return {
        evaluation.asset_key.path[0]: evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.check_name == "fresh"
    }


@pytest.mark.integration
def test_a_backfill_of_an_old_window_does_not_make_a_stale_stream_look_fresh(
    platform: Platform,
) -> None:
    old = newest_keys(INTRA_DAY, 20)[0]
    platform.materialize(INTRA_DAY, old)

    result = watch(platform)["intra_day"]

    assert not result.passed
    assert result.severity is ERROR
    assert "the stream is stale" in (result.description or "")


@pytest.mark.integration
def test_an_empty_table_is_a_warning_that_says_what_to_do(platform: Platform) -> None:
    result = watch(platform)["intra_day"]

    assert (result.passed, result.severity) == (False, WARN)
    assert result.description == (
        "Judged nothing: the table has no price yet. Materialize a partition, or wait for the "
        "schedule."
    )


@pytest.mark.integration
def test_a_stream_whose_newest_windows_are_loaded_is_fresh(platform: Platform) -> None:
    keys = newest_keys(INTRA_DAY, 2)
    platform.materialize(INTRA_DAY, keys[0], keys[-1])

    assert watch(platform)["intra_day"].passed


@pytest.mark.integration
def test_a_coin_that_the_api_lost_is_named_while_the_others_are_fresh(
    platform: Platform, market: SimulatedMarket
) -> None:
    market.inject("delisted_coin", coin="ethereum")
    keys = newest_keys(INTRA_DAY, 2)
    platform.materialize(INTRA_DAY, keys[0], keys[-1])

    result = watch(platform)["intra_day"]

    assert result.metadata["coins"] == dg.JsonMetadataValue(["ethereum"])


@pytest.mark.integration
def test_the_daily_history_is_evaluated_by_what_healing_or_its_schedule_promises(
    platform: Platform,
) -> None:
    with dg.instance_for_test() as instance:
        empty = watch(platform, instance)["historical"]
        platform.materialize(HISTORICAL, newest_keys(HISTORICAL, 20)[0])
        healed = watch(platform, instance)["historical"]
        switch("healing", InstigatorType.SENSOR, InstigatorStatus.STOPPED, instance)
        off = watch(platform, instance)["historical"]
        switch_on("historical_schedule", instance)
        on = watch(platform, instance)["historical"]

    assert (empty.passed, empty.severity) == (False, WARN)
    assert empty.description == (
        "Judged nothing: the table has no price yet. Materialize a partition: healing then keeps "
        "it up to date."
    )
    assert (healed.passed, healed.severity) == (False, ERROR)
    assert (off.passed, off.severity) == (False, WARN)
    assert off.description.startswith("Judged nothing: historical_schedule and the sensor healing")
    assert (on.passed, on.severity) == (False, ERROR)


@pytest.mark.integration
def test_the_daily_history_is_fresh_without_its_schedule(platform: Platform) -> None:
    keys = newest_keys(HISTORICAL, 2)
    platform.materialize(HISTORICAL, keys[0], keys[-1])

    assert watch(platform)["historical"].passed


class Clock(datetime):
    """The time, as many hours later as was set."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + cls.ahead


@pytest.mark.integration
def test_a_day_of_watches_and_ticks_of_sensors_never_wakes_the_warehouse(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("checks.freshness", "healing.sensor", "healing.ledger"):
        monkeypatch.setattr(f"crypto_platform.{module}.datetime", Clock)
    asleep = NeverAsked(path=platform.warehouse.path)
    healing = platform.definitions.resolve_sensor_def("healing")
    cursor, read, fresh = None, 0, []
    with dg.instance_for_test() as instance:
        for stream in STREAMS:
            keys = newest_keys(stream, 2)
            platform.materialize(stream, keys[0], keys[-1], instance=instance)
        switch_on("historical_schedule", instance)
        for minutes in range(0, 24 * 60, 15):
            monkeypatch.setattr(Clock, "ahead", timedelta(minutes=minutes))
            resources = {"lake": platform.lake, "warehouse": asleep}
            with dg.build_sensor_context(
                instance=instance, cursor=cursor, resources=resources
            ) as context:
                tick = healing.evaluate_tick(context)
            read += tick.cursor != cursor
            cursor = tick.cursor
            # Each watch asks the same, so a few of them tell of all.
            if minutes % (8 * 60) == 0:
                fresh.append(watch(platform, instance, asleep)["intra_day"].passed)

    # The sensor did look: whenever a window became overdue, and at what it had asked for itself.
    assert read >= 5
    # And the watch still notices that nothing comes any more.
    assert fresh[0]
    assert not fresh[-1]
