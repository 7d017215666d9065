"""Each distillation term, and the loss around it, against values by hand and the weights of its paper."""

import math

import numpy as np
import pytest

from kd.losses.builtin import LOSSES
from kd.losses.loss import distillation_loss, hard_label_loss, soft_target_loss

# Logits whose probabilities at T = 1 are plain fractions.
TEACHER = np.log(np.array([[0.5, 0.3, 0.2]]))
STUDENT = np.log(np.array([[0.25, 0.5, 0.25]]))
LABEL = np.array([0])


def value(name, labels=LABEL, teacher=TEACHER, student=STUDENT, *, temperature=1.0, **own):
    own = LOSSES[name].values(own)
    return float(LOSSES[name].term(labels, teacher, student, temperature=temperature, **own))


def whole(alpha, name="kd", *, labels=LABEL, teacher=TEACHER, temperature=1.0, **own):
    kwargs = {"labels": labels, "teacher_logits": teacher, "student_logits": STUDENT, "temperature": temperature}
    return float(distillation_loss(**kwargs, alpha=alpha, term=LOSSES[name].term, own=LOSSES[name].values(own)))


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def softened(logits, temperature):
    p = np.exp(logits / temperature)
    return p / p.sum()


@pytest.mark.parametrize("temperature", [1.0, 3.0, 10.0])
def test_kd_is_t_squared_times_the_kl_summed_over_classes_and_averaged_over_images(temperature):
    expected = temperature**2 * kl(softened(TEACHER, temperature)[0], softened(STUDENT, temperature)[0])
    assert float(soft_target_loss(TEACHER, STUDENT, temperature)) == pytest.approx(expected)
    batch = soft_target_loss(np.vstack([TEACHER, TEACHER]), np.vstack([STUDENT, TEACHER]), temperature)
    assert float(batch) == pytest.approx(expected / 2)


def test_a_very_confident_teacher_is_not_clipped():
    # KL = log(1 + e^-100) + 100 for a teacher that is sure of class 0 and a student that is sure of class 1
    loss = soft_target_loss(np.array([[100.0, 0.0]]), np.array([[0.0, 100.0]]), 1.0)
    assert float(loss) == pytest.approx(100.0)


@pytest.mark.parametrize("labels", [LABEL, LABEL[:, None]])
def test_hard_label_loss_is_the_cross_entropy_of_the_label(labels):
    assert float(hard_label_loss(labels, STUDENT)) == pytest.approx(math.log(4))


def test_alpha_weighs_the_labels_and_at_either_end_the_other_term_is_ignored():
    soft = kl((0.5, 0.3, 0.2), (0.25, 0.5, 0.25))
    assert whole(0.25) == pytest.approx(0.25 * math.log(4) + 0.75 * soft)
    assert {whole(0.0, labels=np.array([label])) for label in range(3)} == {
        float(soft_target_loss(TEACHER, STUDENT, 1.0))
    }
    labels_only = {whole(1.0, teacher=sign * TEACHER, temperature=t) for sign in (1, -1) for t in (1.0, 20.0)}
    assert labels_only == {float(hard_label_loss(LABEL, STUDENT))}


def test_without_another_term_the_loss_is_kd():
    kwargs = {"labels": LABEL, "teacher_logits": TEACHER, "student_logits": STUDENT, "temperature": 3.0, "alpha": 0.3}
    assert float(distillation_loss(**kwargs)) == whole(0.3, temperature=3.0)


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
    parts = {"target_weight": 1.0, "nontarget_weight": float(1 - softened(TEACHER, temperature)[0, label])}
    computed = value("dkd", np.array([label]), temperature=temperature, **parts)
    assert computed == pytest.approx(float(soft_target_loss(TEACHER, STUDENT, temperature)))


def test_dkd_of_two_classes_has_no_term_among_the_rest():
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
    among = -4 * (softened(teacher[0, 1:], 2) * np.log(softened(student[0, 1:], 2))).sum()
    target = -softened(teacher, 1)[0, 0] * math.log(softened(student, 1)[0, 0])
    loss = value("nkd", teacher=teacher, student=student, temperature=2.0, gamma=0.7)
    assert loss == pytest.approx(target + 0.7 * among)


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


def test_labels_may_have_an_extra_axis():
    for name in ("dkd", "nkd"):
        labels = np.array([2, 0])
        teacher, student = np.vstack([TEACHER, STUDENT]), np.vstack([STUDENT, TEACHER])
        flat = value(name, labels, teacher, student)
        assert value(name, labels[:, None], teacher, student) == flat
        assert flat == pytest.approx((value(name, labels[:1]) + value(name, labels[1:], STUDENT, TEACHER)) / 2)


def test_the_weights_of_the_papers_are_this_form_times_a_constant():
    ce = math.log(4)
    lskd = LOSSES["logit-standardization"].default_alpha
    kd = value("logit-standardization", temperature=2.0)
    assert 9.1 * whole(lskd, "logit-standardization", temperature=2.0) == pytest.approx(0.1 * ce + 9 * kd)
    for name, own in (
        ("dkd", {"target_weight": 1, "nontarget_weight": 8}),
        ("nkd", {"gamma": 1.5}),
        ("dist", {"inter_weight": 2, "intra_weight": 2}),
    ):
        assert 2 * whole(0.5, name, **own) == pytest.approx(ce + value(name, **own)), name
    assert whole(LOSSES["mse"].default_alpha, "mse") == pytest.approx(value("mse"))
