"""Each distillation term against theory: limits, invariances, minima and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from kd.losses.builtin import LOSSES
from kd.losses.loss import soft_target_loss

DRAW = np.random.default_rng(0)
TEACHER, STUDENT = DRAW.normal(size=(2, 6, 4)) * 3
LABELS = np.array([0, 1, 2, 3, 0, 2])
OWN = {
    "dkd": {"target_weight": 0.7, "nontarget_weight": 3.0},
    "nkd": {"gamma": 1.3},
    "dist": {"inter_weight": 1.5, "intra_weight": 0.6},
}


def computed(name, teacher=TEACHER, student=STUDENT, *, labels=LABELS, temperature=3.0, dtype=tf.float64):
    """Return the term and its gradient with respect to the student's logits."""
    student = tf.constant(student, dtype)
    own = {key: tf.constant(value, dtype) for key, value in OWN.get(name, {}).items()}
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = LOSSES[name].term(
            labels, tf.constant(teacher, dtype), student, temperature=tf.constant(temperature, dtype), **own
        )
    gradient = tape.gradient(value, student)
    assert value.shape == ()
    assert value.dtype == dtype
    return float(value), gradient.numpy()


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_that_of_central_differences(name):
    gradient = computed(name)[1]
    for direction in DRAW.normal(size=(2, *STUDENT.shape)):
        ahead, behind = (computed(name, student=STUDENT + step * direction)[0] for step in (1e-5, -1e-5))
        assert (gradient * direction).sum() == pytest.approx((ahead - behind) / 2e-5, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("temperature", [1.0, 5.0])
@pytest.mark.parametrize("name", [name for name in LOSSES if name != "nkd"])
def test_a_student_that_equals_its_teacher_is_at_the_minimum_which_is_0(name, temperature):
    least, gradient = computed(name, student=TEACHER, temperature=temperature)
    assert least == pytest.approx(0, abs=1e-9 * temperature**2)
    np.testing.assert_allclose(gradient, 0, atol=1e-8 * temperature**2)
    for _ in range(3):
        assert computed(name, student=TEACHER + DRAW.normal(size=TEACHER.shape), temperature=temperature)[0] > least


def test_under_nkd_a_student_that_equals_its_teacher_gets_the_gradient_of_the_label_alone():
    s = np.exp(TEACHER) / np.exp(TEACHER).sum(axis=-1, keepdims=True)
    right = np.eye(4)[LABELS]
    expected = (s * right).sum(axis=-1, keepdims=True) * (s - right) / len(LABELS)
    np.testing.assert_allclose(computed("nkd", student=TEACHER)[1], expected, atol=1e-12)


def test_nkd_is_least_where_the_other_classes_match_at_the_entropy_of_the_teachers():
    teacher = np.array([[40.0, 1.0, 2.0, -1.0]])  # certain of its label, as is a student that copies it
    z = teacher[0, 1:] / 3.0
    among = np.exp(z) / np.exp(z).sum()
    least = 1.3 * 9 * -(among * np.log(among)).sum()
    assert computed("nkd", teacher, teacher, labels=LABELS[:1])[0] == pytest.approx(least)
    for _ in range(5):
        student = teacher + DRAW.normal(size=teacher.shape)
        assert computed("nkd", teacher, student, labels=LABELS[:1])[0] > least


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradients_of_an_image_sum_to_0_except_for_mse(name):
    # a constant added to the student's logits changes no probability
    sums = computed(name)[1].sum(axis=-1)
    if name == "mse":
        np.testing.assert_allclose(sums, 2 * (STUDENT - TEACHER).sum(axis=-1) / STUDENT.size)
    else:
        np.testing.assert_allclose(sums, 0, atol=1e-9)


def test_at_high_temperature_kd_has_half_the_gradient_of_mse_of_centred_logits():
    # Hinton et al. 2015, section 2.1, equation 4, times T^2: (z_s - z_t)/classes for logits of mean 0
    teacher, student = (z - z.mean(axis=-1, keepdims=True) for z in (TEACHER, STUDENT))
    expected = (student - teacher) / (4 * len(LABELS))
    mse = computed("mse", teacher, student)[1]
    np.testing.assert_allclose(mse / 2, expected)
    gaps = [np.abs(computed("kd", temperature=t)[1] - expected).max() for t in (10.0, 100.0, 1000.0)]
    assert gaps[2] < gaps[1] / 5 < gaps[0] / 25
    assert gaps[2] < 0.01 * np.abs(expected).max()


@pytest.mark.parametrize("side", ["teacher", "student"])
def test_logit_standardization_ignores_a_constant_and_a_scale(side):
    changed = {"teacher": TEACHER, "student": STUDENT}
    changed[side] = changed[side] * 7.5 - 20.0
    assert computed("logit-standardization", **changed)[0] == pytest.approx(computed("logit-standardization")[0])
    assert computed("kd", **changed)[0] != pytest.approx(computed("kd")[0], rel=0.1)


def test_logit_standardization_is_kd_of_logits_that_are_standardized_already():
    teacher, student = (
        (z - z.mean(axis=-1, keepdims=True)) / z.std(axis=-1, keepdims=True) for z in (TEACHER, STUDENT)
    )
    assert computed("logit-standardization")[0] == pytest.approx(float(soft_target_loss(teacher, student, 3.0)))


def test_dist_ignores_positive_multiples_and_shifts_of_the_probabilities_over_classes():
    # p' = 0.4 p + 0.15 over 4 classes is again a probability
    p = np.exp(STUDENT / 3.0)
    p = p / p.sum(axis=-1, keepdims=True)
    affine = 3.0 * np.log(0.4 * p + 0.15)
    assert computed("dist", student=affine)[0] == pytest.approx(computed("dist")[0], rel=1e-9)
    negative = 3.0 * np.log((1 - p) / 3)  # -p/3 + 1/3: a negative multiple turns every correlation around
    most = 2 * 9 * (1.5 + 0.6)
    assert computed("dist", student=negative)[0] == pytest.approx(most - computed("dist")[0], rel=1e-9)


def test_only_dkd_and_nkd_read_the_labels():
    for name in LOSSES:
        changes = computed(name)[0] != computed(name, labels=(LABELS + 1) % 4)[0]
        assert changes == (name in ("dkd", "nkd")), name


def test_dist_in_a_batch_of_one_image_is_the_correlation_over_its_classes():
    batch = {"teacher": TEACHER[:1], "student": STUDENT[:1], "labels": LABELS[:1]}
    value, gradient = computed("dist", **batch)
    t, s = (np.exp(z[0] / 3.0) / np.exp(z[0] / 3.0).sum() for z in (TEACHER, STUDENT))
    assert value == pytest.approx(9 * 1.5 * (1 - np.corrcoef(t, s)[0, 1]))
    assert np.isfinite(gradient).all()


def test_dist_is_0_for_a_uniform_teacher_and_maximal_for_a_uniform_student():
    flat = np.zeros_like(TEACHER)
    value, gradient = computed("dist", teacher=flat)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    value, gradient = computed("dist", student=flat)
    assert value == pytest.approx(9 * (1.5 + 0.6))
    assert np.isfinite(gradient).all()
    assert gradient.any()


def test_dist_counts_a_class_that_float32_rounds_to_0():
    teacher, student = TEACHER[:, :2] - [0, 300], STUDENT[:, :2] - [0, 300]
    with_far = computed("dist", teacher, student, temperature=1.0, dtype=tf.float32)[0]
    assert with_far == pytest.approx(computed("dist", teacher, student, temperature=1.0)[0], rel=1e-4)
    same, gradient = computed("dist", teacher, teacher, temperature=1.0, dtype=tf.float32)
    assert same == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(gradient, 0, atol=1e-5)


EXTREME = np.array([[100.0, -100.0, 0.0], [-100.0, 100.0, 100.0], [-100.0, -100.0, -100.0], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize("temperature", [0.5, 20.0])
@pytest.mark.parametrize("name", LOSSES)
def test_terms_and_gradients_are_finite_in_float32_for_any_logits(name, temperature):
    flat, small = np.zeros((4, 3)), EXTREME / 1e6
    pairs = [(t, s) for t in (EXTREME, np.roll(EXTREME, 1, axis=0), flat, small) for s in (EXTREME, -EXTREME, flat)]
    for teacher, student in [*pairs, (-EXTREME, small), (EXTREME[:1], EXTREME[:1]), (flat[:1], EXTREME[:1])]:
        labels = LABELS[: len(teacher)] % 3
        value, gradient = computed(name, teacher, student, labels=labels, temperature=temperature, dtype=tf.float32)
        assert np.isfinite(value), (teacher, student)
        assert np.isfinite(gradient).all(), (teacher, student)


@pytest.mark.parametrize("name", LOSSES)
def test_two_classes_are_enough(name):
    value, gradient = computed(name, TEACHER[:, :2], STUDENT[:, :2], labels=LABELS % 2)
    assert value > 0
    # of two standardized logits only their order is left
    assert (np.abs(gradient).max() > 1e-3) == (name != "logit-standardization")


@pytest.mark.parametrize("name", LOSSES)
def test_logits_of_another_number_of_classes_are_refused(name):
    with pytest.raises(ValueError, match=r"teacher logits have shape \(6, 1\), student logits \(6, 4\); give both"):
        computed(name, TEACHER[:, :1])
