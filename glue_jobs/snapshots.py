"""Raw market snapshots to rows: pure functions from DataFrame to DataFrame."""

from typing import NamedTuple

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as sf


class SnapshotColumn(NamedTuple):
    """A column of the rows.

    Attributes:
        name: As the warehouse names it.
        type: As Spark names it.
        source: The field of the raw record; ``market.`` stands before one of the API's own object.
    """

    name: str
    type: str
    source: str


COLUMNS = (
    SnapshotColumn("coin_id", "string", "coin_id"),
    SnapshotColumn("vs_currency", "string", "vs_currency"),
    SnapshotColumn("observed_at", "timestamp", "observed_at"),
    SnapshotColumn("window_start", "timestamp", "window_start"),
    SnapshotColumn("rank", "int", "market.market_cap_rank"),
    SnapshotColumn("current_price", "double", "market.current_price"),
    SnapshotColumn("market_cap", "double", "market.market_cap"),
    SnapshotColumn("total_volume", "double", "market.total_volume"),
    SnapshotColumn("high_24h", "double", "market.high_24h"),
    SnapshotColumn("low_24h", "double", "market.low_24h"),
    SnapshotColumn("price_change_24h", "double", "market.price_change_24h"),
    SnapshotColumn("price_change_percentage_24h", "double", "market.price_change_percentage_24h"),
    SnapshotColumn("circulating_supply", "double", "market.circulating_supply"),
    SnapshotColumn("total_supply", "double", "market.total_supply"),
    SnapshotColumn("max_supply", "double", "market.max_supply"),
    SnapshotColumn("fully_diluted_valuation", "double", "market.fully_diluted_valuation"),
    SnapshotColumn("ath", "double", "market.ath"),
    SnapshotColumn("ath_date", "timestamp", "market.ath_date"),
    SnapshotColumn("atl", "double", "market.atl"),
    SnapshotColumn("atl_date", "timestamp", "market.atl_date"),
    SnapshotColumn("last_updated", "timestamp", "market.last_updated"),
    SnapshotColumn("source", "string", "source"),
    SnapshotColumn("run_id", "string", "run_id"),
)
"""All columns of the rows, in their order: a field that is added here is read and written, and
loaded once its column stands in ``snowflake_scripts/1_creation_tables.sql``."""


def _raw_schema() -> str:
    # A whole number may come as 1.0, which read as an integer is null on one engine and 1 on the
    # other: integers are read as doubles.
    fields = [(one.source, {"int": "double"}.get(one.type, one.type)) for one in COLUMNS]
    record = [f"{field} {kind}" for field, kind in fields if not field.startswith("market.")]
    market = [
        f"{field.removeprefix('market.')}: {kind}"
        for field, kind in fields
        if field.startswith("market.")
    ]
    return f"{', '.join(record)}, market struct<{', '.join(market)}>"


RAW_SCHEMA = _raw_schema()


SCHEMA = ", ".join(f"{one.name} {one.type}" for one in COLUMNS)
"""Schema of the rows."""


def snapshots(raw: DataFrame) -> DataFrame:
    """Market snapshots, one row a coin a window: of several snapshots the first counts.

    A coin whose rank changes between two pages of one response is on both: the fresher entry wins.

    Args:
        raw: Raw records, of ``RAW_SCHEMA``.

    Returns:
        ``COLUMNS``. Values are the API's, to the bit.
    """
    first_then_freshest = Window.partitionBy("coin_id", "vs_currency", "window_start").orderBy(
        "observed_at",
        sf.col("last_updated").desc_nulls_last(),
        sf.col("rank").asc_nulls_last(),
        "run_id",
    )
    return (
        raw.select(*[sf.col(one.source).cast(one.type).alias(one.name) for one in COLUMNS])
        .withColumn("place", sf.row_number().over(first_then_freshest))
        .where("place = 1")
        .drop("place")
    )
