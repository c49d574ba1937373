"""What the demo says on the terminal: on one that shows colors, on one of ASCII, and on none."""

import codecs
import locale
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from crypto_platform.ingestion.metered_api import usage_of_month
from crypto_platform.local.demo_story import Story
from crypto_platform.report.asset import LATEST


def terminal() -> Console:
    """The terminal, to which nothing is written that it cannot show."""
    # Python writes UTF-8 by itself also where the locale has nothing but ASCII.
    ascii_only = codecs.lookup(locale.getencoding()).name == "ascii"
    if isinstance(sys.stdout, TextIOWrapper) and ascii_only:
        sys.stdout.reconfigure(encoding="ascii", errors="replace")
    return Console(soft_wrap=True, highlight=False)


@dataclass(frozen=True)
class Steps:
    """The steps that take a while: one line each, with a spinner where there is a terminal."""

    console: Console

    @contextmanager
    def step(self, text: str) -> Iterator[Callable[[str], None]]:
        """Say what is under way until the block ends, and then how long it took.

        Args:
            text: The step, in words.

        Yields:
            What shows a part of the step, in a word.
        """
        began = time.monotonic()
        ascii_only = self.console.options.ascii_only
        spinner = Progress(
            SpinnerColumn("line" if ascii_only else "dots"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            refresh_per_second=4,
            disable=not self.console.is_terminal,
        )
        with spinner as progress:
            task = progress.add_task(text, total=None)
            # By itself: with the text a part may be wider than the terminal.
            yield lambda part: progress.update(task, description=part)
        tick = "ok" if ascii_only else "✓"
        self.console.print(f"[green]{tick}[/] {text}, {time.monotonic() - began:.1f} s")


def print_end(
    console: Console,
    definitions: dg.Definitions,
    home: Path,
    story: Story,
    before: Mapping[str, int],
) -> None:
    """What stands in the warehouse, what was planted, and how to go on.

    Args:
        console: Where to.
        definitions: The platform.
        home: Folder of the demo.
        story: What was planted.
        before: How many rows each table had before; none on the first run.
    """
    resources = definitions.resources or {}
    table = Table(title="In the warehouse (simulated)", title_justify="left", title_style="bold")
    table.add_column("table")
    new = ["new"] if before else []
    for name in ("coins", "rows", *new, "newest price (UTC)", "missing"):
        table.add_column(name, justify="right")
    for stream in resources["warehouse"].summary():
        rows = [f"{stream.rows:,}"]
        if before:
            rows.append(f"{stream.rows - before[stream.table]:,}")
        newest = f"{stream.newest:%Y-%m-%d %H:%M}" if stream.newest else "none"
        table.add_row(stream.table, str(stream.coins), *rows, newest, str(stream.gaps))
    console.print(table)
    usage = usage_of_month(resources["lake"].raw, datetime.now(UTC))
    console.print(f"API calls used, all simulated: {sum(used.calls for used in usage)}\n")
    console.print(story.where_to_look())
    console.print(
        "\n[bold]How to go on[/]:\n"
        "  make demo-ui                            the Dagster UI on this data\n"
        "  crypto-platform --demo prices bitcoin   its prices\n"
        "  crypto-platform --demo status           all of it on one screen\n"
        "  make dev                                the same on the real API, elsewhere\n"
        f"\nAll of it stands in {home}. The market report, for any browser:\n"
        f"[bold]{resources['lake'].transformed.uri(LATEST)}[/]"
    )
