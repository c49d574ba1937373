"""The law of continuations: however the time is cut, what comes of the work is the same."""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from crypto_platform_tests.lambda_function.conftest import (
    KEY,
    Asked,
    Ingestion,
    Reply,
    ScriptedApi,
    VirtualClock,
    chart,
    written,
)
from lambda_function.errors import IngestionError

SIX_HOURS = timedelta(hours=6)
# Time enough for one attempt after the longest pause that the API asks for below.
SHORTEST, LONGEST = 140, 900
NEVER = 10**9

_NOT_FOUND = Reply.json({"error": "coin not found"}, 404)
_TOO_OLD = Reply.json({"error": {"status": {"error_code": 10012, "error_message": "Old."}}}, 401)
_SLOW_DOWN = Reply(status=429, body=b"Throttled", headers={"Retry-After": "90"})
_CUT_SHORT = Reply(body=b'{"prices": [')


def script(api: ScriptedApi, coin: str, kind: str) -> None:
    """Has the API treat a coin in one of the ways that it has."""
    if kind == "delisted":
        api.always(coin, _NOT_FOUND)
    elif kind == "down":
        api.always(coin, Reply(status=503))
    elif kind == "too old":
        api.always(coin, _TOO_OLD)
    elif kind == "throttled":
        api.reply(coin, _SLOW_DOWN, _SLOW_DOWN)
    elif kind == "cut short":
        # Answers that are no use and cost a credit each.
        api.reply(coin, _CUT_SHORT, _CUT_SHORT)
    elif kind == "without 5-minute points":
        now = int(api.clock.now().timestamp())
        api.reply(
            coin, *[Reply.json(chart(coin, now - 80 * 86_400, now - 86_400, api.clock.now()))] * 9
        )


KINDS = (
    "there",
    "delisted",
    "down",
    "too old",
    "throttled",
    "cut short",
    "without 5-minute points",
)
# As the intra-day stream asks: of a long time ago, in between, and now.
AGES = (1, 2, 5, 300, 320, 900, 1_400, 1_500)


class Context:
    """Lambda's context of an invocation that may take so many seconds."""

    def __init__(self, clock: VirtualClock, seconds: float) -> None:
        self._ends = clock.monotonic() + seconds
        self._clock = clock

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self._ends - self._clock.monotonic()))


def outcome(kinds: Sequence[str], ages: Sequence[int], seconds: Sequence[int]) -> Mapping[str, Any]:
    """What comes of asking for coins, the invocations having so many seconds in turn."""
    clock = VirtualClock()
    api = ScriptedApi(clock)

    def pass_time(_: Asked) -> None:
        clock.passed += 11

    api.before = pass_time
    with tempfile.TemporaryDirectory() as folder:
        ingestion = Ingestion(
            api,
            clock,
            Path(folder),
            {
                "COINGECKO_BASE_URL": api.base_url,
                "COINGECKO_PLAN": "demo",
                "COINGECKO_API_KEY": KEY,
                # One thread: the order in which coins are asked for is always the same.
                "COINGECKO_CALLS_A_MINUTE": "60",
            },
        )
        coins = [f"coin-{number}" for number in range(len(kinds))]
        for coin, kind in zip(coins, kinds, strict=True):
            script(api, coin, kind)
        every = ingestion.windows(1_600, SIX_HOURS)
        windows = [every[-age] for age in sorted(ages, reverse=True)]
        event = {**ingestion.event(coins, windows), "granularity": "finest", "credits_left": 500}
        try:
            return _followed(ingestion, event, seconds)
        finally:
            api.close()


def _followed(
    ingestion: Ingestion, event: Mapping[str, Any], seconds: Sequence[int]
) -> dict[str, Any]:
    responses: list[dict[str, Any]] = []
    following: Mapping[str, Any] | None = event
    try:
        while following:
            allowed = seconds[len(responses) % len(seconds)]
            responses.append(ingestion.run(following, Context(ingestion.clock, allowed)))
            told = responses[-1]["continuation"]
            following = {**following, **told} if told else None
    except IngestionError as error:
        # That nothing could be had is told by the last invocation alone.
        return {"failed": type(error)}
    records = [record for response in responses for record in written(response)]
    return {
        "prices": sorted(
            (record["coin_id"], record["window_start"], record["prices"]) for record in records
        ),
        "points": [sum(p) for p in zip(*(r["window_points"] for r in responses), strict=True)],
        "absent": sorted(
            (one["coin_id"], one["status"], one["reason"], window)
            for response in responses
            for one in response["absent"]
            for first, last in one["windows"]
            for window in range(first, last + 1)
        ),
        "calls": sum(response["calls"] for response in responses),
        "credits": sum(response["credits"] for response in responses),
    }


# Cut within a coin; between two attempts; in a row of failures; with no hope in the last part.
@example(["delisted", *["there"] * 5], {1, 300, 900}, [SHORTEST])
@example([*["there"] * 7, "down"], {900}, [SHORTEST])
@example(["there", *["down"] * 9], {900}, [SHORTEST])
@example(["down", *["delisted"] * 8], {900}, [SHORTEST])
@settings(deadline=None, max_examples=20)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=12),
    ages=st.sets(st.sampled_from(AGES), min_size=1),
    seconds=st.lists(st.integers(SHORTEST, LONGEST), min_size=1, max_size=4),
)
def test_any_cutting_of_the_time_gives_what_one_unbounded_invocation_gives(
    kinds: list[str], ages: set[int], seconds: list[int]
) -> None:
    assert outcome(kinds, list(ages), seconds) == outcome(kinds, list(ages), [NEVER])
