"""A load in Snowflake whose files pipes have landed: load mode ``snowpipe``."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from crypto_platform.core.streams import Dataset, Stream
from crypto_platform.lake.manifests import Manifest
from crypto_platform.warehouse.snowflake_errors import SnowflakeRefusedError
from crypto_platform.warehouse.snowflake_session import CopySession
from crypto_platform.warehouse.sql import snowflake_statement

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

# COPY_HISTORY is asked for thirteen days; a day less, since a file may have landed before the
# manifests that its run committed were written.
_REMEMBERED = timedelta(days=12)

# What COPY_HISTORY says of a file, by Snowflake's page of that function. A file has as many rows as
# there were tries to land it.
_LANDED = "loaded"
_REFUSED = frozenset({"load failed", "partially loaded"})
# It will not land, as when the pipe has had it before, or found it gone: a load reads it itself.
_SKIPPED = "load skipped"


class SnowpipeLateError(Exception):
    """The pipe has not brought in all files of a load in the time that was allowed."""


class LandedSession(CopySession):
    """A ``Session`` that takes the files of a load from where pipes have landed them.

    A file is there as a whole or not at all, and a load clears whole files: the next load of other
    windows of the file copies it from the stage, as each load does that finds a file not landed.

    Only files that can be in COPY_HISTORY are waited for: those that the run of one of the
    manifests wrote, at most twelve days ago. A file may be older than the manifest of a window,
    or younger: of any other nobody knows, and it is taken if it has landed, else copied.

    Args:
        connection: To Snowflake.
        stage_root: The address that the stage ``transformed_lake`` stands for.
        stream: The stream of the load.
        manifests: What is loaded.
        patience: Seconds to wait for the pipes.
        interval: Seconds between two looks at what they have landed.
    """

    def __init__(  # noqa: PLR0913 - what is loaded, and how long it is waited for
        self,
        connection: "SnowflakeConnection",
        stage_root: str,
        stream: Stream,
        manifests: Sequence[Manifest],
        *,
        patience: float,
        interval: float,
    ) -> None:
        """See the class."""
        super().__init__(connection, stage_root)
        self._landings = landing_tables(stream)
        horizon = datetime.now(UTC) - _REMEMBERED
        self._awaited = {
            file.path
            for manifest in manifests
            if manifest.written_at > horizon
            for file in manifest.files
            if PurePosixPath(file.path).stem == f"{file.dataset}-{manifest.run_id}"
        }
        self._patience = patience
        self._interval = interval

    def stage_files(self, table: str, uris: Sequence[str], windows: str) -> None:
        """See ``Session.stage_files``."""
        self.execute(snowflake_statement("stage_landed_files"))
        if not uris:
            return
        landing = self._landings[table]
        paths = [self.path(uri) for uri in uris]
        self._wait(landing, self._awaited.intersection(paths))
        self.stage_rows("staged_files", ({"landing": landing, "file_name": one} for one in paths))
        columns = ", ".join(self.casts(table))
        self.execute(snowflake_statement("take_landed", table, landing=landing, columns=columns))
        missing = self.execute(snowflake_statement("not_landed", landing=landing))
        self.copy_files(table, [row["file_name"] for row in missing])
        self.keep_windows(table, windows)

    def clear(self) -> None:
        """Take out of the landing tables every file that has to do with the windows of the load."""
        for landing in self._landings.values():
            self.execute(snowflake_statement("clear_landed", landing=landing))

    def _wait(self, landing: str, paths: set[str]) -> None:
        deadline = time.monotonic() + self._patience
        while missing := self._missing(landing, paths):
            if time.monotonic() > deadline:
                pipe = landing.replace("_landing", "_pipe")
                first = min(missing)
                raise SnowpipeLateError(
                    f"The pipe {pipe} has landed {len(paths) - len(missing)} of {len(paths)} files "
                    f"in {self._patience:.0f} seconds; {first} {missing[first]}. "
                    f"Nothing was loaded. Ask SYSTEM$PIPE_STATUS('transformed.{pipe}') whether it "
                    "runs; if it does and a notification was lost, run ALTER PIPE "
                    f"transformed.{pipe} REFRESH, or set SNOWFLAKE_LOAD_MODE=copy."
                )
            time.sleep(self._interval)

    def _missing(self, landing: str, paths: set[str]) -> dict[str, str]:
        """Those of the files that may yet land, each with what is known of it.

        Of a status that is not known the time limit decides: it may be of a file on its way, as
        ``load in progress`` is, and a new word of Snowflake's must stop no load that comes right.

        Raises:
            SnowflakeRefusedError: The pipe could not land a file, whenever it tried.
        """
        said: dict[str, set[str]] = {}
        reasons: dict[str, str | None] = {}
        for row in self.execute(snowflake_statement("landed_history", landing=landing.upper())):
            # A file's name begins at the stage or at the folder that the pipe reads.
            uri = f"{row['stage_location'].rstrip('/')}/{row['file_name'].lstrip('/')}"
            path = uri.removeprefix(self._stage_root)
            said.setdefault(path, set()).add(row["status"].lower())
            reasons[path] = row["first_error_message"] or reasons.get(path)
        missing = {}
        for path in paths:
            statuses = said.get(path, set())
            if _LANDED in statuses:
                continue
            if statuses & _REFUSED:
                raise SnowflakeRefusedError(
                    f"The pipe into {landing} could not land {path}: {reasons[path]}. "
                    "Nothing was loaded; materialize transformed_prices for its partition again."
                )
            if _SKIPPED not in statuses:
                known = ", ".join(sorted(statuses))
                missing[path] = (
                    f"is in COPY_HISTORY as: {known}" if known else "is not in COPY_HISTORY"
                )
        return missing


def landing_tables(stream: Stream) -> Mapping[str, str]:
    """Where the pipes land the files of each temporary table of a load."""
    tables: dict[Dataset, str] = {"prices": f"{stream.table}_landing"}
    if stream.snapshot_within is not None:
        tables["snapshots"] = "market_snapshots_landing"
    return {f"staged_{dataset}": table for dataset, table in tables.items()}
