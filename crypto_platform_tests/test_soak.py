"""The soak: 200 windows through the real daemon, with a fault at one call in ten.

It takes minutes and is asked for by name: ``make soak``. Its figures go to its standard output.
"""

import os
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from crypto_platform.core.streams import INTRA_DAY
from crypto_platform.local.instance import instance_environment
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform_tests.truth import Truth, days_ago, odd_market, six_hours_of

pytestmark = [pytest.mark.integration, pytest.mark.soak]

ROOT = Path(__file__).parents[1]
COINS = (
    *("bitcoin", "ethereum", "tether", "binancecoin", "usd-coin", "ripple"),
    *("solana", "tron", "dogecoin", "zcash", "cardano", "stellar"),
)
TRUTH = Truth(INTRA_DAY, six_hours_of(days_ago(53, 4)), COINS)
WINDOWS_A_RUN = 20
ROUNDS = 8

# Those that say that something is wrong: what a lie looks like, no run can tell.
FAULTS = (
    *("rate_limited", "throttled", "server_error", "cut_body", "connection_reset"),
    *("delisted_coin", "error_in_a_200"),
)
ONE_CALL_IN_TEN = 0.1
FLAT = 1.15
PATIENCE = timedelta(minutes=30)
WARM_UP = timedelta(seconds=150)

