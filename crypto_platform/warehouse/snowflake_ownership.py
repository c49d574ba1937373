"""Who owns what in Snowflake, and how it is handed over where another role made it.

Versions before 0.3 made everything as ACCOUNTADMIN, so it owns all of it in accounts of then; the
owner of today would be refused there.
"""

from collections.abc import Iterator

from crypto_platform.warehouse.session import Row, Session
from crypto_platform.warehouse.snowflake_names import SCHEMA, SnowflakeNames
from crypto_platform.warehouse.sql import identifier, literal, snowflake_statement

ADMINISTRATOR = "ACCOUNTADMIN"
"""Who makes what only an account administrator may make: integration and resource monitor."""

OWNER = "SYSADMIN"
"""Who makes and owns the warehouse, the database and all in it; ``0_account.sql`` names it too."""

# Likewise of roles and users.
_USER_ADMINISTRATOR = "USERADMIN"


def transfers(session: Session, names: SnowflakeNames, role: str) -> Iterator[str]:
    """The statements that hand over what a role owns; none where it owns nothing.

    Args:
        session: As that role.
        names: What the objects are called.
        role: The role that made them.
    """
    for name in (names.loader, names.reader):
        if _is_there(session, "ROLES", name, role):
            yield _give(f"ROLE {name}", _USER_ADMINISTRATOR)
    if _is_there(session, "WAREHOUSES", names.warehouse, role):
        yield _give(f"WAREHOUSE {names.warehouse}")
    if not _is_there(session, "DATABASES", names.database, role):
        return
    if _is_there(session, "INTEGRATIONS", names.integration):
        # A stage whose owner may not use its integration reads nothing.
        yield snowflake_statement("grant_integration", integration=names.integration)
    for kinds in ("SCHEMAS", "TABLES", "VIEWS", "FILE FORMATS", "STAGES"):
        yield _give(f"ALL {kinds} IN DATABASE {names.database}")
    for pipe in schema_pipes(session, names):
        if pipe["owner"] == role:
            # Snowflake's page of GRANT OWNERSHIP: pipes go one by one, and only if they are paused.
            name = identifier(pipe["name"])
            yield snowflake_statement("pause_pipe", database=names.database, pipe=name)
            yield _give(f"PIPE {names.database}.{SCHEMA}.{name}")
    # Last: if this is interrupted, its owner tells that not all is done.
    yield _give(f"DATABASE {names.database}")


def schema_pipes(session: Session, names: SnowflakeNames) -> list[Row]:
    """The pipes of the schema that the session's role may see; none without a database.

    Args:
        session: A session.
        names: What the objects are called.
    """
    return [
        row
        for row in session.execute(snowflake_statement("show_account_pipes"))
        if (row["database_name"], row["schema_name"]) == (names.database, SCHEMA)
    ]


def _is_there(session: Session, kinds: str, name: str, owner: str | None = None) -> bool:
    shown = session.execute(snowflake_statement("show_owned", kinds=kinds, pattern=literal(name)))
    return any(row["name"] == name and owner in {None, row.get("owner")} for row in shown)


def _give(what: str, owner: str = OWNER) -> str:
    return snowflake_statement("give_to", what=what, owner=owner)
