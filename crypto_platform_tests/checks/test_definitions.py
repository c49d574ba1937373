"""The checks catch what they claim: each fault is planted, and seen with its partition's name."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.checks.definitions import (
    CAPS_AND_VOLUMES,
    ERROR,
    KEYS,
    POINTS,
    POSITIVE_PRICES,
    RAW_CHECKS,
    ROW_COUNTS,
    SCHEMA,
    STAMPS,
    STREAMS_AGREE,
    WAREHOUSE_CHECKS,
    WARN,
    Check,
    Finding,
    transformed_checks,
)
from crypto_platform.checks.parquet import evaluate_prices, schema_faults_of
from crypto_platform.checks.raw import evaluate_raw
from crypto_platform.checks.results import (
    BlockedByCheckError,
    check_result,
    check_results,
    fault_names,
)
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, STREAMS, Stream, Window
from crypto_platform.definitions import build_definitions
from crypto_platform.lake.layers import from_json_lines, to_json_lines
from crypto_platform.lake.manifests import Absence, Manifest
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform.transformation.local import LocalTransform
from crypto_platform_tests.conftest import STAGES, Platform
from crypto_platform_tests.replay import needs_recorded, recorded_charts, replay
from crypto_platform_tests.test_end_to_end import newest_keys

BuildPlatform = Callable[[str, Mapping[str, str]], Platform]
Tamper = Callable[[pa.Table], pa.Table]

KEY = "2026-11-22"
WINDOW = HISTORICAL.window(KEY)
MIDNIGHT = WINDOW.start
SIX_HOURS = "2026-11-22-06:00"
REASONED = Check("coins", "Each coin has prices.", "Materialize it again.")


def parquet(*rows: Mapping[str, Any]) -> pa.Table:
    """A transformed file of prices; each row says only how it differs from a good one."""
    good = {
        "coin_id": "bitcoin",
        "vs_currency": "usd",
        "window_start": MIDNIGHT,
        "price_at": MIDNIGHT,
        "stamped_at": MIDNIGHT,
        "price": 1.5,
        "market_cap": 2.5,
        "total_volume": 3.5,
        "granularity": "daily",
        "fetched_at": MIDNIGHT + timedelta(days=1),
        "source": "simulated",
        "run_id": "a-run",
    }
    kinds = {datetime: pa.timestamp("us", tz="UTC"), float: pa.float64(), str: pa.string()}
    schema = pa.schema({name: kinds[type(value)] for name, value in good.items()})
    return pa.Table.from_pylist([{**good, **row} for row in rows], schema)


def found(table: pa.Table, stream: Stream = HISTORICAL, key: str = KEY) -> list[Finding]:
    return evaluated(stream, {stream.window(key): table})


def evaluated(stream: Stream, tables: Mapping[Window, pa.Table]) -> list[Finding]:
    """What is wrong with windows that were written into one file."""
    placed = [
        table.append_column("window", pa.repeat(pa.scalar(place, pa.int32()), table.num_rows))
        for place, table in enumerate(tables.values())
    ]
    return evaluate_prices(pa.concat_tables(placed), stream, list(tables))


def points(spacing: timedelta, count: int, granularity: str) -> pa.Table:
    """A coin's window of the intra-day stream, with some points from its start on."""
    start = INTRA_DAY.window(SIX_HOURS).start
    return parquet(
        *({"price_at": start + spacing * n, "granularity": granularity} for n in range(count))
    )


