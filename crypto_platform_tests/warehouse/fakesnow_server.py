"""Snowflake on loopback: fakesnow behind the real connector, and a wire to cut."""

import gzip
import json
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import fakesnow.arrow
import fakesnow.server
import fakesnow.transforms
import pyarrow as pa
import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fakesnow.instance import FakeSnow
from sqlglot import exp

from crypto_platform.core.settings import Settings
from crypto_platform.lake.manifests import Manifest
from crypto_platform.warehouse.snowflake import SnowflakeWarehouse
from crypto_platform.warehouse.snowflake_apply import steps
from crypto_platform_tests.warehouse.fakesnow_translations import kept_translations

# A storage integration is none of its either, and so a stage on it; the stage is made below.
_NOT_IN_FAKESNOW = [
    "^CREATE STAGE IF NOT EXISTS",
    "^CREATE PIPE",
    "^ALTER FILE FORMAT",
    "^GRANT",
    "^COMMENT ON COLUMN",
]
_DATABASE = "CRYPTO_DB"
_SCHEMA = "TRANSFORMED"
_SETTINGS = Settings.from_environment({"SNOWFLAKE_LOAD_MODE": "snowpipe"})

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


@dataclass
class Wire:
    """What goes between the connector and the server, and the place to cut it.

    Attributes:
        statements: The statements that arrived.
        logins: What was sent to log in.
        swallows: A statement that begins so is answered without being run.
        cut_at: A connection is lost once a statement that begins so has been run.
        is_cut: Whether nothing gets through.
        rewrites: What is made of a statement before it is run, for what fakesnow has not.
    """

    app: Any
    statements: list[str] = field(default_factory=list)
    logins: list[dict[str, Any]] = field(default_factory=list)
    swallows: str | None = None
    cut_at: str | None = None
    is_cut: bool = False
    rewrites: list[Callable[[str], str]] = field(default_factory=list)

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = await _body(receive)
        packed = body.startswith(b"\x1f\x8b")
        request = json.loads((gzip.decompress(body) if packed else body) or b"{}")
        statement = request.get("sqlText", "")
        self.statements += [statement] * bool(statement)
        self.logins += [request["data"]] if "login-request" in scope["path"] else []
        if self.swallows and statement.startswith(self.swallows):
            request |= {"sqlText": "SELECT ?"}
        elif statement:
            for rewrite in (_with_pipe_history, *self.rewrites, *_ACCOUNT):
                statement = rewrite(statement)
            request |= {"sqlText": statement}
        if self.is_cut:
            await _unavailable(send)
            return
        cuts = bool(self.cut_at and statement.startswith(self.cut_at))
        body = json.dumps(request).encode()
        sent = iter([{"type": "http.request", "body": gzip.compress(body) if packed else body}])

        async def replay() -> _Message:
            return next(sent, None) or await receive()

        if cuts:
            await self.app(scope, replay, _to_nobody)
            # Not before: a test that sees it goes on, and DuckDB refuses who comes meanwhile.
            self.is_cut = True
            await _unavailable(send)
        else:
            await self.app(scope, replay, send)

    def mend(self) -> None:
        """Let the connection through again, after the server has noticed that it was lost."""
        self.swallows, self.cut_at, self.is_cut = None, None, False
        for session in fakesnow.server.sessions.values():
            session.rollback()
        fakesnow.server.sessions.clear()


_PIPE = re.compile(r"COMMENT = 'Lands new files of (\w+)/'\s+AS\s+(COPY INTO [^;]*)")
_COPY_HISTORY = re.compile(r"TABLE\(\s*information_schema\.copy_history\(.*\)\s*\)", re.DOTALL)


def _with_pipe_history(statement: str) -> str:
    # A function that fakesnow has not: a test fills a table in its place.
    return _COPY_HISTORY.sub("pipe_history", statement)


def answering(words: str, query: str) -> Callable[[str], str]:
    """A rewrite: a statement that holds these words is answered as the query is."""
    return lambda statement: query if words in statement else statement


