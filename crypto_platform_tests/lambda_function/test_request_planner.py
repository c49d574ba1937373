from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_function.errors import InvalidRequest
from lambda_function.request_planner import Span, SpanPlan, asked_until, longer_span, plan_spans
from lambda_function.windows import RequestedWindow

NOW = datetime(2026, 11, 23, 6, 10, tzinfo=UTC)
MIDNIGHT = NOW.replace(hour=0, minute=0)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def windows(
    backs: Sequence[int], length: timedelta, last: datetime = MIDNIGHT
) -> list[RequestedWindow]:
    """Windows that ended so many lengths before the last one did."""
    return [
        RequestedWindow(index, last - length * (back + 1), last - length * back, f"/{index}")
        for index, back in enumerate(backs)
    ]


def days_ago(days: int = 365) -> datetime:
    return NOW - timedelta(days=days)


earliest_times = st.one_of(st.none(), st.integers(1, 4000).map(days_ago))
backs = st.lists(st.integers(0, 3000), min_size=1, max_size=60, unique=True)
lengths = st.sampled_from([HOUR, 6 * HOUR, DAY])


def end_of(span: Span) -> datetime:
    return NOW if span.end is None else span.end


@settings(deadline=None)
@given(
    backs=backs,
    length=lengths,
    wanted=st.sampled_from(["daily", "finest"]),
    earliest_allowed=earliest_times,
)
def test_every_window_is_in_exactly_one_span_that_covers_it_or_out_of_plan(
    backs: list[int], length: timedelta, wanted: str, earliest_allowed: datetime | None
) -> None:
    asked = windows(backs, length)
    plan = plan_spans(asked, wanted, NOW, earliest_allowed)
    named = [window for span in plan.spans for window in span.windows]
    assert Counter(named + list(plan.out_of_plan)) == Counter(asked)
    assert all(earliest_allowed and window.start < earliest_allowed for window in plan.out_of_plan)
    assert all(earliest_allowed is None or window.start >= earliest_allowed for window in named)
    for span in plan.spans:
        assert all(span.start <= window.start for window in span.windows)
        assert all(window.end <= end_of(span) for window in span.windows)


@settings(deadline=None)
@given(
    backs=backs,
    length=lengths,
    wanted=st.sampled_from(["daily", "finest"]),
    earliest_allowed=earliest_times,
)
def test_no_span_reaches_into_the_future_or_before_what_the_plan_allows(
    backs: list[int], length: timedelta, wanted: str, earliest_allowed: datetime | None
) -> None:
    for span in plan_spans(windows(backs, length), wanted, NOW, earliest_allowed).spans:
        assert span.start < end_of(span) <= NOW
        assert earliest_allowed is None or span.start >= earliest_allowed


@settings(deadline=None)
@given(backs=backs, earliest_allowed=st.one_of(st.none(), st.integers(92, 4000).map(days_ago)))
def test_daily_windows_take_one_span_of_more_than_90_days(
    backs: list[int], earliest_allowed: datetime | None
) -> None:
    plan = plan_spans(windows(backs, DAY), "daily", NOW, earliest_allowed)
    assert len(plan.spans) == (0 if len(plan.out_of_plan) == len(backs) else 1)
    for span in plan.spans:
        assert end_of(span) - span.start > timedelta(days=90)
        assert span.granularity == "daily"


@settings(deadline=None)
@given(backs=backs, length=lengths)
def test_finest_spans_have_a_length_for_which_the_api_is_that_fine(
    backs: list[int], length: timedelta
) -> None:
    for span in plan_spans(windows(backs, length), "finest", NOW, None).spans:
        if span.granularity == "5-minute":
            assert span.end is None
            assert NOW - span.start <= DAY - timedelta(minutes=15)
        else:
            assert span.granularity == "hourly"
            assert end_of(span) - span.start <= timedelta(days=90)


def fewest_spans(asked: Sequence[RequestedWindow]) -> int:
    """The fewest stretches of 90 days that hold the windows, by trying every way to cut them."""
    ordered = sorted(asked, key=lambda window: window.start)
    fewest = [0]
    for last in range(len(ordered)):
        fewest.append(
            1
            + min(
                fewest[first]
                for first in range(last + 1)
                if max(window.end for window in ordered[first : last + 1]) - ordered[first].start
                <= timedelta(days=90)
            )
        )
    return fewest[-1]


@settings(deadline=None)
@given(
    starts=st.lists(st.integers(2, 500), min_size=1, max_size=12, unique=True),
    length=st.integers(1, 40),
)
def test_older_finest_windows_take_as_few_spans_as_there_can_be(
    starts: list[int], length: int
) -> None:
    asked = [
        RequestedWindow(index, MIDNIGHT - DAY * (length + start), MIDNIGHT - DAY * start, "/")
        for index, start in enumerate(starts)
    ]
    assert len(plan_spans(asked, "finest", NOW, None).spans) == fewest_spans(asked)


