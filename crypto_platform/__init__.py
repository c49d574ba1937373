"""Crypto prices from CoinGecko to a warehouse, as a Dagster asset graph."""

import os
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crypto_platform.core.lazy import dotenv, lazy_import

if TYPE_CHECKING:
    import pandas as pd

    from crypto_platform import profiles as _profiles
    from crypto_platform.core import settings as _settings
    from crypto_platform.warehouse import price_frames as _frames
else:
    # A notebook that only imports the package must not wait for Dagster and pandas.
    _frames = lazy_import("crypto_platform.warehouse.price_frames")
    _profiles = lazy_import("crypto_platform.profiles")
    _settings = lazy_import("crypto_platform.core.settings")

__all__ = ["prices"]

Granularity = Literal["finest", "hourly", "daily"]


def prices(
    coins: str | Sequence[str],
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    granularity: Granularity = "daily",
) -> "pd.DataFrame":
    """Prices from the warehouse that the profile names, for notebooks and tools.

    Settings come from the environment and from ``.env`` in the working folder, as on the command
    line. Nothing is written.

    Args:
        coins: A coin's id, as ``"bitcoin"``, or several.
        start: The first moment. A day is its 00:00 UTC, a time needs a zone; text is read as
            ISO 8601. ``None`` is the oldest price.
        end: The moment before which to stop, in the same forms; ``None`` is the newest price.
        granularity: ``finest`` has every observation, ``hourly`` and ``daily`` the first one of
            each UTC hour or day.

    Returns:
        One row a coin a ``time``, in this order. ``time`` is in UTC and starts the hour or day, or
        is the observation's moment; ``price_at`` is always that moment. Prices, caps and volumes
        are in ``vs_currency``, exactly the API's. Where nothing was seen there is no row.

    Raises:
        InvalidInputError: A coin, moment, granularity or variable of the environment cannot be
            used; the message says what would fit. It is a ``ValueError``.
        WarehouseBusyError: Another process holds the warehouse.
    """
    dotenv.load_dotenv(Path(".env"))
    settings = _settings.Settings.from_environment(os.environ)
    between = (
        _frames.FIRST_MOMENT if start is None else _frames.moment(start, "start"),
        _frames.LAST_MOMENT if end is None else _frames.moment(end, "end"),
    )
    return _frames.price_frame(
        _profiles.PROFILES[settings.profile].builders["warehouse"](settings),
        [coins] if isinstance(coins, str) else list(coins),
        between,
        granularity=granularity,
        vs_currency=settings.vs_currency,
    )
