"""Draw the figures of a written report as SVG. No two things differ by colour alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeps.findings.surfaces import Surface
from sweeps.report import document
from sweeps.report.figures import gains
from sweeps.report.figures.data import BLACK, GREY, ORANGE, SCALE, SKY, VERMILLION, Axis, Pictures, title
from sweeps.report.figures.style import as_svg, logarithmic, panels, style
from sweeps.stats.top import SIDE
from sweeps.trainers.protocol import Point, TrainerKind

_AXES = {"temperature": "temperature T", "alpha": "alpha, weight of the labels"}
_MAP = LinearSegmentedColormap.from_list("accuracy", SCALE)
_Look: TypeAlias = dict[str, Any]


def _dot(label: str, marker: str, size: float, face: str, edge: str, width: float = 0.9) -> _Look:
    return {"label": label, "marker": marker, "ms": size, "mfc": face, "mec": edge, "mew": width, "ls": ""}


_SOBOL = _dot("trial, Sobol", "o", 5, "white", BLACK)
_PROPOSED = _dot("trial, proposed", "^", 6, BLACK, "white", 0.6)
_OTHER = _dot("trial of another search", ".", 6, GREY, GREY)
_BEST = _dot("confirmed best", "*", 17, VERMILLION, "white")
_TIED = _dot("tied with best", "*", 13, "white", VERMILLION, 1.4)
_UNTUNED = (("s", 9, ORANGE, BLACK), ("D", 9, SKY, BLACK))  # by turns


def surface(pictures: Pictures) -> Figure:
    """Draw where the searches looked, and the surface that was fitted to all of them; a panel for each dataset.

    Without enough searches for a fit there are points alone: contours through single runs would show their luck.
    """
    figure, grid = panels([title(search) for search in pictures.surfaces], height=4.6)
    x, y = pictures.axes
    across, along = ([axis.low, axis.high, *_values(pictures.defaults, axis.name)] for axis in pictures.axes)
    untuned = [(_dot(label, *_UNTUNED[i % 2]), point) for i, (label, point) in enumerate(pictures.defaults)]
    kinds: list[_Look] = []
    for axes, search in zip(grid, pictures.surfaces, strict=True):
        _scale(axes, x, across)
        axes.set_ylim(min(along) - 0.04 * (y.high - y.low or 1), max(along) + 0.04 * (y.high - y.low or 1))
        if search.top is not None:
            label = "points above the mean of all runs"
            figure.colorbar(_contours(axes, search, pictures), ax=axes, label=label, format="%.2g")
        kinds += _trials(axes, search, x.name, y.name)
        for look, default in untuned:
            axes.plot(default[x.name], default[y.name], **look, zorder=5)
        for tied in search.tied:
            axes.plot(tied[x.name], tied[y.name], **_TIED, zorder=6)
        if search.best is not None:
            axes.plot(search.best[x.name], search.best[y.name], **_BEST, zorder=7)
        axes.set_xlabel(_AXES.get(x.name, x.name))
        axes.set_ylabel(_AXES.get(y.name, y.name))
    tied_kind = [_TIED] if any(search.tied for search in pictures.surfaces) else []
    unique = {kind["label"]: kind for kind in [*kinds, _BEST, *tied_kind, *(look for look, _ in untuned)]}
    handles = [Line2D([], [], **kind) for kind in unique.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    return figure


def _contours(axes: Axes, search: Surface, pictures: Pictures) -> Any:
    assert search.top is not None
    place = (np.arange(SIDE) + 0.5) / SIDE
    x, y = (
        axis.low * (axis.high / axis.low) ** place if axis.log else axis.low + (axis.high - axis.low) * place
        for axis in pictures.axes
    )
    return axes.contourf(x, y, np.array(search.top.mean).T, levels=10, cmap=_MAP)


def _values(points: Sequence[tuple[str, Point]], name: str) -> list[float]:
    return [point[name] for _, point in points]


def _scale(axes: Axes, axis: Axis, values: Sequence[float]) -> None:
    """Let the horizontal axis hold these values with some room."""
    if axis.log:
        logarithmic(axes, min(values) / 1.12, max(values) * 1.12)
    else:
        room = 0.04 * (max(values) - min(values) or 1)
        axes.set_xlim(min(values) - room, max(values) + room)


def _trials(axes: Axes, search: Surface, x: str, y: str) -> list[_Look]:
    """Draw the trials of a dataset; return the kinds that there were."""
    kinds = []
    for look, chosen in (
        (_OTHER, list(search.others)),
        (_SOBOL, [trial for trial in search.trials if trial.shared]),
        (_PROPOSED, [trial for trial in search.trials if not trial.shared]),
    ):
        if chosen:
            places = [(trial.point[x], trial.point[y]) for trial in chosen]
            axes.plot(*zip(*places, strict=True), **look, zorder=4)
            kinds.append(look)
    return kinds


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure of the page, whole: what it shows, how it is drawn, what stands above and below it.

    data: of it; where that is empty the figure is left out. alt: what it is, for a reader who cannot see it; there and
    in heading {parameters} and {without} are filled in. slot: the
    part of the page that it stands in, see `sweeps.report.page.page`.
    """

    name: str
    alt: str
    slot: str
    data: Callable[[Pictures], Any]
    draw: Callable[[Any], Figure]
    caption: Callable[[Any], str]
    heading: str = ""
    wide: bool = False


FIGURES = (
    Drawing(
        name="gains",
        heading="What each choice of {parameters} gains",
        alt="Gain of each arm over {without}",
        slot="answer",
        data=lambda pictures: pictures.gains,
        draw=gains.gains,
        caption=gains.gains_caption,
    ),
    Drawing(
        name="regret",
        alt="The regret beside its margin",
        slot="regret",
        data=lambda pictures: pictures.regrets,
        draw=gains.regret,
        caption=gains.regret_caption,
    ),
    Drawing(
        name="methods",
        heading="What other methods reach",
        alt="Test accuracy of the student and of other methods",
        slot="others",
        data=lambda pictures: pictures.methods if pictures.kind.features.references else (),
        draw=gains.methods,
        caption=lambda _: "The students are means over seeds, every other model is one run. Size: of its file.",
    ),
    Drawing(
        name="surface",
        alt="Where the searches looked",
        slot="searches",
        data=lambda pictures: pictures if pictures.surfaces and pictures.axes else (),
        draw=surface,
        caption=gains.surface_caption,
        wide=True,
    ),
)
"""In the order of the page."""


def figures_of(kind: TrainerKind) -> tuple[Drawing, ...]:
    """Return the figures of every sweep, then those of its trainer."""
    return (*FIGURES, *kind.report().figures)


def draw(pictures: Pictures) -> dict[str, str]:
    """Return every figure whose data is there, as SVG by its name, in the order of the page."""
    figures = figures_of(pictures.kind)
    with style():
        return {figure.name: as_svg(figure.draw(data)) for figure in figures if (data := figure.data(pictures))}


def blocks(pictures: Pictures) -> list[document.Figure]:
    """Return the same figures as parts of the page."""
    names = {"parameters": pictures.parameters, "without": pictures.kind.features.without}
    return [
        document.Figure(
            name=figure.name,
            alt=figure.alt.format(**names),
            caption=figure.caption(data),
            wide=figure.wide,
            heading=figure.heading.format(**names),
            slot=figure.slot,
        )
        for figure in figures_of(pictures.kind)
        if (data := figure.data(pictures))
    ]
