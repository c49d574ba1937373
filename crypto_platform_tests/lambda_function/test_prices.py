import hashlib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from crypto_platform_tests.lambda_function.conftest import (
    KEY,
    NOW,
    Asked,
    Ingestion,
    Reply,
    VirtualClock,
    chart,
    http_date,
    records,
    written,
)
from lambda_function import absence, coin_prices
from lambda_function.absence import ELSEWHERE, ENDED, MISSING, MISSING_PRICE, SECONDS, UNPLACED
from lambda_function.coingecko import THREADS
from lambda_function.errors import (
    BudgetExceeded,
    IngestionError,
    InvalidRequest,
    NothingFetched,
    NothingFetchedYet,
    OutOfTime,
    Unauthorized,
    Unreachable,
)
from lambda_function.events import MAX_WINDOWS

SIX_HOURS = timedelta(hours=6)
NOT_FOUND = Reply.json({"error": "coin not found"}, 404)
EMPTY: dict[str, list[object]] = {"prices": [], "market_caps": [], "total_volumes": []}
DOWN = Reply(status=503)
TOO_OLD = Reply.json({"error": {"status": {"error_code": 10012, "error_message": "Old."}}}, 401)


class Context:
    """AWS Lambda's context, as far as the handler knows it."""

    def __init__(self, clock: VirtualClock, seconds: float) -> None:
        self._clock = clock
        self._end = clock.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self._end - self._clock.monotonic()))


def milliseconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp() * 1000


def points(response: dict[str, Any], coin: str, windows: Sequence[dict[str, str]]) -> list[int]:
    """How many prices of a coin the objects have in each window."""
    stamps = [
        stamp
        for record in written(response)
        for stamp, _ in record["prices"]
        if record["coin_id"] == coin
    ]
    bounds = [(milliseconds(window["start"]), milliseconds(window["end"])) for window in windows]
    return [sum(start <= stamp < end for stamp in stamps) for start, end in bounds]


def finest(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "granularity": "finest"}


def test_a_year_of_days_takes_one_call_a_coin(ingestion: Ingestion) -> None:
    coins = [f"coin-{number}" for number in range(25)]
    days = ingestion.days(365)
    response = ingestion.prices(coins, days)
    assert response["calls"] == response["credits"] == len(ingestion.api.asked) == 25
    assert response["points"] == dict.fromkeys(coins, 365)
    assert points(response, coins[0], days) == [1] * 365
    assert response["absent"] == []


def test_90_days_of_six_hour_windows_take_one_call_a_coin(ingestion: Ingestion) -> None:
    windows = ingestion.windows(360, SIX_HOURS, NOW - timedelta(days=2))
    response = ingestion.run(finest(ingestion.event(["bitcoin", "ethereum"], windows)))
    assert response["calls"] == 2
    assert points(response, "bitcoin", windows) == [6] * 360


def test_the_newest_windows_are_fetched_at_five_minutes(ingestion: Ingestion) -> None:
    windows = ingestion.windows(3, SIX_HOURS)
    response = ingestion.run(finest(ingestion.event(["bitcoin"], windows)))
    assert points(response, "bitcoin", windows) == [72, 72, 72]
    assert {record["granularity"] for record in written(response)} == {"5-minute"}


def test_old_and_new_windows_of_one_event_each_get_the_finest_there_is(
    ingestion: Ingestion,
) -> None:
    windows = ingestion.windows(8, SIX_HOURS)
    response = ingestion.run(finest(ingestion.event(["bitcoin"], windows)))
    assert response["calls"] == 2
    assert points(response, "bitcoin", windows) == [6] * 5 + [72] * 3


def test_a_coin_without_five_minute_points_has_hourly_ones_in_the_same_run(
    ingestion: Ingestion,
) -> None:
    windows = ingestion.windows(3, SIX_HOURS)
    ingestion.api.reply("ethereum", Reply.json(EMPTY))
    response = ingestion.run(finest(ingestion.event(["bitcoin", "ethereum"], windows)))
    assert points(response, "bitcoin", windows) == [72] * 3
    assert points(response, "ethereum", windows) == [6] * 3
    assert (response["calls"], response["credits"], response["absent"]) == (3, 3, [])
    assert response["points"] == {"bitcoin": 216, "ethereum": 18}


def test_only_the_windows_without_five_minute_points_are_asked_for_again(
    ingestion: Ingestion,
) -> None:
    windows = ingestion.windows(3, SIX_HOURS)
    whole = chart("bitcoin", int(NOW.timestamp()) - 18 * 3600, int(NOW.timestamp()), NOW)
    second = milliseconds(windows[1]["start"]), milliseconds(windows[1]["end"])
    holed = {
        name: [point for point in series if not second[0] <= point[0] < second[1]]
        for name, series in whole.items()
    }
    ingestion.api.reply("bitcoin", Reply.json(holed))
    response = ingestion.run(finest(ingestion.event(["bitcoin"], windows)))
    assert points(response, "bitcoin", windows)[1] == 6
    assert points(response, "bitcoin", windows)[2] == 72
    assert [record["granularity"] for record in written(response)][-1] == "hourly"
    assert response["calls"] == 2


def test_a_coin_that_has_hourly_points_neither_is_told_by_the_longer_answer(
    ingestion: Ingestion,
) -> None:
    windows = ingestion.windows(2, SIX_HOURS)
    before = {
        name: [point for point in series if point[0] < milliseconds(windows[0]["start"])]
        for name, series in chart("bitcoin", 1_795_300_000, int(NOW.timestamp()), NOW).items()
    }
    ingestion.api.reply("bitcoin", Reply.json(EMPTY), Reply.json(before))
    response = ingestion.run(finest(ingestion.event(["bitcoin"], windows)))
    assert lacking(response, "bitcoin") == [("failed", ENDED, [[0, 1]])]


