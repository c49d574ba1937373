"""The choice of a profile: the one place that knows what stands behind each seam."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crypto_platform.resources.alerts import LocalOutbox, SnsTopic
from crypto_platform.resources.duckdb_warehouse import DuckDBWarehouse
from crypto_platform.resources.glue_transform import GlueTransform
from crypto_platform.resources.ingestion import LambdaIngestion, LocalIngestion
from crypto_platform.resources.lake import Lake
from crypto_platform.resources.snowflake_warehouse import snowflake_warehouse
from crypto_platform.resources.transform import LocalTransform
from crypto_platform.settings import Settings
from crypto_platform.streams import HISTORICAL, INTRA_DAY


@dataclass(frozen=True)
class Profile:
    """Where the platform runs.

    Attributes:
        resources: The resources for some settings, by the names that the assets ask for.
        ingestion_kinds: What ingestion runs on and writes, as the asset graph shows it.
        transform_kinds: The same of the transformation.
        warehouse_kinds: The same of the load.
    """

    resources: Callable[[Settings], dict[str, Any]]
    ingestion_kinds: frozenset[str]
    transform_kinds: frozenset[str]
    warehouse_kinds: frozenset[str]


def _on_a_laptop(settings: Settings) -> dict[str, Any]:
    home = settings.home.absolute()
    return {
        "alerts": LocalOutbox(
            path=str(home / "alerts" / "outbox.jsonl"), state_root=str(home / "alerts")
        ),
        "ingestion": LocalIngestion(),
        "lake": Lake(raw_root=str(home / "raw"), transformed_root=str(home / "transformed")),
        "transform": LocalTransform(engine=settings.spark, cache_folder=str(home / "cache")),
        "warehouse": DuckDBWarehouse(path=str(home / "crypto_db.duckdb")),
    }


def _on_aws(settings: Settings) -> dict[str, Any]:
    jobs = {
        HISTORICAL.job: settings.historical_glue_job,
        INTRA_DAY.job: settings.intra_day_glue_job,
    }
    return {
        "alerts": SnsTopic(
            topic=settings.alerts_topic,
            region=settings.aws_region,
            state_root=f"s3://{settings.raw_bucket}/alerts",
        ),
        "ingestion": LambdaIngestion(
            function_name=settings.ingestion_function, region=settings.aws_region
        ),
        "lake": Lake(
            raw_root=f"s3://{settings.raw_bucket}",
            transformed_root=f"s3://{settings.transformed_bucket}",
        ),
        "transform": GlueTransform(jobs=jobs, region=settings.aws_region),
        "warehouse": snowflake_warehouse(settings),
    }


PROFILES = {
    "local": Profile(
        resources=_on_a_laptop,
        ingestion_kinds=frozenset({"python", "json"}),
        transform_kinds=frozenset({"pyspark", "parquet"}),
        warehouse_kinds=frozenset({"duckdb", "table"}),
    ),
    "aws": Profile(
        resources=_on_aws,
        ingestion_kinds=frozenset({"lambda", "s3"}),
        transform_kinds=frozenset({"glue", "pyspark", "s3"}),
        warehouse_kinds=frozenset({"snowflake", "table"}),
    ),
}
