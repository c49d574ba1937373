"""``crypto-platform inspect``: questions about what stands in the warehouse, and their answers."""

import csv
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from crypto_platform.cli.columns import column
from crypto_platform.core.numbers import aligned, exact_text, percent, share_percent
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

# What a number is, by the name of its column; any other is a plain number. A column that the tables
# have under one of these names means that, see 1_creation_tables.sql and 5_creation_models.sql.
_IN_PERCENT = re.compile(r"\w+_percentage(_\w+)?")
_SHARE = re.compile(
    r"complete|ratio|turnover|(breadth|above|volatility)_\w+|(\w+_)?(share|dominance)"
)
_MOVE = re.compile(r"drawdown|ath_distance|price_change|return_\w+|\w+_change_\d+d")
_PRICE = re.compile(r"(\w+_)?price|open|high|low|close")
_SUM = re.compile(r"(\w+_)?(market_cap|volume)")
_HOURS = re.compile(r"hours_\w+")

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
    currency = _currency(rows)
    columns: list[Sequence[Text | str]] = []
    for name in rows[0]:
        values = [row[name] for row in rows]
        is_number = any(_is_number(value) for value in values)
        heading = _heading(name, currency if is_number else "")
        # Numbers, names and times are never cut or broken; sentences are.
        is_sentence = any(isinstance(value, str) and " " in value for value in values)
        table.add_column(
            heading,
            justify="right" if is_number else "left",
            no_wrap=not is_sentence,
        )
        if is_number:
            columns.append(column(_numbers(name, values), heading))
        else:
            # A reason may have what rich would take for a colour.
            columns.append([escape(_shown(value)) for value in values])
    for cells in zip(*columns, strict=True):
        table.add_row(*cells)
    least = Measurement.get(console, console.options.update(max_width=_WIDE), table).minimum
    console.width = max(console.width, least) if console.is_terminal else _WIDE
    console.print(table)


def _currency(rows: Sequence[Row]) -> str:
    """The currency that all rows are in; none where they are in several, each in its row's."""
    found = {row.get("vs_currency") for row in rows} - {None}
    return str(found.pop()) if len(found) == 1 else ""


def _heading(name: str, currency: str) -> str:
    is_money = _PRICE.fullmatch(name) or _SUM.fullmatch(name)
    return name.replace("_", " ") + (f" ({currency})" if is_money and currency else "")


def _numbers(name: str, values: Sequence[Any]) -> list[str]:
    """The numbers of a column as people read them, by what its name says that they are."""
    if not any(isinstance(value, float) for value in values):
        return [_shown(value) for value in values]
    if _IN_PERCENT.fullmatch(name):
        parts = [None if value is None else value / 100 for value in values]
        return [percent(part, 2, signed=True, missing="") for part in parts]
    if _MOVE.fullmatch(name):
        return [percent(value, 2, signed=True, missing="") for value in values]
    if _SHARE.fullmatch(name):
        return [share_percent(value, missing="") for value in values]
    if _HOURS.fullmatch(name):
        return ["" if value is None else f"{value:,.1f}" for value in values]
    return aligned(values, pad=" ", written=exact_text if _PRICE.fullmatch(name) else None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}" if value.second else f"{value:%Y-%m-%d %H:%M}"
    return f"{value:,}" if isinstance(value, int) else str(value)
