"""Raw price records to one row an observation: a pure function from DataFrame to DataFrame.

A raw record is what one answer of the API says of a coin in a stretch of windows: three arrays of
``[milliseconds, value]`` pairs, which differ in length and in their timestamps. Several answers may
say something of one timestamp. They are joined by it, series by series and the newest first, so
that no answer hides what only another one knows.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

SERIES = {"prices": "price", "market_caps": "market_cap", "total_volumes": "total_volume"}
"""The API's arrays, and the columns they become."""

SPACINGS = {"daily": 86_400_000, "hourly": 3_600_000, "5-minute": 300_000}
"""Milliseconds from one observation to the next by granularity, from the coarsest to the finest."""

ON_TIME = 7_200_000
"""How many milliseconds after the moment that it is floored to an observation still stands for it:
two hours. A price of the evening is none of midnight."""

FAULTS = "array<struct<series: string, stamp: double, value: string>>"

RAW_SCHEMA = f"""
    coin_id string, vs_currency string, window_start timestamp, window_end timestamp,
    granularity string, fetched_at timestamp, source string, run_id string,
    prices array<array<double>>, market_caps array<array<double>>,
    total_volumes array<array<double>>, faults {FAULTS}
"""
"""Schema of raw records; those of a version that knew no faults have none."""

SCHEMA = """
    coin_id string, vs_currency string, window_start timestamp, price_at timestamp,
    stamped_at timestamp, price double, market_cap double, total_volume double, granularity string,
    fetched_at timestamp, source string, run_id string, stamp double, reason string
"""
"""Schema of the rows; a row with a reason is a rejected one."""

COLUMNS = tuple(column.split()[0] for column in SCHEMA.split(","))

COIN = ("coin_id", "vs_currency")

RECORD = (
    *(*COIN, "window_start", "window_end"),
    *("granularity", "fetched_at", "source", "run_id"),
)

# As they are compared, of which the greatest comes first.
POINT = (
    *("fetched_at", "run_id", "nearness", "good", "market_cap", "total_volume"),
    *("fault", "granularity", "source"),
)

NO_STAMP = "The point has no timestamp."
OUTSIDE = "The timestamp is outside the record's window."
NULL_PRICE = "The price is null."
WORTHLESS = "The price is not a positive number."
NO_PRICE = "There is a market cap or a volume, but no price."

SHOWN = 60
"""How many characters of what stands in place of a number are in a reason."""


def observations(raw: DataFrame, grain: int, window_length: int, window_anchor: int) -> DataFrame:
    """Every observation that counts, and every timestamp that is rejected.

    At one timestamp, series by series, the newest value that is not null counts; for a price, the
    newest that is positive and finite. A row names the oldest answer that gave its very price, so
    that hearing the same again changes nothing. Of several observations that fall together by
    ``grain`` the earliest counts. Of coarser and finer ones side by side the finer count: a coarser
    one gives way where a finer one of its window is nearer than half its spacing, see ``SPACINGS``.
    What gives way is not among the rows. Neither the order of records nor that of points matters,
    but for points of one record at one timestamp, whose first counts.

    Args:
        raw: Raw records, of ``RAW_SCHEMA``: all answers on each of the windows. The newest answer
            is the one with the latest ``fetched_at``, then the last ``run_id``.
        grain: What ``price_at`` is floored to, in milliseconds from the start of the window, where
            the stamp is at most ``ON_TIME`` later; else ``price_at`` is the stamp's own moment.
        window_length: Length of a window, in milliseconds.
        window_anchor: Start of any window, in milliseconds since 1970.

    Returns:
        Rows of ``SCHEMA``: ``stamp`` is the API's timestamp in milliseconds, ``stamped_at`` the
        same as a moment, ``reason`` a sentence where the row is rejected, else null.
        ``window_start`` is that of the window that the stamp lies in. A stamp outside of its
        record's windows is rejected, with a null ``price_at`` and the record's ``window_start``.
        Values are the API's, to the bit.
    """
    rows = _placed(_resolved(_points(raw)), grain, window_length, window_anchor)
    by_time = Window.partitionBy(*COIN, "reason").orderBy("stamp", "window_start")
    rows = rows.withColumn("previous", sf.lag("at").over(by_time)).where(
        "reason IS NOT NULL OR previous IS NULL OR previous != at"
    )
    # Where a window is one row there is nothing side by side.
    rows = rows if grain >= window_length else _without_superseded(rows)
    return rows.select(*COLUMNS)


