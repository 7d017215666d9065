"""kd.training.distiller.Distiller: the contract of `fit` and `evaluate`."""

import re

import keras
import numpy as np
import pytest
from keras import ops

import kd
from kd.data.datasets import load
from kd.training.distiller import Distiller
from tests.support.pages import DOCS

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(32, 6)).astype("float32")
LABELS = RNG.integers(0, 3, size=32)


def dense(units=4, seed=1, regularizer=None):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(units, activation="relu", kernel_regularizer=regularizer),
            keras.layers.Dense(3),
        ]
    )


@pytest.mark.parametrize(
    ("labels", "loss"),
    [
        (LABELS, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        (np.eye(3)[LABELS], keras.losses.CategoricalCrossentropy(from_logits=True)),
    ],
    ids=["integers", "one-hot"],
)
def test_alpha_one_is_plain_training_to_the_last_bit(labels, loss):
    plain, student = dense(regularizer="l2"), dense(regularizer="l2")
    distiller = Distiller(student=student, teacher=dense(8, seed=7), temperature=7.0, alpha=1.0)
    for model, options in ((plain, {"loss": loss}), (distiller, {})):
        model.compile(optimizer=keras.optimizers.Adam(0.01), **options)
        model.fit(IMAGES, labels, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for ours, theirs in zip(student.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_impossible_point_is_refused():
    with pytest.raises(ValueError, match="must be"):
        Distiller(student=dense(), temperature=0.0, alpha=0.5)
    distiller = Distiller(student=dense(), temperature=1.0, alpha=0.5)
    with pytest.raises(ValueError, match="must be"):
        distiller.set_point(temperature=0.0, alpha=0.5)


@pytest.mark.parametrize(
    ("has_teacher", "labels", "message"),
    [
        (False, LABELS, r"needs y=\(labels, teacher_logits\); or give it teacher="),
        (True, np.eye(5)[LABELS], r"labels have shape .*5\), logits .*3\): give integers of shape"),
    ],
    ids=["labels alone without a teacher", "labels of five classes"],
)
def test_labels_of_another_shape_are_refused(has_teacher, labels, message):
    distiller = Distiller(student=dense(), teacher=dense() if has_teacher else None, temperature=1.0, alpha=0.5)
    distiller.compile(optimizer="adam")
    with pytest.raises(ValueError, match=message):
        distiller.fit(IMAGES, labels, verbose=0)


INPUT = keras.Input((6,))
LOGITS = keras.layers.Dense(3)(INPUT)
NO_LOGITS = "must return logits, got probabilities from its last layer"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation="softmax")]), NO_LOGITS),
        (keras.Sequential([keras.layers.Dense(3), keras.layers.Softmax()]), NO_LOGITS),
        (keras.Model(INPUT, keras.layers.Activation("sigmoid")(LOGITS)), NO_LOGITS),
        (keras.Model(INPUT, ops.softmax(LOGITS)), NO_LOGITS),
        (keras.Sequential([keras.Model(INPUT, ops.softmax(LOGITS))]), NO_LOGITS),
        (keras.Model(INPUT, [LOGITS, LOGITS]), "must have one output, the logits, got 2"),
        ("not_a_model", "must be a keras.Model, got 'not_a_model'"),
    ],
    ids=["activation", "layer", "sigmoid", "operation", "nested", "outputs", "no model"],
)
def test_a_model_that_gives_no_logits_is_refused(model, message):
    for role in ("student", "teacher"):
        with pytest.raises(ValueError, match=f"^{role} {message}"):
            Distiller(**{"student": dense(), "temperature": 1.0, "alpha": 0.5, role: model})


def test_a_softmax_inside_a_model_is_allowed():
    attention = keras.Model(INPUT, LOGITS * ops.softmax(LOGITS))
    Distiller(student=dense(), teacher=attention, temperature=1.0, alpha=0.5)


@pytest.mark.parametrize("loss", [None, ["kd", "mse"], keras.losses.KLDivergence()])
def test_a_loss_that_is_not_a_name_is_refused(loss):
    with pytest.raises(ValueError, match=r"^loss must be a name, got"):
        Distiller(student=dense(), temperature=1.0, alpha=0.5, loss=loss)


def test_a_model_cannot_teach_itself():
    model = dense()
    with pytest.raises(ValueError, match="teacher and student are one model"):
        Distiller(student=model, teacher=model, temperature=1.0, alpha=0.5)
    assert model.trainable


def test_a_users_loss_is_refused():
    distiller = Distiller(student=dense(), temperature=1.0, alpha=0.5)
    with pytest.raises(ValueError, match="has its own loss"):
        distiller.compile(optimizer="adam", loss="mse")


def test_the_page_without_a_sweep_prints_its_output_on_fewer_images(monkeypatch, capsys, tmp_path):
    text = (DOCS / "how-to" / "without-a-sweep.md").read_text(encoding="utf-8")
    monkeypatch.setattr(kd, "load", {"digits": load("digits", train_images=64)}.get)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for language, block in re.findall(r"```(\w+)\n(.*?)```", text, flags=re.DOTALL):
        if language == "python":
            exec(block, names)
        else:
            assert capsys.readouterr().out == block
    assert (tmp_path / "student.keras").is_file()


def test_a_distiller_of_keras_ignores_weights_and_is_not_compiled_after_loading(tmp_path):
    """The page says so; if Keras changes, change the page."""
    term = keras.distillation.LogitsDistillation(loss=keras.losses.KLDivergence())
    theirs = keras.distillation.Distiller(teacher=dense(), student=dense(), distillation_losses=term)
    theirs.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batch = (ops.convert_to_tensor(IMAGES), ops.convert_to_tensor(LABELS), theirs(IMAGES))
    assert float(theirs.compute_loss(*batch, sample_weight=ops.zeros(32))) == float(theirs.compute_loss(*batch)) > 0
    theirs.save(tmp_path / "theirs.keras")
    with pytest.warns(UserWarning, match=r"`compile\(\)` was not called as part of model loading"):
        keras.saving.load_model(tmp_path / "theirs.keras")


@pytest.mark.slow
def test_a_distiller_fits_with_another_loss_and_says_which():
    student = keras.Sequential([keras.layers.Dense(3)])
    logits = IMAGES @ np.random.default_rng(1).normal(size=(6, 3)).astype("float32")  # a student can reach them
    distiller = Distiller(student=student, temperature=2.0, alpha=0.0, loss="dist", own=(("intra_weight", 3.0),))
    distiller.compile(optimizer=keras.optimizers.Adam(0.05), metrics=["accuracy"])
    history = distiller.fit(IMAGES, (LABELS, logits), epochs=100, verbose=0).history["loss"]
    assert history[-1] < history[0] / 10
    with pytest.raises(ValueError, match=r"has its own loss, alpha\*CE\(labels\) \+ .*inter_weight.*; got loss='mse'"):
        distiller.compile(optimizer="adam", loss="mse")
    with pytest.raises(ValueError, match=r"loss 'dist' has no parameter 'gamma'; it has inter_weight, intra_weight"):
        Distiller(student=student, temperature=2.0, alpha=0.0, loss="dist", own=(("gamma", 3.0),))
