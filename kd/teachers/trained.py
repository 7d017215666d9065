"""Train a teacher and compute its logits of the training images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kd.config import DistillConfig, TeacherResult, TrainingConfig
from kd.data.augmentation import checked_views, view
from kd.data.datasets import Dataset, Split
from kd.training.trainer import StudentTrainer


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
    helps most with few epochs. The weights are those after the last epoch; no epoch is selected by validation.

    With views = 1 there is no augmentation. With more, the teacher sees a new augmented version of each image in every
    epoch. Its logits are computed after the training, so it is not limited to the students' views, and it memorizes
    less.

    Args:
        dataset: trained on `dataset.train`; `dataset.validation` is only scored.
        model: name of a model, see `kd.models.named.build`.
        training: epochs, batch size, and the learning rate of Adam at the start; its schedule is not read.
        seed: of the initial weights, dropout and batch order.
        on_epoch: called with (epoch from 0, validation accuracy) after each epoch.
        on_step: called whenever some dozen steps are done.
        views: how many augmented versions of each image the students will see, as in `StudentTrainer`.

    Returns:
        The result of the training, the logits of all training images in order, and the model. Logits have the shape
        (images, classes); with more than one view (views, images, classes).

    Raises:
        DataError, ModelError, Diverged: as `StudentTrainer`.
        ValueError: views is no whole number >= 1.
    """
    fresh_views = training.epochs if checked_views(views) > 1 else 1
    # A teacher is a student of the labels alone: alpha = 1 is plain training, whatever the temperature.
    falling = replace(training, schedule="cosine")
    trainer = StudentTrainer(
        dataset,
        student=model,
        teacher_logits=None,
        training=falling,
        views=fresh_views,
        validations=training.epochs,
    )

    def heard(epoch: int, accuracy: float | None) -> None:
        assert accuracy is not None  # looked at after each epoch
        on_epoch(epoch, accuracy)

    labels_only = DistillConfig(temperature=1.0, alpha=1.0)
    result = trainer.train(labels_only, seed=seed, on_epoch=heard, on_step=on_step)
    train = dataset.train
    said = [trainer.logits(Split(view(train.images, number), train.labels)) for number in range(views)]
    logits = said[0] if views == 1 else np.stack(said)
    return TeacherResult(result=result, logits=logits, model=trainer.model_bytes())