def _points(raw: DataFrame) -> DataFrame:
    """One row a point, or one for the three points at one place that have the same stamp.

    The columns are those of the record; ``stamp``; ``outside_of``, the record's window where the
    stamp is outside of it, else null; ``nearness``, which is the greater the nearer a point is to
    the beginning of its array; the three values; ``good``, the price if it can be one; ``fault``,
    why not, where the point is one of the prices; and ``odd``, which is null but in rows of their
    own: one for each of the record's faults that no row of a price tells.
    """
    arrays = {**dict.fromkeys(SERIES, "array<array<double>>"), "faults": FAULTS}
    empty = {name: sf.array().cast(kind) for name, kind in arrays.items()}
    places = (
        raw.where("window_start IS NOT NULL AND window_end IS NOT NULL")
        .withColumns({name: sf.coalesce(name, empty[name]) for name in arrays})
        .withColumns({f"{name}_size": sf.size(name) for name in arrays})
        .select(
            *RECORD,
            *(f"{name}_size" for name in arrays),
            "faults",
            sf.posexplode(sf.arrays_zip(*arrays)).alias("place", "points"),
        )
    )

    def part(series: str, index: int) -> Column:
        return sf.get(sf.col("points")[series], sf.lit(index))

    def null(kind: str) -> Column:
        return sf.lit(None).cast(kind)

    def struct(stamped_by: str, *given: str) -> Column:
        return sf.struct(
            part(stamped_by, 0).alias("stamp"),
            sf.lit("prices" in given).alias("said"),
            *(
                (part(series, 1) if series in given else null("double")).alias(column)
                for series, column in SERIES.items()
            ),
            null("string").alias("odd"),
        )

    stamps = [part(series, 0) for series in SERIES]
    together = (stamps[0] == stamps[1]) & (stamps[1] == stamps[2])
    apart = [
        sf.when(sf.col("place") < sf.col(f"{series}_size"), struct(series, series))
        for series in SERIES
    ]
    fault = sf.col("points")["faults"]
    odd = sf.when(
        (sf.col("place") < sf.col("faults_size"))
        & ((fault["series"] != "prices") | fault["stamp"].isNull()),
        sf.struct(
            fault["stamp"].alias("stamp"),
            sf.lit(False).alias("said"),  # noqa: FBT003 - a literal
            *(null("double").alias(column) for column in SERIES.values()),
            _told(fault["series"], fault["stamp"], fault["value"]).alias("odd"),
        ),
    )
    stamp = sf.col("stamp")
    inside = (stamp >= sf.unix_millis("window_start")) & (stamp < sf.unix_millis("window_end"))
    price = sf.col("price")
    # NaN is more than infinity here.
    is_price = price.isNotNull() & (price > 0) & (price < sf.lit(float("inf")))
    of_price = sf.get(
        sf.filter("faults", lambda one: (one["series"] == "prices") & (one["stamp"] == stamp)),
        sf.lit(0),
    )
    no_price = sf.when(
        sf.col("faults_size") > 0, _told(of_price["series"], stamp, of_price["value"])
    )
    return (
        places.withColumn(
            "point",
            sf.explode(
                sf.when(
                    together & (sf.col("faults_size") == 0),
                    sf.array(struct("prices", *SERIES)),
                )
                .when(together, sf.array(struct("prices", *SERIES), odd))
                .otherwise(sf.array(*apart, odd))
            ),
        )
        .where("point IS NOT NULL")
        .select(*RECORD, (-sf.col("place")).alias("nearness"), "faults", "faults_size", "point.*")
        .withColumns(
            {
                "outside_of": sf.when(stamp.isNull() | ~inside, sf.col("window_start")),
                "good": sf.when(is_price, price),
                "fault": sf.when(
                    sf.col("said") & ~is_price,
                    sf.when(price.isNull(), sf.coalesce(no_price, sf.lit(NULL_PRICE))).otherwise(
                        WORTHLESS
                    ),
                ),
            }
        )
    )


def _told(series: Column, stamp: Column, value: Column) -> Column:
    """A fault in a sentence."""
    begin = sf.substring(value, 1, SHOWN)
    shown = sf.when(begin == value, value).otherwise(sf.concat(begin, sf.lit("…")))
    named = (
        sf.when(series == "prices", "price")
        .when(series == "market_caps", "market cap")
        .otherwise("volume")
    )
    without_stamp = sf.concat(series, sf.lit(" has "), shown, sf.lit(" in place of a point."))
    return sf.when(stamp.isNull(), without_stamp).otherwise(
        sf.concat(sf.lit("The "), named, sf.lit(" "), shown, sf.lit(" is not a number."))
    )


