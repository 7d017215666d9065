"""kd.training.distiller.Distiller: what a user of `fit` and `evaluate` may rely on."""

import re

import keras
import numpy as np
import pytest
from keras import ops

import kd
from kd.data.datasets import load
from kd.training.distiller import Distiller
from tests.support.pages import all_text

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


def teacher_with_batchnorm():
    keras.utils.set_random_seed(7)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )


def fit(distiller, y=LABELS, epochs=2, **kwargs):
    distiller.compile(optimizer=keras.optimizers.Adam(0.01), metrics=["accuracy"])
    return distiller.fit(IMAGES, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, **kwargs)


def test_alpha_one_is_plain_training_to_the_last_bit():
    plain = dense(regularizer="l2")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss)
    plain.fit(IMAGES, LABELS, batch_size=8, epochs=2, shuffle=False, verbose=0)

    student = dense(regularizer="l2")
    fit(Distiller(student=student, teacher=teacher_with_batchnorm(), temperature=7.0, alpha=1.0))
    for ours, theirs in zip(student.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_only_the_student_is_trained_cached_logits_train_the_same_one_and_loss_and_metrics_are_shown():
    teacher = teacher_with_batchnorm()
    before = [ops.convert_to_numpy(variable).tobytes() for variable in teacher.variables]
    students = []
    for given, y in ((teacher, LABELS), (None, (LABELS, teacher.predict_on_batch(IMAGES)))):
        distiller = Distiller(student=dense(), teacher=given, temperature=3.0, alpha=0.3)
        history = fit(distiller, y, validation_data=(IMAGES, y)).history
        assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
        assert history["val_accuracy"][-1] == distiller.evaluate(IMAGES, y, verbose=0, return_dict=True)["accuracy"]
        right = distiller.student.predict_on_batch(IMAGES).argmax(axis=-1) == LABELS
        assert history["val_accuracy"][-1] == pytest.approx(right.mean())
        assert [v.path for v in distiller.trainable_variables] == [
            v.path for v in distiller.student.trainable_variables
        ]
        students.append(distiller.student.get_weights())
    assert [ops.convert_to_numpy(variable).tobytes() for variable in teacher.variables] == before
    for live, cached, initial in zip(*students, dense().get_weights(), strict=True):
        np.testing.assert_allclose(live, cached, atol=1e-5)
        assert np.abs(live - initial).max() > 1e-3


def test_set_point_changes_the_loss_of_a_compiled_step_without_tracing_it_again(traces):
    distiller = Distiller(student=dense(), teacher=teacher_with_batchnorm(), temperature=1.0, alpha=0.0)
    distiller.compile(optimizer="adam")
    losses = []
    for temperature, alpha in [(1.0, 0.0), (5.0, 0.0), (5.0, 1.0)]:
        distiller.set_point(temperature=temperature, alpha=alpha)
        losses.append(distiller.test_on_batch(IMAGES, LABELS))
    assert len(set(losses)) == 3
    assert len(traces) == 1


@pytest.mark.parametrize("point", [{"temperature": 0.0, "alpha": 0.5}, {"temperature": 1.0, "alpha": 2.0}])
def test_an_impossible_point_is_refused(point):
    with pytest.raises(ValueError, match="must be"):
        Distiller(student=dense(), **point)
    distiller = Distiller(student=dense(), temperature=1.0, alpha=0.5)
    with pytest.raises(ValueError, match="must be"):
        distiller.set_point(**point)


def test_labels_alone_are_refused_when_there_is_no_teacher():
    distiller = Distiller(student=dense(), temperature=1.0, alpha=0.5)
    distiller.compile(optimizer="adam")
    with pytest.raises(ValueError, match=r"needs y=\(labels, teacher_logits\); or give it teacher="):
        distiller.fit(IMAGES, LABELS, verbose=0)


def test_sample_weights_are_refused_rather_than_ignored():
    distiller = Distiller(student=dense(), teacher=dense(), temperature=1.0, alpha=0.5)
    distiller.compile(optimizer="adam")
    with pytest.raises(ValueError, match="leave sample_weight and class_weight out"):
        distiller.fit(IMAGES, LABELS, sample_weight=np.ones(32), verbose=0)


def test_a_loss_of_ones_own_is_refused():
    distiller = Distiller(student=dense(), temperature=1.0, alpha=0.5)
    with pytest.raises(ValueError, match="brings its own loss"):
        distiller.compile(optimizer="adam", loss="mse")


def test_the_example_of_the_docs_runs_as_it_stands_on_fewer_images(monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", all_text(), flags=re.DOTALL)
    (example,) = [block for block in blocks if "Distiller(" in block]
    few = load("digits", train_images=64)
    monkeypatch.setattr(kd, "load", {"digits": few}.get)
    exec(example, {})
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.slow
def test_a_distiller_fits_with_another_loss_and_says_which():
    student = keras.Sequential([keras.layers.Dense(3)])
    logits = IMAGES @ np.random.default_rng(1).normal(size=(6, 3)).astype("float32")  # a student can reach them
    distiller = Distiller(student=student, temperature=2.0, alpha=0.0, loss="dist", own=(("intra_weight", 3.0),))
    distiller.compile(optimizer=keras.optimizers.Adam(0.05), metrics=["accuracy"])
    history = distiller.fit(IMAGES, (LABELS, logits), epochs=100, verbose=0).history["loss"]
    assert history[-1] < history[0] / 10
    with pytest.raises(
        ValueError, match=r"brings its own loss, alpha\*CE\(labels\) \+ .*inter_weight.*; got loss='mse'"
    ):
        distiller.compile(optimizer="adam", loss="mse")
    with pytest.raises(
        ValueError, match=r"loss 'dist' has no parameter 'gamma'; its own are inter_weight, intra_weight"
    ):
        Distiller(student=student, temperature=2.0, alpha=0.0, loss="dist", own=(("gamma", 3.0),))
