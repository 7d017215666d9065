"""What the figures show, as plain values: computed once, drawn by `svg` for pages and by `plotly_figures`.

Accuracies are in percent. A part is empty where its data is not there yet, and is then not drawn.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from sweeps.analysis.comparison import Row
from sweeps.analysis.cost import BreakEven
from sweeps.analysis.findings import Findings
from sweeps.analysis.surfaces import Surface
from sweeps.analysis.trainings import accuracies
from sweeps.analysis.units import percent
from sweeps.spec.arms import DEFAULT_POINTS
from sweeps.stats.estimates import Estimate, estimate
from sweeps.stats.pareto import pareto_front

# The colours of Okabe and Ito, which colour-blind readers can tell apart, and a grey.
# Source: https://jfly.uni-koeln.de/color/
BLACK, GREY = "#000000", "#767676"
ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7"

# From low to high: light enough for marks in any colour, and darker is more in black and white, too.
SCALE = ("#f7fbff", "#c6dbef", "#6baed6", "#2171b5")


# Untuned (temperature, alpha), marked on every surface.
DEFAULTS = {arm: DEFAULT_POINTS[arm] for arm in ("default-keras-io", "default-keras")}


@dataclass(frozen=True)
class ArmMark:
    """One arm of transfer on one dataset. seeds: test accuracy of each; mean: over them, with its 95 % t interval."""

    dataset: str
    arm: str
    seeds: tuple[float, ...]
    mean: Estimate


@dataclass(frozen=True)
class CostMark:
    """One method on one dataset. kind: "teacher", "arm" or "baseline". on_front: nothing there dominates it."""

    dataset: str
    method: str
    kind: str
    cost: float
    accuracy: float
    on_front: bool


Mark = TypeVar("Mark", ArmMark, CostMark)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Everything that is drawn.

    temperature, alpha: the ranges that were searched, low and high. latency: cost in ms, p50; training: cost in s, with
    that of its teacher and its search. break_even: AutoKeras against the sweep, where it ran.
    """

    temperature: tuple[float, float]
    alpha: tuple[float, float]
    surfaces: tuple[Surface, ...]
    arms: tuple[ArmMark, ...]
    latency: tuple[CostMark, ...]
    training: tuple[CostMark, ...]
    break_even: tuple[BreakEven, ...]


def pictures(findings: Findings) -> Pictures:
    """Return the pictures of a sweep, as far as it has come."""
    rows, search = findings.rows, findings.spec.search
    latencies = [None if row.measured is None else row.measured.latency_ms_p50 for row in rows]
    seconds = [None if row.train_s is None else row.train_s + (row.shared_s or 0.0) for row in rows]
    return Pictures(
        temperature=search.temperature,
        alpha=search.alpha,
        surfaces=tuple(surface for surface in findings.surfaces if surface.trials),
        arms=tuple(_arms(findings)),
        latency=_costs(findings, latencies),
        training=_costs(findings, seconds),
        break_even=findings.break_evens,
    )


def by_dataset(marks: Sequence[Mark]) -> dict[str, list[Mark]]:
    """Return the marks by their dataset, in their order."""
    found: dict[str, list[Mark]] = {}
    for mark in marks:
        found.setdefault(mark.dataset, []).append(mark)
    return found


def best_so_far(surface: Surface) -> list[float]:
    """Return the highest accuracy of a search after each of its trials, in percent."""
    return list(accumulate((trial.accuracy for trial in surface.trials), max))


def short(dataset: str) -> str:
    """Return the name of a dataset for a title: of a path, the file's."""
    name = re.split(r"[/\\]", dataset)[-1]
    return name if len(name) <= 32 else f"{name[:29]}..."


def title(search: Surface) -> str:
    """Return what a search is called in a figure."""
    return f"{'search' if search.role == 'source' else 'native search'} on {short(search.dataset)}"


def _arms(findings: Findings) -> list[ArmMark]:
    marks = []
    for role in findings.spec.roles:
        for arm in findings.spec.transfer.arms(role):
            seeds = tuple(accuracies(findings.trainings, role, arm).values())
            mean = estimate(seeds)
            if mean is not None:
                marks.append(ArmMark(findings.spec.role(role).dataset, arm, seeds, mean))
    return marks


def _costs(findings: Findings, costs: Sequence[float | None]) -> tuple[CostMark, ...]:
    """Return the rows whose cost and test accuracy are known, source first, each dataset with a front of its own."""
    marks: list[CostMark] = []
    for role in findings.spec.roles:
        dataset = findings.spec.role(role).dataset
        known = [
            (*_method(findings, row), cost, round(percent(row.test.mean), 9))  # equal but for rounding is equal
            for row, cost in zip(findings.rows, costs, strict=True)
            if cost and row.test is not None and row.dataset == dataset
        ]
        front = pareto_front([(cost, accuracy) for *_, cost, accuracy in known])
        marks += [CostMark(dataset, *one, on_front=index in front) for index, one in enumerate(known)]
    return tuple(marks)


def _method(findings: Findings, row: Row) -> tuple[str, str]:
    """Return what a method is called in a figure, and its kind."""
    if row.method.startswith("teacher "):
        teacher, _, *tag = row.method.split()
        return " ".join([teacher, *tag]), "teacher"
    return row.method, "baseline" if row.method in findings.spec.baselines.methods else "arm"
