"""Ingesting the newest window: with a clock that is ahead, and a market that says nothing."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from crypto_platform.core.settings import TrackedCoinsSpec
from crypto_platform.core.streams import INTRA_DAY, WindowBatch
from crypto_platform.ingestion.metered_api import PriceApi
from crypto_platform.ingestion.resource import LocalIngestion
from crypto_platform.lake.layers import Layer
from crypto_platform.simulated_market import Fault, SimulatedMarket
from crypto_platform.stages.ingest import Ingested, ingest_windows
from lambda_function.plans import PLANS

pytestmark = pytest.mark.integration

TRACKED = TrackedCoinsSpec(named=("bitcoin", "ethereum"))


@pytest.fixture
def api(market: SimulatedMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PriceApi:
    monkeypatch.setenv("COINGECKO_BASE_URL", market.base_url)
    monkeypatch.setenv("COINGECKO_PLAN", "pro")
    return PriceApi(
        ingestion=LocalIngestion(),
        layer=Layer(str(tmp_path), "raw", "raw_prices"),
        vs_currency="usd",
        plan=PLANS["pro"],
        asset="intra_day/raw_prices",
        run_id="r1",
    )


def ingest(api: PriceApi, count: int) -> Ingested:
    """The newest closed windows, asked for just after the close of the last."""
    now = datetime.now(UTC)
    last = INTRA_DAY.window_of_index(INTRA_DAY.index_at(now) - 1)
    windows = INTRA_DAY.windows(last.start - (count - 1) * INTRA_DAY.window_length, last.start)
    asked_at = last.end + timedelta(minutes=10)
    return ingest_windows(WindowBatch(INTRA_DAY, windows), api, TRACKED, (), asked_at)


def test_a_clock_that_is_ahead_refuses_the_newest_window_aloud_and_takes_no_snapshot(
    market: SimulatedMarket, api: PriceApi
) -> None:
    now = datetime.now(UTC)
    last_end = INTRA_DAY.window_at(now).start
    market.inject(
        Fault(headers={"Date": format_datetime(last_end - timedelta(hours=1), usegmt=True)})
    )

    ingested = ingest(api, 2)

    assert [manifest.coins for manifest in ingested.manifests] == [2, 0]
    (finding,) = ingested.findings
    assert "no price of any of 2 coin(s): The window is still open by the API's time" in (
        finding.fault
    )
    assert "Its window is still open: this machine's clock is" in ingested.snapshot_problem


def test_a_clock_that_is_right_takes_the_newest_window_and_its_snapshot(api: PriceApi) -> None:
    ingested = ingest(api, 2)

    assert [manifest.coins for manifest in ingested.manifests] == [2, 2]
    assert (ingested.findings, ingested.snapshot_problem) == ([], "")


def test_a_market_that_says_nothing_of_any_coin_is_told(
    market: SimulatedMarket, api: PriceApi
) -> None:
    market.inject(Fault(status=200, body="[]"), path="/coins/markets")

    ingested = ingest(api, 1)

    assert [manifest.coins for manifest in ingested.manifests] == [2]
    assert ingested.snapshot_problem == "The API answered with none of the 2 coins."
