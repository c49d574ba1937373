"""What an answer without a price in a window says: that there is none, or only that none came.

The API has been seen to lack days in the middle of a history, and to answer for hours with empty
arrays. So an answer that goes on after a window proves that the window has no price; one that says
nothing of the time at or after it proves nothing by itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lambda_function.windows import RequestedWindow

# Stored in manifests and the ledger: another wording would change every window once.
MISSING = "The API answered, and has no price in the window."
MISSING_PRICE = "The API has a market cap or a volume in the window, and no price."

_ASKED_AGAIN = "It is asked again, as only a second answer at another time proves that."
ENDED = f"The API's prices end before the window, as if the coin had none since. {_ASKED_AGAIN}"
EMPTY = f"The API answered without a single price, as if the coin had none. {_ASKED_AGAIN}"
ELSEWHERE = (
    f"The API answered with prices from outside of what it was asked for alone. {_ASKED_AGAIN}"
)
SECONDS = (
    "The API's stamps are seconds, where it documents milliseconds, so that no price lies in what "
    "it was asked for. It is asked again; if that lasts, check that COINGECKO_BASE_URL is the "
    "address of the API itself, and tell its provider."
)
UNPLACED = (
    "The API's answer has prices whose stamps are of no time that can be, of which one may be "
    f"the window's. {_ASKED_AGAIN}"
)

UNPROVEN = frozenset({ENDED, EMPTY, ELSEWHERE, UNPLACED})
"""Reasons of answers that prove absence only together with a second one."""

_DAY_MS = 86_400_000
# 2009: no coin had a price before.
_EARLIEST = 1_230_768_000_000


class Verdict(NamedTuple):
    """Why a window has no price of a coin.

    Attributes:
        status: ``missing_at_source`` where that is certain, else ``failed``.
        reason: The reason in a sentence.
    """

    status: str
    reason: str


class Answer:
    """What the prices of one answer tell about windows that have none of them.

    Args:
        prices: The prices, as the API gave them: stamps with values.
        asked: The query that was sent, with the span that the prices should be of.
        unplaced: Whether there are prices besides whose stamps cannot be read.
    """

    def __init__(
        self, prices: Sequence[Sequence[Any]], asked: Mapping[str, str], *, unplaced: bool = False
    ) -> None:
        stamps = [point[0] for point in prices]
        # The API's last point may be some minutes off the span, a daily one some hours.
        first = int(asked["from"]) * 1000 - _DAY_MS
        last = int(asked["to"]) * 1000 + _DAY_MS
        self._last = max(stamps, default=None)
        self._unplaced = unplaced or not all(_EARLIEST <= stamp <= last for stamp in stamps)
        self.useless: str | None = None
        """Why nothing in it can be used; ``None`` where something can."""
        if not stamps:
            self.useless = EMPTY
        elif not any(first <= stamp <= last for stamp in stamps):
            in_seconds = any(first <= stamp * 1000 <= last for stamp in stamps)
            self.useless = SECONDS if in_seconds else ELSEWHERE

    def verdict(self, window: RequestedWindow, *, filled: bool) -> Verdict:
        """What a window without a price is to be taken for.

        Args:
            window: The window.
            filled: Whether it has a market cap or a volume.
        """
        if self.useless:
            return Verdict("failed", self.useless)
        if self._unplaced:
            return Verdict("failed", UNPLACED)
        if filled:
            return Verdict("missing_at_source", MISSING_PRICE)
        if self._last is not None and self._last >= window.milliseconds[1]:
            return Verdict("missing_at_source", MISSING)
        return Verdict("failed", ENDED)