@pytest.mark.parametrize(
    ("check", "table", "fault"),
    [
        (KEYS, parquet({}, {"price": 2.0}), "2 times at 2026-11-22 00:00:00"),
        (KEYS, parquet({"coin_id": None}), "lacks a part"),
        (KEYS, parquet({"vs_currency": None}), "lacks a part"),
        (STAMPS, parquet({"price_at": WINDOW.end}), "outside its window at 2026-11-23 00:00:00"),
        (STAMPS, parquet({"price_at": MIDNIGHT - timedelta(microseconds=1)}), "outside its window"),
        (POSITIVE_PRICES, parquet({"price": 0.0}), "price 0.0 at"),
        (POSITIVE_PRICES, parquet({"price": -2.0}), "price -2.0 at"),
        (POSITIVE_PRICES, parquet({"price": math.nan}), "price nan at"),
        (POSITIVE_PRICES, parquet({"price": math.inf}), "price inf at"),
        (POSITIVE_PRICES, parquet({"price": None}), "price None at"),
        (CAPS_AND_VOLUMES, parquet({"market_cap": -1.0}), "market cap -1.0, volume 3.5 at"),
        (CAPS_AND_VOLUMES, parquet({"total_volume": math.nan}), "volume nan at"),
        (POINTS, parquet({"granularity": "weekly"}), "'weekly' is not one of"),
    ],
)
def test_a_fault_planted_in_a_transformed_window_is_found_with_its_partition_and_coin(
    check: Check, table: pa.Table, fault: str
) -> None:
    findings = found(table)

    assert {finding.check.name for finding in findings} == {check.name}
    assert findings[0].partition == KEY
    assert findings[0].coin_id == table["coin_id"][0].as_py()
    assert fault in findings[0].fault


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        (parquet({}).drop_columns(["market_cap"]), "there is no column market_cap"),
        (
            parquet({}).set_column(5, "price", pa.array(["1.5"])),
            "price is string, not double",
        ),
    ],
)
def test_a_column_that_is_missing_or_of_another_type_is_named(table: pa.Table, fault: str) -> None:
    assert schema_faults_of(table.schema) == [fault]


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        (points(timedelta(hours=1), 4, "hourly"), "4 of about 6 hourly points"),
        (points(timedelta(minutes=5), 57, "5-minute"), "57 of about 72 5-minute points"),
    ],
)
def test_a_window_with_too_few_points_for_its_granularity_is_found(
    table: pa.Table, fault: str
) -> None:
    (finding,) = found(table, INTRA_DAY, SIX_HOURS)

    assert (finding.check, finding.partition, finding.fault) == (POINTS, SIX_HOURS, fault)


@pytest.mark.parametrize(
    "table",
    [
        points(timedelta(minutes=64), 5, "hourly"),
        points(timedelta(minutes=5), 71, "5-minute"),
        parquet({}, {"coin_id": "ethereum"}),
        parquet({"market_cap": None, "total_volume": None}),
        parquet({"market_cap": 0.0, "total_volume": 0.0}),
        parquet({"price": 5e-324}),
    ],
)
def test_what_the_api_really_says_is_no_fault(table: pa.Table) -> None:
    intra_day = table["granularity"][0].as_py() != "daily"

    assert found(table, *((INTRA_DAY, SIX_HOURS) if intra_day else (HISTORICAL, KEY))) == []


some_rows = st.lists(
    st.fixed_dictionaries(
        {
            "coin_id": st.sampled_from(["bitcoin", "ethereum", None]),
            "price_at": st.integers(-1, 8).map(lambda hours: MIDNIGHT + timedelta(hours=hours)),
            "price": st.sampled_from([1.5, 0.0, -1.0, math.nan, None]),
            "market_cap": st.sampled_from([2.5, -1.0, None]),
            "granularity": st.sampled_from(["hourly", "5-minute", "weekly"]),
        }
    ),
    max_size=6,
)


@given(windows=st.lists(some_rows, min_size=1, max_size=4))
def test_windows_that_are_evaluated_together_are_evaluated_as_each_alone(
    windows: list[list[Mapping[str, Any]]],
) -> None:
    tables = {
        Window(
            start=MIDNIGHT + timedelta(hours=6 * place),
            end=MIDNIGHT + timedelta(hours=6 * place + 6),
        ): parquet(*rows)
        for place, rows in enumerate(windows)
    }

    together = evaluated(INTRA_DAY, tables)

    alone = [
        finding
        for window, table in tables.items()
        for finding in evaluated(INTRA_DAY, {window: table})
    ]
    assert sorted(together, key=str) == sorted(alone, key=str)


