"""The errors that a person can act on: the command line prints their message, and no trace."""

import errno
import os
import sqlite3
from collections.abc import Mapping

import dagster as dg

from crypto_platform.alerts.channels import AlertStateUnreadableError
from crypto_platform.core.errors import InvalidInputError, NothingThereError
from crypto_platform.core.lazy import duckdb
from crypto_platform.local.nothing_there import with_hint_at_demo
from crypto_platform.warehouse.resource import WarehouseBusyError
from crypto_platform.warehouse.snowflake_errors import SnowflakeUnavailableError
from lambda_function.errors import IngestionError

ERRORS = (
    AlertStateUnreadableError,
    InvalidInputError,
    # All that runs fail with for a reason that they can tell.
    dg.Failure,
    IngestionError,
    SnowflakeUnavailableError,
    WarehouseBusyError,
)
"""What already says what to do."""

_DAMAGED_INSTANCE = (
    "Dagster's instance in {folder} cannot be used: {said}. Stop what uses it and move that folder "
    "away; make dev makes a new one. It has the record of runs and what was switched, and no price."
)


def explained(error: BaseException, environment: Mapping[str, str]) -> str | None:
    """What to print of an error, with what to do; ``None`` for one that is a fault of the code.

    Args:
        error: What a command raised.
        environment: The variables, which say where things are.
    """
    if isinstance(error, NothingThereError):
        return str(with_hint_at_demo(error, environment))
    if isinstance(error, ERRORS):
        return str(error)
    if isinstance(error, OSError):
        return _refused(error)
    if isinstance(error, duckdb.Error):
        return f"DuckDB could not do that: {_one_line(error)}"
    if _is_of_instance(error):
        home = environment.get("CRYPTO_HOME") or ".crypto"
        folder = environment.get("DAGSTER_HOME") or os.path.join(home, "dagster")  # noqa: PTH118 - as given
        return _DAMAGED_INSTANCE.format(folder=folder, said=_one_line(error))
    return None


def _refused(error: OSError) -> str | None:
    """What a disk refused; what only ends a pipe is click's."""
    if error.errno == errno.EPIPE:
        return None
    if not error.filename:
        said = _one_line(error)
        # As pandas has it.
        missing = error.errno == errno.ENOENT or "non-existent directory" in said
        return f"{said}. Make that folder first, or name another." if missing else said
    advice = {
        errno.ENOENT: "Make its folder first, or name another",
        errno.ENOTDIR: "A file stands where a folder is needed: move it away, or name another",
        errno.EEXIST: "A file stands where a folder is needed: move it away, or name another",
        errno.EISDIR: "A folder stands where a file is needed: move it away, or name another",
        errno.ENOSPC: "Make room on the disk",
    }.get(error.errno or 0, "Let this user read and write there, or name another")
    return f"{os.fsdecode(error.filename)}: {error.strerror}. {advice} (CRYPTO_HOME, or an option)."


def _is_of_instance(error: BaseException | None) -> bool:
    """Whether Dagster could not read what it keeps, in its own words or in those of SQLite."""
    while error is not None:
        module = type(error).__module__.partition(".")[0]
        if isinstance(error, sqlite3.Error) or module in {"sqlalchemy", "alembic", "yaml"}:
            return True
        if isinstance(error, dg.DagsterInvalidConfigError | dg.DagsterInvariantViolationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
