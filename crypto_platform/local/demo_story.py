"""What goes wrong in the demo's market, so that the demo shows what the platform does about it."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from crypto_platform.simulated_market import Change, Fault, Oddities, SimulatedMarket

LATE_COIN = "ethereum"
CORRECTED_COIN = "solana"
QUARANTINED_COIN = "ripple"
DELISTED_COIN = "aurel-protocol"
"""A coin that there is not, so that nobody takes the news for real."""

_CHARTS = "/coins/*/market_chart/range"
# More than a quarter, from which on two prices of one moment contradict each other.
_WRONG_BY = 1.4


@dataclass(frozen=True)
class Story:
    """What is planted, by the day on which the demo was first run in its folder.

    Attributes:
        day: That day.
    """

    day: date

    @property
    def late_days(self) -> tuple[date, date]:
        """The days that the first answer lacks of one coin, and the second one has."""
        return self.day - timedelta(days=5), self.day - timedelta(days=4)

    @property
    def corrected_day(self) -> date:
        """The day whose price the first answer has wrong."""
        return self.day - timedelta(days=1)

    @property
    def quarantined_day(self) -> date:
        """The day whose price no answer has right."""
        return self.day - timedelta(days=20)

    @property
    def last_listed_day(self) -> date:
        """The last day that has a price of the delisted coin."""
        return self.day - timedelta(days=12)

    def oddities(self) -> Oddities:
        """What is odd about the market's data."""
        return Oddities(delisted={DELISTED_COIN: _moment(self.last_listed_day, 12)})

    def plant_lasting(self, market: SimulatedMarket) -> None:
        """Plant what every answer has, whenever it is asked for."""
        worthless = _on(self.quarantined_day, self.quarantined_day, 0.0)
        market.inject(worthless, coin=QUARANTINED_COIN, path=_CHARTS)

    def plant_passing(self, market: SimulatedMarket) -> None:
        """Plant what only the next answer has, of each coin."""
        market.inject(_on(*self.late_days, None), coin=LATE_COIN, path=_CHARTS, times=1)
        wrong = _on(self.corrected_day, self.corrected_day, _WRONG_BY)
        market.inject(wrong, coin=CORRECTED_COIN, path=_CHARTS, times=1)

    def where_to_look(self) -> str:
        """What was planted and what became of it, and where that shows: a heading, four lines."""
        first, last = self.late_days
        planted = [
            (f"{LATE_COIN} lacked {first:%m-%d} and {last:%m-%d}: healed", "UI: Runs, by healing"),
            (
                f"{CORRECTED_COIN} was wrong on {self.corrected_day:%m-%d}: alert, corrected",
                "crypto-platform --demo alerts",
            ),
            (
                f"{QUARANTINED_COIN} cost 0 on {self.quarantined_day:%m-%d}: quarantined",
                "the report: Data health",
            ),
            (
                f"{DELISTED_COIN} ends on {self.last_listed_day:%m-%d}: delisted",
                "UI: ingestion_ledger",
            ),
        ]
        lines = [f"  {what:<45} {where}" for what, where in planted]
        return "\n".join(["Planted, and where to see what became of it:", *lines])


def _on(first: date, last: date, factor: float | None) -> Fault:
    """A fault of the daily prices from one day to another."""
    stamps = [int(_moment(day).timestamp() * 1000) for day in (first, last)]
    return Fault(changes=(Change(first=stamps[0], last=stamps[1], factor=factor),))


def _moment(day: date, hour: int = 0) -> datetime:
    return datetime.combine(day, time(hour), UTC)
