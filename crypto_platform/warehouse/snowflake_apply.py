"""Bring a Snowflake account to what ``snowflake_scripts`` describe."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from crypto_platform.core.settings import Settings, SettingsError
from crypto_platform.warehouse.schema_changes import (
    FoundColumns,
    found_columns,
    refuse_unsafe,
    schema_changes,
)
from crypto_platform.warehouse.session import Session
from crypto_platform.warehouse.sql import (
    filled,
    script_statements,
    snowflake_statement,
    statement,
)

SCRIPTS = (
    "1_creation_tables.sql",
    "2_creating_pipe_for_historical.sql",
    "3_creating_pipe_for_intra_day.sql",
    "5_creation_models.sql",
)

# The names in the scripts, which qualify everything with them.
_DATABASE = ("CRYPTO_DB", "TRANSFORMED")

_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS transformed\.(\w+)")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", flags=re.ASCII)

TYPES = {
    "BOOLEAN": ("BOOLEAN",),
    "DATE": ("DATE",),
    "DOUBLE": ("DOUBLE", "FLOAT"),
    "INTEGER": ("INTEGER", "NUMBER"),
    # Both kinds of timestamp with a zone keep the moment.
    "TIMESTAMP_LTZ": ("TIMESTAMP_LTZ", "TIMESTAMP_TZ"),
    "TIMESTAMP_NTZ": ("TIMESTAMP_NTZ",),
    "VARCHAR": ("VARCHAR", "TEXT"),
}
"""What Snowflake's INFORMATION_SCHEMA calls the types of the scripts."""

Change = Literal["created", "already there", "set", "changed"]


@dataclass(frozen=True)
class Step:
    """A statement of a script, ready to run.

    Attributes:
        script: The script's name.
        sql: The statement, with all that it is given.
    """

    script: str
    sql: str

    @property
    def title(self) -> str:
        """What it makes, in one line."""
        return re.sub(r"\s+", " ", re.split(r"\n|\(", self.sql)[0]).strip()


@dataclass(frozen=True)
class Outcome:
    """What became of a step.

    Attributes:
        step: The step.
        change: ``created`` where something is new, ``already there`` where nothing was done,
            ``set`` for what says the same every time, as a grant or a view does, and ``changed``
            where a table that is there was brought to what its script says.
    """

    step: Step
    change: Change


@dataclass(frozen=True)
class Handover:
    """What AWS has to be told before files can be read and pipes are notified.

    Attributes:
        user_arn: The AWS user that the storage role has to trust.
        external_id: The external id that the trust has to ask for.
        queues: The queue that the bucket has to notify, by pipe; one queue serves them all.
    """

    user_arn: str
    external_id: str
    queues: dict[str, str]


def steps(settings: Settings) -> list[Step]:
    """What is to be run, in this order.

    Raises:
        SettingsError: A setting that the scripts are given is missing or malformed, or names
            something else than the scripts do.
    """
    variables = _variables(settings)
    return [
        Step(script, filled(sql, variables))
        for script in SCRIPTS
        for sql in script_statements(script)
    ]


def apply(session: Session, todo: Sequence[Step]) -> Iterator[Outcome]:
    """Run steps, telling of each as it is done; tables that are there gain new columns.

    Args:
        session: As a role that may make all of it.
        todo: The steps, in their order.

    Raises:
        SnowflakeRefusedError: Snowflake refuses a step; those before it stay done, and all can be
            run again.
        SchemaChangeRefusedError: A table differs in what a person has to decide on; no table was
            changed.
    """
    before: FoundColumns | None = None
    for step in todo:
        made = _TABLE.match(step.sql)
        if made and before is None:
            before = found_columns(session.execute(statement("columns")))
            refuse_unsafe("The schema transformed", schema_changes(before, TYPES))
        responses = session.execute(step.sql)
        yield Outcome(
            step, _change(step, " ".join(str(row.get("status", "")) for row in responses))
        )
        # Before what follows: a view may read the new column.
        if made and before and made[1] in before:
            for change in schema_changes({made[1]: before[made[1]]}, TYPES):
                for sql in change.statements:
                    session.execute(sql)
                    yield Outcome(Step(step.script, sql), "changed")


def handover(session: Session) -> Handover:
    """What the account made for AWS to know."""
    described = {
        row["property"]: row["property_value"]
        for row in session.execute(snowflake_statement("describe_integration"))
    }
    pipes = session.execute(snowflake_statement("show_pipes"))
    return Handover(
        user_arn=described["STORAGE_AWS_IAM_USER_ARN"],
        external_id=described["STORAGE_AWS_EXTERNAL_ID"],
        queues={row["name"]: row["notification_channel"] for row in pipes},
    )


def _variables(settings: Settings) -> dict[str, str]:
    if (settings.snowflake_database, settings.snowflake_schema) != _DATABASE:
        raise SettingsError(
            f"The scripts make {'.'.join(_DATABASE)}, but SNOWFLAKE_DATABASE and SNOWFLAKE_SCHEMA "
            f"are {settings.snowflake_database} and {settings.snowflake_schema}; unset them."
        )
    if not _BUCKET.fullmatch(settings.transformed_bucket):
        raise SettingsError(
            f"TRANSFORMED_BUCKET={settings.transformed_bucket!r} cannot be the name of a bucket."
        )
    if not _ROLE_ARN.fullmatch(settings.snowflake_storage_role_arn):
        raise SettingsError(
            f"SNOWFLAKE_STORAGE_ROLE_ARN={settings.snowflake_storage_role_arn!r} is not the ARN of "
            "a role, as arn:aws:iam::123456789012:role/name; set it to the role that Snowflake "
            "assumes, an output of the stack."
        )
    return {
        "transformed_bucket": settings.transformed_bucket,
        "storage_role_arn": settings.snowflake_storage_role_arn,
        "pipes_paused": str(settings.snowflake_load_mode == "copy").upper(),
    }


def _change(step: Step, status: str) -> Change:
    if "IF NOT EXISTS" not in step.sql:
        return "set"
    return "already there" if "already exists" in status else "created"
