"""The month's credits: what is told of them, and that it is told before they run out."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
)
from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.checks.quota import budget_result
from crypto_platform.cli.main import main
from crypto_platform.core.schedules import is_scheduled
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, STREAMS
from crypto_platform.ingestion.metered_api import ApiUsage, refuse_other_source, usage_of_month
from crypto_platform.ingestion.quota import (
    MonthBudget,
    Need,
    month_budget,
    scheduled_needs,
)
from crypto_platform.lake.documents import DamagedDocumentError
from crypto_platform.lake.layers import Layer
from crypto_platform.local.instance import instance_environment
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform_tests.conftest import STAGES, Platform

BuildPlatform = Callable[[str, Mapping[str, str]], Platform]

# What the UI writes when a schedule is switched has no public constructor.
REPOSITORY = RemoteRepositoryOrigin(
    GrpcServerCodeLocationOrigin("127.0.0.1", port=1, location_name="crypto_platform"),
    "__repository__",
)
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def used(asset: str, credits_: int) -> ApiUsage:
    return ApiUsage(asset=asset, run_id="run", calls=credits_, credits=credits_, at=NOW)


def budget(credits_used: int, credits_needed: int = 0, of: int | None = 100) -> MonthBudget:
    needs = [Need(NOW + timedelta(hours=6), "intra_day", credits_needed)]
    return month_budget(NOW, of, [used("intra_day/raw_prices", credits_used)], needs)


def test_use_and_need_are_told_by_stream_and_in_all() -> None:
    usage = [used("intra_day/raw_prices", 3), used("intra_day/raw_prices", 4), used("coins", 1)]
    needs = [Need(NOW, "intra_day", 5), Need(NOW, "historical", 2)]

    rows = month_budget(NOW, 100, usage, needs).rows()

    assert [tuple(row.values()) for row in rows] == [
        ("coins", 1, 0, 1),
        ("historical", 0, 2, 2),
        ("intra_day", 7, 5, 12),
        ("total", 8, 7, 15),
    ]


def test_a_schedule_needs_a_call_a_coin_a_tick_until_the_month_ends() -> None:
    needs = scheduled_needs(NOW, [HISTORICAL], coins=25, top=25)

    assert needs == [
        Need(datetime(2026, 11, 30, 0, 45, tzinfo=UTC), "historical", 25),
        Need(datetime(2026, 11, 30, 0, 45, tzinfo=UTC), "tracked_coins", 1),
    ]


def test_snapshots_and_lists_are_counted_by_their_pages() -> None:
    needs = scheduled_needs(NOW, [INTRA_DAY], coins=300, top=250)

    ticks = {need.at for need in needs}
    assert len(ticks) == 6
    assert {(need.consumer, need.credits) for need in needs} == {
        ("intra_day", 302),
        ("tracked_coins", 2),
    }


def test_coins_of_long_ids_need_the_calls_that_they_take() -> None:
    ids = [f"{'wrapped-staked-' * 4}{number}" for number in range(250)]

    needs = scheduled_needs(NOW, [INTRA_DAY], coins=250, top=0, ids=ids)

    assert {(need.consumer, need.credits) for need in needs} == {
        ("intra_day", 255),
        ("tracked_coins", 5),
    }


def test_a_month_that_is_over_needs_nothing_and_a_december_ends_with_its_year() -> None:
    last = datetime(2026, 12, 31, 23, tzinfo=UTC)

    assert scheduled_needs(last, STREAMS, coins=25, top=25) == []
    assert len(scheduled_needs(last.replace(day=1, hour=0), STREAMS, coins=1, top=1)) == 2 * (
        31 + 4 * 31
    )


def test_a_backfill_is_spent_once_and_no_rate() -> None:
    quiet, burst = (
        month_budget(NOW, 10_000, [used("historical/raw_prices", one)], []) for one in (26, 5_000)
    )

    assert (quiet.forecast, burst.forecast) == (26, 5_000)


@pytest.mark.parametrize(
    ("is_used", "is_needed", "level"),
    [
        (10, 69, "passed"),
        (10, 70, "warning"),
        (10, 90, "warning"),
        (10, 91, "error"),
        (94, 0, "warning"),
        (95, 0, "error"),
    ],
)
def test_it_warns_and_fails_before_the_credits_run_out(
    is_used: int, is_needed: int, level: str
) -> None:
    result = budget_result(budget(is_used, is_needed))

    assert budget(is_used, is_needed).level == level
    assert result.passed is (level == "passed")
    assert (result.severity is dg.AssetCheckSeverity.ERROR) is (level == "error")


def test_it_says_when_they_run_out_and_what_to_do() -> None:
    said = budget_result(budget(50, 60)).description

    assert said == (
        "50 of 100 credits are used in November 2026. With what the schedules need it is 110 by "
        "its end (110 %). They run out on 2026-11-29 at 18:00 UTC. Track fewer coins "
        "(TRACKED_COINS), put off backfills, or raise the plan (COINGECKO_PLAN)."
    )


def test_a_plan_without_a_budget_leaves_nothing_to_judge_and_the_use_is_told() -> None:
    result = budget_result(budget(1_000_000, of=None))

    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (result.description or "").startswith("Judged nothing: the plan has no monthly budget")
    assert result.metadata["used"] == dg.IntMetadataValue(1_000_000)


@given(
    of=st.integers(1, 1_000),
    is_used=st.integers(0, 1_200),
    ticks=st.lists(st.tuples(st.integers(0, 48), st.integers(1, 50)), max_size=40),
)
def test_the_first_tick_that_cannot_be_paid_is_named_just_if_the_forecast_exceeds_the_budget(
    of: int, is_used: int, ticks: list[tuple[int, int]]
) -> None:
    needs = [Need(NOW + timedelta(hours=hours), "intra_day", cost) for hours, cost in ticks]

    found = month_budget(NOW, of, [used("intra_day", is_used)], needs)

    assert (found.runs_out_at is not None) is (found.forecast > of or is_used >= of)
    if found.runs_out_at and is_used < of:
        before = sum(need.credits for need in needs if need.at < found.runs_out_at)
        assert is_used + before <= of


def test_the_schedules_that_run_are_those_that_were_switched_on_or_never_off() -> None:
    with dg.instance_for_test() as instance:
        by_default = [stream for stream in STREAMS if is_scheduled(stream, instance)]
        for stream, status in (
            (HISTORICAL, InstigatorStatus.RUNNING),
            (INTRA_DAY, InstigatorStatus.STOPPED),
        ):
            instance.add_instigator_state(
                InstigatorState(
                    RemoteInstigatorOrigin(REPOSITORY, f"{stream.name}_schedule"),
                    InstigatorType.SCHEDULE,
                    status,
                    ScheduleInstigatorData(stream.schedule_cron),
                )
            )
        switched = [stream for stream in STREAMS if is_scheduled(stream, instance)]

    assert (by_default, switched) == ([INTRA_DAY], [HISTORICAL])
    assert [stream for stream in STREAMS if is_scheduled(stream, None)] == [INTRA_DAY]


@pytest.mark.integration
def test_a_scheduled_run_uses_what_the_forecast_says_that_it_will(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "top:3,tether,dai"})
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    platform.materialize(HISTORICAL, yesterday, stages=("tracked_coins", *STAGES))
    coins = len(platform.query("SELECT coin_id FROM coins"))
    before = market.calls().credits

    platform.materialize(HISTORICAL, yesterday, stages=("tracked_coins", *STAGES))

    tick = scheduled_needs(NOW, [HISTORICAL], coins=coins, top=3)
    assert market.calls().credits - before == sum(need.credits for need in tick)


@pytest.mark.integration
def test_the_check_and_the_command_tell_what_a_run_used(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(
        market.base_url,
        {"TRACKED_COINS": "bitcoin,ethereum", "COINGECKO_MONTHLY_CREDITS": "2"},
    )
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    platform.materialize(HISTORICAL, yesterday, stages=("raw_prices",))

    job = platform.definitions.resolve_implicit_global_asset_job_def()
    key = dg.AssetCheckKey(dg.AssetKey(["tracked_coins"]), "month_budget")
    result = job.get_subset(asset_selection=set(), asset_check_selection={key}).execute_in_process()
    shown = CliRunner().invoke(main, ["budget", "--json"])
    table = CliRunner().invoke(main, ["budget"])

    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert check.metadata["used"] == dg.IntMetadataValue(2)
    assert shown.exit_code == table.exit_code == 1
    told = json.loads(shown.stdout)
    assert (told["level"], told["budget"], told["used"]) == ("error", 2, 2)
    assert {"name": "historical", "used": 2, "foreseen": 0} in told["consumers"]
    assert "2 of 2 credits are used" in table.stdout


def test_a_malformed_plan_is_told_by_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINGECKO_PLAN", "golden")

    shown = CliRunner().invoke(main, ["budget"])

    assert shown.exit_code == 1
    assert "COINGECKO_PLAN is 'golden'" in shown.output


def test_the_command_knows_the_instance_of_make_dev_in_a_shell_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / 'it\'s "home": {a}'
    instance_environment(home)
    monkeypatch.setenv("CRYPTO_HOME", str(home))
    monkeypatch.setenv("COINGECKO_PLAN", "demo")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    shown = CliRunner().invoke(main, ["budget", "--json"])

    assert shown.exit_code == 0, shown.exception
    assert json.loads(shown.stdout)["used"] == 0


def test_a_damaged_record_of_use_is_named_and_counts_for_nothing_by_itself(tmp_path: Path) -> None:
    layer = Layer(str(tmp_path), "raw", "raw_prices")
    path = "api_usage/month=2026-11/a-run.json"
    layer.put(path, b'{"asset":"hist')

    with pytest.raises(DamagedDocumentError, match=r"a-run.json is damaged.*Move the file away"):
        usage_of_month(layer, datetime(2026, 11, 28, tzinfo=UTC))


@pytest.mark.parametrize("held", [b"simu", b"coing", b"\xff\x00"])
def test_a_damaged_note_of_the_source_is_named_and_taken_for_no_other_source(
    tmp_path: Path, held: bytes
) -> None:
    layer = Layer(str(tmp_path), "raw", "raw_prices")
    layer.put("source.txt", held)

    with pytest.raises(DamagedDocumentError, match=r"source.txt is damaged.*column source"):
        refuse_other_source(layer, "simulated", "COINGECKO_BASE_URL")
