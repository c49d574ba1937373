"""The tracked coins: a sticky list, so that history has no survivor bias.

A coin that was tracked once stays tracked, also when it falls out of the top, until
``TRACKED_COINS`` takes it out by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Self

import dagster as dg
from pydantic import AwareDatetime, BaseModel

from crypto_platform.core.errors import MixedSourcesError, PermanentFailure
from crypto_platform.core.settings import TrackedCoinsSpec
from crypto_platform.ingestion.metered_api import PriceApi
from crypto_platform.ingestion.resource import IngestionFailure
from crypto_platform.ingestion.responses import Listing, MarketsResponse
from crypto_platform.lake.layers import Layer

DOCUMENT = "tracked_coins.json"
"""Where the list is kept, relative to the root of the raw lake."""


_WAY_OUT = (
    "The warehouse's table coins has the list too. Move the file away, set TRACKED_COINS so that "
    "it names every coin that is to stay tracked, and materialize tracked_coins."
)


class UnknownCoinError(PermanentFailure):
    """``TRACKED_COINS`` names coins that the API does not have.

    Args:
        unknown: What it names.
        known: Ids that the API has, among which what was meant may be.
    """

    def __init__(self, unknown: Sequence[str], known: Sequence[str]) -> None:
        """See the class."""

        def described(coin: str) -> str:
            near = get_close_matches(coin, known, n=1)
            return f"{coin!r} (did you mean {near[0]!r}?)" if near else repr(coin)

        super().__init__(
            "TRACKED_COINS names what the price API does not have: "
            f"{', '.join(described(coin) for coin in unknown)}. "
            "Use a coin's API id, as in its page's address on coingecko.com, or take it out."
        )


class UntrackedCoinError(PermanentFailure):
    """A run is restricted to coins that are not tracked."""


class TrackedCoin(BaseModel, frozen=True):
    """A coin of the list.

    Attributes:
        coin_id: The API's id.
        symbol: Its ticker; ``None`` until the API was asked.
        name: Its name; ``None`` until the API was asked.
        image: Address of its logo.
        first_tracked_at: Since when it has been tracked.
        tracked: False once it was taken out by name; its history stays.
    """

    coin_id: str
    symbol: str | None = None
    name: str | None = None
    image: str | None = None
    first_tracked_at: AwareDatetime
    tracked: bool = True


class TrackedCoins(BaseModel, frozen=True):
    """The list as it is kept in the lake.

    Attributes:
        coins: Every coin that was ever tracked, in the order in which they came.
        resolved_top: The ``top:N`` that the list has been filled for.
    """

    coins: tuple[TrackedCoin, ...] = ()
    resolved_top: int = 0

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the coins tracked now."""
        return tuple(coin.coin_id for coin in self.coins if coin.tracked)

    def satisfies(self, spec: TrackedCoinsSpec) -> bool:
        """Whether the list holds all that ``spec`` asks for without asking the API."""
        tracked = set(self.ids)
        return (
            spec.top <= self.resolved_top
            and tracked.issuperset(set(spec.named) - set(spec.removed))
            and tracked.isdisjoint(spec.removed)
        )

    def updated(
        self,
        spec: TrackedCoinsSpec,
        listings: Sequence[Listing],
        now: datetime,
        *,
        whole: bool = True,
    ) -> Self:
        """The list with new coins added, names brought up to date and removed coins taken out.

        Args:
            spec: What is to be tracked.
            listings: What the API said of coins; none where it was not asked.
            now: Since when new coins count as tracked.
            whole: Whether the listings have as many coins as ``spec`` asks for.
        """
        listed = {listing.coin_id: listing.model_dump() for listing in listings}
        known = {coin.coin_id: coin for coin in self.coins}
        wanted = {*listed, *spec.named}
        coins = []
        for coin_id in dict.fromkeys([*known, *listed, *spec.named]):
            coin = known.get(coin_id) or TrackedCoin(coin_id=coin_id, first_tracked_at=now)
            tracked = coin_id not in spec.removed and (coin.tracked or coin_id in wanted)
            coins.append(coin.model_copy(update={**listed.get(coin_id, {}), "tracked": tracked}))
        return type(self)(
            coins=tuple(coins),
            resolved_top=max(spec.top if listings and whole else 0, self.resolved_top),
        )

    def beside(self, other: Self) -> Self:
        """The list with the coins that only another one has, as they stand there."""
        known = {coin.coin_id for coin in self.coins}
        others = (coin for coin in other.coins if coin.coin_id not in known)
        return type(self)(
            coins=(*self.coins, *others),
            resolved_top=max(self.resolved_top, other.resolved_top),
        )


@dataclass(frozen=True)
class CoinList:
    """The list after it was looked at, and what is wrong with it.

    Attributes:
        coins: The list.
        problem: Why it is not what ``TRACKED_COINS`` asks for; empty where it is.
    """

    coins: TrackedCoins
    problem: str = ""


