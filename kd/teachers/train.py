"""Train a teacher, or make one from a comparison method, and compute its logits."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kd.baselines import methods
from kd.config import DistillConfig, TeacherResult, TrainingConfig, TrainResult
from kd.data.datasets import Dataset, Split
from kd.models.files import with_logits
from kd.training.batches import checked_views, view
from kd.training.student import StudentTrainer

BATCH = 256  # images


def train_teacher(
    dataset: Dataset,
    *,
    model: str,
    training: TrainingConfig,
    seed: int,
    on_epoch: Callable[[int, float], None] = lambda epoch, accuracy: None,
    on_step: Callable[[], None] = lambda: None,
    views: int = 1,
) -> TeacherResult:
    """Train a model on the labels of `dataset.train` and return it with its logits of these images.

    The loss is cross entropy without label smoothing, which would remove the information that a student learns from
    (Mueller et al. 2019, arXiv:1906.02629). The learning rate falls to 0 along half a cosine over the epochs, which
    helps most with few epochs. The weights are the last epoch's; no epoch is selected by validation.

    With views > 1, the teacher trains on a new augmented version of each image in every epoch: its logits are computed
    after the training, so it is not limited to the students' views, and it memorizes less.

    Args:
        dataset: trained on `dataset.train`; `dataset.validation` is only scored.
        model: name of a model, see `kd.models.named.build`.
        training: epochs, batch size, and the learning rate of Adam at the start; its schedule is not read.
        seed: of the initial weights, dropout and batch order.
        on_epoch: called with (epoch from 0, validation accuracy) after each epoch.
        on_step: called after every few dozen steps.
        views: number of augmented versions of each image for the students, as in `StudentTrainer`.

    Returns:
        The result of the training, the logits of all training images in order, and the model. Logits have the shape
        (images, classes), with several views (views, images, classes).

    Raises:
        DataError, ModelError, Diverged: as `StudentTrainer`.
        ValueError: views is not a whole number >= 1.
    """
    fresh_views = training.epochs if checked_views(views) > 1 else 1
    trainer = StudentTrainer(
        dataset,
        student=model,
        teacher_logits=None,
        training=replace(training, schedule="cosine"),
        views=fresh_views,
        validations=training.epochs,
    )

    def on_validation(epoch: int, accuracy: float | None) -> None:
        assert accuracy is not None  # validated after each epoch
        on_epoch(epoch, accuracy)

    # A teacher is a student of the labels alone: alpha = 1 is plain training, whatever the temperature.
    point = DistillConfig(temperature=1.0, alpha=1.0)
    result = trainer.train(point, seed=seed, on_epoch=on_validation, on_step=on_step)
    train = dataset.train
    logits_of_views = [trainer.logits(Split(view(train.images, number), train.labels)) for number in range(views)]
    logits = logits_of_views[0] if views == 1 else np.stack(logits_of_views)
    return TeacherResult(result=result, logits=logits, model=trainer.model_bytes())


def teach_with(
    method: str,
    dataset: Dataset,
    *,
    budget: methods.Budget,
    seed: int,
    work_dir: Path,
    on_progress: methods.Progress = lambda fraction, text: None,
    views: int = 1,
) -> TeacherResult:
    """Fit a comparison method and return its model as the teacher, with its logits of the training images.

    The method is fitted to the unaugmented images; only the logits are computed for every view. The seconds include the
    logits; there is one validation accuracy, the model's, instead of one per epoch.

    Args:
        method, budget, seed, work_dir, on_progress: see `kd.baselines.methods.fit`.
        views: number of augmented versions of each image for the students, see `kd.training.batches`.

    Raises:
        ModelError, Unavailable: see `kd.baselines.methods.fit`.
        ValueError: views is not a whole number >= 1.
    """
    share = 1 / (1 + checked_views(views))  # of the time; then all images pass the model again for each view
    fitted = methods.fit(
        method,
        dataset,
        budget=budget,
        seed=seed,
        work_dir=work_dir,
        on_progress=lambda fraction, text: on_progress(share * fraction, text),
    )
    wall, cpu = time.perf_counter(), time.process_time()
    logits = teacher_logits(
        fitted.model,
        dataset.train.images,
        views=views,
        on_progress=lambda fraction, text: on_progress(share + (1 - share) * fraction, text),
    )
    result = TrainResult(
        val_accuracy=fitted.val_accuracy,
        epoch_val_accuracy=(fitted.val_accuracy,),
        parameters=fitted.parameters,
        train_s=fitted.train_s + time.perf_counter() - wall,
        cpu_s=fitted.cpu_s + time.process_time() - cpu,
    )
    return TeacherResult(result=result, logits=logits, model=fitted.model, provenance=fitted.provenance)


def teacher_logits(
    model: bytes,
    images: npt.NDArray[np.uint8],
    *,
    views: int = 1,
    on_progress: methods.Progress = lambda fraction, text: None,
) -> npt.NDArray[np.float32]:
    """Return the logits of a .keras file's model for uint8 images (n, h, w, c), before a final softmax or sigmoid.

    They are float32, shape (n, classes), with several views (views, n, classes).
    """
    network = with_logits(model)
    firsts = range(0, len(images), BATCH)
    logits_of_views = []
    for number in range(checked_views(views)):
        seen = view(images, number)
        parts = []
        for first in firsts:
            parts.append(network.predict_on_batch(seen[first : first + BATCH]))
            fraction = (number + (first + len(parts[-1])) / len(images)) / views
            on_progress(fraction, f"logits of view {number + 1} of {views}")
        logits_of_views.append(np.concatenate(parts))
    return logits_of_views[0] if views == 1 else np.stack(logits_of_views)
