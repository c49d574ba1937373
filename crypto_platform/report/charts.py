"""Charts for people: in the market report and in the UI.

A chart is an inline SVG without ids, fonts or addresses of its own. Its ink is the colour of the
text around it and its series have the colours of the page (``var(--series-1, …)``), so that one
chart fits a light and a dark page. It is drawn at the width of a phone; a page may enlarge it.
"""

import base64
import io
import math
import re
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from crypto_platform.core.lazy import mpl, mpl_figure
from crypto_platform.core.lazy import mpl_patches as patches
from crypto_platform.core.lazy import mpl_ticker as ticker
from crypto_platform.core.numbers import UNKNOWN, Value, compact, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people tell apart whichever way they see colours: blue, orange,
# green, vermilion. Lines differ by their dashes too.
SERIES_COLOURS = ("#0072b2", "#d98200", "#009e73", "#d55e00")
# Of the groups of statuses: present, absent for a reason, not loaded yet, and failed.
_GROUP_COLOURS = (SERIES_COLOURS[0], SERIES_COLOURS[1], "#8a8f98", SERIES_COLOURS[3])
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)))

# Stands for the colour of the text around the chart.
_INK = "#010203"

_WIDTH = 360

# How much a chart that stands alone, on a screen, is enlarged.
_ENLARGED = 1.4
_POINTS_AN_INCH = 72
_LEFT = 44
_BOTTOM = 22
_TEXT = 11.5
# So many symbols beside each other fit on a phone.
_UPRIGHT_LABELS = 6

