"""Hand-made parts of figures, for the tests of drawing. Imports no pytest."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from sweeps.distill.cost import BreakEven
from sweeps.distill.kind import KIND
from sweeps.findings.surfaces import SearchTrial, Surface
from sweeps.report.figures.data import Axis, GainMark, MethodMark, Plane, RegretMark
from sweeps.report.figures.svg import Drawing, figures_of
from sweeps.stats.estimates import Estimate, estimate
from sweeps.stats.top import SIDE, Top
from tests.support.points import at

FOUR = (
    SearchTrial(at(2, 0.2), 90, 0, True),
    SearchTrial(at(9, 0.3), 95, 1, True),
    SearchTrial(at(3, 0.8), 92, 2, False),
    SearchTrial(at(8, 0.9), 91, 3, False),
)
SEARCH = Surface(
    role="source",
    dataset="a$b$.npz",
    trials=FOUR,
    best=at(9, 0.3),
    tied=(at(3, 0.8),),
    optimism=1.0,
    others=(),
    top=None,
    parameters=("temperature", "alpha"),
)
FITTED = Top(
    share=0.1,
    low=0.05,
    high=0.2,
    tolerance=0.3,
    mean=tuple(tuple(-((x - 8) ** 2) / 64 - (y - 4) ** 2 / 64 for y in range(SIDE)) for x in range(SIDE)),
)
EVEN = BreakEven(
    dataset="digits", curve=((3, 60), (40, 72)), student=70, sweep_cpu_s=16, at=(60, 60, 72, None), even_at=40
)
WITH_EVEN = {"break_evens": [asdict(EVEN)]}
AXES = (
    Axis("temperature", 1, 20, log=True, title="temperature T"),
    Axis("alpha", 0, 1, log=False, title="alpha, weight of the labels"),
)
PLANE = Plane(
    axes=AXES,
    defaults=(("keras.io example", at(10, 0.1)), ("Keras default", at(3, 0.5))),
    surfaces=(SEARCH,),
)


def figures(**values: Any) -> list[tuple[Drawing, Any]]:
    """Return the figures of these data, given by name with _ for -, in the order of a page."""
    named = {name.replace("_", "-"): value for name, value in values.items()}
    return [(figure, named[figure.name]) for figure in figures_of(KIND) if figure.name in named]


def gain(arm: str, *seeds: float, dataset: str = "digits", detail: str = "") -> GainMark:
    return GainMark(dataset, arm, f"called {arm}", detail, seeds, mean(seeds), 65.0)


def regret(*searches: float, dataset: str = "digits", margin: float = 1.0) -> RegretMark:
    return RegretMark(dataset, mean(searches), margin, searches)


def method(label: str, accuracy: float, size: float = 1e6) -> MethodMark:
    """Return a model of another method. accuracy: percent; size: bytes."""
    return MethodMark("digits", label, "", mean([accuracy / 100]), size, is_reference=True)


def mean(values: Sequence[float]) -> Estimate:
    estimated = estimate(values)
    assert estimated is not None
    return estimated


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
