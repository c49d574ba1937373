import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from crypto_platform_tests.replay import (
    RECORDED,
    RecordedDay,
    needs_recorded,
    recorded_charts,
    recorded_days,
    replay,
)

MIDNIGHT = 1_700_006_400_000
DAY = 86_400_000
MARKETS = RECORDED / "markets" / "markets_250_usd_2026-07-07.json"


def day(number: int) -> datetime:
    return datetime(2023, 11, 15, tzinfo=UTC) + timedelta(days=number)


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """Three days: one stamped late and twice, one without a cap, one with the moment of now."""
    path = tmp_path / "bitcoin_daily_3d.json"
    late, again, now = MIDNIGHT + 300_000, MIDNIGHT + 600_000, MIDNIGHT + 2 * DAY + 1_000
    chart = {
        "prices": [[late, 1.1e-05], [again, 2], [MIDNIGHT + DAY, 3.25], [now, 9.5]],
        "market_caps": [[late, 10.0], [again, 20.0], [MIDNIGHT + DAY, None], [now, 90.0]],
        "total_volumes": [[late, 0], [MIDNIGHT + DAY, 7.0], [now, 9.0]],
    }
    path.write_text(json.dumps(chart))
    return path


def exactly(body: bytes) -> Any:
    """What a body says, to the last bit: a float by its bits, a whole number as one."""
    return json.loads(body, parse_float=lambda text: float(text).hex(), parse_int=str)


def test_a_recorded_day_is_its_first_point_and_now_is_no_day(chart: Path) -> None:
    assert recorded_days(chart) == {
        day(0): RecordedDay(day(0), 1.1e-05, 10.0, 0),
        day(1): RecordedDay(day(1), 3.25, None, 7.0),
    }


def test_a_range_holds_the_points_of_both_its_ends_and_no_others(chart: Path) -> None:
    with replay({"bitcoin": chart}) as market:
        response = requests.get(
            f"{market.base_url}/coins/bitcoin/market_chart/range",
            {
                "vs_currency": "usd",
                "from": str(MIDNIGHT // 1000 + 600),
                "to": str(MIDNIGHT // 1000 + 86_400),
            },
            timeout=60,
        ).json()
    assert response["prices"] == [[MIDNIGHT + 600_000, 2], [MIDNIGHT + DAY, 3.25]]
    assert response["total_volumes"] == [[MIDNIGHT + DAY, 7.0]]


def test_a_coin_without_a_recording_is_not_found(chart: Path) -> None:
    with replay({"bitcoin": chart}) as market:
        response = requests.get(
            f"{market.base_url}/coins/ethereum/market_chart",
            {"vs_currency": "usd", "days": "max"},
            timeout=60,
        )
    assert (response.status_code, response.json()) == (404, {"error": "coin not found"})


def test_a_replay_does_not_say_that_it_is_simulated(chart: Path) -> None:
    with replay({"bitcoin": chart}) as market:
        response = requests.get(f"{market.base_url}/ping", timeout=60)
    assert "x-simulated-market" not in response.headers
    assert "simulated" not in response.text


def test_a_coin_of_which_only_a_chart_was_recorded_is_among_the_markets(chart: Path) -> None:
    with replay({"bitcoin": chart}) as market:
        response = requests.get(
            f"{market.base_url}/coins/markets",
            {"vs_currency": "usd", "ids": "bitcoin"},
            timeout=60,
        ).json()
    assert [row["id"] for row in response] == ["bitcoin"]


@needs_recorded
@pytest.mark.parametrize("granularity", ["daily", "hourly", "5min"])
def test_every_recorded_number_is_served_to_the_last_bit(granularity: str) -> None:
    charts = recorded_charts(granularity)
    assert "bitcoin" in charts
    with replay(charts) as market:
        for coin_id, path in charts.items():
            response = requests.get(
                f"{market.base_url}/coins/{coin_id}/market_chart",
                {"vs_currency": "usd", "days": "max"},
                timeout=60,
            )
            assert exactly(response.content) == exactly(path.read_bytes())


@needs_recorded
def test_every_recorded_market_is_served_to_the_last_bit() -> None:
    with replay({}, MARKETS) as market:
        response = requests.get(
            f"{market.base_url}/coins/markets",
            {"vs_currency": "usd", "per_page": "250"},
            timeout=60,
        )
    recorded = exactly(MARKETS.read_bytes())
    assert sorted(exactly(response.content), key=lambda row: row["id"]) == sorted(
        recorded, key=lambda row: row["id"]
    )


@needs_recorded
def test_markets_are_filtered_by_id() -> None:
    with replay({}, MARKETS) as market:
        response = requests.get(
            f"{market.base_url}/coins/markets",
            {"vs_currency": "usd", "ids": "ethereum,no-such-coin,bitcoin"},
            timeout=60,
        ).json()
    assert [row["id"] for row in response] == ["bitcoin", "ethereum"]


@needs_recorded
def test_the_longest_recording_of_a_coin_is_the_one_that_is_replayed() -> None:
    assert recorded_charts("daily")["bitcoin"].name == "bitcoin_daily_max_2023-06-03.json"


@needs_recorded
def test_ten_years_of_bitcoin_say_what_their_description_does() -> None:
    days = recorded_days(recorded_charts("daily")["bitcoin"])
    first, last = datetime(2013, 4, 28, tzinfo=UTC), datetime(2023, 6, 3, tzinfo=UTC)
    every_day = {first + timedelta(days=number) for number in range((last - first).days + 1)}
    assert every_day - set(days) == {
        datetime(2013, 6, 4, tzinfo=UTC),
        datetime(2015, 1, 28, tzinfo=UTC),
    }
    assert set(days) <= every_day
    assert [at for at, day in days.items() if day.market_cap is None] == [
        datetime(2017, 4, 2, tzinfo=UTC)
    ]
    assert sum(day.total_volume == 0 for day in days.values()) == 242
    assert days[first].price == 135.3
    assert [one.at for midnight, one in days.items() if one.at != midnight] == [
        datetime(2017, 6, 6, 23, 29, 55, 701_000, tzinfo=UTC),
        datetime(2017, 6, 8, 23, 39, 21, 692_000, tzinfo=UTC),
    ]
