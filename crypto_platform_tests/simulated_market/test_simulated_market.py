"""The simulated market, as its callers see it: over HTTP, but for the laws of its prices."""

import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_platform.simulated_market import (
    FAULTS,
    Calls,
    Change,
    Fault,
    Limits,
    Oddities,
    SimulatedMarket,
)
from crypto_platform.simulated_market.api import DAY_MS, HOUR_MS, ChartSpan
from crypto_platform.simulated_market.market import SyntheticMarket

NOW = datetime(2026, 11, 22, 18, 7, 3, tzinfo=UTC)
NOW_MS = int(NOW.timestamp()) * 1000
MIDNIGHT_MS = NOW_MS // DAY_MS * DAY_MS
FIVE_MINUTES_MS = 300_000

stamps_of_time = st.integers(NOW_MS - 4_000 * DAY_MS, NOW_MS)
well_known_coins = st.sampled_from(["bitcoin", "tether", "dogecoin", "monero"])


@dataclass
class Clock:
    """A clock that a test can set."""

    time: datetime = NOW

    def __call__(self) -> datetime:
        return self.time


class Client:
    """Asks one market."""

    def __init__(self, market: SimulatedMarket, session: requests.Session) -> None:
        self.market = market
        self.session = session
        self.patience = 60.0

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.session.get(
            self.market.base_url + path,
            params={name.rstrip("_"): str(value) for name, value in query.items()},
            timeout=self.patience,
        )

    def range(self, coin: str, first: float, last: float) -> dict[str, list[list[float]]]:
        """The chart between two moments in milliseconds."""
        path = f"/coins/{coin}/market_chart/range"
        response = self.get(path, vs_currency="usd", from_=first / 1000, to=last / 1000)
        assert response.status_code == 200, response.text
        chart: dict[str, list[list[float]]] = response.json()
        return chart


@pytest.fixture(scope="module")
def calm() -> Iterator[Client]:
    """A market that nothing is wrong with, shared by the tests that leave it so."""
    with SimulatedMarket(now=Clock()) as market, requests.Session() as session:
        yield Client(market, session)


@pytest.fixture
def start() -> Iterator[Callable[..., Client]]:
    """Starts a market with options of its own."""
    markets: list[SimulatedMarket] = []
    with requests.Session() as session:

        def start_one(**options: Any) -> Client:
            market = SimulatedMarket(**{"now": Clock(), **options})
            market.start()
            markets.append(market)
            return Client(market, session)

        yield start_one
    for market in markets:
        market.close()


def gaps(chart: dict[str, list[list[float]]]) -> list[float]:
    stamps = [stamp for stamp, _ in chart["prices"]]
    return [later - earlier for earlier, later in pairwise(stamps)]


@settings(deadline=None, max_examples=60)
@given(
    coin=well_known_coins,
    step=st.sampled_from([FIVE_MINUTES_MS, HOUR_MS, DAY_MS]),
    middle=stamps_of_time,
    ends=st.lists(st.floats(-40, 40), min_size=4, max_size=4).map(sorted),
)
def test_a_points_value_never_depends_on_what_else_is_asked_for(
    coin: str, step: int, middle: int, ends: list[float]
) -> None:
    market = SyntheticMarket(3, 30, Oddities(missing_days=0.1, null_caps=0.1, off_midnight=0.1))
    first, begin, end, last = (middle + int(end * step) for end in ends)
    outer = market.chart(coin, "usd", ChartSpan(first, last, step), NOW_MS)
    assert market.chart(coin, "usd", ChartSpan(begin, end, step), NOW_MS) == {
        name: [point for point in series if begin <= point[0] <= end]
        for name, series in outer.items()
    }


@settings(deadline=None, max_examples=30)
@given(coin=well_known_coins, stamp=stamps_of_time)
def test_a_moments_value_is_the_same_at_every_granularity(coin: str, stamp: int) -> None:
    market = SyntheticMarket(3, 30, Oddities(late_listing=False))
    points = [
        market.chart(coin, "usd", ChartSpan(stamp, stamp - 1, step, now=stamp), NOW_MS)
        for step in (FIVE_MINUTES_MS, HOUR_MS, DAY_MS)
    ]
    assert len(points[0]["prices"]) == 1
    assert points[0] == points[1] == points[2]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), first=stamps_of_time)
def test_the_same_seed_is_the_same_market(seed: int, first: int) -> None:
    one, other = (SyntheticMarket(seed, 40, Oddities()) for _ in range(2))
    span = ChartSpan(first, NOW_MS, DAY_MS)
    assert one.ranking(NOW_MS) == other.ranking(NOW_MS)
    for coin in ("bitcoin", one.coins(NOW_MS)[-1]["id"]):
        assert one.chart(coin, "usd", span, NOW_MS) == other.chart(coin, "usd", span, NOW_MS)


