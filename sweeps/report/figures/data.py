"""What each figure shows, as plain values.

Accuracies are in percent. A part is empty where its data is not there yet, and is then not drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from sweeps.distill.arms import AUTOKERAS_ARM, CONTROLS, DEFAULT_POINTS, SCALED, UNTUNED
from sweeps.distill.cost import BreakEven
from sweeps.findings.findings import Findings
from sweeps.findings.load import accuracies, is_incomplete
from sweeps.findings.rows import Row
from sweeps.findings.surfaces import Surface
from sweeps.report.words import arm as arm_name
from sweeps.report.words import display_name
from sweeps.stats.estimates import Estimate, differences, estimate, percent
from sweeps.trainers.protocol import Point

# The colours of Okabe and Ito, which colour-blind readers can tell apart, and a grey.
# Source: https://jfly.uni-koeln.de/color/
BLACK, GREY = "#000000", "#767676"
ORANGE, SKY, BLUE, VERMILLION, PURPLE = "#e69f00", "#56b4e9", "#0072b2", "#d55e00", "#cc79a7"

# From low to high: light enough for marks in any colour, and darker is more in black and white, too.
SCALE = ("#f7fbff", "#c6dbef", "#6baed6", "#2171b5")


# As the figure of the gains shows them, from above.
_ORDER = (
    "native",
    "best",
    SCALED,
    "default-keras",
    "random",
    "default-paper",
    "default-keras-io",
    "scratch-tuned",
    *CONTROLS,
    AUTOKERAS_ARM,
)

# Untuned (temperature, alpha), marked on every surface.
DEFAULTS = {arm: DEFAULT_POINTS[arm] for arm in UNTUNED}


@dataclass(frozen=True)
class GainMark:
    """What an arm gains over no distillation on one dataset, accuracy points.

    arm: its key; label, detail: what it is called, and its T and alpha. seeds: of each seed; mean: over them, with its
    95 % t interval. base: test accuracy in percent of no distillation.
    """

    dataset: str
    arm: str
    label: str
    detail: str
    seeds: tuple[float, ...]
    mean: Estimate
    base: float


@dataclass(frozen=True)
class RegretMark:
    """The regret on a target beside its margin, accuracy points. searches: of each; one without further searches."""

    dataset: str
    mean: Estimate
    margin: float
    searches: tuple[float, ...]


@dataclass(frozen=True)
class MethodMark:
    """A model that a person would deploy. accuracy: of the test, percent; cost: its size and speed in words."""

    dataset: str
    label: str
    detail: str
    accuracy: float
    cost: str
    distilled: bool


Mark = TypeVar("Mark", GainMark, MethodMark)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Everything that is drawn. temperature, alpha: the ranges that were searched, low and high.

    gains: the targets first. break_even: AutoKeras against the sweep, where it ran two trials or more.
    """

    temperature: tuple[float, float]
    alpha: tuple[float, float]
    gains: tuple[GainMark, ...]
    regrets: tuple[RegretMark, ...]
    methods: tuple[MethodMark, ...]
    surfaces: tuple[Surface, ...]
    break_even: tuple[BreakEven, ...]


def pictures(findings: Findings) -> Pictures:
    """Return the pictures of a sweep, as far as it has come."""
    search = findings.spec.search
    return Pictures(
        temperature=search.temperature,
        alpha=search.alpha,
        gains=tuple(_gains(findings)),
        regrets=tuple(_regrets(findings)),
        methods=tuple(_methods(findings)),
        surfaces=tuple(surface for surface in findings.surfaces if surface.trials),
        break_even=tuple(even for even in findings.break_evens if len(even.curve) > 1),
    )


def by_dataset(marks: Sequence[Mark]) -> dict[str, list[Mark]]:
    """Return the marks by their dataset, in their order."""
    groups: dict[str, list[Mark]] = {}
    for mark in marks:
        groups.setdefault(mark.dataset, []).append(mark)
    return groups


def title(search: Surface) -> str:
    """Return what the searches on a dataset are called in a figure."""
    return f"{'Searches' if search.others else 'Search'} on {display_name(search.dataset)}"


def _gains(findings: Findings) -> list[GainMark]:
    spec, marks = findings.spec, []
    details = {(row.dataset, row.method): row.point for row in findings.rows}
    for role in findings.report_roles:
        dataset = spec.role(role).dataset
        if is_incomplete(findings.trainings, role):
            continue
        scratch = accuracies(findings.trainings, role, "scratch")
        for arm in _ORDER:
            values = differences(accuracies(findings.trainings, role, arm), scratch)
            mean = estimate(values)
            if mean is not None and arm in spec.arms(role):
                point = details.get((dataset, arm))
                detail = "a new draw per seed" if arm == "random" else "" if point is None else _point(point)
                label = arm_name(arm, source=spec.source.dataset, dataset=dataset)
                marks.append(GainMark(dataset, arm, label, detail, tuple(values), mean, fmean(scratch.values())))
    return marks


def _point(point: Point) -> str:
    more = "".join(f", {name} {value:.2g}" for name, value in point.more)
    return f"T {point.temperature:.3g}, α {point.alpha:.2g}{more}"


def _regrets(findings: Findings) -> list[RegretMark]:
    return [
        RegretMark(target.dataset, target.regret.estimate, target.verdict.margin, target.by_search)
        for target in findings.verdicts
        if target.regret is not None and target.verdict is not None
    ]


def _methods(findings: Findings) -> list[MethodMark]:
    """Return the student, distilled and not, its teacher and the baselines, the least accurate first.

    Of each target; of the source where there is none.
    """
    marks = []
    for role in findings.spec.targets or findings.spec.roles:
        dataset = findings.spec.role(role).dataset
        of_dataset = [mark for row in findings.rows if row.dataset == dataset and (mark := _method(findings, row))]
        marks += sorted(of_dataset, key=lambda mark: mark.accuracy)
    return marks


def _method(findings: Findings, row: Row) -> MethodMark | None:
    if row.test is None or (row.kind == "arm" and row.method not in ("best", "scratch")):
        return None
    label = {"best": "Student, distilled", "scratch": "Student, labels only"}.get(row.method, row.method)
    detail = ""
    if row.kind == "teacher":
        label, detail = "Its teacher", row.method.removeprefix("teacher ")
    return MethodMark(row.dataset, label, detail, percent(row.test.mean), _cost(row), row.method == "best")


def _cost(row: Row) -> str:
    measured = row.measured
    size = None if measured is None else measured.bytes
    latency = None if measured is None else measured.latency_ms_p50
    parts = [] if size is None else [f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} KB"]
    return ", ".join(parts if latency is None else [*parts, f"{latency:.2g} ms"])