def _resolved(points: DataFrame) -> DataFrame:
    """One row a stamp: what all answers together say of it."""
    price = sf.col("price")
    # A place in the list of points, which has the newest first.
    oldest_of_price = sf.array_max(
        sf.transform("points", lambda point, place: sf.when(point["good"].eqNullSafe(price), place))
    )
    fineness = sf.concat(_rank("granularity").cast("string"), "granularity")
    reason = (
        sf.when(sf.col("odd").isNotNull(), sf.col("odd"))
        .when(sf.col("stamp").isNull(), NO_STAMP)
        .when(sf.col("outside_of").isNotNull(), OUTSIDE)
        .when(price.isNull(), sf.coalesce(_newest("fault"), sf.lit(NO_PRICE)))
    )
    return (
        points.groupBy(*COIN, "stamp", "outside_of", "odd")
        .agg(
            sf.sort_array(sf.collect_list(sf.struct(*POINT)), asc=False).alias("points"),
            sf.max(sf.when(sf.col("good").isNotNull(), fineness)).alias("finest"),
        )
        .withColumn("price", _newest("good"))
        .withColumn("reason", reason)
        .withColumn(
            "answer",
            sf.get(
                "points",
                sf.when(sf.col("reason").isNull(), oldest_of_price).otherwise(sf.lit(0)),
            ),
        )
        .select(
            *(*COIN, "stamp", "outside_of", "price"),
            _newest("market_cap").alias("market_cap"),
            _newest("total_volume").alias("total_volume"),
            "reason",
            sf.when(sf.col("reason").isNull(), sf.substring("finest", 2, 1_000))
            .otherwise(sf.col("answer")["granularity"])
            .alias("granularity"),
            *(sf.col("answer")[name].alias(name) for name in ("fetched_at", "source", "run_id")),
        )
    )


def _newest(field: str) -> Column:
    """The newest value of a field of ``points`` that is not null."""
    values = sf.transform("points", lambda point: point[field])
    return sf.get(sf.filter(values, lambda value: value.isNotNull()), sf.lit(0))


def _placed(rows: DataFrame, grain: int, window_length: int, window_anchor: int) -> DataFrame:
    """Add the window that each stamp lies in, its moment, and the time that it stands for."""
    inside = sf.col("outside_of").isNull()
    # Flooring is done in whole numbers; what is outside may be too large for one.
    millis = sf.floor(sf.when(inside, sf.col("stamp"))).cast("long")
    return (
        rows.withColumn("millis", millis)
        .withColumn("of_window", sf.pmod(sf.col("millis") - window_anchor, sf.lit(window_length)))
        .withColumn(
            "window_start",
            sf.when(inside, sf.timestamp_millis(sf.col("millis") - sf.col("of_window"))).otherwise(
                sf.col("outside_of")
            ),
        )
        # From the window's start, as not every grain is aligned to the epoch.
        .withColumn("at", sf.col("millis") - sf.pmod("of_window", sf.lit(grain)))
        .withColumn("stamped_at", sf.timestamp_millis("millis"))
        .withColumn(
            "price_at",
            sf.when(sf.col("millis") - sf.col("at") > ON_TIME, sf.col("stamped_at")).otherwise(
                sf.timestamp_millis("at")
            ),
        )
    )


def _without_superseded(rows: DataFrame) -> DataFrame:
    """Leave out observations with a finer one nearer than half of their spacing."""
    by_time = Window.partitionBy(*COIN, "window_start", "reason").orderBy("at")
    # Of a name that is not known the spacing is the coarsest.
    [coarsest, *finer] = SPACINGS.values()
    beside = {
        f"finest_beside_{rank}": sf.max("rank").over(
            by_time.rangeBetween(1 - spacing // 2, spacing // 2 - 1)
        )
        for rank, spacing in enumerate([coarsest, coarsest, *finer])
    }
    gives_way = " OR ".join(
        f"(rank = {rank} AND {name} > rank)" for rank, name in enumerate(beside)
    )
    return (
        rows.withColumn("rank", _rank("granularity"))
        .withColumns(beside)
        .where(f"reason IS NOT NULL OR NOT ({gives_way})")
    )


def _rank(granularity: str) -> Column:
    """How fine a granularity is: 0 for a name that is not known, then from the coarsest."""
    rank = sf.lit(0)
    for number, name in enumerate(SPACINGS, start=1):
        rank = sf.when(sf.col(granularity) == name, number).otherwise(rank)
    return rank