def test_another_seed_is_another_market() -> None:
    span = ChartSpan(MIDNIGHT_MS, MIDNIGHT_MS, DAY_MS)
    prices = {
        str(SyntheticMarket(seed, 25, Oddities()).chart("bitcoin", "usd", span, NOW_MS)["prices"])
        for seed in range(5)
    }
    assert len(prices) == 5


def test_a_smaller_market_is_a_part_of_a_larger_one() -> None:
    small, large = (SyntheticMarket(1, coins, Oddities()) for coins in (40, 300))
    span = ChartSpan(MIDNIGHT_MS - 30 * DAY_MS, MIDNIGHT_MS, DAY_MS)
    coin = small.coins(NOW_MS)[-1]["id"]
    assert small.chart(coin, "usd", span, NOW_MS) == large.chart(coin, "usd", span, NOW_MS)


def daily_returns(market: SyntheticMarket, coin: str) -> list[float]:
    span = ChartSpan(MIDNIGHT_MS - 3_650 * DAY_MS, MIDNIGHT_MS, DAY_MS)
    prices = [float(point[1] or 0) for point in market.chart(coin, "usd", span, NOW_MS)["prices"]]
    return [math.log(later / old) for old, later in pairwise(prices)]


@pytest.mark.parametrize("seed", [1, 7, 42])
def test_prices_move_as_real_ones_do(seed: int) -> None:
    market = SyntheticMarket(seed, 300, Oddities(late_listing=False))
    small_coin = market.coins(NOW_MS)[-1]["id"]
    deviations = {
        coin: statistics.stdev(daily_returns(market, coin))
        for coin in ("bitcoin", "tether", small_coin)
    }
    assert 0.02 < deviations["bitcoin"] < 0.04
    assert deviations["tether"] < 0.002
    assert deviations["bitcoin"] < deviations[small_coin] < 0.12


def test_coins_move_together() -> None:
    market = SyntheticMarket(1, 25, Oddities(late_listing=False))
    one, other = (daily_returns(market, coin) for coin in ("bitcoin", "ethereum"))
    assert 0.5 < statistics.correlation(one, other) < 0.98


@pytest.mark.parametrize("seed", [1, 7, 42])
def test_no_price_blows_up_in_ten_years(seed: int) -> None:
    market = SyntheticMarket(seed, 300, Oddities(late_listing=False))
    later = NOW_MS + 3_650 * DAY_MS
    for coin in market.coins(NOW_MS)[::15]:
        span = ChartSpan(NOW_MS - 3_650 * DAY_MS, later, DAY_MS)
        chart = market.chart(coin["id"], "usd", span, later)
        prices = [price for _, price in chart["prices"] if price is not None]
        assert max(prices) / min(prices) < 1e5, coin


def test_a_stablecoin_stays_near_a_dollar(calm: Client) -> None:
    chart = calm.range("tether", NOW_MS - 365 * DAY_MS, NOW_MS)
    assert all(0.99 < price < 1.01 for _, price in chart["prices"])


def test_a_market_cap_is_the_price_times_the_supply(calm: Client) -> None:
    (row,) = calm.get("/coins/markets", vs_currency="usd", ids="bitcoin").json()
    assert row["market_cap"] == pytest.approx(
        row["current_price"] * row["circulating_supply"], rel=1e-3
    )


def test_a_day_that_ends_now_has_a_point_every_five_minutes(calm: Client) -> None:
    spaces = gaps(calm.range("bitcoin", NOW_MS - DAY_MS, NOW_MS))
    assert statistics.median(spaces) == pytest.approx(FIVE_MINUTES_MS, rel=0.1)
    assert all(2 * 60_000 <= space <= 8 * 60_000 for space in spaces[:-1])


@pytest.mark.parametrize(("ago", "days"), [(1, 1), (3, 1), (0, 2), (0, 90), (400, 90)])
def test_a_past_day_and_up_to_ninety_days_are_hourly(calm: Client, ago: int, days: int) -> None:
    last = NOW_MS - ago * DAY_MS
    spaces = gaps(calm.range("bitcoin", last - days * DAY_MS, last))
    assert statistics.median(spaces) == pytest.approx(HOUR_MS, rel=0.1)
    assert len(set(spaces)) > 10


