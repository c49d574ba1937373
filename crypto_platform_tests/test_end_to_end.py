"""The platform as its users run it: assets materialized against an API on loopback."""

import dataclasses
import json
import multiprocessing
import os
import signal
from calendar import monthrange
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import duckdb
import pyarrow.parquet as pq
import pytest

from crypto_platform.core.errors import MixedSourcesError, PermanentFailure
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.definitions import build_definitions
from crypto_platform.ingestion.tracked_coins import UnknownCoinError
from crypto_platform.lake.layers import CorruptFileError, Layer, MissingWindowError
from crypto_platform.lake.manifests import files_of
from crypto_platform.simulated_market import Fault, SimulatedMarket
from crypto_platform.transformation.job_spec import MAX_FILES_A_MONTH
from crypto_platform_tests.conftest import STAGES, Platform
from crypto_platform_tests.replay import (
    RECORDED,
    needs_recorded,
    recorded_charts,
    recorded_days,
    replay,
)

pytestmark = pytest.mark.integration

BuildPlatform = Callable[[str, Mapping[str, str]], Platform]


def newest_keys(stream: Stream, count: int) -> list[str]:
    """The keys of the newest closed windows, oldest first."""
    now = datetime.now(UTC)
    return list(stream.partitions(now - 400 * timedelta(days=1)).get_partition_keys()[-count:])


def fingerprint(platform: Platform, stream: Stream) -> list[tuple[Any, ...]]:
    """All that a stream has in the warehouse, but for when it was loaded."""
    prices = platform.query(f"SELECT * EXCLUDE (loaded_at) FROM {stream.table}")
    ledger = platform.query(f"SELECT * FROM ingestion_ledger WHERE stream = '{stream.name}'")
    snapshots = platform.query("SELECT * EXCLUDE (loaded_at) FROM market_snapshots")
    return sorted(tuple(map(repr, row.values())) for row in (*prices, *ledger, *snapshots))


@needs_recorded
@pytest.mark.parametrize(
    ("coin", "first", "last"),
    [
        pytest.param("bitcoin", "2013-04-28", "2023-06-02", id="ten years with all their oddities"),
        pytest.param("tether", "2019-03-01", "2019-08-31", id="a missing day"),
        pytest.param("usd-coin", "2018-10-05", "2019-03-31", id="zero market caps"),
        pytest.param("ethereum", "2025-05-20", "2025-08-17", id="up to the day of the recording"),
    ],
)
def test_a_backfilled_history_is_the_recorded_one_to_the_last_bit(
    coin: str, first: str, last: str, build_platform: BuildPlatform, laptop: dg.DagsterInstance
) -> None:
    chart = recorded_charts("daily")[coin]
    windows = [HISTORICAL.window(first), HISTORICAL.window(last)]
    days = {
        windows[0].start + timedelta(days=number)
        for number in range((windows[1].end - windows[0].start).days)
    }
    truth = {day: one for day, one in recorded_days(chart).items() if day in days}
    with replay({coin: chart}, RECORDED / "markets" / "markets_250_usd_2026-07-07.json") as api:
        platform = build_platform(api.base_url, {"TRACKED_COINS": coin, "HISTORY_START": first})
        platform.materialize(HISTORICAL, first, last, instance=laptop)
        calls = api.calls()

    rows = platform.query(
        "SELECT price_at, price, market_cap, total_volume FROM historical_prices ORDER BY price_at"
    )
    assert [
        (row["price_at"].replace(tzinfo=UTC), row["price"], row["market_cap"], row["total_volume"])
        for row in rows
    ] == [(one.at, one.price, one.market_cap, one.total_volume) for _, one in sorted(truth.items())]
    ledger = platform.query(
        "SELECT window_start FROM ingestion_ledger WHERE status = 'missing_at_source'"
    )
    assert {row["window_start"].replace(tzinfo=UTC) for row in ledger} == days - truth.keys()
    assert calls.by_endpoint["/coins/{id}/market_chart/range"] == 1


@pytest.fixture
def simulated(market: SimulatedMarket, build_platform: BuildPlatform) -> Platform:
    return build_platform(market.base_url, {"TRACKED_COINS": "bitcoin,ethereum,tether"})


@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY])
def test_repeating_and_overlapping_runs_in_any_order_changes_nothing(
    stream: Stream, simulated: Platform
) -> None:
    keys = newest_keys(stream, 6)
    simulated.materialize(stream, keys[0], keys[-1])
    once = fingerprint(simulated, stream)

    simulated.materialize(stream, keys[3], keys[-1])
    simulated.materialize(stream, keys[4])
    simulated.materialize(stream, keys[0], keys[4])

    assert fingerprint(simulated, stream) == once


