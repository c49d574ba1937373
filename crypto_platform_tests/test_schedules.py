"""Random schedules: faults of the API, kills, and runs at once, in any order; then the truth.

Two hundred of them take a good half hour and are asked for by name: ``make soak``. A schedule
follows from its seed alone, so one that fails is repeated by it:
``pytest -m soak crypto_platform_tests/test_schedules.py -k seed-17-``. Other ones than the usual
two hundred come with another ``SOAK_FIRST_SEED``.
"""

import os
import random
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.lake.layers import Layer
from crypto_platform.lake.vacuum import KEPT_FOR, vacuum
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform_tests.conftest import Platform
from crypto_platform_tests.trials import (
    API_FAULTS,
    PATIENCE,
    Kill,
    hurry,
    in_a_process,
    killed_within,
    platform_in,
    run,
)
from crypto_platform_tests.truth import (
    Truth,
    assert_complete_and_true,
    assert_nothing_false,
    days_ago,
    odd_market,
    six_hours_of,
)

pytestmark = [pytest.mark.integration, pytest.mark.soak]

COINS = ("bitcoin", "ethereum", "tether")
DAYS = days_ago(6, 3)
TRUTHS = (Truth(HISTORICAL, DAYS, COINS), Truth(INTRA_DAY, six_hours_of(DAYS[:1]), COINS))
SCHEDULES = 200
FIRST_SEED = int(os.environ.get("SOAK_FIRST_SEED", "0"))

# A hang takes the time of its timeouts, and shows nothing that a reset does not.
FAULTS = sorted(set(API_FAULTS) - {"a hang"})
# In which method a run is killed, and at which of its calls at the latest.
KILLS = (
    *(("Path", "replace", 8), ("Layer", "put", 2), ("Layer", "_put_if_unchanged", 3)),
    *(("Layer", "move", 2), ("Layer", "remove_folder", 1), ("Layer", "read", 4)),
    *(("SparkProcess", "run", 1), ("warehouse", "execute", 25)),
)
NEVER = Kill("SparkProcess", "run", 1_000)


@dataclass(frozen=True)
class Run:
    """One run of a schedule, in a process of its own.

    Attributes:
        truth: The stream and the windows.
        only: The coins that it asks for.
        kill: Where it is killed.
    """

    truth: Truth
    only: Sequence[str]
    kill: Kill


@dataclass(frozen=True)
class Step:
    """What happens at one time.

    Attributes:
        faults: What is wrong with the API, by name.
        runs: One run, or two at once that share no Dagster instance.
    """

    faults: Sequence[str]
    runs: Sequence[Run]


def schedule(seed: int) -> list[Step]:
    """The steps of a seed."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    return [
        Step(
            dice.sample(FAULTS, dice.choice((0, 1, 1, 2))),
            [_run(dice) for _ in range(dice.choice((1, 1, 2)))],
        )
        for _ in range(dice.randint(1, 4))
    ]


def _run(dice: random.Random) -> Run:
    truth = dice.choice(TRUTHS)
    first, last = sorted(dice.choices(range(len(truth.keys)), k=2))
    owner, name, most = dice.choice(KILLS)
    kill = Kill(owner, name, dice.randint(1, most)) if dice.random() < 1 / 3 else NEVER
    only = dice.choice((COINS, COINS, COINS[:1], COINS[1:]))
    return Run(Truth(truth.stream, truth.keys[first : last + 1], COINS), only, kill)


@pytest.fixture(scope="module", autouse=True)
def _hurried() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        yield


@pytest.fixture(scope="module")
def market() -> Iterator[SimulatedMarket]:
    with odd_market() as simulated:
        yield simulated


@pytest.mark.parametrize(
    "seed", range(FIRST_SEED, FIRST_SEED + SCHEDULES), ids=lambda seed: f"seed-{seed}-"
)
def test_after_any_schedule_a_clean_run_leaves_the_truth_and_nothing_else(
    seed: int, market: SimulatedMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = platform_in(tmp_path, market, COINS, monkeypatch)
    market.faults.clear()

    for step in schedule(seed):
        for name in step.faults:
            fault, where = API_FAULTS[name]
            market.inject(fault, **where)
        assert_each_ended(
            [in_a_process(killed_within, one.truth, one.kill, one.only) for one in step.runs]
        )
        market.faults.clear()
        assert_nothing_false(platform, *TRUTHS)
    for truth in TRUTHS:
        run(platform, truth)

    assert_complete_and_true(platform, *TRUTHS)
    assert_nothing_is_left_over(platform)


def assert_each_ended(processes: Sequence[Any]) -> None:
    """Each run ended by itself, or was killed where it was to be; none waits for another."""
    for process in processes:
        process.join(PATIENCE)
    assert {process.exitcode for process in processes} <= {0, -signal.SIGKILL}


def assert_nothing_is_left_over(platform: Platform) -> None:
    """Once the day of grace is over, the lake's folders have the files that count alone."""
    vacuum(platform.lake, now=datetime.now(UTC) + KEPT_FOR + timedelta(minutes=1))

    for layer in (platform.lake.raw, platform.lake.transformed):
        assert not layer.paths("jobs")
        # What a put writes to before it takes its name.
        assert {path.name for path in Path(layer.root).rglob(".*")} <= {".manifests.lock"}
        for truth in TRUTHS:
            assert _stored(layer, truth) == _named(layer, truth)


def _stored(layer: Layer, truth: Truth) -> set[str]:
    return {
        path
        for path in layer.paths(truth.stream.dataset_folder("prices"))
        if not path.endswith(".json")
    }


def _named(layer: Layer, truth: Truth) -> set[str]:
    windows = [truth.stream.window(key) for key in truth.keys]
    manifests = layer.manifests(truth.stream, windows)
    return {file.path for one in manifests for file in one.files if file.dataset == "prices"}
