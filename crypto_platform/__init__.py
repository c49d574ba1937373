"""Crypto prices from CoinGecko to a warehouse, as a Dagster asset graph."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["prices"]


def prices(
    coins: str | Sequence[str],
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    granularity: Literal["finest", "hourly", "daily"] = "daily",
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
    from crypto_platform.price_frames import read_prices  # noqa: PLC0415

    return read_prices(coins, start, end, granularity)
