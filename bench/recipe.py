"""Which recipe for the students? Schedules, rates, and images x epochs, at several points of (T, alpha).

    python bench/recipe.py [--seeds N] [--only TEXT] [--processes N]

A row is one recipe on one dataset: trained at six points with the same seeds, by the logits of a teacher that saw the
same images. Ctrl-C keeps what is finished, and the same command goes on. Writes every training to
bench/results/recipe.csv and the table to bench/results/recipe.md; teachers are kept in bench/results/recipe.part.
"""

import argparse
import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from rich.console import Console

from kd.config import Schedule, TrainingConfig
from kd.data.datasets import load
from kd.errors import KdError
from kd.subprocesses import run_in_subprocess
from support.page import FOLDER, Origin, table, write_section
from support.recipes import Cell, Job, Recipe, Recorded, train
from support.training_pool import teach
from sweeps.plan.seeds import derive
from sweeps.report.formats import interval
from sweeps.stats.estimates import Estimate, paired
from sweeps.workers.environment import one_thread

SCRATCH: Cell = (1.0, 1.0)
CORNERS: tuple[Cell, ...] = ((1.0, 0.0), (20.0, 0.1))  # where distillation helps least, on one dataset or the other
MIDDLE: tuple[Cell, ...] = ((2.7, 0.25), (4.0, 0.1), (6.0, 0.65))
CELLS = (SCRATCH, *CORNERS, *MIDDLE)
PAIRS = tuple(itertools.combinations(MIDDLE, 2))

# Steps of the students, about those of preset quick: a row of another number of images has as many.
QUICK = {"mnist": 60_000, "cifar10": 50_000}
# Images of the teacher's training: an epoch of the teacher is an epoch of these.
TAUGHT = {"mnist": 60_000, "cifar10": 70_000, "digits": 6_500, "digits-rgb": 10_800}
SCHEDULES: tuple[tuple[Schedule, float], ...] = (
    ("constant", 2e-3),
    ("cosine", 4e-3),
    ("cosine", 6e-3),
    ("cosine", 1e-2),
)
AVERAGES = ((4e-3, 50), (6e-3, 50), (6e-3, 100), (6e-3, 200), (1e-2, 100))
# Images of each dataset, so many epochs that the steps are as many, and their one recipe.
SIZES = {"cifar10": (6_000, 2_500), "mnist": (10_000, 6_000, 2_000)}
REGIME: tuple[Schedule, float] = ("average", 4e-3)
# The same with half of the steps: is a cheaper student worth more students?
HALF = {"cifar10": ((4_000, 6), (3_000, 8), (2_000, 12)), "mnist": ((4_000, 7), (3_000, 10), (2_000, 15))}
# More images, more epochs: what the larger answer and preset full are like. With the epochs of its teacher.
LARGER = {"mnist": (20_000, 6, 5), "cifar10": (20_000, 10, 12)}
LARGER_RECIPES: tuple[tuple[Schedule, float], ...] = (("constant", 1e-3), ("cosine", 4e-3), REGIME)
# All images of preset tiny, with the epochs that it could have.
TINY = {"digits": (4, 12), "digits-rgb": (6, 18)}
TINY_IMAGES, TINY_BATCH = 1_078, 32
TINY_RECIPES: tuple[tuple[Schedule, float, int], ...] = (
    ("constant", 1e-3, 50),
    ("average", 4e-3, 20),
    ("average", 8e-3, 20),
)
TEACHER_RATE = 5e-3


def recipes() -> list[Recipe]:
    """Return the rows, those that decide most first."""
    rows = []
    for dataset, many, few in (("cifar10", 10_000, 4_000), ("mnist", 20_000, 4_000)):
        for size in (many, few):
            epochs = round(QUICK[dataset] / size)
            rows += [Recipe(dataset, size, epochs, schedule, rate) for schedule, rate in SCHEDULES]
            rows += [Recipe(dataset, size, epochs, "average", rate, reach=reach) for rate, reach in AVERAGES]
    for dataset, sizes in SIZES.items():
        rows += [Recipe(dataset, size, round(QUICK[dataset] / size), *REGIME) for size in sizes]
    for dataset, halves in HALF.items():
        rows += [Recipe(dataset, size, epochs, *REGIME) for size, epochs in halves]
    for dataset, (size, epochs, _) in LARGER.items():
        rows += [Recipe(dataset, size, epochs, schedule, rate) for schedule, rate in LARGER_RECIPES]
    for dataset, lengths in TINY.items():
        for epochs in lengths:
            rows += [
                Recipe(dataset, TINY_IMAGES, epochs, schedule, rate, batch=TINY_BATCH, reach=reach)
                for schedule, rate, reach in TINY_RECIPES
            ]
    return rows


