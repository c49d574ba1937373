"""A transformation job: reads the raw files that a job spec names, and appends Parquet.

A job knows nothing of the lake's layout: the job spec tells it files, windows and partitions. It
appends under a folder of the run's own and overwrites nothing.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as sf

from glue_jobs import prices, snapshots

WINDOWS_A_WRITE = 200
"""How many windows one write holds: Sail keeps a Parquet writer open for each of them."""

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
    """One dataset that a job writes.

    Attributes:
        source: The field of the job spec that names the raw files.
        schema: Schema of the raw records.
        transformation: From raw records and the grain, in milliseconds, to the dataset's rows,
            each with the ``window_start`` of its record.
        argument: The job's argument that names the dataset's folder.
    """

    source: str
    schema: str
    transformation: Callable[[DataFrame, int], DataFrame]
    argument: str


PRICE_OUTPUT = Output("prices", prices.RAW_SCHEMA, prices.observations, "prices_output")
REJECTED = Output("prices", prices.RAW_SCHEMA, prices.rejections, "rejected_output")
SNAPSHOTS = Output(
    "snapshots",
    snapshots.RAW_SCHEMA,
    lambda raw, _grain: snapshots.snapshots(raw),
    "snapshots_output",
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
        TransformationError: The job spec or a raw file cannot be used. What was written by then
            stays where it is: it does not count until a manifest names it.
    """
    arguments = _parse(outputs, argv)
    session = spark or SparkSession.builder.appName(name).getOrCreate()
    try:
        for setting, value in SETTINGS.items():
            session.conf.set(setting, value)
        windows = _read_job_spec(session, arguments)
        for first in range(0, len(windows), WINDOWS_A_WRITE):
            _write(session, name, outputs, arguments, windows[first : first + WINDOWS_A_WRITE])
    finally:
        if spark is None:
            session.stop()


def _parse(outputs: Sequence[Output], argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--job_spec", required=True, help="JSON lines, one a window")
    parser.add_argument(
        "--grain",
        required=True,
        type=int,
        help="what times are floored to, in milliseconds from the start of their window",
    )
    parser.add_argument("--partition_by", required=True, type=lambda text: text.split(","))
    parser.add_argument("--run_id", required=True, help="names the run's own folders")
    parser.add_argument(
        "--path_syntax",
        choices=PATH_SYNTAXES,
        default="glob",
        help="how the engine takes local paths: uri for Sail",
    )
    for output in outputs:
        parser.add_argument(f"--{output.argument}", required=True)
    return parser.parse_known_args(argv)[0]


def _read_job_spec(spark: SparkSession, arguments: argparse.Namespace) -> list[Row]:
    """The windows to transform, in order of time."""
    rows = _windows(spark, arguments).collect()
    windows = sorted(rows, key=lambda window: window.window_start)
    if not windows:
        raise TransformationError(f"The job spec {arguments.job_spec} names no window.")
    starts = [window.window_start for window in windows]
    if len(set(starts)) < len(starts):
        raise TransformationError(f"The job spec {arguments.job_spec} names a window twice.")
    incomplete = [w.window_start for w in windows if None in [w[c] for c in arguments.partition_by]]
    if incomplete:
        raise TransformationError(
            f"The job spec {arguments.job_spec} lacks one of {arguments.partition_by} for the "
            f"window {incomplete[0]}.",
        )
    return windows


def _windows(spark: SparkSession, arguments: argparse.Namespace) -> DataFrame:
    """The job spec as it stands, a row a window."""
    partitions = "".join(f", {column} string" for column in arguments.partition_by)
    # Times stay strings here: collect() would turn timestamps into the machine's local time.
    schema = f"window_start string, prices array<string>, snapshots array<string>{partitions}"
    return _read(spark, arguments, schema, [arguments.job_spec])


def _write(
    spark: SparkSession,
    name: str,
    outputs: Sequence[Output],
    arguments: argparse.Namespace,
    windows: Sequence[Row],
) -> None:
    """Write some windows' rows, one file a window an output, or none where it has no row."""
    try:
        for output in outputs:
            files = [file for window in windows for file in window[output.source] or ()]
            if files:
                raw = _read(spark, arguments, output.schema, files)
                rows = output.transformation(raw, arguments.grain)
                placed = _with_partitions(rows, _windows(spark, arguments), arguments)
                _append(placed, arguments, getattr(arguments, output.argument))
    except Exception as error:
        raise TransformationError(
            f"{name} could not transform the windows that start from {windows[0].window_start} to "
            f"{windows[-1].window_start}: {_root_cause(error)}",
        ) from error


def _read(
    spark: SparkSession,
    arguments: argparse.Namespace,
    schema: str,
    files: Sequence[str],
) -> DataFrame:
    """Read JSON lines; a line that is not of the schema is an error once the rows are used."""
    paths = [_local_path(file) for file in files]
    # Sail reads a missing file as one without lines.
    missing = [path for path in paths if path is not None and not Path(path).is_file()]
    if missing:
        raise TransformationError(f"The file {missing[0]} is missing.")
    read = PATH_SYNTAXES[arguments.path_syntax].read
    uris = [file if path is None else read(path) for file, path in zip(files, paths, strict=True)]
    return spark.read.schema(schema).option("mode", "FAILFAST").json(uris)


def _with_partitions(
    rows: DataFrame, windows: DataFrame, arguments: argparse.Namespace
) -> DataFrame:
    """Add the partition columns of each row's window."""
    by_start = windows.select(
        sf.col("window_start").cast("timestamp").alias("named_start"),
        *arguments.partition_by,
    )
    stray = sf.raise_error(
        sf.concat(
            sf.lit("A raw file has a record of a window that the job spec does not name: "),
            sf.coalesce("coin_id", sf.lit("no coin")),
            sf.lit(", "),
            sf.coalesce(sf.col("window_start").cast("string"), sf.lit("no window")),
            sf.lit("."),
        ),
    )
    first = arguments.partition_by[0]
    return (
        rows.join(sf.broadcast(by_start), sf.col("window_start") == sf.col("named_start"), "left")
        .drop("named_start")
        .withColumn(first, sf.when(sf.col(first).isNotNull(), sf.col(first)).otherwise(stray))
        .withColumn("run", sf.lit(arguments.run_id))
    )


def _append(rows: DataFrame, arguments: argparse.Namespace, output: str) -> None:
    path = _local_path(output)
    uri = output if path is None else PATH_SYNTAXES[arguments.path_syntax].write(path)
    (
        rows.repartition(*arguments.partition_by)  # All rows of a window into one file.
        .write.mode("append")
        .partitionBy(*arguments.partition_by, "run")
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
