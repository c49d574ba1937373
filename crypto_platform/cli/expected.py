"""The errors that a person can act on: the command line prints their message, and no trace."""

from crypto_platform.alerts.channels import AlertStateUnreadableError
from crypto_platform.core.disk import DiskFullError
from crypto_platform.core.errors import InvalidInputError, PermanentFailure
from crypto_platform.warehouse.resource import WarehouseBusyError
from crypto_platform.warehouse.snowflake_errors import SnowflakeUnavailableError
from lambda_function.errors import InvalidSettings

ERRORS = (
    AlertStateUnreadableError,
    DiskFullError,
    InvalidInputError,
    InvalidSettings,
    PermanentFailure,
    SnowflakeUnavailableError,
    WarehouseBusyError,
)
