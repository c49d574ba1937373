"""The demo's folder and settings: what reads the demo needs, without Dagster and without a market.

Everything goes to a folder of its own and every row says ``source = 'simulated'``, so that none
of it can be taken for a real price.
"""

import os
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from crypto_platform.local.instance import home_folder

COINS = 10
DAYS = 90
"""Of the daily prices, before the day on which the demo was first run in its folder."""

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


def first_run(home: Path) -> date:
    """The day on which the demo was first run in its folder; today where it never was.

    All that is planted counts from this day, so that a later run finds it where it was.
    """
    file = home / _FIRST_RUN
    if file.exists():
        return date.fromisoformat(file.read_text(encoding="utf-8").strip())
    return datetime.now(UTC).date()


def remember_first_run(home: Path) -> date:
    """Write down the day of the first run, unless one is; returns it."""
    day = first_run(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / _FIRST_RUN).write_text(f"{day}\n", encoding="utf-8")
    return day


def demo_environment(home: Path) -> dict[str, str]:
    """The variables under which the platform knows the demo and nothing else.

    A market does not run yet: ``COINGECKO_BASE_URL`` is to be set to where one answers.

    Args:
        home: Folder of the demo. It need not be there, and is not made.
    """
    day = first_run(home)
    return {
        # Neither the key of the real API nor its limits.
        **{name: "" for name in os.environ if name.startswith("COINGECKO_")},
        "CRYPTO_HOME": str(home.absolute()),
        "DAGSTER_HOME": str(home.absolute() / "dagster"),
        "CRYPTO_PROFILE": "local",
        "COINGECKO_BASE_URL": _NO_MARKET,
        "FEAR_AND_GREED_BASE_URL": _NO_MARKET,
        "COINGECKO_PLAN": "pro",
        "TRACKED_COINS": f"top:{COINS}",
        "VS_CURRENCY": "usd",
        "HISTORY_START": str(day - timedelta(days=DAYS)),
        "INTRA_DAY_START": str(day - timedelta(days=7)),
    }
