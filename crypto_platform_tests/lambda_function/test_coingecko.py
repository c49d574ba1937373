import gzip
import json
import logging
import random
import socket
import threading
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from crypto_platform_tests.lambda_function.conftest import (
    KEY,
    NOW,
    Reply,
    ScriptedApi,
    VirtualClock,
)
from lambda_function.bodies import SERIES, Fault, MarketChart
from lambda_function.coingecko import (
    MAX_CALLS_A_REQUEST,
    MAX_WAIT,
    CoinGecko,
)
from lambda_function.errors import (
    IngestionError,
    InvalidRequest,
    InvalidSettings,
    OutOfPlan,
    OutOfTime,
    RateLimited,
    RequestProblem,
    Unauthorized,
    Unreachable,
)
from lambda_function.plans import PLANS, ApiSettings
from lambda_function.rate_limiter import RateLimiter

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
NEVER = float("inf")
EMPTY_CHART: dict[str, list[list[float]]] = {"prices": [], "market_caps": [], "total_volumes": []}


def client_of(base_url: str, clock: VirtualClock, deadline: float = NEVER) -> CoinGecko:
    settings = ApiSettings(PLANS["analyst"], base_url, KEY)
    return CoinGecko(settings, RateLimiter(10_000, clock), clock, deadline)


@pytest.fixture
def client(api: ScriptedApi, clock: VirtualClock) -> Iterator[CoinGecko]:
    with client_of(api.base_url, clock) as client:
        yield client


def ask(client: CoinGecko, coin: str = "bitcoin") -> object:
    return client.market_chart(coin, "usd", START, END)


def chart_of(client: CoinGecko) -> MarketChart:
    return client.market_chart("bitcoin", "usd", START, END).data


def test_a_chart_is_asked_for_in_unix_seconds_and_full_precision(
    api: ScriptedApi, client: CoinGecko
) -> None:
    ask(client)
    (asked,) = api.asked
    assert asked.path == "/api/v3/coins/bitcoin/market_chart/range"
    assert asked.query == {
        "vs_currency": "usd",
        "from": "1767225600",
        "to": "1780272000",
        "precision": "full",
    }


def test_the_key_goes_in_a_header_and_never_in_the_url(api: ScriptedApi, client: CoinGecko) -> None:
    ask(client)
    assert api.asked[0].headers["x-cg-pro-api-key"] == KEY
    assert KEY not in str(api.asked[0].query) + api.asked[0].raw_path


def test_every_request_says_who_asks(api: ScriptedApi, client: CoinGecko) -> None:
    ask(client)
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    product = f"{project['name'].replace('_', '-')}/{project['version']}"
    assert api.asked[0].headers["user-agent"].startswith(product)


def test_a_span_without_an_end_goes_to_the_moment_the_request_is_sent(
    api: ScriptedApi, client: CoinGecko, clock: VirtualClock
) -> None:
    api.reply("bitcoin", Reply(status=500))
    response = client.market_chart("bitcoin", "usd", START, None)
    assert clock.passed > 0
    sent = NOW + timedelta(seconds=int(clock.passed))
    assert response.asked["to"] == api.asked[1].query["to"] == str(int(sent.timestamp()))


@pytest.mark.parametrize("coin", ["a b", "q\"uo'te", "../../ping", "a/b", "é", "a%2Fb", "a?b#c"])
def test_a_coin_id_cannot_leave_its_place_in_the_path(
    api: ScriptedApi, client: CoinGecko, coin: str
) -> None:
    ask(client, coin)
    (asked,) = api.asked
    assert asked.coin == coin
    assert asked.raw_path.count("/") == 6


@pytest.mark.parametrize("coin", ["", ".", ".."])
def test_a_coin_id_of_dots_is_rejected_without_a_call(client: CoinGecko, coin: str) -> None:
    with pytest.raises(RequestProblem, match="cannot be the id of a coin"):
        ask(client, coin)
    assert client.calls == 0


