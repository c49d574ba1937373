"""The month's credits: what was used, what the schedules still need, and when it runs out.

The forecast is what was used so far plus what the ticks of the running schedules will ask for until
the month (UTC) ends: a backfill is spent once, so its credits are no rate. What healing and
backfills will still ask for is not foreseen, which is what the margin of the warning is for.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import dagster as dg

from crypto_platform.core.numbers import percent
from crypto_platform.core.schedules import is_scheduled
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import STREAMS, Stream
from crypto_platform.ingestion.metered_api import ApiUsage, usage_of_month
from crypto_platform.ingestion.tracked_coins import load_tracked_coins
from crypto_platform.lake.layers import Lake
from lambda_function.plans import configured_plan, id_pages, markets_pages

WARN_FROM = 0.8
"""The share of the budget from which a forecast is worth a look."""

ERROR_FROM = 1.0
"""The share of the budget from which a forecast means that scheduled runs will be refused."""

USED_UP_FROM = 0.95
"""The share of the budget that may be used at any time: healing needs what is left."""

TRACKED_COINS = "tracked_coins"
"""The asset that keeps the list of coins, as it appears in the record of API usage."""
_TICK_FORMAT = "%Y-%m-%d-%H:%M"

Level = Literal["passed", "warning", "error"]


@dataclass(frozen=True)
class Need:
    """Credits that a tick of a schedule will take.

    Attributes:
        at: When the schedule ticks.
        consumer: The stream that asks, or ``tracked_coins`` for the list of coins.
        credits: Successful calls to the API.
    """

    at: datetime
    consumer: str
    credits: int


@dataclass(frozen=True)
class Consumer:
    """A part of the platform that asks the API.

    Attributes:
        name: A stream's name, or ``tracked_coins``.
        used: Credits it used this month.
        foreseen: Credits its scheduled runs will take until the month ends.
    """

    name: str
    used: int
    foreseen: int


@dataclass(frozen=True)
class MonthBudget:
    """How the plan's credits of a calendar month (UTC) will do.

    Attributes:
        now: The moment of the forecast.
        monthly_credits: The plan's budget; ``None`` where the plan has none.
        consumers: Who uses it, by name.
        runs_out_at: The first tick that the credits do not suffice for; ``None`` if all are.
    """

    now: datetime
    monthly_credits: int | None
    consumers: tuple[Consumer, ...]
    runs_out_at: datetime | None

    @property
    def used(self) -> int:
        """Credits used so far."""
        return sum(consumer.used for consumer in self.consumers)

    @property
    def forecast(self) -> int:
        """Credits that will be used when the month ends."""
        return self.used + sum(consumer.foreseen for consumer in self.consumers)

    @property
    def level(self) -> Level:
        """Whether it will do, by the thresholds of this module."""
        if self.monthly_credits is None:
            return "passed"
        forecast, used = (
            credits_ / self.monthly_credits for credits_ in (self.forecast, self.used)
        )
        if forecast > ERROR_FROM or used >= USED_UP_FROM:
            return "error"
        return "warning" if forecast >= WARN_FROM else "passed"

    @property
    def described(self) -> str:
        """The budget in a sentence or two, with what to do where it does not suffice."""
        month = f"{self.now:%B %Y}"
        if self.monthly_credits is None:
            return (
                f"{self.used:,} credits are used in {month}, and {self.forecast:,} by its end; the "
                "plan has no known budget."
            )
        said = (
            f"{self.used:,} of {self.monthly_credits:,} credits are used in {month}. With what the "
            f"schedules need it is {self.forecast:,} by its end "
            f"({percent(self.forecast / self.monthly_credits, digits=0)})."
        )
        if self.runs_out_at:
            said += f" They run out on {self.runs_out_at:%Y-%m-%d at %H:%M} UTC."
        if self.level != "passed":
            said += (
                " Track fewer coins (TRACKED_COINS), put off backfills, or raise the plan "
                "(COINGECKO_PLAN)."
            )
        return said

    def rows(self) -> list[dict[str, Any]]:
        """A row a consumer, and the total."""
        total = Consumer("total", self.used, self.forecast - self.used)
        return [
            {
                "what": consumer.name,
                "used": consumer.used,
                "still needed": consumer.foreseen,
                "by the month's end": consumer.used + consumer.foreseen,
            }
            for consumer in (*self.consumers, total)
        ]


def month_budget(
    now: datetime, monthly_credits: int | None, usage: Iterable[ApiUsage], needs: Sequence[Need]
) -> MonthBudget:
    """The budget of the month that ``now`` is in.

    Args:
        now: The time, in UTC.
        monthly_credits: The plan's budget; ``None`` where it has none.
        usage: What was asked this month.
        needs: What will be asked until the month ends.
    """
    used: Counter[str] = Counter()
    for one in usage:
        used[one.asset.partition("/")[0]] += one.credits
    foreseen: Counter[str] = Counter()
    for need in needs:
        foreseen[need.consumer] += need.credits
    return MonthBudget(
        now=now,
        monthly_credits=monthly_credits,
        consumers=tuple(
            Consumer(name, used[name], foreseen[name]) for name in sorted({*used, *foreseen})
        ),
        runs_out_at=_runs_out_at(now, monthly_credits, used.total(), needs),
    )


def scheduled_needs(
    now: datetime, streams: Sequence[Stream], *, coins: int, top: int, ids: Sequence[str] = ()
) -> list[Need]:
    """What the schedules of some streams will ask until the month ends.

    A tick asks once a coin for the newest window, takes a snapshot of the market where the stream
    has one, and brings the list of coins up to date.

    Args:
        now: The time, in UTC.
        streams: The streams whose schedules run.
        coins: How many coins are tracked.
        top: How many of them are asked for by market capitalization.
        ids: Their ids, the largest first, where they are known: long ones take more calls.
    """
    named = len(id_pages(ids[top:])) if ids else markets_pages(max(0, coins - top))
    listing = markets_pages(top) + named
    market = len(id_pages(ids)) if ids else markets_pages(coins)
    needs = []
    for stream in streams:
        snapshot = 0 if stream.snapshot_within is None else market
        for tick in _ticks(stream, now):
            needs.append(Need(tick, stream.name, coins + snapshot))
            needs.append(Need(tick, TRACKED_COINS, listing))
    return needs


def present_budget(
    settings: Settings,
    environment: Mapping[str, str],
    lake: Lake,
    instance: dg.DagsterInstance | None,
    streams: Sequence[Stream] = STREAMS,
) -> MonthBudget:
    """The budget of this month, from the records in the raw lake.

    Args:
        settings: Which coins are tracked, before the list is first made.
        environment: The variables that say which plan it is.
        lake: The lake, which holds the list of coins and the record of each use.
        instance: Knows which schedules run; without it those that do by default.
        streams: The streams there are.
    """
    now = datetime.now(UTC)
    spec = settings.tracked_coins
    ids = load_tracked_coins(lake.raw).ids
    return month_budget(
        now,
        configured_plan(environment).monthly_credits,
        usage_of_month(lake.raw, now),
        scheduled_needs(
            now,
            [stream for stream in streams if is_scheduled(stream, instance)],
            coins=len(ids) or spec.top + len(spec.named),
            top=spec.top,
            ids=ids,
        ),
    )


def _runs_out_at(
    now: datetime, monthly_credits: int | None, used: int, needs: Sequence[Need]
) -> datetime | None:
    if monthly_credits is None:
        return None
    if used >= monthly_credits:
        return now
    for need in sorted(needs, key=lambda need: need.at):
        used += need.credits
        if used > monthly_credits:
            return need.at
    return None


def _ticks(stream: Stream, now: datetime) -> list[datetime]:
    """When a stream's schedule ticks from now until the month ends."""
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (month + timedelta(days=32)).replace(day=1)
    # Partitions by the schedule's cron begin when it ticks.
    ticks = dg.TimeWindowPartitionsDefinition(
        start=now,
        cron_schedule=stream.schedule_cron,
        fmt=_TICK_FORMAT,
        timezone="UTC",
    ).get_partition_keys(current_time=end + timedelta(days=7))
    moments = (datetime.strptime(tick, _TICK_FORMAT).replace(tzinfo=UTC) for tick in ticks)
    return [moment for moment in moments if now <= moment < end]
