"""Figures of the report: matplotlib draws them as SVG that lives inside the page and takes its ink from there."""

# matplotlib's own type hints leave parts unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from labctl.report.markup import Markup, element

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the text colour of the page, whichever scheme it is read in."""

BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
"""Okabe and Ito's colours, told apart with every kind of colour vision."""

COLOURS = (BLUE, ORANGE, GREEN, PURPLE)

PAGE_COLOURS = {
    INK: "currentColor",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    PURPLE: "var(--purple)",
}
"""What the page calls the colours; it has lighter ones of the same hue for its dark scheme."""

MARKERS = ("o", "s", "^")

MAX_CHANNELS_DRAWN = 240
LEGEND_COLUMNS = 3
BINS = 40

Numbers = NDArray[np.float64]
Scale = Literal["linear", "log", "percent"]


@dataclass(frozen=True)
class Line:
    """One curve: `y` (n,) over `x` (n,)."""

    label: str
    x: NDArray[np.int64]
    y: Numbers
    colour: str


@dataclass(frozen=True)
class Interval:
    """A value and its interval, in the units of the axis."""

    label: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Track:
    """A quantity against its price: `y` (n,) with intervals `low` to `high` (n,) over `x` (n,), above 0."""

    label: str
    x: Numbers
    y: Numbers
    low: Numbers
    high: Numbers


def figure(name: str, caption: object, drawing: Markup) -> Markup:
    """Return a drawing with its caption; `name` is what it is called in the page."""
    return element("figure", drawing, element("figcaption", caption), id=f"figure-{name}")


def line_chart(name: str, lines: Sequence[Line], *, x_label: str, y_label: str, scale: Scale = "linear") -> Markup:
    """Return curves over a common axis. A `percent` scale shows shares 0 to 1; `log` needs values above 0."""
    drawing, axes = _canvas()
    for line in lines:
        marker = "o" if len(line.x) == 1 else ""
        axes.plot(line.x, line.y, color=line.colour, label=line.label, linewidth=1.6, marker=marker)
    _scale_y(axes, scale)
    _count_x(axes)
    axes.set_xlabel(x_label)
    return _finish(drawing, axes, name, y_label, with_legend=len(lines) > 1)


def histogram(name: str, samples: Sequence[tuple[str, Numbers, str]], *, x_label: str, mark: float | None) -> Markup:
    """Return histograms of `samples` (label, values (n,), colour) in common bins, with a line at `mark`."""
    drawing, axes = _canvas()
    finite = [values[np.isfinite(values)] for _, values, _ in samples]
    edges = np.histogram_bin_edges(np.concatenate(finite), BINS)
    for (label, _, colour), values in zip(samples, finite, strict=True):
        counts, _ = np.histogram(values, edges)
        axes.stairs(counts, edges, color=colour, fill=True, alpha=0.35)
        axes.stairs(counts, edges, color=colour, linewidth=1.4, label=label)
    if mark is not None:
        axes.axvline(mark, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel(x_label)
    axes.set_ylim(bottom=0)
    return _finish(drawing, axes, name, "test samples", with_legend=len(samples) > 1)


def band_chart(name: str, quantiles: Numbers, *, y_label: str, scale: Scale = "linear") -> Markup:
    """Return the bands of 98 % and 50 % and the median, `quantiles` (5, n), of n channels counted from 1.

    Of very many channels an even selection is drawn.
    """
    drawing, axes = _canvas()
    n = len(quantiles[0])
    chosen = np.rint(np.linspace(0, n - 1, min(n, MAX_CHANNELS_DRAWN))).astype(np.int64)
    edges = np.append(chosen + 0.5, n + 0.5)
    bounds = quantiles[:, chosen]
    axes.stairs(bounds[4], edges, baseline=bounds[0], fill=True, color=BLUE, alpha=0.25, label="98 % of passes")
    axes.stairs(bounds[3], edges, baseline=bounds[1], fill=True, color=BLUE, alpha=0.55, label="50 %")
    axes.stairs(bounds[2], edges, baseline=None, color=ORANGE, linewidth=1.4, label="median")
    _scale_y(axes, scale)
    axes.set_xlim(0.5, n + 0.5)
    _count_x(axes)
    axes.set_xlabel("channel")
    return _finish(drawing, axes, name, y_label, with_legend=True)


def interval_chart(name: str, intervals: Sequence[Interval], *, x_label: str) -> Markup:
    """Return values as dots with their intervals, top to bottom, and a line at zero."""
    drawing, axes = _canvas(height=1.2 + 0.34 * len(intervals))
    rows = np.arange(len(intervals))
    axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.hlines(rows, [item.low for item in intervals], [item.high for item in intervals], color=BLUE, linewidth=2.2)
    axes.plot([item.value for item in intervals], rows, "o", color=BLUE, markersize=6)
    axes.set_yticks(rows, [item.label for item in intervals])
    axes.set_ylim(len(intervals) - 0.5, -0.5)
    axes.set_xlabel(x_label)
    axes.grid(visible=False, axis="y")
    return _finish(drawing, axes, name, "", with_legend=False)


def price_chart(name: str, tracks: Sequence[Track], *, x_label: str, y_label: str) -> Markup:
    """Return shares 0 to 1 with their intervals over a logarithmic axis of prices, a line through each track."""
    drawing, axes = _canvas(height=3.4)
    for number, track in enumerate(tracks):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS) % len(MARKERS)]
        axes.plot(track.x, track.y, color=colour, marker=marker, markersize=5, linewidth=1.2, label=track.label)
        axes.vlines(track.x, track.low, track.high, color=colour, linewidth=1.2, alpha=0.7)
    axes.set_xscale("log")
    _scale_y(axes, "percent")
    axes.set_xlabel(x_label)
    return _finish(drawing, axes, name, y_label, with_legend=True)


