"""Models of the prices: what an analyst opens first, made by SQL in the warehouse.

The SQL is in ``snowflake_scripts/models.sql``, and what a column means in
``5_creation_models.sql``. All models are made in one transaction, so that a reader sees them as of
one moment, from the first day on whose prices differ from those that they were made from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.session import Row, Session, transaction
from crypto_platform.warehouse.sql import (
    insert_model,
    model_definition,
    model_statement,
)

_COIN_DAY = ("coin_id", "vs_currency", "day")


@dataclass(frozen=True)
class Model:
    """A table that is made from others.

    Attributes:
        name: Name of the table and of the asset.
        description: What it is for, as the asset graph shows it.
        reads: The tables that it is made from.
        key: The columns that identify a row.
        completeness: The statement that finds days with missing rows.
    """

    name: str
    description: str
    reads: tuple[str, ...]
    key: tuple[str, ...] = _COIN_DAY
    completeness: str = "incomplete_in_coin_model"

    @property
    def checks(self) -> "tuple[ModelCheck, ...]":
        """What is checked each time it is made, over all of its rows."""
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
    """A promise of a table.

    Attributes:
        name: Name of the asset check.
        description: What is promised.
        faults: The statement that finds rows which break the promise.
    """

    name: str
    description: str
    faults: str


@dataclass(frozen=True)
class MadeModel:
    """What a model holds.

    Attributes:
        rows: How many rows.
        made: How many of them were made this time.
        newest_day: Its newest day; ``None`` in an empty one.
        preview: Five rows of that day.
        faults: Rows that break a promise, by the check's name; at most five of each.
    """

    rows: int
    made: int
    newest_day: date | None
    preview: Sequence[Row]
    faults: Mapping[str, Sequence[Row]] = field(default_factory=dict)


@dataclass(frozen=True)
class MadeModels:
    """The models after they were made.

    Attributes:
        first_day: The first day that was made; ``None`` where nothing had changed.
        models: Each model, by its name.
    """

    first_day: date | None
    models: Mapping[str, MadeModel]


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
        reads=(HISTORICAL.table, INTRA_DAY.table),
        completeness="incomplete_in_daily_prices",
    ),
    Model(
        name="price_moves",
        description=(
            "How prices moved: returns, volatility, drawdown, distance from the all-time high and "
            "the day's range, as fractions: 0.05 is 5 %.\n\nNothing reaches across a missing day, "
            "and what needs 30 days is null with fewer."
        ),
        reads=("daily_prices", "market_snapshots"),
    ),
    Model(
        name="trading_volumes",
        description=(
            "How much was traded a coin a day: beside its median of the 30 days before, its market "
            "cap and all tracked coins.\n\nA volume is that of the 24 hours before the day's "
            "close. Unusual is 2.5 times the median or more."
        ),
        reads=("daily_prices",),
    ),
    Model(
        name="market_sentiment",
        description=(
            "How the market felt a day: the Fear & Greed index, how many coins rose, the dominance "
            "of bitcoin, the share of stablecoins, and the market cap together.\n\nThe market is "
            "the tracked coins. A day that the index skipped has null there."
        ),
        reads=("daily_prices", "price_moves", "fear_and_greed"),
        key=("vs_currency", "day"),
        completeness="incomplete_in_market_sentiment",
    ),
)


def make_models(warehouse: Warehouse) -> MadeModels:
    """Bring the models up to date with what is loaded, in one transaction, and evaluate them.

    Where nothing was loaded since they were made, nothing is made. A change of their SQL counts as
    a change of all days.

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
    """The rows of a table that break its promises, by the check's name; at most five of each.

    Args:
        session: A session with the warehouse.
        table: The table.
        key: The columns that identify a row.
        checks: The promises.
    """
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
