"""A month's manifest is damaged: it is named, set aside, and made again by the next run."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dagster as dg
import pytest

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.lake.layers import MANIFEST_NAME, SET_ASIDE, Layer
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform_tests.conftest import STAGES, Platform
from crypto_platform_tests.truth import (
    Truth,
    assert_complete_and_true,
    days_ago,
    odd_market,
    six_hours_of,
)

pytestmark = pytest.mark.integration

COINS = ("bitcoin", "ethereum", "tether")
DAYS = days_ago(6, 3)
HISTORY = Truth(HISTORICAL, DAYS, COINS)
SIX_HOURS = Truth(INTRA_DAY, six_hours_of(DAYS[:1]), COINS)
STREAMS = pytest.mark.parametrize(
    "truth", [HISTORY, SIX_HOURS], ids=lambda truth: truth.stream.name
)


@pytest.fixture(scope="module")
def market() -> Iterator[SimulatedMarket]:
    with odd_market() as simulated:
        yield simulated


@pytest.fixture
def platform(
    market: SimulatedMarket, build_platform: Callable[[str, Mapping[str, str]], Platform]
) -> Platform:
    return build_platform(market.base_url, {"TRACKED_COINS": ",".join(COINS)})


def run(platform: Platform, truth: Truth, *stages: str) -> None:
    platform.materialize(truth.stream, truth.keys[0], truth.keys[-1], stages=stages or STAGES)


def damage(layer: Layer, stream: Stream) -> list[str]:
    """Cut the manifests of a stream in half; gives their addresses."""
    paths = [f"{folder}/{MANIFEST_NAME}" for folder in layer.folders(stream)]
    for path in paths:
        content = layer.read(path)
        assert content
        layer.put(path, content[: len(content) // 2])
    return [layer.uri(path) for path in paths]


def set_aside(layer: Layer, stream: Stream) -> list[str]:
    return [path for path in layer.paths(stream.folder) if SET_ASIDE in path]


@STREAMS
def test_a_run_of_one_window_makes_the_raw_month_again_from_its_files(
    truth: Truth, platform: Platform
) -> None:
    run(platform, truth)
    layer = platform.lake.raw
    windows = [truth.stream.window(key) for key in truth.keys]
    before = layer.manifests(truth.stream, windows)
    damaged = damage(layer, truth.stream)
    broken = [Path(path).read_bytes() for path in damaged]

    platform.materialize(truth.stream, truth.keys[0])
    run(platform, truth)

    after = layer.manifests(truth.stream, windows)
    assert [one.present for one in after] == [one.present for one in before]
    assert all(set(one.files) >= set(old.files) for one, old in zip(after, before, strict=True))
    assert [(Path(layer.root) / one).read_bytes() for one in set_aside(layer, truth.stream)] == (
        broken
    )
    assert_complete_and_true(platform, truth)


@STREAMS
def test_a_run_of_one_window_makes_the_transformed_month_again_from_raw(
    truth: Truth, platform: Platform
) -> None:
    run(platform, truth)
    layer = platform.lake.transformed
    damage(layer, truth.stream)

    for folder in layer.folders(truth.stream):
        month = folder.partition("month=")[2]
        key = next(key for key in truth.keys if key.startswith(month))
        platform.materialize(truth.stream, key, stages=["transformed_prices"])
    run(platform, truth, "snowflake_prices")

    assert set_aside(layer, truth.stream)
    assert_complete_and_true(platform, truth)


@STREAMS
def test_both_manifests_of_a_month_are_made_again_by_one_run(
    truth: Truth, platform: Platform
) -> None:
    run(platform, truth)
    for layer in (platform.lake.raw, platform.lake.transformed):
        damage(layer, truth.stream)

    run(platform, truth)

    assert_complete_and_true(platform, truth)


def test_a_stage_that_cannot_make_it_again_names_the_file_and_what_to_do(
    platform: Platform,
) -> None:
    run(platform, HISTORY)
    damaged = damage(platform.lake.transformed, HISTORICAL)

    with pytest.raises(dg.Failure) as told:
        run(platform, HISTORY, "snowflake_prices")

    said = str(told.value.description)
    assert damaged[0] in said
    assert "historical in the transformed lake" in said
    assert "Materialize historical/transformed_prices" in said


def test_a_transformed_month_is_made_again_without_the_windows_whose_raw_files_are_damaged(
    platform: Platform,
) -> None:
    for key in DAYS:
        platform.materialize(HISTORICAL, key)
    windows = [HISTORICAL.window(key) for key in DAYS]
    first, *others = platform.lake.raw.manifests(HISTORICAL, windows)
    platform.lake.raw.put(first.files[0].path, b"damaged")
    damage(platform.lake.transformed, HISTORICAL)

    for month in sorted({key[:7] for key in DAYS[1:]}):
        key = [key for key in DAYS[1:] if key.startswith(month)][-1]
        platform.materialize(HISTORICAL, key, stages=["transformed_prices"])

    held = platform.lake.transformed.held(HISTORICAL, windows)
    assert [one is not None for one in held] == [False, *(True for _ in others)]


def test_a_coin_without_a_price_in_a_month_made_again_is_asked_for_again(
    market: SimulatedMarket, platform: Platform
) -> None:
    market.faults.clear()
    market.inject("delisted_coin", coin="ethereum")
    platform.materialize(HISTORICAL, DAYS[0])
    market.faults.clear()
    platform.materialize(HISTORICAL, DAYS[1])
    damage(platform.lake.raw, HISTORICAL)

    platform.materialize(HISTORICAL, DAYS[0], stages=["transformed_prices", "snowflake_prices"])

    told = platform.query(
        "SELECT coin_id, status, reason FROM ingestion_ledger "
        f"WHERE window_start = '{DAYS[0]}' AND status <> 'present'"
    )
    assert [(row["coin_id"], row["status"]) for row in told] == [("ethereum", "failed")]
    assert "damaged" in told[0]["reason"]
