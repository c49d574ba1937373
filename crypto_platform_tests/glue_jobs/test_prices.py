"""What the jobs make of prices, on both engines."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream, Window
from crypto_platform.transformation.spark_engines import Engine
from crypto_platform.transformation.transformed_windows import counts_of
from crypto_platform_tests.glue_jobs.jobs import (
    DAY,
    RECORDED,
    START,
    JobRunner,
    Record,
    Row,
    exact,
    grain_of,
    milliseconds,
    raw_records,
    record,
    recorded_records,
    values,
)

pytestmark = pytest.mark.integration

AT = milliseconds(START)

EXAMPLES: dict[Engine, int] = {"sail": 20, "spark": 4}
"""A job takes Sail a tenth of a second, Apache Spark a whole one."""


def law(engine: Engine, *given_values: st.SearchStrategy[Any]) -> Callable[..., None]:
    """A decorator that holds a law to be true of values, as often as an engine is quick."""

    def hold(check: Callable[..., None]) -> None:
        settings(max_examples=EXAMPLES[engine], deadline=None)(given(*given_values)(check))()

    return hold


def test_the_arrays_are_joined_by_timestamp_not_by_position(jobs: JobRunner) -> None:
    made = record([[AT, 1.5], [AT + 9, 2.5]], [[AT + 9, 7]], [[AT, 8]], stream=INTRA_DAY)
    assert values(jobs.transform([made], INTRA_DAY)) == [
        (AT, 1.5, None, 8.0),
        (AT + 9, 2.5, 7, None),
    ]


def test_a_row_has_the_columns_of_the_contract_in_order(jobs: JobRunner) -> None:
    assert jobs.transform([record([[AT + 5, 1.5]], [[AT + 5, 2]], [[AT + 5, 3]])]) == [
        {
            "coin_id": "bitcoin",
            "vs_currency": "usd",
            "window_start": START,
            "price_at": START,
            "price": 1.5,
            "market_cap": 2.0,
            "total_volume": 3.0,
            "granularity": "daily",
            "fetched_at": datetime(2026, 11, 23, 0, 45, 12, 123000, tzinfo=UTC),
            "source": "coingecko",
            "run_id": "fetch",
        },
    ]


def test_a_day_keeps_its_first_price_and_rejects_nothing(jobs: JobRunner) -> None:
    made = record([[AT + 20, 2.5], [AT + 10, 1.5]], [[AT + 20, 8], [AT + 10, 7]])
    assert values(jobs.transform([made])) == [(AT, 1.5, 7, None)]
    assert jobs.files("rejected") == []


WEEKLY = replace(
    HISTORICAL,
    name="weekly",
    window_length=timedelta(days=7),
    partition_cron="0 0 * * 1",
    floored_to=timedelta(days=7),
)
"""Weeks begin on Monday, and the UNIX epoch was a Thursday."""


@pytest.mark.parametrize(
    "monday", [datetime(2026, 11, 16, tzinfo=UTC), datetime(1969, 12, 29, tzinfo=UTC)]
)
def test_a_week_keeps_its_first_price_at_the_monday_it_begins_on(
    jobs: JobRunner, monday: datetime
) -> None:
    at = milliseconds(monday)
    points = [[at + day * DAY + 10, 1.5 + day] for day in range(7)]
    made = record(points, [[at + 10, 7]], start=monday, stream=WEEKLY)
    assert values(jobs.transform([made], WEEKLY)) == [(at, 1.5, 7, None)]
    assert jobs.files("rejected") == []
    assert counts_of(made, WEEKLY, Window(start=monday, end=monday + timedelta(days=7))) == (1, 0)


def test_a_day_keeps_the_first_stamp_that_has_a_price(jobs: JobRunner) -> None:
    made = record([[AT, None], [AT + 10, 1.5]], [[AT, 6], [AT + 10, 7]])
    assert values(jobs.transform([made])) == [(AT, 1.5, 7, None)]


def test_of_equal_stamps_the_first_in_the_order_of_the_api_wins(jobs: JobRunner) -> None:
    made = record([[AT, 1.5], [AT, 2.5]], [[AT, None], [AT, 7]], [[AT, 9], [AT, 8]])
    assert values(jobs.transform([made], INTRA_DAY)) == [(AT, 1.5, None, 9)]


def test_zero_and_null_caps_and_volumes_stay(jobs: JobRunner) -> None:
    made = record([[AT, 1], [AT + 1, 2]], [[AT, 0], [AT + 1, None]], [[AT, None], [AT + 1, 0]])
    assert values(jobs.transform([made], INTRA_DAY)) == [(AT, 1, 0, None), (AT + 1, 2, None, 0)]


@pytest.mark.parametrize("price", [0, -0.0, -1.5])
def test_a_price_that_no_coin_can_have_is_rejected_and_leaves_the_others(
    jobs: JobRunner, price: float
) -> None:
    made = record([[AT, price], [AT + 1, 2.5]], [[AT, 7.5]])
    assert values(jobs.transform([made], INTRA_DAY)) == [(AT + 1, 2.5, None, None)]
    [rejected] = jobs.rows("rejected")
    assert rejected["reason"] == "The price is not a positive number."
    assert values([rejected]) == [(AT, None, 7.5, None)]


def test_a_null_price_is_rejected_and_keeps_its_cap(jobs: JobRunner) -> None:
    assert jobs.transform([record([[AT + 5, None]], [[AT + 5, 7.5]])]) == []
    [rejected] = jobs.rows("rejected")
    assert rejected["reason"] == "The price is null."
    assert rejected["stamp"] == AT + 5
    assert values([rejected]) == [(AT, None, 7.5, None)]


def test_a_volume_without_a_price_is_rejected(jobs: JobRunner) -> None:
    jobs.transform([record([[AT, 1]], [], [[AT, 2], [AT + 5, 8.5]])], INTRA_DAY)
    [rejected] = jobs.rows("rejected")
    assert rejected["reason"] == "There is a market cap or a volume, but no price."
    assert values([rejected]) == [(AT + 5, None, None, 8.5)]


@pytest.mark.parametrize("stamp", [AT - 1, AT + DAY, 1e300, -1e300])
def test_a_stamp_outside_its_window_is_rejected(jobs: JobRunner, stamp: float) -> None:
    assert jobs.transform([record([[stamp, 1.5]])]) == []
    [rejected] = jobs.rows("rejected")
    assert rejected["reason"] == "The timestamp is outside the record's window."
    assert (rejected["stamp"], rejected["price_at"], rejected["price"]) == (stamp, None, 1.5)


@pytest.mark.parametrize("point", [[], [None, 1.5]])
def test_a_point_without_a_timestamp_is_rejected(jobs: JobRunner, point: list[Any]) -> None:
    assert values(jobs.transform([record([point, [AT, 2.5]])])) == [(AT, 2.5, None, None)]
    assert [row["reason"] for row in jobs.rows("rejected")] == ["The point has no timestamp."]


def test_a_record_whose_arrays_are_null_has_no_rows(jobs: JobRunner) -> None:
    assert jobs.transform([record(None, None, None), record([[AT, 1]], coin="ethereum")])
    assert {row["coin_id"] for row in jobs.rows("prices")} == {"ethereum"}


def expected(made: Record, grain: int) -> list[Row]:
    """The rules once more, in Python: the prices that count of one record."""
    start = milliseconds(datetime.fromisoformat(made["window_start"]))
    series = {name: dict(reversed(made[name])) for name in ("market_caps", "total_volumes")}
    firsts: dict[int, tuple[int, float]] = {}
    for stamp, price in sorted(made["prices"], key=lambda point: point[0]):
        if price is not None and price > 0:
            firsts.setdefault(start + (stamp - start) // grain * grain, (stamp, price))
    return [
        {
            "coin_id": made["coin_id"],
            "window_start": made["window_start"],
            "price_at": at,
            "price": price,
            "market_cap": series["market_caps"].get(stamp),
            "total_volume": series["total_volumes"].get(stamp),
        }
        for at, (stamp, price) in firsts.items()
    ]


@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY], ids=lambda stream: stream.name)
def test_every_value_arrives_to_the_bit(
    engine: Engine,
    new_jobs: Callable[[], JobRunner],
    stream: Stream,
) -> None:
    @law(engine, raw_records())
    def check(made: list[Record]) -> None:
        assert exact(new_jobs().transform(made, stream)) == exact(
            [row for one in made for row in expected(one, grain_of(stream))],
        )


@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY], ids=lambda stream: stream.name)
def test_there_are_as_many_prices_and_rejected_points_as_the_check_of_row_counts_expects(
    engine: Engine,
    new_jobs: Callable[[], JobRunner],
    stream: Stream,
) -> None:
    @law(engine, raw_records())
    def check(made: list[Record]) -> None:
        jobs = new_jobs()
        jobs.transform(made, stream)
        prices, rejected = (
            Counter((row["coin_id"], row["window_start"]) for row in jobs.rows(dataset))
            for dataset in ("prices", "rejected")
        )
        for one in made:
            window = Window(start=one["window_start"], end=one["window_end"])
            key = (one["coin_id"], window.start)
            assert counts_of(one, stream, window) == (prices[key], rejected[key])


def test_the_order_of_points_records_and_files_does_not_matter(
    engine: Engine,
    new_jobs: Callable[[], JobRunner],
) -> None:
    @law(engine, raw_records(repeats=False), st.randoms(use_true_random=False))
    def check(made: list[Record], random: Random) -> None:
        def shuffled(items: Sequence[Any]) -> list[Any]:
            return random.sample(list(items), len(items))

        names = ("prices", "market_caps", "total_volumes")
        other = shuffled([{**one, **{name: shuffled(one[name]) for name in names}} for one in made])
        jobs, other_jobs = new_jobs(), new_jobs()
        half = len(other) // 2
        files: dict[str, Row] = {}
        for number, part in enumerate((other[:half], other[half:])):
            for line in other_jobs.write_raw(part, f"prices-{number}"):
                known = files.setdefault(line["window_start"], {**line, "prices": []})
                known["prices"] = [*line["prices"], *known["prices"]]

        jobs.run(jobs.write_raw(made), INTRA_DAY)
        other_jobs.run(shuffled([*files.values()]), INTRA_DAY)
        for dataset in ("prices", "rejected"):
            assert exact(jobs.rows(dataset)) == exact(other_jobs.rows(dataset))


def test_several_job_specs_make_the_rows_of_one(
    engine: Engine,
    new_jobs: Callable[[], JobRunner],
) -> None:
    @law(engine, raw_records(), st.integers(0, 8))
    def check(made: list[Record], cut: int) -> None:
        jobs, parted = new_jobs(), new_jobs()
        jobs.run(jobs.write_raw(made), INTRA_DAY)
        job_spec = parted.write_raw(made)
        for run_id, part in (("first", job_spec[:cut]), ("second", job_spec[cut:])):
            if part:
                parted.run(part, INTRA_DAY, run_id)
        for dataset in ("prices", "rejected"):
            assert exact(jobs.rows(dataset)) == exact(parted.rows(dataset))


@pytest.mark.recorded
@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"There are no recorded responses in {RECORDED}.")
@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY], ids=lambda stream: stream.name)
def test_recorded_series_arrive_to_the_bit(jobs: JobRunner, stream: Stream) -> None:
    made = recorded_records(RECORDED, stream)
    rows = jobs.transform(made, stream)
    assert {row["coin_id"] for row in rows} == {one["coin_id"] for one in made}
    assert exact(rows) == exact([row for one in made for row in expected(one, grain_of(stream))])
