"""kd.training.distiller.Distiller: what a user of `fit` and `evaluate` may rely on."""

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


@pytest.mark.parametrize(
    ("labels", "loss"),
    [
        (LABELS, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        (np.eye(3)[LABELS], keras.losses.CategoricalCrossentropy(from_logits=True)),
    ],
    ids=["integers", "one-hot"],
)
def test_alpha_one_is_plain_training_to_the_last_bit(labels, loss):
    plain = dense(regularizer="l2")
    plain.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss)
    plain.fit(IMAGES, labels, batch_size=8, epochs=2, shuffle=False, verbose=0)

    student = dense(regularizer="l2")
    fit(Distiller(student=student, teacher=teacher_with_batchnorm(), temperature=7.0, alpha=1.0), labels)
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


@pytest.mark.parametrize(
    "point",
    [
        {"temperature": 0.0, "alpha": 0.5},
        {"temperature": 1.0, "alpha": 2.0},
        {"temperature": 1.0, "alpha": None},
        {"temperature": "4", "alpha": 0.5},
        {"temperature": 1.0, "alpha": 0.5, "own": {"gamma": 2.0}},
    ],
)
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


def test_labels_of_another_number_of_classes_are_refused():
    distiller = Distiller(student=dense(), teacher=dense(), temperature=1.0, alpha=0.5)
    distiller.compile(optimizer="adam")
    with pytest.raises(ValueError, match=r"labels have shape .*5\), logits .*3\): give integers of shape"):
        distiller.fit(IMAGES, np.eye(5)[LABELS], verbose=0)


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


def test_a_softmax_within_a_model_is_its_own_business():
    attention = keras.Model(INPUT, LOGITS * ops.softmax(LOGITS))
    Distiller(student=dense(), teacher=attention, temperature=1.0, alpha=0.5)


@pytest.mark.parametrize("loss", [None, ["kd", "mse"], keras.losses.KLDivergence()])
def test_a_loss_that_is_no_name_is_refused(loss):
    with pytest.raises(ValueError, match=r"^loss must be a name, got"):
        Distiller(student=dense(), temperature=1.0, alpha=0.5, loss=loss)


def test_a_model_cannot_teach_itself():
    model = dense()
    with pytest.raises(ValueError, match="teacher and student are one model"):
        Distiller(student=model, teacher=model, temperature=1.0, alpha=0.5)
    assert model.trainable


def test_a_loss_of_ones_own_is_refused():
    distiller = Distiller(student=dense(), temperature=1.0, alpha=0.5)
    with pytest.raises(ValueError, match="has its own loss"):
        distiller.compile(optimizer="adam", loss="mse")


def test_the_page_without_a_sweep_prints_what_it_shows_on_fewer_images(monkeypatch, capsys, tmp_path):
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
    """What the page says of it; once Keras does otherwise, the page shall."""
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
