"""Train one cell of published results with the package's own trainer, its teacher where that is missing, and count.

Nothing here is a loop of its own. Plain training is `StudentTrainer` with alpha = 1. Label smoothing by e is
distillation with alpha = 1 - e at T = 1 from a teacher whose logits are all 0, since KL(uniform || student) is the
cross entropy with uniform labels less a constant. Dropout, jitter and constrained weights are layers of the networks.

The networks are those of Hinton et al. 2015, arXiv:1503.02531, section 3: the teacher has two layers of 1200 rectified
linear units, "strongly regularized using dropout and weight-constraints", and images "jittered by up to two pixels in
any direction"; the students have two layers and no regularization. The constants are those of the paper that it cites
for them, Hinton et al. 2012, arXiv:1207.0580, appendix A.

A teacher is trained once a machine, by whoever needs it first, into a folder of its own: it is a cell itself, and
teaches in several sweeps, so a preparation of each of them would train it again. Seeds make it the same everywhere.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import filelock
import keras
import numpy as np
import numpy.typing as npt
import platformdirs
import tensorflow as tf
from keras import layers

from kd.config import DistillConfig
from kd.data import sources
from kd.data.datasets import Dataset, Split
from kd.tools.code import hash_file
from kd.training.student import StudentTrainer
from support import published
from support.published import DIGIT, TEACHERS, Cell, Counts
from sweeps.plan.identity import derive

Logits: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]
Report: TypeAlias = Callable[..., None]
Builder: TypeAlias = Callable[[tuple[int, int, int], int], keras.Model]

SEED = 20_150_309  # the day of arXiv:1503.02531v1; any number would do
RAISED_BY = 3.5  # what the paper raises the bias of class 3 by, tuned on the test images
BIASES = tuple(round(0.1 * i, 1) for i in range(151))  # 0 to 15, of which the best is looked for
JITTER = 2  # pixels
DROPPED = (0.2, 0.5)  # of the pixels, of the hidden units
MOST_SQUARED = 15.0  # length of the weights into one hidden unit
WAIT_S = 30.0  # between two signs of life while another process trains the teacher


@dataclass(frozen=True)
class Teacher:
    """A trained teacher. train, test: its logits, float32, shape (images, classes), in the published order."""

    train: Logits
    test: Logits
    counts: Counts


def counts(cell: Cell, number: int, report: Report) -> Counts:
    """Train a cell with the seed of that number, and count on the test images."""
    if cell.teaches:
        return _teacher(cell, number % TEACHERS, report).counts
    teacher = None if cell.teacher is None else _teacher(cell.teacher, number % TEACHERS, report)
    return trained(cell, number, teacher, report)[1]


def _teacher(cell: Cell, number: int, report: Report) -> Teacher:
    """Return a teacher of this machine; train it where it is missing, or wait for the process that does."""
    folder = teachers_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{cell.name.replace(' ', '-')}-{number}.npz"
    while not path.exists():
        report(text=f"waiting for teacher {cell.name}, number {number}")
        try:
            with filelock.FileLock(path.with_suffix(".lock"), timeout=WAIT_S):
                if not path.exists():
                    _keep(path, *trained(cell, number, None, report))
        except filelock.Timeout:
            continue
    with np.load(path, allow_pickle=False) as kept:
        return Teacher(kept["train"], kept["test"], Counts.of(json.loads(str(kept["counts"]))))


def teachers_folder() -> Path:
    """Return where the teachers of this machine are; whoever changes a recipe or a network gets other ones."""
    code = "-".join(hash_file(Path(file))[:8] for file in (published.__file__, __file__))
    return platformdirs.user_cache_path("kd-sweeps") / "published-teachers" / code


def _keep(path: Path, trainer: StudentTrainer, totals: Counts) -> None:
    dataset, unfinished = images("mnist", None), path.with_suffix(".new")
    logits = {"train": trainer.logits(dataset.train), "test": trainer.logits(dataset.validation)}
    with unfinished.open("wb") as file:
        np.savez(file, **logits, counts=np.array(json.dumps(asdict(totals))))
    unfinished.replace(path)


def trained(
    cell: Cell, number: int, teacher: Teacher | None, report: Report, *, name: str = "mnist"
) -> tuple[StudentTrainer, Counts]:
    """Train a cell on a dataset, and count on its test images."""
    dataset = images(name, cell.without)
    point, soft = DistillConfig(temperature=cell.temperature, alpha=cell.alpha), None
    if teacher is not None:
        soft = teacher.train[_seen(images(name, None).train.labels, cell.without)]
    elif cell.smoothing:
        soft = np.zeros((len(dataset.train), dataset.classes), np.float32)
        point = DistillConfig(temperature=1.0, alpha=1 - cell.smoothing)
    own = cell.network.replace("-", "_")
    network = f"{__name__}:{own}" if own in globals() else cell.network
    trainer = StudentTrainer(dataset, student=network, teacher_logits=soft, training=cell.training, validations=1)
    result = trainer.train(
        point,
        seed=derive(SEED, "teacher" if cell.teaches else "student", number),
        on_epoch=lambda epoch, _: report((epoch + 1) / cell.epochs),
        on_step=report,
    )
    taught_by = None if teacher is None else teacher.test
    logits = trainer.logits(dataset.validation)
    return trainer, _counted(cell, logits, dataset.validation.labels, taught_by, round(result.cpu_s, 1))


@lru_cache(maxsize=2)
def images(name: str, without: int | None) -> Dataset:
    """Return all published training images that do not show a digit, in their order; the test images validate."""
    source = sources.obtain(name)
    arrays, seen = source.arrays, _seen(source.arrays.y_train, without)
    return Dataset(
        name=name,
        train=Split(arrays.x_train[seen], arrays.y_train[seen]),
        validation=Split(arrays.x_test, arrays.y_test),
        classes=arrays.classes,
        content_hash=arrays.content_hash,
        split_hash="",
        origin=source.origin,
    )


def _seen(labels: Labels, without: int | None) -> npt.NDArray[np.bool_]:
    return np.ones(len(labels), np.bool_) if without is None else labels != without


def _counted(cell: Cell, logits: Logits, labels: Labels, teacher: Logits | None, cpu_s: float) -> Counts:
    """Count; agreement as in Stanton et al. 2021, arXiv:2106.05945, section 3."""
    counted: dict[str, Any] = {"errors": errors(logits, labels), "threes": errors(logits, labels, DIGIT)}
    if teacher is not None:
        counted["agreement"] = float(np.mean(logits.argmax(axis=-1) == teacher.argmax(axis=-1)))
    if cell.without is not None:
        counted["best_bias"] = best_bias(logits, labels, cell.without)
        for kind, by in (("raised", RAISED_BY), ("best", counted["best_bias"])):
            higher = raised(logits, cell.without, by)
            counted[f"{kind}_errors"] = errors(higher, labels)
            counted[f"{kind}_threes"] = errors(higher, labels, DIGIT)
    return Counts(**counted, trained_cpu_s=cpu_s)


def errors(logits: Logits, labels: Labels, digit: int | None = None) -> int:
    """Return how many images have their largest logit elsewhere than at their label; digit: of those alone."""
    wrong = logits.argmax(axis=-1) != labels
    return int(wrong.sum() if digit is None else wrong[labels == digit].sum())


def raised(logits: Logits, digit: int, by: float) -> Logits:
    """Return the logits of the same network with the bias of one class raised."""
    higher = logits.copy()
    higher[:, digit] += by
    return higher


def best_bias(logits: Logits, labels: Labels, digit: int) -> float:
    """Return by how much a class's bias must be raised for the fewest errors; of several, the smallest.

    Tuned on the images that it is scored on, as in the paper: the best that a bias can do, no estimate of one tuned
    elsewhere.
    """
    return min(BIASES, key=lambda by: errors(raised(logits, digit, by), labels))


@keras.saving.register_keras_serializable("published")
class Jitter(layers.Layer):
    """Move each image of a training batch by up to `pixels` up, down, left and right; what comes in is 0.

    Images are float, shape (batch, h, w, c). A whole number of pixels is drawn anew for each image and step.
    """

    def __init__(self, pixels: int, **options: Any) -> None:
        super().__init__(**options)
        self.pixels = pixels
        self.seed_generator = keras.random.SeedGenerator()  # from the global seed, as that of dropout

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return images
        moves = keras.random.randint((tf.shape(images)[0], 2), 0, 2 * self.pixels + 1, seed=self.seed_generator)
        return moved(images, moves, self.pixels)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pixels": self.pixels}


def moved(images: tf.Tensor, moves: tf.Tensor, pixels: int) -> tf.Tensor:
    """Crop each image at its place out of itself with a border of `pixels` zeros.

    images: float, shape (batch, h, w, c). moves: shape (batch, 2), row and column of the crop in 0..2*pixels.
    """
    _, height, width, _ = images.shape
    padded = tf.pad(images, [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)])
    rows = moves[:, :1] + tf.range(height)  # (batch, h)
    columns = moves[:, 1:] + tf.range(width)  # (batch, w)
    chosen = tf.gather(padded, rows, batch_dims=1)  # (batch, h, w + border, c)
    turned = tf.gather(tf.transpose(chosen, (0, 2, 1, 3)), columns, batch_dims=1)  # (batch, w, h, c)
    return tf.transpose(turned, (0, 2, 1, 3))


def _mlp(units: int, *, jitter: bool = False, dropped: tuple[float, float] | None = None) -> Builder:
    def build(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
        inputs = keras.Input(input_shape, dtype="uint8")
        x = layers.Rescaling(1 / 255)(inputs)
        x = layers.Flatten()(Jitter(JITTER)(x) if jitter else x)
        if dropped:
            x = layers.Dropout(dropped[0])(x)
        for _ in range(2):
            limit = keras.constraints.MaxNorm(MOST_SQUARED**0.5, axis=0) if dropped else None
            x = layers.Dense(units, activation="relu", kernel_constraint=limit)(x)
            if dropped:
                x = layers.Dropout(dropped[1])(x)
        return keras.Model(inputs, layers.Dense(classes)(x))

    return build


mlp_30, mlp_300 = _mlp(30), _mlp(300)
dropout_1200 = _mlp(1200, jitter=True, dropped=DROPPED)
dropout_300 = _mlp(300, jitter=True, dropped=DROPPED)  # a smaller teacher
# "Label smoothing instead of dropout": Mueller, Kornblith & Hinton 2019, arXiv:1906.02629, section 4.
jitter_1200 = _mlp(1200, jitter=True)
