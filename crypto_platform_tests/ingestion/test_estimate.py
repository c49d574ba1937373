import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.cli.main import main
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream, Window
from crypto_platform.ingestion.estimate import GLUE_DPUS, GLUE_MIN_SECONDS, estimate, windows_of
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform_tests.conftest import Platform
from crypto_platform_tests.test_end_to_end import newest_keys
from lambda_function.plans import PLANS

BuildPlatform = Callable[[str, Mapping[str, str]], Platform]

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def fewest_calls_a_coin(stream: Stream, windows: list[Window], now: datetime) -> int:
    """The fewest calls with which the API's rules allow to have windows, by trying them all.

    Nothing of the planner: a daily response may be of any length above 90 days, so that one has
    every window; an hourly one is of at most 90 days; and a 5-minute one ends now and is of less
    than a day, so that one has all that is as recent as that, and no other one has it so finely.
    """
    if stream.granularity == "daily":
        return 1 if windows else 0
    recent = [window for window in windows if window.start >= now - DAY + timedelta(minutes=15)]
    older = [window for window in windows if window not in recent]
    for calls in range(len(older) + 1):
        for starts in combinations([window.start for window in older], calls):
            if all(
                any(start <= window.start and window.end <= start + 90 * DAY for start in starts)
                for window in older
            ):
                return calls + bool(recent)
    raise AssertionError


@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY])
@given(data=st.data())
def test_the_calls_are_the_fewest_that_the_api_allows(stream: Stream, data: st.DataObject) -> None:
    newest = INTRA_DAY.window("2026-11-24-06:00") if stream is INTRA_DAY else None
    newest = newest or HISTORICAL.window("2026-11-23")
    ages = data.draw(st.sets(st.integers(0, 1600), min_size=1, max_size=7))
    windows = [
        Window(
            start=newest.start - age * stream.window_length,
            end=newest.end - age * stream.window_length,
        )
        for age in sorted(ages)
    ]

    estimated = estimate(stream, windows, 7, PLANS["analyst"], NOW)

    snapshot = stream.takes_snapshot(windows[0], NOW)
    assert estimated.one_run.api_calls == 7 * fewest_calls_a_coin(stream, windows, NOW) + snapshot


