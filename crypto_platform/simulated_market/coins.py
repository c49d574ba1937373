"""The coins of the simulated market, well-known and made-up, and what may be odd about them."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any


@dataclass(frozen=True)
class SimulatedCoin:
    """A coin, and how its price behaves.

    Attributes:
        id: The API's id of the coin.
        symbol: Its ticker.
        name: Its name.
        price: About what it costs in early 2026, in US dollars.
        supply: Coins in circulation in early 2026.
        listed: The first day it has a price.
        max_supply: The most coins there can ever be, or ``None`` where nothing limits them.
        own_volatility: Standard deviation of the part of a day's log return that is its own.
        beta: How much of the whole market's log return it shares.
        growth: Log return a year that its history trended by, until early 2026.
        issuance: Yearly growth of its supply, until early 2026.
        turnover: A day's volume as a share of its market cap.
        pegged: Whether its price returns to where it belongs, as that of a stablecoin does.
    """

    id: str
    symbol: str
    name: str
    price: float
    supply: float
    listed: datetime
    max_supply: float | None = None
    own_volatility: float = 0.03
    beta: float = 1.1
    growth: float = 0.2
    issuance: float = 0.05
    turnover: float = 0.05
    pegged: bool = False


@dataclass(frozen=True)
class Oddities:
    """What is odd about the API's data. All but listing and delisting are shares of a coin's days.

    Attributes:
        late_listing: Whether a coin has no price before the day it was listed.
        missing_days: Days without any point.
        null_caps: Days whose market caps are null.
        zero_volumes: Days whose volumes are zero.
        off_midnight: Days whose daily point is stamped up to an hour after midnight.
        delisted: Coins whose prices end, by id, and when they do.
    """

    late_listing: bool = True
    missing_days: float = 0.0
    null_caps: float = 0.0
    zero_volumes: float = 0.0
    off_midnight: float = 0.0
    delisted: Mapping[str, datetime] = field(default_factory=dict, hash=False)


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


_PEGGED: Mapping[str, Any] = {
    "pegged": True,
    "own_volatility": 0.0006,
    "beta": 0.0,
    "growth": 0.0,
    "issuance": 0.35,
}

WELL_KNOWN = (
    SimulatedCoin(
        "bitcoin",
        "btc",
        "Bitcoin",
        72_000,
        20.0e6,
        _day("2013-04-28"),
        21e6,
        own_volatility=0.013,
        beta=1.0,
        growth=0.45,
        issuance=0.03,
        turnover=0.026,
    ),
    SimulatedCoin(
        "ethereum",
        "eth",
        "Ethereum",
        2_300,
        120.7e6,
        _day("2015-08-07"),
        own_volatility=0.02,
        growth=0.55,
        issuance=0.02,
        turnover=0.045,
    ),
    SimulatedCoin(
        "tether", "usdt", "Tether", 1.0, 184e9, _day("2015-02-25"), turnover=0.3, **_PEGGED
    ),
    SimulatedCoin(
        "binancecoin", "bnb", "BNB", 620, 134.8e6, _day("2017-09-16"), 200e6, turnover=0.01
    ),
    SimulatedCoin(
        "usd-coin", "usdc", "USDC", 1.0, 73e9, _day("2018-10-05"), turnover=0.17, **_PEGGED
    ),
    SimulatedCoin("ripple", "xrp", "XRP", 1.3, 62.2e9, _day("2013-08-04"), 100e9, turnover=0.02),
    SimulatedCoin("solana", "sol", "Solana", 95, 581e6, _day("2020-04-11"), own_volatility=0.035),
    SimulatedCoin("tron", "trx", "TRON", 0.32, 94.9e9, _day("2017-11-09"), turnover=0.014),
    SimulatedCoin("hyperliquid", "hype", "Hyperliquid", 45, 222e6, _day("2024-11-29"), 1e9),
    SimulatedCoin(
        "dogecoin", "doge", "Dogecoin", 0.09, 155e9, _day("2013-12-15"), own_volatility=0.045
    ),
    SimulatedCoin("zcash", "zec", "Zcash", 410, 16.8e6, _day("2016-10-29"), 21e6, growth=0.0),
    SimulatedCoin("cardano", "ada", "Cardano", 0.25, 37.3e9, _day("2017-10-18"), 45e9),
    SimulatedCoin("stellar", "xlm", "Stellar", 0.2, 34.1e9, _day("2014-08-05")),
    SimulatedCoin("monero", "xmr", "Monero", 330, 18.8e6, _day("2014-05-21"), turnover=0.018),
    SimulatedCoin("chainlink", "link", "Chainlink", 9.5, 748e6, _day("2017-11-09"), 1e9),
    SimulatedCoin("bitcoin-cash", "bch", "Bitcoin Cash", 290, 20.0e6, _day("2017-08-02"), 21e6),
    SimulatedCoin("dai", "dai", "Dai", 1.0, 4.6e9, _day("2019-11-19"), turnover=0.045, **_PEGGED),
    SimulatedCoin("the-open-network", "ton", "Toncoin", 1.7, 2.7e9, _day("2021-08-28")),
    SimulatedCoin("litecoin", "ltc", "Litecoin", 55, 77.3e6, _day("2013-04-28"), 84e6, growth=0.1),
    SimulatedCoin("hedera-hashgraph", "hbar", "Hedera", 0.09, 43.8e9, _day("2019-09-17"), 50e9),
    SimulatedCoin("sui", "sui", "Sui", 0.9, 4.1e9, _day("2023-05-03"), 10e9, own_volatility=0.045),
    SimulatedCoin("avalanche-2", "avax", "Avalanche", 8.4, 431e6, _day("2020-09-22"), 720e6),
    SimulatedCoin(
        "near", "near", "NEAR Protocol", 1.8, 1.3e9, _day("2020-10-14"), own_volatility=0.04
    ),
    SimulatedCoin(
        "shiba-inu", "shib", "Shiba Inu", 5.1e-06, 589e12, _day("2020-08-01"), issuance=0.0
    ),
    SimulatedCoin("uniswap", "uni", "Uniswap", 3.6, 621e6, _day("2020-09-17"), 1e9),
)

_FIRST_NAMES = (
    *("Aurel", "Borea", "Cobalt", "Delphi", "Ember", "Fathom", "Glint", "Halcyon", "Isoleth"),
    *("Juniper", "Kestrel", "Lumen", "Meridian", "Nimbus", "Obsidian", "Pallas", "Quorum"),
    *("Rivulet", "Solace", "Tessera", "Umbra", "Vantage", "Wisp", "Xylo", "Zephyr"),
)
_LAST_NAMES = (
    *("Protocol", "Network", "Finance", "Chain", "Swap", "Token", "Labs", "DAO"),
    *("Games", "Cash", "Cloud", "Oracle", "Bridge", "Vault", "Credit", "Mesh"),
)
_FIRST_LISTING, _LISTING_DAYS = _day("2014-01-01"), 4_160


def coins_of(seed: int, number: int) -> tuple[SimulatedCoin, ...]:
    """The market's coins: the well-known ones, then as many made-up ones as it takes.

    Args:
        seed: Decides on the properties of the made-up coins. A smaller market of the same seed
            is the beginning of a larger one.
        number: How many coins, 425 at most.

    Raises:
        ValueError: There are not that many names.
    """
    names = [(first, last) for last, first in product(_LAST_NAMES, _FIRST_NAMES)]
    if not 1 <= number <= len(WELL_KNOWN) + len(names):
        raise ValueError(
            f"The simulated market has between 1 and {len(WELL_KNOWN) + len(names)} coins,"
            f" not {number}."
        )
    draw = random.Random(seed)  # noqa: S311 - a price level is no secret
    made_up = (
        _made_up(rank, first, last, draw)
        for rank, (first, last) in enumerate(names, start=len(WELL_KNOWN) + 1)
    )
    return (*WELL_KNOWN, *made_up)[:number]


def _made_up(rank: int, first: str, last: str, draw: random.Random) -> SimulatedCoin:
    # Caps fall with rank about as they do in the real market: 2 billion at 26, 0.1 at 250.
    market_cap = 2e9 * (26 / rank) ** 1.3 * draw.lognormvariate(0, 0.2)
    price = 10 ** draw.uniform(-4, 2)
    return SimulatedCoin(
        id=f"{first}-{last}".lower(),
        symbol=(first[:2] + last[:2]).lower(),
        name=f"{first} {last}",
        price=price,
        supply=market_cap / price,
        # The square root: more coins were listed late than early.
        listed=_FIRST_LISTING + timedelta(days=int(_LISTING_DAYS * draw.random() ** 0.5)),
        own_volatility=draw.uniform(0.035, 0.06),
        beta=draw.uniform(0.9, 1.4),
        growth=draw.uniform(-0.2, 0.3),
        issuance=draw.uniform(0.0, 0.1),
        turnover=draw.uniform(0.01, 0.15),
    )
