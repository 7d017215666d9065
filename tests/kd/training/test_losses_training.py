"""Students trained with each loss: they learn, alpha = 1 is plain training, and a learning rate can be given."""

import keras
import numpy as np
import pytest

from kd.config import DistillConfig, TrainingConfig
from kd.data.datasets import Dataset, Split, load
from kd.errors import Diverged, ModelError
from kd.losses.builtin import LOSSES
from kd.models.named import build
from kd.training.distiller import Distiller
from kd.training.student import StudentTrainer
from tests.kd.training.test_trainer import DATASET, DISTILL, LOGITS, outcome

pytestmark = pytest.mark.training

SETTINGS = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-2}
OWN = """
from keras import ops

def loss(labels, teacher_logits, student_logits, *, temperature, beta=2.0):
    gap = (student_logits - teacher_logits) / temperature
    return beta * ops.mean(ops.square(gap), axis=-1)
"""


def make_trainer(loss="kd", *, logits=LOGITS, dataset=DATASET, student="keras-student", **training):
    settings = TrainingConfig(**(SETTINGS | training))
    return StudentTrainer(dataset, student=student, teacher_logits=logits, training=settings, loss=loss)


@pytest.fixture(scope="module")
def trainers():
    return {name: make_trainer(name) for name in LOSSES}


def test_at_alpha_one_every_loss_trains_the_same_student(trainers):
    labels_only = DistillConfig(temperature=3.0, alpha=1.0)
    students = {name: outcome(trainer, labels_only) for name, trainer in trainers.items()}
    scores, logits = outcome(make_trainer(logits=None), labels_only)
    for name, (found, said) in students.items():
        assert found == scores, name
        # Mostly the same bits. Each loss is a graph of its own, and this process has several threads.
        assert np.allclose(np.frombuffer(said, np.float32), np.frombuffer(logits, np.float32), atol=1e-4), name
    taught = {name: outcome(trainer) for name, trainer in trainers.items()}
    assert len({*taught.values(), students["kd"]}) == len(LOSSES) + 1


def test_without_a_teacher_alpha_one_trains_with_every_loss(trainers):
    labels_only = DistillConfig(temperature=1.0, alpha=1.0)
    for name, trainer in trainers.items():
        taught = outcome(trainer, labels_only)
        trainer.teach(None)
        assert outcome(trainer, labels_only) == taught, name
        trainer.teach(LOGITS)


def test_temperature_changes_every_loss_that_says_so(trainers):
    for name, trainer in trainers.items():
        warm, hot = (outcome(trainer, DistillConfig(temperature=t, alpha=0.2)) for t in (2.0, 5.0))
        assert (warm != hot) == LOSSES[name].uses_temperature, name


def test_own_parameters_are_variables_of_one_compiled_step(trainers, traces):
    for name in ("dkd", "nkd", "dist"):
        trainer = trainers[name]
        first = outcome(trainer)
        for parameter in LOSSES[name].parameters:
            other = DistillConfig(temperature=3.0, alpha=0.4, own=((parameter.name, parameter.high),))
            changed = outcome(trainer, other)
            assert changed != first, parameter.name
            default = DistillConfig(temperature=3.0, alpha=0.4, own=((parameter.name, parameter.default),))
            assert outcome(trainer, default) == first, "and what is not given goes back to its default"
    assert traces == []


def test_a_parameter_that_the_loss_does_not_have_is_refused_and_changes_nothing(trainers):
    expected = outcome(trainers["kd"])
    with pytest.raises(ValueError, match=r"^loss 'kd' has no parameter 'beta'; it has none of its own$"):
        trainers["kd"].train(DistillConfig(temperature=9.0, alpha=0.1, own=(("beta", 2.0),)), seed=1)
    assert outcome(trainers["kd"]) == expected
    with pytest.raises(ModelError, match=r"^no loss 'kdd'; did you mean 'kd'"):
        make_trainer("kdd")


def test_a_users_loss_trains_and_its_parameter_matters(tmp_path, monkeypatch, traces):
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    trainer = make_trainer("./mine.py:loss", logits=2 * LOGITS)
    first = outcome(trainer)
    assert outcome(trainer, DistillConfig(temperature=3.0, alpha=0.4, own=(("beta", 9.0),))) != first
    assert outcome(trainer, DistillConfig(temperature=3.0, alpha=0.4, own=(("beta", 2.0),))) == first
    assert len(traces) == 1
    labels_only = DistillConfig(temperature=3.0, alpha=1.0)
    assert outcome(trainer, labels_only) == outcome(make_trainer(), labels_only)


