"""Raw market snapshots to rows: pure functions from DataFrame to DataFrame."""

from functools import reduce
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, Window
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


REQUIRED = ("coin_id", "vs_currency", "observed_at", "window_start", "source")
"""What a row cannot be without."""

SCHEMA = ", ".join(f"{one.name} {one.type}" for one in COLUMNS)
"""Schema of the rows."""

# As JSON writes them, so that what one engine takes for a number beside ("NaN", "5d") is none.
_NUMBER = r"^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?$"
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(Z|[+-][0-9:]{5})$"
_LARGEST_INT = 2**31 - 1


def snapshots(raw: DataFrame) -> DataFrame:
    """Market snapshots, one row a coin a window: of several snapshots the first counts.

    A value that is not of its column's type is null, unless it is a text of just such a value: it
    costs neither its row nor the others. A snapshot with such a value gives way to a later one
    without. A coin whose rank changes between two pages of one response is on both: the fresher
    entry wins.

    Args:
        raw: The raw records as they stand, a line of JSON in ``value``. A reader of JSON would give
            up a whole file, and with it a run, for one value of another type.

    Returns:
        ``COLUMNS``. Values are the API's, to the bit.
    """
    whole_then_first_then_freshest = Window.partitionBy(
        "coin_id", "vs_currency", "window_start"
    ).orderBy(
        "faults",
        "observed_at",
        sf.col("last_updated").desc_nulls_last(),
        sf.col("rank").asc_nulls_last(),
        "run_id",
    )
    texts = raw.select(
        *(sf.get_json_object("value", f"$.{one.source}").alias(one.name) for one in COLUMNS)
    )
    faults = (
        sf.when(sf.col(one.name).isNotNull() & _value(one).isNull(), 1).otherwise(0)
        for one in COLUMNS
    )
    values = texts.select(
        *(_value(one).alias(one.name) for one in COLUMNS),
        reduce(lambda one, other: one + other, faults).alias("faults"),
    )
    return (
        values.where(" AND ".join(f"{name} IS NOT NULL" for name in REQUIRED))
        .withColumn("place", sf.row_number().over(whole_then_first_then_freshest))
        .where("place = 1")
        .select(*(one.name for one in COLUMNS))
    )


def _value(column: SnapshotColumn) -> Column:
    """The value of a text; null for what is none of the column's type."""
    text = sf.col(column.name)
    if column.type == "string":
        return text
    if column.type == "timestamp":
        moment = sf.when(text.rlike(_MOMENT), text)
        return sf.try_to_timestamp(moment)
    number = sf.when(text.rlike(_NUMBER), text).cast("double")
    number = sf.when(sf.abs(number) < sf.lit(float("inf")), number)
    if column.type == "double":
        return number
    whole = (number == sf.floor(number)) & (sf.abs(number) <= _LARGEST_INT)
    return sf.when(whole, number).cast(column.type)
