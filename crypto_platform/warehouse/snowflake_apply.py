"""Bring a Snowflake account to what ``snowflake_scripts`` describe, in three phases.

A pipe with AUTO_INGEST is refused until Snowflake may assume the AWS role of its stage, and the
role can trust Snowflake only once the integration has an external id. So the order is
``integrate``, then the stack on AWS with what ``handover`` says, then ``apply``.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.settings import Settings, SettingsError
from crypto_platform.warehouse.schema_changes import (
    FoundColumns,
    found_columns,
    refuse_unsafe,
    schema_changes,
)
from crypto_platform.warehouse.session import Row, Session
from crypto_platform.warehouse.snowflake_errors import SnowflakeRefusedError
from crypto_platform.warehouse.snowflake_names import SCHEMA, SnowflakeNames
from crypto_platform.warehouse.snowflake_ownership import ADMINISTRATOR, schema_pipes, transfers
from crypto_platform.warehouse.sql import (
    filled,
    identifier,
    script_statements,
    snowflake_statement,
    statement,
    variables_of,
)

ACCOUNT_SCRIPT = "0_account.sql"
"""What stands above the database; the first phase."""

SCRIPTS = (
    "1_creation_tables.sql",
    "2_creating_pipe_for_historical.sql",
    "3_creating_pipe_for_intra_day.sql",
    "5_creation_models.sql",
)
"""The database and all in it; the last phase."""

CREDIT_QUOTA = 30
"""Credits a month of a new resource monitor: some three times what a month of running takes."""

_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS transformed\.(\w+)")
_PIPE = re.compile(r"CREATE PIPE|GRANT MONITOR ON PIPE")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", flags=re.ASCII)
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END PUBLIC KEY-----")

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
"""What Snowflake's INFORMATIONSCHEMA calls the types of the scripts."""

Change = Literal["created", "already there", "set", "changed"]


class RoleNotAssumableError(PermanentFailure):
    """A pipe was refused since AWS does not let Snowflake assume the role of its stage."""


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
        said = re.sub(r"^--.*\n", "", self.sql, flags=re.MULTILINE)
        return re.sub(r"\s+", " ", re.split(r"\n|\(", said)[0]).strip()


@dataclass(frozen=True)
class Outcome:
    """What became of a step.

    Attributes:
        step: The step.
        change: ``created`` where something is new, ``already there`` where nothing was done,
            ``set`` for what says the same every time, as a grant or a view does, and ``changed``
            where something that is there was brought to what its script says.
    """

    step: Step
    change: Change


@dataclass(frozen=True)
class Handover:
    """What AWS has to be told before files can be read and pipes are notified.

    Attributes:
        user_arn: The AWS user that the storage role has to trust.
        external_id: The external id that the trust has to ask for.
        queue: The queue that the bucket has to notify, one for all pipes; none without pipes.
    """

    user_arn: str
    external_id: str
    queue: str | None = None

    def parameters(self) -> Mapping[str, str]:
        """The same as parameters of the stack."""
        known = {
            "SnowflakeUserArn": self.user_arn,
            "SnowflakeExternalId": self.external_id,
            "SnowpipeQueueArn": self.queue,
        }
        return {name: said for name, said in known.items() if said}


def account_steps(
    settings: Settings,
    *,
    role: str = ADMINISTRATOR,
    credit_quota: int | None = None,
    public_key: str | None = None,
) -> list[Step]:
    """What the first phase runs, in this order.

    Args:
        settings: The platform's settings.
        role: Who may make integrations and resource monitors.
        credit_quota: Credits a month; if none, a new resource monitor has ``CREDIT_QUOTA``, and
            one that is there keeps what it has.
        public_key: The public key of the service user, in PEM; if none, that user is not made.

    Raises:
        SettingsError: A setting is missing or malformed, or the key is none.
    """
    if not _ROLE_ARN.fullmatch(settings.snowflake_storage_role_arn):
        raise SettingsError(
            f"SNOWFLAKE_STORAGE_ROLE_ARN={settings.snowflake_storage_role_arn!r} is not the ARN of "
            "a role, as arn:aws:iam::123456789012:role/name; set it to the role that Snowflake "
            "assumes, an output of the stack. The role need not be there yet."
        )
    given = {
        **_variables(settings),
        "administrator": identifier(role),
        "credit_quota": str(credit_quota or CREDIT_QUOTA),
        "storage_role_arn": settings.snowflake_storage_role_arn,
    }
    if credit_quota:
        given["new_credit_quota"] = str(credit_quota)
    if public_key is None:
        del given["service_user"]
    else:
        given["public_key"] = _base64_of(public_key)
    return [
        Step(ACCOUNT_SCRIPT, filled(sql, given))
        for sql in script_statements(ACCOUNT_SCRIPT)
        if variables_of(sql) <= given.keys()
    ]


def steps(settings: Settings) -> list[Step]:
    """What the last phase runs, in this order; pipes only where loads wait for them.

    Raises:
        SettingsError: A setting that the scripts are given is malformed, or names something else
            than the scripts do.
    """
    given = _variables(settings)
    has_pipes = settings.snowflake_load_mode == "snowpipe"
    return [
        Step(script, filled(sql, given))
        for script in SCRIPTS
        for sql in script_statements(script)
        if has_pipes or not _PIPE.match(sql)
    ]


def integrate(
    session: Session, todo: Sequence[Step], names: SnowflakeNames, *, role: str = ADMINISTRATOR
) -> Iterator[Outcome]:
    """Run the first phase, telling of each step as it is done.

    What an earlier version of the scripts made belongs to the administrator: it is handed over to
    who owns it now, first, since its new owner is refused before.

    Args:
        session: As the administrator.
        todo: What ``account_steps`` says.
        names: What the objects are called.
        role: The administrator.

    Raises:
        SnowflakeRefusedError: Snowflake refuses a step; those before it stay done, and all can be
            run again.
    """
    for sql in transfers(session, names, role):
        session.execute(sql)
        yield Outcome(Step(ACCOUNT_SCRIPT, sql), "changed")
    for step in todo:
        yield _outcome(step, session.execute(step.sql))


