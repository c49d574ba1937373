"""The questions of ``4_inspection.sql``: what each asks, and its answer from a warehouse."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from crypto_platform.core.errors import InvalidInputError
from crypto_platform.warehouse.catalogue import script_text
from crypto_platform.warehouse.resource import Warehouse, nothing_there
from crypto_platform.warehouse.session import Row
from crypto_platform.warehouse.sql import literal, statement, statement_names

SCRIPT = "4_inspection.sql"

_ONLY_SNOWFLAKE = "Only Snowflake"

# What only the deployment decides: a name, which stands in a statement as it is.
_NAME = "warehouse_name"

# A session variable of Snowflake; SYSTEM$PIPE_STATUS has none.
_VARIABLE = re.compile(r"(?<!\w)\$([a-z_]+)")
_DEFAULT = re.compile(r"^SET (\w+) = (.+);$", flags=re.MULTILINE)
_LIMIT = re.compile(r"^LIMIT (\d+)$", flags=re.MULTILINE)


@dataclass(frozen=True)
class Question:
    """A question to the warehouse.

    Attributes:
        name: The name that it is asked by.
        asks: What it asks, in a sentence.
        note: How its answer is to be read; may be empty.
        sql: Its query, in Snowflake's dialect, with session variables.
    """

    name: str
    asks: str
    note: str
    sql: str

    @property
    def variables(self) -> tuple[str, ...]:
        """What it can be narrowed by, or asks of."""
        return tuple(name for name in dict.fromkeys(_VARIABLE.findall(self.sql)) if name != _NAME)

    @property
    def only_snowflake(self) -> bool:
        """Whether it asks for what DuckDB has not."""
        return self.note.startswith(_ONLY_SNOWFLAKE)

    @property
    def most_rows(self) -> int | None:
        """How many rows it has at most; ``None`` for all there are."""
        found = _LIMIT.search(self.sql)
        return int(found[1]) if found else None


@cache
def questions() -> Mapping[str, Question]:
    """The questions by their names, in the order of the script."""
    return {name: _read(name) for name in statement_names(SCRIPT)}


def question(name: str) -> Question:
    """The question of a name; a dash is as good as an underscore.

    Raises:
        InvalidInputError: There is none; names the nearest.
    """
    asked = name.strip().lower().replace("-", "_")
    if found := questions().get(asked):
        return found
    near = get_close_matches(asked, questions(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"those are {', '.join(questions())}."
    raise InvalidInputError(f"{name!r} is no question; {hint}")


def answer(
    warehouse: Warehouse, asked: Question, given: Mapping[str, object], warehouse_name: str
) -> list[Row]:
    """What a warehouse answers to a question.

    Args:
        warehouse: The warehouse.
        asked: The question.
        given: The values of its variables; of what is not given the script's own counts.
        warehouse_name: What computes in Snowflake, as the settings name it.

    Raises:
        InvalidInputError: The warehouse is not Snowflake, and only Snowflake can say.
        NothingThereError: There is no warehouse yet.
        WarehouseBusyError: Another process holds the warehouse.
    """
    if not warehouse.exists():
        raise nothing_there(warehouse)
    if asked.only_snowflake and not warehouse.is_snowflake:
        raise InvalidInputError(
            f"{asked.name} asks Snowflake itself: only with CRYPTO_PROFILE=aws."
        )
    sql, params = bound(asked, given, warehouse_name)
    return warehouse.query(sql, params)


def bound(
    asked: Question, given: Mapping[str, object], warehouse_name: str
) -> tuple[str, list[object]]:
    """A question's query and the values to bind; for the arguments see ``answer``."""
    params: list[object] = []

    def filled(found: re.Match[str]) -> str:
        name = found[1]
        if name == _NAME:
            return literal(warehouse_name)
        if name not in given:
            return _defaults()[name]
        params.append(given[name])
        return "?"

    return _VARIABLE.sub(filled, asked.sql), params


@cache
def _defaults() -> Mapping[str, str]:
    """What the script sets each variable to, as SQL."""
    return dict(_DEFAULT.findall(script_text(SCRIPT)))


def _read(name: str) -> Question:
    lines = statement(name, file=SCRIPT).splitlines()
    said = [line.removeprefix("-- ") for line in lines if line.startswith("-- ")]
    sql = "\n".join(line for line in lines if not line.startswith("-- "))
    return Question(name, said[0], " ".join(said[1:]), sql)
