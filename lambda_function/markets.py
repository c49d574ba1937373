"""The action ``markets``: which coins there are, and how the market sees them now."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lambda_function.coingecko import CoinGecko
from lambda_function.errors import BudgetExceeded
from lambda_function.events import Event, MarketsRequest
from lambda_function.lake import write_lines
from lambda_function.plans import MARKETS_A_PAGE, id_pages, markets_pages
from lambda_function.windows import iso

Market = dict[str, Any]


def ingest_markets(event: Event, api: CoinGecko) -> dict[str, Any]:
    """Fetches the largest coins, coins by name, or both, and keeps a snapshot where one is wanted.

    Args:
        event: The event, as JSON gives it.
        api: The client.

    Raises:
        InvalidRequest: The event is wrong, or the API does not have the currency.
        BudgetExceeded: It would take more credits than are left.
        Unauthorized: The API does not accept the key.
        Unreachable: The API never responded.
        RequestProblem: The API responded with an error.
    """
    request = MarketsRequest.parse(event, api.clock.now())
    _check_budget(request)
    top = _top(request, api)
    markets = top | _named(request, api, top)
    observed_at = iso(api.clock.now(), "milliseconds")
    return {
        "coins": [_coin(market) for market in markets.values()],
        "ranked": len(top),
        "unknown": [name for name in request.ids if name not in markets],
        "objects": _snapshots(request, markets, observed_at, api.source),
        "calls": api.calls,
        "credits": api.credits,
        "source": api.source,
        "observed_at": observed_at,
    }


def _check_budget(request: MarketsRequest) -> None:
    calls = markets_pages(request.top) + len(id_pages(request.ids))
    if request.credits_left is not None and calls > request.credits_left:
        raise BudgetExceeded(
            f"The market takes up to {calls} API calls ({MARKETS_A_PAGE} coins a call), and "
            f"{request.credits_left} of the month's credits are left. Nothing was asked. What "
            f"fits: {request.credits_left * MARKETS_A_PAGE} coins."
        )


def _top(request: MarketsRequest, api: CoinGecko) -> dict[str, Market]:
    ranked = {market["id"]: market for market in _ranked(request, api)}
    return dict(list(ranked.items())[: request.top])


def _named(
    request: MarketsRequest, api: CoinGecko, known: Mapping[str, Market]
) -> dict[str, Market]:
    markets: dict[str, Market] = {}
    for page in id_pages([name for name in request.ids if name not in known]):
        response = api.markets(request.vs_currency, ids=page)
        markets |= {market["id"]: market for market in response.data.coins if market["id"] in page}
    return markets


def _ranked(request: MarketsRequest, api: CoinGecko) -> Iterator[Market]:
    for page in range(1, markets_pages(request.top) + 1):
        response = api.markets(request.vs_currency, page=page)
        yield from response.data.coins
        if response.data.rows < MARKETS_A_PAGE:
            return


def _coin(market: Market) -> dict[str, Any]:
    texts = {name: market.get(name) for name in ("symbol", "name", "image")}
    return {
        "coin_id": market["id"],
        **{name: text if isinstance(text, str) else None for name, text in texts.items()},
        "market_cap_rank": market.get("market_cap_rank"),
    }


def _snapshots(
    request: MarketsRequest, markets: dict[str, Market], observed_at: str, source: str
) -> list[dict[str, Any]]:
    window = request.snapshot
    if window is None or not markets:
        return []
    head = {
        "vs_currency": request.vs_currency,
        "observed_at": observed_at,
        "window_start": iso(window.start),
        "window_end": iso(window.end),
        "run_id": request.run_id,
        "source": source,
    }
    lines = [
        json.dumps({"coin_id": coin_id, **head, "market": market}, separators=(",", ":")) + "\n"
        for coin_id, market in markets.items()
    ]
    written = write_lines(f"{window.uri}.json.gz", (line.encode() for line in lines))
    return [{**written, "points": len(lines), "windows": [[window.index, window.index]]}]
