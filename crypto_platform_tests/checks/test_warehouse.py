"""What the checks ask of the warehouse, on DuckDB and over Snowflake's connector."""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from crypto_platform.alerts.dead_man import NoSignOfLife
from crypto_platform.assets.stages import build_stream_assets
from crypto_platform.checks.definitions import (
    ERROR,
    KEYS,
    POSITIVE_PRICES,
    WAREHOUSE_CHECKS,
    WARN,
    Finding,
)
from crypto_platform.checks.warehouse import evaluate_load, unjudged_in_load
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream, WindowBatch
from crypto_platform.lake.layers import Lake
from crypto_platform.lake.manifests import Manifest
from crypto_platform.stages.load import Loaded, load_windows
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.session import Session
from crypto_platform_tests.transformed_lake import (
    Row,
    TransformedLake,
    absence,
    price,
)

FIRST = datetime(2026, 10, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> TransformedLake:
    return TransformedLake(str(tmp_path / "transformed"))


@pytest.fixture(params=["duckdb", pytest.param("snowflake", marks=pytest.mark.integration)])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path, lake: TransformedLake) -> Warehouse:
    """Each engine in turn: the SQL is shared, so what it finds must be the same on all of them."""
    if request.param == "duckdb":
        return DuckDBWarehouse(path=str(tmp_path / "crypto_db.duckdb"))
    build: Callable[[str], Warehouse] = request.getfixturevalue("build_snowflake")
    return build(lake.root)


@pytest.fixture
def duckdb(tmp_path: Path) -> Warehouse:
    """The quick engine, for many examples of what one statement says on both."""
    return DuckDBWarehouse(path=str(tmp_path / "crypto_db.duckdb"))


def day(number: int) -> str:
    return f"{FIRST + timedelta(days=number):%Y-%m-%d}"


def usual(number: int, base: float = 100.0) -> float:
    """A price that wanders by a percent or so."""
    return base * (1 + 0.01 * math.sin(number * 1.7))


def days(lake: TransformedLake, values: Sequence[float], coin: str = "bitcoin") -> list[Manifest]:
    return [lake.day(day(n), price(coin, day(n), value)) for n, value in enumerate(values)]


def evaluated(
    warehouse: Warehouse,
    manifests: Sequence[Manifest],
    stream: Stream = HISTORICAL,
    coins: Sequence[str] = ("bitcoin",),
) -> list[Finding]:
    with warehouse.session(read_only=True) as session:
        windows = [manifest.window for manifest in manifests]
        return evaluate_load(session, WindowBatch(stream, tuple(windows)), coins, "usd")


def change(warehouse: Warehouse, sql: str, *values: object) -> None:
    """Something that no load does."""
    with warehouse.session(read_only=False) as session:
        session.execute(sql, values)


class Counting:
    """A session that counts what it is asked."""

    def __init__(self, session: Session) -> None:
        self.statements = 0
        self._session = session

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        self.statements += 1
        return self._session.execute(sql, params)

    def stage_files(self, table: str, uris: Sequence[str], windows: str) -> None:
        self._session.stage_files(table, uris, windows)

    def stage_rows(self, table: str, rows: Iterable[Row]) -> None:
        self._session.stage_rows(table, rows)


def names(findings: Sequence[Finding]) -> set[str]:
    return {finding.check.name for finding in findings}


def test_a_load_without_a_fault_passes(duckdb: Warehouse, lake: TransformedLake) -> None:
    manifests = days(lake, [usual(n) for n in range(40)])
    duckdb.load(HISTORICAL, manifests, lake.root)

    assert evaluated(duckdb, manifests) == []


@pytest.mark.parametrize(
    ("check", "planted", "fault"),
    [
        ("prices", "price = -1", "price -1"),
        ("prices", "price = 'NaN'::DOUBLE", "price nan"),
        ("caps_and_volumes", "market_cap = -5", "market cap -5"),
        ("caps_and_volumes", "total_volume = 'inf'::DOUBLE", "volume inf"),
    ],
)
def test_a_row_that_cannot_be_is_found_with_its_partition_and_coin(
    check: str, planted: str, fault: str, warehouse: Warehouse, lake: TransformedLake
) -> None:
    manifests = days(lake, [usual(n) for n in range(3)])
    warehouse.load(HISTORICAL, manifests, lake.root)
    second = FIRST + timedelta(days=1)
    change(warehouse, f"UPDATE historical_prices SET {planted} WHERE price_at = ?", second)

    (finding,) = evaluated(warehouse, manifests)

    assert (finding.check.name, finding.partition, finding.coin_id) == (check, day(1), "bitcoin")
    assert fault in finding.fault.lower()


