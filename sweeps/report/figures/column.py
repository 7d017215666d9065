"""One narrow column of rows, so that a figure can be read on a phone: name, marks, numbers."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweeps.report.figures.data import GREY

_WIDTH = 5.0  # inches
_LEFT, _RIGHT = 0.36, 0.73  # of the width: where names end and numbers begin
_LINE = 0.38  # inches of a row
_TEXT, SMALL = 8.3, 7.3  # points


def column(rows: Sequence[int], *, below: float, above: float, line: float = _LINE) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels one below the other, with so many rows each; below, above: inches beside a panel."""
    heights = [count * line for count in rows]
    whole = sum(heights) + (below + above) * len(rows)
    figure = Figure(figsize=(_WIDTH, whole))
    grid, top = [], whole
    for height in heights:
        top -= above + height
        grid.append(figure.add_axes((_LEFT, top / whole, _RIGHT - _LEFT, height / whole)))
        top -= below
    return figure, grid


def set_rows(axes: Axes, count: int) -> None:
    """Give a panel so many rows, from above, without an axis beside them."""
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=SMALL)


def name_row(axes: Axes, row: int, label: str, detail: str) -> None:
    """Write what a row is, left of it."""
    _two_lines(axes, row, (label, detail), at=0.0, side="left")


def value_row(axes: Axes, row: int, value: str, beside: str) -> None:
    """Write the numbers of a row, right of it."""
    _two_lines(axes, row, (value, beside), at=1.0, side="right")


def _two_lines(axes: Axes, row: int, texts: tuple[str, str], *, at: float, side: str) -> None:
    """Write a text, and a smaller one below it; at: fraction of the width of the figure."""
    place: dict[str, Any] = {"xycoords": ("figure fraction", "data"), "annotation_clip": False, "ha": side}
    first, second = texts
    axes.annotate(
        first, (at, row - 0.02 if second else row), va="bottom" if second else "center", fontsize=_TEXT, **place
    )
    if second:
        axes.annotate(second, (at, row + 0.06), va="top", fontsize=SMALL, color=GREY, **place)
