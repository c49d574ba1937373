"""What is measured, each in a process of its own: ``python -m benchmarks.probes NAME [ARGUMENT]``.

A probe prints what it has to say as a line of JSON; whoever started it knows the rest, which is
the time, the CPU time with that of its own processes, and the memory of the largest of them.
"""

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

Said = dict[str, Any]

_STAGES = ("raw_prices", "transformed_prices", "snowflake_prices")

_QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


def historical(coins: int, days: int, stages: Sequence[str] = ()) -> Said:
    """Our platform: a range backfill of the last days of history, as one run."""
    from crypto_platform.core.streams import HISTORICAL  # noqa: PLC0415 - part of what is measured

    first = _today() - timedelta(days=days)
    keys = [str(first + timedelta(days=number)) for number in (0, days - 1)]
    return _ours(HISTORICAL.name, keys, coins, stages) | {"rows": coins * days}


def ingestion(coins: int, days: int) -> Said:
    """The same up to the raw lake."""
    return historical(coins, days, ["raw_prices"])


def tick(coins: int, ago: int) -> Said:
    """Our platform: a tick of the schedule, so many windows before the newest."""
    from crypto_platform.core.streams import INTRA_DAY  # noqa: PLC0415

    partitions = INTRA_DAY.partitions(_midnight(_today() - timedelta(days=7)))
    key = partitions.get_partition_keys()[-1 - ago]
    window = INTRA_DAY.window(str(key))
    snapshot = INTRA_DAY.takes_snapshot(window, datetime.now(UTC))
    said = _ours(INTRA_DAY.name, [str(key)], coins)
    # A snapshot is one more call, of all coins.
    return said | {"fewest_calls": said["fewest_calls"] + snapshot}


def empty(days: int) -> Said:
    """Dagster: three assets in a row, of as many partitions, which do nothing."""
    first = _today() - timedelta(days=days)
    partitions = dg.DailyPartitionsDefinition(str(first), timezone="UTC")

    def asset(name: str, deps: list[str]) -> dg.AssetsDefinition:
        @dg.asset(
            name=name,
            deps=deps,
            partitions_def=partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def nothing() -> None:
            """It is there to be recorded."""

        return nothing

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = [
            asset(name, [before] if before else [])
            for before, name in zip((None, *_STAGES), _STAGES, strict=False)
        ]
    definitions = dg.Definitions(
        assets, jobs=[dg.define_asset_job("all")], executor=dg.in_process_executor
    )
    last = first + timedelta(days=days - 1)
    return _run(definitions.resolve_job_def("all"), [str(first), str(last)])[0]


def duckdb(raw_root: str) -> Said:
    """DuckDB alone: the raw files of a run, read, joined by stamp and written to a table."""
    import duckdb as engine  # noqa: PLC0415 - part of what is measured

    began = time.perf_counter()
    with engine.connect(str(Path(os.environ["CRYPTO_HOME"]) / "direct.duckdb")) as warehouse:
        warehouse.execute("SET TimeZone = 'UTC'")
        points = "{series} AS (SELECT coin_id, p[1] AS stamp, p[2] AS value FROM (SELECT coin_id, unnest({series}) AS p FROM raw))"  # noqa: E501
        series = [points.format(series=name) for name in ("prices", "market_caps", "total_volumes")]
        warehouse.execute(
            "CREATE TABLE loaded AS WITH raw AS (FROM read_json(?, format='newline_delimited', "  # noqa: S608
            "columns={coin_id: 'VARCHAR', prices: 'DOUBLE[][]', market_caps: 'DOUBLE[][]', "
            f"total_volumes: 'DOUBLE[][]'}})), {', '.join(series)} "
            "SELECT p.coin_id, make_timestamp((p.stamp * 1000)::BIGINT) AS price_at, "
            "p.value AS price, c.value AS market_cap, v.value AS total_volume FROM prices p "
            "LEFT JOIN market_caps c USING (coin_id, stamp) LEFT JOIN total_volumes v "
            "USING (coin_id, stamp)",
            [f"{raw_root}/historical_data/*/*.json.gz"],
        )
        rows = warehouse.execute("SELECT COUNT(*) FROM loaded").fetchone()
    return {"run": time.perf_counter() - began, "rows": rows and rows[0]}


def definitions() -> Said:
    """Loading what Dagster loads of ours."""
    from crypto_platform.definitions import defs  # noqa: PLC0415 - importing it is measured too

    defs()
    return {}


def dagster() -> Said:
    """Loading Dagster, which this module has done."""
    return {}


def _ours(stream: str, keys: Sequence[str], coins: int, stages: Sequence[str] = ()) -> Said:
    from crypto_platform.core.settings import Settings  # noqa: PLC0415
    from crypto_platform.definitions import build_definitions  # noqa: PLC0415

    os.environ |= {
        "COINGECKO_PLAN": "pro",
        "COINGECKO_CALLS_A_MINUTE": "1000000",
        "TRACKED_COINS": f"top:{coins}",
        "HISTORY_START": keys[0][:10],
        "INTRA_DAY_START": keys[0][:10],
    }
    platform = build_definitions(Settings.from_environment(os.environ))
    selected = [dg.AssetKey([stream, stage]) for stage in stages]
    said, result = _run(platform.resolve_job_def(stream), keys, selected)
    (told, *_) = result.asset_materializations_for_node(f"{stream}__raw_prices")
    return said | {
        "calls": told.metadata["run_api_calls"].value,
        # A response is of one coin, and one can have all that is asked for here.
        "fewest_calls": coins,
    }


def _run(
    job: dg.JobDefinition, keys: Sequence[str], selected: Sequence[dg.AssetKey] = ()
) -> tuple[Said, dg.ExecuteInProcessResult]:
    tags = {
        "dagster/asset_partition_range_start": keys[0],
        "dagster/asset_partition_range_end": keys[-1],
    }
    one = len(set(keys)) == 1
    with dg.DagsterInstance.get() as instance:
        began = time.perf_counter()
        result = job.execute_in_process(
            instance=instance,
            run_config=_QUIET,
            tags={} if one else tags,
            partition_key=keys[0] if one else None,
            asset_selection=list(selected) or None,
        )
        took = time.perf_counter() - began
        ended = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
    # Ours are called after their stream and their stage.
    steps = {(event.step_key or "").rpartition("__")[2]: event for event in ended}
    durations = {
        name: event.get_dagster_event().step_success_data.duration_ms / 1000
        for name, event in steps.items()
    }
    return {
        "run": took,
        "stages": {name: durations[name] for name in _STAGES if name in durations},
        # When the rows stood in the warehouse.
        "loaded_at": steps[_STAGES[-1]].timestamp if _STAGES[-1] in steps else None,
    }, result


def _today() -> Any:
    return datetime.now(UTC).date()


def _midnight(day: Any) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


PROBES: dict[str, Callable[..., Said]] = {
    probe.__name__: probe
    for probe in (historical, ingestion, tick, empty, duckdb, definitions, dagster)
}


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    print(json.dumps(PROBES[name](*(int(a) if a.isdigit() else a for a in arguments))))
