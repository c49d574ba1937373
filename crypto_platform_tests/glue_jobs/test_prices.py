"""What the jobs make of prices, on both engines."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.transformation.spark_engines import Engine
from crypto_platform_tests.glue_jobs.examples import example
from crypto_platform_tests.glue_jobs.jobs import (
    DAY,
    HOUR,
    RECORDED,
    SERIES,
    START,
    JobRunner,
    Made,
    Record,
    Row,
    answers,
    exact,
    expected_rows,
    is_price,
    milliseconds,
    record,
    recorded_records,
    superseding,
    values,
)

pytestmark = pytest.mark.integration

AT = milliseconds(START)

JOBS_A_LAW: dict[Engine, int] = {"sail": 5, "spark": 2}
EXAMPLES_A_JOB: dict[Engine, int] = {"sail": 5, "spark": 4}
"""A job takes Sail a tenth of a second, Apache Spark some whole ones, however many it is of. The
first of a law's is of the simplest examples that there are."""


def law(engine: Engine, *values_of_one: st.SearchStrategy[Any]) -> Callable[..., None]:
    """A decorator that holds a law to be true of lists of examples, as an engine is quick."""

    def hold(check: Callable[..., None]) -> None:
        size = EXAMPLES_A_JOB[engine]
        some = st.lists(st.tuples(*values_of_one), min_size=size, max_size=size)
        settings(max_examples=JOBS_A_LAW[engine], deadline=None)(given(some)(check))()

    return hold


@example(
    [record([[AT, 1.5], [AT + 9, 2.5]], [[AT + 9, 7]], [[AT, 8]], stream=INTRA_DAY)], INTRA_DAY
)
def test_the_arrays_are_joined_by_timestamp_not_by_position(made: Made) -> None:
    assert values(made.prices) == [(AT, 1.5, None, 8.0), (AT + 9, 2.5, 7, None)]


@example([record([[AT + 5, 1.5]], [[AT + 5, 2]], [[AT + 5, 3]])])
def test_a_row_has_the_columns_of_the_contract_in_order(made: Made) -> None:
    [row] = made.prices
    assert list(row.items()) == [
        ("coin_id", "bitcoin"),
        ("vs_currency", "usd"),
        ("window_start", START),
        ("price_at", START),
        ("stamped_at", START + timedelta(milliseconds=5)),
        ("price", 1.5),
        ("market_cap", 2.0),
        ("total_volume", 3.0),
        ("granularity", "daily"),
        ("fetched_at", datetime(2026, 11, 23, 0, 45, 12, 123000, tzinfo=UTC)),
        ("source", "coingecko"),
        ("run_id", "fetch"),
        ("stamp", float(AT + 5)),
        ("reason", None),
    ]


@example([record([[AT + 20, 2.5], [AT + 10, 1.5]], [[AT + 20, 8], [AT + 10, 7]])])
def test_a_day_keeps_its_first_price_and_rejects_nothing(made: Made) -> None:
    assert values(made.prices) == [(AT, 1.5, 7, None)]
    assert made.rejected == []


TWO_HOURS = 2 * HOUR


@example(
    lambda after: [
        record([[AT + after, 1.5]] + [[AT + late, 2.5] for late in [DAY - 1] if late > after])
    ]
)
@pytest.mark.parametrize(
    ("after", "stands_at"),
    [(0, 0), (TWO_HOURS, 0), (TWO_HOURS + 1, TWO_HOURS + 1), (DAY - 1, DAY - 1)],
)
def test_a_price_of_the_day_stands_for_its_midnight_up_to_two_hours_later(
    made: Made, after: int, stands_at: int
) -> None:
    [row] = made.prices
    assert values([row]) == [(AT + stands_at, 1.5, None, None)]
    assert milliseconds(row["stamped_at"]) == row["stamp"] == AT + after


WEEKLY = replace(
    HISTORICAL,
    name="weekly",
    window_length=timedelta(days=7),
    partition_cron="0 0 * * 1",
    floored_to=timedelta(days=7),
    window_anchor=datetime(1970, 1, 5, tzinfo=UTC),
)
"""Weeks begin on Monday, and the UNIX epoch was a Thursday."""


def week_from(monday: datetime) -> Record:
    at = milliseconds(monday)
    points = [[at + day * DAY + 10, 1.5 + day] for day in range(7)]
    return record(points, [[at + 10, 7]], start=monday, stream=WEEKLY)