passing = [
    Reply(status=500),
    Reply.json({"status": 500, "error": "Internal Server Error"}, 500),
    Reply(status=502, body=b"<html><title>502 Bad Gateway</title></html>"),
    Reply(status=503),
    Reply(status=408),
    Reply(status=429),
    Reply(body=b"Throttled"),
    Reply(body=b"<html>error code: 1015</html>"),
    Reply(status=403, body=b"<html>error code: 1015</html>"),
    Reply(status=403, body=b"<title>Access denied</title>error code: 1020"),
    Reply(status=403, body=b"<title>Just a moment...</title>"),
    Reply(status=403, body=b"The service is temporarily unavailable."),
    Reply(status=401, body=b"The key service is temporarily unavailable."),
    Reply.json({"status": {"error_code": 429, "error_message": "Rate Limit"}}),
    Reply(body=b'{"prices": [[1, 2], [3'),
    Reply(body=b""),
    Reply(body=b"<html>please wait</html>"),
    Reply(body=json.dumps(EMPTY_CHART).encode(), cut_at=10),
    Reply(reset=True),
]


@pytest.mark.parametrize("reply", passing)
def test_what_may_pass_is_asked_again(api: ScriptedApi, client: CoinGecko, reply: Reply) -> None:
    api.reply("bitcoin", reply, reply)
    ask(client)
    assert len(api.asked) == client.calls == 3


@pytest.mark.parametrize("reply", passing)
def test_what_does_not_pass_after_all_is_a_problem_of_the_request(
    api: ScriptedApi, client: CoinGecko, reply: Reply
) -> None:
    client.ping()
    api.always("bitcoin", reply)
    with pytest.raises(RequestProblem) as caught:
        ask(client)
    assert caught.value.transient
    assert client.calls == 1 + MAX_CALLS_A_REQUEST


lasting: list[tuple[Reply, type[Exception], str]] = [
    (Reply.json({"error": "coin not found"}, 404), RequestProblem, "no coin of this id"),
    (Reply.json({"error": "coin not found"}), RequestProblem, "HTTP 200.*no coin of this id"),
    (Reply.json({"error": "odd"}, 400), RequestProblem, "HTTP 400: 'odd'"),
    (Reply.json({"error": "odd"}, 422), RequestProblem, "HTTP 422: 'odd'"),
    (Reply(status=410), RequestProblem, "HTTP 410"),
    (Reply.json({"error": "invalid vs_currency"}, 400), InvalidRequest, "Set VS_CURRENCY"),
    (Reply.json({"error": "invalid vs_currency"}), InvalidRequest, "Set VS_CURRENCY"),
    (Reply(status=401), Unauthorized, "Check COINGECKO_API_KEY"),
    (Reply(status=403, body=b"<h1>No</h1>"), RequestProblem, "HTTP 403: 'No'.*not of the key"),
    (Reply(status=403, body=b"please add a User-Agent"), RequestProblem, "a proxy on the way"),
    (Reply.json({"error": "invalid api key"}, 403), Unauthorized, "Check COINGECKO_API_KEY"),
    (Reply.json({"error_code": 10099}, 403), RequestProblem, "not of the key"),
    (Reply.json({"error_code": 10099}), RequestProblem, "not of the key"),
    (Reply.json({"status": {"error_code": 10002}}, 401), Unauthorized, "saw no key"),
    (Reply.json({"status": {"error_code": 10002}}), Unauthorized, "saw no key"),
    (Reply.json({"error_code": 10010}, 400), Unauthorized, "COINGECKO_PLAN to that plan"),
    (Reply.json({"error_code": 10011}, 400), Unauthorized, "COINGECKO_PLAN to demo"),
    (Reply.json({"error": {"status": {"error_code": 10012}}}, 401), OutOfPlan, "code 10012"),
    (Reply(status=301, headers={"Location": "/"}), InvalidSettings, "COINGECKO_BASE_URL"),
    (Reply.json([]), RequestProblem, "not an object"),
    (Reply.json({**EMPTY_CHART, "prices": None}), RequestProblem, "prices is not"),
    (Reply.json({"market_caps": [], "total_volumes": []}), RequestProblem, "prices is not"),
    (Reply.json({**EMPTY_CHART, "prices": [1, "2", [], {}]}), RequestProblem, "prices is not"),
    (Reply.json({**EMPTY_CHART, "prices": [[1.5, 2], [None, 2]]}), RequestProblem, "prices is not"),
    (Reply(body=b"[" * 100_000), RequestProblem, "no response to this request"),
]


