"""Is a higher T better on CIFAR-10's halves because they have colours, or because they have few classes?

    python bench/studies/kinds.py [--part NAME ...] [--list | --declare | --page] [--storage DIR] [--workers N]

A part is one student with one teacher on four datasets. Question and formulas are in
bench/results/studies/kinds/declared.md, written before the first training; the page is computed from the CSVs alone.
"""

import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the benches are no package

from support.page import table
from support.parts import Done, Part, Study, Trainings, main, spec_of
from sweeps.report.figures.forest import Mark, Panel
from sweeps.stats.estimates import Estimate, estimate
from sweeps.trainers.score import Score

_GREY, _COLOUR = {"teacher_epochs": 15, "epochs": 15}, {"teacher_epochs": 18, "epochs": 12}
# By names on the page: the dataset, and its recipe, that of preset quick.
DATASETS = {
    "mnist": ("mnist", _GREY),
    "fashion_mnist": ("fashion_mnist", _GREY),
    "cifar10": ("cifar10", _COLOUR),
    "cifar10-grey": ("support.halves:cifar10_grey", _COLOUR),
    "mnist-four": ("support.halves:mnist_four", _GREY),
    "mnist-six": ("support.halves:mnist_six", _GREY),
    "fashion-four": ("support.halves:fashion_four", _GREY),
    "fashion-six": ("support.halves:fashion_six", _GREY),
}
SETS = {"whole": list(DATASETS)[:4], "cut": list(DATASETS)[4:]}
STUDENTS, TEACHERS = ("keras-student", "cnn-small-narrow"), ("cnn-small", "resnet8")
NETWORKS = [f"{student}-{teacher}" for student, teacher in product(STUDENTS, TEACHERS)]
_FOUR, _SIX = ("mnist-four", "fashion-four"), ("mnist-six", "fashion-six")
WHOLE = ("mnist", "fashion_mnist")


@dataclass(frozen=True)
class Contrast:
    """T on the datasets `above` divided by T on those `below`. cause: the difference between them."""

    cause: str
    above: Sequence[str]
    below: Sequence[str]


PRIMARY = (
    Contrast("colour: three channels, one", ("cifar10",), ("cifar10-grey",)),
    Contrast("classes: four and six, ten", (*_FOUR, *_SIX), WHOLE),
)
BESIDE = (
    Contrast("classes: four, six", _FOUR, _SIX),
    Contrast("images: CIFAR-10, the others, ten classes each", ("cifar10",), WHOLE),
    Contrast("images: CIFAR-10 in grey, the others, ten classes each", ("cifar10-grey",), WHOLE),
)


def changes(student: str, teacher: str, names: Sequence[str], seed: int, done: Done, place: Path) -> Mapping[str, Any]:
    """Return the spec of a part. Both sets of a pair of networks share their seed, and so their points."""
    roles = {
        role: {
            "dataset": DATASETS[name][0],
            "name": name if DATASETS[name][0] != name else "",
            "images": 4_000,
            "teacher": teacher,
            "student": student,
            **DATASETS[name][1],
        }
        for role, name in zip(("source", "target", "target2", "target3"), names, strict=True)
    }
    return spec_of(roles, seed=seed, trials=10, rounds=[(4, 1), (2, 2)], searches=2, seeds=1, arms=("native",))


def parts() -> dict[str, Part]:
    pairs = list(product(STUDENTS, TEACHERS))
    return {
        f"{student}-{teacher}-{which}": Part(changes=partial(changes, student, teacher, names, 2910 + number))
        for which, names in SETS.items()
        for number, (student, teacher) in enumerate(pairs)
    }


def chosen(trained: Trainings, dataset: str, search: int) -> float:
    """Return the T that a search confirmed: the best mean among the points with the most confirming trainings."""
    scores: dict[tuple[float, float], list[float]] = defaultdict(list)
    for row in trained:
        if (row.stage, row.dataset, row.search) == ("confirm", dataset, search):
            scores[row.point].append(row.validation)
    most = max(map(len, scores.values()))
    return max((point for point in scores if len(scores[point]) == most), key=lambda point: fmean(scores[point]))[0]


