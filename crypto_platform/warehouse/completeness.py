"""How complete a stream is: the one count that report, ledger, checks and commands show.

Expected is each tracked coin in each window from the first one that was ever asked for up to the
newest that is due, so that a hole between two ranges counts, and a history that nobody asked for
does not. Healing fills what is expected, for a coin that was tracked later too. The view
``coin_windows`` has the same windows, and those that closed a moment ago beside them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from crypto_platform.core.numbers import count, share_percent
from crypto_platform.core.streams import Stream
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.sql import ledger_statement

STATUSES = ("present", "missing_at_source", "out_of_plan", "quarantined", "failed", "pending")

EXPLAINED = ("missing_at_source", "out_of_plan", "quarantined")
"""Statuses of what asking again is not known to bring."""


@dataclass(frozen=True)
class Completeness:
    """How complete a stream is, or several together.

    Attributes:
        stream: The stream's name; ``all streams`` of several.
        since: Start of the first window that was asked for; ``None`` where nothing was.
        until: Start of the last window that counts.
        statuses: Coin-windows by their status; each of ``STATUSES`` is there.
    """

    stream: str
    since: datetime | None = None
    until: datetime | None = None
    statuses: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))

    @property
    def expected(self) -> int:
        """How many coin-windows there should be."""
        return sum(self.statuses.values())

    @property
    def present(self) -> int:
        """How many of them have a price."""
        return self.statuses["present"]

    @property
    def explained(self) -> int:
        """How many have none for a reason that asking again is not known to change."""
        return sum(self.statuses[status] for status in EXPLAINED)

    @property
    def lacking(self) -> int:
        """How many have none and no such reason: they failed, or no load was about them."""
        return self.expected - self.present - self.explained

    @property
    def share(self) -> float | None:
        """Which part of what is expected is present; ``None`` where nothing is."""
        return self.present / self.expected if self.expected else None

    @property
    def scope(self) -> str:
        """Of how many coin-windows since when, as ``1,240 coin-windows since 2026-11-21``."""
        if self.since is None:
            return "nothing was asked for yet"
        moment = f"{self.since:%Y-%m-%d}" + (f" {self.since:%H:%M}" if self.since.hour else "")
        return f"{count(self.expected, 'coin-window')} since {moment}"

    @property
    def sentence(self) -> str:
        """All of it, as ``100.00 % of 1,240 coin-windows since 2026-11-21``."""
        if self.share is None:
            return f"{self.scope[0].upper()}{self.scope[1:]}"
        return f"{share_percent(self.share)} of {self.scope}"


def completeness_of(
    ledger: Warehouse, streams: Sequence[Stream], now: datetime
) -> list[Completeness]:
    """How complete each stream is.

    Args:
        ledger: What has the ledger: the warehouse, or the record of it.
        streams: The streams.
        now: The time; what is not due yet is not expected, unless it was loaded already.

    Raises:
        WarehouseBusyError: Another process holds the warehouse.
    """
    return [_of_stream(ledger, stream, now) for stream in streams]


def together(parts: Iterable[Completeness]) -> Completeness:
    """How complete several streams are as one, since the first window of any.

    Args:
        parts: Of each stream.
    """
    parts = [part for part in parts if part.expected]
    return Completeness(
        "all streams",
        min((part.since for part in parts if part.since), default=None),
        max((part.until for part in parts if part.until), default=None),
        {status: sum(part.statuses[status] for part in parts) for status in STATUSES},
    )


def _of_stream(ledger: Warehouse, stream: Stream, now: datetime) -> Completeness:
    with ledger.session(read_only=True) as session:
        (asked,) = session.execute(ledger_statement("asked_windows"), [stream.name])
        if asked["newest"] is None:
            return Completeness(stream.name)
        until = max(stream.latest_due(now).start, asked["newest"])
        rows = session.execute(ledger_statement("statuses"), [stream.name, until])
    return Completeness(
        stream.name,
        min((row["since"] for row in rows), default=None),
        until,
        dict.fromkeys(STATUSES, 0) | {row["status"]: int(row["coin_windows"]) for row in rows},
    )
