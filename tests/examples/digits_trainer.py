"""A user's trainer: logistic regression on scikit-learn's digits, as they are and in negative.

In a spec: trainer.kind = "./digits_trainer.py:KIND", source.dataset = "digits", target.dataset = "negative".
"""

import time
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from storage.studies.space import Range
from sweeps.spec.model import Spec
from sweeps.trainers.arms import BEST, NATIVE, RANDOM, Arm
from sweeps.trainers.protocol import Artifacts, Features, Point, Progress, Run, Trained, TrainerKind

PARTS = {"train": slice(0, 600), "validation": slice(600, 1000), "test": slice(1000, 1797)}


@cache
def images(dataset: str) -> tuple[Any, Any]:
    """Return images (n, 64) of values in [0, 1] and labels (n,)."""
    pixels, labels = load_digits(return_X_y=True)
    return (1 - pixels / 16 if dataset == "negative" else pixels / 16), labels


@dataclass
class Digits:
    """See `sweeps.trainers.protocol.Trainer`."""

    spec: Spec

    def check(self) -> None:
        """The data come with scikit-learn."""

    def train(self, run: Run, progress: Progress) -> Trained:
        """Fit one regression on half of the images, drawn by the seed."""
        began, point = time.perf_counter(), run.point or Point.of({})
        pixels, labels = self._part(run, "train")
        rows = np.random.default_rng(run.seed).choice(len(labels), len(labels) // 2, replace=False)
        self.model = LogisticRegression(C=point["C"], tol=point["tol"], max_iter=60).fit(pixels[rows], labels[rows])
        progress(1.0, "fitted")
        score = float(self.model.score(*self._part(run, "validation")))
        return Trained(score=score, train_s=time.perf_counter() - began, size=self.model.coef_.size)

    def test(self, run: Run, progress: Progress) -> float:
        """Return its accuracy on the test images."""
        return float(self.model.score(*self._part(run, "test")))

    def _part(self, run: Run, part: str) -> tuple[Any, Any]:
        pixels, labels = images(self.spec.role(run.role).dataset)
        return pixels[PARTS[part]], labels[PARTS[part]]


class DigitsKind(TrainerKind):
    """See `sweeps.trainers.protocol.TrainerKind`."""

    spec = Spec
    features = Features(untreated="default", defaults=("default",), without="scikit-learn's default")
    default = Arm(key="default", label="scikit-learn's default", method="C = 1", point=lambda _: DEFAULT, standard=2)
    arms = MappingProxyType({arm.key: arm for arm in (NATIVE, BEST, RANDOM, default)})

    def space(self, spec: Spec, *, transfer: bool = False) -> dict[str, Range]:
        """Return the search space."""
        return {"C": Range(1e-3, 1e2, log=True), "tol": Range(1e-5, 1e-1, log=True)}

    def open(self, spec: Spec, artifacts: Artifacts) -> Digits:
        """Return the trainer."""
        return Digits(spec)


DEFAULT = Point.of({"C": 1.0, "tol": 1e-4})
KIND = DigitsKind()
