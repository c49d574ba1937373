"""Crypto prices from CoinGecko to a warehouse, as a Dagster asset graph."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

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
        ValueError: A coin, moment or granularity cannot be used; the message says what would fit.
        SettingsError: A variable of the environment is malformed.
        WarehouseBusyError: Another process holds the warehouse.
    """
    # A notebook that only imports the package must not wait for Dagster and pandas.
    import os  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from dotenv import load_dotenv  # noqa: PLC0415

    from crypto_platform.core.settings import Settings  # noqa: PLC0415
    from crypto_platform.profiles import PROFILES  # noqa: PLC0415
    from crypto_platform.warehouse import price_frames  # noqa: PLC0415

    load_dotenv(Path(".env"))
    settings = Settings.from_environment(os.environ)
    return price_frames.price_frame(
        PROFILES[settings.profile].resources(settings)["warehouse"],
        [coins] if isinstance(coins, str) else list(coins),
        (
            price_frames.moment(start, "start") if start is not None else price_frames.FIRST_MOMENT,
            price_frames.moment(end, "end") if end is not None else price_frames.LAST_MOMENT,
        ),
        granularity=granularity,
        vs_currency=settings.vs_currency,
    )
