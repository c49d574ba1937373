"""The price API on behalf of one run: within the month's credits, and with a record of each use.

Each invocation of the function adds one small file to the raw lake, which it writes itself: what it
spent counts, whether it succeeds, fails, or nobody waits for it any longer. There is nothing to
lock, and a month is a folder to add up.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import AwareDatetime, BaseModel

from crypto_platform.core.errors import MixedSourcesError
from crypto_platform.core.streams import SIMULATED, Dataset, Stream, Window
from crypto_platform.ingestion.resource import Ingestion
from crypto_platform.ingestion.responses import (
    AbsentWindows,
    MarketsResponse,
    PricesResponse,
    merge_responses,
)
from crypto_platform.lake.documents import DamagedDocumentError
from crypto_platform.lake.layers import Layer
from lambda_function import events
from lambda_function.plans import Plan

logger = logging.getLogger(__name__)

_SOURCE = "source.txt"
_SOURCES = ("coingecko", "alternative.me", SIMULATED)

_WAY_OUT = (
    "It has what one run asked of the API. Move the file away: the credits of that run then do not "
    "count against the month."
)


class ApiUsage(BaseModel, frozen=True):
    """What one run asked.

    Attributes:
        asset: Key of the asset that asked.
        run_id: Its run.
        calls: Requests made; every response counts against the minute.
        credits: Requests that succeeded; only these count against the month.
        at: When they were made.
    """

    asset: str
    run_id: str
    calls: int
    credits: int
    at: AwareDatetime


ResponseT = TypeVar("ResponseT", PricesResponse, MarketsResponse)


@dataclass(frozen=True)
class PriceApi:
    """The API as one asset of one run asks it.

    Attributes:
        ingestion: The function that asks.
        layer: The raw lake, which the responses go to.
        vs_currency: The currency of all prices.
        plan: The API's plan; it says how many credits a calendar month has.
        asset: Key of the asset that asks.
        run_id: Its run.
    """

    ingestion: Ingestion
    layer: Layer
    vs_currency: str
    plan: Plan
    asset: str
    run_id: str

    def prices(
        self, stream: Stream, windows: Sequence[Window], coins: Sequence[str]
    ) -> PricesResponse:
        """Have the prices of closed windows written to the raw lake, in one invocation or more.

        Args:
            stream: The stream of the windows.
            windows: Closed windows.
            coins: Ids of the coins.

        Raises:
            PermanentFailure: The month's credits do not suffice, or asking again cannot help.
            IngestionFailure: A later attempt may succeed.
            MixedSourcesError: The lake holds prices of another source.
        """
        targets = [
            {**window.model_dump(mode="json"), "uri": self._uri(stream, window, "prices")}
            for window in windows
        ]
        credits_left = self._credits_left()
        parts: list[tuple[int, PricesResponse]] = []
        # An event has a limit of windows, and an invocation one of time.
        for first in range(0, len(targets), events.MAX_WINDOWS):
            used = sum(part.credits for _, part in parts)
            event: dict[str, Any] | None = {
                "action": "prices",
                "run_id": self.run_id,
                "granularity": stream.granularity,
                "vs_currency": self.vs_currency,
                "coins": list(coins),
                "windows": targets[first : first + events.MAX_WINDOWS],
                "rejected_uri": self.layer.uri(f"rejected/{stream.folder}/run={self.run_id}"),
                # By it every invocation's objects have names of their own.
                "part": len(parts),
                "credits_left": None if credits_left is None else max(0, credits_left - used),
                # Where anything was had, a later invocation that has nothing is no failure.
                "fetched": used > 0,
            }
            while event:
                try:
                    response = self._ask(event, PricesResponse)
                except Exception as error:
                    if not event["fetched"]:
                        raise
                    # Whatever it is, what was had before stays; healing asks for the rest.
                    logger.exception("An invocation failed after %d others.", len(parts))
                    lost = _not_had(event, coins, len(targets) - first, parts[-1][1], error)
                    return self._accepted(merge_responses([*parts, (first, lost)]))
                parts.append((first, response))
                told = response.continuation
                event = {**event, **told} if told else None
        return self._accepted(merge_responses(parts))

    def markets(
        self,
        *,
        top: int = 0,
        ids: Sequence[str] = (),
        snapshot: tuple[Stream, Window] | None = None,
    ) -> MarketsResponse:
        """Ask which coins there are, and keep a snapshot of them where a window wants one.

        Args:
            top: This many coins by market capitalization.
            ids: These coins too.
            snapshot: The window that a snapshot is kept for, with its stream.

        Raises:
            PermanentFailure: As for ``prices``.
            IngestionFailure: A later attempt may succeed.
            MixedSourcesError: The lake holds prices of another source.
        """
        event = {
            "action": "markets",
            "run_id": self.run_id,
            "vs_currency": self.vs_currency,
            "top": top or None,
            "ids": list(ids),
            "credits_left": self._credits_left(),
            "snapshot": snapshot
            and {
                "window": snapshot[1].model_dump(mode="json"),
                "uri": self._uri(*snapshot, "snapshots"),
            },
        }
        return self._accepted(self._ask(event, MarketsResponse))

    def _uri(self, stream: Stream, window: Window, name: Dataset) -> str:
        """Where a window's object goes, without its ending; a run has one a folder."""
        return self.layer.uri(f"{stream.window_folder(window)}/{name}-{self.run_id}")

    def _ask(self, event: Mapping[str, Any], kind: type[ResponseT]) -> ResponseT:
        """Run the function once; it records what it spends, however it ends and whoever waits."""
        now = datetime.now(UTC)
        name = f"{self.asset.replace('/', '.')}-{self.run_id}-{now:%d%H%M%S%f}.json"
        path = f"{_month_folder(now)}/{name}"
        usage = {"uri": self.layer.uri(path), "asset": self.asset}
        response = self.ingestion.ask({**event, "usage": usage}, kind)
        if not response.usage_recorded:
            # It asked nothing, or could not, or is of a version before it did.
            self._note(path, response)
        return response

    def _accepted(self, response: ResponseT) -> ResponseT:
        """A response, unless it is of a source that the lake is not of."""
        # Without a response of the API nobody said who they are.
        if response.credits:
            refuse_other_source(self.layer, response.source, "COINGECKO_BASE_URL")
        return response

    def _credits_left(self) -> int | None:
        if self.plan.monthly_credits is None:
            return None
        used = sum(usage.credits for usage in usage_of_month(self.layer, datetime.now(UTC)))
        return max(0, self.plan.monthly_credits - used)

    def _note(self, path: str, response: PricesResponse | MarketsResponse) -> None:
        usage = ApiUsage(
            asset=self.asset,
            run_id=self.run_id,
            calls=response.calls,
            credits=response.credits,
            at=datetime.now(UTC),
        )
        self.layer.put(path, usage.model_dump_json().encode())


