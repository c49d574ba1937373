"""Time: the clock, and the limiter that holds a plan's calls a minute."""

import threading
import time
from collections import deque
from datetime import UTC, datetime

from lambda_function.errors import OutOfTime


class Halted(Exception):  # noqa: N818 - no error: the invocation is ending
    """The invocation is over; the thread that waits must stop."""


class Clock:
    """The system's time; a test may bring its own."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only ever go forward."""
        return time.monotonic()

    def sleep(self, seconds: float, wake: threading.Event) -> None:
        """Sleeps, unless or until it is woken.

        Args:
            seconds: How long.
            wake: Set to end it.
        """
        wake.wait(seconds)


SYSTEM_CLOCK = Clock()


class RateLimiter:
    """Lets at most so many calls a minute through, over all threads that share it.

    Args:
        calls_a_minute: How many.
        clock: The time.
    """

    # A second more than a minute: the API counts calls as they arrive, which is less even than
    # they leave.
    PERIOD = 61.0

    def __init__(self, calls_a_minute: int, clock: Clock) -> None:
        self._clock = clock
        self._calls: deque[float] = deque(maxlen=calls_a_minute)
        self._paused_until = -float("inf")
        self._lock = threading.Lock()

    def wait(self, deadline: float, halt: threading.Event) -> None:
        """Returns when a call may be made, which counts as made.

        Args:
            deadline: In the clock's monotonic seconds; a call that would be later is not made.
            halt: Set when the invocation is over.

        Raises:
            OutOfTime: The call may not be made before the deadline.
            Halted: The invocation is over.
        """
        while True:
            with self._lock:
                now = self._clock.monotonic()
                ready = max(now, self._paused_until)
                if len(self._calls) == self._calls.maxlen:
                    ready = max(ready, self._calls[0] + self.PERIOD)
                if ready <= now <= deadline and not halt.is_set():
                    self._calls.append(now)
                    return
            sleep(ready - now, deadline, halt, self._clock)

    def pause(self, seconds: float) -> None:
        """Holds every thread's next call back."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)


def sleep(seconds: float, deadline: float, halt: threading.Event, clock: Clock) -> None:
    """Sleeps, if that ends before the deadline and the invocation goes on.

    Args:
        seconds: How long.
        deadline: In the clock's monotonic seconds.
        halt: Set when the invocation is over.
        clock: The time.

    Raises:
        OutOfTime: It would not end before the deadline.
        Halted: The invocation is over.
    """
    if clock.monotonic() + seconds > deadline:
        raise OutOfTime("The invocation's time runs out before the API may be called again.")
    clock.sleep(seconds, halt)
    if halt.is_set():
        raise Halted
