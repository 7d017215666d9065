"""Train a teacher and write down what it says of every training image."""

from __future__ import annotations

from kd.config import DistillConfig, TeacherResult, TrainingConfig
from kd.datasets import Dataset
from kd.training import OnEpoch, StudentTrainer


def train_teacher(
    dataset: Dataset, *, model: str, training: TrainingConfig, seed: int, on_epoch: OnEpoch | None = None
) -> TeacherResult:
    """Trains a model on the labels of `dataset.train` and returns its logits there.

    Plain cross entropy, no label smoothing (it erases what the student is to learn; Mueller et al. 2019,
    arXiv:1906.02629), no augmentation. The learning rate falls to 0 along half a cosine over the epochs, which is
    worth most when they are few. The weights are those after the last epoch: none is chosen by its validation score.

    Args:
        dataset: trained on `dataset.train`; `dataset.validation` is only scored.
        model: name of a model, see `kd.models.build`.
        training: epochs, batch size, and the learning rate of Adam at the start.
        seed: of the initial weights, dropout and batch order.
        on_epoch: as in `StudentTrainer.train`.

    Returns:
        The result of the training, the logits of all training images in order, and the model.

    Raises:
        DataError, ModelError, Diverged: as `StudentTrainer`.
    """
    # A teacher is a student of the labels alone: alpha = 1 is plain training, whatever the temperature.
    trainer = StudentTrainer(dataset, student=model, teacher_logits=None, training=training, cosine_decay=True)
    labels_only = DistillConfig(temperature=1.0, alpha=1.0)
    result = trainer.train(labels_only, seed=seed, on_epoch=on_epoch)
    return TeacherResult(result=result, logits=trainer.logits(dataset.train), model=trainer.model_bytes())