# A sparkline spans at least this share of its price, so that a pegged one looks flat.
_MIN_SPAN = 0.06

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline_text(values: Sequence[Value]) -> str:
    """A series as a word of blocks, as ▁▃█, for tables without charts; gaps are blank."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    if not known:
        return ""
    top = len(_BLOCKS) - 1
    low, span = min(known), max(known) - min(known)
    middle = low + span / 2
    if span < abs(middle) * _MIN_SPAN or not span:
        # What is pegged looks flat, and not like noise: all about one block.
        span = abs(middle) * _MIN_SPAN or 1
        low = middle - span * (top // 2) / top
    return "".join(
        "\N{NO-BREAK SPACE}"
        if value is None or math.isnan(value)
        else _BLOCKS[round((value - low) / span * top)]
        for value in values
    )


def sparkline(values: Sequence[Value]) -> str:
    """A small line without axes, its last point marked."""
    figure, (axes,) = _figure(height=72, width=180, boxes=[(4, 5, 170, 62)])
    axes.axis("off")
    numbers = _numbers(values)
    known = [place for place, value in enumerate(numbers) if not math.isnan(value)]
    style: dict[str, Any] = {"color": SERIES_COLOURS[0], "linewidth": 2, "clip_on": False}
    axes.plot(numbers, marker="o", markersize=5, markevery=known[-1:], **style)
    if known:
        axes.set_xlim(-0.5, len(numbers) - 0.5)
        # What is pegged looks flat, and not like noise.
        low, high = min(numbers[place] for place in known), max(numbers[place] for place in known)
        room = max((high - low) * 0.54, abs(high + low) / 2 * _MIN_SPAN / 2)
        axes.set_ylim((high + low) / 2 - room, (high + low) / 2 + (room or 1))
    return _svg(figure)


def lines(
    days: Sequence[date],
    series: Sequence[Sequence[Value]],
    *,
    band: tuple[Sequence[Value], Sequence[Value]] | None = None,
) -> str:
    """Fractions over days, as percent: a line each, and a band behind them.

    Args:
        days: The days.
        series: The lines, whose values are one a day; ``None`` breaks a line.
        band: Lower and upper ends of the band.
    """
    figure, (axes,) = _figure(height=190)
    if band is not None:
        low, high = map(_numbers, band)
        axes.fill_between(range(len(low)), low, high, color=_INK, alpha=0.12, linewidth=0)
    for index, values in enumerate(series):
        _draw_line(axes, values, index)
    _days_below(axes, days)
    _scale(axes, lambda value: percent(value, digits=0))
    return _svg(figure)


def bars(days: Sequence[date], values: Sequence[Value]) -> str:
    """Amounts over days; the newest day stands out.

    Args:
        days: The days.
        values: The amount of each.
    """
    figure, (axes,) = _figure(height=170)
    numbers = [0 if math.isnan(value) else value for value in _numbers(values)]
    colours = [SERIES_COLOURS[0]] * (len(numbers) - 1) + [SERIES_COLOURS[1]]
    axes.bar(range(len(numbers)), numbers, width=0.75, color=colours)
    _days_below(axes, days)
    _scale(axes, lambda value: compact(value, digits=None))
    axes.set_ylim(bottom=0)
    return _svg(figure)


def moods(days: Sequence[date], index: Sequence[Value], breadth: Sequence[Value]) -> str:
    """The Fear & Greed index, and below it the share of coins that rose, as bars about a half.

    Args:
        days: The days.
        index: The index each day, from 0 to 100; left out where no day has a value.
        breadth: The share of coins that rose each day, from 0 to 1.
    """
    wide = _WIDTH - _LEFT - 8
    boxes = [(_LEFT, _BOTTOM, wide, 90), (_LEFT, 126, wide, 150)]
    if all(value is None for value in index):
        boxes.pop()
    figure, drawn = _figure(height=boxes[-1][1] + boxes[-1][3] + 8, boxes=boxes)
    numbers = [0 if math.isnan(value) else value - 0.5 for value in _numbers(breadth)]
    colours = [SERIES_COLOURS[0 if value >= 0 else 3] for value in numbers]
    drawn[0].bar(range(len(numbers)), numbers, width=0.75, bottom=0.5, color=colours)
    _days_below(drawn[0], days)
    _from_0_to_100_percent(drawn[0])
    for axes in drawn[1:]:
        for low, high, colour in ((0, 25, 3), (75, 100, 0)):
            axes.axhspan(low, high, color=SERIES_COLOURS[colour], alpha=0.12, linewidth=0)
        _draw_line(axes, index, 0)
        _days_below(axes, days, labels=False)
        axes.set_ylim(0, 100)
        axes.set_yticks([0, 25, 50, 75, 100])
    return _svg(figure)


def stacked_shares(days: Sequence[date], shares: Sequence[Sequence[float]]) -> str:
    """The composition of each day, as bars on top of each other.

    Args:
        days: The days.
        shares: Of each group, from below, its share each day; together they are 1 or 0.
    """
    figure, (axes,) = _figure(height=120)
    below = [0.0] * len(days)
    for index, values in enumerate(shares):
        colour = _GROUP_COLOURS[index]
        axes.bar(range(len(days)), values, 0.85, bottom=below, color=colour, linewidth=0)
        below = [sum(pair) for pair in zip(below, values, strict=True)]
    _days_below(axes, days)
    _from_0_to_100_percent(axes)
    return _svg(figure)


def correlation_matrix(labels: Sequence[str], values: Sequence[Sequence[Value]]) -> str:
    """A matrix of values from -1 to 1, below its diagonal, each with its number.

    The first colour is for what is above zero and the fourth for what is below, the stronger the
    further from it.

    Args:
        labels: Of rows and columns alike.
        values: The rows.
    """
    size = len(labels)
    side = _WIDTH - 2
    figure, (axes,) = _figure(height=side, boxes=[(46, 34, side - 46, side - 34)])
    for row in range(1, size):
        for column in range(row):
            value = values[row][column]
            strength = 0.0 if value is None else min(abs(value), 1) ** 1.5 * 0.65
            colour = SERIES_COLOURS[3 if value is not None and value < 0 else 0]
            corner = (column, row)
            axes.add_patch(patches.Rectangle(corner, 0.94, 0.94, facecolor=colour, alpha=strength))
            # Without the zero before the point, which leaves room on a phone.
            text = UNKNOWN if value is None else f"{value:.2f}".replace("0.", ".")
            text = text.replace("-", "\N{MINUS SIGN}")
            axes.text(
                column + 0.47, row + 0.5, text, ha="center", va="center", fontsize=_TEXT, color=_INK
            )
    axes.set_xlim(0, size - 1)
    axes.set_ylim(size, 1)
    centres = [place + 0.47 for place in range(size)]
    tilt = 45 if size > _UPRIGHT_LABELS else 0
    axes.set_xticks(centres[:-1], labels[:-1], rotation=tilt)
    axes.set_yticks(centres[1:], labels[1:])
    axes.spines[:].set_visible(False)
    return _svg(figure)


def markdown_image(svg: str, alternative: str) -> str:
    """A chart in Markdown, for metadata in the UI: nothing is fetched to show it.

    Args:
        svg: The chart.
        alternative: What it shows, in words.
    """
    # There it stands alone, on a light or a dark page, and can take no colour from around it.
    alone = re.sub(r"var\(--series-\d, (#\w+)\)", r"\1", svg).replace("currentColor", "#808080")
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', alone)
    wide, high = (float(side) * _ENLARGED for side in box.groups()) if box else (_WIDTH, _WIDTH)
    alone = alone.replace(
        "<svg ",
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}" height="{high:.0f}" '
        'font-family="sans-serif" ',
        1,
    )
    encoded = base64.b64encode(alone.encode()).decode()
    return f"![{alternative}](data:image/svg+xml;base64,{encoded})"


def _figure(
    *, height: float, width: float = _WIDTH, boxes: Sequence[tuple[float, float, float, float]] = ()
) -> tuple["Figure", list["Axes"]]:
    """A figure with its axes in boxes (left, bottom, width, height), all in points."""
    figure = mpl_figure.Figure(figsize=(width / _POINTS_AN_INCH, height / _POINTS_AN_INCH))
    figure.patch.set_visible(False)
    whole = (_LEFT, _BOTTOM, width - _LEFT - 8, height - _BOTTOM - 8)
    drawn = []
    for left, bottom, wide, high in boxes or [whole]:
        axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
        axes.patch.set_visible(False)
        axes.tick_params(colors=_INK, labelsize=_TEXT, length=0, pad=4)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(_INK)
            spine.set_alpha(0.35)
        drawn.append(axes)
    return figure, drawn


def _svg(figure: "Figure") -> str:
    written = io.StringIO()
    # Text stays text, in the font of the page.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "1", "text.color": _INK}):
        figure.savefig(written, format="svg", metadata={"Date": None})
    return _inline(written.getvalue())


def _inline(svg: str) -> str:
    """Matplotlib's file as an element of a page, without declarations, fonts, ids or sizes."""
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:xmlns(?::\w+)?|version)="[^"]*"', "", svg)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = svg.replace("xlink:href", "href").replace(_INK, "currentColor")
    for number, colour in enumerate(SERIES_COLOURS, start=1):
        svg = svg.replace(colour, f"var(--series-{number}, {colour})")
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    return re.sub(r">\s+<", "><", svg).replace("\n", " ").strip()