def test_hourly_points_wander_about_the_hour_so_that_an_hour_has_none_one_or_two(
    calm: Client,
) -> None:
    chart = calm.range("bitcoin", NOW_MS - 90 * DAY_MS, NOW_MS - DAY_MS)
    stamps = [int(stamp) for stamp, _ in chart["prices"]]
    hours = [stamp // HOUR_MS for stamp in stamps]
    counts = {hours.count(hour) for hour in range(hours[0] + 1, hours[-1])}
    assert counts == {0, 1, 2}
    assert all(57 * 60_000 <= space <= 63 * 60_000 for space in gaps(chart))


def test_more_than_ninety_days_are_daily_at_midnight(calm: Client) -> None:
    chart = calm.range("bitcoin", NOW_MS - 91 * DAY_MS - 1_000, NOW_MS - DAY_MS)
    assert [stamp % DAY_MS for stamp, _ in chart["prices"]] == [0] * 90
    assert set(gaps(chart)) == {DAY_MS}


@pytest.mark.parametrize("days", [1, 30, 365])
def test_a_span_that_reaches_now_ends_with_now_off_the_grid(calm: Client, days: int) -> None:
    chart = calm.range("bitcoin", NOW_MS - days * DAY_MS, NOW_MS)
    assert {series[-1][0] for series in chart.values()} == {NOW_MS}


def test_a_span_in_the_past_has_no_point_of_now(calm: Client) -> None:
    last = NOW_MS - 2 * DAY_MS
    assert calm.range("bitcoin", last - DAY_MS, last)["prices"][-1][0] <= last


def test_a_range_never_reaches_into_the_future(calm: Client) -> None:
    chart = calm.range("bitcoin", NOW_MS - 10 * DAY_MS, NOW_MS + 10 * DAY_MS)
    assert chart["prices"][-1][0] == NOW_MS
    assert calm.range("bitcoin", NOW_MS + DAY_MS, NOW_MS + 2 * DAY_MS)["prices"] == []
    assert calm.range("bitcoin", 1e20, 2e20)["prices"] == []


def test_a_range_may_be_given_in_iso_dates(calm: Client) -> None:
    path, query = "/coins/bitcoin/market_chart/range", {"vs_currency": "usd"}
    dates = calm.get(path, **query, from_="2026-01-01", to="2026-06-01T00:00:00Z").json()
    first = datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000
    last = datetime(2026, 6, 1, tzinfo=UTC).timestamp() * 1000
    assert dates == calm.range("bitcoin", first, last)
    assert len(dates["prices"]) == 152


@pytest.mark.parametrize(("endpoint", "minutes"), [("range", 35), ("chart", 10)])
def test_the_point_of_midnight_comes_some_minutes_after_it(
    start: Callable[..., Client], endpoint: str, minutes: int
) -> None:
    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    clock = Clock()
    client = start(now=clock)

    def has_midnight() -> bool:
        stamp = midnight.timestamp() * 1000
        if endpoint == "range":
            chart = client.range("bitcoin", stamp - 100 * DAY_MS, clock.time.timestamp() * 1000)
        else:
            path = "/coins/bitcoin/market_chart"
            chart = client.get(path, vs_currency="usd", days=100).json()
        return stamp in [point[0] for point in chart["prices"]]

    clock.time = midnight + timedelta(minutes=minutes, seconds=-1)
    assert not has_midnight()
    clock.time = midnight + timedelta(minutes=minutes)
    assert has_midnight()


@pytest.mark.parametrize(
    ("days", "interval", "space"),
    [
        ("1", None, FIVE_MINUTES_MS),
        ("90", None, HOUR_MS),
        ("91", None, DAY_MS),
        ("max", None, DAY_MS),
        ("30", "daily", DAY_MS),
        ("2", "5m", FIVE_MINUTES_MS),
    ],
)
def test_a_market_chart_of_days_ends_now_in_the_interval_asked_for(
    calm: Client, days: str, interval: str | None, space: int
) -> None:
    query = {"vs_currency": "usd", "days": days} | ({"interval": interval} if interval else {})
    chart = calm.get("/coins/bitcoin/market_chart", **query).json()
    assert statistics.median(gaps(chart)) == pytest.approx(space, rel=0.1)
    assert chart["prices"][-1][0] == NOW_MS


def test_all_days_of_a_coin_begin_when_it_was_listed(calm: Client) -> None:
    chart = calm.get("/coins/ethereum/market_chart", vs_currency="usd", days="max").json()
    assert chart["prices"][0][0] == datetime(2015, 8, 7, tzinfo=UTC).timestamp() * 1000


def test_a_coin_is_not_known_before_it_is_listed(start: Callable[..., Client]) -> None:
    client = start(now=Clock(datetime(2015, 1, 1, tzinfo=UTC)))
    known = [coin["id"] for coin in client.get("/coins/list").json()]
    response = client.get("/coins/ethereum/market_chart", vs_currency="usd", days=1)
    assert "bitcoin" in known
    assert "ethereum" not in known
    assert response.status_code == 404


def test_without_late_listing_every_coin_has_ten_years(start: Callable[..., Client]) -> None:
    client = start(oddities=Oddities(late_listing=False))
    chart = client.range("sui", MIDNIGHT_MS - 3_650 * DAY_MS, MIDNIGHT_MS)
    assert len(chart["prices"]) == 3_651


def test_a_delisted_coin_has_prices_until_its_end_and_is_then_as_it_was(
    start: Callable[..., Client],
) -> None:
    end = datetime(2026, 11, 10, 12, tzinfo=UTC)
    client = start(oddities=Oddities(delisted={"litecoin": end}))

    chart = client.range("litecoin", MIDNIGHT_MS - 100 * DAY_MS, NOW_MS)
    (row,) = client.get("/coins/markets", vs_currency="usd", ids="litecoin").json()

    assert chart["prices"][-1][0] == datetime(2026, 11, 10, tzinfo=UTC).timestamp() * 1000
    assert row["last_updated"] == "2026-11-10T12:00:00.000Z"


def test_a_change_multiplies_the_prices_of_some_time_or_takes_the_points_out(
    start: Callable[..., Client],
) -> None:
    client = start()
    stretch = MIDNIGHT_MS - 100 * DAY_MS, MIDNIGHT_MS
    right = client.range("solana", *stretch)
    first, second = (Change(first=day, last=day) for day in (stretch[1] - DAY_MS, stretch[1]))
    wrong = second.model_copy(update={"factor": 1.5})
    client.market.inject(Fault(changes=(first, wrong)), coin="solana", times=1)

    changed = client.range("solana", *stretch)

    stamp, price = right["prices"][-1]
    assert changed["prices"] == [*right["prices"][:-2], [stamp, price * 1.5]]
    assert changed["market_caps"] == [*right["market_caps"][:-2], right["market_caps"][-1]]
    assert client.range("solana", *stretch) == right


def test_the_daily_point_is_what_history_says_of_the_day(calm: Client) -> None:
    day = datetime(2026, 3, 5, tzinfo=UTC)
    stamp = day.timestamp() * 1000
    chart = calm.range("solana", stamp - 50 * DAY_MS, stamp + 50 * DAY_MS)
    history = calm.get("/coins/solana/history", date=f"{day:%d-%m-%Y}").json()["market_data"]
    for name, field in (
        ("prices", "current_price"),
        ("market_caps", "market_cap"),
        ("total_volumes", "total_volume"),
    ):
        assert [stamp, history[field]["usd"]] in chart[name]


def test_history_before_the_listing_has_no_market_data(calm: Client) -> None:
    response = calm.get("/coins/sui/history", date="01-01-2020").json()
    assert response == {"id": "sui", "symbol": "sui", "name": "Sui"}


def test_precision_rounds_prices(calm: Client) -> None:
    query = {"vs_currency": "usd", "days": "91", "precision": "2"}
    chart = calm.get("/coins/bitcoin/market_chart", **query).json()
    assert all(price == round(price, 2) for _, price in chart["prices"])


def test_other_currencies_are_worth_what_their_rate_says(calm: Client) -> None:
    history = calm.get("/coins/bitcoin/history", date="01-06-2026").json()["market_data"]
    assert history["current_price"]["jpy"] == history["current_price"]["usd"] * 150.0


def test_markets_have_the_fields_of_the_api_in_order_of_cap(calm: Client) -> None:
    rows = calm.get("/coins/markets", vs_currency="usd", per_page=50).json()
    assert list(rows[0]) == [
        "id",
        "symbol",
        "name",
        "image",
        "current_price",
        "market_cap",
        "market_cap_rank",
        "fully_diluted_valuation",
        "total_volume",
        "high_24h",
        "low_24h",
        "price_change_24h",
        "price_change_percentage_24h",
        "market_cap_change_24h",
        "market_cap_change_percentage_24h",
        "circulating_supply",
        "total_supply",
        "max_supply",
        "ath",
        "ath_change_percentage",
        "ath_date",
        "atl",
        "atl_change_percentage",
        "atl_date",
        "roi",
        "last_updated",
    ]
    caps = [row["market_cap"] for row in rows]
    assert caps == sorted(caps, reverse=True)
    assert [row["market_cap_rank"] for row in rows] == list(range(1, 51))
    for row in rows:
        assert row["atl"] <= row["low_24h"] <= row["current_price"]
        assert row["current_price"] <= row["high_24h"] <= row["ath"]


def test_the_market_says_the_price_that_the_chart_ends_with(calm: Client) -> None:
    (row,) = calm.get("/coins/markets", vs_currency="usd", ids="chainlink").json()
    price = calm.range("chainlink", NOW_MS - DAY_MS, NOW_MS)["prices"][-1][1]
    assert row["current_price"] == pytest.approx(price, rel=1e-2)


def test_markets_come_in_pages_of_at_most_250(calm: Client) -> None:
    pages = [
        [
            row["id"]
            for row in calm.get("/coins/markets", vs_currency="usd", per_page=999, page=page).json()
        ]
        for page in (1, 2, 3)
    ]
    assert [len(page) for page in pages] == [250, 50, 0]
    assert len(set(pages[0] + pages[1])) == 300


def test_markets_cut_the_ids_asked_for_at_the_page(calm: Client) -> None:
    query = {"vs_currency": "usd", "ids": "solana,bitcoin,no-such-coin,ethereum", "per_page": 2}
    assert [row["id"] for row in calm.get("/coins/markets", **query).json()] == [
        "bitcoin",
        "ethereum",
    ]


def test_the_list_has_every_coin_once(calm: Client) -> None:
    coins = calm.get("/coins/list").json()
    assert len({coin["id"] for coin in coins}) == len(coins) == 300
    assert coins[0] == {"id": "bitcoin", "symbol": "btc", "name": "Bitcoin"}


def test_no_image_is_at_a_real_host(calm: Client) -> None:
    rows = calm.get("/coins/markets", vs_currency="usd", per_page=5).json()
    assert {row["image"] for row in rows} == {""}


def test_outside_of_the_base_url_there_is_nothing(calm: Client) -> None:
    response = calm.session.get(calm.market.base_url.replace("/api/v3", "/ping"), timeout=60)
    assert response.status_code == 404


def test_every_response_says_that_it_is_simulated(calm: Client) -> None:
    responses = [
        calm.get("/ping"),
        calm.get("/coins/no-such-coin/history", date="01-01-2026"),
        calm.session.get(calm.market.base_url.replace("/api/v3", "/simulation/stats"), timeout=60),
    ]
    assert [response.headers["x-simulated-market"] for response in responses] == ["true"] * 3
    assert responses[0].json()["gecko_says"].startswith("(simulated) ")


@pytest.mark.parametrize(
    ("path", "query", "status", "error"),
    [
        ("/coins/nope/market_chart", {"vs_currency": "usd", "days": 1}, 404, "coin not found"),
        ("/coins/nope/history", {"date": "01-01-2026"}, 404, "coin not found"),
        ("/coins/markets", {"vs_currency": "usdt"}, 400, "invalid vs_currency"),
        ("/coins/markets", {}, 422, "Missing parameter vs_currency"),
        ("/coins/bitcoin/market_chart", {"days": 1}, 422, "Missing parameter vs_currency"),
        ("/coins/bitcoin/market_chart", {"vs_currency": "usd"}, 422, "Missing parameter days"),
        (
            "/coins/bitcoin/market_chart/range",
            {"vs_currency": "usd", "to": 1},
            422,
            "Missing parameter from",
        ),
        ("/coins/bitcoin/history", {}, 422, "Missing parameter date"),
        ("/coins/bitcoin/history", {"date": "2026-01-01"}, 400, "invalid date"),
        (
            "/coins/bitcoin/market_chart/range",
            {"vs_currency": "usd", "from_": "soon", "to": "nan"},
            400,
            "invalid date range",
        ),
        (
            "/coins/bitcoin/market_chart/range",
            {"vs_currency": "usd", "from_": 2, "to": 1},
            400,
            "invalid date range",
        ),
        (
            "/coins/bitcoin/market_chart",
            {"vs_currency": "usd", "days": "-1"},
            400,
            "invalid days",
        ),
        (
            "/coins/bitcoin/market_chart",
            {"vs_currency": "usd", "days": 1, "interval": "weekly"},
            400,
            "invalid interval",
        ),
        (
            "/coins/bitcoin/market_chart",
            {"vs_currency": "usd", "days": 1, "precision": "99"},
            400,
            "invalid precision",
        ),
        ("/coins/markets", {"vs_currency": "usd", "page": 0}, 400, "invalid page"),
        ("/nothing", {}, 404, "Incorrect path"),
    ],
)
def test_a_wrong_request_is_rejected_as_the_api_does(
    calm: Client, path: str, query: dict[str, object], status: int, error: str
) -> None:
    response = calm.get(path, **query)
    assert (response.status_code, response.json()) == (status, {"error": error})


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/coins/bitcoin/market_chart", {"vs_currency": "usd", "days": "max"}),
        ("/coins/bitcoin/market_chart", {"vs_currency": "usd", "days": 366}),
        (
            "/coins/bitcoin/market_chart/range",
            {"vs_currency": "usd", "from_": NOW_MS // 1000 - 365 * 86_400 - 1, "to": 1.8e9},
        ),
        ("/coins/bitcoin/history", {"date": "01-01-2020"}),
    ],
)
def test_what_is_older_than_the_plan_allows_is_rejected(
    start: Callable[..., Client], path: str, query: dict[str, object]
) -> None:
    response = start(limits=Limits(history_days=365)).get(path, **query)
    assert response.status_code == 401
    assert response.json()["error"]["status"]["error_code"] == 10012


