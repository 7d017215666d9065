"""kd.training.student.StudentTrainer: one compiled step, and the same outcome whatever was trained before."""

import math
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kd.config import MODEL_NAMES, DistillConfig, TrainingConfig
from kd.data.datasets import Dataset, Split
from kd.errors import DataError, Diverged, KdError, ModelError
from kd.models.named import build
from kd.teachers.logits_file import class_mean, uniform
from kd.training.batches import Batches, CosineToZero, view
from kd.training.student import StudentTrainer

pytestmark = pytest.mark.training

CLASSES = 3
STATM = Path("/proc/self/statm")


def blobs(count, *, seed, side=8):
    """Images of three classes that differ in brightness: learnable in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    images = rng.integers(0, 80, (count, side, side, 1)) + 80 * labels[:, None, None, None]
    return Split(images.astype(np.uint8), labels.astype(np.int64))


def tiny_dataset(train=40, validation=30):
    train_split, validation_split = blobs(train, seed=1), blobs(validation, seed=2)
    return Dataset("blobs", train_split, validation_split, CLASSES, "", "", "synthetic")


DATASET = tiny_dataset()
LOGITS = np.random.default_rng(3).normal(size=(40, CLASSES)).astype(np.float32)
LOGITS[np.arange(40), DATASET.train.labels] += 4.0
DISTILL = DistillConfig(temperature=3.0, alpha=0.4)


def make_trainer(student="keras-student", *, logits=LOGITS, dataset=DATASET, views=1, **training):
    settings = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-2} | training
    return StudentTrainer(
        dataset,
        student=student,
        teacher_logits=logits,
        training=TrainingConfig(**settings),
        views=views,
    )


@pytest.fixture(scope="module")
def trainer():
    return make_trainer()


def outcome(trainer, distill=DISTILL, seed=1, epochs=None):
    """Everything a training leaves behind, to the last bit."""
    result = trainer.train(distill, seed=seed, epochs=epochs)
    return result.epoch_val_accuracy, trainer.logits(DATASET.validation).tobytes()


# cnn-small-narrow has all that cnn-small has, keras-student layers enough for the mlp.
SLOW_TO_COMPILE = ("keras-teacher", "cnn-small", "resnet8", "resnet20", "mlp-800")


@pytest.mark.parametrize(
    "student", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW_TO_COMPILE)) for name in MODEL_NAMES]
)
def test_the_same_task_gives_the_same_bits_as_first_and_as_twentieth(student):
    trainer = make_trainer(student)
    first = outcome(trainer)
    for task in range(18):
        trainer.train(DistillConfig(temperature=1.0 + task, alpha=task / 18), seed=task % 3)
    assert outcome(trainer) == first
    assert outcome(make_trainer(student)) == first


def test_at_alpha_one_every_temperature_and_no_teacher_at_all_are_bit_identical(trainer):
    labels_only = [
        outcome(trainer, DistillConfig(temperature=temperature, alpha=1.0)) for temperature in (1.0, 5.0, 20.0)
    ]
    labels_only.append(outcome(make_trainer(logits=None), DistillConfig(temperature=2.0, alpha=1.0)))
    assert len(set(labels_only)) == 1


def test_at_alpha_one_a_student_is_what_plain_keras_trains_on_the_same_batches(trainer):
    trainer.train(DistillConfig(temperature=4.0, alpha=1.0), seed=9)
    expected = plain_keras([DATASET.train.images] * 2, seed=9)
    np.testing.assert_allclose(trainer.logits(DATASET.validation), expected, rtol=1e-5, atol=1e-5)


def plain_keras(images_of_epochs, *, seed):
    """Validation logits of a student that `fit` trains on these images, epoch by epoch."""
    plain = build("keras-student", (8, 8, 1), CLASSES, seed=seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain.compile(optimizer=keras.optimizers.Adam(1e-2), loss=loss)
    for epoch, images in enumerate(images_of_epochs):
        order = np.random.default_rng((seed, epoch)).permutation(40)[:32]  # two full batches; the rest is dropped
        plain.fit(images[order], DATASET.train.labels[order], batch_size=16, shuffle=False, verbose=0)
    return plain.predict_on_batch(DATASET.validation.images)


def test_how_many_steps_run_between_two_returns_to_python_changes_nothing(monkeypatch):
    whole_epochs = outcome(make_trainer(batch_size=8))  # 5 steps
    monkeypatch.setattr("kd.training.student.STEPS_PER_CALL", 2)
    assert outcome(make_trainer(batch_size=8)) == whole_epochs


def test_temperature_alpha_and_seed_each_matter(trainer):
    outcomes = {
        outcome(trainer),
        outcome(trainer, DistillConfig(temperature=9.0, alpha=0.4)),
        outcome(trainer, DistillConfig(temperature=3.0, alpha=0.9)),
        outcome(trainer, seed=2),
    }
    assert len(outcomes) == 4


def test_nothing_is_traced_again_for_another_temperature_alpha_or_seed(traces):
    trainer = make_trainer()
    for task in range(4):
        trainer.train(DistillConfig(temperature=1.0 + task, alpha=task / 3), seed=task)
    assert len(traces) == 1


def test_taught_by_other_logits_a_trainer_gives_the_bits_of_a_new_one_and_compiles_nothing(traces):
    trainer = make_trainer()
    first = outcome(trainer)
    compiled = len(traces)
    others = {"class mean": class_mean(LOGITS, DATASET.train.labels), "none": uniform(LOGITS), "doubles": -2.0 * LOGITS}
    found = {}
    for name, logits in others.items():
        trainer.teach(logits.astype(np.float64) if name == "doubles" else logits)
        found[name] = outcome(trainer)
    trainer.teach(LOGITS)
    assert outcome(trainer) == first
    assert len(traces) == compiled
    assert found == {name: outcome(make_trainer(logits=logits)) for name, logits in others.items()}
    assert len({first, *found.values()}) == 4


def test_a_teacher_can_be_given_later_and_taken_away():
    trainer = make_trainer(logits=None)
    trainer.teach(LOGITS)
    assert outcome(trainer) == outcome(make_trainer())
    trainer.teach(None)
    with pytest.raises(ValueError, match="alpha must be 1 without teacher logits"):
        trainer.train(DISTILL, seed=1)


def test_one_training_can_have_other_epochs_than_the_trainer(trainer):
    own = outcome(trainer)
    shorter, longer = outcome(trainer, epochs=1), outcome(trainer, epochs=4)
    assert shorter == outcome(make_trainer(epochs=1))
    assert longer == outcome(make_trainer(epochs=4))
    assert own == outcome(trainer, epochs=2)
    assert longer[0][1] == own[0][1], "of four epochs the second and the last are validated"
    assert outcome(trainer) == own


@pytest.mark.parametrize("epochs", [0, -1, True, 2.5])
def test_epochs_that_cannot_be_are_refused(trainer, epochs):
    with pytest.raises(ValueError, match=rf"^epochs must be a whole number >= 1, got {epochs!r}$"):
        trainer.train(DISTILL, seed=1, epochs=epochs)


def test_a_falling_learning_rate_falls_over_the_epochs_of_each_training():
    falling = make_trainer(schedule="cosine")
    own = outcome(falling)
    assert outcome(falling, epochs=5) == outcome(make_trainer(schedule="cosine", epochs=5))
    assert outcome(falling) == own != outcome(make_trainer())


def test_cosine_is_the_schedule_of_keras():
    steps = tf.Variable(8.0)
    ours, theirs = CosineToZero(0.01, steps), keras.optimizers.schedules.CosineDecay(0.01, 8)
    for step in range(10):
        assert float(ours(step)) == pytest.approx(float(theirs(step)), rel=1e-6, abs=1e-9)
    steps.assign(4.0)
    assert [float(ours(step)) for step in (0, 2, 4)] == pytest.approx([0.01, 0.005, 0.0], abs=1e-9)


def test_validation_is_looked_at_evenly_and_after_the_last_epoch():
    for epochs, looked in ((1, [0]), (2, [0, 1]), (5, [2, 4]), (8, [3, 7])):
        result = make_trainer(epochs=epochs).train(DISTILL, seed=1)
        seen = [epoch for epoch, value in enumerate(result.epoch_val_accuracy) if value is not None]
        assert (seen, len(result.epoch_val_accuracy)) == (looked, epochs)
        assert result.val_accuracy == result.epoch_val_accuracy[-1]


VIEW_LOGITS = np.stack([LOGITS, -LOGITS, np.roll(LOGITS, 1, axis=-1)])  # (views, images, classes)


def test_each_epoch_sees_its_view_with_the_logits_of_that_view():
    batches = Batches(DATASET, VIEW_LOGITS, batch_size=16, views=3)
    for epoch in (0, 1, 2, 3, 7, 2):
        batches.shuffle(9, epoch)
        order = np.random.default_rng((9, epoch)).permutation(40)
        take = batches.opened()
        for step in range(2):
            images, labels, logits = take(step)
            rows = order[16 * step : 16 * (step + 1)]
            np.testing.assert_array_equal(images, view(DATASET.train.images, epoch % 3)[rows])
            np.testing.assert_array_equal(labels, DATASET.train.labels[rows])
            np.testing.assert_array_equal(logits, VIEW_LOGITS[epoch % 3][rows])


def test_other_logits_are_in_force_at_once_in_whatever_view_is_shown():
    batches = Batches(DATASET, VIEW_LOGITS, batch_size=40, views=3)
    batches.shuffle(9, epoch=2)
    batches.teach(2 * VIEW_LOGITS)
    order = np.random.default_rng((9, 2)).permutation(40)
    np.testing.assert_array_equal(batches.opened()(0)[2], 2 * VIEW_LOGITS[2][order])


def test_views_are_compiled_once_and_each_training_begins_with_the_first(traces):
    trainer = make_trainer(logits=VIEW_LOGITS, views=3, epochs=5)
    first = outcome(trainer)  # it ends with the second view
    trainer.teach(-VIEW_LOGITS)
    other = outcome(trainer)
    trainer.teach(VIEW_LOGITS)
    assert outcome(trainer) == first != other
    assert len(traces) == 1


def test_a_student_of_views_is_what_plain_keras_trains_on_them():
    trainer = make_trainer(logits=VIEW_LOGITS, views=3, epochs=4)
    trainer.train(DistillConfig(temperature=4.0, alpha=1.0), seed=9)
    expected = plain_keras([view(DATASET.train.images, epoch % 3) for epoch in range(4)], seed=9)
    np.testing.assert_allclose(trainer.logits(DATASET.validation), expected, rtol=1e-5, atol=1e-5)


def test_a_student_learns_and_the_result_says_how_it_went():
    trainer = make_trainer(epochs=20)
    heard = []
    result = trainer.train(DISTILL, seed=1, on_epoch=lambda epoch, accuracy: heard.append((epoch, accuracy)))
    assert result.val_accuracy > 0.9
    assert result.val_accuracy == result.epoch_val_accuracy[-1]
    assert heard == list(enumerate(result.epoch_val_accuracy))
    assert (result.parameters, result.train_images, result.seed) == (parameters(), 40, 1)
    assert result.train_s > 0
    assert result.cpu_s > 0


def parameters():
    return build("keras-student", (8, 8, 1), CLASSES, seed=0).count_params()


def test_logits_that_point_elsewhere_teach_something_else():
    wrong = np.roll(np.eye(CLASSES, dtype=np.float32)[DATASET.train.labels] * 8, 1, axis=-1)
    taught = make_trainer(logits=wrong, epochs=6)
    taught.train(DistillConfig(temperature=1.0, alpha=0.0), seed=1)
    assert taught.accuracy(DATASET.validation) < 0.1


def test_accuracy_counts_every_image_once_however_many_there_are(trainer):
    trainer.train(DISTILL, seed=1)
    split = blobs(1203, seed=4)  # two full evaluation batches and a part of a third
    logits = trainer.logits(split)
    assert logits.shape == (1203, CLASSES)
    assert logits.dtype == np.float32
    assert trainer.accuracy(split) == np.mean(logits.argmax(axis=-1) == split.labels)
    np.testing.assert_allclose(trainer.logits(blobs(7, seed=4)).shape, (7, CLASSES))


def test_the_saved_student_is_the_one_trained_last_without_its_optimizer(trainer, tmp_path):
    trainer.train(DISTILL, seed=1)
    path = tmp_path / "student.keras"
    path.write_bytes(trainer.model_bytes())
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loaded(DATASET.validation.images)).argmax(axis=-1),
        trainer.logits(DATASET.validation).argmax(axis=-1),
    )
    assert not loaded.compiled
    assert len(trainer.model_bytes()) < 4 * parameters() + 40_000  # Adam's slots would triple it


class Stop(Exception):
    """Stands for a lost lease or a pruned trial."""


def test_an_exception_from_on_epoch_propagates_and_the_trainer_goes_on(trainer):
    expected = outcome(trainer)

    def stop(epoch, accuracy):
        raise Stop

    with pytest.raises(Stop):
        trainer.train(DistillConfig(temperature=9.0, alpha=0.1), seed=5, on_epoch=stop)
    with pytest.raises(RuntimeError, match="call train"):
        trainer.accuracy(DATASET.validation)
    with pytest.raises(RuntimeError, match="call train"):
        trainer.model_bytes()
    assert outcome(trainer) == expected


def test_a_diverged_training_is_an_expected_error_that_names_the_point():
    trainer = make_trainer(learning_rate=1e30)
    with pytest.raises(Diverged, match=r"not finite.*\(T=3, alpha=0.4, seed 1\): lower the learning rate") as caught:
        trainer.train(DISTILL, seed=1)
    assert isinstance(caught.value, KdError)


def test_alpha_below_one_needs_teacher_logits():
    with pytest.raises(ValueError, match=r"alpha must be 1 without teacher logits, got 0.4"):
        make_trainer(logits=None).train(DISTILL, seed=1)


@pytest.mark.parametrize(
    "logits",
    [LOGITS[:39], LOGITS[:, :2], np.full_like(LOGITS, math.nan)],
    ids=["another number of images", "another number of classes", "not finite"],
)
def test_logits_of_another_dataset_are_refused(logits):
    refused = pytest.raises(DataError, match=r"^teacher logits must be finite and of shape \(40, 3\) for blobs, got")
    with refused:
        make_trainer(logits=logits)
    trainer = make_trainer()
    expected = outcome(trainer)
    with refused:
        trainer.teach(logits)
    assert outcome(trainer) == expected


@pytest.mark.parametrize("logits", [LOGITS, VIEW_LOGITS[:2], VIEW_LOGITS.swapaxes(0, 1)])
def test_logits_of_other_views_are_refused_in_one_line_that_names_the_views(logits):
    with pytest.raises(DataError, match=r"^teacher .* of shape \(3, 40, 3\) for blobs, got \(.*\): .* with views=3$"):
        make_trainer(logits=logits, views=3)


def test_logits_of_several_views_are_refused_where_there_is_one():
    with pytest.raises(
        DataError, match=r"of shape \(40, 3\) for blobs, got \(3, 40, 3\): train the teacher on the same"
    ):
        make_trainer(logits=VIEW_LOGITS)


def test_views_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="views must be a whole number >= 1"):
        make_trainer(logits=VIEW_LOGITS, views=0)


def test_fewer_images_than_one_batch_are_refused():
    with pytest.raises(DataError, match="40 training images are fewer than one batch of 64"):
        make_trainer(batch_size=64)


@pytest.mark.skipif(not STATM.exists(), reason="needs /proc")
def test_a_training_leaves_almost_no_memory_behind(trainer):
    for task in range(3):
        trainer.train(DISTILL, seed=task)
    before = resident_mb()
    for task in range(20):
        trainer.train(DistillConfig(temperature=1.0 + task, alpha=task / 20), seed=task % 3)
    assert resident_mb() - before < 10  # 0.5 MB a training at most


def resident_mb():
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_a_student_that_keras_cannot_save_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "cannot_be_saved.py").write_text(
        "import keras\n"
        "class Holds(keras.layers.Layer):\n"
        "    def __init__(self, something):\n"
        "        super().__init__()\n"
        "    def call(self, x):\n"
        "        return x\n"
        "def build(shape, classes):\n"
        "    dense = keras.layers.Dense(classes)\n"
        "    return keras.Sequential([keras.Input(shape), Holds(object()), keras.layers.Flatten(), dense])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    trainer = make_trainer("cannot_be_saved:build")
    trainer.train(DISTILL, seed=0)
    with pytest.raises(
        ModelError, match="'cannot_be_saved:build' cannot be saved: NotImplementedError: Object Holds"
    ) as e:
        trainer.model_bytes()
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 400
