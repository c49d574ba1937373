"""Which requests go through a proxy, at a proxy on loopback."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from crypto_platform_tests.lambda_function.conftest import ScriptedApi, VirtualClock
from lambda_function.coingecko import CoinGecko
from lambda_function.errors import RequestProblem, Unreachable
from lambda_function.plans import PLANS, ApiSettings
from lambda_function.proxies import is_loopback, redact_proxy, without_credentials
from lambda_function.rate_limiter import RateLimiter

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class Proxy:
    """A proxy that answers what it is asked for itself, and has no tunnels."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status, self.body = 200, b'{"gecko_says":"by proxy"}'
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy.asked.append(self.path)
                body = proxy.body
                self.send_response_only(proxy.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_CONNECT(self) -> None:
                proxy.asked.append(self.path)
                self.send_response_only(407)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.place = f"127.0.0.1:{self.server.server_port}"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    proxy = Proxy()
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://user:hunter2@{proxy.place}")
    yield proxy
    proxy.server.shutdown()
    proxy.server.server_close()
    proxy.thread.join()


def client_of(base_url: str, clock: VirtualClock) -> CoinGecko:
    settings = ApiSettings(PLANS["keyless"], base_url)
    return CoinGecko(settings, RateLimiter(10_000, clock), clock, float("inf"))


def test_what_leaves_this_machine_goes_through_the_proxy(proxy: Proxy, clock: VirtualClock) -> None:
    with client_of("http://api.invalid/api/v3", clock) as client:
        assert client.ping().data == {"gecko_says": "by proxy"}
    assert proxy.asked == ["http://api.invalid/api/v3/ping"]


def test_this_machines_own_servers_are_asked_without_the_proxy(
    proxy: Proxy, api: ScriptedApi, clock: VirtualClock
) -> None:
    with client_of(api.base_url, clock) as client:
        client.ping()
    assert (len(api.asked), proxy.asked) == (1, [])


def test_an_error_on_the_way_names_the_proxy_without_its_credentials(
    proxy: Proxy, clock: VirtualClock
) -> None:
    with (
        client_of("https://api.invalid/api/v3", clock) as client,
        pytest.raises(Unreachable) as caught,
    ):
        client.market_chart("bitcoin", "usd", datetime(2026, 1, 1, tzinfo=UTC), None)
    said = str(caught.value)
    assert f"through the proxy http://{proxy.place}" in said
    assert "NO_PROXY" in said
    assert "hunter2" not in said
    assert "user" not in said


@pytest.mark.parametrize("status", [403, 407, 502, 503, 504])
def test_a_refusal_that_may_be_the_proxys_own_names_it(
    proxy: Proxy, clock: VirtualClock, status: int
) -> None:
    proxy.status, proxy.body = status, b"<h1>Not from here</h1>"
    with (
        client_of("http://api.invalid/api/v3", clock) as client,
        pytest.raises(RequestProblem) as caught,
    ):
        client.ping()
    said = str(caught.value)
    assert f"HTTP {status}: 'Not from here'. It was asked through the proxy" in said
    assert "hunter2" not in said


@pytest.mark.usefixtures("proxy")
def test_a_proxy_whose_address_cannot_be_read_is_not_quoted(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@:port")
    with (
        client_of("https://api.invalid/api/v3", clock) as client,
        pytest.raises(Unreachable) as caught,
    ):
        client.ping()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8080/api/v3", True),
        ("http://127.8.0.1/", True),
        ("http://[::1]:80/", True),
        ("http://localhost:1/", True),
        ("http://market.localhost/", True),
        ("http://LOCALHOST./", True),
        ("http://10.0.0.1/", False),
        ("http://localhost.example.com/", False),
        ("https://api.coingecko.com/api/v3", False),
    ],
)
def test_loopback_is_told_by_the_host(url: str, *, loopback: bool) -> None:
    assert is_loopback(url) is loopback


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("http://user:pass@proxy:3128/", "http://proxy:3128"),
        ("http://proxy:3128", "http://proxy:3128"),
        ("user:p@ss@proxy:3128", "proxy:3128"),
    ],
)
def test_a_proxy_is_told_without_credentials(proxy: str, told: str) -> None:
    assert without_credentials(proxy) == told
    assert "ss@" not in redact_proxy(f"cannot parse {proxy}", proxy)
