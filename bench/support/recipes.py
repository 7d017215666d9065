"""Recipes of students: what bench/recipe.py trains, and the trainings that it recorded."""

from __future__ import annotations

import csv
import dataclasses
import threading
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kd.config import DistillConfig, Schedule, TrainingConfig
from kd.data.datasets import load, load_test
from sweeps.plan.seeds import derive

Cell: TypeAlias = tuple[float, float]
"""Temperature and alpha."""


@dataclass(frozen=True)
class Recipe:
    """How the students of one row are trained.

    schedule: "average" is a constant rate, and at the end the exponential moving average of the weights, which reaches
    back over about `reach` steps: its momentum is 1 - 1/reach.
    """

    dataset: str
    images: int
    epochs: int
    schedule: Schedule
    rate: float
    student: str = "keras-student"
    batch: int = 64
    reach: int = 50

    def __str__(self) -> str:
        """As a row of the table begins."""
        return f"{self.schedule} {self.rate:g}" + (f", reach {self.reach}" if self.schedule == "average" else "")


@dataclass(frozen=True)
class Training:
    """One finished training; accuracies are fractions."""

    recipe: Recipe
    temperature: float
    alpha: float
    seed: int
    val_accuracy: float
    test_accuracy: float
    train_s: float


@dataclass(frozen=True, eq=False)
class Job:
    """What a pool of processes trains: one recipe with the logits of one teacher. log: of the libraries."""

    recipe: Recipe
    logits: npt.NDArray[np.float32]
    log: Path


class Recorded:
    """The finished trainings in a CSV file, one line each; a run that was interrupted goes on where it was."""

    def __init__(self, path: Path) -> None:
        self._path = path
        text = path.read_text(encoding="utf-8") if path.exists() else ",".join(_COLUMNS) + "\n"
        whole = text[: text.rfind("\n") + 1]
        if whole != text or not path.exists():  # a run that was killed while it wrote
            path.write_text(whole, encoding="utf-8")
        self.trainings = [_read(row) for row in csv.DictReader(whole.splitlines())]

    def append(self, training: Training) -> None:
        """Keep a finished training; it is on the disk when this returns."""
        values = dataclasses.asdict(training.recipe) | dataclasses.asdict(training)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(",".join(str(values[name]) for name in _COLUMNS) + "\n")
        self.trainings.append(training)

    def scores(self, recipe: Recipe, *, test: bool) -> dict[Cell, dict[int, float]]:
        """Return the accuracies of a recipe in percent, by cell and seed."""
        found: dict[Cell, dict[int, float]] = {}
        for one in self.trainings:
            if one.recipe == recipe:
                score = one.test_accuracy if test else one.val_accuracy
                found.setdefault((one.temperature, one.alpha), {})[one.seed] = 100 * score
        return found

    def missing(self, recipe: Recipe, cells: Sequence[Cell], seeds: int) -> list[tuple[Cell, int]]:
        """Return what of a row is not trained yet, seeds outside."""
        scores = self.scores(recipe, test=False)
        return [(cell, seed) for seed in range(seeds) for cell in cells if seed not in scores.get(cell, {})]


_COLUMNS = [
    *(field.name for field in dataclasses.fields(Recipe)),
    *(field.name for field in dataclasses.fields(Training) if field.name != "recipe"),
]


def _read(row: Mapping[str, str]) -> Training:
    def typed(kind: type) -> dict[str, Any]:
        makers = {"int": int, "float": float}
        fields = [field for field in dataclasses.fields(kind) if field.name != "recipe"]
        return {field.name: makers.get(str(field.type), str)(row[field.name]) for field in fields}

    return Training(recipe=Recipe(**typed(Recipe)), **typed(Training))


def train(job: Job, wanted: Sequence[tuple[Cell, int]], *, processes: int) -> Generator[Training, None, None]:
    """Yield each training as it ends; call `sweeps.workers.environment.one_thread` first."""
    with ProcessPoolExecutor(min(processes, len(wanted)), get_context("spawn"), _begin, (job,)) as pool:
        for future in as_completed([pool.submit(_train, cell, seed) for cell, seed in wanted]):
            yield future.result()


_own: Any = None  # recipe, trainer and test images of this process


def _begin(job: Job) -> None:
    global _own
    from kd.training.trainer import StudentTrainer
    from support.training_pool import end_with_parent, noise_into

    noise_into(job.log)
    threading.Thread(target=end_with_parent, daemon=True).start()
    recipe = job.recipe
    training = TrainingConfig(
        epochs=recipe.epochs,
        batch_size=recipe.batch,
        learning_rate=recipe.rate,
        schedule=recipe.schedule,
        average_steps=recipe.reach,
    )
    dataset = load(recipe.dataset, train_images=recipe.images)
    trainer = StudentTrainer(dataset, student=recipe.student, teacher_logits=job.logits, training=training)
    _own = recipe, trainer, load_test(recipe.dataset)


def _train(cell: Cell, seed: int) -> Training:
    recipe, trainer, test = _own
    temperature, alpha = cell
    point = DistillConfig(temperature=temperature, alpha=alpha)
    # Common random numbers: a seed gives the same initial weights and order of images in every cell and recipe.
    result = trainer.train(point, seed=derive(0, "student", "recipe", seed))
    return Training(recipe, temperature, alpha, seed, result.val_accuracy, trainer.accuracy(test), result.train_s)
