"""The sign of life: which loads give it, and that it never fails one."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from crypto_platform.alerts.dead_man import CloudWatchMetric, NoSignOfLife, current_windows
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream, Window
from crypto_platform.lake.manifests import Manifest
from crypto_platform.profiles import PROFILES
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform_tests.conftest import Platform
from crypto_platform_tests.test_end_to_end import newest_keys

BuildPlatform = Callable[[str, Mapping[str, str]], Platform]

NOW = datetime(2026, 11, 28, 12, 15, tzinfo=UTC)


def window(stream: Stream, end: datetime, points: int = 1) -> Manifest:
    return Manifest(
        stream=stream.name,
        window=Window(start=end - stream.window_length, end=end),
        run_id="run",
        written_at=end,
        coins=points,
        points=points,
        files=(),
    )


def test_the_newest_window_is_a_sign_of_life() -> None:
    assert current_windows(INTRA_DAY, [window(INTRA_DAY, NOW - timedelta(minutes=15))], NOW) == 1


@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY])
def test_a_backfill_of_old_windows_is_none(stream: Stream) -> None:
    old = NOW - timedelta(days=2)
    loaded = [window(stream, old - ago * stream.window_length) for ago in range(30)]

    assert current_windows(stream, loaded, NOW) == 0


def test_a_window_without_any_price_is_none() -> None:
    assert current_windows(INTRA_DAY, [window(INTRA_DAY, NOW, points=0)], NOW) == 0


def test_a_window_that_healing_brings_late_still_counts() -> None:
    late = NOW - INTRA_DAY.window_length - INTRA_DAY.late_after

    assert current_windows(INTRA_DAY, [window(INTRA_DAY, late)], NOW) == 1


def test_where_cloudwatch_is_not_reached_the_load_goes_on_with_a_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    # A port that nobody listens on.
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:9")
    monkeypatch.setattr(logging.getLogger("dagster"), "propagate", True)

    CloudWatchMetric(region="us-east-2", deployment="crypto").windows_loaded(INTRA_DAY, 1)

    assert "intra_day loaded 1 window(s), and CloudWatch was not told" in caplog.text


def test_only_the_aws_profile_has_a_metric() -> None:
    settings = Settings.from_environment({"CRYPTO_DEPLOYMENT": "crypto-staging"})

    told = PROFILES["aws"].builders["sign_of_life"](settings)

    assert told == CloudWatchMetric(region="us-east-2", deployment="crypto-staging")
    assert not isinstance(PROFILES["local"].builders["sign_of_life"](settings), CloudWatchMetric)


@pytest.mark.integration
def test_a_run_of_the_newest_window_gives_it_and_one_of_an_old_window_does_not(
    market: SimulatedMarket, build_platform: BuildPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcoin"})
    told: list[tuple[str, int]] = []

    def tell(_: object, stream: Stream, count: int) -> None:
        told.append((stream.name, count))

    monkeypatch.setattr(NoSignOfLife, "windows_loaded", tell)
    keys = newest_keys(INTRA_DAY, 20)
    platform.materialize(INTRA_DAY, keys[0])
    platform.materialize(INTRA_DAY, keys[-1])

    assert told == [("intra_day", 1)]