@pytest.mark.parametrize(("reply", "error", "words"), lasting)
def test_what_cannot_heal_is_never_asked_again(
    api: ScriptedApi, client: CoinGecko, reply: Reply, error: type[Exception], words: str
) -> None:
    api.always("bitcoin", reply)
    with pytest.raises(error, match=words):
        ask(client)
    assert client.calls == 1


NO_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", '"n/a"', '""', '" 5"', "true", "[]", "{}")


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize(
    "value",
    [
        *(*NO_NUMBERS, '"NaN"', '"0x10"', '"1_000"'),
        pytest.param("9" * 400, id="400 digits"),
        pytest.param("9" * 5_000, id="more digits than Python reads"),
    ],
)
def test_a_value_that_is_no_number_costs_itself_alone(
    api: ScriptedApi, client: CoinGecko, series: str, value: str
) -> None:
    points = f"[[1,1.5],[2,{value}],[3,2.5]]"
    said = {name: points if name == series else "[[1,1.5]]" for name in SERIES}
    body = "{" + ",".join(f'"{name}":{text}' for name, text in said.items()) + "}"
    api.always("bitcoin", Reply(body=body.encode()))
    chart = chart_of(client)
    assert getattr(chart, series) == [[1, 1.5], [2, None], [3, 2.5]]
    [fault] = chart.faults
    assert (fault.series, fault.stamp) == (series, 2)
    assert fault.value


@pytest.mark.parametrize(
    ("point", "kept"),
    [
        ('[2,"1.1e-05"]', [2, 1.1e-05]),
        ('[2,"0.1"]', [2, 0.1]),
        ('[2,"7"]', [2, 7]),
        ('["2",7]', [2, 7]),
        ("[2.0,7]", [2, 7]),
        ('["2e0",null]', [2, None]),
    ],
)
def test_a_text_or_a_float_that_is_a_number_exactly_is_that_number(
    api: ScriptedApi, client: CoinGecko, point: str, kept: list[Any]
) -> None:
    body = f'{{"prices":[[1,1.5],{point}],"market_caps":[],"total_volumes":[]}}'
    api.always("bitcoin", Reply(body=body.encode()))
    chart = chart_of(client)
    assert repr(chart.prices) == repr([[1, 1.5], kept])
    assert chart.faults == []


@pytest.mark.parametrize(
    "point", ["null", "5", '"x"', "[]", "[null,2]", "[2.5,2]", "[true,2]", '["x",2]']
)
def test_a_point_without_a_stamp_costs_itself_alone(
    api: ScriptedApi, client: CoinGecko, point: str
) -> None:
    body = f'{{"prices":[[1,1.5],{point}],"market_caps":[],"total_volumes":[]}}'
    api.always("bitcoin", Reply(body=body.encode()))
    chart = chart_of(client)
    assert chart.prices == [[1, 1.5]]
    assert chart.faults == [Fault("prices", None, json.dumps(json.loads(point)))]


def test_half_of_a_surrogate_pair_is_told_as_a_text_that_others_can_read(
    api: ScriptedApi, client: CoinGecko
) -> None:
    body = '{"prices":[[1,1.5],[2,"\\ud800"]],"market_caps":[],"total_volumes":[]}'
    api.always("bitcoin", Reply(body=body.encode()))
    assert chart_of(client).faults[0] == Fault("prices", 2, '"?"')


