"""Modules that are imported when something of them is first used: which ones, and why.

Every run, every tick of a sensor and every command loads the definitions, and none of them needs
all of these. A module takes them from here as it would import them::

    from crypto_platform.core.lazy import pa

An annotation that names one stands in quotes: it would be imported to evaluate it. Seconds are
what an import alone took on two slow cores, with a bytecode cache.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any


class _LazyModule:
    """Stands for a module that is imported when something of it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        # The import system's own locks: two threads that come at once both get the whole module.
        return getattr(import_module(self._name), attribute)


def lazy_import(name: str) -> Any:
    """A module of the platform that is imported when something of it is first asked for.

    For the few that most of those who import their user never need; libraries stand below.

    Args:
        name: The module's full name.
    """
    return _LazyModule(name)


if TYPE_CHECKING:
    import boto3
    import botocore.config as botocore_config
    import botocore.exceptions as botocore_exceptions
    import cloudpathlib
    import dagster as dg
    import dagster._core.execution.backfill as dagster_backfill
    import dagster_pyspark
    import dagster_snowflake
    import dotenv
    import duckdb
    import jinja2
    import matplotlib as mpl
    import matplotlib.colors as mpl_colors
    import matplotlib.figure as mpl_figure
    import matplotlib.patches as mpl_patches
    import matplotlib.ticker as mpl_ticker
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as pads
    import pyarrow.fs as pafs
    import pyarrow.parquet as pq
    import pysail
    import pysail.spark as pysail_spark
    import pyspark
    import pyspark.sql as pyspark_sql
    import snowflake.connector.constants as snowflake_constants
    import snowflake.connector.errors as snowflake_errors
    import sqlglot
    import sqlglot.errors as sqlglot_errors
    import sqlglot.expressions as exp
    import sqlglot.lineage as sqlglot_lineage
    import tenacity
    from PIL import Image
else:
    # The aws profile alone calls AWS: 0.5 s.
    boto3 = _LazyModule("boto3")
    botocore_config = _LazyModule("botocore.config")
    botocore_exceptions = _LazyModule("botocore.exceptions")
    # A lake on this disk needs none of it: 0.5 s.
    cloudpathlib = _LazyModule("cloudpathlib")
    # Only sensors look at backfills: it imports SQLAlchemy.
    dagster_backfill = _LazyModule("dagster._core.execution.backfill")
    # The process of the jobs does without Dagster on Sail: 1.6 s. One of the engines is started.
    dg = _LazyModule("dagster")
    dagster_pyspark = _LazyModule("dagster_pyspark")
    pysail = _LazyModule("pysail")
    pysail_spark = _LazyModule("pysail.spark")
    pyspark = _LazyModule("pyspark")
    pyspark_sql = _LazyModule("pyspark.sql")
    # The aws profile alone asks Snowflake: 1.9 s.
    dagster_snowflake = _LazyModule("dagster_snowflake")
    snowflake_constants = _LazyModule("snowflake.connector.constants")
    snowflake_errors = _LazyModule("snowflake.connector.errors")
    # What a person calls reads .env; a run has its environment.
    dotenv = _LazyModule("dotenv")
    # Whoever opens the local warehouse needs it: 0.25 s.
    duckdb = _LazyModule("duckdb")
    # The report and the ledger draw: 1.1 s.
    jinja2 = _LazyModule("jinja2")
    mpl = _LazyModule("matplotlib")
    mpl_colors = _LazyModule("matplotlib.colors")
    mpl_figure = _LazyModule("matplotlib.figure")
    mpl_patches = _LazyModule("matplotlib.patches")
    mpl_ticker = _LazyModule("matplotlib.ticker")
    np = _LazyModule("numpy")
    Image = _LazyModule("PIL.Image")
    # A data frame is asked for: 0.9 s.
    pd = _LazyModule("pandas")
    # Parquet is read: 0.25 s.
    pa = _LazyModule("pyarrow")
    pc = _LazyModule("pyarrow.compute")
    pads = _LazyModule("pyarrow.dataset")
    pafs = _LazyModule("pyarrow.fs")
    pq = _LazyModule("pyarrow.parquet")
    # What was translated once is kept on disk: 0.2 s.
    sqlglot = _LazyModule("sqlglot")
    sqlglot_errors = _LazyModule("sqlglot.errors")
    exp = _LazyModule("sqlglot.expressions")
    sqlglot_lineage = _LazyModule("sqlglot.lineage")
    # Only who waits for something busy needs it.
    tenacity = _LazyModule("tenacity")
