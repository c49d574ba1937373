"""The action ``fear_and_greed``: the market's Fear & Greed index, as alternative.me tells it."""

import json
from collections.abc import Mapping
from typing import Any

from lambda_function.coingecko import CoinGecko
from lambda_function.events import Event, FearAndGreedRequest
from lambda_function.lake import write_lines
from lambda_function.plans import ApiSettings, Plan
from lambda_function.windows import iso

BASE_URL_VARIABLE = "FEAR_AND_GREED_BASE_URL"
SOURCE = "alternative.me"

# It asks for no key, and allows 60 calls a minute; one a run is what it gets.
_PLAN = Plan(SOURCE, "https://api.alternative.me", None, 30, None, None)


def fear_and_greed_settings(environment: Mapping[str, str]) -> ApiSettings:
    """How the index is asked: at its own address, and never with the price API's key.

    Raises:
        InvalidSettings: ``FEAR_AND_GREED_BASE_URL`` is malformed.
    """
    return ApiSettings.without_key(_PLAN, BASE_URL_VARIABLE, environment)


def ingest_fear_and_greed(event: Event, api: CoinGecko) -> dict[str, Any]:
    """Fetches all days of the index, and keeps the response as it came.

    Args:
        event: The event, as JSON gives it.
        api: The client.

    Raises:
        InvalidRequest: The event is wrong.
        Unreachable: The index never responded.
        RequestProblem: It responded with an error.
    """
    request = FearAndGreedRequest.parse(event)
    response = api.fear_and_greed()
    source = SOURCE if api.source == "coingecko" else api.source
    fetched_at = iso(response.received_at, "milliseconds")
    line = {
        "run_id": request.run_id,
        "source": source,
        "requested": dict(response.asked),
        "fetched_at": fetched_at,
        "answer": response.data,
    }
    text = json.dumps(line, separators=(",", ":")) + "\n"
    written = write_lines(request.uri, [text.encode()])
    return {
        "uri": written["uri"],
        "bytes": written["bytes"],
        "sha256": written["sha256"],
        "calls": api.calls,
        "source": source,
        "fetched_at": fetched_at,
    }