# What an account answers in which 0_account.sql was run; a test's own rewrite comes before.
_ACCOUNT = (
    answering("SHOW PIPES IN ACCOUNT", "SELECT 1 AS name WHERE FALSE"),
    answering(
        "SHOW PARAMETERS",
        "SELECT 'STATEMENT_TIMEOUT_IN_SECONDS' AS key, '1800' AS value "
        "UNION ALL SELECT 'STATEMENT_QUEUED_TIMEOUT_IN_SECONDS', '600'",
    ),
    answering(
        "SHOW RESOURCE MONITORS",
        "SELECT 'CRYPTO_MONITOR' AS name, 30.0 AS credit_quota, 1.5 AS used_credits, "
        "'WAREHOUSE' AS level",
    ),
)


def mirroring(folder: Path, read: Callable[[str], bytes]) -> Callable[[str], str]:
    """A rewrite: files that are copied from a bucket's stage are put into a folder first.

    fakesnow reads no S3: a COPY reads the stage that ``fakesnow_warehouse`` makes over the folder.

    Args:
        folder: What takes the place of the bucket.
        read: The content of a file, by its name relative to the stage.
    """

    def rewrite(statement: str) -> str:
        if "COPY INTO" not in statement or "@transformed_lake" not in statement:
            return statement
        for name in re.findall(r"'([^']+[.]parquet)'", statement):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(read(name))
        return statement.replace("@transformed_lake", "@mirror")

    return rewrite


@contextmanager
def fakesnow_server() -> Iterator[tuple[dict[str, Any], Wire]]:
    """The arguments to connect to a server, and its wire."""
    wire = Wire(fakesnow.server.app)
    timestamps = fakesnow.arrow.timestamp_to_sf_struct

    def with_nulls(column: pa.ChunkedArray) -> pa.StructArray:
        # fakesnow sends a timestamp that is null as the first moment of 1970.
        sent = timestamps(column)
        nulls = column.combine_chunks().is_null()
        return pa.StructArray.from_arrays(sent.flatten(), fields=list(sent.type), mask=nulls)

    of_types = fakesnow.transforms.semi_structured_types

    def with_structured_arrays(expression: exp.Expr) -> exp.Expr:
        # fakesnow takes ARRAY(DOUBLE) for JSON, which no lambda function reads.
        is_structured = isinstance(expression, exp.DataType) and expression.expressions
        return expression if is_structured else of_types(expression)

    server = uvicorn.Server(uvicorn.Config(wire, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with (
        mock.patch.object(fakesnow.arrow, "timestamp_to_sf_struct", with_nulls),
        mock.patch.object(fakesnow.transforms, "semi_structured_types", with_structured_arrays),
        kept_translations(),
    ):
        yield {"host": "127.0.0.1", "port": port, "protocol": "http"}, wire
    server.should_exit = True
    thread.join()


def write_private_key(path: Path, passphrase: bytes | None = None) -> None:
    """A key as a user of Snowflake makes it."""
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else None
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            encryption or serialization.NoEncryption(),
        )
    )


@dataclass(frozen=True)
class _Template:
    """An account as the scripts make it, to copy: running them takes six times as long.

    Not over the connector; what applies the scripts is tested over it.

    Attributes:
        folder: Where its database is a file.
        noted: What fakesnow notes beside a database, as file formats, by its table.
    """

    folder: TemporaryDirectory[str]
    noted: dict[str, pa.Table]

    @classmethod
    @cache
    def made(cls) -> "_Template":
        """The one of this process."""
        folder = TemporaryDirectory(prefix="fakesnow_template_")
        account = FakeSnow(nop_regexes=_NOT_IN_FAKESNOW, db_path=folder.name)
        with account.connect(_DATABASE, _SCHEMA) as connection, connection.cursor() as cursor:
            for step in steps(_SETTINGS):
                cursor.execute(step.sql)
        noted = {
            table: account.duck_conn.table(table).to_arrow_table()
            for (table,) in account.duck_conn.execute(
                "SELECT '_fs_global._fs_information_schema.' || table_name FROM duckdb_tables() "
                "WHERE database_name = '_fs_global'"
            ).fetchall()
        }
        account.duck_conn.close()
        return cls(folder, noted)

    def copied(self) -> FakeSnow:
        """An account of its own, in memory."""
        account = FakeSnow(nop_regexes=_NOT_IN_FAKESNOW)
        for sql in (
            f"ATTACH '{self.folder.name}/{_DATABASE}.db' AS template (READ_ONLY)",
            f"ATTACH ':memory:' AS {_DATABASE}",
            f"COPY FROM DATABASE template TO {_DATABASE}",
            "DETACH template",
        ):
            account.duck_conn.execute(sql)
        for table, rows in self.noted.items():
            if rows:
                account.duck_conn.from_arrow(rows).insert_into(table)
        return account


