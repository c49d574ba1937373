"""Assets that share pools and work until told to stop, for tests that kill their runs."""

import os
import time
from pathlib import Path

import dagster as dg

from crypto_platform.runs.executor import one_process_executor


def _mark(name: str) -> None:
    Path(os.environ["MARKS"], name).touch()


@dg.asset(pool="shared")
def endless() -> None:
    _mark("endless")
    while True:
        time.sleep(0.1)


@dg.asset(pool="shared", retry_policy=dg.RetryPolicy(max_retries=3, delay=600))
def persistent() -> None:
    _mark("persistent")
    while True:
        time.sleep(0.1)


@dg.asset(pool="shared")
def quick() -> None:
    _mark("quick")


defs = dg.Definitions(assets=[endless, persistent, quick], executor=one_process_executor)
