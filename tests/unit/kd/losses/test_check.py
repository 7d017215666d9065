"""What check-loss finds out about a loss: alpha, T^2, reduction, own parameters, notes."""

import inspect
import textwrap
from pathlib import Path

import pytest

from kd.losses.builtin import LOSSES
from kd.losses.check import Checked, Request, check
from kd.losses.forms import NUMPY_OPS
from kd.losses.loss import computing_with
from tests.unit.kd.losses import public_losses

HEAD = inspect.getsource(public_losses).partition("def right")[0]


def checked(folder: Path, source: str, name: str = "loss", arguments: str = "", **point: float) -> Checked:
    file = folder / "mine.py"
    file.write_text(f"{HEAD}\n\n{textwrap.dedent(source)}", encoding="utf-8")
    return check(Request(f"{file}:{name}", dict(item.split("=") for item in arguments.split()), **point))


KL = "kl_div(log_softmax(student / T), softmax(teacher / T), 'batchmean')"
CE = "cross_entropy(student, labels)"


@pytest.mark.parametrize(
    ("formula", "weighs", "alpha", "factor"),
    [
        (f"alpha * {CE} + (1 - alpha) * T**2 * {KL}", "labels", 0.9, 1.0),
        (f"(1 - alpha) * {CE} + alpha * T**2 * {KL}", "teacher", 0.1, 1.0),
        (f"{CE} + alpha * T**2 * {KL}", "teacher", 1 / 1.9, 1.9),
        (f"alpha * {CE} + T**2 * {KL}", "labels", 0.9 / 1.9, 1.9),
        (f"2 * alpha * {CE} + (2 - 2 * alpha) * T**2 * {KL}", "labels", 0.9, 2.0),
        (f"{CE} + T**2 * {KL} + 0 * alpha", "", 0.5, 2.0),
        (f"len(labels) * (alpha * {CE} + (1 - alpha) * T**2 * {KL})", "labels", 0.9, 128.0),
    ],
)
def test_the_term_that_alpha_weighs_is_found_and_alpha_is_converted_to_ours(
    tmp_path: Path, formula: str, weighs: str, alpha: float, factor: float
) -> None:
    loss = checked(tmp_path, f"def loss(student, teacher, labels, T, alpha):\n    return {formula}", alpha=0.9)
    assert (loss.verdict, loss.weighs) == ("right", weighs)
    assert loss.same is not None
    assert (loss.same.alpha, loss.same.factor) == pytest.approx((alpha, factor))


@pytest.mark.parametrize(
    ("formula", "faults"),
    [
        (f"{CE} - alpha * T**2 * {KL}", ["negative-weight"]),
        (f"alpha * {CE} + (1 - alpha) * T * {KL}", ["t-power"]),
        (f"T**2 * (alpha * {CE} + (1 - alpha) * {KL})", ["no-t-squared"]),
        (f"alpha * {CE} + (1 - alpha) * T**2 * {KL}".replace("T", "4"), ["t-ignored"]),
        (
            f"alpha * {CE} + (1 - alpha) * T**2 * "
            "kl_div(log_softmax(student.T / T).T, softmax(teacher.T / T).T, 'batchmean')",
            ["over-images"],
        ),
        (f"alpha * {CE} / student.shape[1] + (1 - alpha) * T**2 * {KL}", ["labels-by-classes"]),
        (f"alpha * {CE} + (1 - alpha) * T**2 * {KL} * len(labels)", ["by-batch"]),
        (f"alpha * {CE} + (1 - alpha) * T**2 * {KL} / np.log(student.shape[1])", ["reduction"]),
        (f"{KL} if alpha == 0 else alpha * {CE} + (1 - alpha) * T**2 * {KL}", ["at-the-edge"]),
        (f"alpha * cross_entropy(student / T, labels) + (1 - alpha) * T**2 * {KL}", ["labels-at-t"]),
        (f"alpha * cross_entropy(softmax(student), labels) + (1 - alpha) * T**2 * {KL}", ["labels-softmax-twice"]),
        ("T**2 * kl_div(log_softmax(student / T), softmax(teacher), 'batchmean')", ["t-student-only"]),
        ("T**2 * kl_div(log_softmax(student), softmax(teacher / T), 'batchmean')", ["t-teacher-only"]),
        ("T**2 * kl_div(log_softmax(teacher / T), softmax(student / T), 'batchmean')", ["exchanged"]),
        ("-T**2 * (teacher / T * log_softmax(student / T)).sum(1).mean()", ["teacher-softmax-missing"]),
        ("T**2 * kl_div(student / T, softmax(teacher / T), 'batchmean')", ["student-softmax-missing"]),
        (
            "T**2 * kl_div(log_softmax(softmax(student / T)), softmax(teacher / T), 'batchmean')",
            ["student-softmax-twice"],
        ),
        (
            "T**2 * kl_div(log_softmax(student / T), softmax(teacher / T), 'batchmean', log_target=True)",
            ["teacher-log-missing"],
        ),
    ],
)
def test_a_fault_is_named(tmp_path: Path, formula: str, faults: list[str]) -> None:
    loss = checked(tmp_path, f"def loss(student, teacher, labels, T, alpha):\n    return {formula}")
    assert (loss.verdict, list(loss.faults)) == ("faulty", faults)


