"""The list of coins where the price API refuses it, or has less than was asked for."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from crypto_platform.core.settings import TrackedCoinsSpec
from crypto_platform.core.streams import HISTORICAL, WindowBatch
from crypto_platform.ingestion.metered_api import PriceApi
from crypto_platform.ingestion.resource import LocalIngestion
from crypto_platform.ingestion.tracked_coins import (
    ensure_tracked_coins,
    load_tracked_coins,
    refresh_tracked_coins,
)
from crypto_platform.lake.layers import Layer
from crypto_platform.simulated_market import Fault, SimulatedMarket
from crypto_platform.stages.ingest import Ingested, ingest_windows
from lambda_function.plans import PLANS

pytestmark = pytest.mark.integration

MARKETS = "/coins/markets"
NOW = datetime(2026, 6, 5, 1, tzinfo=UTC)
DAYS = HISTORICAL.windows(datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 2, tzinfo=UTC))
THREE = Fault(status=200, body='[{"id":"bitcoin"},{"id":"ethereum"},{"id":"tether"}]')
NONE = Fault(status=200, body="[]")


@pytest.fixture
def api(market: SimulatedMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PriceApi:
    monkeypatch.setenv("COINGECKO_BASE_URL", market.base_url)
    monkeypatch.setenv("COINGECKO_PLAN", "pro")
    market.faults.clear()
    return PriceApi(
        ingestion=LocalIngestion(),
        layer=Layer(str(tmp_path), "raw", "raw_prices"),
        vs_currency="usd",
        plan=PLANS["pro"],
        asset="historical/raw_prices",
        run_id="r1",
    )


def ingest(api: PriceApi, spec: TrackedCoinsSpec, only: Sequence[str] = ()) -> Ingested:
    return ingest_windows(WindowBatch(HISTORICAL, DAYS), api, spec, only, NOW)


def test_a_list_that_is_refused_costs_no_price_of_the_coins_known(
    market: SimulatedMarket, api: PriceApi
) -> None:
    refresh_tracked_coins(api, TrackedCoinsSpec(top=3))
    market.inject("wants_user_agent", path=MARKETS)

    ingested = ingest(api, TrackedCoinsSpec(top=25))

    assert [manifest.coins for manifest in ingested.manifests] == [3, 3]
    (finding,) = ingested.findings
    assert "could not be brought up to date: the 3 coins known" in finding.fault
    assert "HTTP 403" in finding.fault
    assert load_tracked_coins(api.layer).resolved_top == 3


def test_named_coins_need_no_list(market: SimulatedMarket, api: PriceApi) -> None:
    market.inject("wants_user_agent", path=MARKETS)

    ingested = ingest(api, TrackedCoinsSpec(top=25, named=("bitcoin",)))

    assert [manifest.coins for manifest in ingested.manifests] == [1, 1]


def test_a_list_that_is_refused_before_any_coin_is_known_is_the_failure_itself(
    market: SimulatedMarket, api: PriceApi
) -> None:
    market.inject("wants_user_agent", path=MARKETS)

    with pytest.raises(dg.Failure) as caught:
        ingest(api, TrackedCoinsSpec(top=25))
    assert "HTTP 403" in str(caught.value.description)


def test_an_empty_list_before_any_coin_is_known_says_what_came(
    market: SimulatedMarket, api: PriceApi
) -> None:
    market.inject(NONE, path=MARKETS)

    for get in (ensure_tracked_coins, refresh_tracked_coins):
        with pytest.raises(dg.Failure) as caught:
            get(api, TrackedCoinsSpec(top=25))
        assert "asks for top:25, and the API's list of the market came with 0 coins" in str(
            caught.value.description
        )


@pytest.mark.parametrize("answer", [NONE, THREE])
def test_a_list_that_is_too_short_keeps_the_coins_known_and_is_asked_for_again(
    market: SimulatedMarket, api: PriceApi, answer: Fault
) -> None:
    refresh_tracked_coins(api, TrackedCoinsSpec(top=5))
    market.inject(answer, path=MARKETS, times=1)

    short = refresh_tracked_coins(api, TrackedCoinsSpec(top=25))
    whole = ensure_tracked_coins(api, TrackedCoinsSpec(top=25))

    assert len(short.coins.ids) == 5
    assert "asks for top:25" in short.problem
    assert (len(whole.coins.ids), whole.problem) == (25, "")


def test_three_rows_for_a_top_of_25_are_a_warning(market: SimulatedMarket, api: PriceApi) -> None:
    market.inject(THREE, path=MARKETS)

    ingested = ingest(api, TrackedCoinsSpec(top=25))

    assert [manifest.coins for manifest in ingested.manifests] == [3, 3]
    assert "came with 3 coins" in ingested.findings[0].fault


def test_a_refresh_that_is_refused_takes_out_what_is_taken_out_and_takes_up_no_new_name(
    market: SimulatedMarket, api: PriceApi
) -> None:
    refresh_tracked_coins(api, TrackedCoinsSpec(top=3))
    market.inject("wants_user_agent", path=MARKETS)

    refreshed = refresh_tracked_coins(
        api, TrackedCoinsSpec(top=3, named=("bitcon",), removed=("tether",))
    )

    assert refreshed.coins.ids == ("bitcoin", "ethereum")
    assert "could not be brought up to date" in refreshed.problem


def test_a_spec_that_takes_out_every_coin_says_so(api: PriceApi) -> None:
    with pytest.raises(dg.Failure) as caught:
        ingest(api, TrackedCoinsSpec(named=("bitcoin",), removed=("bitcoin",)))
    assert "TRACKED_COINS takes out every coin" in str(caught.value.description)


def test_one_coin_that_is_refused_costs_no_price_of_another(
    market: SimulatedMarket, api: PriceApi
) -> None:
    market.inject("wants_user_agent", coin="ethereum")

    ingested = ingest(api, TrackedCoinsSpec(named=("bitcoin", "ethereum", "tether")))

    assert [manifest.coins for manifest in ingested.manifests] == [2, 2]
    assert {(one.coin_id, one.severity) for one in ingested.findings} == {
        ("ethereum", dg.AssetCheckSeverity.WARN)
    }
