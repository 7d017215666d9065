"""kd.teachers.train.train_teacher: logits in the order of the images, and a model that says the same."""

import keras
import numpy as np
import pytest

from kd.config import DistillConfig, TrainingConfig
from kd.data.datasets import Dataset, Split, load, load_test
from kd.errors import ModelError
from kd.teachers.train import train_teacher
from kd.training.batches import view
from kd.training.student import StudentTrainer


def bright_or_dark(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 100, (count, 8, 8, 1)) + 150 * labels[:, None, None, None]
    return Split(images.astype(np.uint8), labels.astype(np.int64))


# 1,100 training images: the logits take more than two evaluation batches
DATASET = Dataset("two", bright_or_dark(1100, 1), bright_or_dark(60, 2), 2, "", "", "synthetic")
TRAINING = TrainingConfig(epochs=2, batch_size=64)


@pytest.fixture(scope="module")
def heard():
    return []


@pytest.fixture(scope="module")
def taught(heard):
    return train_teacher(
        DATASET, model="cnn-small-narrow", training=TRAINING, seed=3, on_epoch=lambda *args: heard.append(args)
    )


@pytest.fixture(scope="module")
def loaded(taught, tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "teacher.keras"
    path.write_bytes(taught.model)
    return keras.saving.load_model(path)


def test_cached_top_1_is_the_live_top_1_on_every_example(taught, loaded):
    live = loaded.predict(DATASET.train.images, verbose=0)
    np.testing.assert_array_equal(taught.logits.argmax(axis=-1), live.argmax(axis=-1))
    np.testing.assert_allclose(taught.logits, live, atol=1e-4)


def test_the_logits_are_float32_one_row_per_training_image(taught):
    assert taught.logits.dtype == np.float32
    assert taught.logits.shape == (1100, 2)
    # labels are in no order: rows of another order would agree with half of them
    assert (taught.logits.argmax(axis=-1) == DATASET.train.labels).mean() > 0.98


def test_the_result_is_of_the_last_epoch_and_every_epoch_was_heard(taught, heard):
    assert heard == list(enumerate(taught.result.epoch_val_accuracy))
    assert taught.result.val_accuracy == taught.result.epoch_val_accuracy[-1] > 0.95
    assert (taught.result.train_images, taught.result.seed) == (1100, 3)


def test_the_model_is_saved_as_it_scored_and_without_optimizer(taught, loaded):
    predicted = loaded.predict(DATASET.validation.images, verbose=0).argmax(axis=-1)
    assert (predicted == DATASET.validation.labels).mean() == taught.result.val_accuracy
    assert not loaded.compiled


THREE_EPOCHS = TrainingConfig(epochs=3, batch_size=64)


@pytest.fixture(scope="module")
def of_views():
    return train_teacher(DATASET, model="keras-student", training=THREE_EPOCHS, seed=3, views=4)


def test_a_teacher_of_views_says_what_its_model_says_of_each(of_views, tmp_path):
    path = tmp_path / "teacher.keras"
    path.write_bytes(of_views.model)
    model = keras.saving.load_model(path)
    assert of_views.logits.dtype == np.float32
    assert of_views.logits.shape == (4, 1100, 2)
    for number, logits in enumerate(of_views.logits):
        live = model.predict(view(DATASET.train.images, number), verbose=0)
        np.testing.assert_allclose(logits, live, atol=1e-4)


def test_a_teacher_trains_on_a_fresh_view_an_epoch_however_many_its_students_see(of_views):
    one, two = (
        train_teacher(DATASET, model="keras-student", training=THREE_EPOCHS, seed=3, views=views).logits
        for views in (1, 2)
    )
    np.testing.assert_array_equal(two, of_views.logits[:2])
    assert np.abs(one - two[0]).max() > 0.1


def test_an_unknown_teacher_is_refused():
    with pytest.raises(ModelError, match="no model 'nobody'"):
        train_teacher(DATASET, model="nobody", training=TRAINING, seed=0)


@pytest.mark.slow
def test_on_mnist_a_teacher_is_good_and_its_logits_alone_teach_what_the_labels_do(shared_data):
    dataset = load("mnist", train_images=10_000, data_dir=shared_data)
    taught = train_teacher(dataset, model="cnn-small", training=TrainingConfig(epochs=3, learning_rate=3e-3), seed=0)
    assert taught.result.val_accuracy > 0.98

    training = TrainingConfig(epochs=4)
    trainer = StudentTrainer(dataset, student="keras-student", teacher_logits=taught.logits, training=training)
    scratch = trainer.train(DistillConfig(temperature=1.0, alpha=1.0), seed=0).val_accuracy
    distilled = trainer.train(DistillConfig(temperature=1.0, alpha=0.0), seed=0).val_accuracy
    # a cache that is out of step with the images gives about 0.17
    assert distilled > scratch - 0.005
    assert trainer.accuracy(load_test("mnist", data_dir=shared_data)) > 0.95
