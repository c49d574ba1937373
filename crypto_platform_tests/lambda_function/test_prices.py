import hashlib
import json
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
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
    records,
    written,
)
from lambda_function import prices
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


def points(response: dict[str, Any], coin: str, windows: int) -> list[int]:
    """How many prices of a coin each window's object has."""
    counts = [0] * windows
    for found in response["objects"]:
        for record in records(found["uri"]):
            counts[found["window"]] += len(record["prices"]) * (record["coin_id"] == coin)
    return counts


def finest(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "granularity": "finest"}


def test_a_year_of_days_takes_one_call_a_coin(ingestion: Ingestion) -> None:
    coins = [f"coin-{number}" for number in range(25)]
    response = ingestion.prices(coins, ingestion.days(365))
    assert response["calls"] == response["credits"] == len(ingestion.api.asked) == 25
    assert response["points"] == dict.fromkeys(coins, 365)
    assert points(response, coins[0], 365) == [1] * 365
    assert response["absent"] == []


def test_90_days_of_six_hour_windows_take_one_call_a_coin(ingestion: Ingestion) -> None:
    windows = ingestion.windows(360, SIX_HOURS, NOW - timedelta(days=2))
    response = ingestion.run(finest(ingestion.event(["bitcoin", "ethereum"], windows)))
    assert response["calls"] == 2
    assert points(response, "bitcoin", 360) == [6] * 360


def test_the_newest_windows_are_fetched_at_five_minutes(ingestion: Ingestion) -> None:
    event = finest(ingestion.event(["bitcoin"], ingestion.windows(3, SIX_HOURS)))
    response = ingestion.run(event)
    assert points(response, "bitcoin", 3) == [72, 72, 72]
    assert {record["granularity"] for record in written(response)} == {"5-minute"}


def test_old_and_new_windows_of_one_event_each_get_the_finest_there_is(
    ingestion: Ingestion,
) -> None:
    windows = ingestion.windows(8, SIX_HOURS)
    response = ingestion.run(finest(ingestion.event(["bitcoin"], windows)))
    assert response["calls"] == 2
    assert points(response, "bitcoin", 8) == [6] * 5 + [72] * 3


def test_each_window_has_one_object_with_a_line_a_coin_in_the_events_order(
    ingestion: Ingestion,
) -> None:
    windows = ingestion.days(40)
    response = ingestion.prices(["ethereum", "bitcoin"], windows)
    assert [found["window"] for found in response["objects"]] == list(range(40))
    for found, window in zip(response["objects"], windows, strict=True):
        assert found["uri"] == f"{window['uri']}/prices-00000.json.gz"
        lines = records(found["uri"])
        assert [line["coin_id"] for line in lines] == ["ethereum", "bitcoin"]
        assert {line["window_start"] for line in lines} == {window["start"]}


def test_an_objects_figures_describe_its_bytes(ingestion: Ingestion) -> None:
    windows = ingestion.windows(2, SIX_HOURS)
    response = ingestion.run(finest(ingestion.event(["bitcoin", "ethereum"], windows)))
    for found in response["objects"]:
        body = Path(found["uri"]).read_bytes()
        assert found["bytes"] == len(body)
        assert found["sha256"] == hashlib.sha256(body).hexdigest()
        assert (found["rows"], found["points"]) == (2, 144)


def test_the_same_responses_give_the_same_bytes(ingestion: Ingestion) -> None:
    event = ingestion.event(["bitcoin", "ethereum"], ingestion.days(3))
    assert ingestion.run(event)["objects"] == ingestion.run(event)["objects"]


def test_nothing_is_left_beside_the_objects(ingestion: Ingestion) -> None:
    response = ingestion.prices(["bitcoin"], ingestion.days(3))
    found = {str(path) for path in ingestion.lake.rglob("*") if path.is_file()}
    assert found == {written["uri"] for written in response["objects"]}


def test_windows_may_be_apart_and_in_any_order(ingestion: Ingestion) -> None:
    days = ingestion.days(100)
    asked = [days[70], days[3], days[41]]
    response = ingestion.prices(["bitcoin"], asked)
    assert response["calls"] == 1
    assert [record["window_start"] for record in written(response)] == [
        window["start"] for window in asked
    ]


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
    assert points(response, "bitcoin", 5) == [1, 0, 0, 1, 0]
    assert [found["window"] for found in response["objects"]] == [0, 3]


