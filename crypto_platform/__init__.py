"""Crypto prices from CoinGecko to a warehouse, as a Dagster asset graph."""

import os
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

# Before the function of that name: Python puts a package that it imports later in its place.
import crypto_platform.lake  # noqa: F401 - see above
from crypto_platform.core.lazy import dotenv, lazy_import

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset as pads

    from crypto_platform import profiles as _profiles
    from crypto_platform.core import errors as _errors
    from crypto_platform.core import settings as _settings
    from crypto_platform.core import streams as _streams
    from crypto_platform.lake import reading as _reading
    from crypto_platform.local import nothing_there as _nothing_there
    from crypto_platform.warehouse import price_frames as _frames
else:
    # A notebook that only imports the package must not wait for Dagster and pandas.
    _errors = lazy_import("crypto_platform.core.errors")
    _frames = lazy_import("crypto_platform.warehouse.price_frames")
    _nothing_there = lazy_import("crypto_platform.local.nothing_there")
    _profiles = lazy_import("crypto_platform.profiles")
    _reading = lazy_import("crypto_platform.lake.reading")
    _settings = lazy_import("crypto_platform.core.settings")
    _streams = lazy_import("crypto_platform.core.streams")

__all__ = ["lake", "prices"]

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
    try:
        return _frames.price_frame(
            _profiles.PROFILES[settings.profile].builders["warehouse"](settings),
            [coins] if isinstance(coins, str) else list(coins),
            between,
            granularity=granularity,
            vs_currency=settings.vs_currency,
        )
    except _errors.NothingThereError as error:
        raise _nothing_there.with_hint_at_demo(error, os.environ) from None


def lake(
    stream: Literal["historical", "intra_day"],
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    dataset: Literal["prices", "snapshots", "rejected"] = "prices",
) -> "pads.Dataset":
    """Rows of the lake's Parquet files that count, for notebooks and tools: all coins, as stored.

    It takes no warehouse, and reads while runs go on: its files stay for a day. Settings come from
    where those of ``prices`` do. A dataset of Arrow is what most tools take, and what reads no more
    columns and rows than they ask for: ``.to_table(columns=…)``, ``.to_table().to_pandas()``,
    ``duckdb.from_arrow(…)``, ``polars.scan_pyarrow_dataset(…)``.

    Args:
        stream: The name of the stream.
        start: The first moment, in the forms of ``prices``; ``None`` is the oldest.
        end: The moment before which to stop, likewise; ``None`` is the newest.
        dataset: Its ``prices``, its market ``snapshots``, or the prices that were ``rejected``.

    Returns:
        The rows of all windows, whole days or six hours, that have any moment of the time. A column
        that was added since a file was made is null in its rows.

    Raises:
        InvalidInputError: A name, moment or variable of the environment cannot be used, or the lake
            has nothing of that time. It is a ``ValueError``.
        LakeRefusedError: The bucket is not there, or may not be used.
    """
    dotenv.load_dotenv(Path(".env"))
    settings = _settings.Settings.from_environment(os.environ)
    return _reading.read_rows(
        _profiles.PROFILES[settings.profile].builders["lake"](settings).transformed,
        _reading.named(stream, {one.name: one for one in _streams.STREAMS}, "stream"),
        _reading.named(dataset, {one: one for one in _streams.DATASETS}, "dataset"),
        None if start is None else _frames.moment(start, "start"),
        None if end is None else _frames.moment(end, "end"),
    )
