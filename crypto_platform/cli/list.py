"""``crypto-platform list``: the coins, with their first and newest price and how many there are."""

import json
import os
from collections.abc import Sequence

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crypto_platform.cli.columns import column
from crypto_platform.core.numbers import aligned, price_text
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import STREAMS
from crypto_platform.profiles import PROFILES
from crypto_platform.warehouse.coin_spans import CoinSpans, coin_spans


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")
def list_(*, as_json: bool) -> None:
    """List the coins with their newest price, and from when to when there are prices."""
    settings = Settings.from_environment(os.environ)
    warehouse = PROFILES[settings.profile].builders["warehouse"](settings)
    found = coin_spans(warehouse, STREAMS, settings.vs_currency)
    if as_json:
        click.echo(json.dumps([one.as_json() for one in found], indent=2))
    else:
        Console().print(_table(found, settings.vs_currency))


def _table(found: Sequence[CoinSpans], vs_currency: str) -> Table:
    # Two lines a coin: its times stand below its numbers, so that all of it fits into 80 columns.
    table = Table("coin", box=SIMPLE_HEAD, title=f"Prices in {vs_currency}", title_justify="left")
    for name in ("first", "newest (UTC)", *(one.name for one in STREAMS)):
        table.add_column(name, justify="right", no_wrap=True)
    firsts = _prices([one.first.first_price if one.first else None for one in found])
    newests = _prices([one.newest.newest_price if one.newest else None for one in found])
    starts = [f"\n{one.first.first_at:%Y-%m-%d}" if one.first else "" for one in found]
    ends = [f"\n{one.newest.newest_at:%Y-%m-%d %H:%M}" if one.newest else "" for one in found]
    cells = zip(
        found,
        column([*map("".join, zip(firsts, starts, strict=True))], "first"),
        column([*map("".join, zip(newests, ends, strict=True))], "newest (UTC)"),
        strict=True,
    )
    for one, first, newest in cells:
        called = " ".join(text for text in ((one.symbol or "").upper(), one.name) if text)
        spans = [one.streams.get(stream.name) for stream in STREAMS]
        table.add_row(
            f"[bold]{escape(one.coin_id)}[/]{'' if one.tracked else ' (not tracked)'}\n"
            f"{escape(called)}",
            first,
            newest,
            *(f"{span.prices:,}\n{span.first_at:%Y-%m-%d}" if span else "none" for span in spans),
        )
    return table


def _prices(prices: Sequence[float | None]) -> list[str]:
    return aligned(prices, "none", pad=" ", written=price_text)
