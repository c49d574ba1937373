"""Columns of numbers in the tables of the commands."""

import re
from datetime import UTC, datetime

from rich.console import Console

from crypto_platform.cli.list import _table
from crypto_platform.warehouse.coin_spans import CoinSpans, Span

DAY = datetime(2026, 11, 20, tzinfo=UTC)


def spans(coin_id: str, price: float | None = None) -> CoinSpans:
    streams = {"historical": Span(1, DAY, DAY, price, price)} if price else {}
    return CoinSpans(coin_id, None, None, tracked=True, streams=streams)


def test_the_points_of_listed_prices_stand_below_each_other_in_80_columns() -> None:
    found = [spans("bitcoin", 56_044.399), spans("aurel-protocol", 0.21026898), spans("none-yet")]
    console = Console(width=80)

    with console.capture() as capture:
        console.print(_table(found, "usd"))

    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    bitcoin, aurel = (line for line in lines if "." in line)
    assert "56,044.40 " in bitcoin
    assert "0.2103 " in aurel
    assert bitcoin.index(".") == aurel.index(".")
    assert any(re.search(r"none-yet +none +none", line) for line in lines)
