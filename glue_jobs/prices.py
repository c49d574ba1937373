"""Raw price records to one row an observation: pure functions from DataFrame to DataFrame.

A raw record is one coin in one window, with the API's three arrays of ``[milliseconds, value]``
pairs. The arrays differ in length and in their timestamps, so they are joined by timestamp, as a
full outer join. The join happens within the record: nothing is shuffled, however long the range.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

SERIES = {"prices": "price", "market_caps": "market_cap", "total_volumes": "total_volume"}
"""The API's arrays, and the columns they become."""

RAW_SCHEMA = """
    coin_id string, vs_currency string, window_start timestamp, window_end timestamp,
    granularity string, fetched_at timestamp, source string, run_id string,
    prices array<array<double>>, market_caps array<array<double>>,
    total_volumes array<array<double>>
"""

COLUMNS = (
    "coin_id",
    "vs_currency",
    "window_start",
    "price_at",
    *SERIES.values(),
    "granularity",
    "fetched_at",
    "source",
    "run_id",
)


def observations(raw: DataFrame, grain: int) -> DataFrame:
    """The prices that count, one row a coin a ``grain``.

    Args:
        raw: Raw records, of ``RAW_SCHEMA``; one a coin a window.
        grain: What ``price_at`` is floored to, in milliseconds from the start of the record's
            window. Of several prices that fall together the earliest wins; of several at one
            timestamp the API's first.

    Returns:
        ``COLUMNS``. Values are the API's, to the bit: a null or zero cap or volume stays as given.
    """
    buckets = sf.array_distinct(sf.transform("good", lambda stamp: _floor(stamp, grain)))
    earliest = sf.array_min(
        sf.filter("good", lambda stamp: _floor(stamp, grain) == sf.col("bucket")),
    )
    return (
        _with_stamps(raw)
        .withColumn("bucket", sf.explode(buckets))
        .withColumn("stamp", earliest)
        .withColumn("price_at", _timestamp("bucket"))
        .withColumns(_values_at_stamp())
        .select(*COLUMNS)
    )


def rejections(raw: DataFrame, grain: int) -> DataFrame:
    """What ``observations`` leaves out, one row a coin a timestamp, with the reason.

    A later price of the same ``grain`` is not among them: it is folded, not wrong.

    Args:
        raw: Raw records, of ``RAW_SCHEMA``; one a coin a window.
        grain: As for ``observations``.

    Returns:
        ``COLUMNS``, then ``stamp``, the API's timestamp in milliseconds, and ``reason``, a
        sentence. ``price_at`` is null where the timestamp is outside the record's window.
    """
    bad = sf.filter("stamps", lambda s: s.isNull() | ~sf.array_contains("good", s))
    stamp = sf.col("stamp")
    reason = (
        sf.when(stamp.isNull(), "The point has no timestamp.")
        .when(~_inside(stamp), "The timestamp is outside the record's window.")
        .when(sf.array_contains("unpriced", stamp), "The price is null.")
        .when(sf.array_contains("worthless", stamp), "The price is not a positive number.")
        .otherwise("There is a market cap or a volume, but no price.")
    )
    return (
        _with_stamps(raw)
        .withColumn("stamp", sf.explode(bad))
        .withColumn("bucket", sf.when(_inside(stamp), _floor(stamp, grain)))
        .withColumn("price_at", _timestamp("bucket"))
        .withColumns(_values_at_stamp())
        .withColumn("reason", reason)
        .select(*COLUMNS, "stamp", "reason")
    )


def _with_stamps(raw: DataFrame) -> DataFrame:
    """Add what timestamps a record has, and take points that are no price out of ``prices``.

    The columns added are arrays of timestamps: ``stamps`` of all three series, ``unpriced`` of the
    null prices, ``worthless`` of those that no coin can have, and ``good`` of the prices inside the
    window.
    """
    empty = sf.array().cast("array<array<double>>")
    stamps = sf.array_distinct(sf.concat(*[_stamps(series) for series in SERIES]))
    unpriced = sf.filter("prices", lambda point: sf.get(point, sf.lit(1)).isNull())
    worthless = sf.filter("prices", lambda point: ~_is_price(sf.get(point, sf.lit(1))))
    # What is no price must not hide another price at the same timestamp.
    priced = sf.filter("prices", lambda point: _is_price(sf.get(point, sf.lit(1))))
    return (
        raw.withColumns({series: sf.coalesce(series, empty) for series in SERIES})
        .withColumns(
            {
                "stamps": stamps,
                "unpriced": _stamps(unpriced),
                "worthless": _stamps(worthless),
                "prices": priced,
            }
        )
        .withColumn("good", sf.filter(_stamps("prices"), _inside))
    )


def _is_price(value: Column) -> Column:
    """Whether a value is positive and finite; null of a null. NaN is more than infinity here."""
    return (value > 0) & (value < sf.lit(float("inf")))


def _values_at_stamp() -> dict[str, Column]:
    return {column: _value_at_stamp(series) for series, column in SERIES.items()}


def _value_at_stamp(series: str) -> Column:
    """The first value that a series has at the row's ``stamp``."""
    points = sf.filter(
        series,
        lambda point: sf.get(point, sf.lit(0)).eqNullSafe(sf.col("stamp")),
    )
    return sf.get(sf.get(points, sf.lit(0)), sf.lit(1))


def _stamps(series: str | Column) -> Column:
    return sf.transform(series, lambda point: sf.get(point, sf.lit(0)))


def _inside(stamp: Column) -> Column:
    return (stamp >= sf.unix_millis("window_start")) & (stamp < sf.unix_millis("window_end"))


def _floor(stamp: Column, grain: int) -> Column:
    # From the window's start, as not every grain is aligned to the epoch: weeks begin on Monday.
    return stamp - (stamp - sf.unix_millis("window_start")) % sf.lit(grain)


def _timestamp(milliseconds: str) -> Column:
    return sf.timestamp_millis(sf.col(milliseconds).cast("long"))