def test_the_oldest_moment_of_the_plan_is_allowed(start: Callable[..., Client]) -> None:
    client = start(limits=Limits(history_days=365))
    assert client.range("bitcoin", NOW_MS - 365 * DAY_MS, NOW_MS)["prices"]


def test_oddities_are_there_when_asked_for(start: Callable[..., Client]) -> None:
    client = start(
        oddities=Oddities(missing_days=0.05, null_caps=0.05, zero_volumes=0.05, off_midnight=0.05)
    )
    chart = client.range("bitcoin", MIDNIGHT_MS - 1_000 * DAY_MS, MIDNIGHT_MS)
    stamps = [stamp for stamp, _ in chart["prices"]]
    assert 10 < 1_001 - len(stamps) < 100
    assert 10 < sum(stamp % DAY_MS > 0 for stamp in stamps) < 100
    assert all(stamp % DAY_MS < HOUR_MS for stamp in stamps)
    assert 10 < sum(cap is None for _, cap in chart["market_caps"]) < 100
    assert 10 < sum(volume == 0 for _, volume in chart["total_volumes"]) < 100


def test_nothing_is_odd_when_nobody_asked(calm: Client) -> None:
    chart = calm.range("bitcoin", MIDNIGHT_MS - 1_000 * DAY_MS, MIDNIGHT_MS)
    assert [stamp % DAY_MS for stamp, _ in chart["prices"]] == [0] * 1_001
    assert all(value for series in chart.values() for _, value in series)


