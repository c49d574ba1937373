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

from crypto_platform.core.streams import HISTORICAL, Window
from crypto_platform.ingestion.metered_api import PriceApi
from crypto_platform.ingestion.resource import Ingestion, LocalIngestion
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


def ask(ingestion: Ingestion, lake: Path, credits_left: int | None = None) -> PricesResponse:
    starts = [FIRST + timedelta(days=day) for day in range(5)]
    api = PriceApi(
        ingestion=ingestion,
        layer=Layer(str(lake), "raw", "raw_prices"),
        vs_currency="usd",
        plan=replace(PLANS["pro"], monthly_credits=credits_left),
        asset="historical/raw_prices",
        run_id="r1",
    )
    windows = [Window(start=start, end=start + timedelta(days=1)) for start in starts]
    return api.prices(HISTORICAL, windows, ["bitcoin", "ethereum", "nobody"])


def told(response: PricesResponse) -> dict[int, list[str]]:
    """The coins of each window, as its objects have them."""
    lines = {
        written.window: gzip.decompress(Path(written.uri).read_bytes()).splitlines()
        for written in response.objects
    }
    return {
        window: [
            f"{record['window_start']} {record['coin_id']} {record['prices']}"
            for record in map(json.loads, texts)
        ]
        for window, texts in lines.items()
    }


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
    assert told(cut) == told(at_once)
    assert sorted(told(cut)) == [0, 1, 2, 3, 4]
    missing = {(one.coin_id, window) for one in cut.absent for window in one.windows}
    assert missing == {("nobody", (0, 1)), ("nobody", (2, 3)), ("nobody", (4, 4))}
    assert len({written.uri for written in cut.objects}) == len(cut.objects)
