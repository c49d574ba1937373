"""The check that fails before the month's credits run out."""

import os
from collections.abc import Sequence
from typing import Any

import dagster as dg

from crypto_platform.checks.results import unjudged_result
from crypto_platform.core.markdown import markdown_table
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import STREAMS, Stream
from crypto_platform.ingestion.quota import (
    TRACKED_COINS,
    USED_UP_FROM,
    WARN_FROM,
    MonthBudget,
    present_budget,
)
from crypto_platform.lake.layers import Lake

_NAME = "month_budget"


def build_month_budget_check(
    settings: Settings, streams: Sequence[Stream] = STREAMS
) -> dg.AssetChecksDefinition:
    """The check that fails before the month's credits run out.

    Args:
        settings: Which coins are tracked, before the list is first made.
        streams: The streams whose schedules ask the API.
    """

    @dg.asset_check(
        name=_NAME,
        asset=TRACKED_COINS,
        description=(
            "The plan's monthly credits: fails where the forecast exceeds them or "
            f"{USED_UP_FROM:.0%} are used, warns from a forecast of {WARN_FROM:.0%}. The forecast "
            "is what was used, and what the running schedules need until the month ends. A plan "
            "without a monthly budget gives it nothing to judge, which is a warning too."
        ),
    )
    def check(context: dg.AssetCheckExecutionContext, lake: Lake) -> dg.AssetCheckResult:
        budget = present_budget(settings, os.environ, lake, context.instance, streams)
        return budget_result(budget)

    return check


def budget_result(budget: MonthBudget) -> dg.AssetCheckResult:
    """What the check says of a budget."""
    severities = {
        "passed": dg.AssetCheckSeverity.WARN,
        "warning": dg.AssetCheckSeverity.WARN,
        "error": dg.AssetCheckSeverity.ERROR,
    }
    shown: dict[str, Any] = {
        "used": budget.used,
        "forecast": budget.forecast,
        "by_stream": markdown_table(budget.rows()),
    }
    if budget.monthly_credits is None:
        reason = (
            "the plan has no monthly budget that is known. Set COINGECKO_PLAN to one that has, and "
            "its key. " + budget.described.rstrip(".")
        )
        return unjudged_result(_NAME, reason, **shown)
    return dg.AssetCheckResult(
        check_name=_NAME,
        passed=budget.level == "passed",
        severity=severities[budget.level],
        description=budget.described,
        metadata={**shown, "budget": budget.monthly_credits},
    )
