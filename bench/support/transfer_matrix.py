"""What a tuned point keeps on another dataset: shares of native's gain over sweeps, a matrix of regrets, a figure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure

from sweeps.analysis.secondary import ratio
from sweeps.report.figures.style import as_svg, style
from sweeps.stats.estimates import Estimate, estimate, limits

ARMS = {
    "best": "tuned on another dataset",
    "best-scaled": "the same, T scaled by the teacher's logit spread",
    "default-keras": "Keras' untuned default",
}


@dataclass(frozen=True)
class Line:
    """One training on fresh seeds. sweep: its name; test_accuracy: a fraction in [0, 1]."""

    sweep: str
    source: str
    dataset: str
    student: str
    teacher: str
    arm: str
    repeat: int
    temperature: float
    alpha: float
    test_accuracy: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One ordered pair of datasets in one sweep: the mean gain over scratch of each arm, accuracy points."""

    sweep: str
    source: str
    target: str
    gains: Mapping[str, float]


def pairs(lines: Iterable[Line]) -> list[Pair]:
    """Return the pairs of every sweep, as far as they have native and scratch; gains are paired by seed."""
    accuracies: dict[tuple[str, str, str], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines:
        if line.dataset != line.source:
            accuracies[line.sweep, line.source, line.dataset][line.arm][line.repeat] = 100 * line.test_accuracy
    found = []
    for (sweep, source, target), arms in accuracies.items():
        scratch, gains = arms["scratch"], {}
        for arm in ("native", *ARMS):
            shared = arms[arm].keys() & scratch.keys()
            if shared:
                gains[arm] = fmean(arms[arm][repeat] - scratch[repeat] for repeat in sorted(shared))
        if {"native", *ARMS} <= gains.keys():
            found.append(Pair(sweep=sweep, source=source, target=target, gains=gains))
    return found


def kept(found: Sequence[Pair], arm: str) -> Estimate | None:
    """Return the share of native's gain that an arm keeps, with its 95 % interval over sweeps.

    A sweep is one unit: its pairs share a search on the source and its teachers. The interval is Fieller's, of the
    ratio of two means; without bounds where native is not shown to gain.
    """
    return ratio(list(by_sweep(found, arm).values()), list(by_sweep(found, "native").values()))


def by_sweep(found: Iterable[Pair], arm: str, less: str | None = None) -> dict[str, float]:
    """Return what an arm gains over `less`, or over no distillation, by sweep: the mean of its pairs, in points."""
    values: dict[str, list[float]] = defaultdict(list)
    for pair in found:
        values[pair.sweep].append(pair.gains[arm] - (pair.gains[less] if less else 0.0))
    return {sweep: fmean(group) for sweep, group in values.items()}


def temperatures(lines: Iterable[Line], above: Sequence[str], below: Sequence[str] = ()) -> Estimate | None:
    """Return how many times the T tuned on the datasets `above` is that tuned on those `below`; without these, T.

    Geometric means of a sweep's searches, then over sweeps, paired; the interval is Student's t of the logarithms.
    """
    logs: dict[str, dict[str, float]] = defaultdict(dict)
    for line in lines:
        if line.arm == ("best" if line.dataset == line.source else "native"):
            logs[line.sweep][line.dataset] = math.log(line.temperature)
    found = estimate(
        [
            fmean(of[name] for name in above) - (fmean(of[name] for name in below) if below else 0.0)
            for of in logs.values()
            if {*above, *below} <= of.keys()
        ]
    )
    if found is None or found.low is None or found.high is None:
        return None
    return Estimate(math.exp(found.mean), math.exp(found.low), math.exp(found.high), found.n)


def regrets(found: Sequence[Pair], arm: str = "best") -> dict[tuple[str, str], Estimate]:
    """Return native - arm for each ordered pair of datasets, accuracy points, with a t interval over its sweeps."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for pair in found:
        values[pair.source, pair.target].append(pair.gains["native"] - pair.gains[arm])
    means = {place: estimate(group) for place, group in values.items()}
    return {place: mean for place, mean in means.items() if mean is not None}


def matrix(found: Mapping[tuple[str, str], Estimate], names: Sequence[str]) -> str:
    """Draw the regret of every ordered pair as SVG: darker is more lost; mean and interval stand in each cell."""
    with style():
        figure = Figure(figsize=(1.6 + 1.5 * len(names), 1.2 + 0.9 * len(names)))
        axes = figure.add_axes((0.24, 0.1, 0.74, 0.72))
        values = np.full((len(names), len(names)), math.nan)
        for (source, target), regret in found.items():
            values[names.index(source), names.index(target)] = regret.mean
        limit = max(1.0, float(np.nanmax(np.abs(values))) if found else 1.0)
        axes.imshow(values, cmap="RdBu_r", vmin=-2 * limit, vmax=2 * limit, aspect="auto")
        for row, source in enumerate(names):
            for column, target in enumerate(names):
                cell = found.get((source, target))
                text = "" if source == target else "not yet" if cell is None else f"{cell.mean:+.2f}"
                axes.text(column, row - 0.12, text, ha="center", va="center", fontsize=11)
                if cell is not None and (ends := limits(cell)):
                    interval = f"{ends[0]:+.1f} to {ends[1]:+.1f}"
                    axes.text(column, row + 0.2, interval, ha="center", va="center", fontsize=8)
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(names)), names)
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.set_xlabel("used on")
        figure.text(0.61, 0.04, "points lost by not tuning there, 95 % interval over sweeps", ha="center")
        axes.set_ylabel("tuned on")
        axes.tick_params(length=0)
        return as_svg(figure)
