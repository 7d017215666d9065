"""Train one network of bench/published.py with the package's own trainer, and score it on the test images.

Nothing here is a loop of its own. Plain training is `StudentTrainer` with alpha = 1. Label smoothing by e is
distillation with alpha = 1 - e at T = 1 from a teacher whose logits are all 0, since KL(uniform || student) is the
cross entropy with uniform labels less a constant. Dropout, jitter and constrained weights are layers of the networks.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kd.config import DistillConfig, TrainingConfig
from kd.data import sources
from kd.data.datasets import Dataset, Split
from support.published.records import Result
from support.published.scores import DIGIT, RAISED_BY, agreement, best_bias, count_errors, raise_bias
from support.published.trainings import NETWORKS, PublishedError, Training
from sweeps.plan.seeds import derive
from sweeps.workers.environment import provenance

if TYPE_CHECKING:
    from kd.training.trainer import StudentTrainer

Logits = npt.NDArray[np.float32]

SEED = 20_150_309  # the day of arXiv:1503.02531v1; any number would do
TRAINERS_KEPT = 3  # compiled, in one process; an MLP with its images is about 100 MB


class Learner:
    """Trains one training after another in this process; the logits of teachers lie in a folder.

    Args:
        dataset: all training images; its validation images are the test images, which are read once for each training,
            when it is over. Nothing is selected by them.
        folder: where teachers leave their logits, and students find them.
    """

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self._dataset, self._folder = dataset, folder
        self._trainers: OrderedDict[object, StudentTrainer] = OrderedDict()

    def train(self, training: Training, *, teaches: bool) -> Result:
        """Train and score one network.

        Args:
            training: what to train.
            teaches: whether to keep its logits of all training images for its students.

        Raises:
            PublishedError: its teacher left no logits here.
            KdError: as `StudentTrainer`.
        """
        chosen = _images_of(training, self._dataset)
        trainer = self._trainer(training)
        soft: Logits | None = None
        said_by_teacher: Logits | None = None
        if training.teacher:
            with _opened(kept(self._folder, training.teacher, training.teacher_seed)) as logits:
                soft, said_by_teacher = logits["train"][chosen], logits["test"]
            point = DistillConfig(temperature=training.temperature, alpha=training.alpha)
        elif training.label_smoothing:
            soft = np.zeros((int(chosen.sum()), self._dataset.classes), np.float32)
            point = DistillConfig(temperature=1.0, alpha=1 - training.label_smoothing)
        else:
            point = DistillConfig(temperature=1.0, alpha=1.0)
        wall, cpu = time.perf_counter(), time.process_time()
        trainer.teach(soft)

        def heard(epoch: int, _: float | None) -> None:  # into the log of the processes, for long trainings
            print(f"{training.name} seed {training.seed}: epoch {epoch + 1} is done", file=sys.stderr, flush=True)

        trainer.train(point, seed=seed_of(training), epochs=training.epochs, on_epoch=heard)
        train_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
        test = self._dataset.validation
        logits_of_test = trainer.logits(test)
        if teaches:
            keep(self._folder, training, trainer.logits(self._dataset.train), logits_of_test)
        return _result(
            training, int(chosen.sum()), logits_of_test, test.labels, said_by_teacher, seconds=(train_s, cpu_s)
        )

    def _trainer(self, training: Training) -> StudentTrainer:
        from kd.training.trainer import StudentTrainer  # TensorFlow: only now, when its number of threads is set

        kind = (training.network, training.batch_size, training.learning_rate, training.schedule, training.without)
        if kind not in self._trainers:
            chosen, train = _images_of(training, self._dataset), self._dataset.train
            some = Dataset(
                name=self._dataset.name,
                train=Split(train.images[chosen], train.labels[chosen]),
                validation=self._dataset.validation,
                classes=self._dataset.classes,
                content_hash=self._dataset.content_hash,
                split_hash="",
                origin=self._dataset.origin,
            )
            config = TrainingConfig(
                epochs=training.epochs,
                batch_size=training.batch_size,
                learning_rate=training.learning_rate,
                schedule=training.schedule,
            )
            self._trainers[kind] = StudentTrainer(
                some, student=NETWORKS[training.network], teacher_logits=None, training=config, validations=1
            )
            if len(self._trainers) > TRAINERS_KEPT:
                self._trainers.popitem(last=False)
        self._trainers.move_to_end(kind)
        return self._trainers[kind]


@lru_cache(maxsize=1)
def all_images(name: str) -> Dataset:
    """Return all published training images of a dataset in their order, with the test images for validation.

    Raises:
        DataError: it is not here and cannot be fetched.
    """
    found = sources.obtain(name)
    arrays = found.arrays
    return Dataset(
        name=name,
        train=Split(arrays.x_train, arrays.y_train),
        validation=Split(arrays.x_test, arrays.y_test),
        classes=arrays.classes,
        content_hash=arrays.content_hash,
        split_hash="",
        origin=found.origin,
    )


def seed_of(training: Training) -> int:
    """Return the seed of the initial weights, dropout, jitter and order of images.

    Common random numbers: students of one number share it in all arms; teachers have others.
    """
    return derive(SEED, "student" if training.teacher or training.arm == "scratch" else "teacher", training.seed)


def kept(folder: Path, teacher: str, seed: int) -> Path:
    """Return the file with the logits of a teacher: `train` and `test`, float32, shape (images, classes)."""
    return folder / f"{teacher.replace(' ', '-')}-{seed}.npz"


def keep(folder: Path, teacher: Training, train: Logits, test: Logits) -> None:
    """Put the logits of a teacher into its file, all or nothing."""
    path = kept(folder, teacher.name, teacher.seed)
    unfinished = path.with_suffix(".new")
    with unfinished.open("wb") as file:
        np.savez(file, train=train, test=test)
    unfinished.replace(path)


def _opened(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise PublishedError(f"cannot read the teacher's logits: {error}; to train it again, type: rm {path}") from None


def _images_of(training: Training, dataset: Dataset) -> npt.NDArray[np.bool_]:
    """Return which training images this training sees, shape (images,)."""
    labels = dataset.train.labels
    everything: npt.NDArray[np.bool_] = np.ones(len(labels), np.bool_)
    return everything if training.without is None else labels != training.without


def _result(
    training: Training,
    train_images: int,
    logits: Logits,
    labels: npt.NDArray[np.int64],
    teacher: Logits | None,
    *,
    seconds: tuple[float, float],
) -> Result:
    found = provenance()
    versions: Any = found["versions"]
    by = raised = best = None
    if training.without is not None:
        raised = raise_bias(logits, training.without, RAISED_BY)
        by = best_bias(logits, labels, training.without)
        best = raise_bias(logits, training.without, by)
    return Result(
        train_images=train_images,
        test_images=len(labels),
        errors=count_errors(logits, labels),
        threes=count_errors(logits, labels, DIGIT),
        agreement=None if teacher is None else agreement(logits, teacher),
        raised_errors=None if raised is None else count_errors(raised, labels),
        raised_threes=None if raised is None else count_errors(raised, labels, DIGIT),
        best_bias=by,
        best_errors=None if best is None else count_errors(best, labels),
        best_threes=None if best is None else count_errors(best, labels, DIGIT),
        train_s=round(seconds[0], 1),
        cpu_s=round(seconds[1], 1),
        finished=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        commit=str(found["git_commit"]),
        versions=" ".join(f"{name} {versions[name]}" for name in ("python", "tensorflow", "keras", "numpy")),
        machine=f"{found['cpu']}, {found['cores']} cores",
    )
