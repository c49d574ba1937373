"""What the objects of a deployment are called in a Snowflake account."""

from dataclasses import asdict, dataclass

from crypto_platform.core.settings import Settings

SCHEMA = "TRANSFORMED"
"""The schema, which has this name in every deployment: the scripts qualify all with it, and DuckDB
has it too."""


@dataclass(frozen=True)
class SnowflakeNames:
    """The names that ``snowflake_scripts`` are given, each an identifier without quotes.

    All follow from the database's, so that two deployments in one account, as production and
    staging, share nothing: no role writes in both, and no warehouse is paid for by both. What the
    settings say of role and warehouse is only what to log in with.

    Attributes:
        database: The database.
        warehouse: The virtual warehouse.
        loader: The role that writes rows.
        reader: The role that reads.
        service_user: The user that the platform logs in as.
        monitor: The resource monitor of the warehouse.
        integration: The storage integration that reads the lake.
    """

    database: str
    warehouse: str
    loader: str
    reader: str
    service_user: str
    monitor: str
    integration: str

    @classmethod
    def of(cls, settings: Settings) -> "SnowflakeNames":
        """The names for the database of the settings.

        Args:
            settings: The platform's settings, which take only an identifier for a database.
        """
        stem = settings.snowflake_database.removesuffix("_DB")
        return cls(
            database=settings.snowflake_database,
            warehouse=f"{stem}_WH",
            loader=f"{stem}_LOADER",
            reader=f"{stem}_READER",
            service_user=f"{stem}_SERVICE",
            monitor=f"{stem}_MONITOR",
            integration=f"{stem}_LAKE",
        )

    def variables(self) -> dict[str, str]:
        """Each name under what the scripts call it in ``&{…}``."""
        return asdict(self)
