"""The platform on a real account: the basics, and one partition of each stream end to end.

    CRYPTO_PROFILE=aws pytest -m live

It needs the stack deployed, credentials for it, and a log-in to Snowflake, from the environment;
what is not there is skipped with the reason. It sends one message to the topic, asks the price API
a few times, and materializes partitions for good: all of it is what the platform does anyway.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.definitions import build_definitions
from crypto_platform.doctor.preflight import Preflight, PreflightResult
from crypto_platform_tests.conftest import STAGES, Platform

pytestmark = pytest.mark.live


@pytest.mark.parametrize(
    "check",
    [
        "variables",
        "AWS account",
        "stack",
        "function",
        "price API",
        "raw bucket",
        "transformed bucket",
        "raw layout",
        "transformed layout",
        "raw manifests",
        "transformed manifests",
        "historical Glue job",
        "intra_day Glue job",
        "alerts topic",
        "Snowflake login",
        "Snowflake tables",
        "Snowflake stage",
        "Snowflake pipes",
        "Snowflake limits",
        "alerts delivered",
    ],
)
def test_the_doctor_finds_nothing_wrong_with(
    check: str, results: Mapping[str, PreflightResult]
) -> None:
    result = results[check]
    if result.status == "skipped":
        pytest.skip(result.found)
    assert result.status == "passed", f"{result.found} {result.what_to_do}"


@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY], ids=lambda stream: stream.name)
def test_the_jobs_are_defined_as_the_platform_needs_them(
    stream: Stream, environment: Mapping[str, str]
) -> None:
    transform = Preflight(environment).resource("transform")

    job = transform._client.get_job(JobName=transform.jobs[stream.job])["Job"]  # noqa: SLF001

    assert (job["GlueVersion"], job["WorkerType"], job["NumberOfWorkers"]) == ("5.1", "G.1X", 2)
    # Another try of Glue's own would write every row twice.
    assert job.get("MaxRetries", 0) == 0
    assert job["Timeout"] * 60 < transform.patience


def test_what_the_function_refuses_is_reported_in_its_own_words(
    environment: Mapping[str, str],
) -> None:
    ingestion = Preflight(environment).resource("ingestion")

    with pytest.raises(PermanentFailure, match="must be one of") as failure:
        ingestion.invoke({"action": "dance"})

    assert "log_tail" in failure.value.metadata


@pytest.mark.parametrize("stream", [HISTORICAL, INTRA_DAY], ids=lambda stream: stream.name)
def test_a_partition_goes_all_the_way_and_again_without_a_change(
    stream: Stream, with_snowflake: Mapping[str, str]
) -> None:
    settings = Settings.from_environment(with_snowflake)
    platform = Platform(build_definitions(settings), settings.home)
    now = datetime.now(UTC)
    # The newest window has just closed, or is being loaded by the schedule.
    partition = list(stream.partitions(now - timedelta(days=5)).get_partition_keys())[-2]
    window = stream.window(partition)

    def existing() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (
            Preflight(with_snowflake)
            .resource("warehouse")
            .query(
                f"SELECT coin_id, price_at, price, market_cap, total_volume FROM {stream.table} "
                f"WHERE price_at >= '{window.start:%Y-%m-%d %H:%M:%S}' "
                f"AND price_at < '{window.end:%Y-%m-%d %H:%M:%S}' ORDER BY coin_id, price_at"
            )
        )
        return rows

    first = platform.materialize(stream, partition, stages=("tracked_coins", *STAGES))
    once = existing()
    second = platform.materialize(stream, partition, stages=STAGES)

    assert first.success
    assert second.success
    lake = Preflight(with_snowflake).lake
    (manifest,) = lake.transformed.manifests(stream, [window])
    assert len(once) == manifest.points > 0
    assert existing() == once