@pytest.mark.parametrize("point", ["[2]", "[2,3,4]"])
def test_a_point_of_another_length_is_null_at_its_stamp(
    api: ScriptedApi, client: CoinGecko, point: str
) -> None:
    body = f'{{"prices":[[1,1.5],{point}],"market_caps":[],"total_volumes":[]}}'
    api.always("bitcoin", Reply(body=body.encode()))
    chart = chart_of(client)
    assert chart.prices == [[1, 1.5], [2, None]]
    assert chart.faults == [Fault("prices", 2, json.dumps(json.loads(point)))]


@pytest.mark.parametrize("said", [{"market_caps": None}, {"market_caps": "none"}, {}])
def test_caps_and_volumes_that_are_no_list_are_unknown_and_leave_the_prices(
    api: ScriptedApi, client: CoinGecko, said: dict[str, Any]
) -> None:
    api.always("bitcoin", Reply.json({"prices": [[1, 1.5]], "total_volumes": [[1, 2]], **said}))
    chart = chart_of(client)
    assert chart[:3] == ([[1, 1.5]], [], [[1, 2]])
    assert chart.faults == [Fault("market_caps", None, json.dumps(said.get("market_caps")))]


def test_a_body_that_is_no_chart_is_kept_with_its_problem(
    api: ScriptedApi, client: CoinGecko
) -> None:
    api.always("bitcoin", Reply.json({"prices": "none"}))
    with pytest.raises(RequestProblem) as caught:
        ask(client)
    assert caught.value.body == b'{"prices": "none"}'


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("1", 1), ("53", 53), ("0", 1), ("119", 119), ("86400", MAX_WAIT)],
)
def test_retry_after_is_honoured_up_to_a_limit(
    api: ScriptedApi, client: CoinGecko, clock: VirtualClock, retry_after: str, seconds: float
) -> None:
    api.reply("bitcoin", Reply(status=429, headers={"Retry-After": retry_after}))
    ask(client)
    assert clock.slept == [pytest.approx(seconds)]


def test_retry_after_may_be_a_date(
    api: ScriptedApi, client: CoinGecko, clock: VirtualClock
) -> None:
    until = f"{NOW + timedelta(seconds=40):%a, %d %b %Y %H:%M:%S GMT}"
    api.reply("bitcoin", Reply(status=503, headers={"Retry-After": until}))
    ask(client)
    assert clock.slept == [pytest.approx(40)]


@pytest.mark.parametrize(
    ("reply", "first"),
    [
        (Reply(status=500), 1),
        (Reply(status=429), 10),
        (Reply(status=429, headers={"Retry-After": "soon"}), 10),
    ],
)
def test_without_retry_after_waits_double_and_are_jittered(
    api: ScriptedApi, client: CoinGecko, clock: VirtualClock, reply: Reply, first: float
) -> None:
    api.reply("bitcoin", reply, reply, reply)
    ask(client)
    for wait, longest in zip(clock.slept, (first, first * 2, first * 4), strict=True):
        assert longest / 2 <= wait <= longest
    assert clock.slept[1] != 2 * clock.slept[0]


def test_a_wait_that_the_time_left_does_not_allow_is_not_begun(
    api: ScriptedApi, clock: VirtualClock
) -> None:
    api.always("bitcoin", Reply(status=429, headers={"Retry-After": "60"}))
    with client_of(api.base_url, clock, deadline=30) as client, pytest.raises(OutOfTime):
        ask(client)
    assert clock.slept == []