def log_temperatures(done: Done) -> dict[str, dict[str, float]]:
    """Average log T over the searches, by pair of networks and dataset."""
    logs: dict[str, dict[str, float]] = {networks: {} for networks in NETWORKS}
    for part, trained in done.items():
        networks = part.rpartition("-")[0]
        for dataset in dict.fromkeys(row.dataset for row in trained):
            searches = sorted({row.search for row in trained if row.dataset == dataset})
            logs[networks][dataset] = fmean(math.log(chosen(trained, dataset, search)) for search in searches)
    return logs


def ratio(logs: Mapping[str, Mapping[str, float]], above: Sequence[str], below: Sequence[str] = ()) -> Estimate | None:
    """Estimate the logarithm of T above / T below, or of T above, with a t interval over pairs of networks."""
    return estimate(
        [
            fmean(of[name] for name in above) - (fmean(of[name] for name in below) if below else 0.0)
            for of in logs.values()
            if {*above, *below} <= of.keys()
        ]
    )


def times(value: Estimate | None) -> str:
    if value is None:
        return "missing"
    if value.low is None or value.high is None:
        return f"{math.exp(value.mean):.2f} (n={value.n})"
    return f"{math.exp(value.mean):.2f} [{math.exp(value.low):.2f}, {math.exp(value.high):.2f}] (n={value.n})"


def answer(value: Estimate | None) -> str:
    if value is None or value.low is None or value.high is None:
        return "missing"
    return "higher" if value.low > 0 else "lower" if value.high < 0 else "not told apart"


def page(done: Done) -> str:
    logs = log_temperatures(done)
    complete = set(parts()) <= set(done)
    words = {contrast.cause: answer(ratio(logs, contrast.above, contrast.below)) for contrast in PRIMARY}
    colour, classes = words.values()
    first = f"T with colours: {colour}; T with fewer classes: {classes}." if complete else "Not complete."
    rows = [
        [title, contrast.cause, times(mean := ratio(logs, contrast.above, contrast.below)), answer(mean)]
        for title, contrasts in (("primary", PRIMARY), ("beside", BESIDE))
        for contrast in contrasts
    ]
    return f"""# Which T on which kind of dataset?

**{first}**

Ratios of geometric means of the tuned T; intervals are 95 % t intervals of log T over the four pairs of student and
teacher, two searches each, paired.

{table(["", "first over second", "ratio of T", "T of the first"], rows)}

## T by dataset

{table(["dataset", "T, geometric mean"], [[f"`{name}`", times(ratio(logs, [name]))] for name in DATASETS])}

The images are old, and CIFAR-10's classes are not cut here: of its halves the transfer study tuned T, 8.8 and 7.7."""


def doublings(value: Estimate) -> Estimate:
    low, high = (None if end is None else end / math.log(2) for end in (value.low, value.high))
    return Estimate(value.mean / math.log(2), low, high, value.n)


def figure(done: Done) -> list[Panel]:
    """Return panels of the contrasts, as doublings of T."""
    logs = log_temperatures(done)
    panels = []
    for title, contrasts in (("primary", PRIMARY), ("beside", BESIDE)):
        values = {contrast.cause: ratio(logs, contrast.above, contrast.below) for contrast in contrasts}
        marks = [Mark(*cause.split(": "), doublings(value)) for cause, value in values.items() if value]
        panels.append(Panel(f"doublings of T, {title}", tuple(marks)))
    return [panel for panel in panels if panel.marks]


STUDY = Study(name="kinds", parts=parts(), page=page, figure=figure, score=Score(unit="", difference="", scale=1))


if __name__ == "__main__":
    sys.exit(main(STUDY, str(__doc__), sys.argv[1:]))