@example(lambda monday: [week_from(monday)], WEEKLY)
@pytest.mark.parametrize(
    "monday", [datetime(2026, 11, 16, tzinfo=UTC), datetime(1969, 12, 29, tzinfo=UTC)]
)
def test_a_week_keeps_its_first_price_at_the_monday_it_begins_on(
    made: Made, monday: datetime
) -> None:
    assert values(made.prices) == [(milliseconds(monday), 1.5, 7, None)]
    assert made.rejected == []


@example([record([[AT, None], [AT + 10, 1.5]], [[AT, 6], [AT + 10, 7]])])
def test_a_day_keeps_the_first_stamp_that_has_a_price(made: Made) -> None:
    assert values(made.prices) == [(AT, 1.5, 7, None)]


@example(
    [record([[AT, 1.5], [AT, 2.5]], [[AT, None], [AT, 7]], [[AT, 9], [AT, 8]])],
    INTRA_DAY,
)
def test_of_equal_stamps_the_first_value_in_the_order_of_the_api_wins(made: Made) -> None:
    assert values(made.prices) == [(AT, 1.5, 7, 9)]


@example(
    [record([[AT, 1], [AT + 1, 2]], [[AT, 0], [AT + 1, None]], [[AT, None], [AT + 1, 0]])],
    INTRA_DAY,
)
def test_zero_and_null_caps_and_volumes_stay(made: Made) -> None:
    assert values(made.prices) == [(AT, 1, 0, None), (AT + 1, 2, None, 0)]


@example(lambda price: [record([[AT, price], [AT + 1, 2.5]], [[AT, 7.5]])], INTRA_DAY)
@pytest.mark.parametrize("price", [0, -0.0, -1.5])
def test_a_price_that_no_coin_can_have_is_rejected_and_leaves_the_others(made: Made) -> None:
    assert values(made.prices) == [(AT + 1, 2.5, None, None)]
    [rejected] = made.rejected
    assert rejected["reason"] == "The price is not a positive number."
    assert values([rejected]) == [(AT, None, 7.5, None)]


@example([record([[AT + 5, None]], [[AT + 5, 7.5]])])
def test_a_null_price_is_rejected_and_keeps_its_cap(made: Made) -> None:
    assert made.prices == []
    [rejected] = made.rejected
    assert rejected["reason"] == "The price is null."
    assert rejected["stamp"] == AT + 5
    assert values([rejected]) == [(AT, None, 7.5, None)]


@example([record([[AT, 1]], [], [[AT, 2], [AT + 5, 8.5]])], INTRA_DAY)
def test_a_volume_without_a_price_is_rejected(made: Made) -> None:
    [rejected] = made.rejected
    assert rejected["reason"] == "There is a market cap or a volume, but no price."
    assert values([rejected]) == [(AT + 5, None, None, 8.5)]


@example(lambda stamp: [record([[stamp, 1.5]])])
@pytest.mark.parametrize("stamp", [AT - 1, AT + DAY, 1e300, -1e300])
def test_a_stamp_outside_its_window_is_rejected(made: Made, stamp: float) -> None:
    assert made.prices == []
    [rejected] = made.rejected
    assert rejected["reason"] == "The timestamp is outside the record's window."
    assert (rejected["stamp"], rejected["price_at"], rejected["price"]) == (stamp, None, 1.5)


@example(lambda point: [record([point, [AT, 2.5]])])
@pytest.mark.parametrize("point", [[], [None, 1.5]])
def test_a_point_without_a_timestamp_is_rejected(made: Made) -> None:
    assert values(made.prices) == [(AT, 2.5, None, None)]
    assert [row["reason"] for row in made.rejected] == ["The point has no timestamp."]


@example([record(None, None, None), record([[AT, 1]], coin="ethereum")])
def test_a_record_whose_arrays_are_null_has_no_rows(made: Made) -> None:
    assert {row["coin_id"] for row in made.prices} == {"ethereum"}


def faulty(made: Record, *faults: tuple[str, int | None, str]) -> Record:
    """A record with what stood in place of numbers: series, stamp and text."""
    named = [dict(zip(("series", "stamp", "value"), fault, strict=True)) for fault in faults]
    return {**made, "faults": named}


@example(
    [faulty(record([[AT, None], [AT + 1, 2.5]], [[AT, 7.5]]), ("prices", AT, '"NaN"'))],
    INTRA_DAY,
)
def test_a_price_that_is_no_number_is_rejected_by_its_text_and_leaves_the_others(
    made: Made,
) -> None:
    assert values(made.prices) == [(AT + 1, 2.5, None, None)]
    [rejected] = made.rejected
    assert rejected["reason"] == 'The price "NaN" is not a number.'
    assert values([rejected]) == [(AT, None, 7.5, None)]


