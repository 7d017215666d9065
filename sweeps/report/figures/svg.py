"""Draw the figures of a written report as SVG: searches, arms, costs. No two things differ by colour alone."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import Triangulation

from sweeps.analysis.surfaces import SearchTrial, Surface
from sweeps.report.figures import cost
from sweeps.report.figures.data import (
    BLACK,
    BLUE,
    DEFAULTS,
    GREY,
    ORANGE,
    SCALE,
    SKY,
    VERMILLION,
    ArmMark,
    Pictures,
    best_so_far,
    by_dataset,
    short,
    title,
)
from sweeps.report.figures.style import as_svg, logarithmic, panels, style

NAMES = ("surface", "history", "arms", "cost-latency", "cost-training", "break-even")

_MAP = LinearSegmentedColormap.from_list("accuracy", SCALE)
_Look: TypeAlias = dict[str, Any]


def _dot(label: str, marker: str, size: float, face: str, edge: str, width: float = 0.9) -> _Look:
    return {"label": label, "marker": marker, "ms": size, "mfc": face, "mec": edge, "mew": width, "ls": ""}


_SOBOL = _dot("trial, Sobol", "o", 5, "white", BLACK)
_TPE = _dot("trial, TPE", "^", 6, BLACK, "white", 0.6)
_BEST = _dot("confirmed best", "*", 17, VERMILLION, "white")
_TIED = _dot("tied with best", "*", 13, "white", VERMILLION, 1.4)
_DEFAULTS = {
    arm: _dot(arm, marker, 9, colour, BLACK)
    for arm, marker, colour in zip(DEFAULTS, ("s", "D"), (ORANGE, SKY), strict=True)
}
_ARMS = {"best": ("*", VERMILLION, 15), "native": ("D", BLUE, 8), "scratch": ("s", BLACK, 7)}
_OTHER = ("o", GREY, 7)


def draw(shown: Pictures) -> dict[str, str]:
    """Return every figure whose data is there, as SVG by its name, in the order of NAMES."""
    drawn = {}
    with style():
        if shown.surfaces:
            drawn["surface"] = as_svg(surface(shown))
            drawn["history"] = as_svg(history(shown.surfaces))
        if shown.arms:
            drawn["arms"] = as_svg(arms(shown.arms))
        if shown.latency:
            drawn["cost-latency"] = as_svg(cost.latency(shown.latency))
        if shown.training:
            drawn["cost-training"] = as_svg(cost.training(shown.training))
        if shown.break_even:
            drawn["break-even"] = as_svg(cost.break_even(shown.break_even))
    return drawn


def surface(shown: Pictures) -> Figure:
    """Draw the contours of validation accuracy over temperature and alpha, a panel for each search."""
    figure, grid = panels([title(one) for one in shown.surfaces], height=4.6)
    temperatures = [*shown.temperature, *(point.temperature for point in DEFAULTS.values())]
    alphas = [*shown.alpha, *(point.alpha for point in DEFAULTS.values())]
    for axes, one in zip(grid, shown.surfaces, strict=True):
        logarithmic(axes, min(temperatures) / 1.12, max(temperatures) * 1.12)
        axes.set_ylim(min(alphas) - 0.04, max(alphas) + 0.04)
        figure.colorbar(_contours(axes, one.trials), ax=axes, label="validation accuracy, %", format="%.4g")
        _trials(axes, [(trial.point.temperature, trial.point.alpha) for trial in one.trials], one.trials)
        for arm, default in DEFAULTS.items():
            axes.plot(default.temperature, default.alpha, **_DEFAULTS[arm], zorder=5)
        for tied in one.tied:
            axes.plot(tied.temperature, tied.alpha, **_TIED, zorder=6)
        if one.best is not None:
            axes.plot(one.best.temperature, one.best.alpha, **_BEST, zorder=7)
        axes.set_xlabel("temperature T")
        axes.set_ylabel("alpha, weight of the labels")
    kinds = [_SOBOL, _TPE, _BEST, _TIED, *_DEFAULTS.values()]
    figure.legend(handles=[Line2D([], [], **kind) for kind in kinds], loc="outside lower center", ncols=len(kinds))
    return figure


def history(searches: Sequence[Surface]) -> Figure:
    """Draw validation accuracy by trial number and the best so far, a panel for each search."""
    figure, grid = panels([title(one) for one in searches], height=3.6)
    line: _Look = {"color": BLUE, "lw": 1.6, "label": "best so far"}
    for axes, one in zip(grid, searches, strict=True):
        axes.grid(visible=True)
        axes.plot([trial.number for trial in one.trials], best_so_far(one), drawstyle="steps-post", **line)
        _trials(axes, [(trial.number, trial.accuracy) for trial in one.trials], one.trials)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("trial")
        axes.set_ylabel("validation accuracy, %")
    handles = [Line2D([], [], **kind) for kind in (_SOBOL, _TPE, line)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def arms(marks: Sequence[ArmMark]) -> Figure:
    """Draw the test accuracy of each arm: every seed, the mean and its interval, a panel for each dataset."""
    datasets = by_dataset(marks)
    most = max(map(len, datasets.values()))
    figure, grid = panels([short(name) for name in datasets], height=0.36 * most + 1.5)
    for axes, group in zip(grid, datasets.values(), strict=True):
        axes.grid(visible=True, axis="x")
        for row, mark in enumerate(group):
            shape, colour, size = _ARMS.get(mark.arm, _OTHER)
            axes.plot(mark.seeds, [row] * len(mark.seeds), "|", color=GREY, ms=9, mew=0.9, alpha=0.6)
            if mark.mean.low is not None and mark.mean.high is not None:
                axes.plot([mark.mean.low, mark.mean.high], [row, row], color=colour, lw=2, solid_capstyle="butt")
            axes.plot(mark.mean.mean, row, shape, color=colour, ms=size, mec="white", mew=0.8, zorder=4)
        axes.set_yticks(range(len(group)), [mark.arm for mark in group])
        axes.set_ylim(most - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("test accuracy, %")
    handles = [
        Line2D([], [], color=GREY, ls="", marker="|", ms=9, label="one seed"),
        Line2D([], [], color=GREY, lw=2, marker="o", ms=7, mec="white", label="mean with its 95 % t interval"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _contours(axes: Axes, trials: Sequence[SearchTrial]) -> ScalarMappable:
    """Draw filled contours between the trials; where they span no area or do not differ, colour their dots alone."""
    rows = [(trial.point.temperature, trial.point.alpha, trial.accuracy) for trial in trials]
    temperatures, alphas, values = np.array(rows).T
    if len(trials) >= 4 and np.ptp(values) > 0:
        try:
            between = Triangulation(np.log(temperatures), alphas)
        except (RuntimeError, ValueError):  # all on one line
            pass
        else:
            triangles = Triangulation(temperatures, alphas, between.triangles)
            return axes.tricontourf(triangles, values, levels=10, cmap=_MAP)
    norm = Normalize(values.min() - 0.5, values.max() + 0.5)
    return axes.scatter(temperatures, alphas, c=values, s=160, cmap=_MAP, norm=norm, zorder=1)


def _trials(axes: Axes, places: Sequence[tuple[float, float]], trials: Sequence[SearchTrial]) -> None:
    for look, shared in ((_SOBOL, True), (_TPE, False)):
        chosen = [place for place, trial in zip(places, trials, strict=True) if trial.shared is shared]
        if chosen:
            axes.plot(*zip(*chosen, strict=True), **look, zorder=4)
