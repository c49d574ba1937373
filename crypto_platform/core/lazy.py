"""Modules that are imported when they are first used: the one place that says which, and why.

Every run, every tick of a sensor and every command loads the definitions, and none of them needs
all of these. Write them at the top of a module, so that a reader and a type checker see an import::

    if TYPE_CHECKING:
        import pyarrow as pa
    else:
        pa = lazy_import("pyarrow")

An annotation that names such a module stands in quotes: it would be imported to evaluate it.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

REASONS: Mapping[str, str] = {
    "boto3": "0.3 s, and only the aws profile calls AWS",
    "botocore.config": "as boto3",
    "botocore.exceptions": "as boto3",
    "cloudpathlib": "0.25 s, and a lake on this disk needs none of it",
    "crypto_platform.alerts.delivery": "as crypto_platform.alerts.messages",
    "crypto_platform.alerts.event_reader": "imports SQLAlchemy and Dagster's storages; as messages",
    "crypto_platform.alerts.messages": "0.03 s; only a tick of the sensor makes messages",
    "crypto_platform.cli.expected": "imports Dagster, 1 s; only a command that failed needs it",
    "crypto_platform.core.settings": "imports Dagster, 1 s; whoever imports the package, and dev",
    "crypto_platform.profiles": "as crypto_platform.core.settings",
    "crypto_platform.warehouse.price_frames": "as crypto_platform.core.settings",
    "dagster": "1.2 s, which the process of the jobs does without on Sail",
    "dagster._core.execution.backfill": "imports SQLAlchemy; only sensors look at backfills",
    "dagster_pyspark": "imports Dagster; only Apache Spark is started through it",
    "dagster_snowflake": "imports the connector, 0.6 s; only the aws profile asks Snowflake",
    "dotenv": "only what a person calls reads .env; a run has its environment",
    "duckdb": "0.05 s, and only who opens the local warehouse needs it",
    "infrastructure.package": "only a checkout has it",
    "jinja2": "0.05 s, and only the report renders a page",
    "lambda_function.handler": "imports requests, 0.15 s; only ingestion in this process needs it",
    "matplotlib": "0.4 s, and only the report and the ledger draw",
    "matplotlib.colors": "as matplotlib",
    "matplotlib.figure": "as matplotlib",
    "matplotlib.patches": "as matplotlib",
    "matplotlib.ticker": "as matplotlib",
    "numpy": "as matplotlib",
    "pandas": "0.5 s, and only who asks for a data frame needs it",
    "PIL.Image": "as matplotlib",
    "pyarrow": "0.1 s, and only what reads Parquet needs it",
    "pyarrow.compute": "as pyarrow",
    "pyarrow.parquet": "as pyarrow",
    "pysail": "only one of the two engines is started",
    "pysail.spark": "as pysail",
    "pyspark": "as pysail",
    "pyspark.sql": "as pysail",
    "snowflake.connector": "0.6 s, and only the aws profile asks Snowflake",
    "snowflake.connector.constants": "as snowflake.connector",
    "snowflake.connector.errors": "as snowflake.connector",
    "sqlglot": "0.2 s; what was translated once is kept on disk",
    "sqlglot.errors": "as sqlglot",
    "sqlglot.expressions": "as sqlglot",
    "sqlglot.lineage": "as sqlglot",
    "tenacity": "only who waits for something busy needs it",
}
"""Why each module waits: seconds to import it on two cores, with a bytecode cache."""


class _LazyModule:
    """Stands for a module that is imported when something of it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        # The import system's own locks: two threads that come at once both get the whole module.
        return getattr(import_module(self._name), attribute)


def lazy_import(name: str) -> Any:
    """A module that is imported when something of it is first asked for.

    Args:
        name: The module's full name, one of ``REASONS``.

    Raises:
        KeyError: Nobody said why it should wait; import it as any other, or add the reason.
    """
    if name not in REASONS:
        raise KeyError(f"{name} has no reason to be lazy; import it, or add one to REASONS.")
    return _LazyModule(name)