@pytest.mark.parametrize(("credits_left", "longer"), [(2, 0), (3, 1), (4, 2), (None, 2)])
def test_hourly_points_are_asked_for_while_the_credits_last(
    ingestion: Ingestion, credits_left: int | None, longer: int
) -> None:
    windows = ingestion.windows(1, SIX_HOURS)
    for coin in ("bitcoin", "ethereum"):
        ingestion.api.reply(coin, Reply.json(EMPTY))
    event = finest(ingestion.event(["bitcoin", "ethereum"], windows))
    response = ingestion.run({**event, "credits_left": credits_left})
    assert response["credits"] == 2 + longer
    assert len(response["absent"]) == 2 - longer


AHEAD = timedelta(minutes=59)
OPEN = (
    "The window is still open by the API's time: this machine's clock is 59 minutes ahead of the "
    "API's. Set the clock, as by NTP; the window is asked for again."
)


def test_a_window_that_is_open_by_the_apis_time_is_refused_and_the_others_go_on(
    ingestion: Ingestion,
) -> None:
    windows = ingestion.windows(3, SIX_HOURS)
    ingestion.api.clock_ahead = AHEAD
    response = ingestion.run(finest(ingestion.event(["bitcoin", "ethereum"], windows)))
    assert points(response, "bitcoin", windows) == [72, 72, 0]
    assert response["window_points"] == [144, 144, 0]
    assert lacking(response, "bitcoin") == [("failed", OPEN, [[2, 2]])]
    assert lacking(response, "ethereum") == [("failed", OPEN, [[2, 2]])]
    assert response["clock_ahead"] == pytest.approx(AHEAD.total_seconds(), abs=2)


def test_a_clock_that_is_ahead_costs_no_window_that_is_closed_by_the_apis_time(
    ingestion: Ingestion,
) -> None:
    windows = ingestion.windows(3, SIX_HOURS, NOW - SIX_HOURS)
    ingestion.api.clock_ahead = AHEAD
    response = ingestion.run(finest(ingestion.event(["bitcoin"], windows)))
    assert response["absent"] == []
    # Nobody has to be asked for the time.
    assert all("ping" not in asked.path for asked in ingestion.api.asked)


@pytest.mark.parametrize("ahead", [timedelta(minutes=4), -AHEAD, -timedelta(days=400)])
def test_a_clock_that_is_a_little_ahead_or_behind_refuses_nothing(
    ingestion: Ingestion, ahead: timedelta
) -> None:
    windows = ingestion.windows(1, SIX_HOURS, NOW)
    ingestion.clock.start = NOW.replace(minute=1)
    ingestion.api.clock_ahead = ahead
    response = ingestion.run(finest(ingestion.event(["bitcoin"], windows)))
    assert response["absent"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Date": http_date(NOW - AHEAD)},
        {"Date": http_date(NOW - AHEAD), "Age": str(59 * 60)},
        {"Date": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"Date": "yesterday"},
        {"Date": ""},
        {"Date": "Mon, 99 Nov 20260 99:00:00 GMT", "Age": "old"},
    ],
)
def test_an_old_answer_from_a_cache_and_a_date_that_is_none_cost_nothing(
    ingestion: Ingestion, headers: dict[str, str]
) -> None:
    windows = ingestion.windows(1, SIX_HOURS)
    good = chart("bitcoin", int(NOW.timestamp()) - 6 * 3600 - 600, int(NOW.timestamp()), NOW)
    ingestion.api.reply("bitcoin", Reply.json(good, headers=headers))
    response = ingestion.run(finest(ingestion.event(["bitcoin"], windows)))
    assert response["absent"] == []


def test_the_time_is_asked_for_once_and_a_failure_of_that_counts_as_an_answer(
    ingestion: Ingestion,
) -> None:
    ingestion.api.clock_ahead = AHEAD
    ingestion.api.always("ping", Reply(status=404))
    coins = [f"coin-{number}" for number in range(12)]
    event = finest(ingestion.event(coins, ingestion.windows(1, SIX_HOURS)))
    response = ingestion.run(event)
    assert {absent["reason"] for absent in response["absent"]} == {OPEN}
    assert [asked.path for asked in ingestion.api.asked].count("/api/v3/ping") == 1


def test_each_month_has_one_object_with_a_line_a_coin_in_the_events_order(
    ingestion: Ingestion,
) -> None:
    # From the 15th of October to the 22nd of November.
    windows = ingestion.days(39)
    response = ingestion.prices(["ethereum", "bitcoin"], windows)
    assert [
        (found["uri"], found["rows"], found["points"], found["windows"])
        for found in response["objects"]
    ] == [
        (f"{ingestion.lake}/month=2026-10/prices-run-1-00000.json.gz", 2, 34, [[0, 16]]),
        (f"{ingestion.lake}/month=2026-11/prices-run-1-00000.json.gz", 2, 44, [[17, 38]]),
    ]
    for found, first, last in zip(
        response["objects"], (windows[0], windows[17]), (windows[16], windows[38]), strict=True
    ):
        assert [
            (line["coin_id"], line["window_start"], line["window_end"])
            for line in records(found["uri"])
        ] == [(coin, first["start"], last["end"]) for coin in ("ethereum", "bitcoin")]


