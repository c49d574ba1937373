"""What the doctor looks at in Snowflake: is the account as ``snowflake_scripts`` describe it?"""

import json
import re
from collections.abc import Collection, Iterable

from crypto_platform.core.lazy import exp, sqlglot
from crypto_platform.doctor.preflight import (
    CheckFailedError,
    CheckSkippedError,
    Preflight,
    PreflightCheck,
)
from crypto_platform.warehouse.catalogue import tables
from crypto_platform.warehouse.schema_changes import found_columns, schema_changes
from crypto_platform.warehouse.session import Row
from crypto_platform.warehouse.snowflake import SnowflakeWarehouse
from crypto_platform.warehouse.snowflake_apply import SCRIPTS, TYPES
from crypto_platform.warehouse.snowflake_names import SnowflakeNames
from crypto_platform.warehouse.sql import (
    identifier,
    literal,
    script_statements,
    snowflake_statement,
    statement,
)

_LOGIN = "Snowflake login"
LOGIN_VARIABLES = ("SNOWFLAKE_ACCOUNT", "SNOWFLAKE_USER", "SNOWFLAKE_PRIVATE_KEY_PATH")
_APPLY = "Run crypto-platform snowflake apply."

# In seconds; a limit that somebody made stricter is theirs.
_GREATEST_TIMEOUTS = {
    "STATEMENT_TIMEOUT_IN_SECONDS": 1800,
    "STATEMENT_QUEUED_TIMEOUT_IN_SECONDS": 600,
}

_PIPE = re.compile(
    r"CREATE PIPE IF NOT EXISTS transformed\.(?P<name>\w+)\b.*?\bAS\s+(?P<copy>COPY INTO .*)",
    flags=re.DOTALL,
)


def defined_columns() -> dict[str, list[str]]:
    """The columns of every table and view that the scripts make, by its name."""
    defined = {name: [column.name for column in columns] for name, columns in tables().items()}
    for text in (text for script in SCRIPTS for text in script_statements(script)):
        if text.startswith("CREATE OR REPLACE VIEW"):
            create = sqlglot.parse_one(text, read="snowflake")
            query = create.expression
            name = next(create.find_all(exp.Table)).name
            defined[name] = query.named_selects if isinstance(query, exp.Query) else []
    return defined


def defined_pipes() -> dict[str, str]:
    """The COPY of every pipe that the scripts make, by its name."""
    texts = (text for script in SCRIPTS for text in script_statements(script))
    return {found["name"]: found["copy"] for text in texts if (found := _PIPE.match(text))}


def _login(preflight: Preflight) -> str:
    if not any(preflight.environment.get(name) for name in LOGIN_VARIABLES):
        raise CheckSkippedError(
            f"{', '.join(LOGIN_VARIABLES)} are not set here; where Dagster runs they have to be."
        )
    warehouse = _warehouse(preflight)
    (row,) = _ask(warehouse, "session_facts")
    if row["warehouse"] is None:
        raise CheckFailedError(
            f"{row['user_name']} may not use the warehouse {warehouse.warehouse} as {row['role']}."
        )
    return f"{row['user_name']} works as {row['role']} on {row['warehouse']}"


def _tables(preflight: Preflight) -> str:
    there = found_columns(_warehouse(preflight).query(statement("columns")))
    defined = defined_columns()
    faults = [
        fault
        for relation, columns in defined.items()
        for fault in _faults(relation, columns, there.get(relation))
    ]
    for change in schema_changes(there, TYPES):
        remedy = "apply adds it" if change.is_safe else "; ".join(change.statements)
        faults.append(f"{change.fault} ({remedy})")
    if faults:
        raise CheckFailedError("The schema differs from the scripts: " + "; ".join(faults) + ".")
    return f"{len(defined)} tables and views have the columns of the scripts"


def _faults(relation: str, columns: Iterable[str], there: Collection[str] | None) -> Iterable[str]:
    if there is None:
        yield f"{relation} is not there, or not for this role"
    elif relation not in tables():
        missing = [name for name in columns if name not in there]
        yield from (
            f"{relation}.{name} is not there (a view: apply replaces it)" for name in missing
        )


def _stage(preflight: Preflight) -> str:
    warehouse = _warehouse(preflight)
    stages = {row["name"].lower(): row["url"] for row in _ask(warehouse, "show_stages")}
    url = f"{warehouse.stage_root}/"
    found = stages.get("transformed_lake", "not there, or not for this role")
    if found != url:
        raise CheckFailedError(f"The stage transformed_lake is {found}, and not {url}.")
    # Nothing is there; that Snowflake may look is what is to be seen.
    _ask(warehouse, "list_nothing")
    return f"transformed_lake is {url}, and Snowflake may list it"