def page(recorded: Recorded, rows: Sequence[Recipe], origin: Origin) -> str:
    """Return the section as Markdown."""
    parts = [str(origin), _METHOD]
    for dataset in dict.fromkeys(row.dataset for row in rows):
        heads = ["images x epochs", "students", "n", "s", "no distillation", "best of three"]
        heads += ["its gain", "worst corner", "sd of a run", "paired sd, test", "paired sd, validation", "told apart"]
        lines = [_line(recorded, row) for row in rows if row.dataset == dataset]
        parts += [f"### {dataset}", table(heads, [line for line in lines if line])]
    heads = ["dataset", "images x epochs", "scratch's own recipe", "gain, the same recipe", "gain, its own recipe"]
    own = [_own_recipe(recorded, row, rows) for row in rows if (row.schedule, row.rate) == REGIME]
    parts += ["### No distillation with a recipe of its own", _OWN, table(heads, [line for line in own if line])]
    return "\n\n".join(parts)


def _own_recipe(recorded: Recorded, regime: Recipe, rows: Sequence[Recipe]) -> list[str]:
    """Compare the distilled students of the default recipe with no distillation at the best recipe of its own."""
    size = (regime.dataset, regime.images, regime.epochs)
    validated = {row: recorded.scores(row, test=False) for row in rows if (row.dataset, row.images, row.epochs) == size}
    whole = [row for row, scores in validated.items() if set(CELLS) <= set(scores)]
    if regime not in whole or len(whole) < 2:
        return []
    point = max(MIDDLE, key=lambda cell: fmean(validated[regime][cell].values()))
    own = max(whole, key=lambda row: fmean(validated[row][SCRATCH].values()))
    distilled = recorded.scores(regime, test=True)[point]
    gains = [paired(distilled, recorded.scores(row, test=True)[SCRATCH]) for row in (regime, own)]
    return [
        regime.dataset,
        f"{regime.images:,} x {regime.epochs}",
        str(own),
        *map(interval, gains),
    ]


_OWN = f"""The students' recipe, {REGIME[0]} {REGIME[1]:g}, was chosen for distilled students. Here no distillation gets
the recipe of the tables above that is best for it, and distilling the best of its three middle points: both by
validation. Gains in points of test accuracy, paired by seed, with their 95 % interval."""


def _line(recorded: Recorded, row: Recipe) -> list[str]:
    scores = recorded.scores(row, test=False)
    if set(CELLS) - set(scores):
        return []
    test = recorded.scores(row, test=True)
    gains = {cell: _gain(scores, cell) for cell in CELLS[1:]}
    best = max(MIDDLE, key=lambda cell: gains[cell].mean)
    worst = min(CORNERS, key=lambda cell: gains[cell].mean)
    single = fmean(stdev(test[cell].values()) for cell in MIDDLE)
    # what the best point is above a bad one, in standard deviations of one pair of trainings
    apart = (gains[best].mean - gains[worst].mean) / _paired_sd(scores, best, worst)
    seconds = [one.train_s for one in recorded.trainings if one.recipe == row]
    return [
        f"{row.images:,} x {row.epochs}",
        str(row),
        str(gains[best].n),
        f"{np.median(seconds):.1f}",
        f"{fmean(scores[SCRATCH].values()):.2f}",
        f"{fmean(scores[best].values()):.2f} at {best[0]:g}, {best[1]:g}",
        _shown(gains[best]),
        _shown(gains[worst]),
        f"{single:.2f}",
        " ".join(f"{_paired_sd(test, *pair):.2f}" for pair in PAIRS),
        " ".join(f"{_paired_sd(scores, *pair):.2f}" for pair in PAIRS),
        f"{apart:.1f}",
    ]


