"""A request that is too large for one invocation, cut and put together again."""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import dagster as dg
import pytest
from pydantic import PrivateAttr

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Window
from crypto_platform.ingestion.metered_api import PriceApi, usage_of_month
from crypto_platform.ingestion.resource import Ingestion, IngestionFailure, LocalIngestion
from crypto_platform.ingestion.responses import PricesResponse
from crypto_platform.lake.layers import Layer
from crypto_platform.simulated_market import SimulatedMarket
from lambda_function import events, handler, lake, markets
from lambda_function.plans import PLANS

pytestmark = pytest.mark.integration

FIRST = datetime(2026, 6, 1, tzinfo=UTC)


class Watched(LocalIngestion):
    """The function in process; its events are kept."""

    _events: list[Mapping[str, Any]] = PrivateAttr(default_factory=list)

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        self._events.append(event)
        return super().invoke(event)


def price_api(ingestion: Ingestion, folder: Path, credits_left: int | None = None) -> PriceApi:
    return PriceApi(
        ingestion=ingestion,
        layer=Layer(str(folder), "raw", "raw_prices"),
        vs_currency="usd",
        plan=replace(PLANS["pro"], monthly_credits=credits_left),
        asset="historical/raw_prices",
        run_id="r1",
    )


def ask(ingestion: Ingestion, folder: Path, credits_left: int | None = None) -> PricesResponse:
    api = price_api(ingestion, folder, credits_left)
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
    _end: Callable[[], dict[str, Any]] = PrivateAttr()
    _invoked: int = PrivateAttr(default=0)

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        self._invoked += 1
        return self._end() if self._invoked > self.succeeding else super().invoke(event)


def failing_after(succeeding: int, end: Callable[[], dict[str, Any]]) -> FailingAfter:
    failing = FailingAfter(succeeding=succeeding)
    failing._end = end  # noqa: SLF001 - a resource has no other fields
    return failing


def out_of_memory() -> NoReturn:
    raise IngestionFailure(description="The function ran out of memory.")


def unexpected() -> NoReturn:
    raise KeyError("out of memory")


def of_another_version() -> dict[str, Any]:
    return {"what": "out of memory"}


@pytest.mark.parametrize("end", [out_of_memory, unexpected, of_another_version])
def test_an_invocation_that_fails_does_not_cost_what_those_before_it_brought(
    market: SimulatedMarket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[], dict[str, Any]],
) -> None:
    monkeypatch.setenv("COINGECKO_BASE_URL", market.base_url)
    monkeypatch.setenv("COINGECKO_PLAN", "pro")
    monkeypatch.setattr(events, "MAX_WINDOWS", 2)

    response = ask(failing_after(1, end), tmp_path)

    assert response.window_points == (2, 2, 0, 0, 0)
    assert {stamp for stamp, _, _ in prices_of(response)} == {
        (FIRST + timedelta(days=day)).timestamp() * 1000 for day in range(2)
    }
    lost = [one for one in response.absent if "out of memory" in one.reason]
    assert {(one.coin_id, one.status) for one in lost} == {
        (coin, "failed") for coin in ("bitcoin", "ethereum", "nobody")
    }
    assert {window for one in lost for window in one.windows} == {(2, 3), (4, 4)}
    assert spent(tmp_path) == (3, 2)
    with pytest.raises((dg.Failure, KeyError)):
        ask(failing_after(0, end), tmp_path)


def test_a_failure_after_windows_of_which_nothing_was_had_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_WINDOWS", 2)
    out_of_plan = answering()
    out_of_plan._responses[0].update(  # noqa: SLF001 - a resource has no other fields
        window_points=[0, 0], calls=0, credits=0, continuation=None
    )

    with pytest.raises(IngestionFailure, match="out of memory"):
        ask(out_of_plan, tmp_path)


def spent(folder: Path) -> tuple[int, int]:
    """Calls and credits of the month, as the lake's records have them."""
    usage = usage_of_month(Layer(str(folder), "raw", "raw_prices"), datetime.now(UTC))
    return sum(one.calls for one in usage), sum(one.credits for one in usage)


class Answering(Ingestion):
    """A function that gives these responses, and then fails."""

    _responses: list[dict[str, Any]] = PrivateAttr()

    def invoke(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return self._responses.pop(0) if self._responses else out_of_memory()


def answering(**continuation: Any) -> Answering:
    """A function that leaves something over of five windows, and fails at what is left."""
    answering = Answering()
    answering._responses = [  # noqa: SLF001 - a resource has no other fields
        {
            "objects": [],
            "window_points": [1, 1, 0, 0, 0],
            "absent": [],
            "rejected": [],
            "calls": 1,
            "credits": 1,
            "source": "simulated",
            "fetched_at": "2026-06-06T00:00:00Z",
            "continuation": {"part": 1, **continuation},
        }
    ]
    return answering


def test_of_a_coin_that_was_had_in_part_only_the_rest_is_lost(tmp_path: Path) -> None:
    function = answering(
        coins=["bitcoin", "ethereum"],
        begun={"bitcoin": {"calls": [{"windows": [[2, 3]]}, {"windows": [[4, 4]]}]}},
        fetched=True,
    )
    response = ask(function, tmp_path)
    assert [(one.coin_id, one.windows) for one in response.absent] == [
        ("bitcoin", ((2, 3), (4, 4))),
        ("ethereum", ((0, 4),)),
    ]


def test_a_run_that_had_nothing_when_it_fails_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(IngestionFailure, match="out of memory"):
        ask(answering(coins=["ethereum"], fetched=False), tmp_path)


def test_what_a_function_does_not_record_itself_is_recorded_for_it(tmp_path: Path) -> None:
    with pytest.raises(IngestionFailure):
        ask(answering(coins=["ethereum"], fetched=False), tmp_path)
    assert spent(tmp_path) == (1, 1)


@pytest.mark.parametrize("end", [OSError, dg.DagsterExecutionInterruptedError, KeyboardInterrupt])
def test_what_an_invocation_spent_counts_however_it_ends(
    market: SimulatedMarket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: type[BaseException],
) -> None:
    monkeypatch.setenv("COINGECKO_BASE_URL", market.base_url)
    monkeypatch.setenv("COINGECKO_PLAN", "pro")

    def ended(*_: object) -> NoReturn:
        raise end

    monkeypatch.setattr(lake.Spool, "write", ended)
    with pytest.raises(end):
        ask(LocalIngestion(), tmp_path)
    # Of three coins one is not there; that costs no credit.
    assert spent(tmp_path) == (3, 2)


def test_a_listing_that_fails_half_way_counts_what_it_spent(
    market: SimulatedMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINGECKO_BASE_URL", market.base_url)
    monkeypatch.setenv("COINGECKO_PLAN", "pro")

    def ended(*_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(markets, "_coin", ended)
    with pytest.raises(ZeroDivisionError):
        price_api(LocalIngestion(), tmp_path).markets(top=2)
    assert spent(tmp_path) == (1, 1)


def test_a_record_that_cannot_be_written_costs_nothing_that_was_fetched(
    market: SimulatedMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINGECKO_BASE_URL", market.base_url)
    monkeypatch.setenv("COINGECKO_PLAN", "pro")

    def refused(*_: object) -> NoReturn:
        raise PermissionError("api_usage")

    monkeypatch.setattr(handler, "put", refused)
    assert ask(LocalIngestion(), tmp_path).window_points == (2,) * 5
    assert spent(tmp_path) == (3, 2)


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
