"""Tables in Markdown, as the UI shows them."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import dagster as dg

from crypto_platform.core.numbers import FIGURE_SPACE, UNKNOWN, Value, aligned

# Numbers as people read them, whoever wrote them: 1,240, 57.0 %, 43.56 B, < 0.1.
_NUMBER = re.compile(
    rf"(?:[-+<\N{{MINUS SIGN}}] ?)?\d[\d,.]*(?:e[-+]\d+)?(?:\s[%KMBT])?{FIGURE_SPACE}*|{UNKNOWN}|"
)


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> dg.MarkdownMetadataValue:
    """A few rows as a table, its columns of numbers to the right; says so where there are none."""
    if not rows:
        return dg.MetadataValue.md("no rows")
    columns = {name: _texts([row[name] for row in rows]) for name in rows[0]}
    # A unit stays in the line of its number.
    columns = {
        name: [text.replace(" ", "\N{NO-BREAK SPACE}") for text in texts]
        if _are_numbers(texts)
        else texts
        for name, texts in columns.items()
    }
    rules = ["---:" if _are_numbers(texts) else "---" for texts in columns.values()]
    lines = [list(columns), rules, *map(list, zip(*columns.values(), strict=True))]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _are_numbers(texts: Sequence[str]) -> bool:
    return any(texts) and all(_NUMBER.fullmatch(text) for text in texts)


def _texts(values: Sequence[object]) -> list[str]:
    """The cells of a column; numbers with a fraction have as many digits as each other."""
    numbers = [value for value in values if value is None or _is_number(value)]
    if len(numbers) == len(values) and any(isinstance(value, float) for value in values):
        return aligned(cast("list[Value]", numbers))
    return [_cell(value) for value in values]


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, int) and _is_number(value):
        return f"{value:,}"
    return ("" if value is None else str(value)).replace("|", "\\|").replace("\n", " ")
