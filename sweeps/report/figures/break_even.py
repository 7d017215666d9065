"""Draw AutoKeras' accuracy against what it costs, beside the student and what its sweep cost."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeps.analysis.cost import MULTIPLES, BreakEven
from sweeps.report.figures.data import BLUE, GREY, PURPLE
from sweeps.report.figures.style import logarithmic, panels
from sweeps.report.names import called


def break_even(evens: Sequence[BreakEven]) -> Figure:
    """Draw AutoKeras' best accuracy so far against CPU seconds, beside the student and what its sweep cost."""
    figure, grid = panels([called(one.dataset) for one in evens], height=3.8)
    for axes, one in zip(grid, evens, strict=True):
        seconds, accuracies = zip(*one.curve, strict=True)
        marks = [multiple * one.sweep_cpu_s for multiple in MULTIPLES]
        logarithmic(axes, min(seconds[0], *marks) / 1.5, max(seconds[-1], *marks) * 1.5)
        axes.plot(seconds, accuracies, color=PURPLE, marker="^", mec="white", ms=8, drawstyle="steps-post")
        axes.margins(y=0.2)
        axes.axhline(one.student, color=BLUE, ls="--", lw=1.2)
        for multiple, mark in zip(MULTIPLES, marks, strict=True):
            axes.axvline(mark, color=GREY, ls=":", lw=1)
            axes.annotate(
                f"{multiple:g}x",
                (mark, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -2),
                textcoords="offset points",
                va="top",
            )
        axes.set_xlabel("training, CPU s")
        axes.set_ylabel("validation accuracy, %")
    handles = [
        Line2D([], [], color=PURPLE, marker="^", mec="white", ms=8, label="AutoKeras, best so far"),
        Line2D([], [], color=BLUE, ls="--", lw=1.2, label="distilled student"),
        Line2D([], [], color=GREY, ls=":", lw=1, label="multiples of the sweep's cost"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure
