"""``crypto-platform lake upgrade``: takes over a lake that an earlier version made."""

import os
import sys
from collections import defaultdict
from collections.abc import Sequence

import click

from crypto_platform.core.settings import Settings
from crypto_platform.lake.layers import Lake
from crypto_platform.lake.upgrade import DAMAGED, Fault, UpgradedMonth
from crypto_platform.lake.upgrade import upgrade as upgrade_lake
from crypto_platform.profiles import PROFILES


@click.command()
def upgrade() -> None:
    """Take over a lake of version 0.1 or 0.2; exit with 1 where some of it could not be read."""
    settings = Settings.from_environment(os.environ)
    lake: Lake = PROFILES[settings.profile].builders["lake"](settings)
    faults: list[Fault] = []
    months = 0
    for month in upgrade_lake(lake):
        click.echo(_told(month))
        # At once: should this be killed, the next time may not see it.
        for fault in month.faults:
            click.echo(f"{fault.layer} {fault.path} {fault.what}", err=True)
        faults += month.faults
        months += 1
    if not months:
        click.echo("The lake is as this version keeps it: there is nothing to take over.")
    if faults:
        click.echo(_what_to_do(faults), err=True)
    sys.exit(bool(faults))


def _told(month: UpgradedMonth) -> str:
    windows = ", ".join(f"{count:,} {stream} windows" for stream, count in month.windows.items())
    already = f" ({month.already:,} stood there already)" if month.already else ""
    size = sum(file.bytes for file in month.new_files) / 1e6
    return (
        f"{month.layer} {month.month}: {windows or 'no window'} taken over{already}; "
        f"{month.old_files:,} files became {len(month.new_files):,} of {size:,.2f} MB"
    )


def _what_to_do(faults: Sequence[Fault]) -> str:
    partitions: dict[str, set[str]] = defaultdict(set)
    for fault in faults:
        partitions[fault.asset].add(fault.partition)
    head = (
        f"{len(faults):,} old file(s) could not be taken over. What is there of them, and of what "
        f"their windows had, is kept in {DAMAGED}/ of its layer. Materialize again, in this order:"
    )
    todo = [f"  {asset}: {', '.join(sorted(keys))}" for asset, keys in partitions.items()]
    return "\n".join([head, *todo])