def test_a_key_that_comes_twice_is_found(duckdb: Warehouse, lake: TransformedLake) -> None:
    # fakesnow enforces primary keys, which Snowflake does not.
    manifests = days(lake, [usual(n) for n in range(3)])
    duckdb.load(HISTORICAL, manifests, lake.root)
    change(duckdb, "INSERT INTO historical_prices SELECT * FROM historical_prices")

    findings = evaluated(duckdb, manifests)

    assert names(findings) == {"keys"}
    assert [finding.partition for finding in findings] == [day(0), day(1), day(2)]
    assert findings[0].fault == f"the key stands there 2 times at {day(0)} 00:00:00"


def test_rows_outside_the_windows_of_the_load_are_not_evaluated(
    duckdb: Warehouse, lake: TransformedLake
) -> None:
    manifests = days(lake, [usual(n) for n in range(3)])
    duckdb.load(HISTORICAL, manifests, lake.root)
    change(duckdb, "UPDATE historical_prices SET price = -1 WHERE price_at = ?", FIRST)

    assert evaluated(duckdb, manifests[1:]) == []


def test_a_column_of_another_type_is_found(duckdb: Warehouse, lake: TransformedLake) -> None:
    manifests = days(lake, [1.5])
    duckdb.load(HISTORICAL, manifests, lake.root)
    change(duckdb, "ALTER TABLE historical_prices ALTER COLUMN price TYPE DECIMAL(18, 2)")

    (finding,) = evaluated(duckdb, manifests)

    assert finding.check.name == "schema"
    assert finding.fault == "historical_prices: price is DECIMAL(18,2), not double"


# What is evaluated before it counts


def all_rows(warehouse: Warehouse) -> list[list[Row]]:
    tables = ("historical_prices", "ingestion_ledger", "price_revisions")
    return [warehouse.query(f"SELECT * FROM {table} ORDER BY coin_id") for table in tables]


def loaded_by_stage(
    warehouse: Warehouse, lake: TransformedLake, tmp_path: Path, *manifests: Manifest
) -> Loaded:
    both = Lake(raw_root=str(tmp_path / "raw"), transformed_root=lake.root)
    both.transformed.commit(HISTORICAL, manifests)
    batch = WindowBatch(HISTORICAL, [manifest.window for manifest in manifests])
    return load_windows(batch, both, warehouse, Settings.from_environment({}))


def test_what_fails_a_blocking_check_never_counts_and_is_told(
    warehouse: Warehouse, lake: TransformedLake, tmp_path: Path
) -> None:
    for value in (1.0, 2.0):
        good = lake.day(day(0), price("bitcoin", day(0), value))
        assert loaded_by_stage(warehouse, lake, tmp_path, good).result
    before = all_rows(warehouse)
    bad = [lake.day(day(n), price("bitcoin", day(n), -1.0)) for n in range(2)]

    loaded = loaded_by_stage(warehouse, lake, tmp_path, *bad)

    assert loaded.result is None
    assert names(loaded.findings) == {"prices"}
    assert [finding.partition for finding in loaded.findings] == [day(0), day(1)]
    assert loaded.evaluated.startswith("2 windows, 2 prices that were to stand in")
    assert all_rows(warehouse) == before


