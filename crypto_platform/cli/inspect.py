"""``crypto-platform inspect``: questions about what stands in the warehouse, and their answers."""

import csv
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import STREAMS
from crypto_platform.profiles import PROFILES
from crypto_platform.warehouse.inspection import Question, answer, question, questions
from crypto_platform.warehouse.price_frames import known_ids, length, moment
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.session import Row

# What sets each variable of the script.
_OPTIONS = {
    "coin": "--coin",
    "stream": "--stream",
    "start_at": "--start",
    "end_at": "--end",
    "known_at": "--at",
}

# Wider than any table: who reads a pipe wants a row on a line.
_WIDE = 1_000


@click.command()
@click.argument("name", metavar="[QUESTION]", required=False)
@click.option("--coin", help="Only this coin: its id, ticker or name.")
@click.option(
    "--stream", type=click.Choice([stream.name for stream in STREAMS]), help="Only this stream."
)
@click.option("--start", help="Only from this day or moment on, in UTC or with a zone.")
@click.option("--end", help="Only before this one.")
@click.option("--last", help="Only so far back from now, as 12h, 30d or 8w.")
@click.option("--at", "known_at", help="For known: the moment of which to tell what was known.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def inspect(  # noqa: PLR0913 - one argument an option
    name: str | None,
    *,
    coin: str | None,
    stream: str | None,
    start: str | None,
    end: str | None,
    last: str | None,
    known_at: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Answer a question about what stands in the warehouse, or list the questions."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two forms of one answer: give one of them.")
    if last and (start or end):
        raise click.UsageError("--last reaches from now back: give it, or --start and --end.")
    options = {"coin": coin, "stream": stream, "start_at": last or start, "end_at": end}
    given = {one: text for one, text in {**options, "known_at": known_at}.items() if text}
    if name is None:
        if given:
            raise click.UsageError(f"Which question? {_OPTIONS[min(given)]} narrows one.")
        _show(_listed(), as_json=as_json, as_csv=as_csv, title="What can be asked")
        return
    asked = question(name)
    _refuse_what_it_does_not_take(asked, given)
    settings = Settings.from_environment(os.environ)
    # Somebody sits before it: better told in seconds that a load goes on than answered in a minute.
    warehouse: Warehouse = PROFILES[settings.profile].builders["warehouse"](settings).with_timeout()
    if warehouse.is_snowflake:
        click.echo(
            f"This wakes {settings.snowflake_warehouse} in Snowflake, which costs credits for at "
            "least a minute.",
            err=True,
        )
    values = _values(given, warehouse, is_length=bool(last))
    rows = answer(warehouse, asked, values, settings.snowflake_warehouse)
    _show(rows, as_json=as_json, as_csv=as_csv, title=asked.asks, note=asked.note)
    if len(rows) == asked.most_rows:
        narrower = ", ".join(_OPTIONS[one] for one in asked.variables)
        click.echo(
            f"There may be more than these {asked.most_rows} rows"
            + (f"; narrow it by {narrower}." if narrower else "."),
            err=True,
        )


def _refuse_what_it_does_not_take(asked: Question, given: Mapping[str, str]) -> None:
    if others := [_OPTIONS[one] for one in given if one not in asked.variables]:
        takes = ", ".join(_OPTIONS[one] for one in asked.variables) or "none"
        raise click.UsageError(
            f"{asked.name} is not narrowed by {', '.join(others)}. What it takes: {takes}."
        )


def _values(
    given: Mapping[str, str], warehouse: Warehouse, *, is_length: bool
) -> dict[str, object]:
    """The values to bind, from what stands on the command line."""

    def value(variable: str, text: str) -> object:
        if variable == "coin":
            return known_ids([text], warehouse)[0]
        if variable == "start_at" and is_length:
            return datetime.now(UTC) - length(text)
        return text if variable == "stream" else moment(text, _OPTIONS[variable])

    return {variable: value(variable, text) for variable, text in given.items()}


def _listed() -> list[Row]:
    return [
        {
            "question": one.name,
            "asks": one.asks,
            "narrowed by": " ".join(_OPTIONS[variable] for variable in one.variables),
            "only Snowflake": one.only_snowflake,
        }
        for one in questions().values()
    ]


def _show(rows: Sequence[Row], *, as_json: bool, as_csv: bool, title: str, note: str = "") -> None:
    if as_json:
        click.echo(json.dumps([_plain(row) for row in rows], indent=2))
    elif as_csv:
        # Without a row nothing says which columns there are.
        if rows:
            writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(map(_plain, rows))
    else:
        _print(rows, title, note)


def _plain(row: Row) -> Row:
    """A row whose times are text, for programs."""
    return {
        name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()
    }


def _print(rows: Sequence[Row], title: str, note: str) -> None:
    console = Console()
    if not rows:
        console.print(title, note, "\nNothing: no row answers that.", highlight=False)
        return
    table = Table(title=title, caption=note or None, title_justify="left", caption_justify="left")
    for name in rows[0]:
        values = [row[name] for row in rows]
        is_number = any(_is_number(value) for value in values)
        # Numbers, names and times are never cut or broken; sentences are.
        is_sentence = any(isinstance(value, str) and " " in value for value in values)
        table.add_column(
            name.replace("_", " "),
            justify="right" if is_number else "left",
            no_wrap=not is_sentence,
        )
    for row in rows:
        # A reason may have what rich would take for a colour.
        table.add_row(*(escape(_shown(value)) for value in row.values()))
    least = Measurement.get(console, console.options.update(max_width=_WIDE), table).minimum
    console.width = max(console.width, least) if console.is_terminal else _WIDE
    console.print(table)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}" if value.second else f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:,.8g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
