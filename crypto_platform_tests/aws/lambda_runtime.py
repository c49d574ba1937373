"""What runs a function's zip as AWS Lambda does: its own runtime client, and the API it asks.

moto's Lambda needs Docker. Here the uploaded zip is unpacked and run by ``awslambdaric``, the very
client of Lambda's Python images, against a Runtime API on loopback.
"""

import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaFunction
from moto.awslambda.responses import LambdaResponse

from crypto_platform_tests.aws.permissions import credentials_of

LOG_TAIL = 4096
POLL_SECONDS = 0.05


class TooManyRequestsError(LambdaClientError):
    code = 429

    def __init__(self) -> None:
        super().__init__("TooManyRequestsException", "Rate Exceeded.")


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended: with an answer, or with an error of the function."""

    payload: str
    failed: bool
    log: str = ""

    @classmethod
    def error(cls, kind: str, message: str) -> "Outcome":
        return cls(json.dumps({"errorType": kind, "errorMessage": message}), failed=True)


class Lambda:
    """Runs the invocations of moto's functions, one at a time, each function kept warm.

    One at a time is what a reserved concurrency of one gives: who comes while it is busy is
    throttled.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environments: dict[tuple[Any, ...], _Environment] = {}
        self.busy = threading.Lock()
        self.events: list[dict[str, Any]] = []
        self.attempts = 0

    def invoke(self, function: Any, event: dict[str, Any] | None = None) -> tuple[str, bool, str]:
        """Takes the place of moto's ``LambdaFunction._invoke_lambda``."""
        self.attempts += 1
        if not self.busy.acquire(blocking=False):
            raise TooManyRequestsError
        try:
            self.events.append(event or {})
            outcome = self._environment(function).invoke(json.dumps(event or {}), function.timeout)
        finally:
            self.busy.release()
        return outcome.payload, outcome.failed, outcome.log

    def stop(self) -> None:
        for environment in self._environments.values():
            environment.stop()

    def _environment(self, function: Any) -> "_Environment":
        # What is deployed or configured anew starts anew; a published version keeps what it was
        # published with, so it starts once, however often the function changes.
        version = (
            function.code_bytes,
            function.version,
            *sorted(function.environment_vars.items()),
        )
        environment = self._environments.get(version)
        if environment is None or not environment.alive:
            folder = self._folder / f"environment-{len(self._environments)}-{time.monotonic_ns()}"
            environment = self._environments[version] = _Environment(function, folder)
        return environment


@contextmanager
def running_functions(folder: Path) -> Iterator[Lambda]:
    """While this lasts, moto's functions really run.

    A name may carry the number of a published version or an alias, as ``name:live``, or these come
    beside it as the qualifier: what runs has the code and the settings that it was published with.
    """
    service = Lambda(folder)
    unqualified = LambdaResponse.invoke

    def invoke(self: LambdaFunction, event: Any = None) -> tuple[str, bool, str]:
        return service.invoke(self, event)

    def qualified(self: LambdaResponse) -> Any:
        # moto looks for it by a name that no client sends.
        self.querystring["qualifier"] = self.querystring.get("Qualifier")
        return unqualified(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LambdaFunction, "_invoke_lambda", invoke)
        patch.setattr(LambdaResponse, "invoke", qualified)
        try:
            yield service
        finally:
            service.stop()


class _Environment:
    """A process that runs a function, and the Runtime API that it asks for events."""

    def __init__(self, function: Any, folder: Path) -> None:
        with zipfile.ZipFile(io.BytesIO(function.code_bytes)) as archive:
            archive.extractall(folder)
        self._api = _RuntimeApi(function.function_arn)
        threading.Thread(target=self._api.serve_forever, args=(POLL_SECONDS,), daemon=True).start()
        self._log = folder / "log.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "awslambdaric", function.handler],
                cwd=folder,
                env={
                    **{name: os.environ[name] for name in os.environ if name.startswith("AWS_")},
                    **credentials_of(function.role),
                    **function.environment_vars,
                    "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.server_port}",
                    "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
                    "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
                    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
                },
                stdout=log,
                stderr=log,
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def invoke(self, event: str, timeout: float) -> Outcome:
        logged = self._log.stat().st_size
        outcome = self._outcome(event, timeout)
        log = self._log.read_bytes()[logged:][-LOG_TAIL:].decode(errors="replace")
        return Outcome(outcome.payload, outcome.failed, log)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._api.events.put(None)
        self._api.shutdown()
        self._api.server_close()

    def _outcome(self, event: str, timeout: float) -> Outcome:
        deadline = time.time() + timeout
        self._api.events.put((event, round(deadline * 1000)))
        while time.time() < deadline:
            try:
                return self._api.outcomes.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if not self.alive:
                    status = self._process.returncode
                    return Outcome.error("Runtime.ExitError", f"exit status {status}")
        self._process.kill()
        self._process.wait()
        return Outcome.error("Sandbox.Timedout", f"Task timed out after {timeout:.2f} seconds")


class _RuntimeApi(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, function_arn: str) -> None:
        super().__init__(("127.0.0.1", 0), _RuntimeApiHandler)
        self.function_arn = function_arn
        self.events: queue.Queue[tuple[str, int] | None] = queue.Queue()
        self.outcomes: queue.Queue[Outcome] = queue.Queue()


class _RuntimeApiHandler(BaseHTTPRequestHandler):
    server: _RuntimeApi
    protocol_version = "HTTP/1.1"
    failed_by_ending: ClassVar[dict[str, bool]] = {"response": False, "error": True}

    def do_GET(self) -> None:
        """The next event; the client waits for it as long as it takes."""
        following = self.server.events.get()
        if following is None:
            self.close_connection = True
            return
        event, deadline = following
        self._answer(
            event.encode(),
            {
                # The client crashes without a content type.
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": "00000000-0000-4000-8000-000000000000",
                "Lambda-Runtime-Deadline-Ms": str(deadline),
                "Lambda-Runtime-Invoked-Function-Arn": self.server.function_arn,
            },
        )

    def do_POST(self) -> None:
        """What the function answered, or that it failed."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        failed = self.failed_by_ending[self.path.rsplit("/", 1)[1]]
        self._answer(b"{}", {})
        self.server.outcomes.put(Outcome(body, failed))

    def log_message(self, *_: Any) -> None:
        """Not a word to the tests' output."""

    def _answer(self, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(200 if self.command == "GET" else 202)
        for name, text in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)
