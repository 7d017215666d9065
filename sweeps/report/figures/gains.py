"""Draw the figures of gains and regret, each one narrow column of rows; write their captions."""

import math
from collections.abc import Sequence
from statistics import median_low
from typing import Any

from matplotlib.figure import Figure

from sweeps.report.figures import data
from sweeps.report.figures.style import LIFT, SMALL, column, frame, name_row, set_rows, value_row
from sweeps.report.words import between, counted, display_name, points
from sweeps.stats.estimates import limits
from sweeps.terminal import number_of

_FINE, _TOO_MUCH = "#cfe8df", "#f6d9cc"  # light enough for black and vermillion marks
_BESIDE = 0.75  # how far the frame reaches for single seeds beyond means and intervals, relative to their span
_TOO_LONG = 8  # median lengths: a longer interval includes a diverged training and does not set the frame


def gains(marks: Sequence[data.GainMark], *, phone: bool = False) -> Figure:
    """Draw the gain of each arm over no distillation, one panel per dataset: mean, interval, a dot per seed."""
    datasets = data.by_dataset(marks)
    figure, grid = column([len(group) for group in datasets.values()], below=0.6, above=0.3, phone=phone)
    lift = LIFT if phone else 0.0
    for axes, (dataset, group) in zip(grid, datasets.items(), strict=True):
        low, high = _frame(group)
        axes.set_xlim(low, high)
        axes.axvline(0, color=data.BLACK, lw=1.1, zorder=1)
        axes.grid(visible=True, axis="x")
        for row, mark in enumerate(group):
            colour = data.ARM_COLOURS.get(mark.arm, data.GREY)
            inside = [value for value in mark.seeds if low <= value <= high]
            axes.plot(inside, [row + 0.27] * len(inside), "o", color=data.GREY, ms=2.6, mew=0, alpha=0.65)
            if ends := limits(mark.mean):
                cut = [min(max(end, low), high) for end in ends]
                axes.plot(cut, [row, row], color=colour, lw=2.6, solid_capstyle="butt", zorder=3)
            mean = min(max(mark.mean.mean, low), high)
            marker = "o" if mean == mark.mean.mean else "<" if mean == low else ">"
            axes.plot(mean, row, marker, color=colour, ms=7.5, mec="white", mew=1, zorder=4, clip_on=marker == "o")
            name_row(axes, row - lift, mark.label, mark.detail)
            value_row(axes, row - lift, points(mark.score, mark.mean), between(mark.score, mark.mean))
        set_rows(axes, len(group))
        first = group[0]
        without = f"{first.without}: {first.score.scaled_text(first.base, 1)}"
        axes.set_title(without, fontsize=8, color=data.GREY, loc="center", fontweight="normal")
        axes.set_xlabel(f"{first.score.gained('test')} on {display_name(dataset)}", fontsize=SMALL)
    return figure


def gains_narrow(marks: Sequence[data.GainMark]) -> Figure:
    return gains(marks, phone=True)


def regret(marks: Sequence[data.RegretMark], *, phone: bool = False) -> Figure:
    figure, grid = column([1] * len(marks), below=0.5, above=0.25, phone=phone)
    for axes, mark in zip(grid, marks, strict=True):
        axes.set_position((0.06, axes.get_position().y0, 0.88, axes.get_position().height))
        ends = [0.0, mark.mean.mean, *mark.searches, *(limits(mark.mean) or ())]
        low = min(*ends, -0.5 * mark.margin) - 0.25 * mark.margin
        high = max(*ends, mark.margin) + 0.5 * mark.margin
        axes.axvspan(low, mark.margin, color=_FINE, lw=0)
        axes.axvspan(mark.margin, high, color=_TOO_MUCH, lw=0)
        axes.axvline(mark.margin, color=data.BLACK, lw=1.1)
        axes.axvline(0, color=data.GREY, lw=0.8, ls=":")
        if interval := limits(mark.mean):
            axes.plot(interval, [0, 0], color=data.VERMILLION, lw=2.6, solid_capstyle="butt")
        axes.plot(mark.mean.mean, 0, "o", color=data.VERMILLION, ms=8, mec="white", mew=1, zorder=4)
        if len(mark.searches) > 1:
            axes.plot(mark.searches, [0.32] * len(mark.searches), "o", color=data.BLACK, ms=3.4, mew=0, alpha=0.65)
        axes.set_xlim(low, high)
        axes.set_ylim(0.5, -0.5)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="x", labelsize=SMALL)
        beside: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        texts = ((f"fine: less than {counted(mark.score, mark.margin)} lost", -5, "right"), ("too much", 5, "left"))
        for text, shift, side in texts:
            axes.annotate(text, (mark.margin, 1), xytext=(shift, 4), ha=side, fontsize=SMALL, **beside)
        axes.set_xlabel(
            f"{mark.score.amount_of('lost')} on {display_name(mark.dataset)} by not tuning there",
            fontsize=SMALL,
        )
    return figure


def regret_narrow(marks: Sequence[data.RegretMark]) -> Figure:
    return regret(marks, phone=True)


def outside(marks: Sequence[data.GainMark]) -> tuple[int, int]:
    seeds = means = 0
    for group in data.by_dataset(marks).values():
        low, high = _frame(group)
        seeds += sum(not low <= value <= high for mark in group for value in mark.seeds)
        means += sum(not low <= mark.mean.mean <= high for mark in group)
    return seeds, means


def _frame(marks: Sequence[data.GainMark]) -> tuple[float, float]:
    """Return a frame for the means and intervals, and for single seeds that are not far outside.

    A training that diverged to 0 % makes the interval of its arm so long that all others would shrink to dots, so the
    others set the frame.
    """
    lengths = [high - low for mark in marks for low, high in [limits(mark.mean) or (0.0, 0.0)]]
    most = _TOO_LONG * median_low([length for length in lengths if length] or [math.inf])
    ends = [0.0]
    for mark, length in zip(marks, lengths, strict=True):
        ends += [mark.mean.mean, *(limits(mark.mean) or ())] if length <= most else []
    reach = _BESIDE * (max(ends) - min(ends))
    low, high = min(ends) - reach, max(ends) + reach
    ends += [value for mark in marks for value in mark.seeds if low <= value <= high]
    return frame(ends)


def gains_caption(marks: Sequence[data.GainMark]) -> str:
    counts = sorted({mark.mean.n for mark in marks})
    seeds = f"{'' if len(counts) == 1 else f'{counts[0]} to '}{number_of(counts[-1], 'training seed')}"
    left_out, beyond = outside(marks)
    what = "Line: mean and 95 % CI over" if any(limits(mark.mean) for mark in marks) else "Large dot: mean of"
    return (
        f"{what} {seeds}, each compared with {marks[0].untreated} of"
        f" the same seed. Small dots: single seeds{f' (outside the frame: {left_out})' if left_out else ''}."
        f"{' Arrow: the mean lies outside the frame.' if beyond else ''} Measured on {marks[0].tested} that were not"
        " used for any choice."
    )


def regret_caption(marks: Sequence[data.RegretMark]) -> str:
    several = len(marks[0].searches) > 1
    over = "searches and their seeds" if several else "training seeds"
    dots = " Small dots: one search on each dataset." if several else ""
    what = "Line: mean and 95 % CI" if any(limits(mark.mean) for mark in marks) else "Large dot: mean"
    return f"{what} over {over}.{dots} To pass, the whole line must stay left of the margin."
