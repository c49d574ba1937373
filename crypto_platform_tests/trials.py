"""What trials of faults share: what goes wrong with the API, and processes that are killed.

``test_faults`` tries one thing at a time, ``test_schedules`` many in any order.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pytest
from dagster._core.errors import DagsterMaxRetriesExceededError

from crypto_platform.core.settings import Settings
from crypto_platform.definitions import build_definitions
from crypto_platform.lake.layers import Layer
from crypto_platform.simulated_market import Fault, SimulatedMarket
from crypto_platform.transformation.spark_process import SparkProcess
from crypto_platform.warehouse.duckdb import _DuckDBSession
from crypto_platform_tests.conftest import STAGES, Platform
from crypto_platform_tests.truth import Truth
from lambda_function.rate_limiter import Clock

# Its children are forked from a process that has imported everything and started nothing.
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(
    ["crypto_platform_tests.trials", "duckdb", "pyarrow", "requests", "sqlglot", "pandas"]
)
PATIENCE = 300


class HurriedClock(Clock):
    """The time of day as it is; who sleeps, sleeps no time at all."""

    def __init__(self) -> None:
        self._slept = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._slept

    def sleep(self, seconds: float, wake: Any) -> None:
        self._slept += max(0.0, seconds)
        wake.wait(0.001)


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Nobody waits as long as in earnest."""
    patch.setattr("lambda_function.handler.SYSTEM_CLOCK", HurriedClock())
    patch.setattr("lambda_function.coingecko.TIMEOUTS", (0.5, 0.5))
    patch.setattr("crypto_platform.assets.stages.RETRIES", dg.RetryPolicy(max_retries=1))


def run(
    platform: Platform,
    truth: Truth,
    stages: Sequence[str] = STAGES,
    only: Sequence[str] = (),
) -> None:
    platform.materialize(truth.stream, truth.keys[0], truth.keys[-1], stages=stages, only=only)


def run_under_a_fault(
    platform: Platform, truth: Truth, stages: Sequence[str] = STAGES, only: Sequence[str] = ()
) -> None:
    """A run that may fail, but only with an error that is written for people."""
    with suppress(dg.Failure, DagsterMaxRetriesExceededError):
        run(platform, truth, stages, only)


HTML = Fault(status=200, body="<html>Just a moment</html>", content_type="text/html")
EMPTY = Fault(status=200, body='{"prices":[],"market_caps":[],"total_volumes":[]}')
API_FAULTS: Mapping[str, tuple[str | Fault, Mapping[str, Any]]] = {
    "a storm of 429": ("rate_limited", {"times": 9}),
    "a storm of 429 without Retry-After": ("rate_limited_without_retry_after", {}),
    "a 429 in plain text": ("throttled", {"probability": 0.5}),
    "a 429 in HTML": ("blocked", {"times": 4}),
    "500s": ("server_error", {}),
    "500s for one coin": ("server_error", {"coin": "tether"}),
    "503s in HTML now and then": ("unavailable", {"probability": 0.5}),
    "a refused key": ("wrong_key", {"times": 1}),
    "an error in a 200": ("error_in_a_200", {"coin": "bitcoin"}),
    "HTML in a 200": (HTML, {"coin": "bitcoin"}),
    "an empty chart": (EMPTY, {"coin": "ethereum"}),
    "empty charts of all coins": ("no_points", {}),
    "stamps in seconds": ("stamps_in_seconds", {}),
    "prices of another time": ("another_time", {"coin": "tether"}),
    "403s that pass": ("forbidden_for_now", {"probability": 0.5}),
    "a 403 for one coin": ("wants_user_agent", {"coin": "bitcoin"}),
    "cut bodies": ("cut_body", {"probability": 0.7}),
    "resets": ("connection_reset", {"times": 5}),
    "a hang": ("hang", {"times": 1}),
    "uneven arrays": ("uneven_arrays", {}),
    "null prices": ("null_prices", {}),
    "null caps": ("null_caps", {}),
    "duplicated points": ("duplicated_points", {}),
    "a delisted coin": ("delisted_coin", {"coin": "ethereum"}),
}


def in_a_process(target: Callable[..., None], *arguments: Any) -> Any:
    process = FORKING.Process(target=target, args=(dict(os.environ), *arguments))
    process.start()
    return process


def platform_in(
    home: Path, market: SimulatedMarket, coins: Sequence[str], patch: pytest.MonkeyPatch
) -> Platform:
    """A platform over a folder, by the environment, so that child processes have it too."""
    environment = {
        "CRYPTO_HOME": str(home),
        "COINGECKO_BASE_URL": market.base_url,
        "COINGECKO_PLAN": "pro",
        "COINGECKO_CALLS_A_MINUTE": "1000000",
        "TRACKED_COINS": ",".join(coins),
    }
    for name, text in environment.items():
        patch.setenv(name, text)
    return Platform(build_definitions(Settings.from_environment(environment)), home)


def platform_of(environment: Mapping[str, str]) -> Platform:
    """The platform of a child process, which knows nothing of its parent's."""
    os.environ.update(environment)
    time.tzset()
    hurry(pytest.MonkeyPatch())
    settings_ = Settings.from_environment(environment)
    return Platform(build_definitions(settings_), settings_.home)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


OWNERS: Mapping[str, Any] = {
    "Path": Path,
    "Layer": Layer,
    "SparkProcess": SparkProcess,
    "warehouse": _DuckDBSession,
}
"""The classes in whose methods a run can be killed, by name."""


class Kill(NamedTuple):
    """Where a run is killed.

    Attributes:
        owner: The name in ``OWNERS`` of a class.
        name: A method of it.
        nth: At which call of that in the run; there may be fewer.
    """

    owner: str
    name: str
    nth: int


def killed_within(
    environment: Mapping[str, str], truth: Truth, kill: Kill, only: Sequence[str] = ()
) -> None:
    """Materialize, and be killed within what the run does."""
    platform = platform_of(environment)
    parent = OWNERS[kill.owner]
    function = getattr(parent, kill.name)
    seen = 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == kill.nth:
            die()
        return function(*arguments, **options)

    setattr(parent, kill.name, call)
    run_under_a_fault(platform, truth, only=only)
