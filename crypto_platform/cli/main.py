"""The group of commands: each is a module of this package, imported when it is called."""

import logging
import os
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

import click
from dotenv import load_dotenv

from crypto_platform.core.lazy import lazy_import
from crypto_platform.core.proxies import direct_loopback
from crypto_platform.core.variables import ENV_FILE, EnvFile, find_misnamed
from crypto_platform.local.demo import demo_environment, demo_home
from crypto_platform.local.instance import home_folder

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
    "init": "Ask for key, plan, coins and start, show what they cost, and write .env.",
    "lake": "List the files of the lake that count, remove others, take over an older lake.",
    "launch": "Run assets or a job here and now, without a daemon; takes the options of dg launch.",
    "list": "List the coins with their newest price, and from when to when there are prices.",
    "prices": "Print the prices of coins, named by their ids, or write them to a file.",
    "simulate": "Serve a simulated market with the price API's shape, until interrupted.",
    "snowflake": "Set up the warehouse in Snowflake: integration, the stack on AWS, then apply.",
    "status": "Show in one screen how all of it does; exit with 1 where something needs a person.",
}
"""What each command does: its own help, written here so that listing them imports none."""

READERS = frozenset({"alerts", "budget", "estimate", "inspect", "lake", "list", "prices", "status"})
"""The commands that read what was loaded, and so can read the demo's: they take ``--demo``."""


class LazyGroup(click.Group):
    """Click's lazy group: a command is the function of its module's name, or with a _ after it."""

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
        module = import_module(f"crypto_platform.cli.{cmd_name}")
        # As list_: a function is not named as one of Python's own.
        command: click.Command = vars(module).get(cmd_name) or vars(module)[f"{cmd_name}_"]
        _show_whole_help(command)
        if cmd_name in READERS:
            _add_demo_option(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, and refuse ``--demo`` before one that reads nothing of it."""
        name, command, rest = super().resolve_command(ctx, args)
        if ctx.params.get("demo") and name not in READERS:
            raise click.UsageError(f"{name} takes no --demo; {', '.join(sorted(READERS))} do.")
        return name, command, rest

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
            if message := expected.explained(error, os.environ):
                raise click.ClickException(message) from error
            raise


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crypto_platform", message="crypto-platform %(version)s")
@click.option("--demo", is_flag=True, help="Read the demo's folder, which make demo fills.")
@click.pass_context
def main(context: click.Context, *, demo: bool) -> None:
    """Crypto prices from CoinGecko to a warehouse, as a Dagster asset graph."""
    before = dict(os.environ)
    context.call_on_close(lambda: _restore(before))
    for problem in _read_env_file():
        # The doctor shows them as a check.
        if context.invoked_subcommand != "doctor":
            click.echo(f"Warning: {problem}", err=True)
    os.environ.update(direct_loopback(os.environ))
    if demo:
        _read_the_demo()
    home = home_folder(os.environ)
    if home.exists() and not home.is_dir() and context.invoked_subcommand not in {"doctor", "init"}:
        raise click.ClickException(
            f"{home} is a file, where a folder is needed: name another in CRYPTO_HOME, or move it "
            "away."
        )


def _read_env_file() -> list[str]:
    """Set what ``.env`` says and the environment does not; returns what is wrong with names."""
    try:
        file = EnvFile.read(ENV_FILE)
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(
            f"{ENV_FILE.absolute()} cannot be read: {error}. Make it a file of lines NAME=value "
            "that this user may read, or move it away."
        ) from error
    problems = find_misnamed(os.environ, file)
    # It says less of what it cannot read.
    logging.getLogger("dotenv").setLevel(logging.ERROR)
    load_dotenv(ENV_FILE)
    return problems


def _read_the_demo() -> None:
    home = demo_home(os.environ)
    if not home.is_dir():
        raise click.ClickException(f"There is no demo in {home}: make demo fills it.")
    os.environ.update(demo_environment(home))


def _add_demo_option(command: click.Command) -> None:
    """Let a command, and those below it, read the demo: after its name, too."""
    if any(parameter.name == "demo" for parameter in command.params):
        return

    def chosen(_context: click.Context, _parameter: click.Parameter, value: object) -> None:
        if value:
            _read_the_demo()

    command.params.append(
        click.Option(
            ["--demo"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=chosen,
            help="Read the demo's folder, which make demo fills.",
        )
    )
    if isinstance(command, click.Group):
        for one in command.commands.values():
            _add_demo_option(one)


def _show_whole_help(command: click.Command) -> None:
    """Have a group list what its commands do in full: click cuts it to a line's width."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            one.short_help = (one.help or "").partition("\n\n")[0].replace("\n", " ")


def _restore(environment: dict[str, str]) -> None:
    """Leave the environment as it was: what calls a command as a function goes on."""
    os.environ.clear()
    os.environ.update(environment)
