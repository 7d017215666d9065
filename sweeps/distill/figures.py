"""Draw AutoKeras against the sweep."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeps.distill.cost import MULTIPLES, BreakEven
from sweeps.distill.report import read_evens, times
from sweeps.findings.findings import Findings
from sweeps.report import words
from sweeps.report.figures import data, style
from sweeps.report.figures.svg import Drawing


def evens(findings: Findings) -> tuple[BreakEven, ...]:
    """Return the break-evens of datasets on which AutoKeras ran two or more trials."""
    return tuple(even for even in read_evens(findings.own) if len(even.curve) > 1)


def draw(evens: Sequence[BreakEven]) -> Figure:
    figure, grid = style.panels(_titles(evens), height=3.8)
    return _draw(figure, grid, evens, legend_columns=3 if len(evens) > 1 else 2)  # three are wider than one panel


def narrow(evens: Sequence[BreakEven]) -> Figure:
    """Draw it for a phone, with the panels below each other."""
    figure, grid = style.panels(_titles(evens), height=3.6, columns=1, width=style.NARROW_WIDTH)
    return _draw(figure, grid, evens, legend_columns=1)


def _titles(evens: Sequence[BreakEven]) -> list[str]:
    return [words.display_name(even.dataset) for even in evens]


def _draw(figure: Figure, grid: Sequence[Axes], evens: Sequence[BreakEven], *, legend_columns: int) -> Figure:
    for axes, even in zip(grid, evens, strict=True):
        seconds, accuracies = zip(*even.curve, strict=True)
        marks = [multiple * even.sweep_cpu_s for multiple in MULTIPLES]
        style.logarithmic(axes, min(seconds[0], *marks) / 1.5, max(seconds[-1], *marks) * 1.5)
        axes.plot(seconds, accuracies, color=data.PURPLE, marker="^", mec="white", ms=8, drawstyle="steps-post")
        axes.margins(y=0.2)
        axes.axhline(even.student, color=data.BLUE, ls="--", lw=1.2)
        for multiple, mark in zip(MULTIPLES, marks, strict=True):
            axes.axvline(mark, color=data.GREY, ls=":", lw=1)
            axes.annotate(
                times(multiple),
                (mark, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -2),
                textcoords="offset points",
                va="top",
            )
        axes.set_xlabel("training, CPU s")
        axes.set_ylabel("validation accuracy, %")
    handles = [
        Line2D([], [], color=data.PURPLE, marker="^", mec="white", ms=8, label="AutoKeras, best so far"),
        Line2D([], [], color=data.BLUE, ls="--", lw=1.2, label="distilled student"),
        Line2D([], [], color=data.GREY, ls=":", lw=1, label="multiples of the sweep's cost"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns)
    return figure


FIGURES = (
    Drawing(
        name="break-even",
        alt="AutoKeras against the sweep",
        slot="cost",
        data=evens,
        draw=draw,
        narrow=narrow,
        caption=lambda _: (
            "Best validation accuracy of AutoKeras after each of its trials, against the CPU seconds used so far. The"
            " dashed line is the distilled student. Dotted lines are multiples of the CPU seconds of the sweep: its"
            " teachers, search and confirm."
        ),
        wide=True,
    ),
)
