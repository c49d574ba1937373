"""A market that is made up, behind an HTTP server with the price API's shape.

It serves the demo, the tests and the benchmarks. Its prices are a pure function of a seed, and it
says at every turn that they are simulated: in a header of each response and in its greeting.
"""

import signal
import threading
from collections.abc import Callable
from datetime import datetime

from crypto_platform.simulated_market.coins import Oddities
from crypto_platform.simulated_market.faults import FAULTS, Change, Fault, FaultRule
from crypto_platform.simulated_market.server import (
    Calls,
    Limits,
    MarketServer,
    utc_now,
)

__all__ = [
    "FAULTS",
    "Calls",
    "Change",
    "Fault",
    "FaultRule",
    "Limits",
    "MarketServer",
    "Oddities",
    "SimulatedMarket",
    "serve",
]


class SimulatedMarket(MarketServer):
    """The simulated market on a loopback port, from ``start`` or ``with`` on.

    Args:
        seed: Decides on every price: the same seed is the same market.
        coins: How many coins it has, 425 at most.
        oddities: What is odd about its data.
        now: The time it is there.
        limits: Of the plan that callers have.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
    """

    def __init__(  # noqa: PLR0913 - options, each with a default and given by name
        self,
        *,
        seed: int = 1,
        coins: int = 300,
        oddities: Oddities = Oddities(),  # noqa: B008 - frozen
        now: Callable[[], datetime] = utc_now,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        from crypto_platform.simulated_market.market import (  # noqa: PLC0415 - numpy, 0.1 s
            SyntheticMarket,
        )

        super().__init__(
            SyntheticMarket(seed, coins, oddities),
            now=now,
            limits=limits,
            headers={"x-simulated-market": "true"},
            greeting="(simulated) To the Moon!",
            seed=seed,
            host=host,
            port=port,
        )


def serve(host: str, port: int, *, seed: int = 1) -> None:
    """Serve a simulated market until the process is told to stop, by INT or TERM; say where it is.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        seed: Decides on every price.

    Raises:
        OSError: The address cannot be listened on.
    """
    stop = threading.Event()
    # Set here, not left to Python: a shell starts background jobs with INT ignored.
    old = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with SimulatedMarket(seed=seed, host=host, port=port) as market:
            message = f"A simulated market answers at {market.base_url}: no price is real."
            print(message, flush=True)  # noqa: T201 - to whoever started it
            stop.wait()
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