LAUNCH = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on InvalidSubsetError { message }
    ... on PythonError { message } } }"""
STATUSES = """{ runsOrError { ... on Runs { results { runId status } } } }"""
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


def ask(url: str, query: str, **variables: Any) -> dict[str, Any]:
    response = requests.post(
        f"{url}/graphql", json={"query": query, "variables": variables}, timeout=120
    ).json()
    assert "errors" not in response, response["errors"]
    data: dict[str, Any] = response["data"]
    return data


@contextmanager
def dagster(environment: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """The UI's address, and the process above daemon and code server, as of ``make dev``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "crypto-platform"), "dev", "--port", str(port)]
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        cwd=environment["CRYPTO_HOME"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_it_answers(url)
            yield url, process.pid
        finally:
            process.terminate()


def wait_until_it_answers(url: str) -> None:
    for _ in range(300):
        try:
            if "repositoriesOrError" in ask(url, "{ repositoriesOrError { __typename } }"):
                return
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(1)
    raise TimeoutError(f"Dagster does not answer at {url}.")


def launch(url: str, keys: Sequence[str]) -> str:
    """Queue a run of a range of windows, as the backfill dialog does."""
    tags = {
        "dagster/asset_partition_range_start": keys[0],
        "dagster/asset_partition_range_end": keys[-1],
    }
    params = {
        "selector": {
            "repositoryLocationName": "crypto_platform",
            "repositoryName": "__repository__",
            "jobName": INTRA_DAY.name,
            "assetSelection": [
                {"path": [INTRA_DAY.name, stage]}
                for stage in ("raw_prices", "transformed_prices", "snowflake_prices")
            ],
        },
        "mode": "default",
        "runConfigData": {},
        "executionMetadata": {
            "tags": [{"key": name, "value": text} for name, text in tags.items()]
        },
    }
    launched = ask(url, LAUNCH, params=params)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


class Memory:
    """What the daemon and the code server hold, sampled."""

    def __init__(self, above: int) -> None:
        self._above = above
        self.samples: dict[str, list[int]] = defaultdict(list)

    def sample(self) -> None:
        for name, mark in (("daemon", "dagster._daemon"), ("code server", "--lazy-load-user-code")):
            for process in descendants(self._above):
                if mark in arguments_of(process):
                    self.samples[name].append(resident_megabytes(process))

    def growth(self) -> dict[str, float]:
        """The median of the last third of the samples over that of the second, by process."""
        return {
            name: statistics.median(samples[-(len(samples) // 3) :])
            / statistics.median(samples[len(samples) // 3 : -(len(samples) // 3)])
            for name, samples in self.samples.items()
        }


def descendants(process: int) -> Iterator[int]:
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, read(task).split()):
            yield child
            yield from descendants(child)


def arguments_of(process: int) -> str:
    return read(Path(f"/proc/{process}/cmdline")).replace("\0", " ")


def resident_megabytes(process: int) -> int:
    pages = int(read(Path(f"/proc/{process}/statm")).split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def read(path: Path) -> str:
    """What a file of ``/proc`` says; nothing where its thread or process has just ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def wait_for(url: str, runs: Sequence[str], memory: Memory, until: datetime) -> None:
    while datetime.now(UTC) < until:
        found = ask(url, STATUSES)["runsOrError"]["results"]
        ended = {run["runId"] for run in found if run["status"] in ENDED}
        memory.sample()
        if ended.issuperset(runs):
            return
        time.sleep(2)
    raise TimeoutError(f"{len(set(runs) - ended)} runs have not ended by {until:%H:%M} UTC.")


def incomplete(warehouse: DuckDBWarehouse) -> list[str]:
    """The windows of which a coin is neither present nor missing at the source."""
    rows = warehouse.query(
        "SELECT window_start, COUNT(*) AS coins FROM ingestion_ledger "
        f"WHERE stream = '{INTRA_DAY.name}' AND status IN ('present', 'missing_at_source') "
        "GROUP BY window_start"
    )
    whole = {row["window_start"] for row in rows if row["coins"] == len(COINS)}
    return [key for key in TRUTH.keys if INTRA_DAY.window(key).start not in whole]


def ranges(keys: Sequence[str]) -> list[list[str]]:
    """The windows in runs of neighbours."""
    place = {key: index for index, key in enumerate(TRUTH.keys)}
    runs: list[list[str]] = []
    for key in keys:
        adjoins = runs and place[runs[-1][-1]] + 1 == place[key]
        if adjoins and len(runs[-1]) < WINDOWS_A_RUN:
            runs[-1].append(key)
        else:
            runs.append([key])
    return runs


@pytest.fixture
def market() -> Iterator[SimulatedMarket]:
    with odd_market() as simulated:
        yield simulated


def test_two_hundred_windows_with_faults_at_one_call_in_ten_come_in_whole_and_once(
    market: SimulatedMarket, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    environment = {
        **instance_environment(home),
        "COINGECKO_BASE_URL": market.base_url,
        "FEAR_AND_GREED_BASE_URL": market.base_url,
        "COINGECKO_API_KEY": "",
        "COINGECKO_PLAN": "pro",
        "TRACKED_COINS": ",".join(COINS),
        "PYTHONPATH": str(ROOT),
    }
    # The rules are tried one after the other, so that each takes its share of what is left.
    for place, fault in enumerate(FAULTS):
        share = ONE_CALL_IN_TEN / len(FAULTS)
        market.inject(fault, probability=share / (1 - place * share))
    warehouse = DuckDBWarehouse(path=str(home / "crypto_db.duckdb"))
    began = datetime.now(UTC)

    with dagster(environment) as (url, process):
        # What a process loads once is no growth: by then each sensor has looked at what there is.
        launched, rounds = 1, 1
        wait_for(url, [launch(url, ranges(TRUTH.keys)[0])], Memory(process), began + PATIENCE)
        time.sleep(max(0, (began + WARM_UP - datetime.now(UTC)).total_seconds()))
        memory = Memory(process)
        while (keys := incomplete(warehouse)) and rounds < ROUNDS:
            runs = [launch(url, part) for part in ranges(keys)]
            launched, rounds = launched + len(runs), rounds + 1
            wait_for(url, runs, memory, began + PATIENCE)
        statuses = [run["status"] for run in ask(url, STATUSES)["runsOrError"]["results"]]

    calls, growth = market.calls(), memory.growth()
    print(  # noqa: T201 - the figures are what a soak is run for
        f"\n{len(TRUTH.keys)} windows, {launched} runs in {rounds} rounds, "
        f"{statuses.count('FAILURE')} failed, {calls.total} calls of which "
        f"{calls.total - calls.credits} went wrong by status, "
        f"{datetime.now(UTC) - began}"
    )
    for name, samples in memory.samples.items():
        print(  # noqa: T201
            f"{name}: {samples[0]} MB at first, {samples[-1]} MB at last, {max(samples)} MB at "
            f"most of {len(samples)} samples, grown by {growth[name] - 1:.1%}"
        )
    end = INTRA_DAY.window(TRUTH.keys[-1]).end
    rows = warehouse.query(
        "SELECT coin_id, price_at, price, market_cap, total_volume FROM intra_day_prices "
        "WHERE price_at < ?",
        [end],
    )
    assert sorted(map(repr, (tuple(row.values()) for row in rows))) == sorted(map(repr, TRUTH.rows))
    assert set(growth) == {"daemon", "code server"}
    assert all(grown < FLAT for grown in growth.values()), memory.samples
