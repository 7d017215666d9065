"""What each figure shows, as plain values.

Accuracies are in percent. A part is empty where its data is not there yet, and is then not drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from sweeps.findings.findings import Findings
from sweeps.findings.load import accuracies, is_incomplete
from sweeps.findings.rows import Row
from sweeps.findings.surfaces import PLANE, Surface, ranges
from sweeps.plan.points import planned_arm
from sweeps.report import words
from sweeps.spec.model import Spec
from sweeps.stats.estimates import Estimate, differences, estimate, percent
from sweeps.trainers.protocol import Point

# The colours of Okabe and Ito, which colour-blind readers can tell apart, and a grey.
# Source: https://jfly.uni-koeln.de/color/
BLACK, GREY = "#000000", "#767676"
ORANGE, SKY, BLUE, VERMILLION, PURPLE = "#e69f00", "#56b4e9", "#0072b2", "#d55e00", "#cc79a7"

ARM_COLOURS = {"best": VERMILLION, "native": BLUE}  # any other arm is grey

# From low to high: light enough for marks in any colour, and darker is more in black and white, too.
SCALE = ("#f7fbff", "#c6dbef", "#6baed6", "#2171b5")


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
    without: str = "no distillation"
    untreated: str = "the undistilled network"


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


@dataclass(frozen=True)
class Axis:
    """A parameter that was searched, with its range. log: it is spread evenly in the logarithm."""

    name: str
    low: float
    high: float
    log: bool


@dataclass(frozen=True)
class Plane:
    """The searches over two parameters. defaults: label and point of what nobody tuned."""

    axes: tuple[Axis, ...]
    defaults: tuple[tuple[str, Point], ...]
    surfaces: tuple[Surface, ...]


def plane(findings: Findings) -> Plane | None:
    """Return the first two parameters; None before a trial has ended, and where one alone is searched."""
    spec = findings.spec
    axes = [Axis(name, bounds.low, bounds.high, bounds.log) for name, bounds in ranges(spec).items()][:PLANE]
    surfaces = tuple(surface for surface in findings.surfaces if surface.trials)
    if len(axes) < PLANE or not surfaces:
        return None
    planned = [spec.arm(key) for key in spec.kind.features.defaults]
    defaults = [(arm.label.removesuffix(", untuned"), planned_arm(spec, "source", arm.key)) for arm in planned]
    return Plane(tuple(axes), tuple(defaults), surfaces)


def parameters(spec: Spec) -> str:
    """Return what the plane is over, in words: "T and α"."""
    names, symbols = [*ranges(spec)][:PLANE], spec.kind.features.symbols
    return " and ".join(symbols.get(name, name) for name in names) if len(names) == PLANE else "values"


def by_dataset(marks: Sequence[Mark]) -> dict[str, list[Mark]]:
    groups: dict[str, list[Mark]] = {}
    for mark in marks:
        groups.setdefault(mark.dataset, []).append(mark)
    return groups


def title(search: Surface) -> str:
    return f"{'Searches' if search.others else 'Search'} on {words.display_name(search.dataset)}"


def gains(findings: Findings) -> list[GainMark]:
    """Return the gain of each arm over no distillation, the targets first."""
    spec, features, marks = findings.spec, findings.spec.kind.features, []
    untreated, names = features.untreated, (features.without, features.untreated_network)
    details = {(row.dataset, row.method): row.point for row in findings.rows}
    for role in findings.report_roles:
        dataset = spec.role(role).dataset
        if is_incomplete(findings.trainings, role):
            continue
        scratch = accuracies(findings.trainings, role, untreated)
        for arm in spec.kind.arms:
            values = differences(accuracies(findings.trainings, role, arm), scratch)
            mean = estimate(values)
            if arm != untreated and mean is not None and arm in spec.arms(role):
                point = details.get((dataset, arm))
                where = "" if point is None else point.brief(features.symbols)
                detail = "a new draw per seed" if arm == "random" else where
                label = words.arm(spec, arm, dataset)
                marks.append(
                    GainMark(dataset, arm, label, detail, tuple(values), mean, fmean(scratch.values()), *names)
                )
    return marks


def regrets(findings: Findings) -> list[RegretMark]:
    return [
        RegretMark(target.dataset, target.regret.estimate, target.verdict.margin, target.by_search)
        for target in findings.verdicts
        if target.regret is not None and target.verdict is not None
    ]


def methods(findings: Findings) -> list[MethodMark]:
    """Return the student, distilled and not, its teacher and the baselines of each target, the least accurate first."""
    marks = []
    for role in findings.spec.targets or findings.spec.roles:
        dataset = findings.spec.role(role).dataset
        of_dataset = [mark for row in findings.rows if row.dataset == dataset and (mark := _method(findings, row))]
        marks += sorted(of_dataset, key=lambda mark: mark.accuracy)
    return marks


def _method(findings: Findings, row: Row) -> MethodMark | None:
    if row.test is None or (row.kind == "arm" and row.method not in ("best", findings.spec.kind.features.untreated)):
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
