"""Each distillation term against values worked out by hand, and against the weights of its paper."""

import math

import numpy as np
import pytest

from kd.losses import term_of
from kd.losses.builtin import LOSSES
from kd.losses.loss import distillation_loss, hard_label_loss, soft_target_loss

pytestmark = pytest.mark.training

# Logits whose probabilities at T = 1 are plain fractions.
TEACHER = np.log(np.array([[0.5, 0.3, 0.2]]))
STUDENT = np.log(np.array([[0.25, 0.5, 0.25]]))
LABEL = np.array([0])


def value(name, labels=LABEL, teacher=TEACHER, student=STUDENT, *, temperature=1.0, **own):
    own = LOSSES[name].values(own)
    return float(term_of(name)(labels, teacher, student, temperature=temperature, **own))


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_mse_is_the_mean_of_the_squared_gap_over_classes_and_images():
    teacher, student = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), np.array([[1.0, 0.0, 6.0], [0.0, 1.0, 0.0]])
    assert value("mse", teacher=teacher, student=student) == pytest.approx((0 + 4 + 9 + 0 + 1 + 0) / 6)


def test_logit_standardization_softens_logits_of_standard_deviation_1():
    # (1, -1) has mean 0 and sd 1; (5, 1) and (-9, 9) become (1, -1) and (-1, 1)
    teacher, student = np.array([[5.0, 1.0]]), np.array([[-9.0, 9.0]])
    p = math.exp(0.5) / (math.exp(0.5) + math.exp(-0.5))  # of T = 2
    expected = 4 * kl((p, 1 - p), (1 - p, p))
    assert value("logit-standardization", teacher=teacher, student=student, temperature=2.0) == pytest.approx(expected)


def test_dkd_is_the_kl_of_label_against_rest_and_the_kl_among_the_rest():
    tckd = kl((0.5, 0.5), (0.25, 0.75))
    nckd = kl((0.6, 0.4), (2 / 3, 1 / 3))
    assert value("dkd", target_weight=1, nontarget_weight=0) == pytest.approx(tckd)
    assert value("dkd", target_weight=0, nontarget_weight=1) == pytest.approx(nckd)
    assert value("dkd", target_weight=3, nontarget_weight=7) == pytest.approx(3 * tckd + 7 * nckd)


def test_dkd_has_the_factor_t_squared():
    # twice the logits at T = 2 are the same probabilities
    doubled = value("dkd", teacher=2 * TEACHER, student=2 * STUDENT, temperature=2.0)
    assert doubled == pytest.approx(4 * value("dkd"))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_dkd_with_the_weight_of_the_teachers_other_classes_is_kd(temperature, label):
    # Zhao et al. 2022, equation 7: KD = TCKD + (1 - p_label of the teacher) * NCKD
    p = np.exp(TEACHER / temperature)
    p = p / p.sum()
    parts = {"target_weight": 1.0, "nontarget_weight": float(1 - p[0, label])}
    found = value("dkd", np.array([label]), temperature=temperature, **parts)
    assert found == pytest.approx(float(soft_target_loss(TEACHER, STUDENT, temperature)))


def test_dkd_of_two_classes_has_nothing_among_the_rest():
    teacher, student = np.array([[2.0, 0.0]]), np.array([[-1.0, 0.0]])
    assert value("dkd", teacher=teacher, student=student, target_weight=0, nontarget_weight=1) == 0.0
    whole = value("dkd", teacher=teacher, student=student, target_weight=1, nontarget_weight=1)
    assert whole == pytest.approx(float(soft_target_loss(teacher, student, 1.0)))


def test_nkd_is_the_weighted_log_of_the_label_and_the_cross_entropy_among_the_rest():
    target = -0.5 * math.log(0.25)
    among = -(0.6 * math.log(2 / 3) + 0.4 * math.log(1 / 3))
    assert value("nkd", gamma=0) == pytest.approx(target)
    assert value("nkd", gamma=1.5) == pytest.approx(target + 1.5 * among)


