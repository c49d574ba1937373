"""The choice of a profile: the one place that knows what stands behind each seam."""

from dataclasses import dataclass
from typing import Any

from crypto_platform.resources.ingestion import LocalIngestion
from crypto_platform.resources.lake import Lake
from crypto_platform.resources.transform import LocalTransform
from crypto_platform.resources.warehouse import DuckDBWarehouse
from crypto_platform.settings import Settings, SettingsError


@dataclass(frozen=True)
class Kinds:
    """What the stages of a profile run on and write, as the asset graph shows it."""

    ingestion: tuple[str, ...]
    transform: tuple[str, ...]
    warehouse: tuple[str, ...]


KINDS = {
    "local": Kinds(("python", "json"), ("pyspark", "parquet"), ("duckdb", "table")),
    "aws": Kinds(("lambda", "s3", "json"), ("glue", "s3", "parquet"), ("snowflake", "table")),
}


def build_resources(settings: Settings) -> dict[str, Any]:
    """The resources of a profile, by the names that the assets ask for.

    Raises:
        SettingsError: The profile is not part of this version.
    """
    if settings.profile != "local":
        raise SettingsError(
            f"CRYPTO_PROFILE={settings.profile} is not part of this version yet; "
            "unset it, or set it to local."
        )
    home = settings.home.absolute()
    return {
        "ingestion": LocalIngestion(),
        "lake": Lake(raw_root=str(home / "raw"), transformed_root=str(home / "transformed")),
        "transform": LocalTransform(engine=settings.spark, cache_folder=str(home / "cache")),
        "warehouse": DuckDBWarehouse(path=str(home / "crypto_db.duckdb")),
    }