def test_a_diverged_training_names_the_own_parameters():
    trainer = make_trainer("nkd", learning_rate=1e30)
    with pytest.raises(Diverged, match=r"\(T=3, alpha=0\.4, gamma=2, seed 1\): lower the learning rate"):
        trainer.train(DistillConfig(temperature=3.0, alpha=0.4, own=(("gamma", 2.0),)), seed=1)


@pytest.fixture(scope="module")
def digits():
    """The digits with shuffled labels, and a linear classifier's logits for their training images."""
    dataset = load("digits")
    pixels = dataset.train.images.reshape(len(dataset.train), -1) / 255.0
    pixels = np.hstack([pixels, np.ones((len(pixels), 1))])
    onehot = np.eye(10)[dataset.train.labels]
    logits = 8 * pixels @ np.linalg.lstsq(pixels, onehot, rcond=None)[0]
    shuffled = np.random.default_rng(0).permutation(dataset.train.labels)  # the labels teach nothing
    untaught = Dataset(
        "digits without labels", Split(dataset.train.images, shuffled), dataset.validation, 10, "", "", "test"
    )
    return untaught, logits.astype(np.float32)


# At alpha = 1 all of them are trained below, and test_losses_theory.py has the gradient of each.
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "dkd")) for name in LOSSES])
def test_the_term_alone_teaches_a_student(name, digits):
    noise, logits = digits
    dataset = load("digits") if name in ("dkd", "nkd") else noise  # these two read the labels
    trainer = make_trainer(name, dataset=dataset, logits=logits, student="mlp-800", epochs=4, learning_rate=2e-3)
    untrained = build("mlp-800", dataset.train.images.shape[1:], 10, seed=1).predict_on_batch(dataset.validation.images)
    before = np.mean(untrained.argmax(axis=-1) == dataset.validation.labels)
    result = trainer.train(DistillConfig(temperature=2.0, alpha=0.0), seed=1)
    assert before < 0.3 < 0.8 < result.val_accuracy


@pytest.mark.parametrize("schedule", ["constant", "cosine", "average"])
def test_a_training_with_another_learning_rate_has_the_bits_of_a_trainer_with_it(schedule, traces):
    trainer = make_trainer(schedule=schedule)
    own = outcome(trainer)
    for rate in (3e-3, 0.0171):
        result = trainer.train(DISTILL, seed=1, learning_rate=rate)
        bits = result.epoch_val_accuracy, trainer.logits(DATASET.validation).tobytes()
        assert bits == outcome(make_trainer(schedule=schedule, learning_rate=rate)) != own
    assert outcome(trainer) == own, "the next training has the trainer's own again"
    assert len(traces) == 3


@pytest.mark.parametrize("rate", [0.0, -1e-3, float("nan"), float("inf")])
def test_a_learning_rate_that_cannot_be_is_refused(trainers, rate):
    with pytest.raises(ValueError, match=r"^learning_rate must be finite and > 0, got"):
        trainers["kd"].train(DISTILL, seed=1, learning_rate=rate)


@pytest.mark.slow
def test_a_distiller_fits_with_another_loss_and_says_which():
    student = keras.Sequential([keras.layers.Dense(3)])
    images, labels = np.random.default_rng(0).normal(size=(32, 6)).astype("float32"), np.arange(32) % 3
    logits = images @ np.random.default_rng(1).normal(size=(6, 3)).astype("float32")  # a student can reach them
    distiller = Distiller(student=student, temperature=2.0, alpha=0.0, loss="dist", own=(("intra_weight", 3.0),))
    distiller.compile(optimizer=keras.optimizers.Adam(0.05), metrics=["accuracy"])
    history = distiller.fit(images, (labels, logits), epochs=100, verbose=0).history["loss"]
    assert history[-1] < history[0] / 10
    assert len(student.trainable_variables) == len(distiller.trainable_variables) == 2
    with pytest.raises(
        ValueError, match=r"brings its own loss, alpha\*CE\(labels\) \+ .*inter_weight.*; got loss='mse'"
    ):
        distiller.compile(optimizer="adam", loss="mse")
    with pytest.raises(
        ValueError, match=r"loss 'dist' has no parameter 'gamma'; its own are inter_weight, intra_weight"
    ):
        Distiller(student=student, temperature=2.0, alpha=0.0, loss="dist", own=(("gamma", 3.0),))
