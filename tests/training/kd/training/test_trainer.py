"""kd.training.student.StudentTrainer: one compiled step, and results independent of earlier trainings.

Compiling takes a second or more, a training milliseconds: `kept` creates one trainer of each kind for the whole file.
The first two tests show that its trainings do not affect each other.
"""

import os
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kd.config import MODEL_NAMES, DistillConfig, TrainingConfig
from kd.data.datasets import Dataset, Split
from kd.errors import Diverged, KdError, ModelError
from kd.losses.builtin import LOSSES
from kd.models.named import build
from kd.teachers.logits_file import class_mean, uniform
from kd.training.batches import cosine_to_zero, view
from kd.training.student import StudentTrainer

CLASSES = 3
STATM = Path("/proc/self/statm")
OWN_LOSS = """
from keras import ops

def loss(labels, teacher_logits, student_logits, *, temperature, beta=2.0):
    gap = (student_logits - teacher_logits) / temperature
    return beta * ops.mean(ops.square(gap), axis=-1)
"""


STATEFUL = """
from keras import Input, Sequential, layers

def build(shape, classes):
    inner = [layers.Dense(8), layers.BatchNormalization(), layers.Dropout(0.2)]
    return Sequential([Input(shape), layers.Rescaling(1 / 255), layers.Flatten(), *inner, layers.Dense(classes)])
"""
SLOW = pytest.mark.slow  # seconds to compile, twice


