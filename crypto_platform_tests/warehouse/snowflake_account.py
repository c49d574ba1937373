"""A Snowflake account as its documentation describes it: owners, roles, and an AWS role to assume.

fakesnow has no roles, integrations and pipes, and calls everything new each time. What this cannot
show stands in docs/snowflake.md: it knows only the statements of the scripts, and only so much of
privileges as decides who may make and change what.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from crypto_platform.warehouse.snowflake_errors import SnowflakeRefusedError

QUEUE = "arn:aws:sqs:us-east-2:123456789012:sf-snowpipe"
USER_ARN = "arn:aws:iam::999999999999:user/snowflake"
EXTERNAL_ID = "EXAMPLE_SFCRole=1_abc="

# Who holds whose privileges: the roles that every account has.
_BELOW = {
    "ACCOUNTADMIN": {"ACCOUNTADMIN", "SYSADMIN", "SECURITYADMIN", "USERADMIN"},
    "SYSADMIN": {"SYSADMIN"},
    "USERADMIN": {"USERADMIN"},
}
# Who may create what, where it has not been granted otherwise.
_CREATORS = {
    "ROLE": "USERADMIN",
    "USER": "USERADMIN",
    "WAREHOUSE": "SYSADMIN",
    "DATABASE": "SYSADMIN",
    "RESOURCE MONITOR": "ACCOUNTADMIN",
    "STORAGE INTEGRATION": "ACCOUNTADMIN",
}
_CREATE = re.compile(
    r"CREATE (?:OR REPLACE )?"
    r"(ROLE|USER|WAREHOUSE|DATABASE|RESOURCE MONITOR|STORAGE INTEGRATION|SCHEMA|TABLE|VIEW"
    r"|FILE FORMAT|STAGE|PIPE)(?: IF NOT EXISTS)? (\S+)"
)
_ALTER = re.compile(
    r"ALTER (WAREHOUSE|RESOURCE MONITOR|STORAGE INTEGRATION|FILE FORMAT|PIPE) (\S+) SET\s+(.*)",
    re.DOTALL,
)
_GIVE = re.compile(
    r"GRANT OWNERSHIP ON (?:ALL (.+)S IN DATABASE \S+|(\w+) (\S+)) TO ROLE (\w+) COPY"
)
_GRANT = re.compile(r"GRANT (.+) ON (?:ALL )?([A-Z ]+?) (?:IN SCHEMA )?(\S+) TO ROLE (\w+)")


@dataclass
class Account:
    """An account, and a session in it.

    Attributes:
        role: The session's role.
        trusted: Whether AWS lets Snowflake assume the role of the integration.
        tries_until_trusted: How many pipes are refused until the trust is known everywhere.
        owners: The owner of every object, by its kind and name.
        paused: Whether each pipe is paused.
        given_away: Pipes whose owner has changed since they were paused.
        grants: What was granted: privilege, kind, name and role.
        statements: All that was asked.
        stops_before: A statement that is never reached: the connection is lost.
    """

    role: str = "PUBLIC"
    trusted: bool = False
    tries_until_trusted: int = 0
    owners: dict[tuple[str, str], str] = field(default_factory=dict)
    paused: dict[str, bool] = field(default_factory=dict)
    given_away: set[str] = field(default_factory=set)
    grants: set[tuple[str, str, str, str]] = field(default_factory=set)
    monitor_of: dict[str, str] = field(default_factory=dict)
    statements: list[str] = field(default_factory=list)
    stops_before: str | None = None

    def execute(self, sql: str, params: Sequence[object] = ()) -> list[dict[str, Any]]:
        """What a session answers."""
        assert not params
        sql = re.sub(r"^--.*\n", "", sql, flags=re.MULTILINE)
        if self.stops_before and sql.startswith(self.stops_before):
            raise ConnectionError(sql)
        self.statements.append(sql)
        answers: dict[str, Callable[[str], list[dict[str, Any]]]] = {
            "USE ROLE ": self._use,
            "CREATE ": self._create,
            "ALTER ": self._alter,
            "GRANT OWNERSHIP ": self._give,
            "GRANT ": self._grant,
            "SHOW PIPES": self._pipes,
            "SHOW ": self._show,
            "DESCRIBE INTEGRATION ": self._describe,
            "SELECT SYSTEM$PIPE_STATUS": self._status,
            "SELECT SYSTEM$PIPE_FORCE_RESUME": self._resume,
        }
        for begin, answer in answers.items():
            if sql.startswith(begin):
                return answer(sql)
        if "information_schema.columns" in sql and not self._sees("WAREHOUSE"):
            raise _refused("No active warehouse selected in the current session.")
        return [] if "information_schema" in sql else _done()

    def owned_by(self, role: str) -> set[str]:
        """The kinds of what a role owns."""
        return {kind for (kind, _), owner in self.owners.items() if owner == role}

    def _use(self, sql: str) -> list[dict[str, Any]]:
        self.role = sql.removeprefix("USE ROLE ")
        return _done()

    def _create(self, sql: str) -> list[dict[str, Any]]:
        made = _CREATE.match(sql)
        assert made, sql
        kind, name = made[1], made[2].removeprefix("transformed.").upper()
        if (kind, name) in self.owners:
            # A database and what is in it show nobody else that they are there.
            inside = kind in {"SCHEMA", "TABLE", "VIEW", "FILE FORMAT", "STAGE", "PIPE", "DATABASE"}
            if inside and not self._owns(kind, name):
                raise _refused(
                    f"Object '{name}' already exists, but current role has no privileges"
                )
            return [{"status": f"{name} already exists, statement succeeded."}]
        if kind in _CREATORS and _CREATORS[kind] not in _BELOW[self.role]:
            raise _refused(f"Insufficient privileges to operate on account: {kind}")
        if kind not in _CREATORS and not any(
            self._owns(one, name) for one, name in self.owners if one == "DATABASE"
        ):
            raise _refused(f"Insufficient privileges to operate on database for {kind}")
        if kind == "STAGE":
            self._may_use_integration(sql)
        if kind == "PIPE":
            self._assume()
            self.paused[name] = False
        self.owners[kind, name] = self.role
        return [{"status": f"{name} successfully created."}]

    def _assume(self) -> None:
        if self.trusted and self.tries_until_trusted:
            self.tries_until_trusted -= 1
        elif self.trusted:
            return
        raise _refused(
            "SQL execution error: Error assuming AWS_ROLE. Please verify the role and externalId "
            "are configured correctly in your AWS policy."
        )

    def _may_use_integration(self, sql: str) -> None:
        (name,) = re.findall(r"STORAGE_INTEGRATION = (\S+)", sql)
        granted = ("USAGE", "INTEGRATION", name, self.role) in self.grants
        if not granted and not self._owns("STORAGE INTEGRATION", name):
            raise _refused(f"Insufficient privileges to operate on integration '{name}'")

    def _alter(self, sql: str) -> list[dict[str, Any]]:
        altered = _ALTER.match(sql)
        assert altered, sql
        kind, name, change = altered[1], altered[2].rpartition(".")[2].upper(), altered[3]
        if not self._owns(kind, name):
            raise _refused(f"Insufficient privileges to operate on {kind} '{name}'")
        if change.startswith("RESOURCE_MONITOR = "):
            if "ACCOUNTADMIN" not in _BELOW[self.role]:
                raise _refused("Only an account administrator assigns a resource monitor.")
            self.monitor_of[name] = change.removeprefix("RESOURCE_MONITOR = ")
        if kind == "PIPE":
            self.paused[name] = True
        return _done()

    def _give(self, sql: str) -> list[dict[str, Any]]:
        given = _GIVE.match(sql)
        assert given, sql
        many, kind, name, to = given.groups()
        assert many != "PIPE", "bulk grants on pipes are not allowed"
        for one in list(self.owners):
            if one[0] == many or one == (kind, (name or "").rpartition(".")[2]):
                if not self._owns(*one) and self.role != "ACCOUNTADMIN":
                    raise _refused(f"Insufficient privileges to operate on {one}")
                if one[0] == "PIPE":
                    if not self.paused[one[1]]:
                        raise _refused("The pipe must be paused before its owner changes.")
                    self.given_away.add(one[1])
                self.owners[one] = to
        return _done()

    def _grant(self, sql: str) -> list[dict[str, Any]]:
        if granted := re.match(r"GRANT ROLE (\w+) TO", sql):
            if not self._owns("ROLE", granted[1]):
                raise _refused(f"Insufficient privileges to operate on role '{granted[1]}'")
            return _done()
        found = _GRANT.match(sql)
        assert found, sql
        privileges, kind, name, role = found.groups()
        kind = "STORAGE INTEGRATION" if kind == "INTEGRATION" else kind
        name = name.rpartition(".")[2].upper()
        if (kind, name) in self.owners and not self._owns(kind, name):
            raise _refused(f"Insufficient privileges to operate on {kind} '{name}'")
        for privilege in privileges.split(", "):
            self.grants.add((privilege, kind.removeprefix("STORAGE "), name, role))
        return _done()

    def _pipes(self, _: str) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "database_name": "CRYPTO_DB",
                "schema_name": "TRANSFORMED",
                "owner": owner,
                "notification_channel": QUEUE,
            }
            for (kind, name), owner in self.owners.items()
            if kind == "PIPE" and owner in _BELOW[self.role]
        ]

    def _show(self, sql: str) -> list[dict[str, Any]]:
        asked = re.match(r"SHOW (\w+)S LIKE '(\w+)'", sql)
        assert asked, sql
        kind = "STORAGE INTEGRATION" if asked[1] == "INTEGRATION" else asked[1]
        owner = self.owners.get((kind, asked[2]))
        if owner is None:
            return []
        # SHOW INTEGRATIONS tells no owner.
        told = {} if asked[1] == "INTEGRATION" else {"owner": owner}
        return [{"name": asked[2], **told}]

    def _describe(self, sql: str) -> list[dict[str, Any]]:
        name = sql.removeprefix("DESCRIBE INTEGRATION ")
        if ("STORAGE INTEGRATION", name) not in self.owners:
            raise _refused(f"Integration '{name}' does not exist or not authorized.")
        self._may_use_integration(f"STORAGE_INTEGRATION = {name}")
        return [
            {"property": "STORAGE_AWS_IAM_USER_ARN", "property_value": USER_ARN},
            {"property": "STORAGE_AWS_EXTERNAL_ID", "property_value": EXTERNAL_ID},
        ]

    def _status(self, sql: str) -> list[dict[str, Any]]:
        state = "PAUSED" if self.paused[_pipe_in(sql)] else "RUNNING"
        return [{"status": json.dumps({"executionState": state})}]

    def _resume(self, sql: str) -> list[dict[str, Any]]:
        pipe = _pipe_in(sql)
        assert pipe not in self.given_away or "ownership_transfer_check_override" in sql
        self._assume()
        self.paused[pipe] = False
        return _done()

    def _owns(self, kind: str, name: str) -> bool:
        return self.owners.get((kind, name)) in _BELOW[self.role]

    def _sees(self, kind: str) -> bool:
        return any(self._owns(*one) for one in self.owners if one[0] == kind)


def _pipe_in(sql: str) -> str:
    (name,) = re.findall(r"\.transformed\.(\w+)'", sql)
    return str(name).upper()


def _done() -> list[dict[str, Any]]:
    return [{"status": "Statement executed successfully."}]


def _refused(said: str) -> SnowflakeRefusedError:
    return SnowflakeRefusedError(f"Snowflake says: {said}")