def raw_manifest(
    *coins: str, absent: tuple[Absence, ...] = (), vs_currency: str = "usd"
) -> Manifest:
    return Manifest(
        stream="historical",
        window=WINDOW,
        run_id="a-run",
        written_at=MIDNIGHT,
        coins=len(coins),
        points=len(coins),
        files=(),
        absent=absent,
        present=frozenset((coin, vs_currency) for coin in coins),
    )


def failed(coin: str) -> Absence:
    return Absence(
        coin_id=coin,
        vs_currency="usd",
        status="failed",
        reason="the API said no",
        run_id="a-run",
        seen_at=MIDNIGHT,
    )


def test_a_coin_that_was_asked_for_and_is_neither_here_nor_explained_is_an_error() -> None:
    manifest = raw_manifest("bitcoin", "ethereum")

    (finding,) = evaluate_raw(HISTORICAL, [manifest], ["bitcoin", "ethereum", "tether"], "usd")

    assert (finding.check.name, finding.partition, finding.coin_id) == ("coins", KEY, "tether")
    assert finding.fault == "asked for in usd, and neither here nor explained"
    assert check_result(finding.check, [finding], "").severity is dg.AssetCheckSeverity.ERROR


def test_coins_that_nobody_asked_for_do_not_hide_one_that_is_absent() -> None:
    others = [f"coin-{number}" for number in range(25)]

    (finding,) = evaluate_raw(HISTORICAL, [raw_manifest(*others)], ["bitcoin"], "usd")

    assert finding.coin_id == "bitcoin"


def test_a_price_in_another_currency_does_not_hide_a_coin_that_is_absent() -> None:
    manifest = raw_manifest("bitcoin", vs_currency="eur")

    (finding,) = evaluate_raw(HISTORICAL, [manifest], ["bitcoin"], "usd")

    assert finding.coin_id == "bitcoin"


def test_a_coin_that_failed_is_a_warning_with_its_reason() -> None:
    manifest = raw_manifest("bitcoin", absent=(failed("ethereum"),))

    (finding,) = evaluate_raw(HISTORICAL, [manifest], ["bitcoin", "ethereum"], "usd")

    assert (finding.partition, finding.coin_id) == (KEY, "ethereum")
    assert "the API said no" in finding.fault
    assert check_result(finding.check, [finding], "").severity is dg.AssetCheckSeverity.WARN


def test_a_window_of_which_nothing_came_is_an_error_with_the_reason() -> None:
    manifest = raw_manifest(absent=(failed("bitcoin"), failed("ethereum")))

    (finding,) = evaluate_raw(HISTORICAL, [manifest], ["bitcoin", "ethereum"], "usd")

    assert finding.fault == "no price of any of 2 coin(s): the API said no"
    assert check_result(finding.check, [finding], "").severity is dg.AssetCheckSeverity.ERROR


def test_a_result_names_every_partition_and_coin_at_fault_and_shows_the_first_few() -> None:
    days = [f"2026-11-{day:02}" for day in range(1, 31)]
    findings = [Finding(POSITIVE_PRICES, day, "bitcoin", "price -1.0") for day in days]

    result = check_result(POSITIVE_PRICES, findings, "30 windows")

    assert not result.passed
    assert result.metadata["partitions"] == dg.JsonMetadataValue(days)
    assert result.metadata["coins"] == dg.JsonMetadataValue(["bitcoin"])
    assert result.metadata["faults"] == dg.IntMetadataValue(30)
    assert result.metadata["what_to_do"] == dg.TextMetadataValue(POSITIVE_PRICES.remediation)
    assert result.description is not None
    assert result.description.startswith(
        "30 faults in 30 partitions, 2026-11-01 to 2026-11-30: bitcoin 2026-11-01: price -1.0;"
    )
    assert result.description.endswith("and 25 more.")


def test_an_error_names_no_partition_and_coin_that_only_warns() -> None:
    findings = [
        Finding(STREAMS_AGREE, "2026-11-01", "bitcoin", "differs by 6%"),
        Finding(STREAMS_AGREE, "2026-11-02", "ethereum", "differs by 80%", ERROR),
    ]

    result = check_result(STREAMS_AGREE, findings, "2 windows")

    assert result.severity is ERROR
    assert result.metadata["partitions"] == dg.JsonMetadataValue(["2026-11-02"])
    assert result.metadata["coins"] == dg.JsonMetadataValue(["ethereum"])
    assert "bitcoin 2026-11-01: differs by 6%" in (result.description or "")


