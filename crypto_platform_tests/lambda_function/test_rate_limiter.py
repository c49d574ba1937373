import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_platform_tests.lambda_function.conftest import VirtualClock
from lambda_function.errors import OutOfTime
from lambda_function.rate_limiter import SYSTEM_CLOCK, Clock, Halted, RateLimiter

NEVER = float("inf")


class SteppedClock(Clock):
    """Time for several threads: it goes on, to the next who wakes, once all of them sleep."""

    def __init__(self, threads: int) -> None:
        self._time = 0.0
        self._awake = threads
        self._wakes: list[float] = []
        self._changed = threading.Condition()

    def now(self) -> datetime:
        raise AssertionError("Pacing goes by the monotonic clock, which nobody sets.")

    def monotonic(self) -> float:
        return self._time

    def sleep(self, seconds: float, wake: threading.Event) -> None:
        assert not wake.is_set()
        with self._changed:
            until = self._time + seconds
            self._wakes.append(until)
            self._fall_asleep()
            self._changed.wait_for(lambda: self._time >= until, timeout=60)

    def leave(self) -> None:
        with self._changed:
            self._fall_asleep()

    def _fall_asleep(self) -> None:
        self._awake -= 1
        if not self._awake and self._wakes:
            self._time = min(self._wakes)
            self._awake = self._wakes.count(self._time)
            self._wakes = [until for until in self._wakes if until > self._time]
            self._changed.notify_all()


def most_in_a_minute(times: Sequence[float]) -> int:
    return max(sum(start <= time < start + 60 for time in times) for start in times)


@settings(deadline=None)
@given(
    limit=st.integers(1, 9),
    gaps=st.lists(st.floats(0, 100, allow_subnormal=False), min_size=1, max_size=60),
)
def test_no_minute_ever_has_more_calls_than_the_limit(limit: int, gaps: list[float]) -> None:
    clock = VirtualClock()
    rate_limiter = RateLimiter(limit, clock)
    times = []
    for gap in gaps:
        clock.passed += gap
        rate_limiter.wait(NEVER, threading.Event())
        times.append(clock.monotonic())
    assert most_in_a_minute(times) <= limit


def test_threads_share_the_limit() -> None:
    clock = SteppedClock(threads=5)
    rate_limiter = RateLimiter(7, clock)
    times: list[float] = []

    def call() -> None:
        for _ in range(20):
            rate_limiter.wait(NEVER, threading.Event())
            times.append(clock.monotonic())
        clock.leave()

    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(call) for _ in range(5)]:
            done.result()
    assert len(times) == 100
    assert most_in_a_minute(times) <= 7
    assert max(times) == pytest.approx(14 * RateLimiter.PERIOD)


def test_calls_within_the_limit_do_not_wait() -> None:
    clock = VirtualClock()
    rate_limiter = RateLimiter(6, clock)
    for _ in range(6):
        rate_limiter.wait(NEVER, threading.Event())
    assert clock.slept == []


def test_a_pause_holds_every_threads_next_call_back() -> None:
    clock = SteppedClock(threads=3)
    rate_limiter = RateLimiter(100, clock)
    rate_limiter.pause(53)
    times: list[float] = []

    def call() -> None:
        rate_limiter.wait(NEVER, threading.Event())
        times.append(clock.monotonic())
        clock.leave()

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(call) for _ in range(3)]:
            done.result()
    assert times == [53, 53, 53]


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    clock = VirtualClock()
    rate_limiter = RateLimiter(100, clock)
    rate_limiter.pause(50)
    rate_limiter.pause(2)
    rate_limiter.wait(NEVER, threading.Event())
    assert clock.passed == 50


def test_a_call_that_would_come_after_the_deadline_is_not_waited_for() -> None:
    clock = VirtualClock()
    rate_limiter = RateLimiter(1, clock)
    rate_limiter.wait(30, threading.Event())
    with pytest.raises(OutOfTime):
        rate_limiter.wait(30, threading.Event())
    assert clock.slept == []


def test_a_thread_that_waits_stops_at_once_when_the_invocation_ends() -> None:
    rate_limiter = RateLimiter(1, SYSTEM_CLOCK)
    halt = threading.Event()
    rate_limiter.wait(NEVER, halt)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(rate_limiter.wait, NEVER, halt)
        halt.set()
        assert isinstance(waiting.exception(timeout=30), Halted)


def test_waits_grow_no_shorter_than_the_period() -> None:
    clock = VirtualClock()
    rate_limiter = RateLimiter(1, clock)
    times = []
    for _ in range(3):
        rate_limiter.wait(NEVER, threading.Event())
        times.append(clock.monotonic())
    assert [after - before for before, after in pairwise(times)] == [
        RateLimiter.PERIOD,
        RateLimiter.PERIOD,
    ]
