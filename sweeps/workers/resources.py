"""Hold what the tasks of a worker share: datasets, test images and compiled students, each loaded once."""

import logging
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kd.config import DistillConfig, TrainingConfig
from kd.data.custom import kind_of
from kd.data.datasets import Dataset, Split, load, load_test
from sweeps.errors import SweepError
from sweeps.spec.arms import AUTOKERAS_ARM, LABELS_ONLY, PLAIN_KD
from sweeps.spec.code import check_code
from sweeps.spec.further import TRAINED
from sweeps.spec.model import Spec
from sweeps.spec.point import Point
from sweeps.spec.tables import DatasetSpec
from sweeps.spec.training import Training

if TYPE_CHECKING:
    from kd.training.student import StudentTrainer

log = logging.getLogger(__name__)

_COPY = "copy the file it was created from and pass --data DIR"
_CURES = {
    "folder": "copy the folder it was created from and pass the folder that holds it as --data DIR",
    "function": "its function must return the same arrays on every machine",
}


@dataclass
class TaskResources:
    """The resources of one sweep in this process."""

    spec: Spec
    _datasets: dict[str, Dataset] = field(default_factory=dict)
    _tests: dict[str, Split] = field(default_factory=dict)
    _trainers: dict[str, "StudentTrainer"] = field(default_factory=dict)

    def check_here(self) -> None:
        """Check that data and code here are those that the spec froze.

        Raises:
            SweepError, kd.errors.KdError: they are not, or are missing; one line.
        """
        check_code(self.spec)  # first: a dataset may be made by it
        for role in self.spec.roles:
            part = self.spec.role(role)
            wanted, found = part.content_hash, self.dataset(role).content_hash
            if wanted and wanted != found:
                raise SweepError(
                    f"{part.dataset} here has content {found[:12]}, the sweep was created with "
                    f"{wanted[:12]}; {_CURES.get(kind_of(part.dataset) or '', _COPY)}"
                )

    def dataset(self, role: str) -> Dataset:
        """Return the training and validation images of a role."""
        if role not in self._datasets:
            part = self.spec.role(role)
            loaded = load(part.dataset, train_images=part.images, size=part.size)
            self._datasets[role] = replace(loaded, name=part.shown)
        return self._datasets[role]

    def test(self, role: str) -> Split:
        """Return the test images of a role; read in transfer and measure only."""
        if role not in self._tests:
            part = self.spec.role(role)
            self._tests[role] = load_test(part.dataset, size=part.size)
        return self._tests[role]

    def trainer(self, role: str, logits: npt.NDArray[np.float32], settings: "StudentSettings") -> "StudentTrainer":
        """Return the students of a role, compiled once for all points and seeds of a loss and a size of batches."""
        part = self.spec.role(role)
        if ":" in part.student:  # the last word of a worker that a user's model takes all memory of
            log.info("%s: training the student %s", role, part.student)
        name = f"{role}.{settings.loss}.{settings.batch_size}"
        if name not in self._trainers:
            self._trainers[name] = self._compiled(role, part.student, logits, part.epochs, settings)
        return self._trainers[name]

    def found(self, role: str, model: Callable[[], bytes], *, epochs: int) -> "StudentTrainer":
        """Return students with the architecture of a .keras file, trained on the labels alone; also compiled once.

        Args:
            model: gives the bytes of the file.
        """
        name = f"{role}.found"
        if name not in self._trainers:
            folder = tempfile.mkdtemp(prefix="kd-sweeps-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # every new seed reads the file again
            path = Path(folder) / "found.keras"
            path.write_bytes(model())
            settings = settings_of(self.spec.training, LABELS_ONLY, AUTOKERAS_ARM)
            self._trainers[name] = self._compiled(role, str(path), None, epochs, settings)
        return self._trainers[name]

    def numerics(self) -> str:
        """Return the numerics fingerprint of this process."""
        from kd.training.numerics import fingerprint

        return fingerprint()

    def _compiled(
        self,
        role: str,
        student: str,
        logits: npt.NDArray[np.float32] | None,
        epochs: int,
        settings: "StudentSettings",
    ) -> "StudentTrainer":
        # Here: TensorFlow takes seconds, and a teacher task never needs it.
        from kd.training.student import StudentTrainer

        training = TrainingConfig(
            epochs=epochs,
            batch_size=settings.batch_size,
            learning_rate=self.spec.training.learning_rate,
            schedule=self.spec.training.schedule,
            average_steps=self.spec.training.average_steps,
        )
        views = views_of(self.spec.role(role))
        return StudentTrainer(
            self.dataset(role),
            student=student,
            teacher_logits=logits,
            training=training,
            views=views,
            loss=settings.loss,
        )


@dataclass(frozen=True, kw_only=True)
class StudentSettings:
    """How one student is trained, as its point and its arm say.

    loss: its name. epochs, learning_rate: None where they are those of the spec.
    """

    loss: str
    distill: DistillConfig
    batch_size: int
    epochs: int | None
    learning_rate: float | None


def settings_of(training: Training, point: Point, arm: str | None) -> StudentSettings:
    """Return the settings of the student at a point.

    Args:
        arm: of transfer; None in the searches. Some arms are trained with the loss kd in any case.
    """
    more = dict(point.more)
    plain = arm in PLAIN_KD
    own = {} if plain else training.loss_parameters | {name: more[name] for name in more if name not in TRAINED}
    return StudentSettings(
        loss="kd" if plain else training.distillation,
        distill=DistillConfig(temperature=point.temperature, alpha=point.alpha, own=tuple(own.items())),
        batch_size=int(more.get("batch_size", training.batch_size)),
        epochs=int(more["epochs"]) if "epochs" in more else None,
        learning_rate=more.get("learning_rate"),
    )


def views_of(role: DatasetSpec) -> int:
    """Return how many fixed views of each training image there are; 1: the image itself alone."""
    return role.views if role.augment == "flip-crop" else 1