def test_a_result_names_its_faults_exactly_and_shows_an_error_before_warnings() -> None:
    warned = [Finding(POSITIVE_PRICES, "2026-11-01", f"coin-{n}", "odd", WARN) for n in range(30)]
    errors = [
        Finding(POSITIVE_PRICES, "2026-11-02", "bitcoin", "price -1.0"),
        Finding(POSITIVE_PRICES, "2026-11-03", None, "all of it"),
    ]

    result = check_result(POSITIVE_PRICES, [*warned, *errors], "30 windows")

    assert result.metadata["at_fault"] == dg.JsonMetadataValue(["2026-11-02/bitcoin", "2026-11-03"])
    assert "bitcoin 2026-11-02: price -1.0" in (result.description or "")
    assert "2026-11-03 |  | all of it" in str(result.metadata["found"].value)


def test_years_of_many_coins_at_fault_are_named_by_their_partitions_alone() -> None:
    days = [f"day-{number:04}" for number in range(3_650)]

    assert fault_names((day, f"coin-{n}") for day in days for n in range(250)) == days


def test_a_result_that_passed_says_what_was_evaluated() -> None:
    result = check_result(POSITIVE_PRICES, [], "365 windows")

    assert result.passed
    assert result.description == "Holds for 365 windows."


def test_a_check_that_had_nothing_to_look_at_is_a_warning_that_says_why() -> None:
    (judged, unjudged) = check_results(
        [KEYS, POINTS], [], "a window", {POINTS: "there is no price. The ledger says why"}
    )

    assert judged.passed
    assert (unjudged.passed, unjudged.severity) == (False, WARN)
    assert unjudged.description == "Judged nothing: there is no price. The ledger says why."


def test_what_a_check_found_counts_though_it_had_nothing_else_to_look_at() -> None:
    finding = Finding(KEYS, "2026-11-22", "bitcoin", "twice")

    (result,) = check_results([KEYS], [finding], "a window", {KEYS: "there is no price"})

    assert (result.passed, result.severity) == (False, ERROR)


def test_only_a_stream_that_takes_market_snapshots_is_asked_about_them() -> None:
    names = {stream.name: {c.name for c in transformed_checks(stream)} for stream in STREAMS}

    assert names["intra_day"] - names["historical"] == {"snapshots"}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(Settings.from_environment({}))


def test_every_stage_of_every_stream_has_its_checks_and_each_says_its_rule(
    definitions: dg.Definitions,
) -> None:
    graph = definitions.resolve_asset_graph()

    specs = {key: graph.get_check_spec(key) for key in graph.asset_check_keys}

    for stream in STREAMS:
        stages = {
            "raw_prices": RAW_CHECKS,
            "transformed_prices": transformed_checks(stream),
            "snowflake_prices": WAREHOUSE_CHECKS,
        }
        for stage, checks in stages.items():
            asset = dg.AssetKey([stream.name, stage])
            assert {check.name for check in checks} <= {
                key.name for key in specs if key.asset_key == asset
            }
    assert all(spec.description for spec in specs.values())


