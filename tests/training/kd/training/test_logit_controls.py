"""kd.teachers.logits_file: transformed teacher logits, against values by hand and from Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kd.losses.loss import distillation_loss
from kd.teachers.logits_file import LABEL_SMOOTHING, class_mean, shuffled_within_class, uniform
from sweeps.distill.space import FIXED_POINTS
from tests.support.points import at

LABELS = np.array([1, 0, 1, 0, 1])
LOGITS = np.array([[0, 3], [4, 2], [3, 6], [8, 0], [6, 9]], np.float32)  # (images, classes)
VIEWS = np.stack([LOGITS, LOGITS + 10])  # (views, images, classes)

rng = np.random.default_rng(1)
MANY_LABELS = rng.integers(0, 10, 600)
MANY = rng.normal(size=(600, 10)).astype(np.float32)


def test_every_image_gets_the_mean_of_its_class() -> None:
    of_0, of_1 = [6, 1], [3, 6]  # by hand: (4+8)/2, (2+0)/2 and (0+3+6)/3, (3+6+9)/3
    controlled = class_mean(LOGITS, LABELS)
    assert controlled.dtype == np.float32
    assert controlled.tolist() == [of_1, of_0, of_1, of_0, of_1]


def test_the_mean_is_over_all_views_and_the_same_in_each() -> None:
    of_0, of_1 = [11, 6], [8, 11]  # 5 above those of the first view
    controlled = class_mean(VIEWS, LABELS)
    assert controlled.tolist() == 2 * [[of_1, of_0, of_1, of_0, of_1]]


def test_the_mean_of_many_is_not_rounded_on_the_way() -> None:
    logits = np.full((50_000, 1), 0.1, np.float32)
    assert (class_mean(logits, np.zeros(50_000, np.int64)) == np.float32(0.1)).all()


def test_shuffling_keeps_what_each_class_holds_and_moves_nearly_every_image() -> None:
    controlled = shuffled_within_class(MANY, MANY_LABELS, seed=3)
    assert controlled.dtype == np.float32
    for label in range(10):
        members = np.flatnonzero(label == MANY_LABELS)
        assert sorted(controlled[members].tolist()) == sorted(MANY[members].tolist())
    unchanged = (controlled == MANY).all(axis=1).sum()
    assert unchanged < 30  # one a class is expected, ten in all


def test_a_seed_is_one_shuffle() -> None:
    first, repeated, other = (shuffled_within_class(MANY, MANY_LABELS, seed=seed) for seed in (3, 3, 4))
    assert (first == repeated).all()
    assert (first != other).any()


def test_an_image_gets_all_views_of_one_other_image() -> None:
    views = np.stack([MANY, MANY + 100])
    controlled = shuffled_within_class(views, MANY_LABELS, seed=3)
    assert (controlled[0] == shuffled_within_class(MANY, MANY_LABELS, seed=3)).all()
    assert (controlled[1] == controlled[0] + 100).all()


@pytest.mark.parametrize("logits", [LOGITS, VIEWS], ids=["one view", "views"])
def test_the_arguments_are_not_changed(logits: np.ndarray) -> None:
    before = logits.copy()
    class_mean(logits, LABELS)
    shuffled_within_class(logits, LABELS, seed=1)
    assert not uniform(logits).any()
    assert uniform(logits).shape == logits.shape
    assert (logits == before).all()


def test_a_uniform_teacher_at_temperature_one_is_keras_label_smoothing_up_to_a_constant() -> None:
    labels = MANY_LABELS[:7]
    student = tf.Variable(3 * MANY[:7])
    smoothed = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=LABEL_SMOOTHING)
    with tf.GradientTape(persistent=True) as tape:
        ours = distillation_loss(
            labels=labels,
            teacher_logits=tf.constant(uniform(MANY[:7])),
            student_logits=student,
            temperature=1.0,
            alpha=1 - LABEL_SMOOTHING,
        )
        theirs = smoothed(tf.one_hot(labels, 10), student)
    entropy = LABEL_SMOOTHING * np.log(10)  # of the uniform teacher: KL is cross entropy less that
    assert float(theirs - ours) == pytest.approx(entropy, rel=1e-5)
    np.testing.assert_allclose(tape.gradient(ours, student), tape.gradient(theirs, student), atol=1e-7)


def test_the_arm_of_label_smoothing_smooths_by_the_same_amount() -> None:
    assert FIXED_POINTS["label-smoothing"] == at(1.0, 1 - LABEL_SMOOTHING)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [(LOGITS, LABELS[:4]), (LOGITS[0], LABELS), (LOGITS, LABELS[:, None]), (VIEWS.swapaxes(0, 1), LABELS)],
    ids=["a label short", "one image", "labels in a column", "views not in front"],
)
def test_logits_and_labels_of_different_lengths_are_refused(logits: np.ndarray, labels: np.ndarray) -> None:
    for control in (class_mean, lambda *args: shuffled_within_class(*args, seed=1)):
        with pytest.raises(ValueError, match=r"logits must be \(images, classes\) or \(views, .* got \(.*\) and \("):
            control(logits, labels)
