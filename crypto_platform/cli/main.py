"""The group of commands: each is a module of this package, imported when it is called."""

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from dotenv import load_dotenv

from crypto_platform.core.lazy import lazy_import
from crypto_platform.core.proxies import direct_loopback

if TYPE_CHECKING:
    from crypto_platform.cli import expected
else:
    expected = lazy_import("crypto_platform.cli.expected")

COMMANDS = {
    "alerts": "Show where alerts go, those that were sent, and the incidents that are open.",
    "budget": "Show the month's API credits by stream, with a forecast; exit with 1 if they run "
    "out.",
    "demo": "Fill a warehouse of its own from a simulated market, and show what stands in it.",
    "dev": "Run the Dagster UI and daemon on 127.0.0.1, with the real price API.",
    "doctor": "Check that all is there that the profile needs, and works; exit with 1 where it is "
    "not.",
    "estimate": "Say what a month of running costs, or what loading a range takes.",
    "lake": "List the files of the lake that count, remove others, take over an older lake.",
    "launch": "Run assets or a job here and now, without a daemon; takes the options of dg launch.",
    "prices": "Print the prices of coins, named by their ids, or write them to a file.",
    "simulate": "Serve a simulated market with the price API's shape, until interrupted.",
    "snowflake": "Set up the warehouse in Snowflake: integration, the stack on AWS, then apply.",
}
"""What each command does: its own help, written here so that listing them imports none."""


class LazyGroup(click.Group):
    """Click's lazy group: a command is the function of its module's name."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line; what a terminal cannot show is shown as a question mark."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")
        return super().main(*args, **options)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands' names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command; ``None`` where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"crypto_platform.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error that a person can act on becomes one line.

        Raises:
            ClickException: The command failed for a reason that its message explains.
        """
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            # Click's own, --help among them: what others mean need not be imported.
            raise
        except Exception as error:
            if isinstance(error, expected.ERRORS):
                raise click.ClickException(str(error)) from error
            raise


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Crypto prices from CoinGecko to a warehouse, as a Dagster asset graph."""
    load_dotenv(Path(".env"))
    os.environ.update(direct_loopback(os.environ))
