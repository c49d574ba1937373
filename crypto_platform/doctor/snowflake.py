"""What the doctor looks at in Snowflake: is the account as ``snowflake_scripts`` describe it?"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from crypto_platform.core.lazy import lazy_import
from crypto_platform.doctor.preflight import (
    CheckFailedError,
    CheckSkippedError,
    Preflight,
    PreflightCheck,
)
from crypto_platform.warehouse.resource import Row
from crypto_platform.warehouse.snowflake import SnowflakeWarehouse
from crypto_platform.warehouse.snowflake_apply import SCRIPTS
from crypto_platform.warehouse.sql import (
    identifier,
    script_statements,
    snowflake_statement,
    statement,
)

if TYPE_CHECKING:
    import sqlglot
    from sqlglot import expressions as exp
else:
    sqlglot = lazy_import("sqlglot")
    exp = lazy_import("sqlglot.expressions")

_LOGIN = "Snowflake login"
LOGIN_VARIABLES = ("SNOWFLAKE_ACCOUNT", "SNOWFLAKE_USER", "SNOWFLAKE_PRIVATE_KEY_PATH")
_APPLY = "Run crypto-platform snowflake apply."

# How INFORMATION_SCHEMA names the types of the scripts. Both kinds of timestamp with a zone keep
# the moment.
_SHOWN_AS = {
    "BOOLEAN": {"BOOLEAN"},
    "DATE": {"DATE"},
    "DOUBLE": {"FLOAT"},
    "INT": {"NUMBER"},
    "TIMESTAMPLTZ": {"TIMESTAMP_LTZ", "TIMESTAMP_TZ"},
    "TIMESTAMPNTZ": {"TIMESTAMP_NTZ"},
    "VARCHAR": {"TEXT"},
}

_PIPE = re.compile(
    r"CREATE PIPE IF NOT EXISTS transformed\.(?P<name>\w+)\b.*?\bAS\s+(?P<copy>COPY INTO .*)",
    flags=re.DOTALL,
)


class Column(NamedTuple):
    """A column as a script defines it.

    Attributes:
        name: Its name.
        sql_type: Its type as the script writes it.
        shown_as: What its type may be called in INFORMATION_SCHEMA; ``None`` where the type
            follows from a query.
    """

    name: str
    sql_type: str
    shown_as: frozenset[str] | None


def defined_columns() -> dict[str, list[Column]]:
    """The columns of every table and view that the scripts make, by its name."""
    defined = {}
    for text in (text for script in SCRIPTS for text in script_statements(script)):
        if not re.match(r"CREATE\s+(OR\s+REPLACE\s+VIEW|TABLE)\b", text):
            continue
        create = sqlglot.parse_one(text, read="snowflake")
        name = next(create.find_all(exp.Table)).name
        columns = [
            Column(column.name, kind.sql("snowflake"), frozenset(_SHOWN_AS[kind.this.value]))
            for column in create.find_all(exp.ColumnDef)
            if (kind := column.kind)
        ]
        query = create.expression
        views = query.named_selects if isinstance(query, exp.Query) else []
        defined[name] = columns or [Column(name, "", None) for name in views]
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
    there: dict[str, dict[str, str]] = {}
    for row in _warehouse(preflight).query(statement("columns")):
        there.setdefault(row["relation"], {})[row["name"]] = row["type"]
    defined = defined_columns()
    faults = [
        fault
        for relation, columns in defined.items()
        for fault in _faults(relation, columns, there.get(relation))
    ]
    if faults:
        raise CheckFailedError("The schema differs from the scripts: " + "; ".join(faults) + ".")
    return f"{len(defined)} tables and views have the columns of the scripts"


def _faults(
    relation: str, columns: Iterable[Column], there: Mapping[str, str] | None
) -> Iterable[str]:
    if there is None:
        yield f"{relation} is not there, or not for this role"
        return
    for name, sql_type, shown_as in columns:
        if name not in there:
            yield f"{relation} has no column {name}" + (
                f" (ALTER TABLE transformed.{relation} ADD COLUMN {name} {sql_type})"
                if shown_as
                else " (a view: apply makes it anew)"
            )
        elif shown_as and there[name] not in shown_as:
            yield f"{relation}.{name} is {there[name]} and not {sql_type}"


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
    shown = {row["name"].lower(): row["definition"] for row in _ask(warehouse, "show_pipes")}
    defined = defined_pipes()
    faults = []
    for pipe, copy in defined.items():
        if pipe not in shown:
            faults.append(f"{pipe} is not there, or not for this role")
        elif _words(shown[pipe]) != _words(copy):
            faults.append(f"{pipe} copies otherwise than its script (DROP PIPE, then apply)")
        else:
            faults += _state_faults(warehouse, pipe)
    if faults:
        raise CheckFailedError("The pipes differ from the scripts: " + "; ".join(faults) + ".")
    return f"{len(defined)} pipes are as the scripts and SNOWFLAKE_LOAD_MODE have them"


def _state_faults(warehouse: SnowflakeWarehouse, pipe: str) -> list[str]:
    (row,) = _ask(warehouse, "pipe_status", pipe=identifier(pipe))
    state = json.loads(row["status"])["executionState"]
    expected = "PAUSED" if warehouse.load_mode == "copy" else "RUNNING"
    if state == expected:
        return []
    return [f"{pipe} is {state}, and SNOWFLAKE_LOAD_MODE={warehouse.load_mode} wants it {expected}"]


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
        f"{_APPLY} It makes what is not there and never changes a table that is: add a missing "
        "column by hand, with the statement named.",
        needs=_LOGIN,
    ),
    PreflightCheck(
        "Snowflake stage",
        _stage,
        "Correct TRANSFORMED_BUCKET, let the storage role trust what apply prints at its end, or "
        "drop the stage and run crypto-platform snowflake apply.",
        needs=_LOGIN,
    ),
    PreflightCheck("Snowflake pipes", _pipes, _APPLY, needs=_LOGIN),
)
"""What the aws profile needs in Snowflake."""
