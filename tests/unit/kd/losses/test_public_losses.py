"""check-loss on published losses: confirmed faults, and right losses that were reported as bugs."""

import pytest

from kd.losses.check import Checked, Request, check

PUBLIC = "tests.unit.kd.losses.public_losses"


def checked(name: str, *arguments: str, **point: float) -> Checked:
    settings = dict(item.split("=") for item in arguments)
    return check(Request(f"{PUBLIC}:{name}", settings, **point))


FAULTY = [
    (["keras_string"], ["teacher-softmax-missing", "student-softmax-missing", "no-t-squared"]),
    (["trl_mixture"], ["mixture"]),
    (["trl_endpoint"], ["no-teacher", "no-student"]),
    (["trl_endpoint", "beta=0.0"], ["no-teacher", "no-student"]),
    (["trl_gkd"], ["t-ignored"]),
    (["easydel"], ["imprecise", "negative"]),
    (["dist", "squared=false"], ["no-t-squared"]),
    (["ld"], ["by-classes"]),
    (["deit"], ["by-classes"]),
    (["sparseml"], ["by-classes"]),
    (["haitongli"], ["by-classes"]),
    (["haitongli_misaligned"], ["images-mixed"]),
    (["distiller"], ["no-t-squared"]),
    (["labml", "teacher=large_logits"], ["no-teacher"]),
    (["proda"], ["student-log-missing"]),
    (["keras_io"], ["labels-on-teacher", "exchanged", "no-t-squared", "not-finite"]),
    (["attention_transfer", "student=y"], ["by-classes"]),
]


@pytest.mark.parametrize(("words", "faults"), FAULTY, ids=[" ".join(words) for words, _ in FAULTY])
def test_a_published_fault_is_named(words: list[str], faults: list[str]) -> None:
    loss = checked(*words)
    assert (loss.verdict, list(loss.faults)) == ("faulty", faults)


def test_a_temperature_other_than_the_requested_one_is_noted() -> None:
    """The caller of TRL's Liger path asked for T = 1 and got 0.9, plus a cross entropy."""
    loss = checked("trl_liger", temperature=1.0)
    assert list(loss.faults) == ["t-differs"]
    assert "a temperature of 0.9 is hard-coded" in loss.notes
    assert loss.formula == "0.5*CE(labels) + 0.5*JSD(teacher_T, student_T), beta = 0.5"
    assert checked("trl_liger", temperature=0.9).verdict == "other"


@pytest.mark.parametrize(
    ("words", "values", "point"),
    [
        (["right"], {"temperature": 3.0, "alpha": 0.9}, (3.0, 0.1, 1.0)),
        (["haitongli_params"], {"temperature": 3.0, "alpha": 0.9}, (3.0, 0.1, 1.0)),
        (["vit_pytorch"], {"alpha": 0.25}, (4.0, 0.75, 1.0)),
        (["entropy"], {"temperature": 2.0, "alpha": 0.3}, (2.0, 0.3, 1.0)),
        (["vanilla_added"], {}, (4.0, 0.1, 1.0)),
        (["tutorial"], {}, (2.0, 0.75, 1.0)),
        (["tutorial"], {"temperature": 2.0, "alpha": 0.75}, (2.0, 0.75, 1.0)),
    ],
)
def test_a_right_loss_is_ours_at_a_point(
    words: list[str], values: dict[str, float], point: tuple[float, float, float]
) -> None:
    loss = checked(*words, **values)
    assert (loss.verdict, loss.loss, loss.faults) == ("right", "kd", {})
    assert loss.same is not None
    assert (loss.same.temperature, loss.same.alpha, loss.same.factor) == pytest.approx(point)


def test_the_authors_code_of_dist_is_ours_times_two() -> None:
    loss = checked("dist", temperature=2.0)
    assert (loss.verdict, loss.loss) == ("right", "dist")
    assert loss.same is not None
    assert loss.same.own == pytest.approx({"inter_weight": 1.0, "intra_weight": 1.0}, rel=1e-3)
    assert (loss.same.alpha, loss.same.factor) == pytest.approx((0.5, 2.0), rel=1e-3)


def test_a_jensen_shannon_divergence_is_neither_a_fault_nor_a_loss_of_this_project() -> None:
    loss = checked("trl_jsd")
    assert (loss.verdict, loss.loss, loss.same) == ("other", "jsd", None)
    assert loss.formula == "JSD(teacher, student), beta = 0.1"


def test_a_faulty_loss_is_ours_at_another_alpha() -> None:
    """Without T^2, alpha = 0.1 is 0.1 + 0.9/16 times alpha = 0.64; over 100 classes 0.9 for the teacher is 0.009."""
    without_square = checked("distiller", temperature=4.0, alpha=0.1).same
    assert without_square is not None
    assert (without_square.alpha, without_square.factor) == pytest.approx((0.64, 0.1 + 0.9 / 16))
    for name in ("haitongli", "deit"):
        by_classes = checked(name, temperature=4.0, alpha=0.9, classes=100).same
        assert by_classes is not None
        assert (by_classes.alpha, by_classes.factor) == pytest.approx((0.1 / 0.109, 0.109))
        assert by_classes.of_classes == 100
