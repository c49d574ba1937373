"""What an error of Snowflake's connector means for a run."""

from collections.abc import Iterator
from contextlib import contextmanager

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.lazy import snowflake_errors as errors
from crypto_platform.warehouse.resource import WarehouseBusyError

# Snowflake ends a transaction whose client vanished once others have waited five minutes for it.
LOCK_TIMEOUT = 900

# Errors that Snowflake gives the class of a wrong statement, though another attempt may succeed: a
# statement cancelled or out of time, a session that has expired, a service that is restarting.
_MAY_PASS = frozenset({604, 630, 390104, 390110, 390111, 390112, 390114})
_LOCK_WAITED_TOO_LONG = 625
_LOGIN_REFUSED = 250001


class SnowflakeRefusedError(PermanentFailure):
    """Snowflake will not do it, now or later, until someone changes something."""


class SnowflakeUnavailableError(Exception):
    """Snowflake could not be reached, or the connection was lost; another attempt may succeed."""


@contextmanager
def failures() -> Iterator[None]:
    """Raises an error of the connector as what it means.

    Raises:
        SnowflakeRefusedError: Another attempt would be refused too.
        SnowflakeUnavailableError: Another attempt may succeed.
        WarehouseBusyError: Another transaction holds a table.
    """
    try:
        yield
    except errors.Error as error:
        raise failure(error) from error


def failure(error: "errors.Error") -> Exception:
    """What an error of the connector means for the run: whether trying again can heal it."""
    said = f"Snowflake says: {error.msg or error}"
    if error.errno == _LOCK_WAITED_TOO_LONG:
        return WarehouseBusyError(
            f"Another transaction held a table for {LOCK_TIMEOUT} seconds; nothing was changed. "
            f"Try again when the other load is done. {said}"
        )
    # An unreachable host is an OperationalError; a refused login is told by the plain class.
    refused = type(error) in {errors.DatabaseError, errors.ForbiddenError}
    if refused and error.errno == _LOGIN_REFUSED:
        return SnowflakeRefusedError(
            "Snowflake refused the login; check SNOWFLAKE_ACCOUNT, SNOWFLAKE_USER and that the "
            f"user has the public key of SNOWFLAKE_PRIVATE_KEY_PATH. {said}"
        )
    permanent = (errors.ProgrammingError, errors.IntegrityError, errors.DataError)
    if isinstance(error, permanent) and error.errno not in _MAY_PASS:
        return SnowflakeRefusedError(
            "Snowflake refused a statement and nothing was changed; if something does not exist "
            f"or is not authorized, run crypto-platform snowflake integration, then apply. {said}"
        )
    return SnowflakeUnavailableError(
        "The connection to Snowflake was lost or could not be made; an open transaction is rolled "
        f"back by Snowflake, and the load can be repeated. {said}"
    )
