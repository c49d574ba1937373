"""The models' promises, on DuckDB, and where SQL decides, also over Snowflake's connector."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_platform.models import build as models
from crypto_platform.models.build import MODELS, make_models
from crypto_platform.models.fear_and_greed import FearAndGreedDay, keep_fear_and_greed
from crypto_platform.warehouse.catalogue import column_schema, relations
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.session import Session
from crypto_platform.warehouse.sql import model_statement
from crypto_platform_tests.replay import (
    RecordedDay,
    needs_recorded,
    recorded_charts,
    recorded_days,
)
from crypto_platform_tests.transformed_lake import price, snapshot

Row = dict[str, Any]

LOADED_AT = datetime(2026, 11, 24, 0, 50, tzinfo=UTC)
FIRST_DAY = date(2026, 1, 1)


# The SQL is shared, so what it promises must hold on all of them.
on_each_engine = pytest.mark.parametrize(
    "warehouse",
    ["duckdb", pytest.param("snowflake", marks=pytest.mark.integration)],
    indirect=True,
)


@pytest.fixture
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    if getattr(request, "param", "duckdb") == "duckdb":
        return DuckDBWarehouse(path=str(tmp_path / "home" / "crypto_db.duckdb"))
    build: Callable[[str], Warehouse] = request.getfixturevalue("build_snowflake")
    return build(str(tmp_path))


def fill(warehouse: Warehouse, table: str, rows: Iterable[Row], **others: Any) -> None:
    """Add rows to a table, as a load leaves them."""
    with warehouse.session(read_only=False) as session:
        session.stage_rows(table, ({"loaded_at": LOADED_AT, **others, **row} for row in rows))


def opens(coin_id: str, values: Mapping[int, float | None], **others: Any) -> list[Row]:
    """Daily prices: the open of days, counted from the first one."""
    return [
        price(coin_id, str(FIRST_DAY + timedelta(days=day)), value, **others)
        for day, value in values.items()
        if value is not None
    ]


def history(warehouse: Warehouse, coin_id: str, values: Sequence[float], **others: Any) -> None:
    fill(warehouse, "historical_prices", opens(coin_id, dict(enumerate(values)), **others))


def snapshots(warehouse: Warehouse, coin_id: str, highs: Mapping[int, float]) -> None:
    """A snapshot a day with the all-time high that it tells, by the day from the first one."""
    for day, ath in highs.items():
        at = datetime.combine(FIRST_DAY, datetime.min.time(), UTC) + timedelta(days=day)
        seen = snapshot(coin_id, f"{at:%Y-%m-%d}T06:10", ath=ath)
        fill(warehouse, "market_snapshots", [{**seen, "window_start": at}])


def made(warehouse: Warehouse) -> Warehouse:
    make_models(warehouse)
    return warehouse


def rows_of(warehouse: Warehouse, model: str, coin_id: str | None = None) -> dict[int, Row]:
    """The rows of a model, by their day, counted from the first one."""
    of_coin = f" WHERE coin_id = '{coin_id}'" if coin_id else ""
    rows = warehouse.query(f"SELECT * FROM {model}{of_coin} ORDER BY day")
    return {(row["day"] - FIRST_DAY).days: row for row in rows}


def column(warehouse: Warehouse, name: str, model: str, coin_id: str = "bitcoin") -> dict[int, Any]:
    return {day: row[name] for day, row in sorted(rows_of(warehouse, model, coin_id).items())}


def test_a_day_closes_with_the_open_of_the_next_day(warehouse: Warehouse) -> None:
    rows = opens("bitcoin", {0: 10.0, 1: 11.0, 2: 12.0})
    moments = {"market_cap": [1.0, 2.0, 3.0], "total_volume": [4.0, 5.0, 6.0]}
    for place, row in enumerate(rows):
        row |= {name: values[place] for name, values in moments.items()}
    fill(warehouse, "historical_prices", rows)

    day = rows_of(made(warehouse), "daily_prices")[0]

    # What is stamped with a midnight is of the 24 hours before it.
    assert (day["open"], day["close"], day["volume"], day["market_cap"]) == (10.0, 11.0, 5.0, 2.0)
    assert day["close_at"] == datetime(2026, 1, 2, tzinfo=UTC)
    assert (day["observations"], day["granularity"]) == (1, "daily")


@pytest.mark.parametrize("keeps", [["stamped_at"], ["price_at", "stamped_at"]])
def test_a_daily_price_of_another_moment_is_no_midnight(
    keeps: Sequence[str], warehouse: Warehouse
) -> None:
    rows = opens("bitcoin", {0: 10.0, 1: 11.0, 2: 14.0, 3: 13.0})
    # As the recorded series has it on 2017-06-06: one point, at 23:29:55.
    late = datetime(2026, 1, 3, 23, 29, 55, tzinfo=UTC)
    rows[2] |= dict.fromkeys(keeps, late)
    fill(warehouse, "historical_prices", rows)

    days = rows_of(made(warehouse), "daily_prices")

    assert [days[day]["open"] for day in days] == [10.0, 11.0, None, 13.0]
    assert [days[day]["close"] for day in days] == [11.0, None, 13.0, None]
    assert column(warehouse, "return_1d", "price_moves") == dict.fromkeys(range(4))


@on_each_engine
def test_a_daily_price_of_the_last_two_hours_closes_its_day_where_no_open_follows(
    warehouse: Warehouse,
) -> None:
    rows = opens("bitcoin", {0: 10.0, 1: 11.0, 4: 12.0})
    late = datetime(2026, 1, 2, 23, 29, 55, tzinfo=UTC)
    rows[1]["price_at"] = late
    fill(warehouse, "historical_prices", [{**row, "stamped_at": row["price_at"]} for row in rows])

    day = rows_of(made(warehouse), "daily_prices")[1]

    assert (day["open"], day["close"], day["close_at"]) == (None, 11.0, late)


def test_daily_prices_do_not_show_how_high_or_low_a_day_went(warehouse: Warehouse) -> None:
    history(warehouse, "bitcoin", [10.0, 11.0])

    day = rows_of(made(warehouse), "daily_prices")[0]

    assert (day["high"], day["low"], day["hours_observed"]) == (None, None, 0)
    assert column(warehouse, "range_24h", "price_moves") == {0: None, 1: None}


def test_hourly_prices_of_a_whole_day_show_its_range_however_their_stamps_wander(
    warehouse: Warehouse,
) -> None:
    midnight = datetime.combine(FIRST_DAY, datetime.min.time(), UTC)
    wandering = [
        midnight + timedelta(hours=hour, minutes=2 if hour % 2 == 0 else -2) for hour in range(25)
    ]
    seen = {f"{at:%Y-%m-%dT%H:%M}": 100.0 + place for place, at in enumerate(wandering)}
    fill(warehouse, "intra_day_prices", intra_day("bitcoin", seen))

    assert column(made(warehouse), "hours_observed", "daily_prices")[0] == 24
    assert column(warehouse, "range_24h", "price_moves")[0] == pytest.approx(0.24)


def test_a_range_is_not_known_of_a_day_that_was_seen_in_part(warehouse: Warehouse) -> None:
    seen = {f"2026-01-01T{hour:02}:00": 100.0 + hour for hour in range(19)}
    fill(warehouse, "intra_day_prices", intra_day("bitcoin", seen))

    assert column(made(warehouse), "range_24h", "price_moves") == {0: None}


@pytest.mark.parametrize(
    ("at", "hours"), [("23:45", 0), ("23:30", 0), ("23:29", 1), ("00:00", 1), ("12:31", 1)]
)
def test_an_hour_is_observed_by_a_price_that_is_nearest_to_it_and_of_its_day(
    at: str, hours: int, warehouse: Warehouse
) -> None:
    fill(warehouse, "intra_day_prices", intra_day("bitcoin", {f"2026-01-01T{at}": 100.0}))

    assert column(made(warehouse), "hours_observed", "daily_prices") == {0: hours}


def test_the_newest_daily_price_opens_a_day_whose_close_is_not_known(warehouse: Warehouse) -> None:
    history(warehouse, "bitcoin", [10.0, 11.0])

    assert column(made(warehouse), "close", "daily_prices") == {0: 11.0, 1: None}
    assert column(warehouse, "open", "daily_prices") == {0: 10.0, 1: 11.0}
    assert column(warehouse, "volume", "trading_volumes") == {0: 3.5, 1: None}


def intra_day(coin_id: str, prices: Mapping[str, float], **others: Any) -> list[Row]:
    """Intra-day prices by their moment, such as ``2026-01-01T22:00``."""
    return [
        price(coin_id, at, value, granularity="5-minute", **others) for at, value in prices.items()
    ]


@on_each_engine
def test_the_finest_prices_of_a_day_make_it_with_its_open_and_close(warehouse: Warehouse) -> None:
    fill(warehouse, "historical_prices", opens("bitcoin", {0: 10.0, 1: 20.0}))
    seen = {"2026-01-01T00:05": 12.0, "2026-01-01T13:00": 8.0, "2026-01-01T23:55": 15.0}
    fill(warehouse, "intra_day_prices", intra_day("bitcoin", seen))

    day = rows_of(made(warehouse), "daily_prices")[0]

    assert (day["open"], day["high"], day["low"], day["close"]) == (10.0, 20.0, 8.0, 20.0)
    assert (day["observations"], day["hours_observed"]) == (4, 2)
    assert day["granularity"] == "5-minute"


@pytest.mark.parametrize(
    ("last", "closes"),
    [("2026-01-01T22:00", 15.0), ("2026-01-01T21:59", None)],
    ids=["in the last two hours", "before them"],
)
def test_without_the_next_open_a_day_closes_with_a_price_of_its_last_two_hours(
    warehouse: Warehouse, last: str, closes: float | None
) -> None:
    seen = {"2026-01-01T01:00": 12.0, last: 15.0, "2026-01-03T09:00": 16.0}
    fill(warehouse, "intra_day_prices", intra_day("bitcoin", seen))

    day = rows_of(made(warehouse), "daily_prices")[0]

    assert day["close"] == closes
    assert day["close_at"] == (closes and datetime.fromisoformat(f"{last}+00:00"))


@pytest.mark.parametrize(
    ("first", "opened"), [("2026-01-02T01:59", 12.0), ("2026-01-02T02:00", None)]
)
def test_a_price_of_the_first_two_hours_opens_a_day_and_closes_the_one_before(
    warehouse: Warehouse, first: str, opened: float | None
) -> None:
    seen = {"2026-01-01T08:00": 11.0, first: 12.0, "2026-01-02T09:00": 13.0}
    fill(warehouse, "intra_day_prices", intra_day("bitcoin", seen))

    assert column(made(warehouse), "open", "daily_prices") == {0: None, 1: opened}
    assert column(warehouse, "close", "daily_prices")[0] == opened


@on_each_engine
def test_the_newest_day_closes_with_the_latest_price_so_far(warehouse: Warehouse) -> None:
    fill(warehouse, "historical_prices", opens("bitcoin", {0: 10.0}))
    seen = {"2026-01-02T00:03": 11.0, "2026-01-02T05:58": 12.0}
    fill(warehouse, "intra_day_prices", intra_day("bitcoin", seen))

    newest = rows_of(made(warehouse), "daily_prices")[1]

    assert (newest["close"], newest["close_at"]) == (12.0, datetime(2026, 1, 2, 5, 58, tzinfo=UTC))
    assert column(warehouse, "return_1d", "price_moves")[1] == 12.0 / 11.0 - 1


def test_the_last_day_of_a_delisted_coin_does_not_close_where_it_ended(
    warehouse: Warehouse,
) -> None:
    dying = {"2026-01-01T00:00": 2.0, "2026-01-02T00:00": 1.0, "2026-01-02T09:00": 0.01}
    living = {"2026-01-01T00:00": 2.0, "2026-01-04T09:00": 2.0}
    fill(warehouse, "intra_day_prices", intra_day("dead", dying) + intra_day("alive", living))

    assert column(made(warehouse), "close", "daily_prices", "dead") == {0: 1.0, 1: None}
    assert column(warehouse, "return_1d", "price_moves", "dead") == {0: None, 1: None}


def test_no_return_reaches_across_a_missing_day(warehouse: Warehouse) -> None:
    days = {day: 10.0 + day for day in range(60) if day != 40}
    fill(warehouse, "historical_prices", opens("bitcoin", days))

    moves = rows_of(made(warehouse), "price_moves")

    assert 40 not in moves
    # The day before the missing one has no close, as that is the missing one's open.
    assert moves[39]["close"] is None
    assert [day for day in range(1, 59) if day != 40 and moves[day]["return_1d"] is None] == [
        39,
        41,
    ]
    known = [day for day in moves if moves[day]["return_7d"] is not None]
    assert known == [*range(7, 39), *range(48, 59)]
    assert [day for day in moves if moves[day]["volatility_30d"] is not None] == [*range(30, 39)]


def test_a_market_snapshot_does_not_stand_in_for_a_day_without_a_price(
    warehouse: Warehouse,
) -> None:
    days = {day: 10.0 + day for day in range(60) if day != 40}
    fill(warehouse, "historical_prices", opens("bitcoin", days))
    snapshots(warehouse, "bitcoin", dict.fromkeys((39, 40, 41), 100.0))

    moves = rows_of(made(warehouse), "price_moves")

    known = [day for day in moves if moves[day]["return_7d"] is not None]
    assert known == [*range(7, 39), *range(48, 59)]
    assert [day for day in moves if moves[day]["volatility_30d"] is not None] == [*range(30, 39)]
    breadth = rows_of(warehouse, "market_sentiment")
    assert [day for day in breadth if breadth[day]["breadth_7d"] is not None] == known


@pytest.mark.parametrize("value", [0.1, 123.45, 0.7, 1e-9, 1e15 / 3])
@on_each_engine
def test_a_coin_that_never_moves_is_never_above_its_mean_and_has_no_volatility(
    warehouse: Warehouse, value: float
) -> None:
    history(warehouse, "tether", [value] * 90)

    above = rows_of(made(warehouse), "market_sentiment")

    known = {day: row["above_50d_mean"] for day, row in above.items() if day >= 49}
    assert known == {**dict.fromkeys(range(49, 89), 0.0), 89: None}
    volatility = column(warehouse, "volatility_30d", "price_moves", "tether")
    assert {volatility[day] for day in range(30, 89)} == {0.0}


def test_a_coin_that_grows_evenly_has_next_to_no_volatility(warehouse: Warehouse) -> None:
    history(warehouse, "bitcoin", [100.0 * 1.25**day for day in range(40)])

    volatility = column(made(warehouse), "volatility_30d", "price_moves")

    assert all(0 <= volatility[day] < 1e-14 for day in range(30, 39))


@on_each_engine
def test_a_coin_with_one_day_of_history_has_nulls_and_not_nonsense(warehouse: Warehouse) -> None:
    seen = {"2026-01-01T00:00": 5.0, "2026-01-01T11:00": 6.0}
    fill(warehouse, "intra_day_prices", intra_day("new", seen, market_cap=0.0, total_volume=None))

    (moves,) = rows_of(made(warehouse), "price_moves").values()
    (volumes,) = rows_of(warehouse, "trading_volumes").values()
    (sentiment,) = rows_of(warehouse, "market_sentiment").values()

    key = {"coin_id", "vs_currency", "day"}
    assert {name: value for name, value in moves.items() if name not in key and value} == {
        "close": 6.0
    }
    assert moves["drawdown"] == 0.0
    assert {volumes[name] for name in volumes.keys() - key} == {None}
    assert {sentiment[name] for name in sentiment.keys() - key - {"coins"}} == {None}
    assert sentiment["coins"] == 0


def test_a_market_cap_of_zero_is_not_known_and_a_volume_of_zero_is_one(
    warehouse: Warehouse,
) -> None:
    history(warehouse, "bitcoin", [1.0] * 40, market_cap=0.0, total_volume=0.0)

    day = rows_of(made(warehouse), "trading_volumes")[35]

    assert rows_of(warehouse, "daily_prices")[35]["market_cap"] is None
    assert (day["volume"], day["median_30d"]) == (0.0, 0.0)
    assert (day["ratio_to_median"], day["turnover"], day["market_share"], day["unusual"]) == (
        None,
        None,
        None,
        None,
    )


def test_a_volume_of_two_and_a_half_times_its_median_is_unusual(warehouse: Warehouse) -> None:
    rows = opens("bitcoin", dict.fromkeys(range(36), 1.0))
    for day, row in enumerate(rows):
        row["total_volume"] = {33: 2.5, 34: 2.49}.get(day, 1.0)
    fill(warehouse, "historical_prices", rows)

    unusual = column(made(warehouse), "unusual", "trading_volumes")

    assert {day for day, said in unusual.items() if said} == {32}
    assert {day for day, said in unusual.items() if said is None} == {*range(30), 35}


@on_each_engine
def test_the_all_time_high_is_the_apis_or_a_price_seen_since_and_not_known_before(
    warehouse: Warehouse,
) -> None:
    history(warehouse, "bitcoin", [50.0, 60.0, 60.0, 150.0, 75.0])
    seen = snapshot("bitcoin", "2026-01-02T06:10", ath=120.0)
    seen["window_start"] = datetime(2026, 1, 2, tzinfo=UTC)
    fill(warehouse, "market_snapshots", [seen])

    distance = column(made(warehouse), "ath_distance", "price_moves")

    assert distance == {0: None, 1: -0.5, 2: 0.0, 3: -0.5, 4: None}


def test_what_the_api_took_back_is_no_all_time_high(warehouse: Warehouse) -> None:
    closes = [200.0, 3468.83, 224.734, 224.734, 224.734]
    history(warehouse, "bitcoin", [closes[0], *closes])
    snapshots(warehouse, "bitcoin", {2: 261.93, 3: 3468.83, 4: 261.93})

    distance = column(made(warehouse), "ath_distance", "price_moves")

    assert distance[0] is distance[1] is distance[5] is None
    assert [distance[day] for day in (2, 3, 4)] == pytest.approx(
        [-0.1420, -0.9352, -0.1420], abs=1e-4
    )


def test_the_all_time_high_of_a_snapshot_long_ago_holds_until_a_later_price_is_higher(
    warehouse: Warehouse,
) -> None:
    values = [50.0] * 100
    values[20], values[60], values[90] = 400.0, 80.0, 200.0
    history(warehouse, "bitcoin", values[:80])
    snapshots(warehouse, "bitcoin", {30: 100.0})
    made(warehouse)
    # Made again from day 79 on: what is known of day 30 is read anew.
    later = opens("bitcoin", {day: values[day] for day in range(80, 100)})
    fill(warehouse, "historical_prices", later, loaded_at=LOADED_AT + timedelta(days=1))

    distance = column(made(warehouse), "ath_distance", "price_moves")

    assert [distance[day] for day in (29, 30, 59, 78, 88, 89, 90)] == [
        None,
        -0.5,
        pytest.approx(-0.2),
        -0.5,
        -0.5,
        0.0,
        -0.75,
    ]


@on_each_engine
def test_sentiment_counts_what_it_knows_and_a_new_coin_is_no_rise_of_the_market(
    warehouse: Warehouse,
) -> None:
    caps = {"bitcoin": [60.0, 60.0, 66.0], "tether": [30.0, 30.0, 30.0], "solana": [10, 10, 10]}
    for coin, values in caps.items():
        rows = opens(coin, {0: 1.0, 1: 1.0, 2: {"bitcoin": 1.5}.get(coin, 1.0)})
        for row, cap in zip(rows, values, strict=True):
            row["market_cap"] = float(cap)
        fill(warehouse, "historical_prices", rows)
    fill(warehouse, "historical_prices", opens("newcomer", {1: 1.0, 2: 1.0}, market_cap=54.0))
    fill(
        warehouse,
        "fear_and_greed",
        [{"day": date(2026, 1, 2), "value": 20, "classification": "Extreme Fear"}],
        fetched_at=LOADED_AT,
        source="simulated",
    )

    first, second, last = rows_of(made(warehouse), "market_sentiment").values()

    assert (first["fear_and_greed"], second["fear_and_greed"]) == (None, 20)
    assert second["fear_and_greed_class"] == "Extreme Fear"
    assert (first["coins"], first["total_market_cap"]) == (3, 100.0)
    assert (second["coins"], second["total_market_cap"]) == (4, 160.0)
    assert second["total_market_cap_change_1d"] == pytest.approx(0.06, abs=1e-12)
    assert second["bitcoin_dominance"] == 66 / 160
    assert second["stablecoin_share"] == 30 / 160
    assert second["breadth_1d"] == 1 / 3
    assert (last["coins"], last["total_market_cap"], last["breadth_1d"]) == (0, None, None)


@on_each_engine
def test_only_what_differs_is_loaded_again_and_days_that_are_no_longer_told_stay(
    warehouse: Warehouse,
) -> None:
    days = [FearAndGreedDay(date(2026, 11, day), 10 + day, "Fear") for day in (21, 22, 23)]
    keep_fear_and_greed(warehouse, days, LOADED_AT, "simulated")
    before = {row["day"]: row for row in warehouse.query("SELECT * FROM fear_and_greed")}

    changed = FearAndGreedDay(date(2026, 11, 23), 50, "Neutral")
    later = LOADED_AT + timedelta(hours=6)
    keep_fear_and_greed(warehouse, [days[1], changed], later, "simulated")

    after = {row["day"]: row for row in warehouse.query("SELECT * FROM fear_and_greed")}
    assert after.keys() == before.keys()
    assert [after[one.day] == before[one.day] for one in days] == [True, True, False]
    assert (after[changed.day]["value"], after[changed.day]["fetched_at"]) == (50, later)


def test_a_market_without_bitcoin_or_stablecoins_has_no_share_of_them(warehouse: Warehouse) -> None:
    history(warehouse, "solana", [1.0, 2.0])

    sentiment = rows_of(made(warehouse), "market_sentiment")[0]

    assert (sentiment["bitcoin_dominance"], sentiment["stablecoin_share"]) == (None, None)
    assert sentiment["total_market_cap"] == 2.5


def test_currencies_do_not_mix(warehouse: Warehouse) -> None:
    history(warehouse, "bitcoin", [1.0, 2.0, 4.0])
    history(warehouse, "bitcoin", [10.0, 10.0, 10.0], vs_currency="eur")

    rows = made(warehouse).query("SELECT vs_currency, day, return_1d FROM price_moves")

    found = {(row["vs_currency"], row["day"].day): row["return_1d"] for row in rows}
    assert (found["usd", 2], found["eur", 2]) == (1.0, 0.0)


def independent_moves(days: Mapping[datetime, RecordedDay]) -> pd.DataFrame:
    """Moves and volumes of a coin by its daily prices, worked out with pandas and numpy."""
    seen = pd.DataFrame(
        {
            "open": {day: one.price for day, one in days.items()},
            "cap": {day: one.market_cap for day, one in days.items()},
            "volume": {day: one.total_volume for day, one in days.items()},
        },
        dtype=float,
    )
    calendar = pd.date_range(seen.index.min(), seen.index.max(), freq="D")
    # The last midnight is not followed by one, so its day has no close.
    at_close = seen.reindex(calendar).shift(-1)[calendar.isin(seen.index)].reindex(calendar)
    there = pd.Series(calendar.isin(seen.index), calendar)
    close, volume = at_close["open"], at_close["volume"]
    logs = np.log(close / close.shift(1))
    frame = pd.DataFrame({"close": close, "volume": volume})
    for span in (1, 7, 30):
        unbroken = there.rolling(span + 1).sum() == span + 1
        frame[f"return_{span}d"] = (close / close.shift(span) - 1).where(unbroken)
    frame["log_return_1d"] = logs
    frame["volatility_30d"] = logs.rolling(30).apply(
        lambda window: np.std(window, ddof=1), raw=True
    ) * math.sqrt(365)
    frame["drawdown"] = close / close.cummax() - 1
    frame["median_30d"] = volume.rolling(30).apply(np.median, raw=True).shift(1)
    frame["ratio_to_median"] = (volume / frame["median_30d"]).where(frame["median_30d"] > 0)
    frame["turnover"] = volume / at_close["cap"].where(at_close["cap"] > 0)
    frame["cap"] = at_close["cap"].where(at_close["cap"] > 0)
    frame["mean_50d"] = close.rolling(50).mean()
    return frame[there]


def assert_same(found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
    """To 1e-9, relative and absolute, and null where the other is."""
    keys = sorted(expected)
    assert sorted(found) == keys
    values = [
        np.array([np.nan if one[key] is None else one[key] for key in keys], dtype=float)
        for one in (found, expected)
    ]
    np.testing.assert_allclose(*values, rtol=1e-9, atol=1e-9)


@needs_recorded
@on_each_engine
def test_models_of_recorded_prices_are_what_pandas_and_numpy_compute(warehouse: Warehouse) -> None:
    # Over the wire, a part of them has to do: its stand-in takes rows one by one.
    first = datetime(2013 if isinstance(warehouse, DuckDBWarehouse) else 2023, 1, 1, tzinfo=UTC)
    charts = recorded_charts("daily")
    series = {
        coin: {day: one for day, one in recorded_days(chart).items() if day >= first}
        for coin, chart in charts.items()
    }
    for coin, days in series.items():
        rows = [
            price(
                coin,
                f"{day:%Y-%m-%d}",
                one.price,
                market_cap=one.market_cap,
                total_volume=one.total_volume,
            )
            for day, one in days.items()
        ]
        fill(warehouse, "historical_prices", rows)

    make_models(warehouse)

    frames = {coin: independent_moves(days) for coin, days in series.items()}
    for model in ("price_moves", "trading_volumes"):
        rows = warehouse.query(f"SELECT * FROM {model}")
        for name in frames["bitcoin"].columns.intersection(list(rows[0])):
            assert_same(
                {(row["coin_id"], row["day"]): row[name] for row in rows},
                {
                    (coin, day.date()): value
                    for coin, frame in frames.items()
                    for day, value in frame[name].items()
                },
            )
    panels = {
        name: pd.DataFrame({coin: frame[name] for coin, frame in frames.items()})
        for name in ("close", "return_1d", "return_7d", "mean_50d", "cap")
    }
    cap, before = panels["cap"], panels["cap"].shift(1, freq="D").reindex(panels["cap"].index)
    on_both = cap.notna() & before.notna()
    with np.errstate(invalid="ignore"):
        total = cap.sum(axis=1, min_count=1)
        expected = {
            "breadth_1d": (panels["return_1d"] > 0).sum(axis=1)
            / panels["return_1d"].notna().sum(axis=1),
            "breadth_7d": (panels["return_7d"] > 0).sum(axis=1)
            / panels["return_7d"].notna().sum(axis=1),
            "above_50d_mean": (panels["close"] > panels["mean_50d"]).sum(axis=1)
            / panels["mean_50d"].notna().sum(axis=1),
            "bitcoin_dominance": cap["bitcoin"] / total,
            "stablecoin_share": cap[["tether", "usd-coin"]].sum(axis=1, min_count=1) / total,
            "total_market_cap": total,
            "total_market_cap_change_1d": cap.where(on_both).sum(axis=1, min_count=1)
            / before.where(on_both).sum(axis=1, min_count=1)
            - 1,
            "coins": cap.notna().sum(axis=1),
        }
    rows = warehouse.query("SELECT * FROM market_sentiment")
    for name, values in expected.items():
        assert_same(
            {row["day"]: row[name] for row in rows},
            {day.date(): value for day, value in values.items()},
        )


@needs_recorded
def test_days_of_recorded_hourly_prices_are_what_pandas_computes(warehouse: Warehouse) -> None:
    chart = json.loads(recorded_charts("hourly")["bitcoin"].read_text())
    stamps = pd.to_datetime([point[0] for point in chart["prices"]], unit="ms", utc=True)
    values = pd.Series([point[1] for point in chart["prices"]], stamps)
    seen = {f"{stamp:%Y-%m-%dT%H:%M:%S.%f}": value for stamp, value in values.items()}
    rows = [price("bitcoin", at, value, granularity="hourly") for at, value in seen.items()]
    fill(warehouse, "intra_day_prices", rows)

    found = {row["day"]: row for row in made(warehouse).query("SELECT * FROM daily_prices")}

    for midnight, of_day in values.groupby(values.index.floor("D")):
        day = found.pop(midnight.date())
        tomorrow = values[values.index.floor("D") == midnight + pd.Timedelta(days=1)]
        whole = pd.concat([of_day, tomorrow.iloc[:1]])
        assert (day["high"], day["low"]) == (whole.max(), whole.min())
        assert day["close"] == whole.iloc[-1]
        assert day["observations"] == len(of_day)
        nearest = (of_day.index + pd.Timedelta(minutes=30)).floor("h")
        assert day["hours_observed"] == min(24, nearest.nunique())
        assert day["granularity"] == "hourly"
    assert not found


def contents(warehouse: Warehouse) -> dict[str, list[Row]]:
    return {
        model.name: warehouse.query(f"SELECT * FROM {model.name} ORDER BY {', '.join(model.key)}")
        for model in MODELS
    }


@on_each_engine
def test_models_are_made_again_only_from_where_something_changed(warehouse: Warehouse) -> None:
    history(warehouse, "bitcoin", [float(day + 1) for day in range(60)])
    first = make_models(warehouse)

    nothing_new = make_models(warehouse)
    fill(
        warehouse,
        "historical_prices",
        opens("bitcoin", {60: 70.0}),
        loaded_at=LOADED_AT + timedelta(days=1),
    )
    one_more = make_models(warehouse)

    assert first.first_day == FIRST_DAY - timedelta(days=1)
    assert nothing_new.first_day is None
    assert nothing_new.models["price_moves"].made == 0
    assert one_more.first_day == FIRST_DAY + timedelta(days=59)
    assert (one_more.models["price_moves"].rows, one_more.models["price_moves"].made) == (61, 2)


def test_a_change_of_how_models_are_made_makes_them_all_again(
    warehouse: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(warehouse, "bitcoin", [1.0, 2.0, 3.0])
    make_models(warehouse)
    monkeypatch.setattr(models, "model_definition", lambda: "another")

    assert make_models(warehouse).models["daily_prices"].made == 3


_PRICES = st.floats(0.01, 1e6, allow_nan=False)
_LOADS = st.lists(
    st.tuples(
        st.sampled_from(["historical", "intra_day", "snapshot", "fear_and_greed", "gone"]),
        st.sampled_from(["bitcoin", "tether"]),
        st.integers(0, 70),
        st.integers(1, 20),
        _PRICES,
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=10)
@given(loads=_LOADS)
def test_whatever_is_loaded_in_whatever_order_models_are_as_if_made_at_once(
    tmp_path_factory: pytest.TempPathFactory, loads: Sequence[tuple[str, str, int, int, float]]
) -> None:
    path = tmp_path_factory.mktemp("warehouse") / "crypto_db.duckdb"
    warehouse = DuckDBWarehouse(path=str(path))
    history(warehouse, "bitcoin", [1.0 + day for day in range(65)])
    make_models(warehouse)

    for number, load in enumerate(loads):
        _load(warehouse, load, LOADED_AT + timedelta(hours=number + 1))
        make_models(warehouse)

    step_by_step = contents(warehouse)
    with warehouse.session(read_only=False) as session:
        session.execute(model_statement("clear_inputs"))
    make_models(warehouse)
    assert contents(warehouse) == step_by_step


@settings(max_examples=4)
@given(
    order=st.permutations(range(12)),
    closes=st.lists(st.floats(1e-9, 1e6), min_size=4, max_size=12),
)
def test_models_are_the_same_to_the_bit_whatever_was_loaded_first(
    tmp_path_factory: pytest.TempPathFactory, order: Sequence[int], closes: Sequence[float]
) -> None:
    coins = [f"coin-{number}" for number in range(6)] + ["tether", "bitcoin"]
    rows = [
        row
        for place, coin in enumerate(coins)
        for row in opens(
            coin,
            {
                # Each coin moves in a rhythm of its own, and some begin later.
                day: closes[day % len(closes)] * (1 + 0.1 * ((day * (place + 3)) % 7))
                for day in range(place, 72)
            },
            market_cap=closes[place % len(closes)] * 1e7 / 3,
            total_volume=closes[place % len(closes)] * 1e5 / 7,
        )
    ]
    made_of = []
    for chunks in (range(12), order):
        path = tmp_path_factory.mktemp("warehouse") / "crypto_db.duckdb"
        warehouse = DuckDBWarehouse(path=str(path))
        for number, chunk in enumerate(chunks):
            loaded_at = LOADED_AT + timedelta(hours=number)
            fill(warehouse, "historical_prices", rows[chunk::12], loaded_at=loaded_at)
            if number % 4 == 0:
                make_models(warehouse)
        make_models(warehouse)
        made_of.append(contents(warehouse))

    assert made_of[0] == made_of[1]


def _load(
    warehouse: Warehouse, load: tuple[str, str, int, int, float], loaded_at: datetime
) -> None:
    kind, coin, first, days, value = load
    start = datetime.combine(FIRST_DAY, datetime.min.time(), UTC) + timedelta(days=first)
    end = start + timedelta(days=days)
    tables = {
        "historical": ("historical_prices", "price_at"),
        "intra_day": ("intra_day_prices", "price_at"),
        "snapshot": ("market_snapshots", "window_start"),
        "fear_and_greed": ("fear_and_greed", "day"),
        "gone": ("historical_prices", "price_at"),
    }
    table, at = tables[kind]
    moments = [start + timedelta(days=day) for day in range(days)]
    with warehouse.session(read_only=False) as session:
        session.execute(f"DELETE FROM {table} WHERE {at} >= ? AND {at} < ?", [start, end])
    rows: list[Row] = []
    for number, moment in enumerate(moments):
        if kind == "historical":
            rows.append(price(coin, f"{moment:%Y-%m-%d}", value + number))
        elif kind == "intra_day":
            rows += intra_day(
                coin, {f"{moment:%Y-%m-%d}T{hour:02}:30": value + hour for hour in (0, 9, 23)}
            )
        elif kind == "snapshot":
            seen = snapshot(coin, f"{moment:%Y-%m-%d}T06:10", ath=value)
            rows.append({**seen, "window_start": moment})
        elif kind == "fear_and_greed":
            index = {"value": int(value) % 100, "fetched_at": moment, "source": "simulated"}
            rows.append({"day": moment.date(), **index})
    fill(warehouse, table, rows, loaded_at=loaded_at)


def test_what_fails_halfway_leaves_all_models_as_they_were(
    warehouse: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(warehouse, "bitcoin", [1.0, 2.0, 3.0])
    make_models(warehouse)
    before = contents(warehouse)
    fill(warehouse, "historical_prices", opens("ethereum", {0: 1.0, 1: 2.0}))
    make = models._make

    def fail_at_the_last(session: Session, model: models.Model, first_day: date) -> None:
        make(session, model, first_day)
        if model is MODELS[-1]:
            raise OSError("the disk is full")

    monkeypatch.setattr(models, "_make", fail_at_the_last)
    with pytest.raises(OSError, match="the disk is full"):
        make_models(warehouse)
    assert contents(warehouse) == before

    monkeypatch.undo()
    assert make_models(warehouse).models["daily_prices"].rows == 5


def test_a_file_of_an_earlier_version_gets_the_models_on_first_use(
    warehouse: DuckDBWarehouse,
) -> None:
    history(warehouse, "bitcoin", [1.0, 2.0])
    with duckdb.connect(warehouse.path) as connection:
        for model in (*(model.name for model in MODELS), "fear_and_greed", "model_inputs"):
            connection.execute(f"DROP TABLE transformed.{model}")

    assert warehouse.query("SELECT * FROM price_moves") == []
    assert column(made(warehouse), "close", "price_moves") == {0: 2.0, 1: None}


def test_an_empty_warehouse_has_empty_models(warehouse: Warehouse) -> None:
    nothing = make_models(warehouse)

    assert nothing.first_day is None
    assert {one.rows for one in nothing.models.values()} == {0}


@pytest.mark.parametrize(
    ("model", "check", "damage"),
    [
        ("daily_prices", "key_unique", "INSERT INTO daily_prices SELECT * FROM daily_prices"),
        ("daily_prices", "values_in_range", "UPDATE daily_prices SET high = 1, low = 2"),
        ("daily_prices", "complete", "DELETE FROM daily_prices WHERE day = '2026-01-02'"),
        ("price_moves", "values_in_range", "UPDATE price_moves SET drawdown = 0.1"),
        ("price_moves", "complete", "DELETE FROM price_moves WHERE day = '2026-01-02'"),
        ("trading_volumes", "values_in_range", "UPDATE trading_volumes SET market_share = 1.1"),
        ("trading_volumes", "complete", "DELETE FROM trading_volumes"),
        ("market_sentiment", "key_unique", "INSERT INTO market_sentiment FROM market_sentiment"),
        ("market_sentiment", "values_in_range", "UPDATE market_sentiment SET breadth_1d = -0.1"),
        ("market_sentiment", "complete", "DELETE FROM market_sentiment WHERE day = '2026-01-02'"),
    ],
)
def test_a_check_finds_what_breaks_its_promise(
    warehouse: DuckDBWarehouse, model: str, check: str, damage: str
) -> None:
    history(warehouse, "bitcoin", [1.0, 2.0, 3.0])
    before = make_models(warehouse)
    with duckdb.connect(warehouse.path) as connection:
        connection.execute("SET schema = 'transformed'")
        connection.execute(damage)

    after = make_models(warehouse)

    assert not any(faults for one in before.models.values() for faults in one.faults.values())
    assert after.models[model].faults[check]


def test_every_column_of_a_model_is_described(warehouse: DuckDBWarehouse) -> None:
    for model in MODELS:
        (row,) = warehouse.query(
            "SELECT LISTAGG(column_name, ' ') AS names FROM information_schema.columns "
            f"WHERE table_name = '{model.name}'"
        )
        schema = column_schema(model.name)
        assert {one.name for one in schema.columns} == set(row["names"].split())
        assert all(one.description for one in schema.columns)
        assert relations().issuperset(model.reads)
