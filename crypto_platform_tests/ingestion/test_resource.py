"""A request that is too large for one invocation, cut and put together again."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import PrivateAttr

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Window
from crypto_platform.ingestion.metered_api import PriceApi
from crypto_platform.ingestion.resource import Ingestion, IngestionFailure, LocalIngestion
from crypto_platform.ingestion.responses import PricesResponse
from crypto_platform.lake.layers import Layer
from crypto_platform.simulated_market import SimulatedMarket
from lambda_function import events
from lambda_function.plans import PLANS

pytestmark = pytest.mark.integration

FIRST = datetime(2026, 6, 1, tzinfo=UTC)


class Watched(LocalIngestion):
    """The function in process; its events are kept."""

    _events: list[Mapping[str, Any]] = PrivateAttr(default_factory=list)

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        self._events.append(event)
        return super().invoke(event)


def price_api(ingestion: Ingestion, lake: Path, credits_left: int | None = None) -> PriceApi:
    return PriceApi(
        ingestion=ingestion,
        layer=Layer(str(lake), "raw", "raw_prices"),
        vs_currency="usd",
        plan=replace(PLANS["pro"], monthly_credits=credits_left),
        asset="historical/raw_prices",
        run_id="r1",
    )


def ask(ingestion: Ingestion, lake: Path, credits_left: int | None = None) -> PricesResponse:
    api = price_api(ingestion, lake, credits_left)
    starts = [FIRST + timedelta(days=day) for day in range(5)]
    windows = [Window(start=start, end=start + timedelta(days=1)) for start in starts]
    return api.prices(HISTORICAL, windows, ["bitcoin", "ethereum", "nobody"])


def prices_of(response: PricesResponse) -> list[tuple[int, str, float]]:
    """All prices of the objects, each with its stamp and its coin."""
    return sorted(
        (stamp, record["coin_id"], price)
        for written in response.objects
        for record in map(json.loads, gzip.decompress(Path(written.uri).read_bytes()).splitlines())
        for stamp, price in record["prices"]
    )


def test_more_windows_than_an_event_may_have_are_asked_for_by_several(
    market: SimulatedMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINGECKO_BASE_URL", market.base_url)
    monkeypatch.setenv("COINGECKO_PLAN", "pro")
    at_once = ask(LocalIngestion(), tmp_path / "at-once")
    monkeypatch.setattr(events, "MAX_WINDOWS", 2)
    watched = Watched()

    cut = ask(watched, tmp_path / "cut", credits_left=100)

    asked = watched._events  # noqa: SLF001 - a resource has no other fields
    assert [len(event["windows"]) for event in asked] == [2, 2, 1]
    assert [event["part"] for event in asked] == [0, 1, 2]
    # The two coins that there are; a rejected one costs none.
    assert [event["credits_left"] for event in asked] == [100, 98, 96]
    assert prices_of(cut) == prices_of(at_once)
    assert cut.window_points == at_once.window_points == (2, 2, 2, 2, 2)
    assert [written.windows for written in at_once.objects] == [((0, 4),)]
    assert [written.windows for written in cut.objects] == [((0, 1),), ((2, 3),), ((4, 4),)]
    missing = {(one.coin_id, window) for one in cut.absent for window in one.windows}
    assert missing == {("nobody", (0, 1)), ("nobody", (2, 3)), ("nobody", (4, 4))}
    folder = f"{tmp_path}/cut/historical_data/month=2026-06"
    assert [written.uri for written in cut.objects] == [
        f"{folder}/prices-r1-{part:05d}.json.gz" for part in range(3)
    ]


class FailingAfter(LocalIngestion):
    """The function in process, which fails after some invocations."""

    succeeding: int
    _invoked: int = PrivateAttr(default=0)

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        self._invoked += 1
        if self._invoked > self.succeeding:
            raise IngestionFailure(description="The function ran out of memory.")
        return super().invoke(event)


def test_an_invocation_that_fails_does_not_cost_what_those_before_it_brought(
    market: SimulatedMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINGECKO_BASE_URL", market.base_url)
    monkeypatch.setenv("COINGECKO_PLAN", "pro")
    monkeypatch.setattr(events, "MAX_WINDOWS", 2)

    response = ask(FailingAfter(succeeding=1), tmp_path)

    assert response.window_points == (2, 2, 0, 0, 0)
    assert {stamp for stamp, _, _ in prices_of(response)} == {
        (FIRST + timedelta(days=day)).timestamp() * 1000 for day in range(2)
    }
    lost = [one for one in response.absent if "out of memory" in one.reason]
    assert {(one.coin_id, one.status) for one in lost} == {
        (coin, "failed") for coin in ("bitcoin", "ethereum", "nobody")
    }
    assert {window for one in lost for window in one.windows} == {(2, 3), (4, 4)}
    with pytest.raises(IngestionFailure):
        ask(FailingAfter(succeeding=0), tmp_path)


def test_a_snapshot_has_a_name_of_its_own_beside_its_months_prices(
    market: SimulatedMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINGECKO_BASE_URL", market.base_url)
    monkeypatch.setenv("COINGECKO_PLAN", "pro")
    window = Window(start=FIRST, end=FIRST + timedelta(hours=6))

    told = price_api(LocalIngestion(), tmp_path).markets(top=2, snapshot=(INTRA_DAY, window))

    (written,) = told.objects
    assert written.uri == f"{tmp_path}/intra_day/month=2026-06/snapshots-r1.json.gz"
    assert (written.rows, written.windows) == (2, ((0, 0),))