def with_odd_caps(run_id: str) -> Record:
    made = record([[AT, 1.5]], [[AT, None]], [[AT, 8]], run_id=run_id)
    return faulty(made, ("market_caps", AT, f'"{"x" * 200}"'), ("market_caps", None, "5"))


# The same again is no other fault.
@example([with_odd_caps("fetch"), with_odd_caps("again")])
def test_a_cap_that_is_no_number_is_null_and_its_text_is_rejected(made: Made) -> None:
    assert values(made.prices) == [(AT, 1.5, None, 8)]
    assert {row["reason"]: row["price_at"] for row in made.rejected} == {
        f'The market cap "{"x" * 59}… is not a number.': START,
        "market_caps has 5 in place of a point.": None,
    }
    assert len(made.rejected) == 2


@example([faulty(record([[AT, 1.5], [AT + DAY, 2.5]], windows=2), ("total_volumes", None, "null"))])
def test_a_series_that_is_none_is_one_rejected_value(made: Made) -> None:
    assert [row["price"] for row in made.prices] == [1.5, 2.5]
    [rejected] = made.rejected
    assert rejected["reason"] == "total_volumes has null in place of a point."
    assert (rejected["window_start"], rejected["stamp"]) == (START, None)


@example(
    [
        record([[AT, 1.5]], [[AT, 6]], [[AT, 7]], coin="a"),
        faulty(record([[AT, 2.5]], [[AT, 6]], [[AT, 7]], coin="b"), ("prices", None, "{}")),
        {**record([[AT, 3.5]], coin="c"), "faults": None},
    ]
)
def test_records_with_and_without_faults_stand_side_by_side(made: Made) -> None:
    assert [row["price"] for row in made.prices] == [1.5, 2.5, 3.5]
    assert [row["coin_id"] for row in made.rejected] == ["b"]


OLD, NEW = "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"


def answer(prices: Sequence[Any], at: str, granularity: str = "hourly", **fields: Any) -> Record:
    """What one answer says of a coin's first six-hour window."""
    return record(
        prices, fetched_at=at, run_id=at, granularity=granularity, stream=INTRA_DAY, **fields
    )


def hourly(number: int) -> list[list[float]]:
    return [[AT + hour * HOUR, 1.5 + hour] for hour in range(number)]


@example([record([[AT + day * DAY + 5, 1.5 + day] for day in range(3)], windows=3)])
def test_a_stretch_of_windows_gives_each_of_them_its_rows(made: Made) -> None:
    starts = [milliseconds(row["window_start"]) for row in made.prices]
    assert starts == [AT + n * DAY for n in range(3)]
    assert values(made.prices) == [(AT + day * DAY, 1.5 + day, None, None) for day in range(3)]


@example(
    [answer(hourly(6), OLD), answer([[AT + 5 * HOUR - 1000, 9.5]], NEW, "5-minute")], INTRA_DAY
)
def test_one_finer_point_leaves_the_coarser_ones_that_are_not_beside_it(made: Made) -> None:
    assert [(row["price"], row["granularity"]) for row in made.prices] == [
        *((price, "hourly") for _, price in hourly(5)),
        (9.5, "5-minute"),
    ]


def side_by_side(coarse: str, distance: int, side: int) -> list[Record]:
    """A coarser point, and a finer one before or after it."""
    at = AT + (0 if side > 0 else distance)
    return [
        answer([[at, 1.5]], NEW, coarse),
        answer([[at + side * distance, 2.5]], OLD, "5-minute"),
    ]


