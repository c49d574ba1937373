"""Tables in Markdown, as the UI shows them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> dg.MarkdownMetadataValue:
    """A few rows as a table; says so where there are none."""
    if not rows:
        return dg.MetadataValue.md("no rows")
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([_cell(row[name]) for name in head] for row in rows)]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _cell(value: object) -> str:
    text = str(value)
    if isinstance(value, float):
        text = f"{value:,.8g}"
    elif isinstance(value, datetime):
        text = f"{value:%Y-%m-%d %H:%M:%S}"
    return text.replace("|", "\\|").replace("\n", " ")
