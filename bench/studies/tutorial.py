"""How much does PyTorch's tutorial on distillation gain, and how much would tuning? Thirty seeds instead of one.

    python bench/studies/tutorial.py [--part NAME ...] [--list | --declare | --page] [--storage DIR] [--workers N]

Question and formulas are in bench/results/studies/tutorial/declared.md, written before the first training; the page is
computed from the CSVs alone.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the benches are no package

from support.page import interval, table
from support.parts import Done, Part, Study, main, origins, spec_of
from sweeps.report.figures.forest import Mark, Panel
from sweeps.stats.estimates import estimate

BLOCKS, SEEDS, FIRST_SEED, TEACHER_SEED = 3, 10, 2920, 42
LOGITS = "teacher.npz"
# CE + KD minus CE in points, as printed for one seed by two builds of the tutorial's page and by a copy of its code.
PUBLISHED = (("the page, translated in pytorch-doc-zh", 0.94), ("the page, build 2.2.1", -0.22), ("ruthmd", 0.40))


def _spec(seed: int, place: Path, arms: Sequence[str], **searched: Any) -> Mapping[str, Any]:
    """Return the spec of LightNN on CIFAR-10, as a target, since searches test only on targets."""
    digits = {"dataset": "digits", "images": 1078, "teacher": "cnn-small-narrow", "teacher_epochs": 6, "epochs": 4}
    cifar10 = {"dataset": "cifar10", "images": 45_000, "teacher": f"logits:{place / LOGITS}", "teacher_epochs": 10}
    roles = {"source": digits, "target": cifar10 | {"student": "support.tutorial:light", "epochs": 10}}
    training = {"batch_size": 128, "learning_rate": 1e-3}
    return spec_of(roles, seed=seed, searches=1, arms=arms, training=training, **searched)


def at_point(block: int, done: Done, place: Path) -> Mapping[str, Any]:
    """Return a block of seeds without a teacher and at the tutorial's point."""
    return _at(block, place, ("native", "scratch"), 2.0, 0.75)


def search(done: Done, place: Path) -> Mapping[str, Any]:
    """Return the search: 13 Sobol points, halving."""
    return _spec(FIRST_SEED + BLOCKS, place, ("native",), trials=13, rounds=[(4, 1), (2, 2)], seeds=1)


def at_tuned(block: int, done: Done, place: Path) -> Mapping[str, Any]:
    """Return a block of the same seeds at the point that the search confirmed."""
    (tuned,) = (row for row in done["search"] if row.arm == "native")
    return _at(block, place, ("native",), *tuned.point)


def _at(block: int, place: Path, arms: Sequence[str], temperature: float, alpha: float) -> Mapping[str, Any]:
    """Return a search of one point."""
    ranges = {"temperature": [temperature] * 2, "alpha": [alpha] * 2}
    return _spec(FIRST_SEED + block, place, arms, trials=1, rounds=[(1, 1)], seeds=SEEDS, search=ranges)


def teacher(place: Path) -> Mapping[str, Any]:
    from support.tutorial import teach  # late: listing the parts needs no TensorFlow

    return teach(place / LOGITS, seed=TEACHER_SEED)


def accuracies(done: Done, part: str, arm: str) -> dict[tuple[int, int], float]:
    """Return test accuracies in percent by block and repeat."""
    return {
        (block, row.repeat): 100 * row.test
        for block in range(BLOCKS)
        for row in done.get(f"{part}-{block}", ())
        if row.dataset == "cifar10" and row.arm == arm and row.test is not None
    }


def wrong_signs(first: Mapping[tuple[int, int], float], second: Mapping[tuple[int, int], float]) -> tuple[float, float]:
    """Return how often first < second, in percent: for equal seeds, and over all pairs of two seeds."""
    same = [first[key] < second[key] for key in first.keys() & second.keys()]
    others = [first[key] < second[other] for key, other in product(first, second) if key != other]
    return 100 * fmean(same), 100 * fmean(others)


