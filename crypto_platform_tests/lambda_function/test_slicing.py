import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_function.bodies import SERIES, Fault, MarketChart, Point
from lambda_function.coingecko import ApiResponse
from lambda_function.request_planner import Span
from lambda_function.slicing import Record, measure_granularity, slice_windows, stretches
from lambda_function.windows import RequestedWindow

START = datetime(2026, 3, 1, tzinfo=UTC)
MS = 1_772_323_200_000
HOUR = 3_600_000


def hours(*numbers: int, uri: str = "/month") -> tuple[RequestedWindow, ...]:
    return tuple(
        RequestedWindow(index, START + timedelta(hours=n), START + timedelta(hours=n + 1), uri)
        for index, n in enumerate(numbers)
    )


def cut_chart(chart: MarketChart, windows: tuple[RequestedWindow, ...]) -> list[Record]:
    asked = {"from": "1772323200", "to": "1772409600"}
    response = ApiResponse(chart, asked, START + timedelta(days=1, milliseconds=123), "coingecko")
    return slice_windows(response, Span(START, None, "hourly", windows), "bitcoin", "usd", "run-1")


def decoded(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(record.line)
    return found


def inside(points: list[Point], start: int, end: int) -> list[Point]:
    return sorted((p for p in points if start <= p[0] < end), key=lambda p: p[0])


values = st.one_of(st.none(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
series = st.lists(st.tuples(st.integers(MS - HOUR, MS + 8 * HOUR), values).map(list), max_size=30)
charts = st.builds(MarketChart, series, series, series)
# Hours, some of them apart, in one object or more.
requested = st.dictionaries(
    st.integers(-1, 7), st.sampled_from(["/one", "/two"]), min_size=1, max_size=9
).map(
    lambda uris: tuple(
        replace(window, uri=uris[number])
        for number, window in zip(sorted(uris), hours(*sorted(uris)), strict=True)
    )
)


@settings(deadline=None)
@given(chart=charts, windows=requested)
def test_the_lines_cut_by_windows_are_the_apis_points_in_them_each_as_it_came(
    chart: MarketChart, windows: tuple[RequestedWindow, ...]
) -> None:
    records = cut_chart(chart, windows)
    assert [content.window for record in records for content in record.contents] == list(windows)
    for record in records:
        told = decoded(record) if record.line else MarketChart([], [], [])._asdict()
        for name in SERIES:
            bounds = [content.window.milliseconds for content in record.contents]
            expected = [inside(getattr(chart, name), *window) for window in bounds]
            assert repr([inside(told[name], *window) for window in bounds]) == repr(expected)
            # In order, and nothing else.
            assert repr(told[name]) == repr(list(chain.from_iterable(expected)))


@settings(deadline=None)
@given(chart=charts, windows=requested)
def test_what_a_window_has_is_counted_by_its_own_points(
    chart: MarketChart, windows: tuple[RequestedWindow, ...]
) -> None:
    for record in cut_chart(chart, windows):
        for window, points, filled in record.contents:
            prices, caps, volumes = (inside(some, *window.milliseconds) for some in chart[:3])
            assert (points, filled) == (len(prices), bool(prices or caps or volumes))
        assert bool(record.line) is any(content.filled for content in record.contents)


@settings(deadline=None)
@given(windows=requested)
def test_a_stretch_is_as_long_as_neighbours_go_to_one_object(
    windows: tuple[RequestedWindow, ...],
) -> None:
    cut = stretches(windows)
    assert list(chain.from_iterable(cut)) == list(windows)
    for before, after in pairwise(windows):
        together = any(before in stretch and after in stretch for stretch in cut)
        assert together is (before.end == after.start and before.uri == after.uri)


def test_a_line_ends_at_a_gap_and_where_the_object_changes() -> None:
    chart = MarketChart([[MS + HOUR * hour, hour] for hour in range(7)], [], [])
    windows = (*hours(0, 1, 3), *hours(4, 5, uri="/next"))
    lines = [decoded(record) for record in cut_chart(chart, windows)]
    assert [(line["window_start"][11:13], line["window_end"][11:13]) for line in lines] == [
        ("00", "02"),
        ("03", "04"),
        ("04", "06"),
    ]
    assert [[value for _, value in line["prices"]] for line in lines] == [[0, 1], [3], [4, 5]]
    assert [record.uri for record in cut_chart(chart, windows)] == ["/month", "/month", "/next"]


@pytest.mark.parametrize(
    "text",
    ["1.1e-05", "67187.3358936566", "0.1", "5e-324", "1.7976931348623157e+308", "-0.0"],
)
def test_a_float_keeps_its_last_bit(text: str) -> None:
    points: list[Point] = json.loads(f"[[{MS},{text}]]")
    (record,) = cut_chart(MarketChart(points, [], []), hours(0))
    assert decoded(record)["prices"][0][1].hex() == float(text).hex()


def test_an_int_stays_an_int_and_a_null_stays_null() -> None:
    (record,) = cut_chart(MarketChart([[MS, 7]], [[MS, None]], [[MS, 0]]), hours(0))
    assert b'"prices":[[1772323200000,7]],"market_caps":[[1772323200000,null]],' in record.line
    assert b'"total_volumes":[[1772323200000,0]]}\n' in record.line


def test_series_of_different_lengths_are_cut_each_by_its_own_stamps() -> None:
    chart = MarketChart([[MS, 1], [MS + HOUR, 2]], [[MS + HOUR, 3]], [])
    first, second = map(decoded, cut_chart(chart, hours(0) + hours(1, uri="/next")))
    assert (first["prices"], first["market_caps"]) == ([[MS, 1]], [])
    assert (second["prices"], second["market_caps"]) == ([[MS + HOUR, 2]], [[MS + HOUR, 3]])


def test_a_window_includes_its_start_and_excludes_its_end() -> None:
    prices = [[MS - 1, 1], [MS, 2], [MS + HOUR - 1, 3], [MS + HOUR, 4]]
    (record,) = cut_chart(MarketChart(prices, [], []), hours(0))
    assert [value for _, value in decoded(record)["prices"]] == [2, 3]


def test_the_first_of_two_points_of_one_stamp_stays_first() -> None:
    prices: list[Point] = [[MS + 2, 0], [MS + 1, "first"], [MS + 1, "second"]]
    (record,) = cut_chart(MarketChart(prices, [], []), hours(0))
    assert [value for _, value in decoded(record)["prices"]] == ["first", "second", 0]


def test_a_fault_is_told_where_its_stamp_lies_and_one_without_a_stamp_with_the_first() -> None:
    prices: list[Point] = [[MS, None], [MS + HOUR, 1], [MS + 3 * HOUR, 2]]
    at_first, at_last = (
        Fault("prices", MS, '"odd"'),
        Fault("total_volumes", MS + 3 * HOUR, "true"),
    )
    nowhere = Fault("market_caps", None, "null")
    outside = Fault("prices", MS - 1, "{}")
    chart = MarketChart(prices, [], [[MS + 3 * HOUR, None]], [nowhere, at_last, at_first, outside])
    _, second, third, last = cut_chart(
        chart, (*hours(-2), *hours(0), *hours(1, uri="/next"), *hours(3))
    )
    assert decoded(second)["faults"] == [nowhere._asdict(), at_first._asdict()]
    assert "faults" not in decoded(third)
    assert decoded(last)["faults"] == [at_last._asdict()]


def test_a_record_says_what_was_asked_when_and_for_what() -> None:
    (record,) = cut_chart(MarketChart([[MS, 1]], [], []), hours(0))
    assert decoded(record) == {
        "coin_id": "bitcoin",
        "vs_currency": "usd",
        "window_start": "2026-03-01T00:00:00Z",
        "window_end": "2026-03-01T01:00:00Z",
        "granularity": "hourly",
        "requested_from": 1772323200,
        "requested_to": 1772409600,
        "fetched_at": "2026-03-02T00:00:00.123Z",
        "run_id": "run-1",
        "source": "coingecko",
        "prices": [[MS, 1]],
        "market_caps": [],
        "total_volumes": [],
    }


@pytest.mark.parametrize(
    ("minutes", "granularity"),
    [
        ([0, 5, 10, 17, 19], "5-minute"),
        ([0, 58, 122, 181], "hourly"),
        ([0, 1440, 2880, 2890], "daily"),
        ([2890, 1440, 0, 2880], "daily"),
        ([0, 1440], None),
        ([], None),
    ],
)
def test_granularity_is_measured_by_the_median_spacing(
    minutes: list[int], granularity: str | None
) -> None:
    assert measure_granularity([[MS + minute * 60_000, 1] for minute in minutes]) == granularity
