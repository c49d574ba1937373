"""The simulated market in a process of its own, as a real API would be."""

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from crypto_platform.simulated_market import Oddities, SimulatedMarket


@contextmanager
def simulated_market() -> Iterator[str]:
    """Its address; every coin is there from the first day."""
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    market = spawning.Process(target=_serve, args=(there,), daemon=True)
    market.start()
    # Else a market that does not come up is waited for without end.
    there.close()
    yield here.recv()
    market.terminate()
    market.join()


def _serve(connection: Connection) -> None:
    with SimulatedMarket(oddities=Oddities(late_listing=False)) as market:
        connection.send(market.base_url)
        threading.Event().wait()