def apply(
    session: Session,
    todo: Sequence[Step],
    settings: Settings,
    *,
    patience: float = 60,
    interval: float = 5,
) -> Iterator[Outcome]:
    """Run the last phase, telling of each step as it is done; tables that are there gain columns.

    Pipes that are there are paused where loads copy the files themselves, so that landing tables
    do not fill up, and run where loads wait for them.

    Args:
        session: As the owner.
        todo: What ``steps`` says.
        settings: The platform's settings.
        patience: Seconds to wait for AWS to let its role be assumed: a trust that was just
            changed takes some to be known everywhere.
        interval: Seconds between two tries.

    Raises:
        SnowflakeRefusedError: Snowflake refuses a step; those before it stay done, and all can be
            run again.
        RoleNotAssumableError: A pipe cannot assume the role of its stage.
        SchemaChangeRefusedError: A table differs in what a person has to decide on; no table was
            changed.
    """
    names = SnowflakeNames.of(settings)
    earlier_pipes = schema_pipes(session, names)
    before: FoundColumns | None = None
    for step in todo:
        made = _TABLE.match(step.sql)
        if made and before is None:
            before = found_columns(session.execute(statement("columns")))
            refuse_unsafe("The schema transformed", schema_changes(before, TYPES))
        deadline = time.monotonic() + patience
        yield _outcome(step, _executed(session, step, deadline, interval))
        # Before what follows: a view may read the new column.
        if made and before and made[1] in before:
            for change in schema_changes({made[1]: before[made[1]]}, TYPES):
                for sql in change.statements:
                    session.execute(sql)
                    yield Outcome(Step(step.script, sql), "changed")
    for pipe in earlier_pipes:
        yield from _set_state(session, pipe, names, settings)


def handover(session: Session, names: SnowflakeNames) -> Handover:
    """What the account made for AWS to know.

    Args:
        session: As who may use the integration and owns the pipes.
        names: What the objects are called.

    Raises:
        SnowflakeRefusedError: There is no integration yet.
    """
    sql = snowflake_statement("describe_integration", integration=names.integration)
    described = {row["property"]: row["property_value"] for row in session.execute(sql)}
    queues = [row["notification_channel"] for row in schema_pipes(session, names)]
    return Handover(
        user_arn=described["STORAGE_AWS_IAM_USER_ARN"],
        external_id=described["STORAGE_AWS_EXTERNAL_ID"],
        queue=next(filter(None, queues), None),
    )


def _executed(session: Session, step: Step, deadline: float, interval: float) -> list[Row]:
    """The response to a step; a pipe is tried until AWS lets its role be assumed."""
    while True:
        try:
            return session.execute(step.sql)
        except SnowflakeRefusedError as error:
            # "Error assuming AWS_ROLE. Please verify the role and externalId …"
            if not (step.sql.startswith("CREATE PIPE") and "assuming AWS_ROLE" in str(error)):
                raise
            if time.monotonic() > deadline:
                raise RoleNotAssumableError(
                    f"{step.title} was refused, since AWS does not let Snowflake assume the role "
                    "of SNOWFLAKE_STORAGE_ROLE_ARN. Deploy the stack with the parameters that "
                    "crypto-platform snowflake handover prints, then run crypto-platform "
                    f"snowflake apply again; all before is done. {error}"
                ) from error
        time.sleep(interval)


def _set_state(
    session: Session, pipe: Row, names: SnowflakeNames, settings: Settings
) -> Iterator[Outcome]:
    """Pause or resume a pipe that was there before, as the load mode wants it."""
    parts = {"database": names.database, "pipe": identifier(pipe["name"])}
    if settings.snowflake_load_mode == "snowpipe":
        (said,) = session.execute(snowflake_statement("pipe_status", **parts))
        if json.loads(said["status"])["executionState"] == "RUNNING":
            return
        sql = snowflake_statement("resume_pipe", **parts)
    else:
        sql = snowflake_statement("pause_pipe", **parts)
    session.execute(sql)
    yield Outcome(Step(SCRIPTS[1], sql), "set")


def _variables(settings: Settings) -> dict[str, str]:
    if settings.snowflake_schema != SCHEMA:
        raise SettingsError(
            f"The scripts make the schema {SCHEMA}, but SNOWFLAKE_SCHEMA is "
            f"{settings.snowflake_schema}; unset it. For a deployment of its own set "
            "SNOWFLAKE_DATABASE: all names follow it."
        )
    if not _BUCKET.fullmatch(settings.transformed_bucket):
        raise SettingsError(
            f"TRANSFORMED_BUCKET={settings.transformed_bucket!r} cannot be the name of a bucket."
        )
    return {
        **SnowflakeNames.of(settings).variables(),
        "transformed_bucket": settings.transformed_bucket,
    }


def _base64_of(public_key: str) -> str:
    """A public key as Snowflake takes it: without the lines before and after."""
    found = _PEM.fullmatch(public_key.strip())
    if not found:
        raise SettingsError(
            "--public-key is not the file of a public key in PEM, as openssl rsa -pubout writes it."
        )
    return re.sub(r"\s", "", found[1])


def _outcome(step: Step, responses: Sequence[Row]) -> Outcome:
    change: Change = "set"
    if "IF NOT EXISTS" in step.sql:
        status = " ".join(str(row.get("status", "")) for row in responses)
        change = "already there" if "already exists" in status else "created"
    return Outcome(step, change)
