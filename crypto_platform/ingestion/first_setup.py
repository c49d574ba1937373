"""What is asked of the API before there is any setting: whether it takes the key, and its coins.

And what the answers will cost, so that nobody is surprised by the first backfill or the month.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from crypto_platform.core.settings import TrackedCoinsSpec
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Window
from crypto_platform.ingestion.coin_search import CoinsNotFoundError, find_coins
from crypto_platform.ingestion.estimate import Estimate, estimate
from crypto_platform.ingestion.quota import scheduled_needs
from crypto_platform.ingestion.responses import Listing, MarketsResponse
from lambda_function.handler import handle
from lambda_function.plans import MARKETS_A_PAGE, Plan
from lambda_function.rate_limiter import SYSTEM_CLOCK


def ping(environment: Mapping[str, str]) -> dict[str, Any]:
    """Ask whether the API is there and takes the key for the plan; a key costs a credit.

    Args:
        environment: The variables of the API.

    Raises:
        InvalidSettings: The variables cannot be used; nothing was asked.
        IngestionError: The API does not answer, or does not take the key.
    """
    answer = handle({"action": "ping"}, None, environment, SYSTEM_CLOCK)
    if environment.get("COINGECKO_API_KEY"):
        # A ping is answered to anybody: what a run asks for tells whether the key is taken.
        CoinsOfApi(environment, "usd").known(["bitcoin"])
    return answer


@dataclass
class CoinsOfApi:
    """The API's coins: the largest are asked for once, others when they are named.

    Attributes:
        environment: The variables of the API.
        vs_currency: The currency in which they are large.
    """

    environment: Mapping[str, str]
    vs_currency: str

    def __post_init__(self) -> None:
        """Nothing was asked yet."""
        self._largest: list[Listing] = []

    @property
    def largest(self) -> Sequence[Listing]:
        """The largest, as many as a call has.

        Raises:
            IngestionError: The API does not answer.
        """
        if not self._largest:
            self._largest = self._ask(top=MARKETS_A_PAGE)
        return self._largest

    def resolve(self, text: str) -> TrackedCoinsSpec:
        """What to track, with each coin by its id whatever it was called by.

        Args:
            text: As ``TRACKED_COINS``, and tickers and names as well.

        Raises:
            ValueError: It is of none of these forms.
            CoinsNotFoundError: It names a coin that there is not, or does not say which.
            IngestionError: The API does not answer.
        """
        spec = TrackedCoinsSpec.parse(text, by_name=True)
        if not spec.named:
            return spec.model_copy(update={"removed": self._removed(spec.removed)})
        try:
            named = self._find(spec.named)
        except CoinsNotFoundError as error:
            # A smaller one, by its id, which is mostly its name with hyphens.
            names = [one.asked for one in error.problems if not one.shared]
            ids = ["-".join(name.casefold().split()) for name in names]
            small = self._ask(ids=ids) if ids else []
            if not small:
                raise
            self._largest = [*self.largest, *small]
            named = self._find(spec.named)
        removed = self._removed(spec.removed)
        return spec.model_copy(update={"named": tuple(named), "removed": removed})

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of some ids that the API has; one call tells of all, and that it has the currency.

        Raises:
            IngestionError: The API does not answer, or does not have the currency.
        """
        return {coin.coin_id for coin in (self._ask(ids=ids) if ids else self.largest)}

    def called(self, coin_id: str) -> str:
        """An id with the name and the ticker of its coin."""
        for coin in self._largest:
            if coin.coin_id == coin_id:
                return f"{coin_id} ({coin.name}, {(coin.symbol or '').upper()})"
        return coin_id

    def _removed(self, named: Sequence[str]) -> tuple[str, ...]:
        """What is to be taken out, by ids; an id may be of a coin that the API has no longer."""
        found: list[str] = []
        for name in named:
            try:
                found += self._find([name])
            except CoinsNotFoundError as error:
                if len(name.split()) > 1 or any(problem.shared for problem in error.problems):
                    raise
                found.append(name)
        return tuple(dict.fromkeys(found))

    def _find(self, named: Sequence[str]) -> list[str]:
        return find_coins(named, self.largest)

    def _ask(self, *, top: int = 0, ids: Sequence[str] = ()) -> list[Listing]:
        event = {
            "action": "markets",
            "run_id": "init",
            "vs_currency": self.vs_currency,
            "top": top or None,
            "ids": list(ids),
        }
        answer = handle(event, None, self.environment, SYSTEM_CLOCK)
        return list(MarketsResponse.model_validate(answer).coins)


def written(spec: TrackedCoinsSpec) -> str:
    """What to track, as ``TRACKED_COINS`` has it."""
    top = [f"top:{spec.top}"] if spec.top else []
    return ",".join([*top, *spec.named, *(f"-{coin}" for coin in spec.removed)])


@dataclass(frozen=True)
class FirstCosts:
    """What the first backfill takes, and a month after it.

    Attributes:
        first: Key of the oldest partition of the backfill.
        last: Key of the newest.
        backfill: What it takes in one run.
        month: Credits of a month of 30 days with the schedules that run by default.
        daily: Credits more where the schedule of the daily history is switched on.
    """

    first: str
    last: str
    backfill: Estimate
    month: int
    daily: int


def first_costs(spec: TrackedCoinsSpec, plan: Plan, start: date, now: datetime) -> FirstCosts:
    """What some settings will cost.

    Args:
        spec: What is to be tracked.
        plan: The plan, with the budget in the place of its credits.
        start: The first day of the history, which is past.
        now: The time.
    """
    coins = spec.top + len(spec.named)
    first = datetime(start.year, start.month, start.day, tzinfo=UTC)
    windows: list[Window] = HISTORICAL.windows(first, now - HISTORICAL.window_length)
    # A whole month, which any is that has not begun: the next one of 30 days.
    month = datetime(now.year + 1, 4, 1, tzinfo=UTC)
    needs = {
        stream: sum(
            need.credits for need in scheduled_needs(month, [stream], coins=coins, top=spec.top)
        )
        for stream in (INTRA_DAY, HISTORICAL)
    }
    return FirstCosts(
        first=HISTORICAL.partition_key(windows[0]),
        last=HISTORICAL.partition_key(windows[-1]),
        backfill=estimate(HISTORICAL, windows, coins, plan, now),
        month=needs[INTRA_DAY],
        daily=needs[HISTORICAL],
    )


def first_day(plan: Plan, now: datetime) -> date | None:
    """The first whole day that a plan has; ``None`` for all there are."""
    earliest = plan.earliest_allowed(now)
    return None if earliest is None else (earliest + timedelta(days=1)).date()
