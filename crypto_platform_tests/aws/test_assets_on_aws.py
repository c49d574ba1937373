"""The same assets on AWS: the real zip and the real scripts behind them, S3 between them."""

import io
from collections.abc import Callable

import dagster as dg
import pyarrow.parquet as pq
import pytest

from crypto_platform.definitions import build_definitions
from crypto_platform.resources.lake import Lake
from crypto_platform.settings import Settings
from crypto_platform.simulated_market import SimulatedMarket
from crypto_platform.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform_tests.aws.account import RAW_BUCKET, TRANSFORMED_BUCKET, keys
from crypto_platform_tests.aws.conftest import FUNCTION
from crypto_platform_tests.aws.glue_runs import GlueRuns
from crypto_platform_tests.test_end_to_end import newest_keys

pytestmark = pytest.mark.integration


@pytest.fixture
def materialize(
    deploy: Callable[..., None],
    glue_runs: GlueRuns,  # noqa: ARG001 - the jobs have to be there
    market: SimulatedMarket,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Stream, list[str]], dg.ExecuteInProcessResult]:
    """Materializes the two stages of a stream that write to S3."""
    deploy({"COINGECKO_BASE_URL": market.base_url, "COINGECKO_PLAN": "pro"})
    monkeypatch.setenv("COINGECKO_PLAN", "pro")
    monkeypatch.setenv("COINGECKO_BASE_URL", market.base_url)
    settings = Settings.from_environment(
        {
            "CRYPTO_PROFILE": "aws",
            "TRACKED_COINS": "bitcoin,ethereum",
            "INGESTION_FUNCTION": FUNCTION,
            "HISTORICAL_GLUE_JOB": f"the-{HISTORICAL.job}",
            "INTRA_DAY_GLUE_JOB": f"the-{INTRA_DAY.job}",
            "SNOWFLAKE_ACCOUNT": "not-asked",
            "SNOWFLAKE_USER": "not-asked",
            "SNOWFLAKE_PRIVATE_KEY_PATH": "/not/read",
        }
    )

    def run(stream: Stream, partitions: list[str]) -> dg.ExecuteInProcessResult:
        return (
            build_definitions(settings)
            .resolve_job_def(stream.name)
            .execute_in_process(
                asset_selection=[
                    dg.AssetKey([stream.name, stage])
                    for stage in ("raw_prices", "transformed_prices")
                ],
                tags={
                    "dagster/asset_partition_range_start": partitions[0],
                    "dagster/asset_partition_range_end": partitions[-1],
                },
                run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            )
        )

    return run


@pytest.mark.parametrize(("stream", "windows"), [(HISTORICAL, 3), (INTRA_DAY, 1)])
def test_a_range_ends_as_parquet_that_manifests_in_the_bucket_name(
    stream: Stream,
    windows: int,
    materialize: Callable[[Stream, list[str]], dg.ExecuteInProcessResult],
) -> None:
    partitions = newest_keys(stream, windows)

    result = materialize(stream, partitions)

    lake = Lake(raw_root=f"s3://{RAW_BUCKET}", transformed_root=f"s3://{TRANSFORMED_BUCKET}")
    manifests = lake.transformed.manifests(stream, [stream.window(key) for key in partitions])
    assert result.success
    for manifest in manifests:
        (file,) = manifest.files_of("prices")
        table = pq.read_table(io.BytesIO(lake.transformed.read(file.path) or b""))
        assert set(table["coin_id"].to_pylist()) == {"bitcoin", "ethereum"}
        assert table.num_rows == manifest.points == file.rows
    assert not [key for key in keys(TRANSFORMED_BUCKET) if key.startswith("work_orders/")]