def dress(axes: "Axes") -> None:
    """Give axes the look of every figure: a quiet grid, no ticks, no frame but the horizontal axis."""
    axes.grid(visible=True, color=INK, alpha=0.14, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, colors=INK, labelsize=9.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set(color=INK, alpha=0.5)


def _canvas(height: float = 2.9) -> "tuple[Figure, Axes]":
    """Return an empty figure as wide as a telephone shows it."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(4.7, height), layout="constrained")
    axes = drawing.add_subplot()
    dress(axes)
    return drawing, axes


def _count_x(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _scale_y(axes: "Axes", scale: Scale) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter, StrMethodFormatter

    if scale == "log":
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif scale == "percent":
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))


def _finish(drawing: "Figure", axes: "Axes", name: str, y_label: str, *, with_legend: bool) -> Markup:
    from matplotlib.text import Text

    legend_rows = -(-len(axes.get_legend_handles_labels()[0]) // LEGEND_COLUMNS) if with_legend else 0
    axes.set_title(y_label, loc="left", fontsize=10, color=INK, pad=6 + 15 * legend_rows)
    axes.xaxis.label.set(color=INK, fontsize=10)
    if with_legend:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=LEGEND_COLUMNS, frameon=False, fontsize=9.5, labelcolor=INK,
            borderaxespad=0, borderpad=0.2, handlelength=1.2, columnspacing=1.2,
        )  # fmt: skip
    for artist in drawing.findobj():
        artist.set_clip_on(False)  # clip paths are references, and nothing lies outside the axes
        if isinstance(artist, Text):
            artist.set_parse_math(False)
    return _inline_svg(drawing, name, y_label or axes.get_xlabel())


def _inline_svg(drawing: "Figure", name: str, description: str) -> Markup:
    """Return the drawing as an `svg` element whose ink, font and line style are those of the page."""
    from matplotlib import rc_context

    text = io.StringIO()
    # The salt makes ids the same in every run and different in every figure of a page.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        drawing.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    _, _, svg = text.getvalue().partition("<svg ")
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    _, _, body = svg.partition(">")
    view_box = re.search(r'viewBox="([-\d. ]+)"', svg)
    assert view_box is not None
    referenced = set(re.findall(r'href="#([^"]+)"', body))
    body = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in referenced else "", body)
    body = re.sub(r" font-family: [^;\"]*;", "", body)
    body = re.sub(r"\s*\n\s*", "\n", body.replace("xlink:href", "href"))
    for colour, name_in_page in PAGE_COLOURS.items():
        body = body.replace(colour, name_in_page)
    return Markup(f'<svg viewBox="{view_box[1]}" role="img" aria-label="{escape(description)}">{body}')