def fakesnow_warehouse(
    connection_options: dict[str, Any],
    private_key: Path,
    lake_root: str,
    *,
    network_timeout: int = 60,
    mirror: Path | None = None,
    **options: Any,
) -> SnowflakeWarehouse:
    """A warehouse in an account of its own, as the creation script makes it, over a lake.

    Args:
        connection_options: How to connect.
        private_key: The key to log in with.
        lake_root: A folder, or a bucket's address.
        network_timeout: Seconds after which a connection is lost.
        mirror: What takes the place of the bucket; see ``mirroring``.
        options: Further attributes of the warehouse.
    """
    fakesnow.server.sessions.clear()
    fakesnow.server.shared_fs = account = _Template.made().copied()
    warehouse = SnowflakeWarehouse(
        account="example",
        user="loader",
        private_key_path=str(private_key),
        role="CRYPTO_LOADER",
        warehouse="CRYPTO_WH",
        database=_DATABASE,
        schema_name=_SCHEMA,
        stage_root=lake_root,
        connection_options={
            **connection_options,
            "network_timeout": network_timeout,
            "session_parameters": {"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
        },
        **options,
    )
    root = lake_root if mirror else f"file://{lake_root}"
    stages = {"transformed_lake": root, "mirror": f"file://{mirror}"}
    with account.connect(_DATABASE, _SCHEMA) as connection, connection.cursor() as cursor:
        for stage, url in stages.items():
            quoted = url.replace("'", "''")
            cursor.execute(f"CREATE STAGE transformed.{stage} URL = '{quoted}/'")
    return warehouse


def run_pipes(
    warehouse: SnowflakeWarehouse, manifests: Sequence[Manifest], status: str = "Loaded"
) -> None:
    """Do what Snowflake's pipes do of themselves: land the files of manifests, and remember it."""
    pipes = dict(_PIPE.findall(";".join(step.sql for step in steps(_SETTINGS))))
    with warehouse.session(read_only=False) as session:
        session.execute(
            "CREATE TABLE IF NOT EXISTS pipe_history (stage_location VARCHAR, file_name VARCHAR, "
            "status VARCHAR, first_error_message VARCHAR)"
        )
        for file in (file for manifest in manifests for file in manifest.files):
            folder, name = file.path.split("/", 1)
            (pattern,) = re.findall(r"PATTERN = '(\S+)'", pipes[folder])
            if not re.fullmatch(pattern, file.path):
                continue
            copy = pipes[folder].replace("METADATA$FILENAME", f"'{file.path}'")
            copy = re.sub(r"@\S+", "@transformed.transformed_lake", copy)
            if status == "Loaded":
                session.execute(re.sub(r"PATTERN = \S+", f"FILES = ('{file.path}')", copy))
            session.execute(
                "INSERT INTO pipe_history VALUES (?, ?, ?, ?)",
                [f"{warehouse.stage_root}/{folder}/", name, status, "it is not Parquet"],
            )


async def _body(receive: _Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _unavailable(send: _Send) -> None:
    await send({"type": "http.response.start", "status": 503, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _to_nobody(_: _Message) -> None:
    """Where the answers go that a client no longer hears."""
