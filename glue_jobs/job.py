"""A transformation job: from the raw files that a job spec names to new Parquet files.

A job knows nothing of the lake's layout: the job spec numbers the files' months and says which
windows each of them is asked for. It appends to a folder of the run's own and overwrites nothing.
"""

import argparse
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as sf

from glue_jobs import prices, snapshots

logger = logging.getLogger(__name__)

POINTS_A_WRITE = 400_000
"""About how many prices one write holds, as Sail sorts them in memory: 900,000 at once take 720 MB,
in writes of this size 570 MB and no more time. A month is never cut."""

PLACE = ("dataset", "number")
"""What a row's folder is named by: its dataset, and the number of its month."""

SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    # Apache Spark's own default is INT96, which Parquet has deprecated.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}


class TransformationError(RuntimeError):
    """A job could not do what its job spec says."""


@dataclass(frozen=True)
class PathSyntax:
    """How an engine wants to be told a local path, which may hold any character.

    Attributes:
        read: From a path to what the engine reads it by.
        write: From a path to what the engine writes it by.
    """

    read: Callable[[str], str]
    write: Callable[[str], str]


def _as_uri(path: str) -> str:
    return Path(path).as_uri()


def _as_glob(path: str) -> str:
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", path)


PATH_SYNTAXES = {
    # Apache Spark reads glob patterns and writes to the path as it stands.
    "glob": PathSyntax(read=_as_glob, write=str),
    # Sail takes glob characters literally only in a percent-encoded URI.
    "uri": PathSyntax(read=_as_uri, write=_as_uri),
}


@dataclass(frozen=True)
class Output:
    """Datasets that one write makes of one kind of raw file.

    Attributes:
        source: The field of the job spec that names the raw files.
        raw_schema: Schema of the raw records; ``None`` for lines as they stand, in ``value``.
        kept: The fields of the job spec that name Parquet files of an earlier run.
        schema: Schema of the rows, of which a kept file may lack columns.
        transformation: From raw records and the job's arguments to rows.
        dataset: SQL that tells a row's dataset.
        order: How the rows of a file are ordered.
        is_side_data: Whether the job goes on without these datasets where they cannot be made.
    """

    source: str
    raw_schema: str | None
    kept: Sequence[str]
    schema: str
    transformation: Callable[[DataFrame, argparse.Namespace], DataFrame]
    dataset: str
    order: Sequence[str]
    is_side_data: bool = False


def _observations(raw: DataFrame, arguments: argparse.Namespace) -> DataFrame:
    return prices.observations(
        raw, arguments.grain, arguments.window_length, arguments.window_anchor
    )


PRICES = Output(
    source="prices",
    raw_schema=prices.RAW_SCHEMA,
    kept=("kept_prices", "kept_rejected"),
    schema=prices.SCHEMA,
    transformation=_observations,
    dataset="IF(reason IS NULL, 'prices', 'rejected')",
    order=("coin_id", "price_at"),
)
SNAPSHOTS = Output(
    source="snapshots",
    raw_schema=None,
    kept=("kept_snapshots",),
    schema=snapshots.SCHEMA,
    transformation=lambda raw, _arguments: snapshots.snapshots(raw),
    dataset="'snapshots'",
    order=("coin_id", "observed_at"),
    is_side_data=True,
)


def run(
    name: str,
    outputs: Sequence[Output],
    argv: Sequence[str],
    spark: SparkSession | None = None,
) -> None:
    """Do what a job spec says.

    Args:
        name: Name of the job, for messages.
        outputs: What the job writes.
        argv: The job's arguments, as AWS Glue passes them; Glue's own among them are ignored.
        spark: The session to use. Where there is none, the job starts and stops its own.

    Raises:
        TransformationError: The job spec or a file cannot be used. What was written by then stays
            where it is: it does not count until a manifest names it.
    """
    arguments = _parse(argv)
    session = spark or SparkSession.builder.appName(name).getOrCreate()
    try:
        for setting, value in SETTINGS.items():
            session.conf.set(setting, value)
        for months in _in_writes(_read_job_spec(session, arguments)):
            _write(session, name, outputs, arguments, months)
    finally:
        if spark is None:
            session.stop()


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--job_spec", required=True, help="JSON lines, one a month")
    parser.add_argument("--output", required=True, help="the folder to write below")
    parser.add_argument(
        "--grain",
        required=True,
        type=int,
        help="what times are floored to, in milliseconds from the start of their window",
    )
    parser.add_argument(
        "--window_length", required=True, type=int, help="length of a window, in milliseconds"
    )
    parser.add_argument(
        "--window_anchor",
        required=True,
        type=int,
        help="start of any window, in milliseconds since 1970",
    )
    parser.add_argument(
        "--path_syntax",
        choices=PATH_SYNTAXES,
        default="glob",
        help="how the engine takes local paths: uri for Sail",
    )
    return parser.parse_known_args(argv)[0]


def _read_job_spec(spark: SparkSession, arguments: argparse.Namespace) -> list[Row]:
    """The months to transform, in the order of their numbers."""
    rows = _months(spark, arguments).collect()
    spec = f"The job spec {arguments.job_spec}"
    windows = [window for month in rows for window in month.windows or ()]
    if not windows:
        raise TransformationError(f"{spec} names no window.")
    if len(set(windows)) < len(windows):
        raise TransformationError(f"{spec} names a window twice.")
    if None in [month.number for month in rows]:
        raise TransformationError(f"{spec} has a month without a number.")
    if len({month.number for month in rows}) < len(rows):
        raise TransformationError(f"{spec} names a number twice.")
    return sorted(rows, key=lambda month: month.number)


