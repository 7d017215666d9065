"""Draw accuracy against what it costs: latency and training seconds. The Pareto front is drawn through the means."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeps.analysis.cost import MULTIPLES, BreakEven
from sweeps.report.figures.data import BLACK, BLUE, GREEN, GREY, PURPLE, CostMark, by_dataset, short
from sweeps.report.figures.style import logarithmic, panels, spread

_KINDS = {
    "teacher": ("teacher", "s", GREEN),
    "arm": ("student: an arm of transfer", "o", BLUE),
    "baseline": ("baseline", "^", PURPLE),
}
_LABEL = 0.19  # inches between two labels


def latency(marks: Sequence[CostMark]) -> Figure:
    """Draw test accuracy against the median latency of one image."""
    return _draw(marks, "latency p50, ms")


def training(marks: Sequence[CostMark]) -> Figure:
    """Draw test accuracy against the seconds that a method needed in all."""
    return _draw(marks, "training, its teacher and search included, s")


def break_even(evens: Sequence[BreakEven]) -> Figure:
    """Draw AutoKeras' best accuracy so far against CPU seconds, beside the student and what its sweep cost."""
    figure, grid = panels([short(one.dataset) for one in evens], height=3.8)
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


def _draw(marks: Sequence[CostMark], label: str) -> Figure:
    datasets = by_dataset(marks)
    most = max(map(len, datasets.values()))
    figure, grid = panels([short(name) for name in datasets], height=max(3.8, _LABEL * most + 1.6))
    for axes, group in zip(grid, datasets.values(), strict=True):
        _panel(axes, group, gap=min(0.07, 1 / most))
        axes.set_xlabel(label)
        axes.set_ylabel("test accuracy, %")
    kinds = [_KINDS[kind] for kind in dict.fromkeys(mark.kind for mark in marks)]
    handles = [Line2D([], [], ls="", marker=shape, color=colour, label=name) for name, shape, colour in kinds]
    handles.append(Line2D([], [], color=BLACK, ls="--", lw=1, label="Pareto front (bold labels)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _panel(axes: Axes, marks: Sequence[CostMark], *, gap: float) -> None:
    costs, accuracies = [mark.cost for mark in marks], [mark.accuracy for mark in marks]
    logarithmic(axes, min(costs) / 1.5, max(costs) * 1.5)
    room = 0.08 * (max(accuracies) - min(accuracies)) or 1.0
    low, high = min(accuracies) - room, max(accuracies) + room
    axes.set_ylim(low, high)
    axes.grid(visible=True)
    front = sorted((mark.cost, mark.accuracy) for mark in marks if mark.on_front)
    axes.plot(*zip(*front, strict=True), color=BLACK, ls="--", lw=1, drawstyle="steps-post", zorder=2)
    places = spread([(mark.accuracy - low) / (high - low) for mark in marks], gap)
    for mark, place in zip(marks, places, strict=True):
        _, shape, colour = _KINDS[mark.kind]
        axes.plot(mark.cost, mark.accuracy, shape, color=colour, mec="white", mew=0.7, ms=8, zorder=4)
        axes.annotate(
            f"{mark.method} {mark.accuracy:.1f}",
            (mark.cost, mark.accuracy),
            xytext=(1.04, place),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            fontweight="bold" if mark.on_front else "normal",
            arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.5, "shrinkA": 2, "shrinkB": 4, "relpos": (0, 0.5)},
            zorder=3,
        )