@pytest.mark.parametrize(
    ("formula", "name", "note"),
    [
        (
            f"alpha * (0.9 * {CE} - 0.1 * log_softmax(student).mean()) + (1 - alpha) * T**2 * {KL}",
            "kd",
            "smoothed by 0.1",
        ),
        (f"alpha * {CE} + (1 - alpha) * cross_entropy(student, teacher.argmax(1))", "hard labels of the teacher", ""),
        ("((softmax(student / T) - softmax(teacher / T)) ** 2).mean()", "mse of probabilities", "the term alone"),
    ],
)
def test_a_known_loss_outside_this_project_is_named(tmp_path: Path, formula: str, name: str, note: str) -> None:
    loss = checked(tmp_path, f"def loss(student, teacher, labels, T, alpha):\n    return {formula}")
    assert (loss.verdict, loss.loss, loss.same, loss.faults) == ("other", name, None, {})
    assert note in " ".join(loss.notes)


def test_an_unknown_loss_gets_its_nearest_form_and_a_note_if_it_is_not_0_at_the_teacher(tmp_path: Path) -> None:
    for formula, is_zero in (("abs(student - teacher).mean()", True), ("abs(student - 2 * teacher).mean()", False)):
        loss = checked(tmp_path, f"def loss(student, teacher):\n    return {formula}")
        assert (loss.verdict, loss.faults, loss.same) == ("unknown", {}, None)
        assert ("it is not 0 if student and teacher are equal" in loss.notes) == (not is_zero)
        assert any("known forms: " in note for note in loss.notes)


@pytest.mark.parametrize(
    ("divisor", "note"), [("T**2", "a factor T^-2"), ("student.shape[1]", "a mean over the classes, too")]
)
def test_a_divisor_of_both_terms_is_not_a_fault(tmp_path: Path, divisor: str, note: str) -> None:
    formula = f"(alpha * {CE} + (1 - alpha) * T**2 * {KL}) / {divisor}"
    loss = checked(tmp_path, f"def loss(student, teacher, labels, T, alpha):\n    return {formula}", alpha=0.9)
    assert (loss.verdict, loss.faults) == ("right", {})
    assert note in " ".join(loss.notes)
    assert loss.same is not None
    assert loss.same.alpha == pytest.approx(0.9)


@pytest.mark.parametrize(
    "change",
    [
        "student, teacher = student.clip(-5, 5), teacher.clip(-5, 5)",
        "T = int(T)",
        "T = min(T, 10)",
        "teacher = np.where(softmax(teacher).max(1, keepdims=True) > 0.999, teacher, student)",
        "teacher = np.where((teacher.argmax(1) == labels)[:, None], teacher, student)",
    ],
    ids=["clipped", "whole", "capped", "sure", "correct"],
)
def test_a_loss_that_matches_ours_only_for_some_logits_or_some_t_is_unknown(tmp_path: Path, change: str) -> None:
    source = f"def loss(student, teacher, labels, T, alpha):\n    {change}\n    return "
    loss = checked(tmp_path, f"{source}alpha * {CE} + (1 - alpha) * T**2 * {KL}")
    assert (loss.verdict, loss.faults, loss.same) == ("unknown", {}, None)


def test_with_weights_that_are_not_linear_in_alpha_the_point_is_for_the_given_alpha(tmp_path: Path) -> None:
    formula = f"alpha**2 * {CE} + (1 - alpha**2) * T**2 * {KL}"
    loss = checked(tmp_path, f"def loss(student, teacher, labels, T, alpha):\n    return {formula}", alpha=0.7)
    assert loss.same is not None
    assert (loss.same.alpha, loss.same.factor) == pytest.approx((0.49, 1.0))


