"""kd.teachers.train: logits in the order of the images, which equal the saved model's.

With a pretrained network as the teacher: tests/training/kd/baselines/test_pretrained.py.
"""

import keras
import numpy as np
import pytest

from kd.config import TrainingConfig
from kd.data.datasets import Dataset, Split
from kd.models.files import load, to_bytes
from kd.teachers.train import teacher_logits, train_teacher
from kd.training.batches import view


def bright_or_dark(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 100, (count, 8, 8, 1)) + 150 * labels[:, None, None, None]
    return Split(images.astype(np.uint8), labels.astype(np.int64))


# 1,100 training images: the logits take more than two evaluation batches
DATASET = Dataset("two", bright_or_dark(1100, 1), bright_or_dark(60, 2), 2, "", "", "synthetic")
TRAINING = TrainingConfig(epochs=3, batch_size=64)


def trained(views=1, on_epoch=lambda epoch, accuracy: None):
    return train_teacher(DATASET, model="keras-student", training=TRAINING, seed=3, views=views, on_epoch=on_epoch)


@pytest.fixture(scope="module")
def reports():
    return []


@pytest.fixture(scope="module")
def taught(reports):
    return trained(on_epoch=lambda *args: reports.append(args))


def test_the_logits_are_those_of_the_saved_model_row_by_row(taught, tmp_path):
    assert (taught.logits.dtype, taught.logits.shape) == (np.float32, (1100, 2))
    # labels are random: rows in another order would agree with half of them
    assert (taught.logits.argmax(axis=-1) == DATASET.train.labels).mean() > 0.98
    (tmp_path / "teacher.keras").write_bytes(taught.model)
    model = keras.saving.load_model(tmp_path / "teacher.keras")
    np.testing.assert_allclose(taught.logits, model(DATASET.train.images, training=False), atol=1e-4)
    predicted = np.asarray(model(DATASET.validation.images, training=False)).argmax(axis=-1)
    assert (predicted == DATASET.validation.labels).mean() == taught.result.val_accuracy
    assert not model.compiled


def test_the_result_is_of_the_last_epoch_and_every_epoch_is_reported(taught, reports):
    assert reports == list(enumerate(taught.result.epoch_val_accuracy))
    assert taught.result.val_accuracy == taught.result.epoch_val_accuracy[-1] > 0.95


def test_a_teacher_trains_on_a_new_view_per_epoch_and_gives_logits_of_the_students_views(taught):
    of_2, of_4 = trained(views=2), trained(views=4)
    np.testing.assert_array_equal(of_2.logits, of_4.logits[:2])
    assert np.abs(taught.logits - of_2.logits[0]).max() > 0.1
    assert (of_4.logits.dtype, of_4.logits.shape) == (np.float32, (4, 1100, 2))
    model = load(of_4.model)
    for number, logits in enumerate(of_4.logits):
        np.testing.assert_allclose(logits, model(view(DATASET.train.images, number)), atol=1e-4)


def test_logits_are_taken_before_a_softmax_in_every_batch_and_view():
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    logits = teacher_logits(to_bytes(model), images, views=3)
    assert logits.shape == (3, 300, 3)
    kernel, bias = model.layers[-1].get_weights()
    for number in range(3):
        by_hand = view(images, number).reshape(300, -1) @ kernel + bias
        np.testing.assert_allclose(logits[number], by_hand, rtol=1e-3, atol=1e-2)