def test_a_window_with_a_volume_and_no_price_is_kept_and_missing_at_source(
    ingestion: Ingestion,
) -> None:
    stamp = 1_795_305_600_000
    body = {"prices": [], "market_caps": [], "total_volumes": [[stamp, 5]]}
    ingestion.api.reply("bitcoin", Reply.json(body))
    response = ingestion.prices(["bitcoin"], ingestion.days(2))
    (record,) = written(response)
    assert (record["prices"], record["total_volumes"]) == ([], [[stamp, 5]])
    assert {(absent["status"], str(absent["windows"])) for absent in response["absent"]} == {
        ("missing_at_source", "[[0, 0]]"),
        ("missing_at_source", "[[1, 1]]"),
    }


def test_every_window_of_every_coin_has_a_price_or_a_reason(ingestion: Ingestion) -> None:
    ingestion.environment["COINGECKO_HISTORY_DAYS"] = "100"
    ingestion.api.reply("empty", Reply.json(EMPTY))
    ingestion.api.always("delisted", NOT_FOUND)
    response = ingestion.prices(["bitcoin", "delisted", "empty"], ingestion.days(110))
    reasons: dict[str, list[str]] = {coin: [""] * 110 for coin in response["points"]}
    for absent in response["absent"]:
        for first, last in absent["windows"]:
            for window in range(first, last + 1):
                assert reasons[absent["coin_id"]][window] == ""
                reasons[absent["coin_id"]][window] = absent["status"]
    assert reasons == {
        "bitcoin": ["out_of_plan"] * 11 + [""] * 99,
        "delisted": ["out_of_plan"] * 11 + ["failed"] * 99,
        "empty": ["out_of_plan"] * 11 + ["missing_at_source"] * 99,
    }
    assert points(response, "bitcoin", 110) == [0] * 11 + [1] * 99


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
    response = ingestion.prices(["bitcoin"], ingestion.days(119, ingestion.clock.start))
    assert points(response, "bitcoin", 119) == [0] + [1] * 118
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
    assert points(response, "bitcoin", 8) == [6] * 5 + [0] * 3
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


def by_coin_and_window(responses: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
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
    at_once = by_coin_and_window([ingestion.run(event)])
    ingestion.api.before = every_call_takes(ingestion, 30)
    parts = follow(ingestion, event, seconds=200)
    assert len(parts) > 2
    assert by_coin_and_window(parts) == at_once
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
    assert second["objects"][0]["uri"].endswith("/prices-00001.json.gz")


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
    at_once = by_coin_and_window([ingestion.run(event)])
    room = 5_000
    monkeypatch.setattr(prices, "MAX_ABSENCES", room)

    parts = follow(ingestion, event, seconds=900)

    assert len(parts) > 1
    assert by_coin_and_window(parts) == at_once
    a_coin = len(json.dumps(parts[0]["absent"])) / len(parts[0]["points"])
    for part in parts:
        # Those under way when it was reached are still told.
        assert len(json.dumps(part["absent"])) <= room + (THREADS + 1) * a_coin


def test_one_coin_is_handled_however_little_room_there_is(
    ingestion: Ingestion, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_every_second_day_missing(ingestion, "bitcoin")
    monkeypatch.setattr(prices, "MAX_ABSENCES", 1)
    response = ingestion.prices(["bitcoin"], ingestion.days(400))
    assert response["continuation"] is None


def test_the_largest_response_fits_into_what_lambda_takes_back(ingestion: Ingestion) -> None:
    with_every_second_day_missing(ingestion, "bitcoin")
    windows = [
        {**window, "uri": window["uri"].replace("run-1", str(UUID(int=0)))}
        for window in ingestion.days(400)
    ]
    response = ingestion.prices(["bitcoin"], windows)
    objects = len(json.dumps(response["objects"])) / len(response["objects"]) * MAX_WINDOWS
    # A coin whose every second window is missing, at the most windows there may be.
    a_coin = len(json.dumps(response["absent"])) / 400 * MAX_WINDOWS
    assert objects + prices.MAX_ABSENCES + THREADS * a_coin < 6 * 1024 * 1024


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
