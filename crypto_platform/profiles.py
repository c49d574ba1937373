"""The choice of a profile: the one place that chooses what stands behind each seam."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crypto_platform.alerts.channels import FileChannel, SnsTopic
from crypto_platform.alerts.dead_man import CloudWatchMetric, NoSignOfLife
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.ingestion.aws_lambda import LambdaIngestion
from crypto_platform.ingestion.resource import LocalIngestion
from crypto_platform.lake.layers import Lake
from crypto_platform.transformation.glue import GlueTransform
from crypto_platform.transformation.local import LocalTransform
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.snowflake import snowflake_warehouse


@dataclass(frozen=True)
class Profile:
    """Where the platform runs.

    Attributes:
        builders: What makes each resource from the settings, by the name that the assets ask for.
        ingestion_kinds: What ingestion runs on and writes, as the asset graph shows it.
        transform_kinds: The same of the transformation.
        warehouse_kinds: The same of the load.
    """

    builders: Mapping[str, Callable[[Settings], Any]]
    ingestion_kinds: frozenset[str]
    transform_kinds: frozenset[str]
    warehouse_kinds: frozenset[str]

    def resources(self, settings: Settings) -> dict[str, Any]:
        """All resources for some settings, by the names that the assets ask for.

        Raises:
            SettingsError: A setting that one of them needs is missing.
        """
        return {name: build(settings) for name, build in self.builders.items()}


def _home(settings: Settings) -> Path:
    return settings.home.absolute()


PROFILES = {
    "local": Profile(
        builders={
            "alerts": lambda settings: FileChannel(
                path=str(_home(settings) / "alerts" / "outbox.jsonl"),
                state_root=str(_home(settings) / "alerts"),
            ),
            "ingestion": lambda _: LocalIngestion(),
            "lake": lambda settings: Lake(
                raw_root=str(_home(settings) / "raw"),
                transformed_root=str(_home(settings) / "transformed"),
            ),
            "sign_of_life": lambda _: NoSignOfLife(),
            "transform": lambda settings: LocalTransform(
                engine=settings.spark, cache_folder=str(_home(settings) / "cache")
            ),
            "warehouse": lambda settings: DuckDBWarehouse(
                path=str(_home(settings) / "crypto_db.duckdb"),
                cache_folder=str(_home(settings) / "cache" / "sql"),
            ),
        },
        ingestion_kinds=frozenset({"python", "json"}),
        transform_kinds=frozenset({"pyspark", "parquet"}),
        warehouse_kinds=frozenset({"duckdb", "table"}),
    ),
    "aws": Profile(
        builders={
            "alerts": lambda settings: SnsTopic(
                topic=settings.alerts_topic,
                region=settings.aws_region,
                state_root=f"s3://{settings.raw_bucket}/alerts",
            ),
            "ingestion": lambda settings: LambdaIngestion(
                function_name=settings.ingestion_function, region=settings.aws_region
            ),
            "lake": lambda settings: Lake(
                raw_root=f"s3://{settings.raw_bucket}",
                transformed_root=f"s3://{settings.transformed_bucket}",
            ),
            "sign_of_life": lambda settings: CloudWatchMetric(
                region=settings.aws_region, deployment=settings.deployment
            ),
            "transform": lambda settings: GlueTransform(
                jobs={
                    HISTORICAL.job: settings.historical_glue_job,
                    INTRA_DAY.job: settings.intra_day_glue_job,
                },
                region=settings.aws_region,
                log_group=settings.glue_log_group,
            ),
            "warehouse": snowflake_warehouse,
        },
        ingestion_kinds=frozenset({"lambda", "s3"}),
        transform_kinds=frozenset({"glue", "pyspark", "s3"}),
        warehouse_kinds=frozenset({"snowflake", "table"}),
    ),
}