def _draw_line(axes: "Axes", values: Sequence[Value], index: int) -> None:
    numbers = _numbers(values)
    around = [math.nan, *numbers, math.nan]
    # A day between two gaps is no line, and would not be seen.
    lone = [
        place
        for place in range(len(numbers))
        if math.isnan(around[place]) and math.isnan(around[place + 2])
    ]
    style = {"color": SERIES_COLOURS[index], "linewidth": 2.0, "linestyle": _DASHES[index]}
    axes.plot(numbers, marker=".", markevery=lone, **style)


def _days_below(axes: "Axes", days: Sequence[date], *, labels: bool = True) -> None:
    """The days on the axis: a few labels, none of which leaves the chart."""
    last = len(days) - 1
    places = sorted({0, round(last / 3), round(last * 2 / 3), last})
    axes.set_xlim(-0.7, last + 0.7)
    axes.set_xticks(places, [f"{days[place]:%-d %b}" if labels else "" for place in places])
    if labels and last:
        texts = axes.get_xticklabels()
        texts[0].set_horizontalalignment("left")
        texts[-1].set_horizontalalignment("right")


def _from_0_to_100_percent(axes: "Axes") -> None:
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])


def _scale(axes: "Axes", text: Any) -> None:
    axes.yaxis.set_major_locator(ticker.MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(lambda value, _: text(value))
    axes.grid(axis="y", color=_INK, alpha=0.15, linewidth=0.8)
    axes.set_axisbelow(True)


def _numbers(values: Sequence[Value]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]
