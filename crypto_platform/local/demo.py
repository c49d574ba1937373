"""The demo's folder, settings and market: what its runs, its UI and its readers share.

Everything goes to a folder of its own and every row says ``source = 'simulated'``, so that none
of it can be taken for a real price.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click

from crypto_platform.local.demo_story import DELISTED_COIN, Story
from crypto_platform.local.instance import home_folder, instance_environment, run_dagster
from crypto_platform.simulated_market import SimulatedMarket

COINS = 10
"""The largest, and the one that is delisted."""

DAYS = 90
"""Of the daily prices, before the day on which the demo was first run in its folder."""

# Of the whole market: a coin that nobody asks for takes its time too.
_MARKET_COINS = 40

# Nobody listens there: what reads the demo never asks for prices, and never asks the real API.
_NO_MARKET = "http://127.0.0.1:9/api/v3"

_FIRST_RUN = "first_run.txt"


def demo_home(environment: Mapping[str, str]) -> Path:
    """The demo's folder: beside that of the real prices, never among them.

    Args:
        environment: The variables, of which ``CRYPTO_HOME`` names the folder of the real prices.
    """
    home = home_folder(environment)
    return home.with_name(f"{home.name}-demo")


def first_run(home: Path) -> date | None:
    """The day on which the demo was first run to its end in its folder; ``None`` where it was not.

    All that is planted counts from this day, so that a later run finds it where it was.
    """
    file = home / _FIRST_RUN
    return date.fromisoformat(file.read_text(encoding="utf-8")) if file.exists() else None


def remember_first_run(home: Path, day: date) -> None:
    """Write the day of the first run down."""
    (home / _FIRST_RUN).write_text(f"{day}", encoding="utf-8")


def demo_environment(home: Path) -> dict[str, str]:
    """The variables under which the platform knows the demo and nothing else.

    A market does not run yet: ``COINGECKO_BASE_URL`` is to be set to where one answers.

    Args:
        home: Folder of the demo. It need not be there, and is not made.
    """
    day = first_run(home) or datetime.now(UTC).date()
    return {
        # Neither the key of the real API nor its limits.
        **{name: "" for name in os.environ if name.startswith("COINGECKO_")},
        "CRYPTO_HOME": str(home.absolute()),
        "DAGSTER_HOME": str(home.absolute() / "dagster"),
        "CRYPTO_PROFILE": "local",
        "COINGECKO_BASE_URL": _NO_MARKET,
        "FEAR_AND_GREED_BASE_URL": _NO_MARKET,
        "COINGECKO_PLAN": "pro",
        "TRACKED_COINS": f"top:{COINS - 1},{DELISTED_COIN}",
        "VS_CURRENCY": "usd",
        "HISTORY_START": str(day - timedelta(days=DAYS)),
        "INTRA_DAY_START": str(day - timedelta(days=1)),
    }


@contextmanager
def simulated_platform(
    home: Path, story: Story
) -> Iterator[tuple[SimulatedMarket, Mapping[str, str]]]:
    """A simulated market, and the environment in which the platform knows nothing else.

    Args:
        home: Folder of the demo.
        story: What is odd about the market.

    Yields:
        Both, with the environment set for this process.
    """
    with SimulatedMarket(coins=_MARKET_COINS, oddities=story.oddities()) as market:
        story.plant_lasting(market)
        environment = {
            **demo_environment(home),
            **instance_environment(home),
            "COINGECKO_BASE_URL": market.base_url,
            "FEAR_AND_GREED_BASE_URL": market.base_url,
        }
        os.environ.update(environment)
        yield market, environment


def open_demo(home: Path, port: int, *, verbose: bool = False) -> int:
    """Run the Dagster UI and daemon on the demo's data until interrupted.

    Args:
        home: Folder of the demo, which ``crypto-platform demo`` fills.
        port: Port of the UI.
        verbose: Whether Dagster's log goes to the terminal.

    Returns:
        The exit code, as ``run_dagster`` has it.
    """
    day = first_run(home)
    story = Story(day or datetime.now(UTC).date())
    with simulated_platform(home, story) as (market, environment):
        click.echo(f"A simulated market answers at {market.base_url}:\nno price is real.")
        empty = "There is nothing in it yet: crypto-platform demo fills it."
        look = story.where_to_look() if day else empty
        return run_dagster(environment, port, look=look, verbose=verbose)
