from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crypto_platform.core.settings import TrackedCoinsSpec
from crypto_platform.ingestion.metered_api import PriceApi
from crypto_platform.ingestion.resource import LocalIngestion
from crypto_platform.ingestion.responses import Listing
from crypto_platform.ingestion.tracked_coins import (
    DOCUMENT,
    TrackedCoins,
    UnknownCoinError,
    ensure_tracked_coins,
    load_tracked_coins,
)
from crypto_platform.lake.documents import DamagedDocumentError
from crypto_platform.lake.layers import Layer
from lambda_function.plans import PLANS

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
TUESDAY = datetime(2026, 11, 17, tzinfo=UTC)


def listings(*ids: str) -> list[Listing]:
    return [Listing(coin_id=coin, symbol=coin[:3], name=coin.title()) for coin in ids]


def tracking(text: str, *listed: str, since: datetime = MONDAY) -> TrackedCoins:
    return TrackedCoins().updated(TrackedCoinsSpec.parse(text), listings(*listed), since)


def test_a_coin_that_falls_out_of_the_top_stays_tracked() -> None:
    coins = tracking("top:2", "bitcoin", "ethereum")

    later = coins.updated(TrackedCoinsSpec(top=2), listings("bitcoin", "solana"), TUESDAY)

    assert later.ids == ("bitcoin", "ethereum", "solana")


def test_a_coin_is_tracked_since_it_first_came() -> None:
    later = tracking("top:1", "bitcoin").updated(
        TrackedCoinsSpec(top=2), listings("bitcoin", "ethereum"), TUESDAY
    )

    assert [coin.first_tracked_at for coin in later.coins] == [MONDAY, TUESDAY]


def test_a_renamed_coin_keeps_its_id_and_takes_its_new_name() -> None:
    renamed = Listing(coin_id="matic-network", symbol="pol", name="POL (ex-MATIC)")

    coins = tracking("top:1", "matic-network").updated(TrackedCoinsSpec(top=1), [renamed], TUESDAY)

    assert [(coin.coin_id, coin.symbol) for coin in coins.coins] == [("matic-network", "pol")]


def test_a_coin_taken_out_by_name_is_kept_but_no_longer_tracked() -> None:
    coins = tracking("top:2", "bitcoin", "luna").updated(
        TrackedCoinsSpec.parse("top:2,-luna"), listings("bitcoin", "luna"), TUESDAY
    )

    assert coins.ids == ("bitcoin",)
    assert [coin.coin_id for coin in coins.coins] == ["bitcoin", "luna"]


def test_a_coin_taken_out_does_not_come_back_by_itself() -> None:
    removed = tracking("top:2,-luna", "bitcoin", "luna")

    assert removed.updated(TrackedCoinsSpec(named=("bitcoin",)), (), TUESDAY).ids == ("bitcoin",)


def test_a_named_coin_is_tracked_before_the_api_was_asked() -> None:
    assert tracking("bitcoin,ethereum").ids == ("bitcoin", "ethereum")


@pytest.mark.parametrize(
    ("text", "satisfied"),
    [
        ("top:2", True),
        ("top:1", True),
        ("top:3", False),
        ("bitcoin", True),
        ("solana", False),
        ("top:2,-bitcoin", False),
    ],
)
def test_the_api_need_not_be_asked_for_what_the_list_already_has(
    text: str, *, satisfied: bool
) -> None:
    coins = tracking("top:2", "bitcoin", "ethereum")

    assert coins.satisfies(TrackedCoinsSpec.parse(text)) is satisfied


def test_a_coin_that_does_not_exist_is_told_with_the_nearest_one() -> None:
    error = UnknownCoinError(["bitcon"], ["bitcoin", "ethereum"])

    assert "'bitcon' (did you mean 'bitcoin'?)" in str(error)


def test_a_tracked_coin_that_the_api_no_longer_lists_stays_tracked() -> None:
    coins = tracking("bitcoin,luna", "bitcoin", "luna")

    later = coins.updated(TrackedCoinsSpec.parse("bitcoin,luna"), listings("bitcoin"), TUESDAY)

    assert later.ids == ("bitcoin", "luna")


@pytest.mark.parametrize("content", [b"", b'{"coins":[{"coin_id":"bit', b"[]"])
def test_a_damaged_list_is_named_with_its_way_out_and_stays_as_it_is(
    content: bytes, tmp_path: Path
) -> None:
    layer = Layer(str(tmp_path), "raw", "raw_prices")
    layer.put(DOCUMENT, content)

    with pytest.raises(DamagedDocumentError) as told:
        load_tracked_coins(layer)

    said = str(told.value.description)
    assert said.startswith(f"{layer.uri(DOCUMENT)} is damaged")
    assert "TRACKED_COINS" in said
    assert layer.read(DOCUMENT) == content


def test_a_list_that_another_run_kept_meanwhile_loses_none_of_its_coins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = Layer(str(tmp_path), "raw", "raw_prices")
    other = TrackedCoins().updated(TrackedCoinsSpec.parse("ethereum,dai"), (), MONDAY)
    read = Layer.document

    def overtaken(self: Layer, *arguments: Any) -> Any:
        seen = read(self, *arguments)
        layer.put(DOCUMENT, other.model_dump_json().encode())
        return seen

    monkeypatch.setattr(Layer, "document", overtaken)
    api = PriceApi(
        ingestion=LocalIngestion(),
        layer=layer,
        vs_currency="usd",
        plan=PLANS["demo"],
        asset="historical/raw_prices",
        run_id="r1",
    )

    ensure_tracked_coins(api, TrackedCoinsSpec.parse("bitcoin,ethereum"))

    monkeypatch.undo()
    assert set(load_tracked_coins(layer).ids) == {"bitcoin", "ethereum", "dai"}