@example(side_by_side, INTRA_DAY)
@pytest.mark.parametrize(
    ("coarse", "distance", "rows"),
    [
        ("hourly", HOUR // 2 - 1, 1),
        ("hourly", HOUR // 2, 2),
        ("daily", 5 * HOUR, 1),
        ("a new name", 5 * HOUR, 1),
        ("5-minute", 1, 2),
    ],
)
@pytest.mark.parametrize("side", [1, -1])
def test_a_coarser_point_gives_way_to_a_finer_one_nearer_than_half_its_spacing(
    made: Made, rows: int
) -> None:
    assert len(made.prices) == rows


WINDOW_END = AT + INTRA_DAY.window_length // timedelta(milliseconds=1)


@example(
    [
        answer([[WINDOW_END - 1, 1.5]], OLD),
        answer([[WINDOW_END, 2.5]], NEW, "5-minute", start=START + INTRA_DAY.window_length),
        answer([[WINDOW_END - 1, 3.5]], NEW, "5-minute", coin="ethereum"),
    ],
    INTRA_DAY,
)
def test_a_finer_point_of_another_window_or_coin_takes_no_place(made: Made) -> None:
    assert len(made.prices) == 3


SIX_HOURS = [[AT + number * 300_000, 1.5 + number] for number in range(72)]


@example(
    [
        answer(SIX_HOURS[:71], OLD, "5-minute", market_caps=SIX_HOURS),
        answer(SIX_HOURS, NEW, "5-minute"),
    ],
    INTRA_DAY,
)
def test_an_answer_with_one_price_more_keeps_the_market_caps_of_the_older_one(made: Made) -> None:
    assert [row["market_cap"] for row in made.prices] == [cap for _, cap in SIX_HOURS]
    assert [row["run_id"] for row in made.prices] == [OLD] * 71 + [NEW]


@example([answer([[AT, 2.5]], NEW), answer([[AT, 1.5]], OLD, market_caps=[[AT, 7]])], INTRA_DAY)
def test_a_corrected_price_counts_although_its_answer_lacks_the_cap(made: Made) -> None:
    [row] = made.prices
    assert (row["price"], row["market_cap"], row["run_id"]) == (2.5, 7, NEW)


@example(
    [
        answer([[AT, 1.5], [AT + HOUR, 2.5]], OLD),
        answer([[AT, None], [AT + HOUR, 0]], NEW, market_caps=[[AT, 7]]),
    ],
    INTRA_DAY,
)
def test_what_is_no_price_hides_no_price_of_an_older_answer(made: Made) -> None:
    assert values(made.prices) == [(AT, 1.5, 7, None), (AT + HOUR, 2.5, None, None)]
    assert made.rejected == []


@example(
    [
        record([[AT, number + 0.5]], [[AT, 9 - number]], run_id=run_id)
        for number, run_id in enumerate("badc", start=1)
    ]
)
def test_of_answers_of_one_moment_the_last_run_counts(made: Made) -> None:
    [row] = made.prices
    assert (row["run_id"], row["price"], row["market_cap"]) == ("d", 3.5, 6)


@example(
    [
        answer([[AT, 1.5]], NEW, "daily"),
        answer([[AT, 1.5]], OLD, "hourly"),
        answer([[AT, None]], OLD, "5-minute"),
    ],
    INTRA_DAY,
)
def test_an_observation_is_of_the_finest_granularity_that_has_a_price_there(made: Made) -> None:
    [row] = made.prices
    assert (row["granularity"], row["run_id"]) == ("hourly", OLD)


@example([answer([[AT, 0]], NEW), answer([[AT, None]], OLD, market_caps=[[AT, 7]])], INTRA_DAY)
def test_a_stamp_that_is_bad_in_several_answers_is_rejected_once(made: Made) -> None:
    [row] = made.rejected
    assert (row["run_id"], row["reason"]) == (NEW, "The price is not a positive number.")
    assert values([row]) == [(AT, None, 7, None)]


def rows_of(made: Made) -> list[Row]:
    """The rows of both datasets, to the bit."""
    return exact([*made.prices, *made.rejected])


def shuffled(items: Sequence[Any], random: Random) -> list[Any]:
    return random.sample(list(items), len(items))


@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY], ids=lambda stream: stream.name)
def test_every_value_arrives_to_the_bit_and_in_any_order(
    engine: Engine,
    new_jobs: Callable[[], JobRunner],
    stream: Stream,
) -> None:
    """The order of answers, coins and files does not matter."""

    @law(engine, answers(), st.randoms(use_true_random=False))
    def check(examples: list[tuple[list[Record], Random]]) -> None:
        if stream == HISTORICAL:
            examples = [(list(map(on_days, given)), random) for given, random in examples]
        in_disorder = [shuffled(given, random) for given, random in examples]
        made = new_jobs().run_apart(in_disorder, stream)
        expected = [exact(expected_rows(given, stream)) for given, _ in examples]
        assert list(map(rows_of, made)) == expected


def on_days(one: Record) -> Record:
    """A record of the same points in one day."""
    return {**one, "window_start": "2026-01-01T00:00:00Z", "window_end": "2026-01-02T00:00:00Z"}