def blobs(count, *, seed):
    """Images of three classes that differ in brightness: learnable in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    images = rng.integers(0, 80, (count, 8, 8, 1)) + 80 * labels[:, None, None, None]
    return Split(images.astype(np.uint8), labels.astype(np.int64))


DATASET = Dataset("blobs", blobs(40, seed=1), blobs(30, seed=2), CLASSES, "", "", "synthetic")
LOGITS = np.random.default_rng(3).normal(size=(40, CLASSES)).astype(np.float32)
LOGITS[np.arange(40), DATASET.train.labels] += 4.0
VIEW_LOGITS = np.stack([LOGITS, -LOGITS, np.roll(LOGITS, 1, axis=-1)])  # (views, images, classes)
DISTILL = DistillConfig(temperature=3.0, alpha=0.4)
LABELS_ONLY = DistillConfig(temperature=3.0, alpha=1.0)


def make_trainer(student="keras-student", *, logits=LOGITS, views=1, loss="kd", **training):
    settings = TrainingConfig(**({"epochs": 2, "batch_size": 12, "learning_rate": 1e-2} | training))
    return StudentTrainer(DATASET, student=student, teacher_logits=logits, training=settings, views=views, loss=loss)


@cache
def kept(loss, logits="of a teacher"):
    """Return the trainer that all tests of a loss share; logits: None for one without a teacher."""
    return make_trainer(loss=loss, logits=None if logits is None else LOGITS)


@pytest.fixture
def trainer():
    return kept("kd")


@pytest.fixture
def untaught():
    """Yield a trainer without a teacher at the start of each test."""
    trainer = kept("kd", None)
    yield trainer
    trainer.teach(None)


@pytest.fixture(params=list(LOSSES))
def of_a_loss(request):
    return request.param, kept(request.param)


def outcome(trainer, distill=DISTILL, seed=1, **settings):
    """Return everything a training produces, to the last bit."""
    result = trainer.train(distill, seed=seed, **settings)
    return result.epoch_val_accuracy, trainer.logits(DATASET.validation).tobytes()


def test_another_point_seed_or_teacher_retraces_nothing_and_gives_the_bits_of_a_new_trainer(trainer, traces):
    first = outcome(trainer)
    traces.clear()
    for task in range(4):
        trainer.train(DistillConfig(temperature=1.0 + task, alpha=task / 3), seed=task)
    others = {"class mean": class_mean(LOGITS, DATASET.train.labels), "none": uniform(LOGITS), "doubled": -2.0 * LOGITS}
    outcomes = {}
    for name, logits in others.items():
        trainer.teach(logits.astype(np.float64) if name == "doubled" else logits)
        outcomes[name] = outcome(trainer)
    trainer.teach(LOGITS)
    assert outcome(trainer) == first
    assert traces == []
    assert len({first, *outcomes.values()}) == 4
    assert outcomes["doubled"] == outcome(make_trainer(logits=others["doubled"]))


@pytest.mark.parametrize("student", ["./stateful.py:build", *(pytest.param(name, marks=SLOW) for name in MODEL_NAMES)])
def test_a_student_with_batchnorm_and_dropout_has_the_same_bits_as_first_and_tenth_task(student, tmp_path, monkeypatch):
    (tmp_path / "stateful.py").write_text(STATEFUL)
    monkeypatch.chdir(tmp_path)
    trainer = make_trainer(student)
    first = outcome(trainer)
    for task in range(8):
        trainer.train(DistillConfig(temperature=1.0 + task, alpha=task / 8), seed=task % 3)
    assert outcome(trainer) == first == outcome(make_trainer(student))


def test_at_alpha_one_every_temperature_and_no_teacher_at_all_are_bit_identical(trainer, untaught):
    points = [DistillConfig(temperature=temperature, alpha=1.0) for temperature in (1.0, 5.0, 20.0)]
    assert len({outcome(untaught, points[0]), *(outcome(trainer, point) for point in points)}) == 1


def plain_keras(images_of_epochs, *, seed):
    """Return validation logits, epoch by epoch, of a student that `fit` trains on these images."""
    plain = build("keras-student", (8, 8, 1), CLASSES, seed=seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain.compile(optimizer=keras.optimizers.Adam(1e-2), loss=loss)
    for epoch, images in enumerate(images_of_epochs):
        order = np.random.default_rng((seed, epoch)).permutation(40)[:36]  # three full batches; the rest is dropped
        plain.fit(images[order], DATASET.train.labels[order], batch_size=12, shuffle=False, verbose=0)
    return plain.predict_on_batch(DATASET.validation.images)


def test_views_are_compiled_once_and_each_training_sees_what_plain_keras_would(traces):
    trainer = make_trainer(logits=VIEW_LOGITS, views=3, epochs=5)
    first = outcome(trainer)  # it ends with the second view
    trainer.teach(-VIEW_LOGITS)
    other = outcome(trainer)
    trainer.teach(VIEW_LOGITS)
    assert outcome(trainer) == first != other
    trainer.train(DistillConfig(temperature=4.0, alpha=1.0), seed=9, epochs=4)
    assert len(traces) == 1
    expected = plain_keras([view(DATASET.train.images, epoch % 3) for epoch in range(4)], seed=9)
    np.testing.assert_allclose(trainer.logits(DATASET.validation), expected, rtol=1e-5, atol=1e-5)


def test_the_number_of_steps_per_execution_changes_nothing(trainer, monkeypatch):
    whole_epochs = outcome(trainer)  # of 3 steps
    monkeypatch.setattr("kd.training.student.STEPS_PER_CALL", 2)
    assert outcome(trainer) == whole_epochs


def test_temperature_alpha_and_seed_each_matter(trainer):
    others = (DistillConfig(temperature=9.0, alpha=0.4), DistillConfig(temperature=3.0, alpha=0.9))
    assert len({outcome(trainer), outcome(trainer, seed=2), *(outcome(trainer, other) for other in others)}) == 4


def test_a_teacher_can_be_given_later_and_taken_away(trainer, untaught):
    untaught.teach(LOGITS)
    assert outcome(untaught) == outcome(trainer)
    untaught.teach(None)
    with pytest.raises(ValueError, match=r"alpha must be 1 without teacher logits, got 0.4"):
        untaught.train(DISTILL, seed=1)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "average"])
def test_one_training_can_have_other_epochs_and_another_rate_than_its_trainer(schedule, traces):
    trainer = kept("kd") if schedule == "constant" else make_trainer(schedule=schedule)
    own = outcome(trainer)
    traces.clear()
    assert outcome(trainer, epochs=4, learning_rate=3e-3) != own
    longer = outcome(trainer, epochs=5, learning_rate=0.0171)
    assert outcome(trainer) == own, "the next training must use the trainer's own settings"
    assert traces == []
    assert longer == outcome(make_trainer(schedule=schedule, epochs=5, learning_rate=0.0171))


def test_cosine_is_the_schedule_of_keras():
    steps = tf.Variable(8.0)
    theirs = keras.optimizers.schedules.CosineDecay(0.01, 8)
    for step in range(10):
        assert float(cosine_to_zero(0.01, steps, step)) == pytest.approx(float(theirs(step)), rel=1e-6, abs=1e-9)
    steps.assign(4.0)
    assert [float(cosine_to_zero(0.01, steps, step)) for step in (0, 2, 4)] == pytest.approx(
        [0.01, 0.005, 0.0], abs=1e-9
    )


def test_validation_is_evenly_spaced_and_follows_the_last_epoch(trainer):
    for epochs, looked in ((1, [0]), (2, [0, 1]), (4, [1, 3]), (5, [2, 4]), (8, [3, 7])):
        result = trainer.train(DISTILL, seed=1, epochs=epochs)
        seen = [epoch for epoch, value in enumerate(result.epoch_val_accuracy) if value is not None]
        assert (seen, len(result.epoch_val_accuracy)) == (looked, epochs)
        assert result.val_accuracy == result.epoch_val_accuracy[-1]


def test_a_student_learns_and_the_result_has_its_curve(trainer):
    heard = []
    listen = lambda epoch, accuracy: heard.append((epoch, accuracy))  # noqa: E731
    result = trainer.train(DISTILL, seed=1, epochs=20, on_epoch=listen)
    assert result.val_accuracy > 0.9
    assert result.val_accuracy == result.epoch_val_accuracy[-1]
    assert heard == list(enumerate(result.epoch_val_accuracy))
    assert result.parameters == parameters()
    assert result.train_s > 0
    assert result.cpu_s > 0


def parameters():
    return build("keras-student", (8, 8, 1), CLASSES, seed=0).count_params()


def test_accuracy_counts_every_image_once_however_many_there_are(trainer):
    trainer.train(DISTILL, seed=1)
    split = blobs(1203, seed=4)  # two full evaluation batches and a part of a third
    logits = trainer.logits(split)
    assert logits.shape == (1203, CLASSES)
    assert logits.dtype == np.float32
    assert trainer.accuracy(split) == np.mean(logits.argmax(axis=-1) == split.labels)
    assert trainer.logits(blobs(7, seed=4)).shape == (7, CLASSES)


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
    """A lost lease or a pruned trial."""


def test_an_exception_from_on_epoch_propagates_and_the_trainer_stays_usable(trainer):
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


@pytest.mark.parametrize(("loss", "own", "named"), [("kd", (), ""), ("nkd", (("gamma", 2.0),), " gamma=2,")])
def test_a_diverged_training_is_an_expected_error_that_names_the_point(loss, own, named):
    point = DistillConfig(temperature=3.0, alpha=0.4, own=own)
    with pytest.raises(
        Diverged, match=rf"not finite.*\(T=3, alpha=0\.4,{named} seed 1\): lower the learning rate"
    ) as caught:
        kept(loss).train(point, seed=1, learning_rate=1e30)
    assert isinstance(caught.value, KdError)


@pytest.mark.skipif(not STATM.exists(), reason="needs /proc")
def test_a_training_leaks_almost_no_memory(trainer):
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


# Each loss


def test_at_alpha_one_every_loss_trains_the_student_of_the_labels_with_a_teacher_and_without(of_a_loss, untaught):
    _, trainer = of_a_loss
    scores, logits = outcome(trainer, LABELS_ONLY)
    expected = outcome(untaught, LABELS_ONLY)
    assert scores == expected[0]
    # Mostly the same bits: each loss has its own graph, and this process has several threads.
    assert np.allclose(np.frombuffer(logits, np.float32), np.frombuffer(expected[1], np.float32), atol=1e-4)
    assert outcome(trainer) != (scores, logits)
    trainer.teach(None)
    assert outcome(trainer, LABELS_ONLY) == (scores, logits)
    trainer.teach(LOGITS)


def test_no_two_losses_train_the_same_student():
    assert len({outcome(kept(name)) for name in LOSSES}) == len(LOSSES)


def test_temperature_changes_every_loss_that_declares_it(of_a_loss):
    name, trainer = of_a_loss
    warm, hot = (outcome(trainer, DistillConfig(temperature=t, alpha=0.2)) for t in (2.0, 5.0))
    assert (warm != hot) == LOSSES[name].uses_temperature


def test_the_term_alone_trains_a_student(of_a_loss):
    assert of_a_loss[1].train(DistillConfig(temperature=2.0, alpha=0.0), seed=1, epochs=60).val_accuracy > 0.8


def test_own_parameters_are_variables_of_one_compiled_step(traces):
    for name in ("dkd", "nkd", "dist"):
        trainer = kept(name)
        first = outcome(trainer)
        before = len(traces)
        for parameter in LOSSES[name].parameters:
            other, default = (
                DistillConfig(temperature=3.0, alpha=0.4, own=((parameter.name, value),))
                for value in (2 * parameter.default, parameter.default)
            )
            assert outcome(trainer, other) != first, parameter.name
            assert outcome(trainer, default) == first, "a parameter that is not given must return to its default"
        assert len(traces) == before


def test_an_unknown_parameter_of_the_loss_is_refused_and_changes_nothing(trainer):
    expected = outcome(trainer)
    with pytest.raises(ValueError, match=r"^loss 'kd' has no parameter 'beta'; it has only T and alpha$"):
        trainer.train(DistillConfig(temperature=9.0, alpha=0.1, own=(("beta", 2.0),)), seed=1)
    assert outcome(trainer) == expected


def test_a_users_loss_trains_and_its_parameter_matters(tmp_path, monkeypatch, traces, untaught):
    (tmp_path / "mine.py").write_text(OWN_LOSS)
    monkeypatch.chdir(tmp_path)
    trainer = make_trainer(loss="./mine.py:loss", logits=2 * LOGITS)
    first = outcome(trainer)
    assert outcome(trainer, DistillConfig(temperature=3.0, alpha=0.4, own=(("beta", 9.0),))) != first
    assert outcome(trainer, DistillConfig(temperature=3.0, alpha=0.4, own=(("beta", 2.0),))) == first
    assert len(traces) == 1
    assert outcome(trainer, LABELS_ONLY) == outcome(untaught, LABELS_ONLY)
