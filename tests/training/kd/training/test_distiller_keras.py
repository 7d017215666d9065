"""kd.Distiller used as a Keras model, on every installed backend.

CHECKS has the rows of the table in docs/how-to/without-a-sweep.md. What Keras' own `distiller_test.py` checks of its
Distiller is among them, where the two mean the same. JAX and PyTorch are not packages of this project: where they are
not installed, their tests are skipped.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kd import Distiller
from kd.losses import builtin
from tests.support.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "how-to" / "without-a-sweep.md"
BACKENDS = ["TensorFlow", "JAX", "PyTorch"]
OTHERS = {"jax": "jax", "torch": "torch"}  # a backend of Keras and its package

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(24, 6)).astype("float32")
LABELS = RNG.integers(0, 3, size=24)
LOGITS = RNG.normal(size=(24, 3)).astype("float32")
ONE_HOT = np.eye(3)[LABELS]
POINT = {"temperature": 3.0, "alpha": 0.3}
IN_ORDER = {"batch_size": 8, "shuffle": False, "verbose": 0}


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):  # type: ignore[misc]  # keras is untyped
    """A model that builds its layers at the first call, after a teacher was frozen."""

    def __init__(self, units: int = 4, **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, shape: Any) -> None:
        self.inner, self.outer = layers.Dense(self.units, activation="relu"), layers.Dense(3)
        self.inner.build(shape)
        self.outer.build((None, self.units))

    def call(self, images: Any, training: bool | None = None) -> Any:
        return self.outer(self.inner(images))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def network(units: int = 4, *, built: bool = True) -> keras.Model:
    start = [keras.Input((6,))] if built else []
    return keras.Sequential(
        [*start, layers.Dense(units, activation="relu"), layers.BatchNormalization(), layers.Dense(3)]
    )


def distiller(**options: Any) -> Distiller:
    keras.utils.set_random_seed(1)
    model = Distiller(**{"student": network(), "teacher": network(8), **POINT, **options})
    jit = keras.backend.backend() == "jax"  # with TensorFlow, XLA would take most of the time of these tests
    model.compile(keras.optimizers.Adam(0.01), metrics=["accuracy"], jit_compile=jit)
    return model


def weights(model: keras.Model) -> list[Any]:
    return [keras.ops.convert_to_numpy(variable.value) for variable in model.variables]


def same(left: keras.Model, right: keras.Model) -> bool:
    return all(map(np.array_equal, weights(left), weights(right)))


def loss(model: Distiller, labels: Any, images: Any = IMAGES, weight: Any = None, logits: Any = None) -> float:
    """Return the loss of one batch as computed by `fit`, without compiling it."""
    images, labels, logits, weight = (
        None if value is None else keras.ops.convert_to_tensor(value) for value in (images, labels, logits, weight)
    )
    y = labels if logits is None else (labels, logits)
    return float(keras.ops.convert_to_numpy(model.compute_loss(images, y, model(images), weight)))


def teacher_is_frozen(folder: Path) -> None:
    model = distiller()
    assert not model.teacher.trainable
    assert model.student.trainable
    before, student = weights(model.teacher), weights(model.student)
    model.fit(IMAGES, LABELS, **IN_ORDER)
    assert all(map(np.array_equal, weights(model.teacher), before))
    assert not all(map(np.array_equal, weights(model.student), student))


def is_its_student(folder: Path) -> None:
    keras.utils.set_random_seed(1)
    model = Distiller(student=network(), teacher=network(8), **POINT)
    assert model.built
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), model.student.predict(IMAGES, verbose=0))
    logits = keras.ops.convert_to_numpy(model(IMAGES))
    np.testing.assert_array_equal(logits, keras.ops.convert_to_numpy(model.student(IMAGES)))


def whole_training(folder: Path) -> None:
    model = distiller()
    history = model.fit(IMAGES, LABELS, validation_data=(IMAGES, LABELS), epochs=3, **IN_ORDER).history
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert np.isfinite([*history.values()]).all()
    assert history["loss"][-1] < history["loss"][0]
    evaluated = model.evaluate(IMAGES, LABELS, batch_size=8, verbose=0)
    assert evaluated == pytest.approx([history["val_loss"][-1], history["val_accuracy"][-1]])
    right = model.predict(IMAGES, verbose=0).argmax(axis=-1) == LABELS
    assert evaluated[1] == pytest.approx(right.mean())


def alpha_weighs_labels(folder: Path) -> None:
    others = (LABELS + 1) % 3
    for alpha, by_labels, by_teacher in ((0.0, False, True), (0.5, True, True), (1.0, True, False)):
        model, other = distiller(alpha=alpha), distiller(alpha=alpha, teacher=network(16))
        assert (loss(model, others) != loss(model, LABELS)) == by_labels
        assert (loss(other, LABELS) != loss(model, LABELS)) == by_teacher


def point_can_change(folder: Path) -> None:
    model = distiller(temperature=1.0)
    model.fit(IMAGES, LABELS, **IN_ORDER)
    model.set_point(temperature=4.0, alpha=0.1)
    fresh = distiller(student=model.student, teacher=model.teacher, temperature=4.0, alpha=0.1)
    assert model.evaluate(IMAGES, LABELS, verbose=0)[0] == pytest.approx(loss(fresh, LABELS))


def built_at_first_batch(folder: Path) -> None:
    for make in (lambda units: network(units, built=False), Subclassed):
        model = distiller(student=make(4), teacher=make(8))
        assert np.isfinite(model.fit(IMAGES, LABELS, **IN_ORDER).history["loss"]).all()
        model.save(folder / "model.keras")
        loaded = keras.saving.load_model(folder / "model.keras")
        assert same(model, loaded)
        for either in (model, loaded):
            assert either.teacher.built
            assert len(either.trainable_variables) == len(either.student.trainable_variables) > 0


def config_round_trip(folder: Path) -> None:
    model = distiller(loss="dkd", own=(("target_weight", 0.7),))
    model.set_point(temperature=5.1, alpha=0.1, own=(("nontarget_weight", 4.3),))
    config = json.loads(json.dumps(model.get_config()))
    assert (config["temperature"], config["alpha"], config["loss"]) == (5.1, 0.1, "dkd")
    assert config["own"] == [["target_weight", 1.0], ["nontarget_weight", 4.3]]
    restored = Distiller.from_config(config)
    assert json.loads(json.dumps(restored.get_config())) == config
    assert restored.predict(IMAGES, verbose=0).shape == (24, 3)


def saved_and_loaded(folder: Path) -> None:
    model = distiller(loss="dkd", teacher=None)
    model.fit(IMAGES, (LABELS, LOGITS), epochs=2, **IN_ORDER)
    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    assert loss(loaded, LABELS, logits=LOGITS) == loss(model, LABELS, logits=LOGITS)
    for either in (model, loaded):
        either.fit(IMAGES, (LABELS, LOGITS), epochs=2, **IN_ORDER)
    assert same(model, loaded)


def best_weights_kept(folder: Path) -> None:
    file = folder / "best.weights.h5"
    keep = keras.callbacks.ModelCheckpoint(file, save_weights_only=True, save_best_only=True, monitor="loss")
    model = distiller()
    model.fit(IMAGES, LABELS, epochs=2, callbacks=[keep], **IN_ORDER)
    other = Distiller(student=network(), teacher=network(8), temperature=9.0, alpha=0.5, loss="nkd")
    other.load_weights(file)
    assert same(model.student, other.student)
    assert other.get_config()["temperature"] == 9.0


class Stopped(Exception):
    pass


class StopAfter(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise Stopped


def checkpoint_resumed(folder: Path) -> None:
    whole, stopped = distiller(), distiller()
    whole.fit(IMAGES, LABELS, epochs=4, **IN_ORDER)
    keep = keras.callbacks.ModelCheckpoint(folder / "model.keras")
    stopped.fit(IMAGES, LABELS, epochs=2, callbacks=[keep], **IN_ORDER)
    resumed = keras.saving.load_model(folder / "model.keras")
    resumed.fit(IMAGES, LABELS, initial_epoch=2, epochs=4, **IN_ORDER)
    assert same(whole, resumed)
    assert not same(whole, stopped)


def backup_resumed(folder: Path) -> None:
    whole = distiller()
    whole.fit(IMAGES, LABELS, epochs=4, **IN_ORDER)
    backup = keras.callbacks.BackupAndRestore(folder / "backup")
    with pytest.raises(Stopped):
        distiller().fit(IMAGES, LABELS, epochs=4, callbacks=[backup, StopAfter(2)], **IN_ORDER)
    resumed, began = distiller(), []
    note = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: began.append(epoch))
    resumed.fit(IMAGES, LABELS, epochs=4, callbacks=[backup, note], **IN_ORDER)
    assert began == [2, 3]
    assert same(whole, resumed)


def one_hot_labels(folder: Path) -> None:
    for name in builtin.LOSSES:
        model = distiller(loss=name)
        assert loss(model, ONE_HOT) == pytest.approx(loss(model, LABELS))
    model = distiller(alpha=1.0)
    of_each_class = sum(loss(model, np.full(24, label)) for label in range(3)) / 3
    smooth = loss(model, 0.9 * ONE_HOT + 0.1 / 3)
    assert smooth == pytest.approx(0.9 * loss(model, LABELS) + 0.1 * of_each_class)
    assert model.evaluate(IMAGES, ONE_HOT, verbose=0) == pytest.approx(
        distiller(alpha=1.0).evaluate(IMAGES, LABELS, verbose=0)
    )


def images_are_weighed(folder: Path) -> None:
    """A weight of 2 counts an image twice, 0 not at all: Keras divides by the number of images in either case."""
    weight = np.arange(24) % 3
    rows = np.repeat(np.arange(24), weight)  # 24 images as well
    assert len(rows) == 24
    for name in builtin.LOSSES:
        model = distiller(loss=name)
        if name == "dist":
            with pytest.raises(ValueError, match="images cannot be weighed: leave sample_weight and"):
                loss(model, LABELS, weight=weight)
        else:
            assert loss(model, LABELS, weight=weight) == pytest.approx(loss(model, LABELS[rows], IMAGES[rows]))
    stored = distiller(teacher=None)  # Keras gives a weight for the labels and the same again for the logits
    weighed = stored.evaluate(IMAGES, (LABELS, LOGITS), sample_weight=weight.astype("float32"), verbose=0)[0]
    assert weighed == pytest.approx(loss(stored, LABELS[rows], IMAGES[rows], logits=LOGITS[rows]))
    by_class = distiller().fit(IMAGES, ONE_HOT, class_weight={0: 1.0, 1: 2.0, 2: 0.5}, **IN_ORDER).history
    weight = np.array([1.0, 2.0, 0.5])[LABELS]
    assert by_class == distiller().fit(IMAGES, ONE_HOT, sample_weight=weight, **IN_ORDER).history


def logits_in_place_of_a_teacher(folder: Path) -> None:
    live = distiller()
    logits = live.teacher.predict(IMAGES, verbose=0)
    live.fit(IMAGES, LABELS, epochs=2, **IN_ORDER)
    stored = distiller(teacher=None)
    stored.fit(IMAGES, (LABELS, logits), epochs=2, **IN_ORDER)
    for left, right in zip(weights(live.student), weights(stored.student), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-4)
    right = stored.predict(IMAGES, verbose=0).argmax(axis=-1) == LABELS
    assert stored.evaluate(IMAGES, (LABELS, logits), verbose=0)[1] == pytest.approx(right.mean())


def half_precision(folder: Path) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = distiller()
        losses = model.fit(IMAGES, LABELS, epochs=2, **IN_ORDER).history["loss"]
    finally:
        keras.config.set_dtype_policy(before)
    assert np.isfinite(losses).all()
    model.save(folder / "model.keras")
    assert same(model, keras.saving.load_model(folder / "model.keras"))


CHECKS: dict[str, Callable[[Path], None]] = {
    "`fit` with validation data, `evaluate`, `predict`": whole_training,
    "the teacher is frozen, the student learns": teacher_is_frozen,
    "calling the Distiller calls its student": is_its_student,
    "alpha weighs the labels, from 0 to 1": alpha_weighs_labels,
    "`set_point` between two fits": point_can_change,
    "models that are built at the first batch": built_at_first_batch,
    "stored logits in place of a teacher": logits_in_place_of_a_teacher,
    "one-hot and smoothed labels": one_hot_labels,
    "`sample_weight`, `class_weight`": images_are_weighed,
    "`mixed_bfloat16`": half_precision,
    "`get_config`, `from_config`": config_round_trip,
    "`save`, `load_model`, and training on": saved_and_loaded,
    "`ModelCheckpoint` of the whole, resumed to the last bit": checkpoint_resumed,
    "`ModelCheckpoint` of the best weights": best_weights_kept,
    "`BackupAndRestore`, resumed to the last bit": backup_resumed,
}


@pytest.mark.parametrize("row", CHECKS)
def test_a_distiller_is_a_keras_model(row: str, tmp_path: Path) -> None:
    CHECKS[row](tmp_path)


@pytest.mark.parametrize("backend", OTHERS)
def test_another_backend_passes_the_same_checks(backend: str, tmp_path: Path) -> None:
    if find_spec(OTHERS[backend]) is None:
        pytest.skip(f"{OTHERS[backend]} is not installed")
    test = f"{Path(__file__)}::{test_a_distiller_is_a_keras_model.__name__}"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", test]
    result = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": backend}, cwd=REPOSITORY, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(CHECKS)} passed" in result.stdout


def test_the_table_of_backends_has_a_row_for_each_check() -> None:
    text = PAGE.read_text(encoding="utf-8")
    heading = f"| | {' | '.join(BACKENDS)} |\n"
    assert heading in text
    rows = re.findall(r"^\| (.+?) \|((?: yes \|)+)$", text.partition(heading)[2], flags=re.MULTILINE)
    assert [name for name, _ in rows] == list(CHECKS)
    assert {cells for _, cells in rows} == {" yes |" * len(BACKENDS)}
