import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from crypto_platform_tests.lambda_function.conftest import Ingestion, Reply, records
from lambda_function.errors import (
    BudgetExceeded,
    InvalidRequest,
    NothingFetched,
    NothingFetchedYet,
)
from lambda_function.plans import id_pages


def listing(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"coin-{rank}",
            "symbol": f"c{rank}",
            "name": "\u200b\u200bCoin 币",
            "image": f"https://images/{rank}.png",
            "market_cap_rank": rank,
            "current_price": 1.1e-05 * rank,
            "max_supply": None,
        }
        for rank in range(1, count + 1)
    ]


@pytest.fixture
def market(ingestion: Ingestion) -> Ingestion:
    ingestion.api.listing = listing(600)
    return ingestion


def ask(market: Ingestion, **changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = {
        "action": "markets",
        "run_id": "run-1",
        "vs_currency": "usd",
        "top": None,
        "ids": [],
        "credits_left": None,
        "snapshot": None,
    }
    return market.run({**event, **changes})


def ids(response: dict[str, Any]) -> list[str]:
    return [coin["coin_id"] for coin in response["coins"]]


def test_the_top_coins_take_one_call_a_page(market: Ingestion) -> None:
    response = ask(market, top=300)
    assert ids(response) == [f"coin-{rank}" for rank in range(1, 301)]
    assert response["calls"] == 2


def test_coins_of_long_ids_take_more_calls_so_that_no_address_is_refused(
    market: Ingestion,
) -> None:
    names = [f"{'wrapped-staked-' * 2}é-token-{number}" for number in range(260)]
    market.api.listing = [{"id": name} for name in names]
    response = ask(market, ids=names)
    assert set(ids(response)) == set(names)
    addresses = [f"{one.raw_path}?{urlencode(one.query)}" for one in market.api.asked]
    assert response["calls"] == len(addresses) == len(id_pages(names)) > 2
    assert max(map(len, addresses)) < 4_000
    assert [name for page in id_pages(names) for name in page] == names


def test_an_id_longer_than_a_page_is_a_page_of_its_own() -> None:
    assert id_pages(["a", "b" * 9_000, "c"]) == [["a"], ["b" * 9_000], ["c"]]


def test_the_calls_of_long_ids_count_against_the_budget(market: Ingestion) -> None:
    names = [f"{'wrapped-staked-' * 4}{number}" for number in range(250)]
    with pytest.raises(BudgetExceeded, match="takes up to 5 API calls"):
        ask(market, ids=names, credits_left=2)
    assert market.api.asked == []


@pytest.mark.parametrize("listed", [0, 3])
def test_the_response_tells_how_many_coins_the_list_came_with(
    market: Ingestion, listed: int
) -> None:
    market.api.listing = listing(listed)
    assert ask(market, top=25, ids=["coin-1"])["ranked"] == listed


def test_a_market_of_fewer_coins_ends_with_its_last_page(market: Ingestion) -> None:
    market.api.listing = listing(100)
    response = ask(market, top=1000)
    assert (len(response["coins"]), response["calls"]) == (100, 1)


def test_a_coin_is_described_as_the_api_describes_it(market: Ingestion) -> None:
    assert ask(market, ids=["coin-7"])["coins"] == [
        {
            "coin_id": "coin-7",
            "symbol": "c7",
            "name": "\u200b\u200bCoin 币",
            "image": "https://images/7.png",
            "market_cap_rank": 7,
        }
    ]


def test_more_ids_than_a_page_take_more_calls_and_none_is_cut_off(market: Ingestion) -> None:
    wanted = [f"coin-{rank}" for rank in range(1, 502)]
    response = ask(market, ids=wanted)
    assert sorted(ids(response)) == sorted(wanted)
    assert response["calls"] == 3


def test_top_and_ids_are_united_and_no_coin_is_asked_for_twice(market: Ingestion) -> None:
    response = ask(market, top=3, ids=["coin-2", "coin-500"])
    assert ids(response) == ["coin-1", "coin-2", "coin-3", "coin-500"]
    assert market.api.asked[-1].query["ids"] == "coin-500"


def test_ids_that_the_api_does_not_return_are_unknown(market: Ingestion) -> None:
    response = ask(market, ids=["coin-1", "no-such-coin", "coin-2,coin-3"])
    assert ids(response) == ["coin-1"]
    assert response["unknown"] == ["no-such-coin", "coin-2,coin-3"]


@pytest.mark.parametrize("row", [None, 5, [], {}, {"id": None}, {"id": 5, "name": "Coin"}])
def test_a_row_that_names_no_coin_is_left_out_and_ends_no_list(market: Ingestion, row: Any) -> None:
    market.api.listing[7] = row
    response = ask(market, top=300)
    assert ids(response) == [f"coin-{rank}" for rank in range(1, 302) if rank != 8]
    assert response["calls"] == 2


def test_what_is_no_text_is_no_name_of_a_coin(market: Ingestion) -> None:
    market.api.listing[6] |= {"name": 5, "symbol": None, "image": {"thumb": "x"}}
    [coin] = ask(market, ids=["coin-7"])["coins"]
    assert (coin["name"], coin["symbol"], coin["image"]) == (None, None, None)


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_json_cannot_say_costs_no_other(market: Ingestion, value: str) -> None:
    body = f'[{{"id":"coin-1","max_supply":{value},"current_price":1.1e-05}}]'
    market.api.always("markets", Reply(body=body.encode()))
    response = ask(market, ids=["coin-1"], snapshot=snapshot(market))
    [record] = records(response["objects"][0]["uri"])
    assert record["market"]["current_price"] == 1.1e-05
    assert isinstance(record["market"]["max_supply"], str)


def snapshot(market: Ingestion, end: str = "2026-11-23T06:00:00Z") -> dict[str, Any]:
    window = {"start": "2026-11-23T00:00:00Z", "end": end}
    return {"window": window, "uri": f"{market.lake}/month=2026-11/snapshots-run-1"}


def test_a_snapshot_keeps_the_apis_objects_untouched(market: Ingestion) -> None:
    response = ask(market, top=2, snapshot=snapshot(market))
    (found,) = response["objects"]
    assert found["uri"] == f"{market.lake}/month=2026-11/snapshots-run-1.json.gz"
    assert (found["windows"], found["rows"], found["points"]) == ([[0, 0]], 2, 2)
    assert found["bytes"] == Path(found["uri"]).stat().st_size
    assert records(found["uri"]) == [
        {
            "coin_id": coin["id"],
            "vs_currency": "usd",
            "observed_at": "2026-11-23T06:10:00.000Z",
            "window_start": "2026-11-23T00:00:00Z",
            "window_end": "2026-11-23T06:00:00Z",
            "run_id": "run-1",
            "source": "coingecko",
            "market": coin,
        }
        for coin in market.api.listing[:2]
    ]


def test_without_a_snapshot_nothing_is_written(market: Ingestion) -> None:
    assert ask(market, top=2)["objects"] == []
    assert not market.lake.exists()


def test_a_snapshot_of_no_coin_is_not_written(market: Ingestion) -> None:
    assert ask(market, ids=["no-such-coin"], snapshot=snapshot(market))["objects"] == []


def test_a_snapshot_of_a_window_that_is_not_closed_is_refused(market: Ingestion) -> None:
    with pytest.raises(InvalidRequest, match="is not closed yet"):
        ask(market, top=2, snapshot=snapshot(market, "2026-11-23T12:00:00Z"))


@pytest.mark.parametrize("nothing", [{}, {"top": 0}, {"top": -1, "ids": ["coin-1"]}])
def test_a_market_of_no_coins_is_an_invalid_request(
    market: Ingestion, nothing: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match="top coins"):
        ask(market, **nothing)


def test_a_budget_that_does_not_suffice_is_refused_before_any_call(market: Ingestion) -> None:
    with pytest.raises(BudgetExceeded, match=r"up to 3 API calls.*2 of the .*500 coins"):
        ask(market, top=300, ids=["coin-1"], credits_left=2)
    assert market.api.asked == []


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(status=404), NothingFetched),
        (Reply(status=503), NothingFetchedYet),
        (Reply.json({"coins": []}), NothingFetched),
        (Reply.json([{"name": "no id"}]), NothingFetched),
        (Reply.json({"error": "invalid vs_currency"}, 400), InvalidRequest),
    ],
)
def test_a_market_that_cannot_be_had_is_an_error(
    market: Ingestion, reply: Reply, error: type[Exception]
) -> None:
    market.api.always("markets", reply)
    with pytest.raises(error) as caught:
        ask(market, top=2)
    assert caught.type is error


@pytest.mark.recorded
def test_a_recorded_market_comes_through_unchanged(market: Ingestion, recorded: Path) -> None:
    body = (recorded / "markets" / "markets_250_usd_2026-07-07.json").read_bytes()
    market.api.always("markets", Reply(body=body))
    response = ask(market, top=250, snapshot=snapshot(market))
    kept = [record["market"] for record in records(response["objects"][0]["uri"])]
    assert json.dumps(kept) == json.dumps(json.loads(body))
