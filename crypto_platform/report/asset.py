"""The market report as an asset: one page of HTML that is complete in itself.

It reports what the warehouse has, up to the end of the newest window that was loaded. ``facts``
are read, made into ``panels``, and put into the template ``market_report.html``; each step knows
nothing of the one after it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import dagster as dg

from crypto_platform.core.errors import RETRIES
from crypto_platform.core.lazy import jinja2
from crypto_platform.core.markdown import markdown_table
from crypto_platform.core.numbers import Value
from crypto_platform.core.ownership import OWNERS
from crypto_platform.core.settings import Settings
from crypto_platform.lake.layers import Lake, Layer
from crypto_platform.models.assets import follows_updates
from crypto_platform.report import charts
from crypto_platform.report.components import Panel
from crypto_platform.report.day_series import newest_known
from crypto_platform.report.facts import DAYS, Facts, read_facts
from crypto_platform.report.panels import panels, sparkline_rows
from crypto_platform.report.tiles import tiles
from crypto_platform.warehouse.resource import Warehouse

GROUP = "report"
LATEST = "market_report/latest.html"


def render(facts: Facts, drawn: Sequence[Panel]) -> str:
    """The report as one page of HTML, which asks for nothing else.

    Args:
        facts: The facts.
        drawn: Their ``panels``.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        files("crypto_platform.report").joinpath("market_report.html").read_text(encoding="utf-8")
    )
    return template.render(facts=facts, tiles=tiles(facts), panels=drawn, days=DAYS)


def write_report(lake: Lake, facts: Facts, drawn: Sequence[Panel]) -> str:
    """Render the report into the transformed lake, as the latest and as that of its window.

    Args:
        lake: The lake.
        facts: The facts.
        drawn: Their ``panels``.

    Returns:
        The path of the window's report below the transformed lake's root; before anything is
        loaded, that of the latest.
    """
    page = render(facts, drawn).encode()
    path = LATEST
    if facts.stream is not None and facts.window is not None:
        folder = f"{facts.window.start:date=%Y-%m-%d/hour=%H}"
        path = f"market_report/{facts.stream.name}/{folder}/market_report.html"
        lake.transformed.put(path, page)
    lake.transformed.put(LATEST, page)
    return path


def build_market_report(settings: Settings) -> dg.AssetsDefinition:
    """The report as an asset, made after the models."""

    @dg.asset(
        deps=["price_moves", "trading_volumes", "market_sentiment"],
        description=(
            "One page of HTML on the market, up to the end of the newest window in the warehouse: "
            "prices, drawdown, volatility, correlation, volume, sentiment and the health of the "
            "data. It asks for nothing when it is opened. Each window keeps its report in the "
            "transformed lake, beside the latest."
        ),
        group_name=GROUP,
        kinds={"matplotlib", "html"},
        owners=OWNERS,
        automation_condition=follows_updates("the models were made and the report was not since"),
        retry_policy=RETRIES,
    )
    def market_report(
        context: dg.AssetExecutionContext, lake: Lake, warehouse: Warehouse
    ) -> dg.MaterializeResult[None]:
        facts = read_facts(warehouse, settings.vs_currency, datetime.now(UTC))
        drawn = panels(facts)
        path = write_report(lake, facts, drawn)
        context.log.info("The report is at %s.", lake.transformed.uri(path))
        return dg.MaterializeResult(metadata=report_metadata(facts, drawn, lake.transformed, path))

    return market_report


def report_metadata(
    facts: Facts, drawn: Sequence[Panel], layer: Layer, path: str
) -> dict[str, Any]:
    """Where the report is, its numbers, which the UI plots over time, and a preview.

    Args:
        facts: The facts.
        drawn: Their ``panels``.
        layer: Where it was written.
        path: Its path there.
    """
    complete = facts.complete
    numbers: dict[str, Value] = {
        "coins": len(facts.current),
        "stale_coins": len(facts.stale),
        "complete_percent": None if complete.share is None else 100 * complete.share,
    }
    for column in ("fear_and_greed", "breadth_1d", "bitcoin_dominance", "total_market_cap"):
        newest = newest_known(facts.days_of_sentiment, column)
        numbers[column] = newest[column] if newest else None
    return {
        "report": _link(layer.uri(path)),
        "latest_report": _link(layer.uri(LATEST)),
        "window": f"{facts.stream.name} {facts.stream.partition_key(facts.window)}"
        if facts.stream and facts.window
        else "nothing is loaded yet",
        "simulated": facts.simulated,
        "completeness": complete.sentence,
        **{name: number for name, number in numbers.items() if number is not None},
        "preview": dg.MetadataValue.md(_preview(facts, drawn)),
    }


def _preview(facts: Facts, drawn: Sequence[Panel]) -> str:
    if not facts.current:
        return "No coin has a close yet."
    shown = ("drawdown", "correlation")
    images = [
        f"**{panel.title}.** {panel.finding}\n\n"
        + charts.markdown_image(panel.charts[0].svg, panel.title)
        for panel in drawn
        if panel.key in shown and panel.charts
    ]
    said = "**Simulated: no price is real.**" if facts.simulated else ""
    table = markdown_table(sparkline_rows(facts)).md_str or ""
    return "\n\n".join(part for part in (said, table, *images) if part)


def _link(uri: str) -> dg.MetadataValue[Any]:
    # A file opens by its path; a browser has no other way to it from the UI.
    if "://" in uri:
        return dg.MetadataValue.url(uri)
    return dg.MetadataValue.path(uri)
