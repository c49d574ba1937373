"""The warehouse in Snowflake, over its connector and a login with a key pair."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, PrivateAttr

from crypto_platform.core.lazy import dagster_snowflake
from crypto_platform.core.lazy import snowflake_errors as errors
from crypto_platform.core.settings import Settings, SettingsError
from crypto_platform.core.streams import Stream
from crypto_platform.lake.manifests import Manifest
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.session import Session
from crypto_platform.warehouse.snowflake_errors import (
    LOCK_TIMEOUT,
    SnowflakeRefusedError,
    failure,
)
from crypto_platform.warehouse.snowflake_session import CopySession
from crypto_platform.warehouse.snowpipe_session import LandedSession

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

# How long the connector goes on trying to be heard, and how long it lets one statement run.
_NETWORK_TIMEOUT = 900


class SnowflakeWarehouse(Warehouse):
    """A warehouse in Snowflake, made by ``crypto-platform snowflake apply``.

    Nothing here is secret: the key is read from its file, and its passphrase from the environment
    (``SNOWFLAKE_PRIVATE_KEY_PASSPHRASE``), each time a connection is opened.

    Attributes:
        account: The account's identifier.
        user: The user, who has the public key.
        private_key_path: The file of the private key, PKCS#8 in PEM.
        role: The role to work as.
        warehouse: The virtual warehouse that computes.
        database: The database.
        schema_name: The schema with the tables.
        stage_root: The address that the stage ``transformed_lake`` stands for, so
            ``s3://<transformed bucket>``: files are named relative to it.
        load_mode: ``copy`` to copy the files, ``snowpipe`` to wait until pipes have landed them.
        landing_patience: Seconds to wait for the pipes.
        landing_interval: Seconds between two looks at what they have landed.
        connection_options: Further arguments of ``snowflake.connector.connect``, as the host of a
            private link; they are shown in the UI, so never a secret.
    """

    account: str
    user: str
    private_key_path: str
    role: str
    warehouse: str
    database: str
    schema_name: str
    stage_root: str
    load_mode: str = "copy"
    landing_patience: float = 900
    landing_interval: float = 10
    connection_options: dict[str, Any] = Field(default={})

    _run_id: str = PrivateAttr(default="")

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Keep the run's id for the query tag."""
        self._run_id = context.run.run_id if context.run else ""

    @property
    def is_snowflake(self) -> bool:
        """See ``Warehouse.is_snowflake``."""
        return True

    def table_uri(self, table: str) -> str:
        """See ``Warehouse.table_uri``."""
        return f"snowflake://{self.account}/{self.database}/{self.schema_name}/{table}"

    @contextmanager
    def session(self, *, read_only: bool) -> Iterator[Session]:
        """See ``Warehouse.session``; readers and writers do not wait for each other.

        Raises:
            SnowflakeRefusedError: The login or a statement is refused.
            SnowflakeUnavailableError: Snowflake cannot be reached.
        """
        del read_only
        with self._connection(self._tag()) as connection:
            yield CopySession(connection, self.stage_root)

    @contextmanager
    def loading_session(self, stream: Stream, manifests: Sequence[Manifest]) -> Iterator[Session]:
        """See ``Warehouse.loading_session``: tagged with run and partitions."""
        with self._connection(self._tag(stream, manifests)) as connection:
            if self.load_mode == "copy":
                yield CopySession(connection, self.stage_root)
                return
            landed = LandedSession(
                connection,
                self.stage_root,
                stream,
                manifests,
                patience=self.landing_patience,
                interval=self.landing_interval,
            )
            yield landed
            # Only reached once the load is committed. If it fails, or never happens, the rows are
            # taken again by the next load of these windows.
            landed.clear()

    def _tag(self, stream: Stream | None = None, manifests: Sequence[Manifest] = ()) -> str:
        """The query tag, by which the account's query history finds a run's statements."""
        tag = {"platform": "crypto_platform", "run": self._run_id}
        if stream and manifests:
            windows = sorted((manifest.window for manifest in manifests), key=lambda one: one.start)
            tag |= {
                "stream": stream.name,
                "first_partition": stream.partition_key(windows[0]),
                "last_partition": stream.partition_key(windows[-1]),
            }
        return json.dumps(tag)

    @contextmanager
    def _connection(self, query_tag: str) -> Iterator["SnowflakeConnection"]:
        parameters = {"QUERY_TAG": query_tag, "LOCK_TIMEOUT": LOCK_TIMEOUT}
        options = {
            "network_timeout": _NETWORK_TIMEOUT,
            "login_timeout": 60,
            **self.connection_options,
        }
        resource = dagster_snowflake.SnowflakeResource(
            account=self.account,
            user=self.user,
            private_key_path=self.private_key_path,
            private_key_password=os.environ.get("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE") or None,
            authenticator="SNOWFLAKE_JWT",
            role=self.role,
            warehouse=self.warehouse,
            database=self.database,
            schema=self.schema_name,
            paramstyle="qmark",
            # A timestamp without a zone is UTC: a cast must not make it the account's zone.
            timezone="UTC",
            autocommit=True,
            additional_snowflake_connection_args={
                **options,
                "session_parameters": {**options.get("session_parameters", {}), **parameters},
            },
        )
        with ExitStack() as stack:
            with self._failures_of_login():
                connection = stack.enter_context(resource.get_connection())
            # The resource leaves it open when something fails, and with it the transaction.
            stack.callback(connection.close)
            yield connection

    @contextmanager
    def _failures_of_login(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, PermissionError) as error:
            raise SnowflakeRefusedError(
                f"The private key {self.private_key_path} cannot be read ({error.strerror}); set "
                "SNOWFLAKE_PRIVATE_KEY_PATH to its file."
            ) from error
        except (ValueError, TypeError) as error:
            raise SnowflakeRefusedError(
                f"The private key {self.private_key_path} is not PKCS#8 in PEM, or needs another "
                f"SNOWFLAKE_PRIVATE_KEY_PASSPHRASE than is set: {error}"
            ) from error
        except errors.Error as error:
            raise failure(error) from error


def snowflake_warehouse(settings: Settings, *, role: str | None = None) -> SnowflakeWarehouse:
    """The warehouse that the settings describe.

    Args:
        settings: The platform's settings.
        role: A role to work as instead of the one in the settings.

    Raises:
        SettingsError: A variable without which there is no login is not set.
    """
    needed = {
        "SNOWFLAKE_ACCOUNT": settings.snowflake_account,
        "SNOWFLAKE_USER": settings.snowflake_user,
        "SNOWFLAKE_PRIVATE_KEY_PATH": settings.snowflake_private_key_path,
    }
    unset = [name for name, text in needed.items() if not text]
    if unset:
        raise SettingsError(f"Snowflake cannot be reached without {', '.join(unset)}; set them.")
    return SnowflakeWarehouse(
        account=settings.snowflake_account,
        user=settings.snowflake_user,
        private_key_path=settings.snowflake_private_key_path,
        role=role or settings.snowflake_role,
        warehouse=settings.snowflake_warehouse,
        database=settings.snowflake_database,
        schema_name=settings.snowflake_schema,
        stage_root=f"s3://{settings.transformed_bucket}",
        load_mode=settings.snowflake_load_mode,
    )