def test_the_asset_tells_what_blocked_a_load_and_that_the_warehouse_stays_as_it_was(
    duckdb: Warehouse, lake: TransformedLake, tmp_path: Path
) -> None:
    bad = lake.day(day(0), price("bitcoin", day(0), -1.0))
    both = Lake(raw_root=str(tmp_path / "raw"), transformed_root=lake.root)
    both.transformed.commit(HISTORICAL, [bad])
    settings = Settings.from_environment({"CRYPTO_HOME": str(tmp_path)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        asset = build_stream_assets(HISTORICAL, settings)[-1]

    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [asset],
            partition_key=day(0),
            resources={"lake": both, "warehouse": duckdb, "sign_of_life": NoSignOfLife()},
            instance=instance,
            raise_on_error=False,
        )

    told = list(done.get_asset_check_evaluations())
    assert {one.check_name for one in told} == {check.name for check in WAREHOUSE_CHECKS}
    failed = {one.check_name for one in told if not one.passed and one.severity is ERROR}
    assert failed == {POSITIVE_PRICES.name}
    (failure,) = done.filter_events(lambda event: event.is_step_failure)
    said = failure.step_failure_data.error_display_string
    assert "failed its blocking checks (prices)" in said
    assert "Nothing was loaded: the warehouse stays as it was." in said
    assert done.get_asset_materialization_events() == []
    assert all_rows(duckdb) == [[], [], []]


def test_a_table_of_another_schema_takes_no_load(
    duckdb: Warehouse, lake: TransformedLake, tmp_path: Path
) -> None:
    good = lake.day(day(0), price("bitcoin", day(0)))
    assert loaded_by_stage(duckdb, lake, tmp_path, good).result
    change(duckdb, "ALTER TABLE historical_prices ALTER COLUMN price TYPE DECIMAL(18, 2)")
    before = all_rows(duckdb)

    other = lake.day(day(0), price("bitcoin", day(0), 7.0))
    loaded = loaded_by_stage(duckdb, lake, tmp_path, other)

    assert (loaded.result, names(loaded.findings)) == (None, {"schema"})
    assert all_rows(duckdb) == before


def test_what_only_warns_is_loaded_and_told(
    warehouse: Warehouse, lake: TransformedLake, tmp_path: Path
) -> None:
    odd = lake.day(day(0), price("bitcoin", day(0), market_cap=-5.0))

    loaded = loaded_by_stage(warehouse, lake, tmp_path, odd)

    assert loaded.result
    assert loaded.result.prices == 1
    assert names(loaded.findings) == {"caps_and_volumes"}


def test_a_tracked_coin_without_prices_or_reason_is_pending_in_each_of_its_windows(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    manifests = [
        lake.day(day(0), price("bitcoin", day(0)), price("ethereum", day(0))),
        lake.day(day(1), price("bitcoin", day(1))),
        lake.day(day(2), price("bitcoin", day(2)), absent=[absence("ethereum")]),
    ]
    warehouse.load(HISTORICAL, manifests, lake.root)

    (finding,) = evaluated(warehouse, manifests, coins=["bitcoin", "ethereum"])

    assert (finding.check.name, finding.partition, finding.coin_id) == ("coins", day(1), "ethereum")
    assert finding.severity is WARN
    assert "pending" in finding.fault
    assert "materialize historical/raw_prices" in finding.fault


def test_a_window_between_those_of_a_load_does_not_hide_one_that_a_coin_lacks(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    manifests = [
        lake.day(day(0), price("bitcoin", day(0)), price("ethereum", day(0))),
        lake.day(day(1), price("bitcoin", day(1)), absent=[absence("ethereum", "failed")]),
        lake.day(day(2), price("bitcoin", day(2))),
    ]
    warehouse.load(HISTORICAL, manifests, lake.root)

    (finding,) = evaluated(warehouse, [manifests[0], manifests[2]], coins=["bitcoin", "ethereum"])

    assert (finding.partition, finding.coin_id) == (day(2), "ethereum")
    assert "pending" in finding.fault


def test_a_price_in_another_currency_does_not_hide_a_coin_that_is_pending(
    duckdb: Warehouse, lake: TransformedLake
) -> None:
    manifests = [lake.day(day(0), price("bitcoin", day(0), vs_currency="eur"))]
    duckdb.load(HISTORICAL, manifests, lake.root)

    (finding,) = evaluated(duckdb, manifests)

    assert (finding.partition, finding.coin_id) == (day(0), "bitcoin")


def test_the_faults_of_many_coins_take_no_more_queries_than_those_of_one(
    duckdb: Warehouse, lake: TransformedLake
) -> None:
    asked = []
    for coins in (["bitcoin"], [f"coin-{number}" for number in range(250)]):
        absent = [absence(coin, "failed") for coin in coins]
        manifests = [lake.day(day(0), absent=absent), lake.day(day(1))]
        duckdb.load(HISTORICAL, manifests, lake.root)
        with duckdb.session(read_only=True) as session:
            counting = Counting(session)
            batch = WindowBatch(HISTORICAL, tuple(one.window for one in manifests))
            findings = evaluate_load(counting, batch, coins, "usd")
        assert len(findings) == 2 * len(coins)
        asked.append(counting.statements)

    assert asked[0] == asked[1]


def test_a_coin_that_failed_is_a_warning_with_its_reason(
    duckdb: Warehouse, lake: TransformedLake
) -> None:
    manifests = [lake.day(day(0), price("bitcoin", day(0)), absent=[absence("ethereum", "failed")])]
    duckdb.load(HISTORICAL, manifests, lake.root)

    (finding,) = evaluated(duckdb, manifests, coins=["bitcoin", "ethereum"])

    assert (finding.partition, finding.coin_id, finding.severity) == (day(0), "ethereum", WARN)
    assert finding.fault == "failed: the price API has no price of ethereum"


def test_a_price_jump_is_found_with_coin_stamps_and_values(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    values = [usual(n) for n in range(40)]
    values[35] *= 10
    manifests = days(lake, values)
    warehouse.load(HISTORICAL, manifests, lake.root)

    up, down = evaluated(warehouse, manifests)

    assert {up.partition, down.partition} == {day(35), day(36)}
    jump = next(finding for finding in (up, down) if finding.partition == day(35))
    assert (jump.check.name, jump.coin_id) == ("price_jumps", "bitcoin")
    assert jump.fault == (
        f"from {values[34]!r} at {day(34)} 00:00:00 to {values[35]!r} at {day(35)} 00:00:00, "
        f"{values[35] / values[34] - 1:+.1%}"
    )


def test_of_many_jumps_the_largest_of_each_coin_are_named_and_the_rest_counted(
    duckdb: Warehouse, lake: TransformedLake
) -> None:
    values = [usual(n) * (1e-40 if n % 20 == 15 else 1) for n in range(200)]
    values[155] = 1e5
    manifests = days(lake, values)
    duckdb.load(HISTORICAL, manifests, lake.root)

    findings = evaluated(duckdb, manifests)

    assert len(findings) == 3
    for finding in findings:
        assert "the coin has 17 smaller jump(s) in this load" in finding.fault
    assert any("times 1" in finding.fault for finding in findings)
    assert all(len(finding.fault) < 170 for finding in findings)


def test_a_jump_is_seen_against_the_days_before_the_load(
    duckdb: Warehouse, lake: TransformedLake
) -> None:
    manifests = days(lake, [*(usual(n) for n in range(30)), 500.0])
    duckdb.load(HISTORICAL, manifests, lake.root)

    (finding,) = evaluated(duckdb, manifests[-1:])

    assert (finding.check.name, finding.partition) == ("price_jumps", day(30))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([*(usual(n) for n in range(30)), 108.0], id="a day of some percent"),
        pytest.param([*[1.0] * 30, 1.05, 1.0], id="a stablecoin that slips"),
        pytest.param([100.0, 1000.0, 100.0, 1000.0], id="too few to know what is usual"),
        pytest.param([usual(n, 10.0) ** 9 for n in range(40)], id="a coin that always jumps"),
    ],
)
def test_what_is_usual_for_a_coin_is_no_jump(
    values: Sequence[float], duckdb: Warehouse, lake: TransformedLake
) -> None:
    manifests = days(lake, values)
    duckdb.load(HISTORICAL, manifests, lake.root)

    assert evaluated(duckdb, manifests) == []


def test_a_move_over_a_hole_in_the_series_is_no_jump(
    duckdb: Warehouse, lake: TransformedLake
) -> None:
    numbers = [*range(25), *range(40, 55)]
    manifests = [
        lake.day(day(n), price("bitcoin", day(n), usual(n, 100.0 if n < 30 else 300.0)))
        for n in numbers
    ]
    duckdb.load(HISTORICAL, manifests, lake.root)

    assert evaluated(duckdb, manifests) == []


def at_midnight(value: float, at: str = f"{day(1)}T00:03:00") -> Row:
    return price("bitcoin", at, value, granularity="5-minute")


@pytest.mark.parametrize(
    ("value", "severity"), [(106.0, WARN), (94.0, WARN), (1000.0, ERROR), (10.0, ERROR)]
)
def test_streams_that_disagree_at_midnight_are_found_from_both_sides(
    value: float,
    severity: object,
    duckdb: Warehouse,
    lake: TransformedLake,
) -> None:
    daily = [lake.day(day(1), price("bitcoin", day(1), 100.0))]
    intra_day = [
        lake.six_hours(
            f"{day(1)}-00:00", at_midnight(value), at_midnight(100.0, f"{day(1)}T00:08:00")
        )
    ]
    duckdb.load(HISTORICAL, daily, lake.root)
    duckdb.load(INTRA_DAY, intra_day, lake.root)

    (of_the_day,) = evaluated(duckdb, daily)
    (of_the_window,) = evaluated(duckdb, intra_day, INTRA_DAY)

    assert (of_the_day.partition, of_the_window.partition) == (day(1), f"{day(1)}-00:00")
    for finding in (of_the_day, of_the_window):
        assert (finding.check.name, finding.coin_id) == ("streams_agree", "bitcoin")
        assert finding.severity is severity
        assert f"100.0 in historical_prices at {day(1)} 00:00:00" in finding.fault
        assert f"{value} in intra_day_prices at {day(1)} 00:03:00" in finding.fault


def test_streams_that_contradict_each_other_are_an_error(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    daily = [lake.day(day(1), price("bitcoin", day(1), 100.0))]
    warehouse.load(HISTORICAL, daily, lake.root)
    intra_day = [lake.six_hours(f"{day(1)}-00:00", at_midnight(1000.0))]
    warehouse.load(INTRA_DAY, intra_day, lake.root)

    (finding,) = evaluated(warehouse, daily)

    assert (finding.check.name, finding.severity) == ("streams_agree", ERROR)


def test_the_last_point_before_midnight_is_compared_with_the_day_it_opens(
    duckdb: Warehouse, lake: TransformedLake
) -> None:
    daily = [lake.day(day(1), price("bitcoin", day(1), 100.0))]
    evening = [lake.six_hours(f"{day(0)}-18:00", at_midnight(50.0, f"{day(0)}T23:58:00"))]
    duckdb.load(HISTORICAL, daily, lake.root)
    duckdb.load(INTRA_DAY, evening, lake.root)

    (finding,) = evaluated(duckdb, evening, INTRA_DAY)

    assert (finding.check.name, finding.partition) == ("streams_agree", f"{day(0)}-18:00")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(at_midnight(103.0), id="a few percent in three minutes"),
        pytest.param(at_midnight(1000.0, f"{day(1)}T00:20:00"), id="another moment"),
    ],
)
def test_streams_that_agree_or_have_no_common_moment_pass(
    other: Row, duckdb: Warehouse, lake: TransformedLake
) -> None:
    daily = [lake.day(day(1), price("bitcoin", day(1), 100.0))]
    intra_day = [lake.six_hours(f"{day(1)}-00:00", other)]
    duckdb.load(HISTORICAL, daily, lake.root)
    duckdb.load(INTRA_DAY, intra_day, lake.root)

    assert evaluated(duckdb, daily) == []
    assert evaluated(duckdb, intra_day, INTRA_DAY) == []


def test_a_contradiction_of_the_days_before_is_named_and_no_error_of_this_load(
    duckdb: Warehouse, lake: TransformedLake
) -> None:
    daily = [lake.day(day(1), price("bitcoin", day(1), 100.0))]
    midnight = [lake.six_hours(f"{day(1)}-00:00", at_midnight(1000.0))]
    noon = [lake.six_hours(f"{day(1)}-12:00", at_midnight(1000.0, f"{day(1)}T13:00:00"))]
    duckdb.load(HISTORICAL, daily, lake.root)
    duckdb.load(INTRA_DAY, [*midnight, *noon], lake.root)

    (finding,) = evaluated(duckdb, noon, INTRA_DAY)

    assert (finding.partition, finding.severity) == (f"{day(1)}-00:00", WARN)
    assert finding.fault.endswith("loaded earlier")


def unjudged(warehouse: Warehouse, manifests: Sequence[Manifest], stream: Stream) -> set[str]:
    batch = WindowBatch(stream, tuple(manifest.window for manifest in manifests))
    with warehouse.session(read_only=True) as session:
        return {check.name for check in unjudged_in_load(session, batch, "usd")}


def test_what_compares_prices_says_when_there_is_nothing_to_compare(
    warehouse: Warehouse, lake: TransformedLake
) -> None:
    few = days(lake, [usual(n) for n in range(20)])
    midnight = [lake.six_hours(f"{day(19)}-00:00", at_midnight(usual(19), f"{day(19)}T00:03:00"))]
    empty = [lake.day(day(0), absent=[absence("bitcoin")])]
    warehouse.load(HISTORICAL, empty, lake.root)
    assert unjudged(warehouse, empty, HISTORICAL) == {
        "price_jumps",
        "streams_agree",
        "nothing_lost",
    }
    warehouse.load(HISTORICAL, few, lake.root)
    assert unjudged(warehouse, few, HISTORICAL) == {"price_jumps", "streams_agree"}

    more = days(lake, [usual(n) for n in range(21)])
    warehouse.load(HISTORICAL, more, lake.root)
    warehouse.load(INTRA_DAY, midnight, lake.root)

    assert unjudged(warehouse, more, HISTORICAL) == set()
    assert unjudged(warehouse, midnight, INTRA_DAY) == {"price_jumps"}


def test_a_load_without_any_price_judges_no_price(
    duckdb: Warehouse, lake: TransformedLake, tmp_path: Path
) -> None:
    loaded = loaded_by_stage(
        duckdb, lake, tmp_path, lake.day(day(0), absent=[absence("bitcoin", "out_of_plan")])
    )

    judged = {check.name for check in WAREHOUSE_CHECKS} - {check.name for check in loaded.unjudged}

    assert judged == {"schema", "row_counts", "revisions"}
    assert loaded.unjudged[KEYS] == (
        "there is no price in 1 window. The ledger says why of each coin"
    )
