"""A market whose coins have ids that are meant to get out of wherever they are put."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from crypto_platform.simulated_market import MarketServer, Oddities
from crypto_platform.simulated_market.api import Chart, ChartSpan, NoSuchCoinError
from crypto_platform.simulated_market.market import SyntheticMarket

ODD_IDS = (
    "with a space",
    "under_score",
    "br[ack]et*?",
    "o'brien\"s",
    "../../escape",
    "'; DROP TABLE coins; --",
    "$1 {table} %(x)s &{x} ?",
    "date=2026-01-01",
    "%2e%2e%2f",
    "<script>|`x`",
    "ünïcödé",
)
TRACES = ("space", "under_score", "[ack]", "brien", "escape", "DROP", "table", "2e%2e", "script")
"""What the path of a file would have of one of these ids."""


class OddlyNamedMarket:
    """The largest coins of the simulated market under other ids."""

    def __init__(self) -> None:
        self._market = SyntheticMarket(1, 300, Oddities())
        self.currencies: Collection[str] = self._market.currencies
        now = int(datetime.now(UTC).timestamp() * 1000)
        largest = self._market.ranking(now)[: len(ODD_IDS)]
        self._known = dict(zip(ODD_IDS, largest, strict=True))

    def coins(self, now: int) -> Sequence[Mapping[str, str]]:
        del now
        return [{"id": odd, "symbol": odd, "name": odd} for odd in ODD_IDS]

    def ranking(self, now: int) -> Sequence[str]:
        del now
        return ODD_IDS

    def snapshot(
        self, coin_ids: Sequence[str], currency: str, now: int
    ) -> Sequence[Mapping[str, Any]]:
        known = [self._known[odd] for odd in coin_ids]
        rows = self._market.snapshot(known, currency, now)
        return [
            {**row, "id": odd, "symbol": odd, "name": odd}
            for odd, row in zip(coin_ids, rows, strict=True)
        ]

    def chart(self, coin_id: str, currency: str, span: ChartSpan, now: int) -> Chart:
        if coin_id not in self._known:
            raise NoSuchCoinError(coin_id)
        return self._market.chart(self._known[coin_id], currency, span, now)

    def fear_and_greed(self, now: int) -> Sequence[tuple[int, int]]:
        return self._market.fear_and_greed(now)


def oddly_named_market() -> MarketServer:
    """A server of it, which says that it is simulated."""
    return MarketServer(OddlyNamedMarket(), headers={"x-simulated-market": "true"})