def spans_of(
    asked: Sequence[RequestedWindow], wanted: str, earliest_allowed: datetime | None = None
) -> SpanPlan:
    return plan_spans(asked, wanted, NOW, earliest_allowed)


def test_ten_years_of_days_take_one_span() -> None:
    (span,) = spans_of(windows(range(3650), DAY), "daily").spans
    assert (span.start, span.end) == (MIDNIGHT - 3650 * DAY, MIDNIGHT)


def test_90_days_of_six_hour_windows_take_one_span() -> None:
    (span,) = spans_of(windows(range(4, 364), 6 * HOUR), "finest").spans
    assert span.end is not None
    assert span.end - span.start == timedelta(days=90)


def test_a_hole_in_the_windows_is_not_asked_for_where_that_saves_a_span() -> None:
    asked = windows([10, 700], DAY)
    assert [(span.start, span.end) for span in spans_of(asked, "finest").spans] == [
        (asked[1].start, asked[1].end),
        (asked[0].start, asked[0].end),
    ]


def test_the_last_four_windows_take_one_span_until_the_request_is_sent() -> None:
    last = NOW.replace(hour=6, minute=0)
    (span,) = spans_of(windows(range(3), 6 * HOUR, last), "finest").spans
    assert (span.start, span.end, span.granularity) == (last - 18 * HOUR, None, "5-minute")


def test_a_window_from_nearly_a_day_ago_is_left_to_the_hourly_points() -> None:
    start = NOW - DAY + timedelta(minutes=14)
    (span,) = spans_of([RequestedWindow(0, start, start + HOUR, "/")], "finest").spans
    assert span.granularity == "hourly"


def test_a_single_day_is_widened_to_the_left() -> None:
    (day,) = windows([0], DAY)
    (span,) = spans_of([day], "daily").spans
    assert (span.start, span.end) == (day.end - timedelta(days=91), day.end)


def test_a_day_at_the_earliest_time_allowed_is_widened_to_the_right() -> None:
    (day,) = windows([363], DAY)
    (span,) = spans_of([day], "daily", days_ago()).spans
    assert (span.start, span.end) == (day.start, day.start + timedelta(days=91))


def test_a_plan_of_little_history_is_asked_for_all_it_has() -> None:
    (day,) = windows([10], DAY)
    (span,) = spans_of([day], "daily", days_ago(30)).spans
    assert (span.start, span.end) == (days_ago(30), NOW)


def test_the_day_of_the_earliest_time_allowed_is_out_of_plan_as_its_midnight_is() -> None:
    inside, at_earliest = windows([363, 364], DAY)
    plan = spans_of([inside, at_earliest], "daily", days_ago())
    assert plan.out_of_plan == (at_earliest,)
    assert plan.spans[0].windows == (inside,)


@settings(deadline=None)
@given(backs=backs, length=lengths, wanted=st.sampled_from(["daily", "finest"]))
def test_a_span_is_asked_for_beyond_its_end_without_another_granularity(
    backs: list[int], length: timedelta, wanted: str
) -> None:
    for span in plan_spans(windows(backs, length), wanted, NOW, None).spans:
        until = asked_until(span, NOW)
        if span.end is None:
            assert until is None
            continue
        assert until is not None
        assert span.end <= until <= NOW
        if span.granularity == "daily":
            assert until == min(span.end + 7 * DAY, MIDNIGHT)
        else:
            assert until - span.start <= timedelta(days=90)
            assert until in {span.end, span.start + timedelta(days=90)} or until <= MIDNIGHT


def test_the_hourly_span_of_new_windows_is_longer_than_a_day_until_now() -> None:
    (span,) = spans_of(windows(range(2), 6 * HOUR, NOW.replace(hour=6, minute=0)), "finest").spans
    longer = longer_span(span.windows, NOW)
    assert (longer.end, longer.granularity, longer.windows) == (None, "hourly", span.windows)
    assert DAY < NOW - longer.start < 2 * DAY
    assert longer.start <= span.start


def test_windows_that_are_all_too_old_take_no_span() -> None:
    asked = windows([400, 401], DAY)
    plan = spans_of(asked, "daily", days_ago())
    assert (plan.spans, set(plan.out_of_plan)) == ((), set(asked))


def test_a_window_that_no_fine_span_can_hold_is_an_invalid_request() -> None:
    window = RequestedWindow(0, MIDNIGHT - timedelta(days=95), MIDNIGHT - timedelta(days=4), "/")
    with pytest.raises(InvalidRequest, match=r"2026-08-20T00:00:00Z to .* longer than 90 days"):
        spans_of([window], "finest")
