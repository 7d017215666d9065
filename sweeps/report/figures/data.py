"""The data of each figure as plain values.

Differences are in the displayed unit. Data that does not exist yet is empty, and its figure is not drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from sweeps.findings.findings import Findings
from sweeps.findings.load import is_incomplete, scaled_scores
from sweeps.findings.rows import Row
from sweeps.findings.surfaces import PLANE, Surface, ranges
from sweeps.plan.points import planned_arm
from sweeps.report import choice, words
from sweeps.spec.model import Spec
from sweeps.stats.advice import StrategyName
from sweeps.stats.estimates import FEWEST_RUNS, Estimate, differences, estimate, percent
from sweeps.terminal import joined
from sweeps.trainers.protocol import Point
from sweeps.trainers.score import ACCURACY, Score

# The colours of Okabe and Ito, which colour-blind readers can distinguish, and a grey.
# Source: https://jfly.uni-koeln.de/color/
BLACK, GREY = "#000000", "#767676"
BLUE, VERMILLION, PURPLE = "#0072b2", "#d55e00", "#cc79a7"

ARM_COLOURS = {"best": VERMILLION, "native": BLUE}  # any other arm is grey
STRATEGY_COLOURS: Mapping[StrategyName, str] = {"default": GREY, "elsewhere": VERMILLION, "here": BLUE}

# From low to high: light enough for marks in any colour; darker means more in black and white, too.
SCALE = ("#f7fbff", "#c6dbef", "#6baed6", "#2171b5")


@dataclass(frozen=True)
class GainMark:
    """The gain of an arm over no distillation on one dataset.

    arm: its key. detail: its T and alpha. seeds: the gain for each seed. mean: with its 95 % t interval. base: test
    score without distillation.
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
    score: Score = ACCURACY
    tested: str = "test images"


@dataclass(frozen=True)
class RegretMark:
    """The regret on a target and its margin. searches: the regret of each search."""

    dataset: str
    mean: Estimate
    margin: float
    searches: tuple[float, ...]
    score: Score = ACCURACY


@dataclass(frozen=True)
class MethodMark:
    """A model to deploy. test: its stored score. size: of its file, in bytes.

    detail: its name, or the limits of its search. distilled: whether the sweep tuned it. is_reference: whether another
    method made it.
    """

    dataset: str
    label: str
    detail: str
    test: Estimate
    size: float
    score: Score = ACCURACY
    distilled: bool = False
    is_reference: bool = False


Mark = TypeVar("Mark", GainMark, MethodMark)


@dataclass(frozen=True, kw_only=True)
class Strategies:
    """The strategies, cheapest first, on one scale.

    is_share: whether the scale is the share of the gain; else differences, labelled axis. enough: from where a strategy
    is good enough, or None. zero: label of the scale's 0. scope: of the numbers.
    """

    rows: tuple[choice.StrategyRow, ...]
    is_share: bool
    enough: float | None
    enough_label: str
    zero: str
    scope: str
    axis: str


def strategies(findings: Findings) -> Strategies | None:
    """Return the strategies on the dataset of the answer; None before they can be compared."""
    role = next(iter(findings.choices), None)
    if role is None or role.choice is None:
        return None
    made, rows = role.choice, tuple(row for row in choice.rows(findings, role) if row.value is not None)
    if not rows:
        return None
    is_share = all(strategy.share is not None for strategy in made.strategies)
    enough, label, here = None, "", rows[-1].value
    if is_share and made.margin_share:
        enough = 1 - made.margin_share
        label = f"good enough: at least {percent(enough):.0f} % of the gain"
    elif made.gain is None and made.searches >= FEWEST_RUNS and here is not None:
        enough = here.mean - made.margin
        label = f"good enough: at most {words.counted(findings.spec.score, made.margin)} less than tuned here"
    zero = choice.baseline(findings.spec, made)
    return Strategies(
        rows=rows,
        is_share=is_share,
        enough=enough,
        enough_label=label,
        zero=zero,
        scope=choice.scope(findings, role),
        axis=findings.spec.score.over(zero, "test"),
    )


@dataclass(frozen=True)
class Axis:
    """A searched parameter with its range. log: whether it is log-uniform. title: of the axis; "" for its name."""

    name: str
    low: float
    high: float
    log: bool
    title: str = ""


