"""``crypto-platform lake``: the files of the lake, for other tools and for who keeps house."""

import os
import sys
from typing import get_args

import click

from crypto_platform.cli.lake_upgrade import upgrade
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import STREAMS, Dataset
from crypto_platform.lake.layers import Lake
from crypto_platform.lake.reading import live_files
from crypto_platform.lake.vacuum import vacuum
from crypto_platform.profiles import PROFILES
from crypto_platform.warehouse.price_frames import moment

_STREAMS = {stream.name: stream for stream in STREAMS}


@click.group()
def lake() -> None:
    """List the files of the lake that count, remove others, take over an older lake."""


@lake.command("files")
@click.argument("stream", type=click.Choice(list(_STREAMS)))
@click.option("--start", help="The first day or moment, in UTC or with a zone.")
@click.option("--end", help="The day or moment before which to stop.")
@click.option(
    "--dataset", type=click.Choice(get_args(Dataset)), default="prices", show_default=True
)
@click.option(
    "--layer",
    type=click.Choice(["transformed", "raw"]),
    default="transformed",
    show_default=True,
    help="transformed: Parquet, each row once; raw: what the API said, as JSON lines.",
)
def list_files(
    *, stream: str, start: str | None, end: str | None, dataset: Dataset, layer: str
) -> None:
    """Print the files that count of a STREAM, one a line: those with any window of the time."""
    both = _lake()
    chosen = both.raw if layer == "raw" else both.transformed
    files = live_files(
        chosen,
        _STREAMS[stream],
        dataset,
        moment(start, "--start") if start else None,
        moment(end, "--end") if end else None,
    )
    for file in files:
        click.echo(chosen.uri(file.path))


@lake.command("vacuum")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
def vacuum_lake(*, dry_run: bool) -> None:
    """Remove the files that nothing has named for a day; exit with 1 where some could not be told.

    The job of that name does the same every week. Runs may go on meanwhile.
    """
    done = vacuum(_lake(), dry_run=dry_run)
    for one in done.removed:
        click.echo(f"{one.files:>8,} file(s) {one.bytes:>15,} bytes  {one.folder}")
    click.echo(f"{'Would remove' if dry_run else 'Removed'} {done.described}.")
    for problem in done.problems:
        click.echo(problem, err=True)
    sys.exit(bool(done.problems))


lake.add_command(upgrade)


def _lake() -> Lake:
    settings = Settings.from_environment(os.environ)
    both: Lake = PROFILES[settings.profile].builders["lake"](settings)
    return both
