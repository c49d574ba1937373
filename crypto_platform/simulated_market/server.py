"""The price API on a socket: its limits, its faults, and a count of its calls."""

import json
import math
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import ValidationError

from crypto_platform.simulated_market.api import ApiError, Market, Request, SimulatedApi
from crypto_platform.simulated_market.faults import (
    RATE_LIMIT_BODY,
    Fault,
    FaultRule,
    Faults,
    edited,
)

_BASE_PATH = "/api/v3"
_NOTHING_WRONG = Fault()
_JSON = "application/json; charset=utf-8"


def utc_now() -> datetime:
    """The time of the machine."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Limits:
    """What a plan of the API allows.

    Attributes:
        calls_a_minute: Calls allowed; what comes beyond gets status 429. ``None`` for any number.
        history_days: How far back a call may ask; ``None`` for any time.
        retry_after: Whether a 429 says how long to wait, as only those of some plans do.
    """

    calls_a_minute: int | None = None
    history_days: int | None = None
    retry_after: bool = True


@dataclass(frozen=True)
class Calls:
    """How often the API was called.

    Attributes:
        total: All calls, whatever became of them.
        credits: Those with status 200: a plan counts no others.
        by_endpoint: Calls by path, with ``{id}`` for the coin.
        by_coin: Calls for one coin, by its id.
        by_status: Responses by status; a call whose connection was reset has none.
    """

    total: int
    credits: int
    by_endpoint: Mapping[str, int]
    by_coin: Mapping[str, int]
    by_status: Mapping[int, int]


@dataclass(frozen=True)
class _Response:
    status: int
    body: bytes
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class MarketServer:
    """Serves a market on a loopback port, from ``start`` or ``with`` on.

    Args:
        market: What is served.
        now: The time it is there.
        limits: Of the plan that callers have.
        headers: Added to every response.
        greeting: What ``/ping`` says.
        seed: Of the dice that decide on probable faults.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.

    Attributes:
        faults: The rules of what goes wrong.
    """

    def __init__(  # noqa: PLR0913 - options, each with a default and given by name
        self,
        market: Market,
        *,
        now: Callable[[], datetime] = utc_now,
        limits: Limits = Limits(),
        headers: Mapping[str, str] | None = None,
        greeting: str = "(V3) To the Moon!",
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.faults = Faults(seed)
        self._api = SimulatedApi(market, greeting, limits.history_days)
        self._now = now
        self._limits = limits
        self._headers = dict(headers or {})
        self._address = (host, port)
        self._minute = _Minute(limits.calls_a_minute)
        self._log: list[tuple[str, str | None, int | None]] = []
        self._http: _Http | None = None

    @property
    def base_url(self) -> str:
        """What stands before the paths of the API's endpoints.

        Raises:
            RuntimeError: It has not been started.
        """
        if self._http is None:
            raise RuntimeError("The market is not being served: call start first.")
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}{_BASE_PATH}"

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close."""
        self.close()

    def start(self) -> None:
        """Listen, and respond from threads of its own until closed.

        Raises:
            OSError: The address cannot be listened on.
        """
        try:
            self._http = _Http(self._address, self._respond, self._headers)
        except OSError as error:
            host, port = self._address
            raise OSError(
                error.errno, f"No market can be served at {host}:{port}: {error.strerror}."
            ) from error
        threading.Thread(
            target=self._http.serve_forever, args=(0.05,), name="market", daemon=True
        ).start()

    def close(self) -> None:
        """Stop listening and drop the open connections."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def inject(self, fault: str | Fault, **where: Any) -> None:
        """Let something go wrong.

        Args:
            fault: What: a fault, or the name of one in ``FAULTS``.
            where: The other fields of ``FaultRule``: ``coin``, ``path``, ``times``,
                ``probability``.
        """
        self.faults.add(FaultRule.model_validate({"fault": fault, **where}))

    def calls(self) -> Calls:
        """How often the API was called so far."""
        log = tuple(self._log)
        statuses = Counter(status for _, _, status in log if status)
        return Calls(
            total=len(log),
            credits=statuses[HTTPStatus.OK],
            by_endpoint=dict(Counter(endpoint for endpoint, _, _ in log)),
            by_coin=dict(Counter(coin for _, coin, _ in log if coin)),
            by_status=dict(statuses),
        )

    def _respond(self, method: str, target: str, body: bytes) -> tuple[_Response, Fault]:
        """The response to any request, and what goes wrong on its way back."""
        url = urlsplit(target)
        if url.path.startswith("/simulation/"):
            return self._control(method, url.path, body), _NOTHING_WRONG
        now = int(self._now().timestamp()) * 1000
        # Outside of the base URL there is no endpoint, as a caller with a wrong one has to learn.
        inside = url.path.startswith(f"{_BASE_PATH}/")
        path = url.path.removeprefix(_BASE_PATH) if inside else f"outside of {_BASE_PATH}"
        request = Request(path=path, parameters=dict(parse_qsl(url.query)), now=now)
        fault = self.faults.next_for(request.path, request.coin) or _NOTHING_WRONG
        response = self._api_response(request, fault)
        status = None if fault.reset else response.status
        self._log.append((request.endpoint, request.coin, status))
        return response, fault

    def _api_response(self, request: Request, fault: Fault) -> _Response:
        # Every call counts against the minute, also one that goes wrong.
        seconds = self._minute.seconds_to_wait()
        if fault.body is not None:
            return _Response(
                fault.status or HTTPStatus.OK,
                fault.body.encode(),
                fault.content_type,
                fault.headers,
            )
        if seconds:
            return self._rate_limited(seconds)
        try:
            body, status = self._api.response(request), HTTPStatus.OK
        except ApiError as error:
            body, status = error.body, error.status
        if status == HTTPStatus.OK and "prices" in body:
            body = edited(body, fault)
        return _Response(fault.status or status, _encode(body), headers=fault.headers)

    def _rate_limited(self, seconds: int) -> _Response:
        reset = self._now() + timedelta(seconds=seconds)
        headers = {
            "x-ratelimit-limit": str(self._limits.calls_a_minute),
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": f"{reset:%Y-%m-%d %H:%M:%S +0000}",
        }
        if self._limits.retry_after:
            headers["retry-after"] = str(seconds)
        return _Response(HTTPStatus.TOO_MANY_REQUESTS, RATE_LIMIT_BODY.encode(), headers=headers)

    def _control(self, method: str, path: str, body: bytes) -> _Response:
        """The endpoints that tests steer the market with from another process."""
        try:
            if path == "/simulation/faults" and method == "POST":
                self.faults.add(FaultRule.model_validate_json(body))
            elif path == "/simulation/faults" and method == "DELETE":
                self.faults.clear()
        except ValidationError as error:
            return _Response(HTTPStatus.BAD_REQUEST, _encode({"error": str(error)}))
        if path == "/simulation/faults":
            rules = [rule.model_dump(mode="json") for rule in self.faults.rules]
            return _Response(HTTPStatus.OK, _encode({"faults": rules}))
        if path == "/simulation/stats":
            return _Response(HTTPStatus.OK, _encode(asdict(self.calls())))
        return _Response(HTTPStatus.NOT_FOUND, _encode({"error": f"There is no {path}."}))


class _Minute:
    """Counts the calls of a minute, which begins with the first call after the last one.

    It goes by the machine's clock: callers wait in real time, also where the market's stands still.
    """

    def __init__(self, calls: int | None) -> None:
        self._allowed = math.inf if calls is None else calls
        self._lock = threading.Lock()
        self._began = -math.inf
        self._calls = 0

    def seconds_to_wait(self) -> int:
        """Count a call; whole seconds until it would have been allowed, 0 if it is."""
        with self._lock:
            now = time.monotonic()
            if now >= self._began + 60.0:
                self._began, self._calls = now, 0
            self._calls += 1
            if self._calls <= self._allowed:
                return 0
            return math.ceil(self._began + 60.0 - now)


class _Http(ThreadingHTTPServer):
    """Keeps hold of its connections, to drop them when it closes."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        respond: Callable[[str, str, bytes], tuple[_Response, Fault]],
        headers: Mapping[str, str],
    ) -> None:
        self.respond = respond
        self.headers = headers
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer looks its own name up here, which takes seconds on a machine without DNS.
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        self.closing.set()
        super().server_close()
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A caller that hangs up is no error of the server's.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Brings requests to the market and responses back, with what goes wrong on the way."""

    server: _Http
    protocol_version = "HTTP/1.1"
    # Head and body leave in one packet, and at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        response, fault = self.server.respond(self.command, self.path, self.rfile.read(length))
        if fault.delay_seconds:
            self.server.closing.wait(fault.delay_seconds)
        if fault.reset:
            self._reset()
        else:
            self._send(response, cut=fault.cut)

    do_POST = do_GET  # noqa: N815 - http.server's name
    do_DELETE = do_GET  # noqa: N815 - as above

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Say nothing: the calls are counted."""

    def _send(self, response: _Response, *, cut: bool) -> None:
        self.send_response_only(response.status)
        headers = {
            "Date": self.date_time_string(),
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            **self.server.headers,
            **response.headers,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body[: len(response.body) // 2] if cut else response.body)
        self.close_connection = self.close_connection or cut

    def _reset(self) -> None:
        # Closing with no time to linger sends a reset, if it comes before the usual farewell.
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        socket.close(self.connection.detach())
        self.close_connection = True


def _encode(body: object) -> bytes:
    # A body here holds no cycles, and looking for them takes a third of the time.
    text = json.dumps(body, separators=(",", ":"), allow_nan=False, check_circular=False)
    return text.encode()