def test_a_weight_inside_a_term_is_kept_in_the_point(tmp_path: Path) -> None:
    """mdistiller's dkd_loss calls the weight of its first part alpha."""
    source = """
        from kd.losses.builtin import dkd_term
        from kd.losses.forms import NUMPY_OPS
        from kd.losses.loss import computing_with

        def loss(logits_student, logits_teacher, target, alpha, beta, temperature):
            own = {"temperature": temperature, "target_weight": alpha, "nontarget_weight": beta}
            with computing_with(NUMPY_OPS):
                return cross_entropy(logits_student, target) + dkd_term(target, logits_teacher, logits_student, **own)
    """
    for alpha in (0.0, 0.5):
        loss = checked(tmp_path, source, arguments="beta=8.0", alpha=alpha)
        assert (loss.verdict, loss.loss, loss.weighs) == ("right", "dkd", "")
        assert f"alpha is a weight inside a part; it is {alpha:g} here" in loss.notes
        assert loss.formula.startswith(("CE(labels) + T^2", "CE(labels) + 0.5*T^2", "CE(labels) + 8*T^2"))
        assert loss.same is not None
        parts = [loss.same.factor * (1 - loss.same.alpha) * value for value in loss.same.own.values()]
        assert parts == pytest.approx([alpha, 8.0], abs=1e-9)


def test_a_loss_of_relations_among_images_has_no_fault(tmp_path: Path) -> None:
    source = "def loss(student, teacher):\n    return abs(student @ student.T - teacher @ teacher.T).mean()"
    loss = checked(tmp_path, source)
    assert (loss.verdict, loss.faults) == ("unknown", {})
    assert "an image's loss depends on the other images" in loss.notes


def test_an_epsilon_is_noted_at_logits_of_50(tmp_path: Path) -> None:
    kl = "(softmax(teacher / T) * np.log((softmax(teacher / T) + 1e-8) / (softmax(student / T) + 1e-8))).sum(1).mean()"
    loss = checked(tmp_path, f"def loss(student, teacher, T):\n    return T**2 * {kl}")
    assert loss.verdict == "right"
    assert any("at logits of +-50 its value is off by" in note for note in loss.notes)


def test_the_formula_is_what_the_loss_computes(tmp_path: Path) -> None:
    formula = f"0.1 * {CE} + 0.9 * 4**2 * {KL} / student.shape[1]".replace("T", "4")
    loss = checked(tmp_path, f"def loss(student, teacher, labels):\n    return {formula}")
    assert loss.formula == "0.1*CE(labels) + 0.9*T^2*KL(teacher_T || student_T)/classes"
    assert "a temperature of 4" in loss.notes[0]


def test_logarithms_of_probabilities_are_not_finite_at_logits_of_50(tmp_path: Path) -> None:
    kl = "(softmax(teacher / T) * np.log(softmax(teacher / T) / softmax(student / T))).sum(1).mean()"
    loss = checked(tmp_path, f"def loss(student, teacher, T):\n    return T**2 * {kl}")
    assert list(loss.faults) == ["not-finite"]
    assert loss.same is not None


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_of_this_project_is_recognised_at_its_own_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    own = {parameter.name: 1.7 * parameter.default for parameter in LOSSES[name].parameters[1:]}
    own |= {parameter.name: parameter.default for parameter in LOSSES[name].parameters[:1]}

    def loss(labels, teacher_logits, student_logits, temperature, alpha):  # type: ignore[no-untyped-def]
        with computing_with(NUMPY_OPS):
            term = LOSSES[name].term(labels, teacher_logits, student_logits, temperature=temperature, **own)
        return alpha * public_losses.cross_entropy(student_logits, labels) + (1 - alpha) * term

    monkeypatch.setattr(public_losses, "own_loss", loss, raising=False)
    result = check(Request(f"{public_losses.__name__}:own_loss", {}, temperature=3.0, alpha=0.3))
    assert (result.verdict, result.loss, result.weighs) == ("right", name, "labels")
    assert result.same is not None
    assert (result.same.temperature, result.same.alpha) == pytest.approx((3.0 if name != "mse" else 1.0, 0.3))
    assert result.same.own == pytest.approx(own)
    assert result.same.factor == pytest.approx(1.0)


def test_no_point_is_given_if_the_student_gets_no_gradient(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    source = """
        import torch.nn.functional as F

        def loss(student, teacher, labels, T, alpha):
            log_student, target = F.log_softmax(student.detach() / T, dim=1), F.softmax(teacher / T, dim=1)
            soft = F.kl_div(log_student, target, reduction="batchmean")
            return alpha * F.cross_entropy(student, labels) + (1 - alpha) * T**2 * soft
    """
    loss = checked(tmp_path, source)
    assert (loss.verdict, list(loss.faults), loss.same) == ("faulty", ["gradient"], None)
