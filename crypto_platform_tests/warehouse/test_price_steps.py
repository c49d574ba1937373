"""Which hour or day a price is of, and what fills those without one: laws, and recorded prices."""

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.price_frames import (
    COLUMNS,
    FIRST_MOMENT,
    LAST_MOMENT,
    coarser_spans,
    price_frame,
    without_holes,
)
from crypto_platform_tests.replay import needs_recorded, recorded_charts
from crypto_platform_tests.warehouse_rows import price_row, put

ALWAYS = (FIRST_MOMENT, LAST_MOMENT)
DAY = datetime(2026, 11, 20, tzinfo=UTC)
EARLY = timedelta(seconds=150)
STEPS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1)}


class Point(NamedTuple):
    coin_id: str
    at: datetime
    granularity: str


def some_points(seed: int) -> list[Point]:
    """Prices of many coins, half of them within minutes of a full hour, where it is decided."""
    chance = random.Random(seed)  # noqa: S311 - no secret is made of it
    points: dict[tuple[str, datetime], Point] = {}
    for number in range(40):
        for _ in range(chance.randrange(1, 13)):
            late = chance.choice([chance.randrange(3_600_000), chance.randrange(-200_000, 200_000)])
            at = DAY + chance.randrange(1, 90) * STEPS["hourly"] + timedelta(milliseconds=late)
            kind = chance.choice(["5-minute", "hourly", "daily"])
            points[f"coin-{number}", at] = Point(f"coin-{number}", at, kind)
    return list(points.values())


POINTS = some_points(seed=1)


def made(home: Path, points: Iterable[Point]) -> DuckDBWarehouse:
    """A warehouse that holds these prices."""
    warehouse = DuckDBWarehouse(path=str(home / "crypto_db.duckdb"))
    points = list(points)
    coins = sorted({point.coin_id for point in points})
    put(
        warehouse,
        "coins",
        [{"coin_id": coin, "first_tracked_at": DAY, "tracked": True} for coin in coins],
    )
    rows = [
        price_row(coin, at, float(number + 1), granularity=granularity, market_cap=None)
        for number, (coin, at, granularity) in enumerate(points)
    ]
    put(warehouse, "intra_day_prices", rows)
    return warehouse


def read(
    warehouse: DuckDBWarehouse,
    granularity: str,
    between: tuple[datetime, datetime] = ALWAYS,
    *,
    fill: bool = False,
) -> pd.DataFrame:
    """The prices of all coins."""
    coins = [row["coin_id"] for row in warehouse.query("SELECT coin_id FROM coins")]
    return price_frame(
        warehouse, coins, between, granularity=granularity, vs_currency="usd", fill=fill
    )


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> DuckDBWarehouse:
    return made(tmp_path_factory.mktemp("home"), POINTS)


@pytest.mark.parametrize("coarseness", STEPS)
def test_each_hour_or_day_with_a_price_has_the_nearest_and_no_other_is_left_out(
    many: DuckDBWarehouse, coarseness: str
) -> None:
    nearest: dict[tuple[str, datetime], datetime] = {}
    for coin, at, granularity in sorted(POINTS, key=lambda point: point.at):
        moved = at if granularity == "daily" else at + EARLY
        step = moved - (moved - FIRST_MOMENT) % STEPS[coarseness]
        nearest[coin, step] = min(
            nearest.get((coin, step), at), at, key=lambda moment: abs(moment - step)
        )

    frame = read(many, coarseness)

    taken = zip(frame["coin_id"], frame["time"], frame["price_at"], strict=True)
    assert {(coin, time): at for coin, time, at in taken} == nearest
    assert len(frame) == len(nearest) < len(POINTS)


def test_a_row_of_an_hour_is_a_row_of_the_finest_but_for_its_time(many: DuckDBWarehouse) -> None:
    finest = read(many, "finest").set_index(["coin_id", "price_at"]).drop(columns="time")
    hourly = read(many, "hourly").set_index(["coin_id", "price_at"]).drop(columns="time")

    assert hourly.index.is_unique
    pd.testing.assert_frame_equal(hourly, finest.loc[hourly.index])


@pytest.mark.parametrize("fill", [False, True])
def test_a_part_of_the_time_has_the_rows_of_the_whole(many: DuckDBWarehouse, *, fill: bool) -> None:
    whole = read(many, "hourly", fill=fill)
    # Off the hour, too: it is the hour's start that counts.
    for hours in (30.0, 47.7):
        start, end = DAY + timedelta(hours=hours), DAY + timedelta(hours=hours + 20)

        part = read(many, "hourly", (start, end), fill=fill)

        inside = whole[(whole["time"] >= start) & (whole["time"] < end)]
        pd.testing.assert_frame_equal(part, inside.reset_index(drop=True))