@dataclass(frozen=True)
class Plane:
    """The searches over two parameters. defaults: label and point of each untuned default. score: of the trials."""

    axes: tuple[Axis, ...]
    defaults: tuple[tuple[str, Point], ...]
    surfaces: tuple[Surface, ...]
    score: Score = ACCURACY


def plane(findings: Findings) -> Plane | None:
    """Return the searches over the first two parameters; None before a trial has ended or with one parameter."""
    spec = findings.spec
    titles, searched = spec.kind.features.axes, ranges(spec).items()
    axes = [Axis(name, part.low, part.high, part.log, titles.get(name, "")) for name, part in searched][:PLANE]
    surfaces = tuple(surface for surface in findings.surfaces if surface.trials)
    if len(axes) < PLANE or not surfaces:
        return None
    planned = sorted(map(spec.arm, spec.kind.features.defaults), key=lambda arm: arm.standard)  # each keeps its marker
    defaults = [(arm.label.removesuffix(", untuned"), planned_arm(spec, "source", arm.key)) for arm in planned]
    return Plane(tuple(axes), tuple(defaults), surfaces, spec.score)


def parameters(spec: Spec) -> str:
    """Return the parameters of the plane in words: "T and α"."""
    names, symbols = [*ranges(spec)][:PLANE], spec.kind.features.symbols
    return joined(symbols.get(name, name) for name in names) if len(names) == PLANE else "values"


def by_dataset(marks: Sequence[Mark]) -> dict[str, list[Mark]]:
    groups: dict[str, list[Mark]] = {}
    for mark in marks:
        groups.setdefault(mark.dataset, []).append(mark)
    return groups


def gains(findings: Findings) -> list[GainMark]:
    """Return the gain of each arm over no distillation, targets first."""
    spec, features, marks = findings.spec, findings.spec.kind.features, []
    names = features.without, features.untreated_network, spec.score, features.tested
    details = {(row.dataset, row.method): row.point for row in findings.rows}
    for role in findings.report_roles:
        dataset = spec.role(role).dataset
        if is_incomplete(findings.trainings, role):
            continue
        untreated = spec.counted_from(role)
        scratch = scaled_scores(findings, role, untreated)
        for arm in spec.kind.arms:
            values = differences(scaled_scores(findings, role, arm), scratch)
            mean = estimate(values)
            if arm != untreated and mean is not None and arm in spec.arms(role):
                point = details.get((dataset, arm))
                where = "" if point is None else point.brief(features.symbols)
                detail = "a new draw per seed" if arm == "random" else where
                base = fmean(scratch.values())
                mark = GainMark(dataset, arm, words.arm(spec, arm, dataset), detail, tuple(values), mean, base, *names)
                marks.append(mark)
    return marks


def regrets(findings: Findings) -> list[RegretMark]:
    """Return the regrets of a sweep under an older rule; rule 3 has the figure of the strategies."""
    if findings.choices:
        return []
    return [
        RegretMark(target.dataset, target.regret.estimate, target.verdict.margin, target.by_search, findings.spec.score)
        for target in findings.verdicts
        if target.regret is not None and target.verdict is not None
    ]


def methods(findings: Findings) -> list[MethodMark]:
    """Return the measured models on each target: the student, distilled or not, its teacher, other methods."""
    marks = []
    for role in findings.spec.targets or findings.spec.roles:
        dataset = findings.spec.role(role).dataset
        rows = [row for row in findings.rows if row.dataset == dataset]
        of_dataset = [mark for row in rows if (mark := _method(findings, role, row)) is not None]
        marks += sorted(of_dataset, key=lambda mark: mark.test.mean)
    return marks


def _method(findings: Findings, role: str, row: Row) -> MethodMark | None:
    spec, size = findings.spec, None if row.measured is None else row.measured.bytes
    if row.test is None or not size:
        return None
    if row.kind == "arm" and row.method not in ("best", spec.untreated_arm(role)):
        return None
    label, detail = words.model(spec, role, row)
    is_reference, is_best = row.kind == "baseline", row.method == "best"
    return MethodMark(row.dataset, label, detail, row.test, size, spec.score, is_best, is_reference)
