"""Raw market snapshots to rows: pure functions from DataFrame to DataFrame."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as sf

MARKET = {
    "current_price": "double",
    "market_cap": "double",
    "total_volume": "double",
    "high_24h": "double",
    "low_24h": "double",
    "price_change_24h": "double",
    "price_change_percentage_24h": "double",
    "circulating_supply": "double",
    "total_supply": "double",
    "max_supply": "double",
    "fully_diluted_valuation": "double",
    "ath": "double",
    "ath_date": "timestamp",
    "atl": "double",
    "atl_date": "timestamp",
    "last_updated": "timestamp",
}
"""What is taken of the API's market object as it is, with its type."""

RAW_SCHEMA = f"""
    coin_id string, vs_currency string, observed_at timestamp, window_start timestamp,
    source string, run_id string,
    market struct<market_cap_rank: double, {", ".join(f"{k}: {v}" for k, v in MARKET.items())}>
"""

COLUMNS = (
    "coin_id",
    "vs_currency",
    "observed_at",
    "window_start",
    "rank",
    *MARKET,
    "source",
    "run_id",
)


def snapshots(raw: DataFrame) -> DataFrame:
    """Market snapshots, one row a coin an ``observed_at``.

    A coin whose rank changes between two pages of one answer is on both: the fresher entry wins.

    Args:
        raw: Raw records, of ``RAW_SCHEMA``.

    Returns:
        ``COLUMNS``. Values are the API's, to the bit.
    """
    freshest_first = Window.partitionBy("coin_id", "vs_currency", "observed_at").orderBy(
        sf.col("last_updated").desc_nulls_last(),
        sf.col("rank").asc_nulls_last(),
    )
    return (
        raw.select("*", "market.*")
        .withColumn("rank", sf.col("market_cap_rank").cast("int"))
        .withColumn("place", sf.row_number().over(freshest_first))
        .where("place = 1")
        .select(*COLUMNS)
    )