@pytest.mark.parametrize(
    ("limit", "value"), [("MAX_BODY_SECONDS", 0.2), ("MAX_BODY", 20)], ids=["time", "size"]
)
def test_a_body_that_never_ends_is_a_problem_of_the_request(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    monkeypatch.setattr(f"lambda_function.coingecko.{limit}", value)

    class Dripping(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.send_header("Content-Length", "1000000000")
            self.end_headers()
            with suppress(ConnectionError):
                while not stop.wait(0.01):
                    self.wfile.write(b" ")

        def log_message(self, *_: object) -> None:
            pass

    stop = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Dripping) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        with (
            client_of(f"http://127.0.0.1:{server.server_port}", clock) as client,
            pytest.raises(Unreachable, match="the body had no end after"),
        ):
            ask(client)
        stop.set()
        server.shutdown()


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body_is_read_to_its_end(
    api: ScriptedApi, client: CoinGecko, encoding: str, *, chunked: bool
) -> None:
    letters = "".join(random.Random(1).choices("abcdefgh", k=500_000))  # noqa: S311 - no secret
    body = json.dumps({"gecko_says": letters}).encode()
    packed = gzip.compress(body) if encoding == "gzip" else body
    api.reply("ping", Reply(body=packed, headers={"Content-Encoding": encoding}, chunked=chunked))
    assert client.ping().data == {"gecko_says": letters}


def test_calls_one_after_the_other_share_a_connection(api: ScriptedApi, client: CoinGecko) -> None:
    ports = set()
    api.before = lambda asked: ports.add(asked.port)
    api.reply("bitcoin", Reply(status=500, body=b"x" * 100_000, chunked=True))
    for _ in range(3):
        ask(client)
    assert (len(api.asked), len(ports)) == (4, 1)


def test_a_429_holds_back_requests_for_other_coins_too(
    api: ScriptedApi, client: CoinGecko, clock: VirtualClock
) -> None:
    api.always("bitcoin", Reply(status=429, headers={"Retry-After": "2"}))
    with pytest.raises(RateLimited):
        ask(client)
    assert clock.slept == [2, 2, 2]
    ask(client, "ethereum")
    assert clock.slept == [2, 2, 2, 2]


def test_a_refused_connection_is_unreachable_and_names_the_address(clock: VirtualClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/api/v3"
    with (
        client_of(url, clock) as client,
        pytest.raises(Unreachable, match=rf"{url} cannot be reached.*ConnectionRefusedError"),
    ):
        ask(client)
    assert len(clock.slept) == MAX_CALLS_A_REQUEST - 1


def test_a_name_that_does_not_resolve_is_unreachable(clock: VirtualClock) -> None:
    with (
        client_of("http://api.invalid/api/v3", clock) as client,
        pytest.raises(Unreachable, match=r"api\.invalid"),
    ):
        ask(client)


def test_only_successes_cost_credits(api: ScriptedApi, client: CoinGecko) -> None:
    api.reply("bitcoin", Reply(status=500), Reply(body=b"Throttled"))
    ask(client)
    assert (client.calls, client.credits) == (3, 2)


def test_a_simulated_market_is_taken_at_its_word(api: ScriptedApi, client: CoinGecko) -> None:
    api.headers = {"x-simulated-market": "true"}
    assert client.market_chart("bitcoin", "usd", START, END).source == "simulated"
    assert client.source == "simulated"


def test_a_key_that_the_api_echoes_is_neither_raised_nor_logged(
    api: ScriptedApi, client: CoinGecko, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    long = "x" * (300 - len(KEY) // 2)
    for status in (200, 400, 401, 404, 500, 302):
        for body in (f"your key {KEY}", f"{long}{KEY}"):
            for reply in (Reply(status=status, body=body.encode()), Reply.json({"error": body})):
                api.always("bitcoin", reply)
                with pytest.raises((RequestProblem, IngestionError)) as caught:
                    ask(client)
                assert KEY[: len(KEY) // 2] not in str(caught.value)
    assert KEY[: len(KEY) // 2] not in caplog.text


def test_half_of_a_surrogate_pair_in_a_name_of_the_market_costs_that_character_alone(
    api: ScriptedApi, client: CoinGecko
) -> None:
    api.always("markets", Reply(body=b'[{"id":"bitcoin","name":"\\ud800Bitcoin"}]'))
    assert client.markets("usd").data.coins == [{"id": "bitcoin", "name": "?Bitcoin"}]