@pytest.mark.integration
@pytest.mark.parametrize(
    ("stream", "first", "last"),
    [
        pytest.param(HISTORICAL, -1, -1, id="a day"),
        pytest.param(HISTORICAL, -380, -1, id="days, more than a year of them"),
        pytest.param(INTRA_DAY, -400, -2, id="six-hourly windows, old ones and recent ones"),
        pytest.param(INTRA_DAY, -200, -180, id="old six-hourly windows"),
        pytest.param(INTRA_DAY, -1, -1, id="the newest six-hourly window"),
    ],
)
def test_a_run_makes_as_many_calls_as_were_estimated(
    stream: Stream, first: int, last: int, market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(
        market.base_url,
        {"TRACKED_COINS": "bitcoin,ethereum,tether", "INTRA_DAY_START": "2025-11-01"},
    )
    keys = newest_keys(stream, 400 * 4)

    result = platform.materialize(stream, keys[first], keys[last], stages=("raw_prices",))

    (told, *_) = result.asset_materializations_for_node(f"{stream.name}__raw_prices")
    expected = told.metadata["run_estimate"].value
    assert expected["api_calls"] == told.metadata["run_api_calls"].value == market.calls().total
    assert expected["api_credits"] == told.metadata["run_api_credits"].value
    assert expected["api_calls_one_run_a_partition"] >= expected["api_calls"]


def test_ten_years_in_one_run_take_a_call_a_coin_and_one_run_a_day_takes_a_call_more_each_day() -> (
    None
):
    windows = windows_of(HISTORICAL, "2015-01-01...2024-12-31", NOW)

    estimated = estimate(HISTORICAL, windows, 25, PLANS["analyst"], NOW)

    assert (estimated.windows, estimated.points) == (3653, 3653 * 25)
    assert (estimated.one_run.runs, estimated.one_run.api_calls) == (1, 25)
    assert (estimated.run_a_window.runs, estimated.run_a_window.api_calls) == (3653, 3653 * 25)
    # Of a job run Glue bills a minute at least, however little it has to do.
    least = GLUE_DPUS * GLUE_MIN_SECONDS / 3600
    assert estimated.run_a_window.glue_dpu_hours == pytest.approx(3653 * least)
    assert estimated.one_run.glue_dpu_hours < 10 * least


def test_calls_wait_for_the_plans_minutes() -> None:
    windows = windows_of(HISTORICAL, "2026-11-20", NOW)

    minutes = [
        estimate(HISTORICAL, windows, coins, PLANS["keyless"], NOW).one_run.api_minutes
        for coins in (6, 7, 25)
    ]

    assert minutes == pytest.approx([0, 61 / 60, 4 * 61 / 60])


def test_windows_before_the_plans_history_are_not_asked_for_and_said() -> None:
    windows = windows_of(HISTORICAL, "2024-01-01...2024-12-31", NOW)

    estimated = estimate(HISTORICAL, windows, 25, PLANS["demo"], NOW)

    assert (estimated.out_of_plan, estimated.points, estimated.one_run.api_calls) == (366, 0, 0)
    assert "366 of the windows begin before the history" in estimated.remarks()[0]


def test_a_snapshot_of_coins_with_long_ids_takes_more_calls() -> None:
    ids = [f"{'wrapped-staked-' * 4}{number}" for number in range(250)]
    newest = INTRA_DAY.window_at(NOW - timedelta(hours=6))
    short, long = (
        estimate(INTRA_DAY, [newest], 250, PLANS["pro"], newest.end, tracked=tracked)
        for tracked in ((), ids)
    )
    assert long.one_run.api_calls - short.one_run.api_calls == 4


def test_more_than_the_months_credits_is_said() -> None:
    windows = windows_of(INTRA_DAY, "2026-01-01-00:00...2026-11-20-18:00", NOW)

    estimated = estimate(INTRA_DAY, windows, 5_000, PLANS["demo"], NOW)

    assert any("10,000 credits a month" in remark for remark in estimated.remarks())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yesterday", "neither a partition of historical nor a range"),
        ("2026-11-24", "not closed yet"),
        ("2026-11-02...2026-11-01", "ends before it begins"),
    ],
)
def test_a_range_that_names_no_windows_says_what_does(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        windows_of(HISTORICAL, text, NOW)


def test_a_range_is_each_of_its_partitions_and_a_partition_is_one() -> None:
    windows = windows_of(INTRA_DAY, "2026-11-19-18:00...2026-11-20-06:00", NOW)

    assert [INTRA_DAY.partition_key(window) for window in windows] == [
        "2026-11-19-18:00",
        "2026-11-20-00:00",
        "2026-11-20-06:00",
    ]
    assert windows_of(HISTORICAL, "2026-11-20", NOW) == [HISTORICAL.window("2026-11-20")]


def test_the_command_prints_what_a_program_reads_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINGECKO_PLAN", "analyst")
    command = ["estimate", "historical", "2015-01-01...2025-12-31", "--coins", "10"]

    printed = CliRunner().invoke(main, command)
    told = json.loads(CliRunner().invoke(main, [*command, "--json"]).output)

    assert printed.exit_code == 0
    assert "4,018 historical partitions, 10 coins, plan analyst" in printed.output
    assert "Snowflake" not in printed.output
    assert "dollar" not in printed.output
    assert (told["one_run"]["api_calls"], told["run_a_window"]["api_calls"]) == (10, 40_180)


def test_only_a_range_that_runs_in_the_cloud_takes_something_of_the_cloud(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CRYPTO_PROFILE", "aws")

    printed = CliRunner().invoke(main, ["estimate", "historical", "2026-01-01", "--coins", "1"])

    assert "1 historical partition, 1 coin, plan keyless" in printed.output
    assert "Snowflake credits, about" in printed.output
    assert "< 0.1 MB" in printed.output
    assert " 0.0 " not in printed.output


def test_the_command_refuses_what_it_does_not_know() -> None:
    for arguments in (["weekly", "2026-01-01"], ["historical", "soon"]):
        refused = CliRunner().invoke(main, ["estimate", *arguments])
        assert refused.exit_code != 0
        assert arguments[1] in refused.output or "weekly" in refused.output