def test_what_blocks_is_what_would_make_the_history_wrong(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    blocking = {key.name for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}

    assert blocking == {"schema", "keys", "stamps", "prices", "row_counts"}


@pytest.fixture
def simulated(market: SimulatedMarket, build_platform: BuildPlatform) -> Platform:
    return build_platform(market.base_url, {"TRACKED_COINS": "bitcoin,ethereum,tether"})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ours:
        yield ours


def evaluations(
    instance: dg.DagsterInstance, *, passed: bool
) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """The newest run's check results of what was judged, by asset and check."""
    run = instance.get_runs(limit=1)[0]
    events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    results = [event.get_dagster_event().asset_check_evaluation_data for event in events]
    return {
        (result.asset_key.to_user_string(), result.check_name): result
        for result in results
        if result.passed is passed and not (result.description or "").startswith("Judged nothing")
    }


@pytest.mark.integration
@pytest.mark.parametrize("stream", STREAMS)
def test_good_data_passes_every_check_of_its_load(
    stream: Stream, simulated: Platform, instance: dg.DagsterInstance
) -> None:
    keys = newest_keys(stream, 22)

    simulated.materialize(stream, keys[0], keys[-1], instance=instance)

    assert evaluations(instance, passed=False) == {}
    assert len(evaluations(instance, passed=True)) >= 16


@pytest.mark.integration
@needs_recorded
def test_recorded_months_with_their_oddities_pass_every_check(
    build_platform: BuildPlatform, instance: dg.DagsterInstance
) -> None:
    first, last = "2013-05-20", "2013-07-10"
    with replay({"bitcoin": recorded_charts("daily")["bitcoin"]}) as api:
        platform = build_platform(
            api.base_url, {"TRACKED_COINS": "bitcoin", "HISTORY_START": first}
        )
        platform.materialize(HISTORICAL, first, last, instance=instance)

    assert evaluations(instance, passed=False) == {}


def tampered(monkeypatch: pytest.MonkeyPatch, window: Window, tamper: Tamper) -> None:
    """From now on something is done to the prices that the transformation writes of a window."""
    run = LocalTransform.run

    def run_and_tamper(self: LocalTransform, job: str, arguments: Mapping[str, str]) -> Any:
        result = run(self, job, arguments)
        for path in Path(arguments["output"]).rglob("dataset=prices/*/*.parquet"):
            written = pq.ParquetFile(path).read()
            is_bad = pc.equal(written["window_start"], pa.scalar(window.start))
            rest, bad = written.filter(pc.invert(is_bad)), tamper(written.filter(is_bad))
            together = [rest.select(bad.column_names), bad]
            pq.write_table(pa.concat_tables(together), path)
        return result

    monkeypatch.setattr(LocalTransform, "run", run_and_tamper)


def with_value(column: str, value: object) -> Tamper:
    """The first row's value of a column becomes another one."""

    def tamper(table: pa.Table) -> pa.Table:
        values = [value, *table[column].to_pylist()[1:]]
        place = table.schema.get_field_index(column)
        return table.set_column(place, column, pa.array(values, table.schema.field(place).type))

    return tamper


def existing(platform: Platform) -> list[dict[str, Any]]:
    return platform.query("SELECT * FROM historical_prices ORDER BY price_at, coin_id")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("check", "tamper"),
    [
        pytest.param(SCHEMA, lambda table: table.drop_columns(["coin_id"]), id="schema"),
        pytest.param(KEYS, lambda table: pa.concat_tables([table, table.slice(1, 1)]), id="keys"),
        pytest.param(STAMPS, with_value("price_at", datetime(2020, 1, 1, tzinfo=UTC)), id="stamps"),
        pytest.param(POSITIVE_PRICES, with_value("price", -1.0), id="prices"),
        pytest.param(ROW_COUNTS, lambda table: table.slice(1), id="row_counts"),
    ],
)
def test_a_bad_window_does_not_reach_lake_or_warehouse_and_is_named(
    check: Check,
    tamper: Tamper,
    simulated: Platform,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = newest_keys(HISTORICAL, 3)
    simulated.materialize(HISTORICAL, keys[0], keys[-1])
    rows = existing(simulated)
    manifests = simulated.lake.transformed.manifests(HISTORICAL, [*map(HISTORICAL.window, keys)])
    tampered(monkeypatch, HISTORICAL.window(keys[1]), tamper)

    with pytest.raises(BlockedByCheckError, match=f"(?s){check.name}.*{keys[1]}.*was committed"):
        simulated.materialize(HISTORICAL, keys[0], keys[-1], instance=instance)

    result = evaluations(instance, passed=False)["historical/transformed_prices", check.name]
    assert result.severity is dg.AssetCheckSeverity.ERROR
    # The schema is the whole file's.
    at_fault = keys if check is SCHEMA else [keys[1]]
    assert result.metadata["partitions"] == dg.JsonMetadataValue(at_fault)
    assert keys[1] in (result.description or "")
    assert existing(simulated) == rows
    held = simulated.lake.transformed.manifests(HISTORICAL, [*map(HISTORICAL.window, keys)])
    assert held == manifests


@pytest.mark.integration
def test_a_warning_lets_the_load_go_on(
    simulated: Platform, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    (key,) = newest_keys(HISTORICAL, 1)
    tampered(monkeypatch, HISTORICAL.window(key), with_value("market_cap", -1.0))

    simulated.materialize(HISTORICAL, key, instance=instance)

    failing = evaluations(instance, passed=False)
    assert set(failing) == {
        ("historical/transformed_prices", "caps_and_volumes"),
        ("historical/snowflake_prices", "caps_and_volumes"),
    }
    for result in failing.values():
        assert result.severity is dg.AssetCheckSeverity.WARN
        assert result.metadata["partitions"] == dg.JsonMetadataValue([key])
    assert len(existing(simulated)) == 3


@pytest.mark.integration
def test_a_load_that_the_warehouse_refuses_is_a_failed_check_too(
    simulated: Platform, instance: dg.DagsterInstance
) -> None:
    (key,) = newest_keys(HISTORICAL, 1)
    simulated.materialize(HISTORICAL, key)
    layer = simulated.lake.transformed
    (manifest,) = layer.manifests(HISTORICAL, [HISTORICAL.window(key)])
    layer.commit(HISTORICAL, [replace(manifest, points=4)])

    with pytest.raises(dg.Failure, match="the manifest says 4 prices"):
        simulated.materialize(HISTORICAL, key, stages=("snowflake_prices",), instance=instance)

    result = evaluations(instance, passed=False)["historical/snowflake_prices", "row_counts"]
    assert result.metadata["partitions"] == dg.JsonMetadataValue([key])


@pytest.mark.integration
def test_a_zero_price_of_the_api_is_quarantined_and_blocks_nobody(
    simulated: Platform, instance: dg.DagsterInstance
) -> None:
    (key,) = newest_keys(HISTORICAL, 1)
    simulated.materialize(HISTORICAL, key, stages=("raw_prices",))
    layer = simulated.lake.raw
    (manifest,) = layer.manifests(HISTORICAL, [HISTORICAL.window(key)])
    (file,) = manifest.files
    records = from_json_lines(layer.read(file.path) or b"")
    records[1]["prices"] = [[stamp, 0] for stamp, _ in records[1]["prices"]]
    content = to_json_lines(records)
    layer.put(file.path, content)
    described = layer.describe_file("prices", file.path, len(records), content)
    layer.commit(HISTORICAL, [replace(manifest, files=(described,))])

    simulated.materialize(HISTORICAL, key, stages=STAGES[1:], instance=instance)

    assert evaluations(instance, passed=False) == {}
    rows = simulated.query("SELECT coin_id, status FROM ingestion_ledger ORDER BY coin_id")
    assert [tuple(row.values()) for row in rows] == [
        ("bitcoin", "present"),
        ("ethereum", "quarantined"),
        ("tether", "present"),
    ]


@pytest.mark.integration
@pytest.mark.parametrize("fault", ["null_prices", "duplicated_points", "uneven_arrays"])
@pytest.mark.parametrize("stream", STREAMS)
def test_points_that_are_folded_or_rejected_are_counted_and_nothing_is_missed(
    fault: str,
    stream: Stream,
    simulated: Platform,
    market: SimulatedMarket,
    instance: dg.DagsterInstance,
) -> None:
    keys = newest_keys(stream, 3)
    market.inject(fault)

    simulated.materialize(stream, keys[0], keys[-1], instance=instance)

    assert {name for _, name in evaluations(instance, passed=False)} <= {"points"}


def test_a_fault_that_is_a_sentence_ends_with_one_full_stop() -> None:
    findings = [Finding(REASONED, KEY, coin, "failed: It is asked again.") for coin in ("a", "b")]

    (result,) = check_results([REASONED], findings, "two coins")

    assert result.description == (
        f"2 faults: a {KEY}: failed: It is asked again; b {KEY}: failed: It is asked again."
    )
