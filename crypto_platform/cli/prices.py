"""``crypto-platform prices``: the prices of coins, printed or in a file."""

import sys
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

import click
from rich.console import Console
from rich.table import Table

from crypto_platform import CoarserPricesWarning, Granularity
from crypto_platform import prices as read_prices
from crypto_platform.cli.columns import column
from crypto_platform.core.numbers import aligned, compact, count, exact_text
from crypto_platform.warehouse.price_frames import FILLED, length

if TYPE_CHECKING:
    import pandas as pd


# One format whatever the moment: pandas reads a column of two as text.
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"

# Wider than any table, which takes what it needs: in a terminal that is narrower, and so in every
# pipe, rich would cut numbers.
_WIDTH = 1_000

# What names the output of the command where a file is asked for.
_OUTPUT = "-"
_FILE = click.Path(dir_okay=False)


@click.command()
@click.argument("coins", nargs=-1, required=True, metavar="COIN...")
@click.option("--last", help="How far back from now, as 12h, 30d or 8w.")
@click.option("--start", help="The first day or moment, in UTC or with a zone.")
@click.option("--end", help="The day or moment before which to stop.")
@click.option(
    "--granularity",
    type=click.Choice(get_args(Granularity)),
    default="daily",
    show_default=True,
    help="daily or hourly: the price nearest to the start of each; finest: every price.",
)
@click.option(
    "--fill",
    is_flag=True,
    help="Where an hour or day has no price, repeat the one before it, marked as filled.",
)
@click.option("--csv", "as_csv", type=_FILE, help="Write this CSV file; - is the output.")
@click.option("--parquet", "as_parquet", type=_FILE, help="Write this one.")
def prices(  # noqa: PLR0913 - one argument an option
    *,
    coins: tuple[str, ...],
    last: str | None,
    start: str | None,
    end: str | None,
    granularity: Granularity,
    fill: bool,
    as_csv: str | None,
    as_parquet: str | None,
) -> None:
    """Print the prices of coins, named by id, ticker or name, or write them to a file."""
    if last and (start or end):
        raise click.UsageError("--last reaches from now back: give it, or --start and --end.")
    since = datetime.now(UTC) - length(last) if last else start
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CoarserPricesWarning)
        frame = read_prices(coins, since, end, granularity, fill=fill)
    for warning in caught:
        click.echo(f"Warning: {warning.message}", err=True)
    if as_csv:
        target = sys.stdout if as_csv == _OUTPUT else as_csv
        frame.to_csv(target, index=False, date_format=_TIME_FORMAT)
    if as_parquet:
        frame.to_parquet(as_parquet, index=False)
    files = [file for file in (as_csv, as_parquet) if file and file != _OUTPUT]
    if files:
        # Beside a CSV in the output this would be one line of it.
        click.echo(
            f"{count(len(frame), 'price')} of {count(frame['coin_id'].nunique(), 'coin')} in "
            f"{' and '.join(files)}.",
            err=as_csv == _OUTPUT,
        )
    elif not as_csv:
        _print(frame)


def _print(frame: "pd.DataFrame") -> None:
    if frame.empty:
        click.echo("No price was seen in that time.")
        return
    simulated = " (simulated)" if "simulated" in set(frame["source"]) else ""
    currency = frame["vs_currency"].iloc[0]
    table = Table("time (UTC)", "coin", title=f"Prices{simulated}", title_justify="left")
    price = f"price ({currency})"
    for name in (price, f"market cap ({currency})", f"volume 24 h ({currency})"):
        table.add_column(name, justify="right")
    table.add_column("granularity")
    # An older price is of that time only by its mark.
    filled = list(frame[FILLED]) if FILLED in frame else [False] * len(frame)
    if any(filled):
        table.add_column("filled from (UTC)")
    prices_shown = column(aligned(list(frame["price"]), pad=" ", written=exact_text), price)
    rows = zip(frame.to_dict("records"), prices_shown, filled, strict=True)
    for row, price_shown, is_filled in rows:
        table.add_row(
            f"{row['time']:%Y-%m-%d %H:%M}",
            row["coin_id"],
            price_shown,
            compact(row["market_cap"]),
            compact(row["total_volume"]),
            row["granularity"],
            *([f"{row['price_at']:%Y-%m-%d %H:%M}"] if is_filled else []),
        )
    Console(soft_wrap=True, width=_WIDTH).print(table)
