"""``crypto-platform prices``: the prices of coins, printed or in a file."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

import click
from rich.console import Console
from rich.table import Table

from crypto_platform import Granularity
from crypto_platform import prices as read_prices
from crypto_platform.core.numbers import compact
from crypto_platform.warehouse.price_frames import length

if TYPE_CHECKING:
    import pandas as pd


# One format whatever the moment: pandas reads a column of two as text.
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"

# Wider than any table, which takes what it needs: in a terminal that is narrower, and so in every
# pipe, rich would cut numbers.
_WIDTH = 1_000


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
    help="daily or hourly: the first price of each; finest: every price.",
)
@click.option("--csv", "as_csv", type=click.Path(dir_okay=False), help="Write this CSV file.")
@click.option("--parquet", "as_parquet", type=click.Path(dir_okay=False), help="Write this one.")
def prices(  # noqa: PLR0913 - one argument an option
    *,
    coins: tuple[str, ...],
    last: str | None,
    start: str | None,
    end: str | None,
    granularity: Granularity,
    as_csv: str | None,
    as_parquet: str | None,
) -> None:
    """Print the prices of coins, named by their ids, or write them to a file."""
    if last and (start or end):
        raise click.UsageError("--last reaches from now back: give it, or --start and --end.")
    since = datetime.now(UTC) - length(last) if last else start
    frame = read_prices(coins, since, end, granularity)
    if as_csv:
        frame.to_csv(as_csv, index=False, date_format=_TIME_FORMAT)
    if as_parquet:
        frame.to_parquet(as_parquet, index=False)
    if as_csv or as_parquet:
        files = " and ".join(file for file in (as_csv, as_parquet) if file)
        click.echo(f"{len(frame):,} prices of {len(coins)} coin(s) in {files}.")
    else:
        _print(frame)


def _print(frame: "pd.DataFrame") -> None:
    simulated = " (simulated)" if "simulated" in set(frame["source"]) else ""
    table = Table("time (UTC)", "coin", title=f"Prices{simulated}", title_justify="left")
    for name in ("price", "market cap", "volume 24 h"):
        table.add_column(name, justify="right")
    table.add_column("granularity")
    for row in frame.to_dict("records"):
        table.add_row(
            f"{row['time']:%Y-%m-%d %H:%M}",
            row["coin_id"],
            f"{row['price']:,.8g}",
            compact(row["market_cap"]),
            compact(row["total_volume"]),
            row["granularity"],
        )
    Console(soft_wrap=True, width=_WIDTH).print(
        table if len(frame) else "No price was seen in that time."
    )
