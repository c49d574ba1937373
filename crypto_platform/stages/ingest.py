"""Ingest: ask the price API for windows, and make what it said count in the raw lake."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg

from crypto_platform.checks.definitions import COINS, WARN, Check, Finding
from crypto_platform.checks.raw import evaluate_raw
from crypto_platform.core.numbers import count
from crypto_platform.core.settings import TrackedCoinsSpec
from crypto_platform.core.streams import WindowBatch
from crypto_platform.ingestion.estimate import Estimate, estimate
from crypto_platform.ingestion.metered_api import PriceApi
from crypto_platform.ingestion.raw_windows import commit_response
from crypto_platform.ingestion.responses import MarketsResponse
from crypto_platform.ingestion.tracked_coins import chosen_coins, ensure_tracked_coins
from crypto_platform.lake.manifests import Manifest
from crypto_platform.lake.repair import RepairedMonth, repair_raw
from crypto_platform.lake.upgrade import refuse_old_layout
from lambda_function.api_time import CLOCK_TOLERANCE, describe_ahead


@dataclass(frozen=True)
class Ingested:
    """What came of asking for a batch of windows.

    Attributes:
        manifests: What the raw lake now holds, one a window, in the order of the batch.
        calls: Requests made to the API.
        credits: Requests that count against the month.
        estimated: What the run was expected to take.
        rejected: Addresses of responses that made no sense.
        source: ``coingecko`` or ``simulated``.
        snapshot_problem: Why no market snapshot was taken though one was due; empty otherwise.
        findings: What is wrong with the windows.
        evaluated: What was looked at, in words.
        unjudged: Why a check had nothing to look at.
        repaired: The months whose manifests were damaged, and made again.
    """

    manifests: Sequence[Manifest]
    calls: int
    credits: int
    estimated: Estimate
    rejected: Sequence[str]
    source: str
    snapshot_problem: str
    findings: Sequence[Finding]
    evaluated: str
    unjudged: Mapping[Check, str]
    repaired: Sequence[RepairedMonth]


def ingest_windows(
    batch: WindowBatch,
    api: PriceApi,
    tracked: TrackedCoinsSpec,
    only: Sequence[str],
    now: datetime,
) -> Ingested:
    """Ask for the prices of closed windows and commit what comes, with a snapshot where one is due.

    Args:
        batch: The windows.
        api: The price API, on behalf of one run.
        tracked: Which coins are tracked.
        only: Ask for these tracked coins alone, and leave the others as they are; none is all.
        now: The time.

    Raises:
        OldLayoutError: An earlier version made the raw lake; nothing was asked.
        UntrackedCoinError: ``only`` names a coin that is not tracked.
        PermanentFailure: The month's credits do not suffice, or asking again cannot help.
        IngestionFailure: A later try may succeed.
    """
    refuse_old_layout(api.layer, batch.stream)
    coin_list = ensure_tracked_coins(api, tracked)
    coins = coin_list.coins.ids
    repaired = repair_raw(api.layer, batch.stream, batch.windows, lambda: coins, api.run_id)
    asked = chosen_coins(coins, only)
    estimated = estimate(batch.stream, batch.windows, len(asked), api.plan, now, tracked=coins)
    response = api.prices(batch.stream, batch.windows, asked)
    # A window has one snapshot, so it is of all coins.
    snapshot, problem = _snapshot(api, batch, coins, now, response.clock_ahead)
    manifests = commit_response(
        api.layer,
        batch,
        asked,
        response,
        snapshots={batch.newest: snapshot.objects} if snapshot else {},
        vs_currency=api.vs_currency,
        run_id=api.run_id,
    )
    return Ingested(
        manifests=manifests,
        calls=response.calls + (snapshot.calls if snapshot else 0),
        credits=response.credits + (snapshot.credits if snapshot else 0),
        estimated=estimated,
        rejected=response.rejected,
        source=response.source,
        snapshot_problem=problem,
        findings=[
            *evaluate_raw(batch.stream, manifests, asked, api.vs_currency),
            *([Finding(COINS, "", None, coin_list.problem, WARN)] if coin_list.problem else []),
        ],
        evaluated=f"{count(len(batch.windows), 'window')}, {count(len(asked), 'coin')}",
        unjudged={} if asked else {COINS: "no coin is tracked. Name some in TRACKED_COINS"},
        repaired=repaired,
    )


def _snapshot(
    api: PriceApi,
    batch: WindowBatch,
    coins: Sequence[str],
    now: datetime,
    clock_ahead: float | None,
) -> tuple[MarketsResponse | None, str]:
    """A snapshot of the market for the newest window, while it is still the newest.

    One that cannot be had costs no price: the run goes on without it, and says why.
    """
    if not batch.stream.takes_snapshot(batch.newest, now):
        return None, ""
    ahead = timedelta(seconds=clock_ahead or 0)
    if ahead > CLOCK_TOLERANCE and now - ahead < batch.newest.end:
        return None, f"Its window is still open: {describe_ahead(ahead.total_seconds())}."
    try:
        response = api.markets(ids=coins, snapshot=(batch.stream, batch.newest))
    except dg.Failure as failure:
        return None, failure.description or "The API gave no reason."
    came = "" if response.objects else f"The API answered with none of the {len(coins)} coins."
    return response, came
