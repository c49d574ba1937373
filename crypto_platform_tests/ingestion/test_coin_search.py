import pytest

from crypto_platform.ingestion.coin_search import CoinsNotFoundError, find_coins
from crypto_platform.ingestion.responses import Listing

COINS = [
    Listing(coin_id="bitcoin", symbol="btc", name="Bitcoin"),
    Listing(coin_id="ethereum", symbol="eth", name="Ethereum"),
    Listing(coin_id="usd-coin", symbol="usdc", name="USDC"),
    Listing(coin_id="bridged-usdc", symbol="usdc", name="Bridged USDC"),
    Listing(coin_id="eth", symbol="ethx", name="Another ETH"),
    Listing(coin_id="new", symbol=None, name=None),
]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["bitcoin"], ["bitcoin"]),
        (["BITCOIN"], ["bitcoin"]),
        (["BTC"], ["bitcoin"]),
        ([" Bitcoin "], ["bitcoin"]),
        (["Bridged usdc"], ["bridged-usdc"]),
        (["Bridged  USDC"], ["bridged-usdc"]),
        (["ethereum", "btc", "bitcoin"], ["ethereum", "bitcoin"]),
        (["new"], ["new"]),
    ],
)
def test_a_coin_is_found_by_id_ticker_or_name_whatever_the_case(
    asked: list[str], found: list[str]
) -> None:
    assert find_coins(asked, COINS) == found


def test_an_id_goes_before_another_coins_ticker() -> None:
    assert find_coins(["eth"], COINS) == ["eth"]


@pytest.mark.parametrize(("asked", "nearest"), [("bitcoinn", "bitcoin"), ("Etherum", "ethereum")])
def test_a_slip_is_named_and_not_taken_for_what_was_meant(asked: str, nearest: str) -> None:
    with pytest.raises(CoinsNotFoundError, match=rf"'{asked}' \(did you mean {nearest}"):
        find_coins(["btc", asked], COINS)


def test_a_ticker_of_several_coins_is_asked_about() -> None:
    with pytest.raises(CoinsNotFoundError, match="shared by usd-coin, bridged-usdc: name one"):
        find_coins(["USDC"], COINS)


@pytest.mark.parametrize("asked", ["qqqqqqqq", " "])
def test_what_resembles_nothing_is_answered_with_what_there_is(asked: str) -> None:
    with pytest.raises(CoinsNotFoundError, match=r"there are: bitcoin, ethereum, .*, …"):
        find_coins([asked], COINS)
