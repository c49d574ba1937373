"""What figures are held against, and how they are shown and kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.table import Table


@dataclass(frozen=True)
class Ratio:
    """A figure as a ratio to its reference in the same round.

    Attributes:
        name: What is compared, in words.
        figure: Name of the figure.
        reference: Name of its reference.
        goal: The most that it should be; ``None`` for one that is only told.
    """

    name: str
    figure: str
    reference: str
    goal: float | None = None


RATIOS = (
    Ratio("year, all partitions recorded / empty assets", "year run", "empty year run", 1.25),
    Ratio("year / empty assets in Dagster's own storage", "year run", "plain empty year run", 1.25),
    Ratio("empty assets: our storage / Dagster's own", "empty year run", "plain empty year run"),
    Ratio("year: the three stages, Dagster's records aside / dlt", "year work", "dlt run", 0.6),
    Ratio("year, whole process with checks / dlt", "year wall", "dlt wall"),
    Ratio("year: transform and load / DuckDB reading the same JSON", "year load", "duckdb run", 5),
    Ratio("year as one run / one run a day", "year wall", "run a day wall"),
    Ratio("API calls used / fewest, a year", "year calls", "year fewest_calls", 1),
    Ratio("API calls used / fewest, a tick", "tick calls", "tick fewest_calls", 1),
    Ratio("definitions / import dagster", "definitions cpu", "dagster cpu", 1.3),
    Ratio("make dev until loaded / an empty project", "dev ready", "empty dev ready", 1.3),
    Ratio(
        "CPU of a further row: from four years to eight / from one to four",
        "CPU a row, 4 to 8 years",
        "CPU a row, 1 to 4 years",
        1.2,
    ),
)


@dataclass(frozen=True)
class Bound:
    """A figure with a goal of its own.

    Attributes:
        name: What it is, in words and with its unit.
        figure: Name of the figure.
        goal: Where it should be; ``None`` for one that is only told.
        at_least: Whether more is better.
    """

    name: str
    figure: str
    goal: float | None = None
    at_least: bool = False


BOUNDS = (
    Bound("tick: launch to rows in the warehouse, cold, s", "tick loaded", 3),
    Bound("tick: more than empty assets until then, s", "tick loaded more", 2),
    Bound("tick: whole process, s", "tick wall"),
    Bound("tick: launch to rows on a new instance and warehouse, s", "first tick loaded"),
    Bound("tick: more than empty assets until then on a new one, s", "first tick loaded more"),
    Bound("year: whole process, s", "year wall"),
    Bound("year: launch to end of the run, s", "year run"),
    Bound("ten years x 250 coins: whole run, s", "ten years run", 25),
    Bound("ten years x 250 coins: files in the lake", "ten years files", 500),
    Bound("ten years x 250 coins: memory of ingestion, MB", "ten years ingestion memory", 200),
    Bound(
        "ten years x 250 coins: peak memory of the run's process or Spark's, MB",
        "ten years memory",
        600,
    ),
    Bound(
        "ten years x 250 coins: transform and load, rows/s",
        "ten years rows a second",
        150_000,
        at_least=True,
    ),
)


def ratio_of(ratio: Ratio, figures: Mapping[str, list[float]]) -> float | None:
    """The median of the ratios of all rounds; ``None`` where one of both was not measured."""
    pairs = zip(figures.get(ratio.figure, ()), figures.get(ratio.reference, ()), strict=False)
    ratios = [figure / reference for figure, reference in pairs]
    return round(median(ratios), 3) if ratios else None


def merged(results: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept: what was measured now, and of the parts that were not, what was before."""
    measured = {name: one for name, one in results["ratios"].items() if one is not None}
    kept = {ratio.name: before["ratios"].get(ratio.name) for ratio in RATIOS}
    return {
        **results,
        "ratios": {**kept, **measured},
        "figures": {**before["figures"], **results["figures"]},
    }


def table(results: Mapping[str, Any], before: Mapping[str, Any]) -> Table:
    """What was measured, each with its goal, and what was kept the last time."""
    shown = Table(
        title=f"Medians of {results['rounds']}, {results['machine']}", title_justify="left"
    )
    shown.add_column("")
    for name in ("measured", "goal", "kept"):
        shown.add_column(name, justify="right")
    for ratio in RATIOS:
        measured, kept = (which["ratios"].get(ratio.name) for which in (results, before))
        if measured is None and kept is None:
            continue
        shown.add_row(ratio.name, *_cells(measured, ratio.goal, kept, at_least=False, unit=" x"))
    shown.add_section()
    for bound in BOUNDS:
        measured, kept = (which["figures"].get(bound.figure) for which in (results, before))
        if measured is None and kept is None:
            continue
        shown.add_row(bound.name, *_cells(measured, bound.goal, kept, at_least=bound.at_least))
    return shown


def _cells(
    measured: float | None,
    goal: float | None,
    kept: float | None,
    *,
    at_least: bool,
    unit: str = "",
) -> tuple[str, str, str]:
    def text(value: float | None) -> str:
        if value is None:
            return ""
        few = 100
        return f"{value:,.0f}{unit}" if value >= few else f"{value:.3g}{unit}"

    cell = text(measured) or "not measured"
    if measured is not None and goal is not None:
        missed = measured < goal if at_least else measured > goal
        cell = f"[{'red' if missed else 'green'}]{cell}[/]"
    limit = f"{'>=' if at_least else '<='} {text(goal)}" if goal is not None else ""
    return cell, limit, text(kept)