def _not_had(
    event: Mapping[str, Any],
    coins: Sequence[str],
    windows: int,
    before: PricesResponse,
    error: Exception,
) -> PricesResponse:
    """What came of an invocation that failed after others: nothing, for a reason.

    Args:
        event: What it was asked.
        coins: All coins that are asked for.
        windows: How many windows are lost with it: the event's, and those of events not sent.
        before: The response before it.
        error: Why it failed.
    """
    described = getattr(error, "description", None) or f"{type(error).__name__}: {error}"
    asked = len(event["windows"])
    begun = event.get("begun", {})
    # Of a coin that was had in part, what is left of it.
    lost = [
        *((coin, _windows_left(begun[coin])) for coin in event["coins"] if coin in begun),
        *((coin, [(0, asked - 1)]) for coin in event["coins"] if coin not in begun),
        *((coin, [(asked, windows - 1)]) for coin in coins if asked < windows),
    ]
    return before.model_copy(
        update={
            "objects": (),
            "window_points": (0,) * windows,
            "absent": tuple(
                AbsentWindows(
                    coin_id=coin, status="failed", reason=described, windows=tuple(ranges)
                )
                for coin, ranges in lost
            ),
            "rejected": (),
            "calls": 0,
            "credits": 0,
        }
    )


def _windows_left(begun: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The windows of a coin that an invocation left to the next, as ``lambda_function`` tells."""
    return [(first, last) for call in begun["calls"] for first, last in call["windows"]]


def refuse_other_source(
    layer: Layer, source: str, variable: str, unless_kept: str | None = None
) -> None:
    """Refuse what is simulated in a lake that holds real data, and the reverse.

    Args:
        layer: The raw lake; the first source that it is given decides.
        source: Where new data is from.
        variable: The variable that holds the address which was asked.
        unless_kept: A file of the new data that counts by being there: it is deleted.

    Raises:
        MixedSourcesError: The lake holds the other kind.
        DamagedDocumentError: Which kind the lake holds cannot be read.
    """
    held = (layer.read(_SOURCE) or b"").decode(errors="replace")
    if held and held not in _SOURCES:
        raise DamagedDocumentError(
            f"{layer.uri(_SOURCE)} is damaged: it says {held[:40]!r}, and none of "
            f"{', '.join(_SOURCES)}. Nothing was committed. Write into it where the prices in this "
            "lake are from, as the column source of the warehouse's tables has it."
        )
    if not held:
        layer.put(_SOURCE, source.encode())
    elif (held == SIMULATED) != (source == SIMULATED):
        if unless_kept:
            layer.remove(unless_kept)
        raise MixedSourcesError(
            f"The API at {variable} is {source}, and {layer.root} holds prices from {held}: "
            "simulated prices and real ones are never mixed. Nothing was committed; set "
            "CRYPTO_HOME to another folder for one of them."
        )


def usage_of_month(layer: Layer, day: datetime) -> list[ApiUsage]:
    """What was asked in the calendar month (UTC) that a day belongs to.

    Args:
        layer: The raw lake.
        day: A time in the month.

    Raises:
        DamagedDocumentError: A record cannot be read; says what to do.
    """

    def usage(path: str) -> ApiUsage | None:
        return layer.document(path, ApiUsage, _WAY_OUT)

    return [one for one in layer.each(usage, layer.paths(_month_folder(day))) if one]


def _month_folder(day: datetime) -> str:
    return f"api_usage/month={day.astimezone(UTC):%Y-%m}"
