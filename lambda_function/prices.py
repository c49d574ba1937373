"""The action ``prices``: the prices of coins in windows, from the API to the raw lake."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from lambda_function.coin_prices import Coin, CoinPrices, span_plan
from lambda_function.coingecko import THREADS, CoinGecko
from lambda_function.errors import BudgetExceeded, NothingFetched, NothingFetchedYet, OutOfTime
from lambda_function.events import BegunCoin, Event, PricesRequest
from lambda_function.lake import Spool
from lambda_function.request_planner import SpanPlan
from lambda_function.windows import iso

# What is kept of an invocation's time, in seconds: for the longest call that is under way, and for
# each object to write.
_RESERVE, _RESERVE_AN_OBJECT = 45.0, 0.02

T = TypeVar("T")


def ingest_prices(event: Event, api: CoinGecko) -> dict[str, Any]:
    """Fetches the event's windows for its coins, and writes one raw object a distinct ``uri``.

    An object has a line a coin a stretch of neighbouring windows, see ``slice_windows``.

    A coin that cannot be had does not stop the others: it is in the response's ``absent``, with the
    reason. What concerns all coins ends the asking, and what was had before stays. Where time or
    the response's room runs short, the coins not handled yet are in its ``continuation``, those had
    in part with the requests that are left: however often the work is cut, it is the same.

    Args:
        event: The event, as JSON gives it.
        api: The client.

    Raises:
        InvalidRequest: The event is wrong, or the API does not have the currency.
        BudgetExceeded: It would take more credits than are left.
        Unauthorized: The API does not accept the key.
        Unreachable: The API never responded.
        OutOfTime: There was not even time for one answer.
        NothingFetched: Every coin failed.
    """
    began = api.clock.now()
    request = PricesRequest.parse(event, began)
    planned = _check_budget(request, span_plan(request.windows, request, api))
    api.deadline -= _RESERVE + _RESERVE_AN_OBJECT * len({window.uri for window in request.windows})
    with Spool(len(request.coins)) as spool:
        ingestion = CoinPrices(request, api, spool, planned)
        outcomes = _run_all(ingestion.coin, len(request.coins), api)
        handled = [coin for coin in outcomes if coin]
        if ingestion.refusal and not (request.fetched or any(coin.fetched for coin in handled)):
            raise ingestion.refusal
        continuation = _continuation(request, handled, api, ingestion.failures_in_a_row)
        objects = ingestion.write()
    return {
        "objects": objects,
        "window_points": ingestion.window_points,
        "points": {coin.coin_id: coin.points for coin in handled},
        "absent": [absence for coin in handled for absence in coin.absences()],
        "rejected": [uri for coin in handled for uri in coin.rejected],
        "calls": api.calls,
        "credits": api.credits,
        "source": api.source,
        "clock_ahead": api.clock_ahead,
        "fetched_at": iso(began, "milliseconds"),
        "continuation": continuation,
    }


def _check_budget(request: PricesRequest, plan: SpanPlan) -> int:
    """How many calls are planned, which the credits left suffice for."""
    coins, a_coin = len(request.coins), len(plan.spans)
    planned = sum(
        len(request.begun[name].calls) if name in request.begun else a_coin
        for name in request.coins
    )
    if request.credits_left is None or planned <= request.credits_left:
        return planned
    left = max(0, request.credits_left)
    largest_first = sorted((len(span.windows) for span in plan.spans), reverse=True)
    raise BudgetExceeded(
        f"{coins} coins take {planned} API calls ({a_coin} a coin), and {left} of the "
        f"month's credits are left. Nothing was asked. What fits: {left // a_coin} coins with all "
        f"windows, or all coins with {sum(largest_first[: left // coins])} of the "
        f"{len(request.windows)} windows."
    )


def _run_all(work: Callable[[int], T], count: int, api: CoinGecko) -> list[T]:
    # A thread for each call a second: more would only wait, each with a coin half done.
    threads = min(THREADS, -(-api.settings.plan.calls_a_minute // 60))
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, position) for position in range(count)]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            api.halt()
            pool.shutdown(cancel_futures=True)
    return [future.result() for future in futures]


def _continuation(
    request: PricesRequest, handled: Sequence[Coin], api: CoinGecko, failures_in_a_row: int
) -> dict[str, Any] | None:
    """What is left to do; ``None`` for nothing.

    Raises:
        OutOfTime: Nothing was done, so that it would go on for ever.
        NothingFetched: Nothing is left to do, and no coin could be had.
    """
    done = {coin.coin_id for coin in handled if not coin.left}
    left = [name for name in request.coins if name not in done]
    begun = {
        **request.begun,
        **{coin.coin_id: BegunCoin(coin.left, coin.fetched) for coin in handled if coin.left},
    }
    fetched = request.fetched or any(not coin.failed for coin in handled)
    if not handled:
        raise OutOfTime(
            f"The time left was too short for even one answer of {len(left)} coins: give the "
            "invocation more time, or fewer windows."
        )
    passing = request.passing or any(coin.problem and coin.problem.transient for coin in handled)
    if left:
        return {
            "coins": left,
            "part": request.part + 1,
            "credits_left": request.credits_left and max(0, request.credits_left - api.credits),
            "fetched": fetched,
            "begun": {name: begun[name].to_json() for name in left if name in begun},
            "failures_in_a_row": failures_in_a_row,
            "passing": passing,
        }
    if not fetched:
        reasons = "; ".join(f"{coin.coin_id}: {coin.problem}" for coin in handled[:3])
        raise (NothingFetchedYet if passing else NothingFetched)(
            f"None of the {len(handled)} coins could be had for the windows from "
            f"{request.windows[0]} on. {reasons}"
        )
    return None