def _months(spark: SparkSession, arguments: argparse.Namespace) -> DataFrame:
    """The job spec as it stands, a row a month."""
    # Times stay strings here: collect() would turn timestamps into the machine's local time.
    schema = """
        number int, windows array<string>, prices array<string>, snapshots array<string>,
        kept_prices array<string>, kept_rejected array<string>, kept_snapshots array<string>,
        points bigint
    """
    return _read(spark, arguments, schema, [arguments.job_spec])


def _in_writes(months: Sequence[Row]) -> Iterator[list[Row]]:
    """Neighbouring months that are written together."""
    together: list[Row] = []
    points = 0
    for month in months:
        points += month.points or 0
        if together and points > POINTS_A_WRITE:
            yield together
            together, points = [], month.points or 0
        together.append(month)
    yield together


def _write(
    spark: SparkSession,
    name: str,
    outputs: Sequence[Output],
    arguments: argparse.Namespace,
    months: Sequence[Row],
) -> None:
    """Write some months' rows, one file a month a dataset, or none where it has no row."""
    try:
        for output in outputs:
            try:
                _write_output(spark, output, arguments, months)
            except Exception as error:
                if not output.is_side_data:
                    raise
                # Whoever reads the output back sees that it is not there, and keeps what was.
                logger.warning("%s wrote no %s: %s", name, output.source, _root_cause(error))
    except Exception as error:
        windows = sorted(window for month in months for window in month.windows or ())
        raise TransformationError(
            f"{name} could not transform the windows that start from {windows[0]} to "
            f"{windows[-1]}: {_root_cause(error)}"
            if windows
            else f"{name} could not copy month {months[0].number}: {_root_cause(error)}",
        ) from error


def _write_output(
    spark: SparkSession, output: Output, arguments: argparse.Namespace, months: Sequence[Row]
) -> None:
    parts = list(_parts(spark, output, arguments, months))
    if parts:
        _append(reduce(lambda one, other: one.union(other), parts), output, arguments)


def _parts(
    spark: SparkSession, output: Output, arguments: argparse.Namespace, months: Sequence[Row]
) -> Iterator[DataFrame]:
    """What makes up an output's rows: those of raw files, and those that are kept of each month."""
    numbers = [month.number for month in months]
    named = sf.broadcast(
        _months(spark, arguments)
        .where(sf.col("number").isin(numbers))
        .select("number", sf.explode("windows").alias("window_start"))
        .withColumn("window_start", sf.col("window_start").cast("timestamp"))
    )
    columns = [*_columns(output.schema), *PLACE]
    dataset = sf.expr(output.dataset)
    raw_files = [file for month in months for file in month[output.source] or ()]
    if raw_files:
        raw = _read(spark, arguments, output.raw_schema, raw_files)
        rows = output.transformation(raw, arguments)
        # A raw record may hold more windows than are asked for.
        # Sail keeps the left side of a join in memory.
        yield named.join(rows, "window_start").withColumn("dataset", dataset).select(columns)
    for month in months:
        kept_files = [file for field in output.kept for file in month[field] or ()]
        if kept_files:
            uris = _uris(arguments, kept_files)
            kept = spark.read.schema(output.schema).parquet(*uris)
            yield (
                kept.join(named.select("window_start"), "window_start", "left_anti")
                .withColumns({"dataset": dataset, "number": sf.lit(month.number)})
                .select(columns)
            )


def _columns(schema: str) -> list[str]:
    return [column.split()[0] for column in schema.split(",")]


def _read(
    spark: SparkSession,
    arguments: argparse.Namespace,
    schema: str | None,
    files: Sequence[str],
) -> DataFrame:
    """Read JSON lines; a line that is not of the schema is an error once the rows are used."""
    uris = _uris(arguments, files)
    if schema is None:
        return spark.read.text(uris)
    return spark.read.schema(schema).option("mode", "FAILFAST").json(uris)


def _uris(arguments: argparse.Namespace, files: Sequence[str]) -> list[str]:
    """What the engine reads files by, which all have to be there."""
    paths = [_local_path(file) for file in files]
    # Sail reads a missing file as one without lines.
    missing = [path for path in paths if path is not None and not Path(path).is_file()]
    if missing:
        raise TransformationError(f"The file {missing[0]} is missing.")
    read = PATH_SYNTAXES[arguments.path_syntax].read
    return [file if path is None else read(path) for file, path in zip(files, paths, strict=True)]


def _append(rows: DataFrame, output: Output, arguments: argparse.Namespace) -> None:
    path = _local_path(arguments.output)
    uri = arguments.output if path is None else PATH_SYNTAXES[arguments.path_syntax].write(path)
    (
        rows.repartition(*PLACE)  # All rows of a month into one file.
        .sortWithinPartitions(*PLACE, *output.order)
        .write.mode("append")
        .partitionBy(*PLACE)
        # Sail's own default takes twice as long to read, for a tenth less to keep. As an option it
        # would not count: pyspark's client unsets it.
        .parquet(uri, compression="snappy")
    )


def _local_path(uri: str) -> str | None:
    """The path that a URI is of; ``None`` for a URI of an object store."""
    path = uri.removeprefix("file://")
    return None if "://" in path else path


def _root_cause(error: BaseException) -> str:
    """The innermost message, without the engine's stack trace."""
    cause: Any = getattr(error, "java_exception", None)
    while cause is not None and cause.getCause() is not None:
        cause = cause.getCause()
    message = str(error) if cause is None else str(cause.toString())
    return next(iter(message.strip().splitlines()), type(error).__name__)
