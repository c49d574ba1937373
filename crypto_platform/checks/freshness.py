"""Freshness: whether the newest prices are there in time, by the data's own clock.

Dagster's own policy looks at when an asset was last materialized, whichever partition that was: a
backfill of an old day makes it look fresh. The check beside it asks for the newest window of each
coin, and asks the record that loads leave in the lake: to ask the warehouse every hour would cost
more than all loads do.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg

from crypto_platform.checks.definitions import ERROR, WARN, Check, Finding
from crypto_platform.checks.results import check_result, unjudged_result
from crypto_platform.core.errors import RETRIES
from crypto_platform.core.numbers import count
from crypto_platform.core.schedules import is_running, is_scheduled
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import Stream, Window
from crypto_platform.ingestion.tracked_coins import TrackedCoins, load_tracked_coins
from crypto_platform.lake.layers import Lake
from crypto_platform.warehouse.load_record import LoadRecord
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.session import Row

# Asking again brings nothing for these, so far as anybody knows.
_EXPLAINED = frozenset({"missing_at_source", "out_of_plan", "quarantined"})


def freshness_policy(stream: Stream) -> dg.FreshnessPolicy | None:
    """What the UI shows as the freshness of a stream's table.

    Dagster's own goes by runs, so a stream without a schedule of its own has none: a day of it may
    come by healing, or by hand.
    """
    if not stream.scheduled_by_default:
        return None
    return dg.FreshnessPolicy.time_window(
        fail_window=stream.window_length + stream.late_after,
        warn_window=stream.window_length + stream.late_after / 2,
    )


def freshness_rule(stream: Stream) -> Check:
    """The check on the newest window of each coin of a stream."""
    hours = f"{stream.late_after.total_seconds() / 3600:g} hours"
    evaluated = (
        ""
        if stream.scheduled_by_default
        else f" Healing brings these, with {stream.schedule_name} or without; while both are off, "
        "it judges nothing."
    )
    return Check(
        "fresh",
        f"Each tracked coin has a price of the newest window that closed at least {hours} ago, by "
        "what loads have committed and not by when something ran. An error where no coin has one "
        "(the stream is stale), or one coin lacks it and asking again may bring it. A warning for "
        "a delisted coin, of which the ledger says that the source has nothing: take it out of "
        f"TRACKED_COINS. A warning too while there is nothing to judge.{evaluated}",
        f"Look under Runs and Automation why {stream.name} does not keep up, then materialize the "
        "partition named; take a delisted coin out of TRACKED_COINS.",
        time_based=True,
    )


def build_freshness_check(stream: Stream, settings: Settings) -> dg.AssetChecksDefinition:
    """The asset check that the ``watch`` job runs every hour.

    Args:
        stream: The stream.
        settings: Its first partition, and the currency of its prices.
    """
    rule = freshness_rule(stream)
    asset = dg.AssetKey([stream.name, "snowflake_prices"])

    @dg.asset_check(asset=asset, name=rule.name, description=rule.description, retry_policy=RETRIES)
    def fresh(
        context: dg.AssetCheckExecutionContext, lake: Lake, warehouse: Warehouse
    ) -> dg.AssetCheckResult:
        # What runs by default has promised prices, even where somebody switched it off.
        if not (
            stream.scheduled_by_default
            or is_scheduled(stream, context.instance)
            or is_running("healing", context.instance, by_default=True)
        ):
            return _unjudged(
                rule,
                f"{stream.schedule_name} and the sensor healing are off, and nothing else brings "
                "new prices. Switch one of them on under Automation",
            )
        due = due_window(stream, settings.first_window(stream), datetime.now(UTC))
        if due is None:
            return _unjudged(rule, "no window is due yet")
        record = LoadRecord(lake.transformed, stream)
        record.ensure(warehouse)
        newest = record.newest_windows(settings.vs_currency)
        if not newest:
            # Healing goes on with what somebody began, and begins nothing.
            begins = is_scheduled(stream, context.instance)
            wait = ", or wait for the schedule" if begins else ": healing then keeps it up to date"
            return _unjudged(rule, f"the table has no price yet. Materialize a partition{wait}")
        coins = expected_coins(load_tracked_coins(lake.raw), due, newest)
        if not coins:
            return _unjudged(
                rule,
                f"no coin was tracked yet when the window {stream.partition_key(due)} closed. "
                "Materialize it, or wait for the schedule",
            )
        findings = evaluate_freshness(
            stream,
            due,
            coins,
            newest,
            record.of_window(due, settings.vs_currency),
        )
        evaluated = f"the window {stream.partition_key(due)} of {count(len(coins), 'coin')}"
        return check_result(rule, findings, evaluated)

    return fresh


def due_window(stream: Stream, first_window: datetime, now: datetime) -> Window | None:
    """The newest window that has to stand in the warehouse by now; ``None`` before the first.

    Args:
        stream: The stream, which says how late a window may be.
        first_window: Start of its first partition.
        now: The time.
    """
    with dg.partition_loading_context(effective_dt=now - stream.late_after):
        key = stream.partitions(first_window).get_last_partition_key()
    return None if key is None else stream.window(key)


def expected_coins(coins: TrackedCoins, due: Window, newest: Mapping[str, datetime]) -> list[str]:
    """The tracked coins that were so when a window closed already, or have a price of it since.

    Args:
        coins: The list, with since when each coin has been tracked.
        due: The window.
        newest: Start of the newest window in which each coin has a price, for those that have any.
    """
    return [
        coin.coin_id
        for coin in coins.coins
        if coin.tracked
        and (
            coin.first_tracked_at < due.end
            or (coin.coin_id in newest and newest[coin.coin_id] >= due.start)
        )
    ]


def evaluate_freshness(
    stream: Stream,
    due: Window,
    coins: Sequence[str],
    newest: Mapping[str, datetime],
    ledger: Mapping[str, Row],
) -> list[Finding]:
    """Which coins lack prices that are due.

    Args:
        stream: The stream.
        due: The window that has to be there.
        coins: The coins that are expected to be there.
        newest: Start of the newest window in which each coin has a price, for those that have any.
        ledger: ``status`` and ``reason`` of each coin that the ledger has in the window.
    """
    rule, partition = freshness_rule(stream), stream.partition_key(due)
    stale = [coin for coin in coins if coin not in newest or newest[coin] < due.start]
    findings = [
        Finding(
            rule,
            partition,
            coin,
            f"{_newest(stream, newest.get(coin))}; {_explained(ledger.get(coin))}",
            WARN if ledger.get(coin, {}).get("status") in _EXPLAINED else ERROR,
        )
        for coin in stale
    ]
    if stale and len(stale) == len(coins):
        last = _newest(stream, max(newest.values()))
        fault = f"the stream is stale: no coin has a price of this window, {last}"
        findings.insert(0, Finding(rule, partition, None, fault, ERROR))
    return findings


def _unjudged(rule: Check, reason: str) -> dg.AssetCheckResult:
    return unjudged_result(rule.name, reason, time_based=rule.time_based)


def _newest(stream: Stream, start: datetime | None) -> str:
    return f"the newest with a price is {stream.key_at(start)}" if start else "it has no price"


def _explained(row: Row | None) -> str:
    if row is None:
        return "the window was not loaded for it"
    return f"the ledger says {row['status']}" + (f": {row['reason']}" if row["reason"] else "")
