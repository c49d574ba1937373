"""Models of the prices: what an analyst opens first, made by SQL in the warehouse.

How they are made stands in ``snowflake_scripts/models.sql``, what a column means in
``5_creation_models.sql``. All of them are made in one transaction, so that a reader sees them of
one moment, and from the first day on of which the prices differ from what they were made from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from crypto_platform.core.streams import INTRA_DAY
from crypto_platform.warehouse.resource import Row, Session, Warehouse, transaction
from crypto_platform.warehouse.sql import (
    PRICE_TABLES,
    insert_model,
    model_definition,
    model_statement,
)

_COIN_DAY = ("coin_id", "vs_currency", "day")

Lineage = Mapping[str, Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class Model:
    """A table that is made from others.

    Attributes:
        name: Of the table, and of the asset.
        description: What it is for, for people who read the asset graph.
        reads: Tables that it is made from.
        lineage: For a column, the tables and columns that it is made from.
        key: Columns that tell its rows apart.
        completeness: The statement that finds days of which rows are missing.
    """

    name: str
    description: str
    reads: tuple[str, ...]
    lineage: Lineage
    key: tuple[str, ...] = _COIN_DAY
    completeness: str = "incomplete_in_coin_model"

    @property
    def checks(self) -> "tuple[ModelCheck, ...]":
        """What is judged each time it is made, over all of its rows."""
        return (
            ModelCheck("key_unique", f"One row for each {', '.join(self.key)}.", "repeated_keys"),
            ModelCheck(
                "values_in_range",
                "No value is one that cannot be, such as a drawdown above zero.",
                f"out_of_range_in_{self.name}",
            ),
            ModelCheck("complete", "No row of what it is made from is missing.", self.completeness),
        )


@dataclass(frozen=True)
class ModelCheck:
    """A promise of a model.

    Attributes:
        name: Of the asset check.
        description: What is promised.
        faults: The statement that finds rows which break it.
    """

    name: str
    description: str
    faults: str


@dataclass(frozen=True)
class MadeModel:
    """What stands in a model.

    Attributes:
        rows: Its rows.
        made: Those that were made this time.
        newest_day: Its newest day; ``None`` in an empty one.
        preview: A few rows of that day.
        faults: The rows that break a promise, by the check's name; at most five of each.
    """

    rows: int
    made: int
    newest_day: date | None
    preview: Sequence[Row]
    faults: Mapping[str, Sequence[Row]] = field(default_factory=dict)


@dataclass(frozen=True)
class MadeModels:
    """What came of making the models.

    Attributes:
        first_day: The day from which they were made; ``None`` where nothing had changed.
        models: Each model, by its name.
    """

    first_day: date | None
    models: Mapping[str, MadeModel]


def _from(table: str, *columns: str) -> list[tuple[str, str]]:
    return [(table, column) for column in columns]


def _same(table: str, *columns: str) -> dict[str, list[tuple[str, str]]]:
    return {column: [(table, column)] for column in columns}


def _of_prices(*columns: str) -> list[tuple[str, str]]:
    return [(table, column) for table in PRICE_TABLES for column in columns]


MODELS = (
    Model(
        name="daily_prices",
        description=(
            "Open, high, low, close, volume and market cap a coin a day, from the finest prices "
            "there are.\n\nThe price that the API stamps with a day's 00:00 is its open, and so "
            "the close of the day before. Without it, a price within two hours of midnight counts; "
            "else it is null. On the newest day the close is the latest price so far: close_at "
            "says of when. Days without any price have no row."
        ),
        reads=PRICE_TABLES,
        lineage={
            "coin_id": _of_prices("coin_id"),
            "vs_currency": _of_prices("vs_currency"),
            "day": _of_prices("price_at"),
            "open": _of_prices("price", "price_at"),
            "high": _of_prices("price"),
            "low": _of_prices("price"),
            "close": _of_prices("price", "price_at"),
            "close_at": _of_prices("price_at"),
            "volume": _of_prices("total_volume", "price_at"),
            "market_cap": _of_prices("market_cap", "price_at"),
            "observations": _of_prices("price_at"),
            "hours_observed": _from(INTRA_DAY.table, "price_at"),
            "granularity": _of_prices("granularity"),
        },
        completeness="incomplete_in_daily_prices",
    ),
    Model(
        name="price_moves",
        description=(
            "How prices moved: returns, volatility, drawdown, distance from the all-time high and "
            "the day's range, as parts: 0.05 is 5 %.\n\nNothing reaches across a missing day, and "
            "what needs 30 days is null with fewer."
        ),
        # The all-time high is in the snapshots of the market that come with this stream.
        reads=("daily_prices", INTRA_DAY.table),
        lineage={
            **_same("daily_prices", *_COIN_DAY, "close"),
            **{
                column: _from("daily_prices", "close", "day")
                for column in (
                    "return_1d",
                    "return_7d",
                    "return_30d",
                    "log_return_1d",
                    "volatility_30d",
                )
            },
            "drawdown": _from("daily_prices", "close"),
            "ath_distance": _from("daily_prices", "close", "high", "open"),
            "range_24h": _from("daily_prices", "high", "low", "open", "hours_observed"),
        },
    ),
    Model(
        name="trading_volumes",
        description=(
            "How much was traded a coin a day: beside its median of the 30 days before, its market "
            "cap and all tracked coins.\n\nA volume is that of the 24 hours before the day's "
            "close. Unusual is 2.5 times the median or more."
        ),
        reads=("daily_prices",),
        lineage={
            **_same("daily_prices", *_COIN_DAY, "volume"),
            "median_30d": _from("daily_prices", "volume", "day"),
            "ratio_to_median": _from("daily_prices", "volume", "day"),
            "turnover": _from("daily_prices", "volume", "market_cap"),
            "market_share": _from("daily_prices", "volume"),
            "unusual": _from("daily_prices", "volume", "day"),
        },
    ),
    Model(
        name="market_sentiment",
        description=(
            "How the market felt a day: the Fear & Greed index, how many coins rose, the parts of "
            "bitcoin and of stablecoins, and the market cap together.\n\nThe market is the tracked "
            "coins. A day that the index skipped, or could not be asked for, has null there."
        ),
        reads=("daily_prices", "price_moves", "fear_and_greed"),
        lineage={
            **_same("daily_prices", "vs_currency", "day"),
            "fear_and_greed": _from("fear_and_greed", "value"),
            "fear_and_greed_class": _from("fear_and_greed", "classification"),
            "breadth_1d": _from("price_moves", "return_1d"),
            "breadth_7d": _from("price_moves", "return_7d"),
            "above_50d_mean": _from("daily_prices", "close", "day"),
            "bitcoin_dominance": _from("daily_prices", "market_cap", "coin_id"),
            "stablecoin_share": _from("daily_prices", "market_cap", "coin_id"),
            "total_market_cap": _from("daily_prices", "market_cap"),
            "total_market_cap_change_1d": _from("daily_prices", "market_cap", "day"),
            "coins": _from("daily_prices", "market_cap"),
        },
        key=("vs_currency", "day"),
        completeness="incomplete_in_market_sentiment",
    ),
)


def make_models(warehouse: Warehouse) -> MadeModels:
    """Bring the models up to date with what is loaded, in one transaction, and judge them.

    Where nothing was loaded since they were made, nothing is made. A change of how they are made
    counts as a change of all days.

    Raises:
        WarehouseBusyError: Another process holds the warehouse.
    """
    definition = model_definition()
    with warehouse.session(read_only=False) as session:
        session.execute(model_statement("stage_inputs"))
        (found,) = session.execute(model_statement("first_day_to_make"), [definition])
        first_day: date | None = found["day"]
        if first_day is not None:
            with transaction(session):
                for model in MODELS:
                    _make(session, model, first_day)
                session.execute(model_statement("clear_inputs"))
                session.execute(model_statement("keep_inputs"), [definition])
        return MadeModels(
            first_day, {model.name: _evaluated(session, model, first_day) for model in MODELS}
        )


def rows_at_fault(
    session: Session, table: str, key: Sequence[str], checks: Sequence[ModelCheck]
) -> dict[str, Sequence[Row]]:
    """The rows of a table that break its promises, by the check's name; at most five of each."""
    return {
        check.name: session.execute(model_statement(check.faults, table, key)) for check in checks
    }


def _make(session: Session, model: Model, first_day: date) -> None:
    for sql in (model_statement("clear_model", model.name), insert_model(model.name)):
        session.execute(sql, [first_day] * sql.count("?"))


def _evaluated(session: Session, model: Model, first_day: date | None) -> MadeModel:
    (size,) = session.execute(model_statement("size", model.name), [first_day or date.max])
    return MadeModel(
        rows=size["row_count"],
        made=size["made"],
        newest_day=size["newest_day"],
        preview=session.execute(model_statement("newest_rows", model.name, model.key)),
        faults=rows_at_fault(session, model.name, model.key, model.checks),
    )
