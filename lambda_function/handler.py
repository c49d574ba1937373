"""The entry of the ingestion function: what AWS Lambda invokes, and a laptop calls in process."""

import json
import logging
import math
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from lambda_function.api_key import with_api_key
from lambda_function.coingecko import CoinGecko
from lambda_function.errors import (
    InvalidRequest,
    NothingFetched,
    NothingFetchedYet,
    RequestProblem,
)
from lambda_function.events import Event, UsageRecord, seconds_allowed
from lambda_function.fear_and_greed import fear_and_greed_settings, ingest_fear_and_greed
from lambda_function.lake import put
from lambda_function.markets import ingest_markets
from lambda_function.plans import ApiSettings
from lambda_function.prices import ingest_prices
from lambda_function.rate_limiter import SYSTEM_CLOCK, Clock, RateLimiter
from lambda_function.windows import iso

logger = logging.getLogger(__name__)


def lambda_handler(event: Event, context: Any = None) -> dict[str, Any]:
    """Does what ``event["action"]`` names, and returns what it did.

    Both are JSON. The settings of the API come from the environment (``COINGECKO_*``). In any event
    ``seconds`` bounds the time, and ``usage`` says where to record what was asked of the API.

    Args:
        event: The action and its request.
        context: AWS Lambda's context, which knows the time left; ``None`` for no limit.

    Raises:
        IngestionError: It could not be done; the error's class says of what kind the reason is.
    """
    return handle(event, context, os.environ, SYSTEM_CLOCK)


def handle(
    event: Event, context: Any, environment: Mapping[str, str], clock: Clock
) -> dict[str, Any]:
    """As ``lambda_handler``, in an environment and at a time of the caller's choice.

    Args:
        event: The event, as JSON gives it.
        context: Lambda's context, which tells the time left; ``None`` for no limit.
        environment: The variables that say how the API is called.
        clock: The time.

    Raises:
        IngestionError: One of its kinds, see ``errors``.
    """
    action = ACTIONS.get(str(event.get("action")))
    if action is None:
        raise InvalidRequest(
            f"The event's action is {event.get('action')!r}: it must be one of "
            f"{', '.join(ACTIONS)}."
        )
    settings = action.settings(environment)
    rate_limiter = _rate_limiter(settings.base_url, settings.plan.calls_a_minute, clock)
    left = math.inf if context is None else context.get_remaining_time_in_millis() / 1000
    seconds = min(left, seconds_allowed(event))
    usage = UsageRecord.parse(event)
    recorded = False
    with CoinGecko(settings, rate_limiter, clock, clock.monotonic() + seconds) as api:
        try:
            response = action.act(event, api)
        except RequestProblem as problem:
            kind = NothingFetchedYet if problem.transient else NothingFetched
            raise kind(f"The action {event['action']} got nothing. {problem}") from problem
        finally:
            # However it ends, and whoever still waits for the response: what was spent is spent.
            if usage and api.calls:
                recorded = _record(usage, api)
    return {**response, "usage_recorded": recorded} if usage else response


def _record(usage: UsageRecord, api: CoinGecko) -> bool:
    """Keeps how much was asked; whether that went well, as it must not cost what was fetched."""
    content = {
        "asset": usage.asset,
        "run_id": usage.run_id,
        "calls": api.calls,
        "credits": api.credits,
        "at": iso(api.clock.now(), "milliseconds"),
    }
    try:
        put(usage.uri, json.dumps(content).encode())
    except Exception:
        logger.exception("What was asked of the API could not be recorded at %s.", usage.uri)
        return False
    return True


def _ping(_: Event, api: CoinGecko) -> dict[str, Any]:
    api.ping()
    return {
        "calls": api.calls,
        "credits": api.credits,
        "source": api.source,
        "clock_ahead": api.clock_ahead,
        "plan": api.settings.plan.name,
        "base_url": api.settings.base_url,
    }


def _price_api_settings(environment: Mapping[str, str]) -> ApiSettings:
    return ApiSettings.from_environment(with_api_key(environment))


class Action(NamedTuple):
    """Something that the function does.

    Attributes:
        act: Does it.
        settings: How the API that it asks is called.
    """

    act: Callable[[Event, CoinGecko], dict[str, Any]]
    settings: Callable[[Mapping[str, str]], ApiSettings] = _price_api_settings


ACTIONS: Mapping[str, Action] = {
    "prices": Action(ingest_prices),
    "markets": Action(ingest_markets),
    "ping": Action(_ping),
    "fear_and_greed": Action(ingest_fear_and_greed, fear_and_greed_settings),
}


@lru_cache(maxsize=16)
def _rate_limiter(_base_url: str, calls_a_minute: int, clock: Clock) -> RateLimiter:
    """The limiter of an API, kept between invocations: a minute does not end with one of them."""
    return RateLimiter(calls_a_minute, clock)