def _gain(scores: Mapping[Cell, Mapping[int, float]], cell: Cell) -> Estimate:
    found = paired(scores[cell], scores[SCRATCH])
    assert found is not None
    return found


def _paired_sd(scores: Mapping[Cell, Mapping[int, float]], one: Cell, other: Cell) -> float:
    seeds = scores[one].keys() & scores[other].keys()
    return stdev([scores[one][seed] - scores[other][seed] for seed in seeds])


def _shown(gain: Estimate) -> str:
    assert gain.low is not None
    assert gain.high is not None
    return f"{gain.mean:+.2f} ±{(gain.high - gain.low) / 2:.2f}"


_METHOD = """All accuracies in percent, on the validation images (test where it says so). `n`: seeds, 20 where the
default was decided. `s`: median seconds of one training with its validations, one thread; longer where the machine did
something else beside it: rows of as many images x epochs take as many steps. `its gain`: of the best of the three
middle points over no distillation of the same seeds, with its 95 % interval. `worst corner`: the same of the worse of
(1, 0) and (20, 0.1). `paired sd`: of the difference between two middle points with the same seed, three pairs: what a
regret is made of. `told apart`: the best point's lead over the worst corner, in standard deviations of one pair: what
the search can see per training. `average`: a constant rate, and at the end the exponential moving average of the
weights, which reaches back over so many steps."""


def main() -> int:
    """Train what is missing, write the page, print it; 0 done, 1 a reason in one line, 130 interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="of every point (default: 20)")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose description holds this text")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--out", type=Path, default=FOLDER / "recipe.md", metavar="FILE.md")
    options, console = parser.parse_args(), Console(stderr=True, soft_wrap=True)
    if options.seeds < 2:
        parser.error(f"--seeds: got {options.seeds}, allowed is a whole number >= 2")
    origin, recorded = Origin(), Recorded(options.out.with_suffix(".csv"))
    one_thread()
    try:
        for row in recipes():
            if options.only in f"{row.dataset} {row.images}x{row.epochs} {row}":
                _train_row(recorded, row, options, console)
    except KdError as error:
        print(f"recipe.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("recipe.py: interrupted; what is finished is kept, the same command goes on", file=sys.stderr)
        return 130
    text = page(recorded, recipes(), origin)
    write_section("Which recipe?", text, path=options.out)
    print(text)
    return 0


def _train_row(recorded: Recorded, row: Recipe, options: argparse.Namespace, console: Console) -> None:
    missing = recorded.missing(row, CELLS, options.seeds)
    if not missing:
        return
    console.print(f"{row.dataset} {row.images} x {row.epochs}, {row}: {len(missing)} trainings", highlight=False)
    folder = options.out.with_suffix(".part")
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    job = Job(row, _logits(folder, row, folder / "log"), folder / "log")
    for training in train(job, missing, processes=options.processes):
        recorded.append(training)


def _logits(folder: Path, row: Recipe, log: Path) -> np.ndarray:
    """Return the logits of the teacher of these images; trained once for all rows that have them."""
    kept = folder / f"teacher-{row.dataset}-{row.images}.npy"
    if not kept.exists():
        size, _, taught_epochs = LARGER.get(row.dataset, (0, 0, 0))
        epochs = taught_epochs if row.images == size else round(TAUGHT[row.dataset] / row.images)
        training = TrainingConfig(epochs=epochs, learning_rate=TEACHER_RATE)
        dataset = load(row.dataset, train_images=row.images)
        seed = derive(0, "teacher", "recipe", row.dataset)
        teacher = "cnn-small-narrow" if row.dataset in TINY else "cnn-small"
        taught = run_in_subprocess(teach, log, dataset, teacher, training, seed, on_step=lambda: None)
        np.save(kept, taught.logits, allow_pickle=False)
    logits: np.ndarray = np.load(kept, allow_pickle=False)
    return logits


if __name__ == "__main__":
    sys.exit(main())
