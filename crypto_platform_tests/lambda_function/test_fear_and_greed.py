import json
from typing import Any

import pytest

from crypto_platform_tests.lambda_function.conftest import KEY, Ingestion, Reply, records
from lambda_function.errors import InvalidRequest, InvalidSettings, NothingFetched, Unreachable

RESPONSE = {
    "name": "Fear and Greed Index",
    "data": [{"value": "20", "value_classification": "Extreme Fear", "timestamp": "1764028800"}],
    "metadata": {"error": None},
}
# The last part of the path /fng/.
INDEX = ""


@pytest.fixture
def index(ingestion: Ingestion) -> Ingestion:
    """The function with the index where the prices are, and a response to give."""
    ingestion.environment["FEAR_AND_GREED_BASE_URL"] = ingestion.api.base_url
    ingestion.api.always(INDEX, Reply.json(RESPONSE))
    return ingestion


def asked(index: Ingestion, **others: Any) -> dict[str, Any]:
    uri = str(index.lake / "fear_and_greed" / "run=1.json.gz")
    return index.run({"action": "fear_and_greed", "run_id": "1", "uri": uri, **others})


def test_the_response_is_kept_as_it_came_with_what_was_asked(index: Ingestion) -> None:
    response = asked(index)

    (line,) = records(response["uri"])
    assert line["answer"] == RESPONSE
    assert line["requested"] == {"limit": "0"}
    assert (response["source"], response["calls"]) == ("alternative.me", 1)
    assert line["fetched_at"] == response["fetched_at"]


def test_the_key_of_the_price_api_never_goes_there(index: Ingestion) -> None:
    asked(index)

    (request,) = index.api.asked
    assert request.path.endswith("/fng/")
    assert KEY not in json.dumps([dict(request.headers), request.query])


def test_a_simulated_market_says_so_here_too(index: Ingestion) -> None:
    index.api.always(INDEX, Reply.json(RESPONSE, headers={"x-simulated-market": "true"}))

    assert asked(index)["source"] == "simulated"


@pytest.mark.parametrize("data", [[], None, "x"])
def test_an_index_without_days_is_no_answer(index: Ingestion, data: object) -> None:
    index.api.always(INDEX, Reply.json({**RESPONSE, "data": data}))

    with pytest.raises(NothingFetched, match="no list of days, or an empty one"):
        asked(index)


def test_what_passes_is_asked_again_a_few_times(index: Ingestion) -> None:
    index.api.reply(INDEX, Reply(503), Reply(body=b'{"data": [', cut_at=4), Reply.json(RESPONSE))

    assert asked(index)["calls"] == 3


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(500), NothingFetched, "HTTP 500"),
        (Reply(404), NothingFetched, "Check FEAR_AND_GREED_BASE_URL"),
        (Reply.json({"data": None, "metadata": {"error": "broken"}}), NothingFetched, "no list"),
        (Reply.json(["no", "object"]), NothingFetched, "not an object"),
        (Reply(301, headers={"Location": "/"}), InvalidSettings, "FEAR_AND_GREED_BASE_URL"),
    ],
)
def test_what_does_not_pass_is_an_error_that_says_what_to_do(
    index: Ingestion, reply: Reply, kind: type[Exception], words: str
) -> None:
    index.api.always(INDEX, reply)

    with pytest.raises(kind, match=words):
        asked(index)
    assert not list(index.lake.rglob("*.gz"))


def test_an_error_does_not_speak_of_the_price_apis_key(index: Ingestion) -> None:
    index.api.always(INDEX, Reply(403, b"error code: 1020"))

    with pytest.raises(Exception, match="check FEAR_AND_GREED_BASE_URL") as caught:
        asked(index)
    assert "COINGECKO" not in str(caught.value)


def test_where_nobody_answers_the_address_is_named(index: Ingestion) -> None:
    index.environment["FEAR_AND_GREED_BASE_URL"] = "http://127.0.0.1:9"

    with pytest.raises(Unreachable, match="FEAR_AND_GREED_BASE_URL"):
        asked(index)


def test_a_malformed_address_is_refused_before_anything_is_asked(index: Ingestion) -> None:
    index.environment["FEAR_AND_GREED_BASE_URL"] = "alternative.me"

    with pytest.raises(InvalidSettings, match="FEAR_AND_GREED_BASE_URL must be like"):
        asked(index)


@pytest.mark.parametrize("name", ["run_id", "uri"])
def test_an_event_without_what_it_needs_is_refused(index: Ingestion, name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        asked(index, **{name: None})
