"""Draw the figures of a report as SVG; nothing differs by colour alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from sweeps.findings.findings import Findings
from sweeps.report import document
from sweeps.report.figures import data, gains, methods, strategies, surface
from sweeps.report.figures.style import as_svg, style
from sweeps.spec.model import Spec
from sweeps.trainers.protocol import TrainerKind

_NARROW = "-narrow"  # suffix of a figure drawn for a phone


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure of the page: data, drawing, heading, caption.

    data: the figure is left out if it is empty. alt: text for readers who cannot see it; in it and in heading,
    {parameters}, {without} and {score} are filled in. title: makes the heading from the data. slot: part of the page,
    see `sweeps.report.page.page`. narrow: draws it for a phone, on which the wide one would be too small.
    """

    name: str
    alt: str
    slot: str
    data: Callable[[Findings], Any]
    draw: Callable[[Any], Figure]
    caption: Callable[[Any], str]
    heading: str = ""
    title: Callable[[Any], str] | None = None
    wide: bool = False
    narrow: Callable[[Any], Figure] | None = None


FIGURES = (
    Drawing(
        name="strategies",
        alt="What each strategy keeps of the gain",
        slot="strategies",
        data=data.strategies,
        draw=strategies.strategies,
        narrow=strategies.narrow,
        caption=strategies.caption,
        wide=True,
    ),
    Drawing(
        name="gains",
        heading="What each choice of {parameters} gains",
        alt="Gain of each arm over {without}",
        slot="gains",
        data=data.gains,
        draw=gains.gains,
        narrow=gains.gains_narrow,
        caption=gains.gains_caption,
    ),
    Drawing(
        name="regret",
        alt="The regret and its margin",
        slot="regret",
        data=data.regrets,
        draw=gains.regret,
        narrow=gains.regret_narrow,
        caption=gains.regret_caption,
    ),
    Drawing(
        name="surface",
        alt="Where the searches looked",
        slot="surfaces",
        data=data.plane,
        draw=surface.surface,
        narrow=surface.narrow,
        caption=surface.caption,
        title=surface.heading,
        wide=True,
    ),
    Drawing(
        name="methods",
        alt="Test {score} of the student and of other methods against the size of their files",
        slot="others",
        data=lambda findings: data.methods(findings) if findings.spec.kind.features.references else [],
        draw=methods.methods,
        narrow=methods.narrow,
        caption=methods.caption,
        title=methods.heading,
        wide=True,
    ),
)
"""In the order of the page."""


def figures_of(kind: TrainerKind) -> tuple[Drawing, ...]:
    return (*FIGURES, *kind.report().figures)


def with_data(findings: Findings) -> list[tuple[Drawing, Any]]:
    """Return every figure that has data, and its data, in the order of the page."""
    figures = [(figure, figure.data(findings)) for figure in figures_of(findings.spec.kind)]
    return [(figure, values) for figure, values in figures if values]


def draw(figures: Iterable[tuple[Drawing, Any]], *, narrow: bool = True) -> dict[str, str]:
    """Return figures as SVG by name; narrow: also those for a phone."""
    drawn = {}
    with style():
        for figure, values in figures:
            drawn[figure.name] = as_svg(figure.draw(values))
            if narrow and figure.narrow is not None:
                drawn[figure.name + _NARROW] = as_svg(figure.narrow(values))
    return drawn


def names(kind: TrainerKind) -> list[str]:
    """Return the names of all figures that `draw` may return."""
    return [
        name
        for figure in figures_of(kind)
        for name in (figure.name, *([figure.name + _NARROW] if figure.narrow is not None else []))
    ]


def blocks(spec: Spec, figures: Iterable[tuple[Drawing, Any]]) -> list[document.Figure]:
    """Return the figures as parts of the page."""
    filled = {"score": spec.score.name, "parameters": data.parameters(spec), "without": spec.kind.features.without}
    return [
        document.Figure(
            name=figure.name,
            alt=figure.alt.format(**filled),
            caption=figure.caption(values),
            wide=figure.wide,
            heading=figure.heading.format(**filled) if figure.title is None else figure.title(values),
            slot=figure.slot,
            narrow="" if figure.narrow is None else figure.name + _NARROW,
        )
        for figure, values in figures
    ]
