"""The simulated market in a process of its own, as a real API would be."""

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import requests

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
    base_url = here.recv()
    # Its first response takes longer, which none of those that are compared should pay alone.
    requests.get(f"{base_url}/coins/markets?vs_currency=usd&per_page=250", timeout=60)
    yield base_url
    market.terminate()
    market.join()


def _serve(connection: Connection) -> None:
    with SimulatedMarket(oddities=Oddities(late_listing=False)) as market:
        connection.send(market.base_url)
        threading.Event().wait()
