"""One range backfill in this process; prints what it took as a line of JSON."""

import json
import os
import resource
import sys
import time
from datetime import UTC, datetime, timedelta

import dagster as dg

from crypto_platform.definitions import build_definitions
from crypto_platform.settings import Settings
from crypto_platform.streams import HISTORICAL


def main(coins: int, days: int) -> None:
    """Backfill the last ``days`` days of ``coins`` coins as one run."""
    os.environ |= {"COINGECKO_PLAN": "pro", "COINGECKO_CALLS_A_MINUTE": "1000000"}
    first = datetime.now(UTC).date() - timedelta(days=days)
    settings = Settings.from_environment(
        {**os.environ, "TRACKED_COINS": f"top:{coins}", "HISTORY_START": str(first)}
    )
    job = build_definitions(settings).resolve_job_def(HISTORICAL.name)
    began = time.perf_counter()
    result = job.execute_in_process(
        run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        tags={
            "dagster/asset_partition_range_start": str(first),
            "dagster/asset_partition_range_end": str(first + timedelta(days=days - 1)),
        },
    )
    wall = time.perf_counter() - began
    stages = {
        key.partition("__")[2]: event.step_success_data.duration_ms / 1000
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.STEP_SUCCESS
        and "__" in (key := event.step_key or "")
    }
    answered = result.asset_materializations_for_node("historical__raw_prices")[0]
    print(
        json.dumps(
            {
                "stages": stages,
                "wall": wall,
                "rows": coins * days,
                "calls": answered.metadata["run_api_calls"].value,
                "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