def test_a_year_of_days_is_twelve_objects(ingestion: Ingestion) -> None:
    response = ingestion.prices(["bitcoin"], ingestion.days(365, datetime(2026, 1, 1, tzinfo=UTC)))
    assert [(found["rows"], found["points"]) for found in response["objects"]] == [
        (1, days) for days in (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    ]


def test_a_line_ends_where_the_next_window_is_not_its_neighbour(ingestion: Ingestion) -> None:
    days = ingestion.days(20)
    asked = [*days[:7], *days[8:10], *days[12:]]
    response = ingestion.prices(["bitcoin"], asked)
    assert [(record["window_start"], record["window_end"]) for record in written(response)] == [
        (days[0]["start"], days[6]["end"]),
        (days[8]["start"], days[9]["end"]),
        (days[12]["start"], days[19]["end"]),
    ]
    assert [(found["rows"], found["windows"]) for found in response["objects"]] == [(3, [[0, 16]])]
    assert response["window_points"] == points(response, "bitcoin", asked) == [1] * 17


def test_what_was_asked_for_by_two_requests_is_two_lines_of_one_object(
    ingestion: Ingestion,
) -> None:
    windows = ingestion.windows(8, SIX_HOURS)
    response = ingestion.run(finest(ingestion.event(["bitcoin"], windows)))
    assert [
        (record["window_start"], record["window_end"], record["granularity"])
        for record in written(response)
    ] == [
        (windows[0]["start"], windows[4]["end"], "hourly"),
        (windows[5]["start"], windows[7]["end"], "5-minute"),
    ]
    assert [(found["rows"], found["windows"]) for found in response["objects"]] == [(2, [[0, 7]])]


def test_a_months_object_names_the_windows_of_which_any_coin_has_anything(
    ingestion: Ingestion,
) -> None:
    stamps = {"old": 1_794_960_000_000, "new": 1_795_219_200_000}
    for coin, stamp in stamps.items():
        body = {"prices": [[stamp, 1]], "market_caps": [], "total_volumes": []}
        ingestion.api.reply(coin, Reply.json(body))
    # From the 18th of November; both have a point, of the 18th and of the 21st.
    response = ingestion.prices(list(stamps), ingestion.days(5))
    (found,) = response["objects"]
    assert (found["rows"], found["windows"]) == (2, [[0, 0], [3, 3]])
    assert response["window_points"] == [1, 0, 0, 1, 0]


def test_a_window_of_volumes_alone_inside_of_a_stretch_is_told_apart(ingestion: Ingestion) -> None:
    first, second, third = 1_795_132_800_000, 1_795_219_200_000, 1_795_305_600_000
    body = {
        "prices": [[first, 1], [third, 2]],
        "market_caps": [],
        "total_volumes": [[second, 5]],
    }
    ingestion.api.reply("bitcoin", Reply.json(body))
    response = ingestion.prices(["bitcoin"], ingestion.days(3))
    (absent,) = response["absent"]
    assert (absent["reason"], absent["windows"]) == (MISSING_PRICE, [[1, 1]])
    assert [(found["rows"], found["windows"]) for found in response["objects"]] == [(1, [[0, 2]])]


def test_an_objects_figures_describe_its_bytes(ingestion: Ingestion) -> None:
    windows = ingestion.windows(2, SIX_HOURS)
    response = ingestion.run(finest(ingestion.event(["bitcoin", "ethereum"], windows)))
    (found,) = response["objects"]
    body = Path(found["uri"]).read_bytes()
    assert found["bytes"] == len(body)
    assert found["sha256"] == hashlib.sha256(body).hexdigest()
    assert (found["rows"], found["points"]) == (2, 288)
    assert response["window_points"] == [144, 144]


def test_the_same_responses_give_the_same_bytes(ingestion: Ingestion) -> None:
    event = ingestion.event([f"coin-{number}" for number in range(20)], ingestion.days(60))
    assert ingestion.run(event)["objects"] == ingestion.run(event)["objects"]


def test_the_same_request_at_another_time_gives_the_same_but_for_when_it_was_fetched(
    ingestion: Ingestion,
) -> None:
    event = ingestion.event(["bitcoin", "ethereum"], ingestion.days(60))
    first = written(ingestion.run(event))
    ingestion.clock.passed += 60
    second = written(ingestion.run(event))
    assert all(
        one.pop("fetched_at") < other.pop("fetched_at")
        for one, other in zip(first, second, strict=True)
    )
    assert json.dumps(first) == json.dumps(second)


def test_nothing_is_left_beside_the_objects(ingestion: Ingestion) -> None:
    response = ingestion.prices(["bitcoin"], ingestion.days(3))
    found = {str(path) for path in ingestion.lake.rglob("*") if path.is_file()}
    assert found == {written["uri"] for written in response["objects"]}


def test_windows_may_be_apart_and_in_any_order(ingestion: Ingestion) -> None:
    days = ingestion.days(100)
    asked = [days[70], days[3], days[41]]
    response = ingestion.prices(["bitcoin"], asked)
    assert response["calls"] == 1
    # From the 15th of August: the 24th of October comes first, then the 18th of August.
    assert [
        (record["window_start"], found["windows"])
        for found in response["objects"]
        for record in records(found["uri"])
    ] == [
        (asked[0]["start"], [[0, 0]]),
        (asked[1]["start"], [[1, 1]]),
        (asked[2]["start"], [[2, 2]]),
    ]
    assert response["window_points"] == [1, 1, 1]


def test_the_point_of_now_is_in_no_record(ingestion: Ingestion) -> None:
    windows = ingestion.windows(3, SIX_HOURS)
    response = ingestion.run(finest(ingestion.event(["bitcoin"], windows)))
    start, end = (int(ingestion.api.asked[0].query[name]) for name in ("from", "to"))
    raw = chart("bitcoin", start, end, NOW)["prices"]
    kept = [point for record in written(response) for point in record["prices"]]
    assert raw[-1][0] == (NOW - timedelta(seconds=7)).timestamp() * 1000
    assert kept == [point for point in raw if point[0] < (NOW.timestamp() - 600) * 1000]


def test_a_window_that_is_not_closed_is_an_invalid_request_that_names_it(
    ingestion: Ingestion,
) -> None:
    windows = ingestion.days(2, NOW + timedelta(days=1))
    with pytest.raises(InvalidRequest, match=r"2026-11-23T00:00:00Z to .* is not closed yet"):
        ingestion.prices(["bitcoin"], windows)
    assert ingestion.api.asked == []


def test_a_window_without_a_price_is_missing_at_source(ingestion: Ingestion) -> None:
    days = ingestion.days(5)
    whole = chart("bitcoin", 1_780_000_000, int(NOW.timestamp()), NOW)
    gone = {1_795_046_400_000, 1_795_132_800_000, 1_795_305_600_000}
    slice_windows = {
        name: [p for p in points if p[0] not in gone] for name, points in whole.items()
    }
    ingestion.api.reply("bitcoin", Reply.json(slice_windows))
    response = ingestion.prices(["bitcoin"], days)
    (absent,) = response["absent"]
    assert (absent["coin_id"], absent["status"]) == ("bitcoin", "missing_at_source")
    assert absent["windows"] == [[1, 2], [4, 4]]
    assert points(response, "bitcoin", days) == [1, 0, 0, 1, 0]
    (found,) = response["objects"]
    assert (found["rows"], found["points"], found["windows"]) == (1, 2, [[0, 0], [3, 3]])
    assert response["window_points"] == [1, 0, 0, 1, 0]


def test_a_window_with_a_volume_and_no_price_is_kept_and_missing_at_source(
    ingestion: Ingestion,
) -> None:
    before, stamp = 1_795_219_200_000, 1_795_305_600_000
    body = {"prices": [[before, 1]], "market_caps": [], "total_volumes": [[stamp, 5]]}
    ingestion.api.reply("bitcoin", Reply.json(body))
    response = ingestion.prices(["bitcoin"], ingestion.days(2))
    (record,) = written(response)
    assert (record["prices"], record["total_volumes"]) == ([[before, 1]], [[stamp, 5]])
    assert lacking(response, "bitcoin") == [("missing_at_source", MISSING_PRICE, [[1, 1]])]


def lacking(response: dict[str, Any], coin: str) -> list[tuple[str, str, list[list[int]]]]:
    return [
        (absent["status"], absent["reason"], absent["windows"])
        for absent in response["absent"]
        if absent["coin_id"] == coin
    ]


def at_days(*stamps: str) -> Reply:
    """A chart with a point at the midnight of each of these days."""
    points = [[int(milliseconds(f"{stamp}T00:00:00Z")), 1.5] for stamp in stamps]
    return Reply.json(dict.fromkeys(("prices", "market_caps", "total_volumes"), points))


def test_an_answer_without_any_price_does_not_prove_that_there_is_none(
    ingestion: Ingestion,
) -> None:
    for coin in ("bitcoin", "ethereum"):
        ingestion.api.always(coin, Reply.json(EMPTY))
    response = ingestion.prices(["bitcoin", "ethereum"], ingestion.days(3))
    assert lacking(response, "bitcoin") == lacking(response, "ethereum")
    assert lacking(response, "bitcoin") == [("failed", absence.EMPTY, [[0, 2]])]


def test_caps_alone_do_not_prove_that_there_is_no_price(ingestion: Ingestion) -> None:
    stamp = 1_795_305_600_000
    body = {"prices": [], "market_caps": [[stamp, 5]], "total_volumes": [[stamp, 5]]}
    ingestion.api.reply("bitcoin", Reply.json(body))
    response = ingestion.prices(["bitcoin"], ingestion.days(2))
    assert lacking(response, "bitcoin") == [("failed", absence.EMPTY, [[0, 1]])]
    assert [record["market_caps"] for record in written(response)] == [[[stamp, 5]]]


def test_a_hole_before_other_prices_is_missing_and_what_comes_after_the_last_one_is_not_proven(
    ingestion: Ingestion,
) -> None:
    # From the 18th to the 22nd of November.
    ingestion.api.reply("bitcoin", at_days("2026-11-19", "2026-11-21"))
    response = ingestion.prices(["bitcoin"], ingestion.days(5))
    assert lacking(response, "bitcoin") == [
        ("missing_at_source", MISSING, [[0, 0], [2, 2]]),
        ("failed", ENDED, [[4, 4]]),
    ]


def test_prices_from_before_the_windows_tell_that_the_coin_had_some(ingestion: Ingestion) -> None:
    ingestion.api.reply("bitcoin", at_days("2026-11-20", "2026-11-21"))
    response = ingestion.prices(["bitcoin"], ingestion.days(1))
    assert lacking(response, "bitcoin") == [("failed", ENDED, [[0, 0]])]


def test_stamps_in_seconds_are_named_and_the_answer_is_kept(ingestion: Ingestion) -> None:
    good = chart("bitcoin", 1_794_000_000, 1_795_400_000, NOW)
    seconds = {name: [[at // 1000, one] for at, one in some] for name, some in good.items()}
    ingestion.api.reply("bitcoin", Reply.json(seconds))
    response = ingestion.prices(["bitcoin", "ethereum"], ingestion.days(3))
    assert lacking(response, "bitcoin") == [("failed", SECONDS, [[0, 2]])]
    assert lacking(response, "ethereum") == []
    (uri,) = response["rejected"]
    rejected = json.loads(Path(uri).read_text())
    assert rejected["reason"] == SECONDS
    assert json.loads(rejected["body"]) == {**seconds, "faults": []}


def test_prices_of_another_time_alone_prove_nothing(ingestion: Ingestion) -> None:
    ingestion.api.reply("bitcoin", at_days("2021-03-01", "2021-03-02"))
    response = ingestion.prices(["bitcoin"], ingestion.days(2))
    assert lacking(response, "bitcoin") == [("failed", ELSEWHERE, [[0, 1]])]


@pytest.mark.parametrize("stamp", ["x", None, -1, 1_795_219_200, 10**25])
def test_a_price_whose_time_cannot_be_told_leaves_the_absence_of_its_window_unproven(
    ingestion: Ingestion, stamp: object
) -> None:
    before, after = 1_795_132_800_000, 1_795_305_600_000
    prices = [[before, 1], [stamp, 2], [after, 3]]
    ingestion.api.reply("bitcoin", Reply.json({"prices": prices}))
    response = ingestion.prices(["bitcoin"], ingestion.days(3))
    assert lacking(response, "bitcoin") == [("failed", UNPLACED, [[1, 1]])]


def test_every_window_of_every_coin_has_a_price_or_a_reason(ingestion: Ingestion) -> None:
    ingestion.environment["COINGECKO_HISTORY_DAYS"] = "100"
    ingestion.api.reply("empty", Reply.json(EMPTY))
    ingestion.api.always("delisted", NOT_FOUND)
    days = ingestion.days(110)
    response = ingestion.prices(["bitcoin", "delisted", "empty"], days)
    reasons: dict[str, list[str]] = {coin: [""] * 110 for coin in response["points"]}
    for absent in response["absent"]:
        for first, last in absent["windows"]:
            for window in range(first, last + 1):
                assert reasons[absent["coin_id"]][window] == ""
                reasons[absent["coin_id"]][window] = absent["status"]
    assert reasons == {
        "bitcoin": ["out_of_plan"] * 11 + [""] * 99,
        "delisted": ["out_of_plan"] * 11 + ["failed"] * 99,
        "empty": ["out_of_plan"] * 11 + ["failed"] * 99,
    }
    assert points(response, "bitcoin", days) == [0] * 11 + [1] * 99


def test_windows_out_of_plan_are_not_asked_for(ingestion: Ingestion) -> None:
    ingestion.environment["COINGECKO_HISTORY_DAYS"] = "20"
    response = ingestion.prices(["bitcoin"], ingestion.days(3, NOW - timedelta(days=30)))
    assert (response["calls"], response["objects"]) == (0, [])
    assert "more than 20 days ago" in response["absent"][0]["reason"]


def test_what_the_api_says_is_out_of_plan_is_not_a_failure_and_not_asked_again(
    ingestion: Ingestion,
) -> None:
    ingestion.api.always("bitcoin", TOO_OLD)
    response = ingestion.prices(["bitcoin"], ingestion.days(10))
    (absent,) = response["absent"]
    assert (absent["status"], absent["windows"]) == ("out_of_plan", [[0, 9]])
    assert "'Old.'" in absent["reason"]
    assert response["calls"] == 1


def test_an_earliest_time_that_overtakes_the_oldest_window_does_not_cost_the_others(
    ingestion: Ingestion,
) -> None:
    ingestion.environment["COINGECKO_HISTORY_DAYS"] = "120"
    ingestion.clock.start = NOW.replace(hour=23, minute=59) - timedelta(days=1)
    ingestion.api.reply("bitcoin", TOO_OLD)
    days = ingestion.days(119, ingestion.clock.start)
    response = ingestion.prices(["bitcoin"], days)
    assert points(response, "bitcoin", days) == [0] + [1] * 118
    (absent,) = response["absent"]
    assert (absent["status"], absent["windows"]) == ("out_of_plan", [[0, 0]])


def test_a_delisted_coin_does_not_stop_the_others(ingestion: Ingestion) -> None:
    ingestion.api.always("delisted", NOT_FOUND)
    response = ingestion.prices(["bitcoin", "delisted", "ethereum"], ingestion.days(3))
    assert response["points"] == {"bitcoin": 3, "delisted": 0, "ethereum": 3}
    (absent,) = response["absent"]
    assert (absent["coin_id"], absent["status"]) == ("delisted", "failed")
    assert absent["windows"] == [[0, 2]]
    assert "correct the id or stop tracking it" in absent["reason"]


def test_a_coin_that_cannot_be_had_now_does_not_stop_the_others(ingestion: Ingestion) -> None:
    ingestion.api.always("slow", DOWN)
    response = ingestion.prices(["bitcoin", "slow"], ingestion.days(3))
    assert response["points"] == {"bitcoin": 3, "slow": 0}
    assert "HTTP 503" in response["absent"][0]["reason"]


def test_what_was_had_of_a_coin_before_it_failed_is_kept(ingestion: Ingestion) -> None:
    windows = ingestion.windows(8, SIX_HOURS)
    good = chart("bitcoin", 1_795_000_000, 1_795_400_000, NOW)
    ingestion.api.reply("bitcoin", Reply.json(good), NOT_FOUND)
    response = ingestion.run(finest(ingestion.event(["bitcoin"], windows)))
    assert points(response, "bitcoin", windows) == [6] * 5 + [0] * 3
    (absent,) = response["absent"]
    assert (absent["status"], absent["windows"]) == ("failed", [[5, 7]])


def test_if_every_coin_is_delisted_nothing_was_fetched(ingestion: Ingestion) -> None:
    for coin in ("delisted", "gone"):
        ingestion.api.always(coin, NOT_FOUND)
    with pytest.raises(NothingFetched, match=r"None of the 2 coins.*delisted: .*gone: ") as caught:
        ingestion.prices(["delisted", "gone"], ingestion.days(3))
    assert not caught.value.retryable


def test_nothing_fetched_for_a_passing_reason_may_be_tried_again(ingestion: Ingestion) -> None:
    ingestion.api.always("delisted", NOT_FOUND)
    ingestion.api.always("slow", DOWN)
    with pytest.raises(NothingFetchedYet) as caught:
        ingestion.prices(["delisted", "slow"], ingestion.days(3))
    assert caught.value.retryable


def test_an_api_that_is_down_is_not_asked_for_every_coin(ingestion: Ingestion) -> None:
    coins = [f"coin-{number}" for number in range(100)]
    for coin in coins:
        ingestion.api.always(coin, DOWN)
    with pytest.raises(NothingFetchedYet):
        ingestion.prices(coins, ingestion.days(3))
    assert len({asked.coin for asked in ingestion.api.asked}) < 20


def test_coins_not_asked_for_as_the_api_went_down_say_so(ingestion: Ingestion) -> None:
    coins = [f"coin-{number}" for number in range(100)]
    for coin in coins[1:]:
        ingestion.api.always(coin, DOWN)
    response = ingestion.prices(coins, ingestion.days(3))
    assert response["points"][coins[0]] == 3
    assert "had failed for 8 coins in a row" in response["absent"][-1]["reason"]


def test_a_body_that_cannot_be_used_is_kept_with_its_reason(ingestion: Ingestion) -> None:
    bad = {"prices": f"x{KEY}" + "y" * 100_000, "market_caps": [], "total_volumes": []}
    ingestion.api.always("bad", Reply.json(bad))
    response = ingestion.prices(["bitcoin", "bad"], ingestion.days(3))
    (uri,) = response["rejected"]
    text = Path(uri).read_text()
    rejected = json.loads(text)
    assert rejected["coin_id"] == "bad"
    assert "prices is not a list" in rejected["reason"]
    assert rejected["body"].startswith('{"prices": "x[key]yyy')
    assert len(rejected["body"]) == 64 * 1024
    assert KEY not in text


@pytest.mark.parametrize("coin", ["../../escape", "/etc/escape", "a b", "q\"uo'te", "..", "C:\\x"])
def test_a_coin_id_cannot_write_outside_the_lake(ingestion: Ingestion, coin: str) -> None:
    before = {path for path in ingestion.lake.parent.rglob("*") if path.is_file()}
    ingestion.api.always(coin, Reply.json({"prices": "bad"}))
    response = ingestion.prices([coin, "bitcoin"], ingestion.days(1))
    found = {path for path in ingestion.lake.parent.rglob("*") if path.is_file()} - before
    named = {found["uri"] for found in response["objects"]} | set(response["rejected"])
    assert {str(path) for path in found} == named
    assert all(path.is_relative_to(ingestion.lake) for path in found)


def test_a_coin_id_comes_back_in_its_records_as_it_was(ingestion: Ingestion) -> None:
    coin = "q\"uo'te ../é\\"
    (record,) = written(ingestion.prices([coin], ingestion.days(1)))
    assert record["coin_id"] == coin


def test_a_coin_named_twice_is_asked_for_once(ingestion: Ingestion) -> None:
    response = ingestion.prices(["bitcoin", "bitcoin"], ingestion.days(2))
    assert (response["calls"], response["points"]) == (1, {"bitcoin": 2})


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply.json({"error": "invalid vs_currency"}, 400), InvalidRequest),
        (Reply.json({"status": {"error_code": 10002}}, 401), Unauthorized),
    ],
)
def test_what_concerns_all_coins_stops_at_the_first(
    ingestion: Ingestion, reply: Reply, error: type[IngestionError]
) -> None:
    coins = [f"coin-{number}" for number in range(300)]
    for coin in coins:
        ingestion.api.always(coin, reply)
    with pytest.raises(error):
        ingestion.prices(coins, ingestion.days(3))
    assert len(ingestion.api.asked) < 150
    assert not ingestion.lake.exists()


def test_a_refusal_of_one_coin_is_that_coins_failure(ingestion: Ingestion) -> None:
    ingestion.api.always("ethereum", Reply(status=403, body=b"please add a User-Agent"))
    response = ingestion.prices(["bitcoin", "ethereum", "tether"], ingestion.days(3))
    assert response["points"] == {"bitcoin": 3, "ethereum": 0, "tether": 3}
    ((status, reason, windows),) = lacking(response, "ethereum")
    assert (status, windows) == ("failed", [[0, 2]])
    assert "names itself in that header" in reason
    assert "COINGECKO_API_KEY" not in reason


def test_a_refusal_of_every_coin_says_so(ingestion: Ingestion) -> None:
    for coin in ("bitcoin", "ethereum"):
        ingestion.api.always(coin, Reply(status=403, body=b"<h1>No</h1>"))
    with pytest.raises(NothingFetched, match=r"None of the 2 coins.*HTTP 403: 'No'"):
        ingestion.prices(["bitcoin", "ethereum"], ingestion.days(3))


def test_a_key_that_is_refused_midway_does_not_cost_what_was_had(ingestion: Ingestion) -> None:
    coins = [f"coin-{number}" for number in range(60)]
    for coin in coins[20:]:
        ingestion.api.always(coin, Reply.json({"status": {"error_code": 10002}}, 401))
    response = ingestion.prices(coins, ingestion.days(3))
    assert [response["points"][coin] for coin in coins] == [3] * 20 + [0] * 40
    assert len(written(response)) == 20
    statuses = {coin: lacking(response, coin)[0][:2] for coin in coins[20:]}
    assert {status for status, _ in statuses.values()} == {"failed"}
    assert all("saw no key" in reason for _, reason in statuses.values())
    assert "Not asked for" in statuses[coins[-1]][1]
    assert response["continuation"] is None


def test_a_key_that_is_refused_in_a_later_part_does_not_undo_the_parts_before(
    ingestion: Ingestion,
) -> None:
    ingestion.api.always("bitcoin", Reply.json({"status": {"error_code": 10002}}, 401))
    event = {**ingestion.event(["bitcoin"], ingestion.days(2)), "part": 1, "fetched": True}
    assert lacking(ingestion.run(event), "bitcoin")[0][0] == "failed"


def test_an_api_that_cannot_be_reached_is_named(ingestion: Ingestion) -> None:
    ingestion.environment["COINGECKO_BASE_URL"] = "http://127.0.0.1:9/api/v3"
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9/api/v3"):
        ingestion.prices(["bitcoin"], ingestion.days(3))


def test_a_budget_that_does_not_suffice_is_refused_before_any_call(ingestion: Ingestion) -> None:
    windows = ingestion.windows(4 * 200, SIX_HOURS, NOW - timedelta(days=2))
    event = finest(ingestion.event([f"coin-{number}" for number in range(10)], windows))
    with pytest.raises(BudgetExceeded) as caught:
        ingestion.run({**event, "credits_left": 25})
    assert str(caught.value) == (
        "10 coins take 30 API calls (3 a coin), and 25 of the month's credits are left. Nothing "
        "was asked. What fits: 8 coins with all windows, or all coins with 720 of the 800 windows."
    )
    assert ingestion.api.asked == []


def test_a_budget_that_just_suffices_is_enough(ingestion: Ingestion) -> None:
    event = ingestion.event(["bitcoin", "ethereum"], ingestion.days(3))
    assert ingestion.run({**event, "credits_left": 2})["credits"] == 2


def follow(ingestion: Ingestion, event: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
    """The responses of one invocation after another, each with so many seconds, to the end."""
    responses = [ingestion.run(event, Context(ingestion.clock, seconds))]
    while responses[-1]["continuation"]:
        event = {**event, **responses[-1]["continuation"]}
        responses.append(ingestion.run(event, Context(ingestion.clock, seconds)))
    return responses


def every_call_takes(ingestion: Ingestion, seconds: float) -> Callable[[Asked], None]:
    def pass_time(_: Asked) -> None:
        ingestion.clock.passed += seconds

    return pass_time


def by_coin_and_stretch(responses: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
    found = [record for response in responses for record in written(response)]
    values = {
        (record["coin_id"], record["window_start"]): [
            record[name] for name in ("prices", "market_caps", "total_volumes")
        ]
        for record in found
    }
    assert len(values) == len(found)
    return values


def test_continuations_give_the_records_of_one_go(ingestion: Ingestion) -> None:
    event = ingestion.event([f"coin-{number}" for number in range(40)], ingestion.days(5))
    at_once = by_coin_and_stretch([ingestion.run(event)])
    ingestion.api.before = every_call_takes(ingestion, 30)
    parts = follow(ingestion, event, seconds=200)
    assert len(parts) > 2
    assert by_coin_and_stretch(parts) == at_once
    totals = [sum(points) for points in zip(*(p["window_points"] for p in parts), strict=True)]
    assert totals == [40] * 5
    handled = [coin for part in parts for coin in part["points"]]
    assert sorted(handled) == sorted(event["coins"])


def test_a_continuation_knows_its_part_and_the_credits_left(ingestion: Ingestion) -> None:
    event = ingestion.event([f"coin-{number}" for number in range(20)], ingestion.days(2))
    ingestion.api.before = every_call_takes(ingestion, 30)
    parts = follow(ingestion, {**event, "credits_left": 100}, seconds=200)
    first, second = parts[0]["continuation"], parts[1]
    assert first["part"] == 1
    assert first["credits_left"] == 100 - parts[0]["credits"]
    assert set(first["coins"]) == set(event["coins"]) - set(parts[0]["points"])
    assert second["objects"][0]["uri"].endswith("/prices-run-1-00001.json.gz")


def test_delisted_coins_in_a_last_part_do_not_undo_the_parts_before(ingestion: Ingestion) -> None:
    ingestion.environment["COINGECKO_CALLS_A_MINUTE"] = "6"
    ingestion.api.before = every_call_takes(ingestion, 60)
    ingestion.api.always("delisted", NOT_FOUND)
    event = ingestion.event(["bitcoin", "delisted"], ingestion.days(2))
    first, last = follow(ingestion, event, seconds=100)
    assert (list(first["points"]), list(last["points"])) == (["bitcoin"], ["delisted"])
    assert last["absent"][0]["status"] == "failed"


def with_every_second_day_missing(ingestion: Ingestion, coin: str) -> None:
    whole = chart(coin, int(NOW.timestamp()) - 2_000 * 86_400, int(NOW.timestamp()), NOW)
    halved = {name: series[::2] for name, series in whole.items()}
    ingestion.api.always(coin, Reply.json(halved))


def test_a_response_that_grows_too_large_is_continued(
    ingestion: Ingestion, monkeypatch: pytest.MonkeyPatch
) -> None:
    coins = [f"coin-{number}" for number in range(12)]
    for coin in coins:
        with_every_second_day_missing(ingestion, coin)
    event = ingestion.event(coins, ingestion.days(400))
    at_once = by_coin_and_stretch([ingestion.run(event)])
    room = 5_000
    monkeypatch.setattr(coin_prices, "MAX_ABSENCES", room)

    parts = follow(ingestion, event, seconds=900)

    assert len(parts) > 1
    assert by_coin_and_stretch(parts) == at_once
    a_coin = len(json.dumps(parts[0]["absent"])) / len(parts[0]["points"])
    for part in parts:
        # Those under way when it was reached are still told.
        assert len(json.dumps(part["absent"])) <= room + (THREADS + 1) * a_coin


def test_one_coin_is_handled_however_little_room_there_is(
    ingestion: Ingestion, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_every_second_day_missing(ingestion, "bitcoin")
    monkeypatch.setattr(coin_prices, "MAX_ABSENCES", 1)
    response = ingestion.prices(["bitcoin"], ingestion.days(400))
    assert response["continuation"] is None


def with_uris_of_a_bucket(ingestion: Ingestion, windows: list[dict[str, str]], name: str) -> None:
    """Gives windows uris as long as a bucket's are, ``name`` being what differs of them."""
    for window in windows:
        folder = window["start"].translate({ord(mark): None for mark in ":"})[: len(name)]
        window["uri"] = f"{ingestion.lake}/{'x' * 40}/intra_day/{folder}/prices-{UUID(int=0)}"


@pytest.mark.parametrize(
    ("uri", "room"),
    [
        pytest.param("YYYY-MM", 3_000_000, id="an object a month"),
        pytest.param("YYYY-MM-DDTHH", 0, id="an object a window"),
    ],
)
def test_the_largest_response_fits_into_what_lambda_takes_back(
    ingestion: Ingestion, uri: str, room: int
) -> None:
    days = 1_000
    with_every_second_day_missing(ingestion, "bitcoin")
    windows = ingestion.days(days)
    with_uris_of_a_bucket(ingestion, windows, uri)
    response = ingestion.prices(["bitcoin"], windows)
    at_most = MAX_WINDOWS / days
    objects = at_most * len(json.dumps(response["objects"]))
    if uri == "YYYY-MM-DDTHH":
        # The other coins have the other windows: there are twice as many objects.
        objects *= 2
    # A window has up to 72 prices of each of thousands of coins.
    window_points = MAX_WINDOWS * len("1000000, ")
    # A coin whose every second window is missing, at the most windows there may be.
    a_coin = at_most * len(json.dumps(response["absent"]))
    largest = objects + window_points + coin_prices.MAX_ABSENCES + THREADS * a_coin
    assert largest < 6 * 1024 * 1024 - room


def test_the_largest_event_fits_into_what_lambda_takes(ingestion: Ingestion) -> None:
    windows = ingestion.days(1_000)
    with_uris_of_a_bucket(ingestion, windows, "YYYY-MM")
    event = ingestion.event([f"a-coin-of-a-long-name-{n}" for n in range(20_000)], windows)
    beside_windows = len(json.dumps({**event, "windows": []}))
    largest_windows = MAX_WINDOWS / len(windows) * len(json.dumps(windows))
    assert beside_windows + largest_windows < 6 * 1024 * 1024


def test_more_windows_than_a_response_holds_are_refused(ingestion: Ingestion) -> None:
    with pytest.raises(InvalidRequest, match="10001 windows, and one may have 10000"):
        ingestion.prices(["bitcoin"], ingestion.days(10_001))


def test_too_little_time_for_one_coin_is_an_error_not_an_endless_continuation(
    ingestion: Ingestion,
) -> None:
    with pytest.raises(OutOfTime, match="give the invocation more time") as caught:
        ingestion.run(ingestion.event(["bitcoin"], ingestion.days(2)), Context(ingestion.clock, 20))
    assert caught.value.retryable


def test_calls_keep_to_the_plans_minute_over_threads_and_invocations(
    ingestion: Ingestion,
) -> None:
    ingestion.environment["COINGECKO_CALLS_A_MINUTE"] = "6"
    times: list[float] = []
    ingestion.api.before = lambda _: times.append(ingestion.clock.passed)
    for _ in range(2):
        ingestion.prices([f"coin-{number}" for number in range(10)], ingestion.days(2))
    assert len(times) == 20
    assert all(later - earlier >= 60 for earlier, later in zip(times, times[6:], strict=False))


def test_the_response_says_where_the_prices_came_from_and_when(ingestion: Ingestion) -> None:
    ingestion.api.headers = {"x-simulated-market": "true"}
    response = ingestion.prices(["bitcoin"], ingestion.days(1))
    assert (response["source"], response["fetched_at"]) == ("simulated", "2026-11-23T06:10:00.000Z")
    assert [record["source"] for record in written(response)] == ["simulated"]


def test_the_key_is_in_no_file_response_log_or_error(
    ingestion: Ingestion, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"your key {KEY} is odd"
    ingestion.api.reply("bitcoin", Reply.json({"error": echo}, 500))
    ingestion.api.always("delisted", Reply.json({"error": echo}, 404))
    ingestion.api.always("bad", Reply.json({"prices": echo}))
    response = ingestion.prices(["bitcoin", "delisted", "bad"], ingestion.days(2))
    ingestion.api.always("bitcoin", Reply.json({"error": echo}, 401))
    with pytest.raises(Unauthorized) as caught:
        ingestion.prices(["bitcoin"], ingestion.days(2))
    files = b"".join(path.read_bytes() for path in ingestion.lake.rglob("*.json"))
    files += json.dumps(written(response)).encode()
    assert KEY not in f"{response}{caught.value}{caplog.text}{files.decode()}"
    assert "[key]" in caplog.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"coins": []}, "names no coins"),
        ({"windows": []}, "no windows"),
        ({"coins": ["bitcoin", 7]}, "names the coin 7"),
        ({"coins": None}, "no 'coins'"),
        ({"run_id": 7}, "'run_id' is 7: it must be str"),
        ({"granularity": "weekly"}, "'weekly': it must be one of daily, finest"),
        ({"credits_left": "9"}, "'credits_left' is '9'"),
        ({"windows": ["2026-11-22"]}, "window 0 is '2026-11-22'"),
        ({"windows": [{"start": "2026-11-22T00:00:00Z", "uri": "/x"}]}, "no 'end'"),
        ({"windows": [{"start": "soon", "end": "later", "uri": "/x"}]}, "'soon'.*ISO 8601"),
        ({"windows": [{"start": "2026-11-22", "end": "2026-11-23", "uri": "/"}]}, "is UTC"),
        (
            {"windows": [{"start": "2026-11-22T00:00Z", "end": "2026-11-22T00:00Z", "uri": "/"}]},
            "ends before it begins",
        ),
    ],
)
def test_a_malformed_event_is_an_invalid_request_that_names_the_fault(
    ingestion: Ingestion, change: dict[str, Any], words: str
) -> None:
    event = ingestion.event(["bitcoin"], ingestion.days(1))
    with pytest.raises(InvalidRequest, match=words):
        ingestion.run({**event, **change})


def test_threads_end_with_the_invocation(ingestion: Ingestion) -> None:
    before = threading.active_count()
    ingestion.api.always("bitcoin", Reply.json({"status": {"error_code": 10002}}, 401))
    with pytest.raises(Unauthorized):
        ingestion.prices(["bitcoin"], ingestion.days(1))
    assert threading.active_count() <= before + 1