def test_one_partition_at_a_time_gives_what_one_range_gives(
    simulated: Platform, market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    keys = newest_keys(HISTORICAL, 3)
    simulated.materialize(HISTORICAL, keys[0], keys[-1])
    columns = "coin_id, price_at, price, market_cap, total_volume, granularity, source"
    query = f"SELECT {columns} FROM historical_prices ORDER BY coin_id, price_at"
    by_range = simulated.query(query)

    alone = build_platform(
        market.base_url,
        {
            "TRACKED_COINS": "bitcoin,ethereum,tether",
            "CRYPTO_HOME": str(simulated.home.with_name("alone")),
        },
    )
    for key in reversed(keys):
        alone.materialize(HISTORICAL, key)

    assert alone.query(query) == by_range


def days_of_a_past_month() -> list[str]:
    """The partition keys of a whole month that is over since a month."""
    last = datetime.now(UTC).replace(day=1) - timedelta(days=40)
    return [f"{last:%Y-%m}-{day:02}" for day in range(1, monthrange(last.year, last.month)[1] + 1)]


def test_days_transformed_one_by_one_stay_few_files_and_a_whole_month_is_one_again(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcoin"})
    month = days_of_a_past_month()
    layer = platform.lake.transformed

    def files() -> list[str]:
        manifests = layer.manifests(HISTORICAL, [*map(HISTORICAL.window, month)])
        return [layer.uri(file.path) for file in files_of(manifests, "prices")]

    def rows() -> list[tuple[object, ...]]:
        read = "SELECT coin_id, price_at, price FROM read_parquet(?) ORDER BY price_at"
        with duckdb.connect() as connection:
            return connection.execute(read, [files()]).fetchall()

    platform.materialize(HISTORICAL, month[0], month[-1], stages=STAGES[:2])
    by_range = rows()
    for key in month[3:6]:
        platform.materialize(HISTORICAL, key, stages=("transformed_prices",))

    # Each day that is made again takes the others of its file along, so it stays one.
    assert len(files()) == 1
    assert rows() == by_range
    assert len(by_range) == len(month)


def test_many_small_files_of_a_month_become_one(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcoin"})
    days = days_of_a_past_month()[: MAX_FILES_A_MONTH + 1]
    platform.materialize(HISTORICAL, days[0], days[-1], stages=("raw_prices",))
    layer = platform.lake.transformed
    counts = []
    for key in days:
        platform.materialize(HISTORICAL, key, stages=("transformed_prices",))
        folder = HISTORICAL.window_folder(HISTORICAL.window(key))
        manifests = layer.month(HISTORICAL, folder).windows.values()
        counts.append(len(files_of(manifests, "prices")))

    assert counts == [*range(1, MAX_FILES_A_MONTH + 1), 1]
    assert sum(manifest.points for manifest in manifests) == len(days)
    paths = [layer.uri(file.path) for file in files_of(manifests, "prices")]
    with duckdb.connect() as connection:
        counted = connection.execute(
            "SELECT COUNT(*), COUNT(DISTINCT price_at) FROM read_parquet(?)", [paths]
        ).fetchall()
    assert counted == [(len(days), len(days))]


def test_a_year_of_25_coins_takes_a_call_a_coin_and_one_for_the_list(
    market: SimulatedMarket, build_platform: BuildPlatform, laptop: dg.DagsterInstance
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "top:25"})
    keys = newest_keys(HISTORICAL, 365)

    stages = ("tracked_coins", "raw_prices")
    platform.materialize(HISTORICAL, keys[0], keys[-1], stages=stages, instance=laptop)

    assert market.calls().total == 26


def test_ninety_days_of_hourly_windows_take_a_call_a_coin(
    market: SimulatedMarket, build_platform: BuildPlatform, laptop: dg.DagsterInstance
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcoin,ethereum"})
    keys = newest_keys(INTRA_DAY, 365)[:360]

    platform.materialize(INTRA_DAY, keys[0], keys[-1], stages=("raw_prices",), instance=laptop)

    assert market.calls().total == 2


def test_the_newest_window_has_five_minute_prices_and_an_older_one_hourly_ones(
    simulated: Platform,
) -> None:
    keys = newest_keys(INTRA_DAY, 9)

    simulated.materialize(INTRA_DAY, keys[0])
    simulated.materialize(INTRA_DAY, keys[-1])

    rows = simulated.query(
        "SELECT DISTINCT granularity, price_at < (SELECT MAX(price_at) FROM intra_day_prices) "
        "- INTERVAL '1 day' AS old FROM intra_day_prices ORDER BY old"
    )
    assert [row["granularity"] for row in rows] == ["5-minute", "hourly"]


def test_a_late_window_holds_its_own_prices_and_none_of_today(simulated: Platform) -> None:
    key = newest_keys(INTRA_DAY, 200)[0]
    window = INTRA_DAY.window(key)

    simulated.materialize(INTRA_DAY, key)

    (row,) = simulated.query(
        "SELECT MIN(price_at) AS first_at, MAX(price_at) AS last_at FROM intra_day_prices"
    )
    assert window.start <= row["first_at"].replace(tzinfo=UTC)
    assert row["last_at"].replace(tzinfo=UTC) < window.end
    assert simulated.query("SELECT * FROM market_snapshots") == []


def test_a_coin_that_fails_leaves_the_others_and_says_why(
    simulated: Platform, market: SimulatedMarket
) -> None:
    (key,) = newest_keys(HISTORICAL, 1)
    market.inject("delisted_coin", coin="ethereum")

    simulated.materialize(HISTORICAL, key)

    rows = simulated.query("SELECT coin_id, status, reason FROM ingestion_ledger ORDER BY coin_id")
    assert [(row["coin_id"], row["status"]) for row in rows] == [
        ("bitcoin", "present"),
        ("ethereum", "failed"),
        ("tether", "present"),
    ]
    assert "no coin of this id" in rows[1]["reason"]


def test_a_coin_that_fails_later_keeps_the_prices_it_has(
    simulated: Platform, market: SimulatedMarket
) -> None:
    (key,) = newest_keys(HISTORICAL, 1)
    simulated.materialize(HISTORICAL, key)
    before = fingerprint(simulated, HISTORICAL)
    market.inject("delisted_coin", coin="ethereum")

    simulated.materialize(HISTORICAL, key)

    assert fingerprint(simulated, HISTORICAL) == before


def test_a_null_price_is_set_aside_with_its_reason(
    simulated: Platform, market: SimulatedMarket
) -> None:
    (key,) = newest_keys(HISTORICAL, 1)
    market.inject("null_prices", coin="ethereum")

    simulated.materialize(HISTORICAL, key)

    (row,) = simulated.query("SELECT status, reason FROM ingestion_ledger WHERE coin_id='ethereum'")
    prices = simulated.query("SELECT * FROM historical_prices WHERE coin_id = 'ethereum'")
    # Whether the window's own point lost its price is the fault's choice; both ends are told.
    assert (row["status"], len(prices)) in {("quarantined", 0), ("present", 1)}


def test_a_value_that_is_no_number_costs_itself_alone_and_is_told_by_its_text(
    simulated: Platform, market: SimulatedMarket
) -> None:
    first, second = newest_keys(HISTORICAL, 2)
    stamps = [int(HISTORICAL.window(key).start.timestamp() * 1000) for key in (first, second)]
    body = (
        f'{{"prices":[[{stamps[0]},NaN],["{stamps[1]}","1.1e-05"],[{stamps[1] + 86_400_000}.0,2]],'
        f'"market_caps":null,"total_volumes":[[{stamps[1]},"n/a"]]}}'
    )
    market.inject(Fault(status=200, body=body), coin="ethereum")

    simulated.materialize(HISTORICAL, first, second)

    assert simulated.query(
        "SELECT status, reason FROM ingestion_ledger "
        "WHERE coin_id = 'ethereum' ORDER BY window_start"
    ) == [
        {"status": "quarantined", "reason": 'The price "NaN" is not a number.'},
        {"status": "present", "reason": None},
    ]
    assert simulated.query(
        "SELECT price, market_cap, total_volume FROM historical_prices WHERE coin_id = 'ethereum'"
    ) == [{"price": 1.1e-05, "market_cap": None, "total_volume": None}]
    layer = simulated.lake.transformed
    paths = [path for path in layer.paths("rejected") if path.endswith(".parquet")]
    rejected = [pq.read_table(layer.uri(path)).to_pylist() for path in paths]
    assert {row["reason"] for rows in rejected for row in rows} == {
        'The price "NaN" is not a number.',
        'The volume "n/a" is not a number.',
        "market_caps has null in place of a point.",
    }
    assert simulated.query("SELECT COUNT(*) AS n FROM historical_prices") == [{"n": 5}]


def test_a_value_of_a_snapshot_that_is_no_number_costs_itself_alone(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = with_snapshots_within(timedelta(hours=7), market, build_platform)
    (key,) = newest_keys(INTRA_DAY, 1)
    listed = [
        {"id": coin, "symbol": coin, "name": coin, "current_price": 1.5, "max_supply": supply}
        for coin, supply in {"bitcoin": "", "ethereum": "21.5", "tether": 7}.items()
    ]
    market.inject(
        Fault(status=200, body=json.dumps([*listed, None, {"name": "no id"}])),
        path="/coins/markets",
    )

    platform.materialize(INTRA_DAY, key)

    assert platform.query(
        "SELECT coin_id, current_price, max_supply FROM market_snapshots ORDER BY coin_id"
    ) == [
        {"coin_id": "bitcoin", "current_price": 1.5, "max_supply": None},
        {"coin_id": "ethereum", "current_price": 1.5, "max_supply": 21.5},
        {"coin_id": "tether", "current_price": 1.5, "max_supply": 7.0},
    ]
    assert platform.query("SELECT COUNT(DISTINCT coin_id) AS coins FROM intra_day_prices") == [
        {"coins": 3}
    ]


def test_a_window_outside_the_plan_is_told_in_the_ledger(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(
        market.base_url,
        {"TRACKED_COINS": "bitcoin", "COINGECKO_HISTORY_DAYS": "30", "HISTORY_START": "2025-01-01"},
    )

    platform.materialize(HISTORICAL, "2025-01-01")

    (row,) = platform.query("SELECT coin_id, status, window_start FROM ingestion_ledger")
    assert (row["coin_id"], row["status"]) == ("bitcoin", "out_of_plan")
    assert market.calls().total == 0


def test_an_unknown_coin_is_refused_by_name_where_the_list_is_made(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcon"})
    (key,) = newest_keys(HISTORICAL, 1)

    with pytest.raises(UnknownCoinError, match=r"'bitcon' \(did you mean 'bitcoin'"):
        platform.materialize(HISTORICAL, key, stages=("tracked_coins",))


def test_a_list_that_cannot_be_had_costs_no_price_of_the_coins_known(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcoin,tether"})
    before, key = newest_keys(HISTORICAL, 2)
    stages = ("tracked_coins", *STAGES)
    assert platform.materialize(HISTORICAL, before, stages=stages).success
    market.inject("wrong_key", path="/coins/markets")

    ran = platform.materialize(HISTORICAL, key, stages=stages)

    (listed,) = [
        check for check in ran.get_asset_check_evaluations() if check.check_name == "list_current"
    ]
    assert not listed.passed
    assert listed.severity == dg.AssetCheckSeverity.ERROR
    assert "COINGECKO_API_KEY" in str(listed.description)
    (stored,) = platform.query(
        f"SELECT COUNT(DISTINCT coin_id) AS coins FROM historical_prices WHERE price_at = '{key}'"
    )
    assert stored["coins"] == 2


def test_a_run_in_which_no_coin_could_be_had_fails_and_names_them(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcon"})
    (key,) = newest_keys(HISTORICAL, 1)

    with pytest.raises(PermanentFailure, match="bitcon"):
        platform.materialize(HISTORICAL, key)


def test_a_wrong_key_is_told_without_showing_it(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(
        market.base_url, {"TRACKED_COINS": "bitcoin", "COINGECKO_API_KEY": "CG-planted-secret"}
    )
    (key,) = newest_keys(HISTORICAL, 1)
    market.inject("wrong_key")

    with pytest.raises(PermanentFailure, match="COINGECKO_API_KEY") as caught:
        platform.materialize(HISTORICAL, key, stages=("raw_prices",))

    assert "CG-planted-secret" not in str(caught.value)


def test_a_corrupt_raw_file_is_named_with_its_window(simulated: Platform) -> None:
    (key,) = newest_keys(HISTORICAL, 1)
    simulated.materialize(HISTORICAL, key, stages=("raw_prices",))
    layer = simulated.lake.raw
    (path,) = [path for path in layer.paths("historical_data") if path.endswith(".json.gz")]
    layer.put(path, (layer.read(path) or b"")[:-20])

    with pytest.raises(CorruptFileError, match=f"historical {key}"):
        simulated.materialize(HISTORICAL, key, stages=("transformed_prices",))


def test_a_corrupt_raw_file_heals_by_materializing_it_again(simulated: Platform) -> None:
    (key,) = newest_keys(HISTORICAL, 1)
    simulated.materialize(HISTORICAL, key)
    before = simulated.query("SELECT coin_id, price FROM historical_prices ORDER BY coin_id")
    layer = simulated.lake.raw
    (path,) = [path for path in layer.paths("historical_data") if path.endswith(".json.gz")]
    layer.put(path, b"damaged")

    simulated.materialize(HISTORICAL, key)

    after = simulated.query("SELECT coin_id, price FROM historical_prices ORDER BY coin_id")
    assert after == before


def test_a_corrupt_raw_file_that_the_api_no_longer_has_becomes_an_absence(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcoin"})
    key = newest_keys(HISTORICAL, 60)[0]
    platform.materialize(HISTORICAL, key)
    (path,) = [path for path in platform.lake.raw.paths("historical_data") if "prices-" in path]
    platform.lake.raw.put(path, b"damaged")

    out_of_plan = build_platform(
        market.base_url, {"TRACKED_COINS": "bitcoin", "COINGECKO_HISTORY_DAYS": "30"}
    )
    out_of_plan.materialize(HISTORICAL, key)

    (row,) = out_of_plan.query("SELECT status FROM ingestion_ledger")
    assert row["status"] == "out_of_plan"


def test_a_simulated_market_never_gets_into_a_lake_of_another_source(
    simulated: Platform,
) -> None:
    keys = newest_keys(HISTORICAL, 2)
    simulated.materialize(HISTORICAL, keys[0], stages=("raw_prices",))
    simulated.lake.raw.put("source.txt", b"coingecko")
    before = simulated.lake.raw.manifests(HISTORICAL, [HISTORICAL.window(keys[0])])

    with pytest.raises(MixedSourcesError, match="simulated prices and real ones are never mixed"):
        simulated.materialize(HISTORICAL, keys[0], keys[1], stages=("raw_prices",))

    assert simulated.lake.raw.manifests(HISTORICAL, [HISTORICAL.window(keys[0])]) == before


def test_a_snapshot_that_cannot_be_had_costs_no_price(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = with_snapshots_within(timedelta(hours=7), market, build_platform)
    (key,) = newest_keys(INTRA_DAY, 1)
    market.inject("delisted_coin", path="/coins/markets")

    platform.materialize(INTRA_DAY, key)

    assert platform.query("SELECT COUNT(DISTINCT coin_id) AS coins FROM intra_day_prices") == [
        {"coins": 3}
    ]


def test_a_snapshot_that_is_damaged_costs_no_price(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = with_snapshots_within(timedelta(hours=7), market, build_platform)
    (key,) = newest_keys(INTRA_DAY, 1)
    platform.materialize(INTRA_DAY, key, stages=("raw_prices",))
    layer = platform.lake.raw
    (path,) = [path for path in layer.paths("intra_day") if "/snapshots-" in path]
    layer.put(path, (layer.read(path) or b"")[:-20])

    platform.materialize(INTRA_DAY, key, stages=("transformed_prices", "snowflake_prices"))

    assert platform.query("SELECT COUNT(DISTINCT coin_id) AS coins FROM intra_day_prices") == [
        {"coins": 3}
    ]
    assert platform.query("SELECT * FROM market_snapshots") == []


def test_a_range_the_wrong_way_round_is_refused_once_with_the_right_one(
    simulated: Platform,
) -> None:
    first, last = newest_keys(HISTORICAL, 2)

    for stage in STAGES:
        with pytest.raises(PermanentFailure, match=f"Launch {first}...{last} instead"):
            simulated.materialize(HISTORICAL, last, first, stages=[stage])


def test_a_stage_without_the_one_before_it_says_what_to_materialize(simulated: Platform) -> None:
    (key,) = newest_keys(HISTORICAL, 1)

    with pytest.raises(MissingWindowError, match="materialize historical/raw_prices"):
        simulated.materialize(HISTORICAL, key, stages=("transformed_prices",))


def test_simulated_rows_say_so(simulated: Platform) -> None:
    (key,) = newest_keys(HISTORICAL, 1)

    simulated.materialize(HISTORICAL, key)

    assert simulated.query("SELECT DISTINCT source FROM historical_prices") == [
        {"source": "simulated"}
    ]


def test_every_partition_of_a_range_carries_its_own_numbers(simulated: Platform) -> None:
    keys = newest_keys(HISTORICAL, 3)

    result = simulated.materialize(HISTORICAL, keys[0], keys[-1])

    for stage in STAGES:
        events = result.asset_materializations_for_node(f"historical__{stage}")
        assert [event.partition for event in events] == keys
        for event in events:
            assert {"coins", "points", "dagster/uri", "preview"} <= event.metadata.keys()
            assert event.metadata["coins"] == dg.IntMetadataValue(3)
            assert event.metadata["dagster/partition_row_count"] == dg.IntMetadataValue(3)
    # Of the table, and not of the partition alone.
    assert event.metadata["dagster/row_count"] == dg.IntMetadataValue(9)
    preview = event.metadata["preview"].value
    assert "| price (USD) | market cap (USD) | volume 24 h (USD) |" in str(preview)


def run_killed_at(moment: str, occurrence: int, stream: Stream, keys: list[str]) -> None:
    """In a process of its own: materialize, and be killed when a moment comes."""
    settings = Settings.from_environment(os.environ)
    method = getattr(Layer, moment)
    seen = 0

    def killed_instead(self: Layer, *arguments: Any, **options: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == occurrence:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(self, *arguments, **options)

    setattr(Layer, moment, killed_instead)
    Platform(build_definitions(settings), settings.home).materialize(stream, keys[0], keys[-1])


@pytest.mark.parametrize(
    ("moment", "occurrence"),
    [
        pytest.param("commit", 1, id="raw files written, nothing committed"),
        pytest.param("put", 3, id="half of the raw windows committed"),
        pytest.param("commit", 2, id="Parquet written, nothing committed"),
        pytest.param("check", 2, id="transformed, nothing loaded"),
    ],
)
def test_a_killed_run_leaves_nothing_that_counts_and_the_next_one_completes_it(
    moment: str, occurrence: int, simulated: Platform
) -> None:
    keys = newest_keys(HISTORICAL, 4)
    simulated.materialize(HISTORICAL, keys[0], keys[1])
    before = simulated.query(
        "SELECT coin_id, price_at, price FROM historical_prices ORDER BY coin_id, price_at"
    )

    killed = multiprocessing.get_context("spawn").Process(
        target=run_killed_at, args=(moment, occurrence, HISTORICAL, keys)
    )
    killed.start()
    killed.join()
    existing = simulated.query(
        "SELECT coin_id, price_at, price FROM historical_prices ORDER BY coin_id, price_at"
    )
    simulated.materialize(HISTORICAL, keys[0], keys[-1])

    assert killed.exitcode == -signal.SIGKILL
    assert existing == before
    after = simulated.query(
        "SELECT coin_id, price_at, price FROM historical_prices ORDER BY coin_id, price_at"
    )
    assert len(after) == 3 * len(keys)
    assert [row for row in after if row in before] == before


def with_snapshots_within(
    allowed: timedelta, market: SimulatedMarket, build_platform: BuildPlatform
) -> Platform:
    """A platform whose newest window may take a snapshot for so long after its close."""
    platform = build_platform(market.base_url, {"TRACKED_COINS": "bitcoin,ethereum,tether"})
    stream = dataclasses.replace(INTRA_DAY, snapshot_within=allowed)
    definitions = build_definitions(Settings.from_environment(os.environ), streams=(stream,))
    return dataclasses.replace(platform, definitions=definitions)


def test_the_newest_window_takes_a_snapshot_that_says_when_and_stays_the_first(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = with_snapshots_within(timedelta(hours=7), market, build_platform)
    (key,) = newest_keys(INTRA_DAY, 1)
    before = datetime.now(UTC)

    platform.materialize(INTRA_DAY, key)
    first = platform.query("SELECT * EXCLUDE (loaded_at) FROM market_snapshots ORDER BY coin_id")
    platform.materialize(INTRA_DAY, key)
    second = platform.query("SELECT * EXCLUDE (loaded_at) FROM market_snapshots ORDER BY coin_id")

    assert [row["coin_id"] for row in first] == ["bitcoin", "ethereum", "tether"]
    assert all(
        before - timedelta(seconds=1) <= row["observed_at"] <= datetime.now(UTC) for row in first
    )
    assert second == first


def test_a_window_that_is_no_longer_the_newest_takes_no_snapshot(
    market: SimulatedMarket, build_platform: BuildPlatform
) -> None:
    platform = with_snapshots_within(INTRA_DAY.window_length, market, build_platform)
    late, _newest = newest_keys(INTRA_DAY, 2)

    platform.materialize(INTRA_DAY, late)

    assert platform.query("SELECT * FROM market_snapshots") == []
