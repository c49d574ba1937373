"""The coins that the warehouse knows, and from when to when it has prices of each."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from crypto_platform.core.errors import NothingThereError
from crypto_platform.core.streams import Stream
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.sql import statement

_SQL = "price_frames.sql"


@dataclass(frozen=True)
class Span:
    """What a stream has of a coin.

    Attributes:
        prices: How many prices.
        first_at: The moment of the first of them.
        newest_at: The moment of the last of them.
        first_price: The first.
        newest_price: The last.
    """

    prices: int
    first_at: datetime
    newest_at: datetime
    first_price: float
    newest_price: float


@dataclass(frozen=True)
class CoinSpans:
    """A coin, and what each stream has of it.

    Attributes:
        coin_id: The API's id.
        symbol: Its ticker, where it is known.
        name: Its name, where it is known.
        tracked: Whether new windows ask for it.
        streams: What each stream has of it, by the stream's name; nothing of one that has none.
    """

    coin_id: str
    symbol: str | None
    name: str | None
    tracked: bool
    streams: Mapping[str, Span] = field(default_factory=dict)

    @property
    def first(self) -> Span | None:
        """The stream that begins first; ``None`` where no price was loaded."""
        return min(self.streams.values(), key=lambda span: span.first_at, default=None)

    @property
    def newest(self) -> Span | None:
        """The stream that ends last; ``None`` where no price was loaded."""
        return max(self.streams.values(), key=lambda span: span.newest_at, default=None)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        spans = {
            name: {
                key: value.isoformat() if isinstance(value, datetime) else value
                for key, value in asdict(span).items()
            }
            for name, span in self.streams.items()
        }
        return {
            "coin_id": self.coin_id,
            "symbol": self.symbol,
            "name": self.name,
            "tracked": self.tracked,
            "streams": spans,
        }


def coin_spans(
    warehouse: Warehouse, streams: Sequence[Stream], vs_currency: str
) -> list[CoinSpans]:
    """Every coin that is or was tracked, by its id, with what there is of it.

    Args:
        warehouse: The warehouse.
        streams: The streams.
        vs_currency: The currency of the prices.

    Raises:
        NothingThereError: No coin is known there.
    """
    coins = warehouse.query(statement("listed_coins", file=_SQL)) if warehouse.exists() else []
    if not coins:
        raise NothingThereError(
            f"The warehouse {warehouse.table_uri('coins')} has no coins: nothing was loaded there. "
            "Is CRYPTO_HOME, or the working folder, another than that of the runs? If not, "
            "materialize some partitions; crypto-platform status says what comes first."
        )
    spans: dict[str, dict[str, Span]] = {}
    for stream in streams:
        sql = statement("coin_spans", stream.table, file=_SQL)
        for row in warehouse.query(sql, [vs_currency]):
            coin_id = row.pop("coin_id")
            spans.setdefault(coin_id, {})[stream.name] = Span(**row)
    return [CoinSpans(**coin, streams=spans.get(coin["coin_id"], {})) for coin in coins]
