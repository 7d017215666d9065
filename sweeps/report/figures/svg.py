"""Draw the figures of a written report as SVG. No two things differ by colour alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeps.findings.findings import Findings
from sweeps.findings.surfaces import Surface
from sweeps.report import document
from sweeps.report.figures import data, gains
from sweeps.report.figures.data import BLACK, GREY, ORANGE, SCALE, SKY, VERMILLION, Axis, Plane, title
from sweeps.report.figures.style import as_svg, logarithmic, panels, style
from sweeps.spec.model import Spec
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


def surface(plane: Plane) -> Figure:
    """Draw where the searches looked, and the surface that was fitted to all of them; a panel for each dataset.

    Without enough searches for a fit there are points alone: contours through single runs would show their luck.
    """
    figure, grid = panels([title(search) for search in plane.surfaces], height=4.6)
    x, y = plane.axes
    across, along = ([axis.low, axis.high, *_values(plane.defaults, axis.name)] for axis in plane.axes)
    untuned = [(_dot(label, *_UNTUNED[i % 2]), point) for i, (label, point) in enumerate(plane.defaults)]
    kinds: list[_Look] = []
    for axes, search in zip(grid, plane.surfaces, strict=True):
        _scale(axes, x, across)
        axes.set_ylim(min(along) - 0.04 * (y.high - y.low or 1), max(along) + 0.04 * (y.high - y.low or 1))
        if search.top is not None:
            label = "points above the mean of all runs"
            figure.colorbar(_contours(axes, search, plane), ax=axes, label=label, format="%.2g")
        kinds += _trials(axes, search, x.name, y.name)
        for look, default in untuned:
            axes.plot(default[x.name], default[y.name], **look, zorder=5)
        for tied in search.tied:
            axes.plot(tied[x.name], tied[y.name], **_TIED, zorder=6)
        if search.best is not None:
            axes.plot(search.best[x.name], search.best[y.name], **_BEST, zorder=7)
        axes.set_xlabel(_AXES.get(x.name, x.name))
        axes.set_ylabel(_AXES.get(y.name, y.name))
    tied_kind = [_TIED] if any(search.tied for search in plane.surfaces) else []
    unique = {kind["label"]: kind for kind in [*kinds, _BEST, *tied_kind, *(look for look, _ in untuned)]}
    handles = [Line2D([], [], **kind) for kind in unique.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
    return figure


def _contours(axes: Axes, search: Surface, plane: Plane) -> Any:
    assert search.top is not None
    place = (np.arange(SIDE) + 0.5) / SIDE
    x, y = (
        axis.low * (axis.high / axis.low) ** place if axis.log else axis.low + (axis.high - axis.low) * place
        for axis in plane.axes
    )
    return axes.contourf(x, y, np.array(search.top.mean).T, levels=10, cmap=_MAP)


def _values(points: Sequence[tuple[str, Point]], name: str) -> list[float]:
    return [point[name] for _, point in points]


def _scale(axes: Axes, axis: Axis, values: Sequence[float]) -> None:
    if axis.log:
        logarithmic(axes, min(values) / 1.12, max(values) * 1.12)
    else:
        room = 0.04 * (max(values) - min(values) or 1)
        axes.set_xlim(min(values) - room, max(values) + room)


def _trials(axes: Axes, search: Surface, x: str, y: str) -> list[_Look]:
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
    in heading {parameters} and {without} are filled in. slot: its part of the page, see `sweeps.report.page.page`.
    """

    name: str
    alt: str
    slot: str
    data: Callable[[Findings], Any]
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
        data=data.gains,
        draw=gains.gains,
        caption=gains.gains_caption,
    ),
    Drawing(
        name="regret",
        alt="The regret beside its margin",
        slot="regret",
        data=data.regrets,
        draw=gains.regret,
        caption=gains.regret_caption,
    ),
    Drawing(
        name="methods",
        heading="What other methods reach",
        alt="Test accuracy of the student and of other methods",
        slot="others",
        data=lambda findings: data.methods(findings) if findings.spec.kind.features.references else [],
        draw=gains.methods,
        caption=lambda _: "The students are means over seeds, every other model is one run. Size: of its file.",
    ),
    Drawing(
        name="surface",
        alt="Where the searches looked",
        slot="searches",
        data=data.plane,
        draw=surface,
        caption=gains.surface_caption,
        wide=True,
    ),
)
"""In the order of the page."""


def figures_of(kind: TrainerKind) -> tuple[Drawing, ...]:
    return (*FIGURES, *kind.report().figures)


def with_data(findings: Findings) -> list[tuple[Drawing, Any]]:
    """Return every figure whose data is there, with it, in the order of the page."""
    figures = [(figure, figure.data(findings)) for figure in figures_of(findings.spec.kind)]
    return [(figure, values) for figure, values in figures if values]


def draw(figures: Iterable[tuple[Drawing, Any]]) -> dict[str, str]:
    """Return figures as SVG by their names."""
    with style():
        return {figure.name: as_svg(figure.draw(values)) for figure, values in figures}


def blocks(spec: Spec, figures: Iterable[tuple[Drawing, Any]]) -> list[document.Figure]:
    """Return the same figures as parts of the page."""
    names = {"parameters": data.parameters(spec), "without": spec.kind.features.without}
    return [
        document.Figure(
            name=figure.name,
            alt=figure.alt.format(**names),
            caption=figure.caption(values),
            wide=figure.wide,
            heading=figure.heading.format(**names),
            slot=figure.slot,
        )
        for figure, values in figures
    ]