def refresh_tracked_coins(api: PriceApi, spec: TrackedCoinsSpec) -> CoinList:
    """Ask the API for the top coins and the names of all, and keep the list that results.

    Coins that are tracked already stay so whatever the API says, or if it says nothing.

    Args:
        api: The API, and the raw lake that the list is kept in.
        spec: What is to be tracked.

    Raises:
        UnknownCoinError: ``spec`` names a new coin that the API does not have.
        PermanentFailure: No coin is known yet, and asking again cannot help.
        IngestionFailure: No coin is known yet; a later attempt may succeed.
    """
    before = load_tracked_coins(api.layer)
    ids = dict.fromkeys([*before.ids, *spec.named])
    try:
        response = api.markets(top=spec.top, ids=list(ids))
    except dg.Failure as failure:
        # A name that the API was never asked about may be a wrong one: it is not taken up.
        known = {coin.coin_id for coin in before.coins}
        kept = spec.model_copy(update={"named": tuple(n for n in spec.named if n in known)})
        return _unasked(api, before.updated(kept, (), datetime.now(UTC)), failure)
    known = {listing.coin_id for listing in response.coins}
    known.update(coin.coin_id for coin in before.coins)
    # A coin tracked before may be gone from the API: a delisted one must not stop the others.
    if unknown := [coin for coin in spec.named if coin not in known]:
        raise UnknownCoinError(unknown, [coin.coin_id for coin in api.markets(top=250).coins])
    return _listed(api, before, spec, response)


def ensure_tracked_coins(api: PriceApi, spec: TrackedCoinsSpec) -> CoinList:
    """The list as it stands, with the API asked only where ``spec`` wants a top not yet known.

    Coins that are named join the list as they are; one that the API does not have shows as failed
    in the ledger, and does not stop the others. Nor does a list that cannot be had: the prices of
    coins that are known are asked for without it.

    Args:
        api: The API, and the raw lake that the list is kept in.
        spec: What is to be tracked.

    Raises:
        PermanentFailure: No coin is known yet, and asking again cannot help.
        IngestionFailure: No coin is known yet; a later attempt may succeed.
    """
    before = load_tracked_coins(api.layer)
    if before.satisfies(spec):
        return CoinList(before)
    without = before.updated(spec, (), datetime.now(UTC))
    if spec.top <= before.resolved_top:
        return CoinList(_keep(api.layer, without))
    try:
        response = api.markets(top=spec.top)
    except dg.Failure as failure:
        return _unasked(api, without, failure)
    return _listed(api, before, spec, response)


def _unasked(api: PriceApi, coins: TrackedCoins, failure: dg.Failure) -> CoinList:
    """The list where the API could not be asked for it.

    Raises:
        Failure: No coin is known, or the lake is not of this API.
    """
    if isinstance(failure, MixedSourcesError) or not coins.ids:
        raise failure
    problem = (
        f"The list of coins could not be brought up to date: the {len(coins.ids)} coins known "
        f"are asked for without it. {failure.description}"
    )
    return CoinList(_keep(api.layer, coins), problem)


def _listed(
    api: PriceApi, before: TrackedCoins, spec: TrackedCoinsSpec, response: MarketsResponse
) -> CoinList:
    """The list with what the API said, which may be less than it was asked for.

    Raises:
        IngestionFailure: Nothing came, and no coin is known.
    """
    whole = response.ranked is None or response.ranked >= spec.top
    coins = before.updated(spec, response.coins, datetime.now(UTC), whole=whole)
    if whole:
        return CoinList(_keep(api.layer, coins))
    problem = (
        f"TRACKED_COINS asks for top:{spec.top}, and the API's list of the market came with "
        f"{response.ranked} coins."
    )
    if not coins.ids:
        raise IngestionFailure(
            description=f"{problem} There is no coin to ask for: try again when the API has its "
            "list, or name coins in TRACKED_COINS."
        )
    problem += " The coins known stay tracked, and the list is asked for again by the next run."
    return CoinList(_keep(api.layer, coins), problem)


def chosen_coins(tracked: Sequence[str], only: Sequence[str]) -> Sequence[str]:
    """The coins that a run asks for: those it names, or all.

    Args:
        tracked: The coins that are tracked.
        only: Those that the run names; none for all.

    Raises:
        UntrackedCoinError: It names a coin that is not tracked.
        PermanentFailure: No coin is tracked.
    """
    if not tracked:
        raise PermanentFailure(
            "No coin is tracked, so there is nothing to ask for: TRACKED_COINS takes out every "
            "coin that it asks for."
        )
    untracked = sorted(set(only) - set(tracked))
    if untracked:
        raise UntrackedCoinError(
            f"The run names coins that are not tracked: {', '.join(untracked)}. Nothing was asked; "
            "add them to TRACKED_COINS, or take them out of the run's configuration."
        )
    return only or tracked


def load_tracked_coins(layer: Layer) -> TrackedCoins:
    """The list as the raw lake has it, without asking the API; empty where none was ever made.

    Raises:
        DamagedDocumentError: It cannot be read; says what to do.
    """
    return layer.document(DOCUMENT, TrackedCoins, _WAY_OUT) or TrackedCoins()


def _keep(layer: Layer, coins: TrackedCoins) -> TrackedCoins:
    """Keep the list, beside coins that a run which knows nothing of this one added meanwhile."""
    return layer.update_document(
        DOCUMENT, TrackedCoins, lambda there: coins.beside(there or TrackedCoins()), _WAY_OUT
    )
