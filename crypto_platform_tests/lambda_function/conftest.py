import gzip
import json
import os
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from lambda_function.handler import handle
from lambda_function.rate_limiter import Clock

NOW = datetime(2026, 11, 23, 6, 10, tzinfo=UTC)
RECORDED = Path(__file__).parents[3] / "shared" / "recorded"
KEY = "CG-planted-key-0123456789"


class VirtualClock(Clock):
    """Time that passes only where someone sleeps, or where a test says so."""

    def __init__(self, now: datetime = NOW) -> None:
        self.start = now
        self.passed = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float, wake: threading.Event) -> None:
        assert not wake.is_set()
        self.slept.append(seconds)
        self.passed += seconds


@dataclass(frozen=True)
class Reply:
    """What the server does with a request: answers, cuts the body short, or resets."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    chunked: bool = False
    reset: bool = False

    @classmethod
    def json(
        cls, body: object, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> "Reply":
        return cls(status, json.dumps(body).encode(), headers or {})


@dataclass(frozen=True)
class Asked:
    """A request that the server saw."""

    path: str
    raw_path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    port: int

    @property
    def coin(self) -> str:
        return unquote(self.raw_path.split("/")[4])


def http_date(moment: datetime) -> str:
    """A moment as HTTP's ``Date`` has it."""
    return format_datetime(moment, usegmt=True)


Responder = Callable[[Asked], Reply]


class ScriptedApi:
    """A price API on loopback: scripted replies first, then charts that follow its rules."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.asked: list[Asked] = []
        self.before: Callable[[Asked], None] = lambda _: None
        self.headers: dict[str, str] = {}
        self.clock_ahead = timedelta()
        self.listing: list[dict[str, Any]] = []
        self._scripts: dict[str, list[Reply]] = defaultdict(list)
        self._always: dict[str, Reply] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/api/v3"

    def reply(self, coin: str, *replies: Reply) -> None:
        """The next replies to requests for a coin (or for another path, by its last part)."""
        self._scripts[coin].extend(replies)

    def always(self, coin: str, reply: Reply) -> None:
        """The reply to every request for a coin (or for another path, by its last part)."""
        self._always[coin] = reply

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def response(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            self.before(asked)
            name = asked.coin if "/market_chart/" in asked.path else asked.path.split("/")[-1]
            if self._scripts[name]:
                return self._scripts[name].pop(0)
        if name in self._always:
            return self._always[name]
        if name == "ping":
            return Reply.json({"gecko_says": "(V3) To the Moon!"}, headers=self.headers)
        if name == "markets":
            return Reply.json(self.page(asked.query), headers=self.headers)
        start, end = int(asked.query["from"]), int(asked.query["to"])
        return Reply.json(chart(name, start, end, self.clock.now()), headers=self.headers)

    def page(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        ids = query.get("ids", "").split(",") if "ids" in query else None
        found = [coin for coin in self.listing if ids is None or coin["id"] in ids]
        size, page = int(query["per_page"]), int(query["page"])
        return found[size * (page - 1) : size * page]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                reply = api.response(
                    Asked(
                        unquote(parts.path),
                        parts.path,
                        dict(parse_qsl(parts.query)),
                        {name.lower(): value for name, value in self.headers.items()},
                        self.client_address[1],
                    )
                )
                if reply.reset:
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.connection.close()
                    self.close_connection = True
                    return
                self.send_response_only(reply.status)
                if "Date" not in reply.headers:
                    self.send_header("Date", http_date(api.clock.now() - api.clock_ahead))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for at in range(0, len(reply.body), 50_000):
                        part = reply.body[at : at + 50_000]
                        self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                    self.wfile.write(b"0\r\n\r\n")
                    return
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body[: reply.cut_at])
                self.close_connection = reply.cut_at is not None

            def finish(self) -> None:
                if not self.wfile.closed and self.connection.fileno() != -1:
                    super().finish()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def chart(coin: str, start: int, end: int, now: datetime) -> dict[str, list[list[float]]]:
    """What the API gives for a span: its granularity by its rules, a last point off the grid."""
    present = int(now.timestamp())
    day = 86_400
    if end - start > 90 * day:
        step = day
    elif end - start <= day and end > present - 300:
        step = 300
    else:
        step = 3_600
    stamps = list(range(-(-start // step) * step, min(end, present) + 1, step))
    if end >= present:
        stamps.append(present - 7)
    seed = sum(map(ord, coin))
    return {
        "prices": [[stamp * 1000, (seed + stamp % 99_991) / 7] for stamp in stamps],
        "market_caps": [[stamp * 1000, seed * stamp] for stamp in stamps],
        "total_volumes": [[stamp * 1000, (seed + stamp) / 3] for stamp in stamps],
    }


@dataclass
class Ingestion:
    """The handler over a scripted API and a lake of its own."""

    api: ScriptedApi
    clock: VirtualClock
    lake: Path
    environment: dict[str, str]

    def event(self, coins: Sequence[str], windows: Sequence[dict[str, str]]) -> dict[str, Any]:
        return {
            "action": "prices",
            "run_id": "run-1",
            "granularity": "daily",
            "vs_currency": "usd",
            "coins": list(coins),
            "windows": list(windows),
            "rejected_uri": f"{self.lake}/rejected/run=run-1",
            "part": 0,
            "credits_left": None,
        }

    def days(self, count: int, end: datetime = NOW) -> list[dict[str, str]]:
        return self.windows(count, timedelta(days=1), end)

    def windows(self, count: int, length: timedelta, end: datetime = NOW) -> list[dict[str, str]]:
        """So many windows in a row, the last of them the last one closed; a month shares a uri."""
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        last = epoch + (end - epoch) // length * length
        starts = [last - length * back for back in range(count, 0, -1)]
        return [
            {
                "start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
                "end": f"{start + length:%Y-%m-%dT%H:%M:%SZ}",
                "uri": f"{self.lake}/month={start:%Y-%m}/prices-run-1",
            }
            for start in starts
        ]

    def run(self, event: Mapping[str, Any], context: object = None) -> dict[str, Any]:
        """One invocation, its event and response passed as JSON."""
        response = handle(json.loads(json.dumps(event)), context, self.environment, self.clock)
        passed: dict[str, Any] = json.loads(json.dumps(response))
        return passed

    def prices(self, coins: Sequence[str], windows: Sequence[dict[str, str]]) -> dict[str, Any]:
        return self.run(self.event(coins, windows))


def records(uri: str) -> list[dict[str, Any]]:
    """The records of an object in the lake."""
    lines = gzip.decompress(Path(uri).read_bytes()).decode().splitlines()
    return [json.loads(line) for line in lines]


def written(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records of all objects that a response names."""
    return [record for found in response["objects"] for record in records(found["uri"])]


@pytest.fixture
def recorded() -> Path:
    """The folder of recorded responses; the test is skipped where it is absent."""
    folder = Path(os.environ.get("RECORDED_DATA") or RECORDED)
    if not folder.is_dir():
        pytest.skip(f"no recorded responses at {folder}: name their folder in RECORDED_DATA")
    return folder


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def api(clock: VirtualClock) -> Iterator[ScriptedApi]:
    api = ScriptedApi(clock)
    yield api
    api.close()


@pytest.fixture
def ingestion(api: ScriptedApi, clock: VirtualClock, tmp_path: Path) -> Ingestion:
    environment = {
        "COINGECKO_BASE_URL": api.base_url,
        "COINGECKO_PLAN": "analyst",
        "COINGECKO_API_KEY": KEY,
    }
    return Ingestion(api, clock, tmp_path / "lake", environment)