def test_the_order_of_points_does_not_matter(
    engine: Engine,
    new_jobs: Callable[[], JobRunner],
) -> None:
    @law(engine, answers(repeats=False), st.randoms(use_true_random=False))
    def check(examples: list[tuple[list[Record], Random]]) -> None:
        in_disorder = [
            [{**one, **{name: shuffled(one[name], random) for name in SERIES}} for one in given]
            for given, random in examples
        ]
        made = new_jobs().run_apart(in_disorder, INTRA_DAY)
        expected = [exact(expected_rows(given, INTRA_DAY)) for given, _ in examples]
        assert list(map(rows_of, made)) == expected


def test_hearing_the_same_again_changes_no_price(
    engine: Engine,
    new_jobs: Callable[[], JobRunner],
) -> None:
    """Nor any other column. A rejected row tells of the newest answer, and may change."""

    @law(engine, answers())
    def check(examples: list[tuple[list[Record]]]) -> None:
        once = [given for (given,) in examples]
        twice = [given + newest_again(given) for given in once]
        made = new_jobs().run_apart(once + twice, INTRA_DAY)
        prices = [exact(one.prices) for one in made]
        assert prices[len(once) :] == prices[: len(once)]


def newest_again(made: Sequence[Record]) -> list[Record]:
    """The newest answer, given once more a day later."""
    newest = max((one["fetched_at"], one["run_id"]) for one in made)
    return [
        {**one, "fetched_at": "2026-11-24T00:00:00Z", "run_id": "again"}
        for one in made
        if (one["fetched_at"], one["run_id"]) == newest
    ]


def test_no_price_is_lost_and_the_newest_one_is_seen() -> None:
    """Of the rules in plain Python, which the jobs follow: a stamp has its row, or gives way."""

    @settings(max_examples=300, deadline=None)
    @given(answers())
    def check(made: list[Record]) -> None:
        rows = [row for row in expected_rows(made, INTRA_DAY) if row["reason"] is None]
        by_stamp = {(row["coin_id"], row["stamp"]): row for row in rows}
        assert len(by_stamp) == len(rows)
        for (coin, stamp), (price, granularity) in newest_prices(made).items():
            row = by_stamp.get((coin, float(stamp)))
            if row is not None:
                assert row["price"] == price
            else:
                at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=stamp)
                given_way = {
                    "coin_id": coin,
                    "window_start": INTRA_DAY.window_at(at).start,
                    "price_at": at,
                    "granularity": granularity,
                }
                everything = [
                    {**given_way, "granularity": "5-minute", "price_at": row["price_at"]}
                    for row in rows
                    if row["coin_id"] == coin
                ]
                assert superseding(given_way, everything)

    check()


def newest_prices(made: Sequence[Record]) -> dict[tuple[str, int], tuple[float, str]]:
    """The newest price at each stamp, and the granularity of the answer that gave it."""
    newest: dict[tuple[str, int], tuple[float, str]] = {}
    for one in sorted(made, key=lambda one: (one["fetched_at"], one["run_id"])):
        start, end = (
            milliseconds(datetime.fromisoformat(one[f"window_{side}"])) for side in ("start", "end")
        )
        for stamp, price in reversed(one["prices"]):
            if is_price(price) and start <= stamp < end:
                newest[one["coin_id"], stamp] = (float(price), one["granularity"])
    return newest


@pytest.mark.recorded
@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"There are no recorded responses in {RECORDED}.")
@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY], ids=lambda stream: stream.name)
def test_recorded_series_arrive_to_the_bit(
    engine: Engine, recorded_jobs: Callable[[Engine, Stream], JobRunner], stream: Stream
) -> None:
    given = recorded_records(RECORDED, stream)
    jobs = recorded_jobs(engine, stream)
    rows = exact([*jobs.rows("prices"), *jobs.rows("rejected")])
    assert {row["coin_id"] for row in rows} == {one["coin_id"] for one in given}
    assert rows == exact(expected_rows(given, stream))


@pytest.mark.recorded
@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"There are no recorded responses in {RECORDED}.")
def test_no_recorded_price_stands_at_a_midnight_more_than_two_hours_before(
    engine: Engine, recorded_jobs: Callable[[Engine, Stream], JobRunner]
) -> None:
    rows = recorded_jobs(engine, HISTORICAL).rows("prices")
    late = [row for row in rows if row["stamped_at"] - row["window_start"] > timedelta(hours=2)]
    assert datetime(2017, 6, 6, 23, 29, 55, tzinfo=UTC) in {
        row["price_at"].replace(microsecond=0) for row in late
    }
    for row in rows:
        assert milliseconds(row["stamped_at"]) == row["stamp"]
        assert row["price_at"] == (row["stamped_at"] if row in late else row["window_start"])
