"""Fault trials: whatever went wrong, one clean run later the table is the truth, to the bit.

The truth is computed from the simulated market's own series (``truth.py``); the ledger has a row a
coin a window. What is tried, and where:

====================================================  ============================================
the API: 429 storms with and without Retry-After,     ``test_after_…_and_a_clean_run_…`` below, the
plain text, HTML, 5xx, 401, an error in a 200, HTML   client's answer to each alone in
in a 200, an empty chart, cut bodies, resets, hangs,  ``lambda_function/test_coingecko.py`` and
arrays of different length, nulls, duplicates         ``test_recorded_errors.py``
a coin that dies, one that is renamed                 below
a page of the market that comes twice                 below
SIGKILL at each stage's boundary                      ``test_end_to_end.py``
SIGKILL within each write                             below; within the load's statements in
                                                      ``warehouse/test_resource.py``
a full disk                                           below, in each stage
a locked DuckDB file                                  below; its message in ``test_resource.py``
two runs on the same window at once                   below
a DST change of the machine's zone, now               below; one in the data too
damaged files in the lake                             ``test_end_to_end.py``
random schedules of all of it                         the law at the end
====================================================  ============================================
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterMaxRetriesExceededError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.ingestion.tracked_coins import load_tracked_coins
from crypto_platform.lake.layers import Layer
from crypto_platform.simulated_market import Fault, SimulatedMarket
from crypto_platform.warehouse.duckdb import DuckDBWarehouse, _DuckDBSession
from crypto_platform_tests.conftest import STAGES, Platform
from crypto_platform_tests.trials import (
    API_FAULTS,
    FORKING,
    PATIENCE,
    Kill,
    die,
    hurry,
    in_a_process,
    killed_within,
    platform_in,
    platform_of,
    run,
    run_under_a_fault,
)
from crypto_platform_tests.truth import (
    FIVE_MINUTES,
    Truth,
    assert_complete_and_true,
    assert_nothing_false,
    days_about_a_month_s_begin,
    days_ago,
    odd_market,
    six_hours_of,
)
from lambda_function import lake as lake_objects

pytestmark = pytest.mark.integration

COINS = ("bitcoin", "ethereum", "tether")
DAYS = days_ago(6, 3)
HISTORY = Truth(HISTORICAL, DAYS, COINS)
SIX_HOURS = Truth(INTRA_DAY, six_hours_of(DAYS[:1]), COINS)
TWO_MONTHS = Truth(HISTORICAL, days_about_a_month_s_begin(), COINS)


@pytest.fixture(scope="module", autouse=True)
def _hurried() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        yield


@pytest.fixture(scope="module")
def market() -> Iterator[SimulatedMarket]:
    with odd_market() as simulated:
        yield simulated


@pytest.fixture(autouse=True)
def _faultless_at_first(market: SimulatedMarket) -> None:
    market.faults.clear()


Build = Callable[[str, Mapping[str, str]], Platform]


@pytest.fixture
def platform(market: SimulatedMarket, build_platform: Build) -> Platform:
    return build_platform(market.base_url, {"TRACKED_COINS": ",".join(COINS)})


# The API


@pytest.mark.parametrize("trial", API_FAULTS)
def test_after_a_fault_of_the_api_and_a_clean_run_the_table_is_the_truth(
    trial: str, market: SimulatedMarket, platform: Platform
) -> None:
    truth = (HISTORY, SIX_HOURS)[sorted(API_FAULTS).index(trial) % 2]
    fault, where = API_FAULTS[trial]
    market.inject(fault, **where)
    run_under_a_fault(platform, truth)
    assert_nothing_false(platform, truth)
    market.faults.clear()

    run(platform, truth)

    assert_complete_and_true(platform, truth)


def test_an_api_with_nothing_for_any_coin_is_an_error_and_asked_again(
    market: SimulatedMarket, platform: Platform
) -> None:
    market.inject("no_points")

    done = platform.materialize(HISTORICAL, DAYS[0], DAYS[-1])

    (check,) = [
        one
        for one in done.get_asset_check_evaluations()
        if (one.check_name, one.asset_key.path[-1]) == ("coins", "raw_prices")
    ]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    statuses = platform.query("SELECT status, reason FROM ingestion_ledger GROUP BY ALL")
    assert [row["status"] for row in statuses] == ["failed"]
    assert "without a single price" in statuses[0]["reason"]


def test_a_coin_that_dies_keeps_its_history_and_stops_no_other(
    market: SimulatedMarket, platform: Platform
) -> None:
    lived = Truth(HISTORICAL, DAYS[:2], COINS)
    run(platform, lived)
    market.inject("delisted_coin", coin="ethereum")

    run(platform, HISTORY)

    dead = platform.query("SELECT * FROM historical_prices WHERE coin_id = 'ethereum'")
    assert len(dead) == len([row for row in lived.rows if row[0] == "ethereum"])
    gaps = platform.query(
        "SELECT DISTINCT coin_id, status FROM ingestion_ledger WHERE window_start >= "
        f"'{DAYS[2]}' AND status = 'failed'"
    )
    assert gaps == [{"coin_id": "ethereum", "status": "failed"}]
    assert_nothing_false(platform, HISTORY)


def test_a_renamed_coin_goes_on_under_its_new_id_and_keeps_its_history_under_the_old_one(
    market: SimulatedMarket, platform: Platform, build_platform: Build
) -> None:
    before = Truth(HISTORICAL, DAYS[:2], COINS)
    run(platform, before)
    market.inject("delisted_coin", coin="tether")
    renamed = build_platform(
        market.base_url, {"TRACKED_COINS": "bitcoin,ethereum,usd-coin,-tether"}
    )

    after = Truth(HISTORICAL, DAYS[2:], ("bitcoin", "ethereum", "usd-coin"))
    run(renamed, after)

    rows = renamed.query("SELECT COUNT(*) AS rows_held FROM historical_prices")
    assert rows == [{"rows_held": len(before.rows) + len(after.rows)}]
    tracked = renamed.query("SELECT DISTINCT coin_id FROM ingestion_ledger WHERE status = 'failed'")
    assert tracked == []


def test_a_page_of_the_market_that_comes_twice_is_made_good_by_the_next_list(
    market: SimulatedMarket, build_platform: Build
) -> None:
    import requests  # noqa: PLC0415 - only here

    platform = build_platform(market.base_url, {"TRACKED_COINS": "top:260"})
    query = "vs_currency=usd&order=market_cap_desc&per_page=250&page=1&precision=full"
    first = requests.get(f"{market.base_url}/coins/markets?{query}", timeout=120).text
    market.inject(Fault(), path="/coins/markets", times=1)
    market.inject(Fault(status=200, body=first), path="/coins/markets", times=1)
    platform.materialize(HISTORICAL, DAYS[0], stages=("tracked_coins",))
    short = load_tracked_coins(platform.lake.raw)

    platform.materialize(HISTORICAL, DAYS[0], stages=("tracked_coins",))

    whole = load_tracked_coins(platform.lake.raw)
    tracked = [sum(coin.tracked for coin in coins.coins) for coins in (short, whole)]
    assert tracked == [250, 260]


# The machine


def killed_at_half_a_raw_file(environment: Mapping[str, str]) -> None:
    """Materialize, and be killed while the first raw file is compressed into its hidden one."""
    platform = platform_of(environment)
    objects = lake_objects._new_object  # noqa: SLF001 - what every file of the lake goes through

    @contextmanager
    def half_of_it(uri: str) -> Iterator[Any]:
        with objects(uri) as stored:
            stored.write(b"half of it")
            stored.flush()
            die()
            yield stored

    lake_objects._new_object = half_of_it  # noqa: SLF001
    run(platform, HISTORY)


# What Python imports first of all in the process of the jobs.
KILLS_WITHIN_A_JOB = """
import os, signal
from glue_jobs import job

