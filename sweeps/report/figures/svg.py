"""Draw the figures of a written report as SVG. No two things differ by colour alone."""

from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeps.findings.surfaces import Surface
from sweeps.report.figures import gains
from sweeps.report.figures.data import BLACK, DEFAULTS, GREY, ORANGE, SCALE, SKY, VERMILLION, Pictures, title
from sweeps.report.figures.style import as_svg, logarithmic, panels, style
from sweeps.stats.response import SIDE

NAMES = ("gains", "regret", "methods", "surface", "break-even")

_MAP = LinearSegmentedColormap.from_list("accuracy", SCALE)
_Look: TypeAlias = dict[str, Any]


def _dot(label: str, marker: str, size: float, face: str, edge: str, width: float = 0.9) -> _Look:
    return {"label": label, "marker": marker, "ms": size, "mfc": face, "mec": edge, "mew": width, "ls": ""}


_SOBOL = _dot("trial, Sobol", "o", 5, "white", BLACK)
_PROPOSED = _dot("trial, proposed", "^", 6, BLACK, "white", 0.6)
_OTHER = _dot("trial of another search", ".", 6, GREY, GREY)
_BEST = _dot("confirmed best", "*", 17, VERMILLION, "white")
_TIED = _dot("tied with best", "*", 13, "white", VERMILLION, 1.4)
_DEFAULTS = {
    "default-keras-io": _dot("keras.io example", "s", 9, ORANGE, BLACK),
    "default-keras": _dot("Keras default", "D", 9, SKY, BLACK),
}


def draw(pictures: Pictures) -> dict[str, str]:
    """Return every figure whose data is there, as SVG by its name, in the order of NAMES."""
    drawn = {}
    with style():
        if pictures.gains:
            drawn["gains"] = as_svg(gains.gains(pictures.gains))
        if pictures.regrets:
            drawn["regret"] = as_svg(gains.regret(pictures.regrets))
        if pictures.methods:
            drawn["methods"] = as_svg(gains.methods(pictures.methods))
        if pictures.surfaces:
            drawn["surface"] = as_svg(surface(pictures))
        if pictures.break_even:
            drawn["break-even"] = as_svg(gains.break_even(pictures.break_even))
    return drawn


def surface(pictures: Pictures) -> Figure:
    """Draw where the searches looked, and the surface that was fitted to all of them; a panel for each dataset.

    Without enough searches for a fit there are points alone: contours through single runs would show their luck.
    """
    figure, grid = panels([title(search) for search in pictures.surfaces], height=4.6)
    temperatures = [*pictures.temperature, *(point.temperature for point in DEFAULTS.values())]
    alphas = [*pictures.alpha, *(point.alpha for point in DEFAULTS.values())]
    kinds: list[_Look] = []
    for axes, search in zip(grid, pictures.surfaces, strict=True):
        logarithmic(axes, min(temperatures) / 1.12, max(temperatures) * 1.12)
        axes.set_ylim(min(alphas) - 0.04, max(alphas) + 0.04)
        if search.top is not None:
            label = "points above the mean of all runs"
            figure.colorbar(_contours(axes, search, pictures), ax=axes, label=label, format="%.2g")
        kinds += _trials(axes, search)
        for arm, default in DEFAULTS.items():
            axes.plot(default.temperature, default.alpha, **_DEFAULTS[arm], zorder=5)
        for tied in search.tied:
            axes.plot(tied.temperature, tied.alpha, **_TIED, zorder=6)
        if search.best is not None:
            axes.plot(search.best.temperature, search.best.alpha, **_BEST, zorder=7)
        axes.set_xlabel("temperature T")
        axes.set_ylabel("alpha, weight of the labels")
    tied_kind = [_TIED] if any(search.tied for search in pictures.surfaces) else []
    unique = {kind["label"]: kind for kind in [*kinds, _BEST, *tied_kind, *_DEFAULTS.values()]}
    handles = [Line2D([], [], **kind) for kind in unique.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    return figure


def _contours(axes: Axes, search: Surface, pictures: Pictures) -> Any:
    assert search.top is not None
    place = (np.arange(SIDE) + 0.5) / SIDE
    (t_low, t_high), (a_low, a_high) = pictures.temperature, pictures.alpha
    temperatures = t_low * (t_high / t_low) ** place
    alphas = a_low + (a_high - a_low) * place
    return axes.contourf(temperatures, alphas, np.array(search.top.mean).T, levels=10, cmap=_MAP)


def _trials(axes: Axes, search: Surface) -> list[_Look]:
    """Draw the trials of a dataset; return the kinds that there were."""
    kinds = []
    for look, chosen in (
        (_OTHER, list(search.others)),
        (_SOBOL, [trial for trial in search.trials if trial.shared]),
        (_PROPOSED, [trial for trial in search.trials if not trial.shared]),
    ):
        if chosen:
            places = [(trial.point.temperature, trial.point.alpha) for trial in chosen]
            axes.plot(*zip(*places, strict=True), **look, zorder=4)
            kinds.append(look)
    return kinds