def _pipes(preflight: Preflight) -> str:
    warehouse = _warehouse(preflight)
    wanted = warehouse.load_mode == "snowpipe"
    shown = {row["name"].lower(): row["definition"] for row in _ask(warehouse, "show_pipes")}
    defined = defined_pipes()
    faults = []
    for pipe, copy in defined.items():
        if pipe not in shown:
            faults += [f"{pipe} is not there, or not for this role"] * wanted
        elif wanted and _words(shown[pipe]) != _words(copy):
            faults.append(f"{pipe} copies otherwise than its script (DROP PIPE, then apply)")
        else:
            faults += _state_faults(warehouse, pipe)
    if faults:
        raise CheckFailedError("The pipes differ from the scripts: " + "; ".join(faults) + ".")
    if not wanted:
        there = len(defined.keys() & shown.keys())
        paused = f"the {there} that are there are paused" if there else "there are none"
        return f"SNOWFLAKE_LOAD_MODE=copy needs no pipes, and {paused}"
    return f"{len(defined)} pipes are as the scripts have them, and run"


def _state_faults(warehouse: SnowflakeWarehouse, pipe: str) -> list[str]:
    (row,) = _ask(
        warehouse, "pipe_status", database=identifier(warehouse.database), pipe=identifier(pipe)
    )
    state = json.loads(row["status"])["executionState"]
    expected = "PAUSED" if warehouse.load_mode == "copy" else "RUNNING"
    if state == expected:
        return []
    return [f"{pipe} is {state}, and SNOWFLAKE_LOAD_MODE={warehouse.load_mode} wants it {expected}"]


def _limits(preflight: Preflight) -> str:
    warehouse = _warehouse(preflight)
    names = SnowflakeNames.of(preflight.settings)
    if warehouse.warehouse != names.warehouse:
        raise CheckSkippedError(
            f"SNOWFLAKE_WAREHOUSE={warehouse.warehouse} is not {names.warehouse}, which the "
            "scripts make; what it may cost is its owner's to say."
        )
    shown = _ask(warehouse, "show_limits", of=identifier(names.warehouse))
    values = {row["key"]: row["value"] for row in shown}
    # Snowflake: zero is as long as it allows, two days for a statement and no end for its queue.
    faults = [
        f"{name} of {names.warehouse} is {values.get(name, 'not shown to this role')}"
        for name, greatest in _GREATEST_TIMEOUTS.items()
        if not 0 < int(values.get(name, 0)) <= greatest
    ]
    monitors = {
        row["name"]: row for row in _ask(warehouse, "show_monitors", pattern=literal(names.monitor))
    }
    monitor = monitors.get(names.monitor)
    if monitor is None:
        faults.append(f"the resource monitor {names.monitor} is not there, or not for this role")
    elif monitor["level"] != "WAREHOUSE":
        faults.append(f"the resource monitor {names.monitor} watches no warehouse")
    if faults or monitor is None:
        raise CheckFailedError("What it may cost has no limit: " + "; ".join(faults) + ".")
    return (
        f"{names.monitor}: {monitor['used_credits']} of {monitor['credit_quota']} credits of this "
        "month; statements end in time"
    )


def _words(sql: str) -> list[str]:
    return sql.lower().rstrip("; \n").split()


def _ask(warehouse: SnowflakeWarehouse, name: str, **parts: str) -> list[Row]:
    with warehouse.session(read_only=True) as session:
        return session.execute(snowflake_statement(name, **parts))


def _warehouse(preflight: Preflight) -> SnowflakeWarehouse:
    warehouse: SnowflakeWarehouse = preflight.resource("warehouse")
    return warehouse


SNOWFLAKE_CHECKS = (
    PreflightCheck(
        _LOGIN,
        _login,
        "Correct SNOWFLAKE_* here; docs/snowflake.md says how key, user and role are made.",
    ),
    PreflightCheck(
        "Snowflake tables",
        _tables,
        f"{_APPLY} It makes what is not there and adds missing columns that may be null; any other "
        "statement named is for a person to run.",
        needs=_LOGIN,
    ),
    PreflightCheck(
        "Snowflake stage",
        _stage,
        "Correct TRANSFORMED_BUCKET; deploy the stack on AWS with what crypto-platform snowflake "
        "handover prints, so that its role trusts Snowflake; or drop the stage and run "
        "crypto-platform snowflake apply.",
        needs=_LOGIN,
    ),
    PreflightCheck("Snowflake pipes", _pipes, _APPLY, needs=_LOGIN),
    PreflightCheck(
        "Snowflake limits",
        _limits,
        "Run crypto-platform snowflake integration.",
        needs=_LOGIN,
    ),
)
"""What the aws profile needs in Snowflake."""