append = job._append

def call(*arguments):
    append(*arguments)
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)

job._append = call
"""


def killed_within_its_job(environment: Mapping[str, str], folder: Path) -> None:
    """Materialize, and be killed with the process of the job once that has written the prices."""
    (folder / "sitecustomize.py").write_text(KILLS_WITHIN_A_JOB)
    sys.path.insert(0, str(folder))
    run(platform_of(environment), HISTORY)


def killed_at_statement(environment: Mapping[str, str], begins: str, when: str) -> None:
    """Materialize, and be killed before or after the first statement of a load that begins so."""
    platform = platform_of(environment)
    execute = _DuckDBSession.execute

    def call(self: Any, sql: str, params: Sequence[object] = ()) -> Any:
        if not sql.startswith(begins):
            return execute(self, sql, params)
        if when == "after":
            execute(self, sql, params)
        die()
        return None

    _DuckDBSession.execute = call  # type: ignore[method-assign]
    run(platform, HISTORY)


@pytest.mark.parametrize(
    ("owner", "name", "nth"),
    [
        pytest.param("Path", "replace", 1, id="a raw file written under its hidden name"),
        pytest.param("Layer", "put", 1, id="asked, and no record of it"),
        pytest.param("Layer", "_put_if_unchanged", 1, id="raw files written, no manifest"),
        pytest.param("Path", "replace", 3, id="within the commit of the raw windows"),
        pytest.param("SparkProcess", "run", 1, id="the job spec written, and no job run"),
        pytest.param("Layer", "move", 1, id="a Parquet file made, not in its place"),
        pytest.param("Layer", "_put_if_unchanged", 2, id="Parquet in its place, no manifest"),
        pytest.param("Path", "replace", 6, id="within the commit of the transformed windows"),
        pytest.param("Layer", "remove_folder", 1, id="committed, and the job's folder left"),
    ],
)
def test_a_run_killed_within_a_write_is_completed_by_the_next(
    owner: str, name: str, nth: int, platform: Platform
) -> None:
    run(platform, Truth(HISTORICAL, DAYS[:2], COINS))

    killed = in_a_process(killed_within, HISTORY, Kill(owner, name, nth))
    killed.join(PATIENCE)

    assert killed.exitcode == -signal.SIGKILL
    assert_complete_and_true(platform, Truth(HISTORICAL, DAYS[:2], COINS))
    run(platform, HISTORY)
    assert_complete_and_true(platform, HISTORY)


def test_a_run_killed_within_a_raw_file_is_completed_by_the_next(platform: Platform) -> None:
    run(platform, Truth(HISTORICAL, DAYS[:2], COINS))

    killed = in_a_process(killed_at_half_a_raw_file)
    killed.join(PATIENCE)

    assert killed.exitcode == -signal.SIGKILL
    assert_complete_and_true(platform, Truth(HISTORICAL, DAYS[:2], COINS))
    run(platform, HISTORY)
    assert_complete_and_true(platform, HISTORY)


@pytest.mark.parametrize(
    ("name", "nth"),
    [
        pytest.param("_put_if_unchanged", 2, id="raw"),
        pytest.param("move", 2, id="Parquet in its place"),
        pytest.param("_put_if_unchanged", 4, id="transformed"),
    ],
)
def test_a_run_killed_between_two_months_is_completed_by_the_next(
    name: str, nth: int, platform: Platform
) -> None:
    killed = in_a_process(killed_within, TWO_MONTHS, Kill("Layer", name, nth))
    killed.join(PATIENCE)

    assert killed.exitcode == -signal.SIGKILL
    run(platform, TWO_MONTHS)
    assert_complete_and_true(platform, TWO_MONTHS)


def test_a_run_killed_within_its_job_is_completed_by_the_next(
    platform: Platform, tmp_path: Path
) -> None:
    run(platform, Truth(HISTORICAL, DAYS[:2], COINS))

    killed = in_a_process(killed_within_its_job, tmp_path)
    killed.join(PATIENCE)

    assert killed.exitcode == -signal.SIGKILL
    assert [path for path in platform.lake.transformed.paths("jobs") if path.endswith(".parquet")]
    assert_complete_and_true(platform, Truth(HISTORICAL, DAYS[:2], COINS))
    run(platform, HISTORY)
    assert_complete_and_true(platform, HISTORY)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_killed_about_its_commit_is_repeated_without_harm(
    when: str, platform: Platform
) -> None:
    killed = in_a_process(killed_at_statement, "COMMIT", when)
    killed.join(PATIENCE)

    assert killed.exitcode == -signal.SIGKILL
    run(platform, HISTORY)
    assert_complete_and_true(platform, HISTORY)
    assert platform.query("SELECT * FROM price_revisions") == []


def run_until_the_disk_is_full(environment: Mapping[str, str], room_for: int) -> None:
    """Materialize, with no room for a file of any length once so many stages are done."""
    import resource  # noqa: PLC0415 - not on every platform

    platform = platform_of(environment)
    if room_for:
        run(platform, HISTORY, STAGES[:room_for])
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    run(platform, HISTORY, STAGES[room_for:])


@pytest.mark.parametrize("room_for", range(len(STAGES)), ids=STAGES)
def test_a_full_disk_costs_nothing_once_there_is_room(room_for: int, platform: Platform) -> None:
    run(platform, Truth(HISTORICAL, DAYS[:2], COINS))

    full = in_a_process(run_until_the_disk_is_full, room_for)
    full.join(PATIENCE)

    assert full.exitcode == 1
    assert_complete_and_true(platform, Truth(HISTORICAL, DAYS[:2], COINS))
    run(platform, HISTORY)
    assert_complete_and_true(platform, HISTORY)


@contextmanager
def held_by_another(path: Path) -> Iterator[None]:
    held, release = FORKING.Event(), FORKING.Event()
    process = FORKING.Process(target=hold, args=(str(path), held, release))
    process.start()
    assert held.wait(PATIENCE)
    yield
    release.set()
    process.join(PATIENCE)


def hold(path: str, held: Any, release: Any) -> None:
    import duckdb  # noqa: PLC0415 - as in the warehouse

    with duckdb.connect(path):
        held.set()
        release.wait(PATIENCE)


def test_a_warehouse_that_someone_holds_fails_the_load_and_loses_nothing(
    platform: Platform,
) -> None:
    run(platform, Truth(HISTORICAL, DAYS[:2], COINS))
    with held_by_another(platform.home / "crypto_db.duckdb"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(DuckDBWarehouse, "_connect", with_timeout(DuckDBWarehouse._connect))  # noqa: SLF001
        with pytest.raises(DagsterMaxRetriesExceededError, match="was held by someone else"):
            run(platform, HISTORY)

    run(platform, HISTORY)

    assert_complete_and_true(platform, HISTORY)


def with_timeout(connect: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, **options: Any) -> Any:
        return connect(self, **{**options, "patience": 0.2})

    return call


def run_once(environment: Mapping[str, str]) -> None:
    run(platform_of(environment), HISTORY)


def test_two_runs_on_the_same_windows_at_once_both_end_with_the_truth(platform: Platform) -> None:
    both = [in_a_process(run_once) for _ in range(2)]
    for process in both:
        process.join(PATIENCE)

    assert [process.exitcode for process in both] == [0, 0]
    assert_complete_and_true(platform, HISTORY)
    run(platform, HISTORY)
    assert_complete_and_true(platform, HISTORY)


def run_for(environment: Mapping[str, str], only: Sequence[str]) -> None:
    run(platform_of(environment), HISTORY, only=only)


@pytest.mark.parametrize("_trial", range(3))
def test_two_runs_for_different_coins_of_the_same_windows_at_once_lose_nothing(
    _trial: int, platform: Platform
) -> None:
    both = [in_a_process(run_for, only) for only in (COINS[:1], COINS[1:])]
    for process in both:
        process.join(PATIENCE)

    assert [process.exitcode for process in both] == [0, 0]
    assert_complete_and_true(platform, HISTORY)


def test_a_load_that_another_run_overtakes_ends_with_what_that_run_made(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = DuckDBWarehouse.load
    others = [COINS[1:]]

    def overtaken(*arguments: Any) -> Any:
        if others:
            other = in_a_process(run_for, others.pop())
            other.join(PATIENCE)
            assert other.exitcode == 0
        return load(*arguments)

    monkeypatch.setattr(DuckDBWarehouse, "load", overtaken)

    run(platform, HISTORY, only=COINS[:1])

    assert_complete_and_true(platform, HISTORY)


def run_while_the_clocks_are_changed(environment: Mapping[str, str], key: str, shift: int) -> None:
    """Materialize a window across a change of the local clock by an hour, and again after it."""
    platform = platform_of(environment)
    change = datetime.now(UTC) + timedelta(seconds=2)
    os.environ["TZ"] = f"STD0DST{shift},J{change:%-j}/{change:%H:%M:%S},J365/23"
    time.tzset()
    assert not time.localtime().tm_isdst
    platform.materialize(INTRA_DAY, key)
    while not time.localtime().tm_isdst:
        time.sleep(0.05)
    platform.materialize(INTRA_DAY, key)


@pytest.mark.parametrize("shift", [-1, +1], ids=["forward", "back"])
def test_a_clock_that_is_changed_during_a_run_changes_nothing(
    shift: int, platform: Platform
) -> None:
    now = datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    closed = now - (now - today) % timedelta(hours=6) - timedelta(hours=6)
    key = closed.strftime(INTRA_DAY.key_format)

    process = in_a_process(run_while_the_clocks_are_changed, key, shift)
    process.join(PATIENCE)

    assert process.exitcode == 0
    assert_complete_and_true(platform, Truth(INTRA_DAY, [key], COINS, FIVE_MINUTES))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_days_on_which_a_zone_changes_its_clocks_are_days_like_others(
    zone: str, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    days = {
        "Europe/Berlin": ["2026-03-28", "2026-03-29", "2026-03-30"],
        "America/New_York": ["2026-03-07", "2026-03-08", "2026-03-09"],
    }[zone]
    history, six_hours = (
        Truth(stream, keys, COINS)
        for stream, keys in ((HISTORICAL, days), (INTRA_DAY, six_hours_of(days)))
    )

    process = in_a_process(run_all, [(one.stream.name, one.keys) for one in (history, six_hours)])
    process.join(PATIENCE)

    assert process.exitcode == 0
    assert_complete_and_true(platform, history, six_hours)


def run_all(environment: Mapping[str, str], of: Sequence[tuple[str, Sequence[str]]]) -> None:
    platform = platform_of(environment)
    streams = {stream.name: stream for stream in (HISTORICAL, INTRA_DAY)}
    for name, keys in of:
        platform.materialize(streams[name], keys[0], keys[-1])


# Any of it, in any order


class LostError(BaseException):
    """The process is gone, as far as the code that runs can tell."""


@contextmanager
def lost_at(name: str, nth: int) -> Iterator[None]:
    """Everything ends at the nth call of a function of the lake, without a word."""
    seen = 0
    function = getattr(Layer, name)

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen >= nth:
            raise LostError
        return function(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Layer, name, call)
        with suppress(LostError):
            yield


LOSSES = ["put", "_put_if_unchanged", "move", "commit", "check", "read"]
WINDOWS = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(sorted)
STEPS = st.tuples(
    st.sampled_from([HISTORICAL, INTRA_DAY]),
    WINDOWS,
    st.lists(st.sampled_from(sorted(set(API_FAULTS) - {"a hang"})), max_size=2),
    st.none() | st.tuples(st.sampled_from(LOSSES), st.integers(1, 6)),
)


@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=1, max_size=2))
def test_after_any_faults_in_any_order_a_clean_run_leaves_the_truth(
    steps: list[tuple[Stream, list[int], list[str], tuple[str, int] | None]],
    market: SimulatedMarket,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        platform = platform_in(tmp_path_factory.mktemp("law"), market, COINS, patch)
        for stream, (first, last), faults, loss in steps:
            of_stream = HISTORY if stream is HISTORICAL else SIX_HOURS
            for fault in faults:
                market.inject(API_FAULTS[fault][0], **API_FAULTS[fault][1])
            with lost_at(*(loss or ("put", 1_000_000))):
                run_under_a_fault(platform, Truth(stream, of_stream.keys[first : last + 1], COINS))
            market.faults.clear()
            assert_nothing_false(platform, HISTORY, SIX_HOURS)
        for truth in (HISTORY, SIX_HOURS):
            run(platform, truth)
        assert_complete_and_true(platform, HISTORY, SIX_HOURS)
