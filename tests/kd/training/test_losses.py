"""kd.losses against theory and against values worked out by hand."""

import numpy as np
import pytest
from keras import ops

from kd.losses.loss import distillation_loss, hard_label_loss, soft_target_loss

pytestmark = pytest.mark.training

TEACHER = np.array([[6.0, 1.0, -2.0, 0.5]])
STUDENT = np.array([[2.0, 1.5, -1.0, 0.0]])
LABELS = np.array([0])


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize(("temperature", "loss"), [(1, 0.526), (3, 2.170), (10, 2.209)])
def test_soft_target_loss_has_the_factor_t_squared(temperature, loss):
    assert float(soft_target_loss(TEACHER, STUDENT, temperature)) == pytest.approx(loss, abs=5e-4)


def test_soft_target_loss_sums_over_classes_and_averages_over_the_batch():
    one = float(soft_target_loss(TEACHER, STUDENT, 3.0))
    batch = soft_target_loss(np.vstack([TEACHER, TEACHER]), np.vstack([STUDENT, TEACHER]), 3.0)
    assert float(batch) == pytest.approx(one / 2)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_equal_logits_give_no_soft_loss(temperature):
    assert float(soft_target_loss(TEACHER, TEACHER, temperature)) == 0.0


def test_the_soft_loss_does_not_see_a_constant_added_to_the_logits():
    shifted = float(soft_target_loss(TEACHER + 5.0, STUDENT - 3.0, 2.0))
    assert shifted == pytest.approx(float(soft_target_loss(TEACHER, STUDENT, 2.0)))


def test_at_high_temperature_the_soft_loss_is_half_the_variance_of_the_logit_gap():
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 16, 10)) * 3
    limit = (teacher - student).var(axis=-1).mean() / 2
    assert float(soft_target_loss(teacher, student, 1e4)) == pytest.approx(limit, rel=1e-3)


def test_the_gradient_of_the_soft_loss_is_t_times_the_difference_of_softened_probabilities():
    # d/dz_s of T^2*KL = T*(p_s - p_t): Hinton et al. 2015, equation 2, times T^2
    temperature, step = 3.0, 1e-5
    p_t, p_s = (np.exp(log_softmax(z / temperature)) for z in (TEACHER, STUDENT))
    for k in range(4):
        ahead, behind = STUDENT.copy(), STUDENT.copy()
        ahead[0, k] += step
        behind[0, k] -= step
        rise = float(soft_target_loss(TEACHER, ahead, temperature)) - float(
            soft_target_loss(TEACHER, behind, temperature)
        )
        assert rise / (2 * step) == pytest.approx(temperature * (p_s - p_t)[0, k], abs=1e-6)


def test_a_very_confident_teacher_is_not_clipped():
    # KL = log(1 + e^-100) + 100 for a teacher that is sure of class 0 and a student that is sure of class 1
    loss = soft_target_loss(np.array([[100.0, 0.0]]), np.array([[0.0, 100.0]]), 1.0)
    assert float(loss) == pytest.approx(100.0)


def test_soft_target_loss_refuses_different_numbers_of_classes():
    with pytest.raises(ValueError, match=r"teacher logits have shape \(1, 4\), student logits \(1, 1\)"):
        soft_target_loss(TEACHER, STUDENT[:, :1], 1.0)


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None]])
def test_hard_label_loss_is_the_cross_entropy_of_the_label(labels):
    assert float(hard_label_loss(labels, STUDENT)) == pytest.approx(-log_softmax(STUDENT)[0, 0])


def test_alpha_weighs_the_labels():
    loss = distillation_loss(labels=LABELS, teacher_logits=TEACHER, student_logits=STUDENT, temperature=3.0, alpha=0.25)
    hard, soft = -log_softmax(STUDENT)[0, 0], 2.170
    assert float(loss) == pytest.approx(0.25 * hard + 0.75 * soft, abs=5e-4)


def test_alpha_zero_ignores_the_labels():
    losses = {
        float(
            distillation_loss(
                labels=np.array([label]),
                teacher_logits=TEACHER,
                student_logits=STUDENT,
                temperature=3.0,
                alpha=0.0,
            )
        )
        for label in range(4)
    }
    assert losses == {float(soft_target_loss(TEACHER, STUDENT, 3.0))}


def test_alpha_one_ignores_the_teacher_and_the_temperature():
    losses = {
        float(
            distillation_loss(
                labels=LABELS,
                teacher_logits=teacher,
                student_logits=STUDENT,
                temperature=temperature,
                alpha=1.0,
            )
        )
        for teacher in (TEACHER, -TEACHER)
        for temperature in (1.0, 20.0)
    }
    assert losses == {float(hard_label_loss(LABELS, STUDENT))}


def test_the_loss_stays_float32_for_float32_logits():
    loss = soft_target_loss(TEACHER.astype("float32"), STUDENT.astype("float32"), ops.convert_to_tensor(3.0))
    assert ops.dtype(loss) == "float32"
