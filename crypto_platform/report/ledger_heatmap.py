"""The ledger as a heat map: a coin a row, time along it, and a gap seen at a glance."""

import base64
import io
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime
from typing import Any

import dagster as dg

from crypto_platform.core.lazy import Image, np
from crypto_platform.core.lazy import mpl_colors as colors
from crypto_platform.core.lazy import mpl_figure as figure
from crypto_platform.core.lazy import mpl_patches as patches
from crypto_platform.core.streams import LedgerCell, Stream

# A cell takes the first kind that any of its windows is of. The colours are told apart without
# seeing red or green, and are of different lightness: what needs a person is warm, what is complete
# is blue.
_KINDS: Sequence[tuple[str, str, frozenset[str]]] = (
    ("failed or quarantined", "#D55E00", frozenset({"failed", "quarantined"})),
    ("partly pending", "#F0C400", frozenset()),
    ("not loaded yet", "#E4E4E4", frozenset({"pending"})),
    ("complete but for what source or plan lack", "#8CC5E8", frozenset()),
    ("complete", "#00558A", frozenset({"present"})),
)
_FAILED, _PARTLY, _PENDING, _LACKING, _COMPLETE, _NOTHING = range(6)

_LABELLED_COLUMNS = 12
_LONGEST_LABEL = 20
# Inches: a few coins get room, and 250 still make an image that a browser shows whole.
_WIDTH, _TALLEST_ROW, _LOWEST_ROW = 9.0, 0.2, 0.085
_DOTS_AN_INCH = 110


def heat_map(
    stream: Stream, counts: Sequence[Mapping[str, Any]], now: datetime
) -> dg.MarkdownMetadataValue:
    """The heat map of a stream, inline.

    Args:
        stream: The stream.
        counts: Windows by ``coin_id``, ``cell`` (its start) and ``status``.
        now: When they were counted.
    """
    if not counts:
        return dg.MetadataValue.md("Nothing was asked for yet: materialize a partition.")
    encoded = base64.b64encode(png(stream, counts, now)).decode()
    return dg.MetadataValue.md(f"![What became of each window](data:image/png;base64,{encoded})")


def png(stream: Stream, counts: Sequence[Mapping[str, Any]], now: datetime) -> bytes:
    """The heat map of a stream as a PNG; see ``heat_map``.

    Args:
        stream: The stream.
        counts: At least one count.
        now: When they were counted.
    """
    coins = sorted({count["coin_id"] for count in counts})
    columns = _columns(stream.ledger_cell, min(count["cell"] for count in counts), now)
    by_cell: dict[tuple[int, int], set[str]] = {}
    for count in counts:
        place = coins.index(count["coin_id"]), columns.index(count["cell"].date())
        by_cell.setdefault(place, set()).add(count["status"])
    kinds = np.full((len(coins), len(columns)), _NOTHING)
    for place, statuses in by_cell.items():
        kinds[place] = _kind(statuses)

    row_height = min(_TALLEST_ROW, max(_LOWEST_ROW, 6 / len(coins)))
    height = len(coins) * row_height + 1.0
    drawing = figure.Figure(figsize=(_WIDTH, height), dpi=_DOTS_AN_INCH)
    # Room for the coins' names at the left, for title and legend above, for dates below.
    axes = drawing.add_axes((0.17, 0.4 / height, 0.81, len(coins) * row_height / height))
    colours = colors.ListedColormap([*(colour for _, colour, _ in _KINDS), "#FFFFFF"])
    axes.imshow(
        kinds,
        cmap=colours,
        norm=colors.BoundaryNorm(range(len(_KINDS) + 2), colours.N),
        aspect="auto",
        interpolation="none",
    )
    axes.hlines(_between(coins), *axes.get_xlim(), color="white", linewidth=row_height * 4)
    axes.vlines(_between(columns), *axes.get_ylim(), color="white", linewidth=24 / len(columns))
    labels = [
        coin if len(coin) <= _LONGEST_LABEL else f"{coin[:_LONGEST_LABEL]}…" for coin in coins
    ]
    axes.set_yticks(range(len(coins)), labels, fontsize=row_height * 42)
    step = -(-len(columns) // _LABELLED_COLUMNS)
    form = "%Y-%m" if stream.ledger_cell.unit == "month" else "%m-%d"
    axes.set_xticks(
        range(0, len(columns), step),
        [column.strftime(form) for column in columns[::step]],
        fontsize=7,
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    unit = stream.ledger_cell.unit
    drawing.text(
        0.02,
        1 - 0.22 / height,
        f"{stream.name}: a coin a row, a {unit} (UTC) a column, as of {now:%Y-%m-%d %H:%M} UTC",
        fontsize=10,
        fontweight="bold",
    )
    drawing.legend(
        handles=[patches.Patch(color=colour, label=label) for label, colour, _ in reversed(_KINDS)],
        loc="upper left",
        bbox_to_anchor=(0.01, 1 - 0.3 / height),
        ncols=len(_KINDS),
        fontsize=7,
        frameon=False,
        handlelength=1,
        columnspacing=1.2,
    )
    content = io.BytesIO()
    drawing.savefig(content, format="png", pil_kwargs={"optimize": True})
    return _with_few_colours(content)


def _between(cells: Sequence[object]) -> list[float]:
    """Where one row or column ends and the next begins."""
    return [number + 0.5 for number in range(len(cells) - 1)]


def _kind(statuses: AbstractSet[str]) -> int:
    if statuses & _KINDS[_FAILED][2]:
        return _FAILED
    if "pending" in statuses:
        return _PENDING if len(statuses) == 1 else _PARTLY
    return _COMPLETE if statuses == {"present"} else _LACKING


def _columns(cell: LedgerCell, first: datetime, now: datetime) -> list[date]:
    """First day of each cell, from the first cell to the one that holds now."""
    unit: Any = "M" if cell.unit == "month" else "D"
    oldest, newest = (np.datetime64(moment.date(), unit) for moment in (first, now))
    columns: list[date] = np.arange(oldest, newest + 1).tolist()
    return columns


def _with_few_colours(png: io.BytesIO) -> bytes:
    """The same image in a palette: a third of the bytes, which each materialization keeps."""
    with Image.open(png) as image:
        small = io.BytesIO()
        image.convert("RGB").quantize(64).save(small, format="PNG", optimize=True)
    return small.getvalue()
