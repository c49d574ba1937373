"""``crypto-platform list``: the coins, with their first and newest price and how many there are."""

import json
import os
from collections.abc import Sequence

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crypto_platform.core.numbers import price_text
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
    for one in found:
        first, newest = one.first, one.newest
        called = " ".join(text for text in ((one.symbol or "").upper(), one.name) if text)
        spans = [one.streams.get(stream.name) for stream in STREAMS]
        table.add_row(
            f"[bold]{escape(one.coin_id)}[/]{'' if one.tracked else ' (not tracked)'}\n"
            f"{escape(called)}",
            f"{price_text(first.first_price)}\n{first.first_at:%Y-%m-%d}" if first else "none",
            f"{price_text(newest.newest_price)}\n{newest.newest_at:%Y-%m-%d %H:%M}"
            if newest
            else "none",
            *(f"{span.prices:,}\n{span.first_at:%Y-%m-%d}" if span else "none" for span in spans),
        )
    return table