@settings(max_examples=40)
@given(
    hours=st.sets(st.tuples(st.sampled_from(["bitcoin", "ethereum"]), st.integers(0, 60))),
    unknown=st.sets(st.integers(0, 60)),
)
def test_filling_leaves_no_hole_and_invents_no_value(
    hours: set[tuple[str, int]], unknown: set[int]
) -> None:
    rows = [
        {
            **dict.fromkeys(COLUMNS),
            "time": DAY + hour * STEPS["hourly"],
            "coin_id": coin,
            "price": float(hour),
            "market_cap": None if hour in unknown else float(hour),
        }
        for coin, hour in sorted(hours, key=lambda one: (one[1], one[0]))
    ]
    types = {"time": "datetime64[us, UTC]", "price": "float64", "market_cap": "float64"}
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(types)

    filled = without_holes(frame, STEPS["hourly"])

    # What is not filled is as it was, and nothing comes before or after it.
    seen = filled[~filled["filled"]].drop(columns="filled").reset_index(drop=True)
    pd.testing.assert_frame_equal(seen, frame)
    for _, coin in filled.groupby("coin_id"):
        assert not coin["filled"].iloc[[0, -1]].any()
        assert set(coin["time"].diff().dropna()) <= {pd.Timedelta(STEPS["hourly"])}
        values = coin[["price", "market_cap"]].reset_index(drop=True)
        copied = coin["filled"].to_numpy()
        pd.testing.assert_frame_equal(values[copied], values.shift()[copied])


def test_a_price_some_seconds_early_is_of_the_hour_and_day_that_follow(tmp_path: Path) -> None:
    midnight = DAY + timedelta(days=1)
    stamps = {
        DAY + timedelta(hours=21, minutes=59, seconds=56): DAY + timedelta(hours=22),
        midnight - timedelta(seconds=150): midnight,
    }
    warehouse = made(tmp_path, [Point("bitcoin", at, "5-minute") for at in stamps])

    assert list(read(warehouse, "hourly")["time"]) == list(stamps.values())
    assert list(read(warehouse, "daily")["time"]) == [DAY, midnight]


def test_days_without_finer_prices_are_told_once_for_all_coins_that_have_the_same(
    tmp_path: Path,
) -> None:
    coins = ("bitcoin", "ethereum", "solana")
    daily = [Point(coin, DAY + timedelta(days=n), "daily") for coin in coins for n in range(5)]
    # A day with anything finer is none of them, though its midnight has a daily price.
    finer = Point("bitcoin", DAY + timedelta(days=2, hours=3), "hourly")
    warehouse = made(tmp_path, [*daily, finer])

    spans = coarser_spans(read(warehouse, "hourly", fill=True))

    assert [str(span) for span in spans] == [
        "bitcoin: 2026-11-20 to 2026-11-21",
        "ethereum, solana: 2026-11-20 to 2026-11-24",
        "bitcoin: 2026-11-23 to 2026-11-24",
    ]


@needs_recorded
@pytest.mark.parametrize("granularity", STEPS)
def test_each_recorded_price_is_of_an_hour_or_day_of_its_own(
    granularity: str, tmp_path: Path
) -> None:
    points = recorded(granularity, granularity)

    assert len(read(made(tmp_path, points), granularity)) == len(points)


@needs_recorded
def test_each_hour_has_the_recorded_price_that_was_meant_for_its_start(tmp_path: Path) -> None:
    warehouse = made(tmp_path, recorded("5min", "5-minute"))

    hours = read(warehouse, "hourly").groupby("coin_id").nth(slice(1, -1))

    # Of a day's hours the first and the last were not recorded from their start.
    assert set(hours["coin_id"].value_counts()) == {23}
    assert (hours["price_at"] - hours["time"]).abs().max() < timedelta(seconds=155)


def recorded(folder: str, granularity: str) -> list[Point]:
    """All recorded moments, without each recording's last one, which is when it was asked for."""
    return [
        Point(coin, datetime.fromtimestamp(stamp / 1000, UTC), granularity)
        for coin, chart in recorded_charts(folder).items()
        for stamp, _ in json.loads(chart.read_text())["prices"][:-1]
    ]
