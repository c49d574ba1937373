"""The warehouse in Snowflake, over its connector and a login with a key pair."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, PrivateAttr

from crypto_platform.failures import PermanentFailure
from crypto_platform.manifests import Manifest
from crypto_platform.resources.warehouse import (
    Row,
    Session,
    Warehouse,
    WarehouseBusyError,
    from_engine,
    to_engine,
)
from crypto_platform.resources.warehouse_sql import identifier, literal, snowflake_statement
from crypto_platform.settings import Settings, SettingsError
from crypto_platform.streams import Dataset, Stream

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection
    from snowflake.connector.errors import Error

# Snowflake's own limit on FILES.
_FILES_A_COPY = 1_000

# Above 65,280 values the connector uploads a batch to a stage; below, it goes with the statement.
_VALUES_A_BATCH = 50_000

# COPY_HISTORY reaches back fourteen days; a day less, since a file is older than its manifest.
_REMEMBERED = timedelta(days=13)

# How long the connector goes on trying to be heard, and how long it lets one statement run.
_NETWORK_TIMEOUT = 900

# Snowflake ends a transaction whose client vanished once others have waited five minutes for it.
_LOCK_TIMEOUT = 900

# The types that the tables have, as the connector names them and as SQL casts to them.
_CASTS = {
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "FIXED": "NUMBER",
    "REAL": "DOUBLE",
    "TEXT": "VARCHAR",
    "TIMESTAMP_NTZ": "TIMESTAMP_NTZ",
}

# Errors that Snowflake gives the class of a wrong statement, though another try may succeed: a
# statement cancelled or out of time, a session that has expired, a service that is restarting.
_MAY_PASS = frozenset({604, 630, 390104, 390110, 390111, 390112, 390114})
_LOCK_WAITED_TOO_LONG = 625
_LOGIN_REFUSED = 250001


class SnowflakeRefusedError(PermanentFailure):
    """Snowflake will not do it, now or later, until someone changes something."""


class SnowflakeUnavailableError(Exception):
    """Snowflake could not be reached, or the connection was lost; another try may succeed."""


class SnowpipeLateError(Exception):
    """The pipe has not brought in all files of a load in the time that was allowed."""


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
            yield _CopySession(connection, self.stage_root)

    @contextmanager
    def loading_session(self, stream: Stream, manifests: Sequence[Manifest]) -> Iterator[Session]:
        """See ``Warehouse.loading_session``: tagged with run and partitions."""
        with self._connection(self._tag(stream, manifests)) as connection:
            if self.load_mode == "copy":
                yield _CopySession(connection, self.stage_root)
                return
            landed = _LandedSession(connection, self, stream, manifests)
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
        # Takes seconds to import, which loading the definitions must not pay.
        from dagster_snowflake import SnowflakeResource  # noqa: PLC0415

        parameters = {"QUERY_TAG": query_tag, "LOCK_TIMEOUT": _LOCK_TIMEOUT}
        options = {
            "network_timeout": _NETWORK_TIMEOUT,
            "login_timeout": 60,
            **self.connection_options,
        }
        resource = SnowflakeResource(
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
        from snowflake.connector.errors import Error  # noqa: PLC0415

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
        except Error as error:
            raise _failure(error) from error


class _CopySession:
    """A ``Session`` on Snowflake that copies files from the stage."""

    def __init__(self, connection: "SnowflakeConnection", stage_root: str) -> None:
        self._connection = connection
        self._stage_root = stage_root.rstrip("/") + "/"

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        with _failures(), closing(self._connection.cursor()) as cursor:
            cursor.execute(sql, tuple(to_engine(value) for value in params))
            names = [column.name.lower() for column in cursor.description]
            return [
                {name: from_engine(value) for name, value in zip(names, row, strict=True)}
                for row in cursor.fetchall()
            ]

    def stage_files(self, table: str, uris: Sequence[str]) -> None:
        self.copy_files(table, [self.path(uri) for uri in uris])

    def copy_files(self, table: str, paths: Iterable[str]) -> None:
        """Add the rows of files, named relative to the stage, to a table."""
        casts = self.casts(table)
        remaining = iter(paths)
        while batch := list(islice(remaining, _FILES_A_COPY)):
            self.execute(
                snowflake_statement(
                    "copy_files",
                    table=identifier(table),
                    columns=", ".join(casts),
                    values=", ".join(f"$1:{name}::{cast}" for name, cast in casts.items()),
                    files=", ".join(map(literal, batch)),
                )
            )

    def stage_rows(self, table: str, rows: Iterable[Row]) -> None:
        names = list(self.casts(table))
        sql = snowflake_statement(
            "insert_rows",
            table=identifier(table),
            columns=", ".join(names),
            places=", ".join("?" * len(names)),
        )
        remaining = (tuple(to_engine(row.get(name)) for name in names) for row in rows)
        with _failures(), closing(self._connection.cursor()) as cursor:
            while batch := list(islice(remaining, _VALUES_A_BATCH // len(names))):
                cursor.executemany(sql, batch)

    def path(self, uri: str) -> str:
        """Where a file is, relative to the stage."""
        if not uri.startswith(self._stage_root):
            raise ValueError(
                f"{uri} is not under {self._stage_root}, which the stage transformed_lake stands "
                "for; set TRANSFORMED_BUCKET to the stage's bucket, or make the stage again."
            )
        return uri.removeprefix(self._stage_root)

    def casts(self, table: str) -> dict[str, str]:
        """The type of each column of a table, by its name."""
        from snowflake.connector.constants import FIELD_ID_TO_NAME  # noqa: PLC0415

        with _failures(), closing(self._connection.cursor()) as cursor:
            cursor.execute(snowflake_statement("columns", table=identifier(table)))
            return {
                identifier(column.name.lower()): _CASTS[FIELD_ID_TO_NAME[column.type_code]]
                for column in cursor.description
            }


class _LandedSession(_CopySession):
    """A ``Session`` that takes the files of a load from where pipes have landed them."""

    def __init__(
        self,
        connection: "SnowflakeConnection",
        warehouse: SnowflakeWarehouse,
        stream: Stream,
        manifests: Sequence[Manifest],
    ) -> None:
        super().__init__(connection, warehouse.stage_root)
        self._landings = landing_tables(stream)
        self._written_at = {
            file.path: manifest.written_at for manifest in manifests for file in manifest.files
        }
        self._patience = warehouse.landing_patience
        self._interval = warehouse.landing_interval

    def stage_files(self, table: str, uris: Sequence[str]) -> None:
        if not uris:
            return
        landing = self._landings[table]
        paths = [self.path(uri) for uri in uris]
        horizon = datetime.now(UTC) - _REMEMBERED
        self._wait(landing, {path for path in paths if self._written_at[path] > horizon})
        self.execute(snowflake_statement("stage_awaited"))
        self.stage_rows("staged_files", ({"file_name": path} for path in paths))
        columns = ", ".join(self.casts(table))
        parts = {"table": identifier(table), "landing": landing, "columns": columns}
        self.execute(snowflake_statement("take_landed", **parts))
        missing = self.execute(snowflake_statement("not_landed", landing=landing))
        self.copy_files(table, [row["file_name"] for row in missing])

    def clear(self) -> None:
        """Take the windows of the load out of the landing tables."""
        for landing in self._landings.values():
            self.execute(snowflake_statement("clear_landed", landing=landing))

    def _wait(self, landing: str, paths: set[str]) -> None:
        deadline = time.monotonic() + self._patience
        while missing := paths - self._landed(landing, paths):
            if time.monotonic() > deadline:
                pipe = landing.replace("_landing", "_pipe")
                raise SnowpipeLateError(
                    f"The pipe {pipe} has landed {len(paths) - len(missing)} of {len(paths)} files "
                    f"in {self._patience:.0f} seconds; {min(missing)} is not in COPY_HISTORY. "
                    f"Nothing was loaded. Ask SYSTEM$PIPE_STATUS('transformed.{pipe}') whether it "
                    "runs; if it does and a notification was lost, run ALTER PIPE "
                    f"transformed.{pipe} REFRESH, or set SNOWFLAKE_LOAD_MODE=copy."
                )
            time.sleep(self._interval)

    def _landed(self, landing: str, paths: set[str]) -> set[str]:
        """Those of the files that the pipe has landed."""
        landed = set()
        for row in self.execute(snowflake_statement("landed_history", landing=landing.upper())):
            # A file's name begins at the stage or at the folder that the pipe reads.
            uri = f"{row['stage_location'].rstrip('/')}/{row['file_name'].lstrip('/')}"
            path = uri.removeprefix(self._stage_root)
            if path not in paths:
                continue
            status = row["status"].lower()
            if status == "loaded":
                landed.add(path)
            elif status in {"load failed", "partially loaded"}:
                raise SnowflakeRefusedError(
                    f"The pipe into {landing} could not land {path}: {row['first_error_message']}. "
                    "Nothing was loaded; materialize transformed_prices for its partition again."
                )
        return landed


def landing_tables(stream: Stream) -> Mapping[str, str]:
    """Where the pipes land the files of each temporary table of a load."""
    tables: dict[Dataset, str] = {"prices": f"{stream.table}_landing"}
    if stream.snapshot_within is not None:
        tables["snapshots"] = "market_snapshots_landing"
    return {f"staged_{dataset}": table for dataset, table in tables.items()}


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


@contextmanager
def _failures() -> Iterator[None]:
    from snowflake.connector.errors import Error  # noqa: PLC0415

    try:
        yield
    except Error as error:
        raise _failure(error) from error


def _failure(error: "Error") -> Exception:
    """What an error of the connector means for the run: whether trying again can heal it."""
    from snowflake.connector import errors  # noqa: PLC0415

    said = f"Snowflake says: {error.msg or error}"
    if error.errno == _LOCK_WAITED_TOO_LONG:
        return WarehouseBusyError(
            f"Another transaction held a table for {_LOCK_TIMEOUT} seconds; nothing was changed. "
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
            f"or is not authorized, run crypto-platform snowflake apply. {said}"
        )
    return SnowflakeUnavailableError(
        "The connection to Snowflake was lost or could not be made; an open transaction is rolled "
        f"back by Snowflake, and the load can be repeated. {said}"
    )
