"""The look of figures: style, panels, a column of rows with their values.

matplotlib without pyplot opens no window and has no global figure. Text stays text, so that a page can be searched and
read aloud.
"""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sweeps.report.figures.data import GREY

_STYLE = {
    "svg.fonttype": "none",
    "axes.facecolor": "none",  # a dark page removes the figure's single background
    "svg.hashsalt": "kd-sweeps",  # seeds the ids, so that the same sweep gives the same bytes
    "text.parse_math": False,  # a dataset's name may contain $
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
# Inches: at 96 pixels per inch a page shows them without scaling, NARROW_WIDTH on a phone.
WIDTH, NARROW_WIDTH = 10.0, 3.75


def style() -> AbstractContextManager[None]:
    # Independent of the user's matplotlibrc.
    context: AbstractContextManager[None] = matplotlib.style.context(["default", _STYLE])
    return context


def panels(
    titles: Sequence[str], *, height: float, columns: int = 2, width: float = WIDTH
) -> tuple[Figure, list[Axes]]:
    """Return a figure with one panel per title in `columns` columns, each `height` inches high."""
    single = columns > 1 and len(titles) == 1
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.08)
    figure = Figure(figsize=(width * (0.6 if single else 1), height * rows), layout=layout)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(titles) :]:
        axes.remove()
    for axes, title in zip(grid, titles, strict=False):
        axes.set_title(title, pad=10)
    return figure, list(grid[: len(titles)])


def logarithmic(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic from low > 0 to high, with ticks at 1, 2, 5, 10 and so on."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def as_svg(figure: Figure) -> str:
    # Without a date, so that the same figure gives the same text.
    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(out, format="svg", metadata=nothing)
    return out.getvalue()


_TEXT, SMALL = 8.3, 7.3  # points
LIFT = 0.3  # of a row: how far above its interval a phone has its texts


def column(rows: Sequence[int], *, below: float, above: float, phone: bool = False) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels below each other, each with a name and a value beside or, on a phone, above a row.

    rows: of each panel. below, above: inches around a panel.
    """
    # Inches of the width and of a row; fractions of the width where panels begin and end.
    width, line, left, right = (NARROW_WIDTH, 0.62, 0.03, 0.97) if phone else (5.0, 0.38, 0.36, 0.73)
    heights = [count * line for count in rows]
    whole = sum(heights) + (below + above) * len(rows)
    figure = Figure(figsize=(width, whole))
    grid, top = [], whole
    for height in heights:
        top -= above + height
        grid.append(figure.add_axes((left, top / whole, right - left, height / whole)))
        top -= below
    return figure, grid


def frame(ends: Sequence[float]) -> tuple[float, float]:
    """Return the limits of an axis that contains all ends with some room."""
    room = 0.06 * (max(ends) - min(ends)) or 0.5
    return min(ends) - room, max(ends) + room


def set_rows(axes: Axes, count: int) -> None:
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=SMALL)


def name_row(axes: Axes, row: float, label: str, detail: str) -> None:
    _two_lines(axes, row, (label, detail), at=0.0, side="left")


def value_row(axes: Axes, row: float, value: str, interval: str) -> None:
    _two_lines(axes, row, (value, interval), at=1.0, side="right")


def _two_lines(axes: Axes, row: float, texts: tuple[str, str], *, at: float, side: str) -> None:
    place: dict[str, Any] = {"xycoords": ("figure fraction", "data"), "annotation_clip": False, "ha": side}
    place["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6}  # a phone has lines below
    first, second = texts
    axes.annotate(
        first, (at, row - 0.02 if second else row), va="bottom" if second else "center", fontsize=_TEXT, **place
    )
    if second:
        axes.annotate(second, (at, row + 0.06), va="top", fontsize=SMALL, color=GREY, **place)
