"""Draw the figure of the answer: what each strategy keeps of the gain, cheapest first, and its cost."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from sweeps.report.choice import StrategyRow
from sweeps.report.figures.data import BLACK, GREY, STRATEGY_COLOURS, Strategies
from sweeps.report.figures.style import NARROW_WIDTH, WIDTH, frame
from sweeps.stats.estimates import limits

_FINE, _EDGE = "#e4f2ec", "#2a8a63"
_LARGE, _TEXT, _SMALL = 11.0, 10.0, 8.5  # points


def strategies(chart: Strategies) -> Figure:
    """Draw names on the left, intervals in the middle, share and cost on the right."""
    rows, line, above, below = len(chart.rows), 0.52, 0.4, 0.62
    height = rows * line + above + below
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0.25, below / height, 0.39, rows * line / height))
    _scale(axes, chart)
    for row, mark in enumerate(chart.rows):
        _interval(axes, row, mark)
        _text(axes, 0.0, row, mark.label, va="bottom", fontsize=_LARGE, weight=_weight(mark))
        _text(axes, 0.0, row + 0.04, mark.detail, va="top", fontsize=_SMALL, color=GREY)
        _text(axes, 0.665, row, mark.kept, va="center", fontsize=_LARGE, weight=_weight(mark))
        _text(axes, 1.0, row, mark.price, va="center", ha="right", fontsize=_TEXT, color=GREY)
    axes.axvline(0, color=BLACK, lw=1.1, zorder=1)
    axes.set_ylim(rows - 0.5, -0.5)
    _band(axes, chart)
    return figure


def narrow(chart: Strategies) -> Figure:
    """Draw it for a phone: names, shares and costs above the intervals."""
    rows, line, above, below = len(chart.rows), 0.82, 0.36, 0.6
    height = rows * line + above + below
    figure = Figure(figsize=(NARROW_WIDTH, height))
    axes = figure.add_axes((0.05, below / height, 0.9, rows * line / height))
    _scale(axes, chart)
    for row, mark in enumerate(chart.rows):
        _interval(axes, row + 0.22, mark)
        _text(axes, 0.0, row - 0.18, mark.label, va="bottom", fontsize=_TEXT, weight=_weight(mark))
        _text(axes, 1.0, row - 0.18, mark.kept, va="bottom", ha="right", fontsize=_TEXT, weight=_weight(mark))
        _text(axes, 0.0, row - 0.16, mark.detail, va="top", fontsize=_SMALL, color=GREY)
        _text(axes, 1.0, row - 0.16, mark.price, va="top", ha="right", fontsize=_SMALL, color=GREY)
    axes.set_ylim(rows - 0.5, -0.5)
    _band(axes, chart)
    return figure


def caption(chart: Strategies) -> str:
    return chart.scope


def _weight(mark: StrategyRow) -> str:
    return "bold" if mark.is_advised else "normal"


def _scale(axes: Axes, chart: Strategies) -> None:
    values = [mark.value for mark in chart.rows if mark.value is not None]
    ends = [0.0, *(end for value in values for end in (value.mean, *(limits(value) or ())))]
    low, high = frame([*ends, 1.2] if chart.is_share else ends)
    axes.set_xlim(low if min(ends) < 0 else 0.0, high)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=_SMALL)
    if chart.is_share:
        axes.xaxis.set_major_formatter(lambda value, _: f"{round(100 * value):d} %".replace("-", "−"))
    else:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
    below: dict[str, Any] = {"xytext": (0, -20), "textcoords": "offset points", "va": "top", "fontsize": _SMALL}
    below |= {"annotation_clip": False}
    if chart.is_share:
        axes.annotate(chart.zero, (0, 0), xycoords=("data", "axes fraction"), ha="left", **below)
        axes.annotate("tuned here", (1, 0), xycoords=("data", "axes fraction"), ha="center", **below)
    else:
        axes.annotate(chart.axis, (0.5, 0), xycoords="axes fraction", ha="center", **below)


def _band(axes: Axes, chart: Strategies) -> None:
    if chart.enough is None:
        return
    axes.axvspan(chart.enough, axes.get_xlim()[1], color=_FINE, lw=0, zorder=0)
    axes.axvline(chart.enough, color=_EDGE, lw=1, ls="--", zorder=1)
    # Align it at the right end if it would run out of the figure at the left one.
    left, right = axes.get_xlim()
    at_right = (chart.enough - left) / (right - left) > 0.5
    axes.annotate(
        chart.enough_label,
        (right if at_right else chart.enough, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right" if at_right else "left",
        fontsize=_SMALL,
        annotation_clip=False,
    )


def _interval(axes: Axes, row: float, mark: StrategyRow) -> None:
    assert mark.value is not None  # others are not drawn
    colour = STRATEGY_COLOURS[mark.name]
    if ends := limits(mark.value):
        axes.plot(ends, [row, row], color=colour, lw=4, solid_capstyle="butt", zorder=3)
    axes.plot(mark.value.mean, row, "o", color=colour, ms=10, mec="white", mew=1.2, zorder=4, clip_on=False)


def _text(axes: Axes, x: float, row: float, text: str, **how: Any) -> None:
    figure = axes.get_figure()
    assert figure is not None
    place = blended_transform_factory(figure.transFigure, axes.transData)
    axes.text(x, row, text, transform=place, clip_on=False, **how)