def test_calls_beyond_the_plans_are_rate_limited_until_the_minute_is_over(
    start: Callable[..., Client],
) -> None:
    client = start(limits=Limits(calls_a_minute=2))
    responses = [client.get("/ping") for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert 1 <= int(responses[2].headers["retry-after"]) <= 60
    assert responses[2].json()["status"]["error_code"] == 429


def test_some_plans_do_not_say_how_long_to_wait(start: Callable[..., Client]) -> None:
    client = start(limits=Limits(calls_a_minute=1, retry_after=False))
    client.get("/ping")
    limited = client.get("/ping")
    assert "retry-after" not in limited.headers
    assert limited.headers["x-ratelimit-reset"].startswith("2026-11-22 18:0")


def test_calls_are_counted_by_endpoint_coin_and_status(start: Callable[..., Client]) -> None:
    client = start()
    client.range("bitcoin", NOW_MS - DAY_MS, NOW_MS)
    client.range("ethereum", NOW_MS - DAY_MS, NOW_MS)
    client.get("/coins/nope/history", date="01-01-2026")
    client.get("/coins/markets", vs_currency="usd")
    assert client.market.calls() == Calls(
        total=4,
        credits=3,
        by_endpoint={
            "/coins/{id}/market_chart/range": 2,
            "/coins/{id}/history": 1,
            "/coins/markets": 1,
        },
        by_coin={"bitcoin": 1, "ethereum": 1, "nope": 1},
        by_status={200: 3, 404: 1},
    )


def test_another_process_can_read_the_counts(start: Callable[..., Client]) -> None:
    client = start()
    client.get("/ping")
    stats = client.session.get(
        client.market.base_url.replace("/api/v3", "/simulation/stats"), timeout=60
    )
    assert stats.json() == {
        "total": 1,
        "credits": 1,
        "by_endpoint": {"/ping": 1},
        "by_coin": {},
        "by_status": {"200": 1},
    }


@pytest.mark.parametrize(
    ("fault", "status", "text", "retry_after"),
    [
        ("rate_limited", 429, "Rate Limit", "1"),
        ("rate_limited_without_retry_after", 429, "Rate Limit", None),
        ("throttled", 429, "Throttled", None),
        ("blocked", 429, "error code: 1015", None),
        ("server_error", 500, "Internal Server Error", None),
        ("unavailable", 503, "<html>", None),
        ("error_in_a_200", 200, "error_code", None),
        ("wrong_key", 401, "10002", None),
        ("delisted_coin", 404, "coin not found", None),
    ],
)
def test_a_fault_responds_in_the_apis_place(
    start: Callable[..., Client], fault: str, status: int, text: str, retry_after: str | None
) -> None:
    client = start()
    client.market.inject(fault)
    response = client.get("/coins/bitcoin/market_chart", vs_currency="usd", days=1)
    assert response.status_code == status
    assert text in response.text
    assert response.headers.get("retry-after") == retry_after


def test_a_fault_befalls_only_the_coin_it_is_for(start: Callable[..., Client]) -> None:
    client = start()
    client.market.inject("delisted_coin", coin="bitcoin")
    statuses = [
        client.get(f"/coins/{coin}/market_chart", vs_currency="usd", days=1).status_code
        for coin in ("bitcoin", "ethereum", "bitcoin")
    ]
    assert statuses == [404, 200, 404]


def test_a_fault_befalls_only_the_paths_it_is_for(start: Callable[..., Client]) -> None:
    client = start()
    client.market.inject("server_error", path="/coins/*/history")
    assert client.get("/ping").status_code == 200
    assert client.get("/coins/bitcoin/history", date="01-01-2026").status_code == 500


def test_a_fault_is_over_after_its_number_of_calls(start: Callable[..., Client]) -> None:
    client = start()
    client.market.inject("server_error", times=2)
    assert [client.get("/ping").status_code for _ in range(4)] == [500, 500, 200, 200]


def test_faults_follow_one_another(start: Callable[..., Client]) -> None:
    client = start()
    client.market.inject("throttled", times=1)
    client.market.inject("unavailable", times=1)
    assert [client.get("/ping").status_code for _ in range(3)] == [429, 503, 200]


def test_a_probable_fault_strikes_the_same_calls_for_the_same_seed(
    start: Callable[..., Client],
) -> None:
    runs = []
    for _ in range(2):
        client = start(seed=5, coins=25)
        client.market.inject("server_error", probability=0.3)
        runs.append([client.get("/ping").status_code for _ in range(40)])
    assert runs[0] == runs[1]
    assert 4 < runs[0].count(500) < 25


def test_a_cleared_fault_is_over(start: Callable[..., Client]) -> None:
    client = start()
    client.market.inject("server_error")
    client.market.faults.clear()
    assert client.get("/ping").status_code == 200


def test_a_cut_body_breaks_the_connection(start: Callable[..., Client]) -> None:
    client = start()
    client.market.inject("cut_body", times=1)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        client.get("/coins/list")
    assert client.get("/coins/list").status_code == 200


def test_a_reset_connection_gives_no_response(start: Callable[..., Client]) -> None:
    client = start()
    client.market.inject("connection_reset", times=1)
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        client.get("/ping")
    assert client.market.calls().by_status == {}
    assert client.get("/ping").status_code == 200


def test_a_hang_outlasts_the_callers_patience_and_does_not_hold_up_closing(
    start: Callable[..., Client],
) -> None:
    client = start()
    client.market.inject("hang")
    client.patience = 0.2
    with pytest.raises(requests.ReadTimeout):
        client.get("/ping")
    began = time.monotonic()
    client.market.close()
    assert time.monotonic() - began < 60


def test_a_slow_response_is_still_a_response(start: Callable[..., Client]) -> None:
    client = start()
    client.market.inject(Fault(delay_seconds=0.1), times=1)
    assert client.get("/ping").elapsed >= timedelta(seconds=0.1)


def faulty_chart(client: Client, fault: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A chart as it should be, and with a fault."""
    first = NOW_MS - 100 * DAY_MS
    whole = client.range("bitcoin", first, NOW_MS)
    client.market.inject(fault, times=1)
    return whole, client.range("bitcoin", first, NOW_MS)


def test_uneven_arrays_are_of_three_lengths(start: Callable[..., Client]) -> None:
    whole, uneven = faulty_chart(start(), "uneven_arrays")
    assert uneven["prices"] == whole["prices"]
    assert len({len(series) for series in uneven.values()}) == 3
    for name, series in uneven.items():
        assert all(point in whole[name] for point in series)


@pytest.mark.parametrize(
    ("fault", "name"), [("null_prices", "prices"), ("null_caps", "market_caps")]
)
def test_nulls_take_the_place_of_some_values(
    start: Callable[..., Client], fault: str, name: str
) -> None:
    whole, faulty = faulty_chart(start(), fault)
    values = [value for _, value in faulty[name]]
    assert values.count(None) == 34
    assert {key for key in whole if faulty[key] != whole[key]} == {name}


def test_duplicated_points_come_twice_and_the_true_one_first(start: Callable[..., Client]) -> None:
    whole, doubled = faulty_chart(start(), "duplicated_points")
    stamps = [stamp for stamp, _ in doubled["prices"]]
    assert len(stamps) == len(set(stamps)) + 34
    assert dict(reversed(doubled["prices"])) == dict(whole["prices"])


def test_an_answer_may_have_no_points_and_its_stamps_be_wrong(
    start: Callable[..., Client],
) -> None:
    whole, empty = faulty_chart(start(), "no_points")
    _, seconds = faulty_chart(start(), "stamps_in_seconds")
    _, moved = faulty_chart(start(), "another_time")
    assert whole.keys() == empty.keys()
    assert not any(empty.values())
    assert [stamp * 1000 for stamp, _ in seconds["prices"]] == [at for at, _ in whole["prices"]]
    assert max(stamp for stamp, _ in moved["prices"]) < min(at for at, _ in whole["prices"])


def test_every_response_has_the_time_of_this_machine(start: Callable[..., Client]) -> None:
    sent = parsedate_to_datetime(start().get(path="/ping").headers["date"])
    assert abs(datetime.now(UTC) - sent) < timedelta(minutes=1)


def test_another_process_can_inject_and_clear_faults(start: Callable[..., Client]) -> None:
    client = start()
    url = client.market.base_url.replace("/api/v3", "/simulation/faults")
    rule = {"fault": "throttled", "coin": "bitcoin", "times": 3}
    posted = client.session.post(url, json=rule, timeout=60)
    assert posted.status_code == 200
    (in_force,) = client.session.get(url, timeout=60).json()["faults"]
    assert (in_force["coin"], in_force["times"], in_force["fault"]["status"]) == ("bitcoin", 3, 429)
    history = {"path": "/coins/bitcoin/history", "date": "01-01-2026"}
    assert client.get(**history).text == "Throttled"
    assert client.session.delete(url, timeout=60).json() == {"faults": []}
    assert client.get(**history).status_code == 200


def test_a_fault_that_does_not_exist_is_refused_with_the_ones_that_do(
    start: Callable[..., Client],
) -> None:
    client = start()
    url = client.market.base_url.replace("/api/v3", "/simulation/faults")
    response = client.session.post(url, data=json.dumps({"fault": "flood"}), timeout=60)
    assert response.status_code == 400
    assert all(name in response.json()["error"] for name in FAULTS)


def test_responses_come_at_once_over_a_connection_that_stays_open(calm: Client) -> None:
    took = []
    for _ in range(50):
        began = time.monotonic()
        calm.get("/ping")
        took.append(time.monotonic() - began)

    # One that waits for an acknowledgement takes 40 ms, each time; on a busy machine most do.
    assert min(took) < 0.03


def test_twenty_five_coins_of_a_year_are_served_at_once(calm: Client) -> None:
    coins = [coin["id"] for coin in calm.get("/coins/list").json()[:25]]
    began = time.process_time()
    for coin in coins:
        calm.range(coin, NOW_MS - 365 * DAY_MS, NOW_MS)
    assert time.process_time() - began < 2


def test_a_market_that_was_not_started_has_no_address() -> None:
    with pytest.raises(RuntimeError, match="call start first"):
        _ = SimulatedMarket().base_url


def test_a_port_that_is_taken_is_named(calm: Client) -> None:
    port = int(calm.market.base_url.split(":")[2].split("/")[0])
    with pytest.raises(OSError, match=f"No market can be served at 127.0.0.1:{port}"):
        SimulatedMarket(port=port).start()


def test_a_market_has_only_so_many_coins() -> None:
    with pytest.raises(ValueError, match="between 1 and 425 coins, not 1000"):
        SimulatedMarket(coins=1_000)


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_served_market_says_where_it_is_and_ends_when_told_to(number: int) -> None:
    code = "from crypto_platform.simulated_market import serve; serve('127.0.0.1', 0, seed=3)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        base_url = line.split(" answers at ")[1].split(": no price is real")[0]
        assert requests.get(f"{base_url}/ping", timeout=60).status_code == 200
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.integration
def test_the_import_leaves_numpy_for_later() -> None:
    code = (
        "import sys, crypto_platform.simulated_market as market;"
        "print('numpy' in sys.modules, 'dagster' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert printed.stdout.split() == [b"False", b"False"]


def test_the_fear_and_greed_index_speaks_in_strings_and_seconds_the_newest_first(
    calm: Client,
) -> None:
    response = calm.get("/fng/", limit=0)
    index = response.json()
    stamps = [int(entry["timestamp"]) for entry in index["data"]]
    skipped = {int(datetime(2018, 4, day, tzinfo=UTC).timestamp()) for day in (14, 15, 16)}

    assert response.headers["x-simulated-market"] == "true"
    assert stamps == sorted(stamps, reverse=True)
    assert stamps[0] == int(NOW.timestamp()) // 86_400 * 86_400
    assert skipped.isdisjoint(stamps)
    assert all(type(value) is str for entry in index["data"] for value in entry.values())
    assert all(0 <= int(entry["value"]) <= 100 for entry in index["data"])
    assert [list(entry) for entry in index["data"][:2]] == [
        ["value", "value_classification", "timestamp", "time_until_update"],
        ["value", "value_classification", "timestamp"],
    ]


def test_the_fear_and_greed_index_gives_one_day_unless_more_are_asked_for(calm: Client) -> None:
    every = calm.get("/fng/", limit=0).json()["data"]

    assert calm.get("/fng/").json()["data"] == every[:1]
    assert calm.get("/fng/", limit=3).json()["data"] == every[:3]
    assert calm.get("/fng/", limit="all").status_code == 400
