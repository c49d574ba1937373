"""The check that fails before the month's credits run out."""

import os
from collections.abc import Sequence

import dagster as dg

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


def build_month_budget_check(
    settings: Settings, streams: Sequence[Stream] = STREAMS
) -> dg.AssetChecksDefinition:
    """The check that fails before the month's credits run out.

    Args:
        settings: Which coins are tracked, before the list is first made.
        streams: The streams whose schedules ask the API.
    """

    @dg.asset_check(
        name="month_budget",
        asset=TRACKED_COINS,
        description=(
            "The plan's monthly credits: fails where the forecast exceeds them or "
            f"{USED_UP_FROM:.0%} are used, warns from a forecast of {WARN_FROM:.0%}. The forecast "
            "is what was used, and what the running schedules need until the month ends."
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
    known = {} if budget.monthly_credits is None else {"budget": budget.monthly_credits}
    return dg.AssetCheckResult(
        passed=budget.level == "passed",
        severity=severities[budget.level],
        description=budget.described,
        metadata={
            "used": budget.used,
            "forecast": budget.forecast,
            **known,
            "by_stream": markdown_table(budget.rows()),
        },
    )