def test_nkd_softens_only_the_other_classes():
    teacher, student = np.array([[1.0, 4.0, 0.0]]), np.array([[0.5, 0.0, 2.0]])
    soft = lambda z: np.exp(z / 2) / np.exp(z / 2).sum()  # noqa: E731
    among = -4 * (soft(teacher[0, 1:]) * np.log(soft(student[0, 1:]))).sum()
    t = np.exp(teacher[0]) / np.exp(teacher[0]).sum()
    s = np.exp(student[0]) / np.exp(student[0]).sum()
    found = value("nkd", teacher=teacher, student=student, temperature=2.0, gamma=0.7)
    assert found == pytest.approx(-t[0] * math.log(s[0]) + 0.7 * among)


def test_dist_is_one_minus_pearsons_correlation_of_both_directions():
    teacher = np.log(np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]))
    student = np.log(np.array([[0.25, 0.5, 0.25], [0.2, 0.2, 0.6]]))
    t, s = np.exp(teacher), np.exp(student)
    over_classes = np.mean([np.corrcoef(t[i], s[i])[0, 1] for i in range(2)])
    over_batch = np.mean([np.corrcoef(t[:, k], s[:, k])[0, 1] for k in range(3)])
    of = {"teacher": teacher, "student": student}
    assert value("dist", **of, inter_weight=1, intra_weight=0) == pytest.approx(1 - over_classes, abs=1e-9)
    assert value("dist", **of, inter_weight=0, intra_weight=1) == pytest.approx(1 - over_batch, abs=1e-9)
    assert value("dist", **of, inter_weight=2, intra_weight=3) == pytest.approx(
        2 * (1 - over_classes) + 3 * (1 - over_batch), abs=1e-9
    )


def test_labels_may_have_an_axis_of_their_own():
    for name in ("dkd", "nkd"):
        labels = np.array([2, 0])
        teacher, student = np.vstack([TEACHER, STUDENT]), np.vstack([STUDENT, TEACHER])
        flat = value(name, labels, teacher, student)
        assert value(name, labels[:, None], teacher, student) == flat
        assert flat == pytest.approx((value(name, labels[:1]) + value(name, labels[1:], STUDENT, TEACHER)) / 2)


def whole(name, alpha, temperature=1.0, **own):
    return float(
        distillation_loss(
            labels=LABEL,
            teacher_logits=TEACHER,
            student_logits=STUDENT,
            temperature=temperature,
            alpha=alpha,
            term=term_of(name),
            own=LOSSES[name].values(own),
        )
    )


def test_the_weights_of_the_papers_are_this_form_times_a_constant():
    ce = float(hard_label_loss(LABEL, STUDENT))
    assert ce == pytest.approx(math.log(4))
    kd = value("logit-standardization", temperature=2.0)
    lskd = LOSSES["logit-standardization"].default_alpha
    assert 9.1 * whole("logit-standardization", lskd, 2.0) == pytest.approx(0.1 * ce + 9 * kd)
    tckd, nckd = kl((0.5, 0.5), (0.25, 0.75)), kl((0.6, 0.4), (2 / 3, 1 / 3))
    paper = ce + 1 * tckd + 8 * nckd
    assert 2 * whole("dkd", 0.5, target_weight=1, nontarget_weight=8) == pytest.approx(paper)
    assert 2 * whole("nkd", 0.5, gamma=1.5) == pytest.approx(ce + value("nkd", gamma=1.5))
    assert 2 * whole("dist", 0.5, inter_weight=2, intra_weight=2) == pytest.approx(
        ce + value("dist", inter_weight=2, intra_weight=2)
    )
    assert whole("mse", LOSSES["mse"].default_alpha) == pytest.approx(value("mse"))


def test_without_another_term_the_loss_is_kd():
    given = {"labels": LABEL, "teacher_logits": TEACHER, "student_logits": STUDENT, "temperature": 3.0, "alpha": 0.3}
    assert float(distillation_loss(**given)) == whole("kd", 0.3, 3.0)