def page(done: Done) -> str:
    scratch, point = accuracies(done, "point", "scratch"), accuracies(done, "point", "native")
    tuned = accuracies(done, "tuned", "native")
    if len(scratch) < 2:
        return "# PyTorch's tutorial on distillation, with thirty seeds\n\n**No block of seeds has ended.**"
    gains = {"the tutorial's point": _apart(point, scratch), "tuned": _apart(tuned, scratch)}
    rows = [
        [name, len(arm), f"{fmean(arm.values()):.2f}", f"{stdev(arm.values()):.2f}"]
        for name, arm in (("no teacher", scratch), ("T = 2, alpha = 0.75", point), (_tuned(done), tuned))
        if len(arm) > 1
    ]
    compared = [(*pair, point, scratch) for pair in [("the tutorial's point", "no teacher")]]
    compared += [("tuned", "no teacher", tuned, scratch), ("tuned", "the tutorial's point", tuned, point)]
    differences = [
        [
            f"{first} - {second}",
            points(_apart(mine, theirs)),
            *(f"{share:.0f} %" for share in wrong_signs(mine, theirs)),
        ]
        for first, second, mine, theirs in compared
        if len(mine) > 1
    ]
    spread = (2 * fmean([stdev(scratch.values()) ** 2, stdev(point.values()) ** 2])) ** 0.5
    printed = [[where, f"{value:+.2f}"] for where, value in PUBLISHED]
    by_part = origins(STUDY)
    logits, taught = {of["logits"].get("target") for of in by_part.values()}, by_part.get("teacher", {})
    same = "All parts have its logits." if len(logits) == 1 else "The parts have DIFFERENT logits."
    return f"""# PyTorch's tutorial on distillation, with thirty seeds

**A single run's standard deviation is {stdev(scratch.values()):.2f} points; the tutorial's point gains
{points(gains["the tutorial's point"])}, tuned {points(gains["tuned"])}.**

Test accuracy in percent; T = 2 and alpha = 0.75 are the tutorial's T = 2 and soft target weight 0.25. Teacher DeepNN:
test {100 * taught.get("test", float("nan")):.2f} %. {same}

{table(["student LightNN", "seeds", "mean", "sd of one run"], rows)}

Differences in points with 95 % t intervals, paired by seed. The last two columns: how often one run of each shows the
wrong sign, with the same seed (initial weights and batches), and with two seeds.

{table(["", "points", "same seed", "two seeds"], differences)}

## What is published of one seed

{table(["", "CE + KD less CE, points"], printed)}

The difference of two single runs has a standard deviation of {spread:.2f} points where they share no seed.

Not as in the tutorial: 45,000 training images, since 5,000 are kept for the search's validation (the product's own
split); Keras; other seeds."""


def _tuned(done: Done) -> str:
    tuned = [row for row in done.get("search", ()) if row.arm == "native"]
    return "tuned: T = {:.3g}, alpha = {:.3g}".format(*tuned[0].point) if tuned else "tuned"


def _apart(first: Mapping[tuple[int, int], float], second: Mapping[tuple[int, int], float]) -> Sequence[float]:
    return [first[key] - second[key] for key in sorted(first.keys() & second.keys())]


def points(differences: Sequence[float]) -> str:
    mean = estimate(differences)
    return interval(mean) + (f" (n={mean.n})" if mean is not None and mean.low is not None else "")


def figure(done: Done) -> list[Panel]:
    scratch, point = accuracies(done, "point", "scratch"), accuracies(done, "point", "native")
    tuned = accuracies(done, "tuned", "native")
    pairs = {
        ("the tutorial's point", "minus no teacher"): _apart(point, scratch),
        ("tuned", "minus no teacher"): _apart(tuned, scratch),
        ("tuned", "minus the tutorial's point"): _apart(tuned, point),
    }
    marks = [Mark(*names, value) for names, of in pairs.items() if (value := estimate(of)) is not None]
    return [Panel("points of test accuracy", tuple(marks))] if marks else []


STUDY = Study(
    name="tutorial",
    parts={
        "teacher": Part(make=teacher),
        **{f"point-{block}": Part(changes=partial(at_point, block), after=("teacher",)) for block in range(BLOCKS)},
        "search": Part(changes=search, after=("teacher",)),
        **{f"tuned-{block}": Part(changes=partial(at_tuned, block), after=("search",)) for block in range(BLOCKS)},
    },
    page=page,
    figure=figure,
)


if __name__ == "__main__":
    sys.exit(main(STUDY, str(__doc__), sys.argv[1:]))
