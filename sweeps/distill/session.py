"""What trainings in one worker share: data, teachers, students; what their results say."""

import logging
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kd.config import BaselineResult, DistillConfig, TeacherResult, TrainingConfig, TrainResult
from kd.data.custom import kind_of
from kd.data.datasets import Dataset, Split, load, load_test
from kd.teachers import logits_file
from kd.teachers.names import parse_teacher
from kd.tools.code import is_code
from sweeps.distill.arms import AUTOKERAS_ARM, LABELS_ONLY, PLAIN_KD
from sweeps.distill.spec import DatasetSpec, Training
from sweeps.errors import SweepError
from sweeps.plan import jobs
from sweeps.spec.model import Spec
from sweeps.spec.stored import check_code
from sweeps.spec.tables import TRAINING_PARAMS
from sweeps.trainers.protocol import Point

if TYPE_CHECKING:
    from kd.training.student import StudentTrainer

log = logging.getLogger(__name__)

Logits = npt.NDArray[np.float32]
_SHOWN = ("test_accuracy", "parameters", "train_s")  # columns of the dashboard; what was known before are others
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
            wanted, actual = part.content_hash, self.dataset(role).content_hash
            if wanted and wanted != actual:
                raise SweepError(
                    f"{part.dataset} here has content {actual[:12]}, the sweep was created with "
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

    def found_network(self, role: str, model: Callable[[], bytes], *, epochs: int) -> "StudentTrainer":
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
    own = {} if plain else training.loss_parameters | {name: more[name] for name in more if name not in TRAINING_PARAMS}
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


def taught_by(arm: str | None, logits: Logits, labels: npt.NDArray[np.int64], *, seed: int) -> Logits:
    """Return the logits that an arm learns from: the teacher's, or what a control puts in their place.

    Args:
        arm: None outside transfer.
        logits: of the teacher, (images, classes) or (views, images, classes).
        labels: (images,).
        seed: of the shuffle.
    """
    if arm == "class-mean":
        return logits_file.class_mean(logits, labels)
    if arm == "shuffled-within-class":
        return logits_file.shuffled_within_class(logits, labels, seed)
    return logits_file.uniform(logits) if arm == "label-smoothing" else logits


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one attempt found.

    score: what the stage is ranked and watched by; a fraction, or milliseconds in measure.
    values: everything that is stored.
    attrs: the few of them that the dashboard shows as columns.
    """

    score: float
    values: jobs.StoredOutcome
    attrs: dict[str, Any]
    epoch_values: tuple[float | None, ...] = ()


def outcome_of(task: jobs.Payload, params: dict[str, Any], values: jobs.TrainedOutcome) -> Outcome:
    """Return the outcome of a training, ranked by its validation accuracy."""
    dumped = values.model_dump(include=set(_SHOWN) & values.model_fields_set - set(params))
    attrs = {name: dumped[name] for name in _SHOWN if name in dumped}
    if isinstance(task, jobs.TeacherTask | jobs.BaselineTask):
        attrs["detail"] = values.detail
    return Outcome(score=values.val_accuracy, values=values, attrs=attrs, epoch_values=values.epoch_val_accuracy)


def builder_of(task: jobs.Payload, role: DatasetSpec) -> str:
    """Return the user's function that built the model that a task kept; "" if none did.

    Args:
        role: what the spec says of the dataset that it was trained on.
    """
    if isinstance(task, jobs.TeacherTask):
        return parse_teacher(role.teacher).builder
    return role.student if isinstance(task, jobs.StudentTask) and is_code(role.student) else ""


def training_of(result: TrainResult | BaselineResult) -> dict[str, Any]:
    """Return what the table needs of every training; models and weights are kept as blobs."""
    names = ("val_accuracy", "parameters", "train_images", "train_s", "cpu_s", "seed")
    curve = {"epoch_val_accuracy": result.epoch_val_accuracy} if isinstance(result, TrainResult) else {}
    return {name: getattr(result, name) for name in names} | curve


def source_of(dataset: Dataset) -> dict[str, Any]:
    """Return the name of a dataset and where it came from."""
    data = jobs.DataOrigin(origin=dataset.origin, content_hash=dataset.content_hash, split_hash=dataset.split_hash)
    return {"dataset": dataset.name, "data": data}


def teacher_of(
    role: DatasetSpec,
    dataset: Dataset,
    taught: TeacherResult,
    *,
    kept: Callable[[bytes], str],
    numerics: str = "",
) -> jobs.TeacherOutcome:
    """Return the outcome of a teacher.

    Args:
        kept: stores bytes and returns their digest.
        numerics: of the process that trained it; empty for a file of logits.

    Raises:
        SweepError: the file here holds other logits than the one that the sweep was created with.
    """
    blobs = {"logits": kept(np.ascontiguousarray(taught.logits).tobytes())}
    if role.logits_hash and blobs["logits"] != role.logits_hash:
        raise SweepError(
            f"{role.teacher} here gives logits {blobs['logits'][:12]}, the sweep was created with"
            f" {role.logits_hash[:12]}; copy the file that it was created from"
        )
    if taught.model:
        blobs["model"] = kept(taught.model)
    return jobs.TeacherOutcome(
        **training_of(taught.result),
        **source_of(dataset),
        model=role.teacher,
        logit_spread=logits_file.logit_spread(taught.logits),
        detail=role.teacher,
        weights=dict(taught.provenance),
        numerics=numerics,
        blobs=blobs,
    )
