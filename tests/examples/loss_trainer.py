"""A trainer that takes no time and scores a loss, where lower is better.

In a spec: trainer.kind = "tests.examples.loss_trainer:KIND", source.dataset = "here", target.dataset = "there".
"""

import random
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from storage.studies.space import Range
from sweeps.plan.identity import derive
from sweeps.spec.model import Spec, parse
from sweeps.trainers.arms import BEST, NATIVE, RANDOM, Arm
from sweeps.trainers.protocol import Artifacts, Features, Point, Progress, Run, Score, Trained, TrainerKind

LOSS = Score(name="loss", unit="", difference="", scale=1.0, minimize=True, low=0.0, high=5.0)
LOWEST = 0.0312  # without noise, at rate = 0.6 and decay = 0.1 on both datasets
NAME = "tests.examples.loss_trainer:KIND"
DEFAULT, PLAIN = Point.of({"rate": 0.3, "decay": 0.1}), Point.of({"rate": 0.0, "decay": 0.1})


@dataclass
class LossTrainer:
    """See `sweeps.trainers.protocol.Trainer`."""

    spec: Spec

    def check(self) -> None:
        """Do nothing: it needs no data."""

    def train(self, run: Run, progress: Progress) -> Trained:
        """Return a bowl around the best point, with a little noise of the seed."""
        point = run.point or DEFAULT
        self._mean = LOWEST + 0.2 * (point["rate"] - 0.6) ** 2 + 0.01 * (point["decay"] - 0.1) ** 2
        loss = self._measured(run, "validation")
        return Trained(score=loss, curve=(2 * loss, loss), size=1)

    def test(self, run: Run, progress: Progress) -> float:
        """Return the same score with other noise."""
        return self._measured(run, "test")

    def _measured(self, run: Run, part: str) -> float:
        return self._mean + random.Random(derive(run.seed, part)).uniform(0.0, 4e-4)


class LossKind(TrainerKind):
    """See `sweeps.trainers.protocol.TrainerKind`."""

    spec = Spec
    features = Features(
        score=LOSS, untreated="plain", defaults=("default",), without="a rate of 0", untreated_training="a rate of 0"
    )
    arms = MappingProxyType(
        {
            arm.key: arm
            for arm in (
                NATIVE,
                BEST,
                RANDOM,
                Arm(key="plain", label="A rate of 0", method="rate = 0", point=lambda _: PLAIN, standard=2),
                Arm(key="default", label="The default", method="rate = 0.3", point=lambda _: DEFAULT, standard=3),
            )
        }
    )

    def space(self, spec: Spec, *, transfer: bool = False) -> dict[str, Range]:
        """Return the search space."""
        return {"rate": Range(0.0, 1.0), "decay": Range(0.0, 1.0)}

    def open(self, spec: Spec, artifacts: Artifacts) -> LossTrainer:
        """Return the trainer."""
        return LossTrainer(spec)


KIND = LossKind()


def loss_spec(*, kind: str = NAME, **tables: Any) -> Spec:
    """Return a spec of three small searches, on one dataset unless `tables` have a target."""
    values = {
        "trainer": {"kind": kind},
        "source": {"dataset": "here"},
        "search": {"trials": 6},
        "confirm": {"rounds": [[2, 2]]},
        "transfer": {"seeds": 3},
        "outer": {"searches": 3},
    }
    return parse(values | tables, origin="test", new=True)
