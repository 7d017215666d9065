"""How a loss is called: names and order of its arguments; as a function, a class or a factory."""

from pathlib import Path

import numpy as np
import pytest

from kd.errors import ModelError
from kd.losses.calling import loss_of

BODY = "    return float((STUDENT - 2 * TEACHER).mean())"


def _loss(folder: Path, source: str, *arguments: str, framework: str | None = None, classes: int = 10):  # type: ignore[no-untyped-def]
    file = folder / "mine.py"
    file.write_text(f"import numpy as np\n{source}", encoding="utf-8")
    return loss_of(f"{file}:loss", dict(item.split("=") for item in arguments), framework, classes)


@pytest.mark.parametrize(
    ("signature", "student", "teacher"),
    [
        ("student_logits, teacher_logits", "student_logits", "teacher_logits"),
        ("outputs, labels, teacher_outputs, T, alpha", "outputs", "teacher_outputs"),
        ("y_true, y_pred, teacher_pred, temperature=4.0", "y_pred", "teacher_pred"),
        ("y_s, y_t", "y_s", "y_t"),
        ("logits_teacher, logits_student, target, tau, kd_weight", "logits_student", "logits_teacher"),
        ("y, labels, teacher_scores, T, alpha", "y", "teacher_scores"),
        ("y, student_predictions, teacher_predictions", "student_predictions", "teacher_predictions"),
        ("outputs_stu, outputs_tea, temp, lam", "outputs_stu", "outputs_tea"),
        ("big_teacher, my_student, /, *, weight=None, student_loss_weight=0.5", "my_student", "big_teacher"),
        ("net, other, *args, **kwargs", "net", "other"),
    ],
)
def test_arguments_are_recognised_by_their_names_in_any_order(
    tmp_path: Path, signature: str, student: str, teacher: str
) -> None:
    source = f"def loss({signature}):\n{BODY}".replace("STUDENT", student).replace("TEACHER", teacher)
    named = [] if student != "net" else ["student=net", "teacher=other"]
    loss = _loss(tmp_path, source, *named)
    ones = np.ones((4, 10))
    assert float(loss.values(np.zeros(4, np.int64), 3 * ones, 5 * ones, 4.0, 0.5)) == 5 - 2 * 3
    assert loss.has("labels") == any(word in signature for word in ("labels", "y_true", "target,", "y, s"))


@pytest.mark.parametrize(
    "source",
    [
        "class loss:\n    def __init__(self, T, alpha, scale=1.0):\n        self.given = T, alpha, scale\n\n"
        "    def __call__(self, student, teacher):\n        return np.array(self.given) @ [1, 10, 100]",
        "def loss(temperature, alpha, scale=1.0):\n"
        "    return lambda student, teacher: temperature + 10 * alpha + 100 * scale",
        "def loss(student, teacher, T, alpha, scale=1.0):\n    return T + 10 * alpha + 100 * scale",
    ],
    ids=["class", "factory", "function"],
)
def test_t_alpha_and_constants_reach_a_function_a_class_and_a_factory(tmp_path: Path, source: str) -> None:
    loss = _loss(tmp_path, source, "scale=2.0")
    logits = np.ones((4, 10))
    assert loss.values(np.zeros(4, np.int64), logits, logits, 3.0, 0.5) == 3 + 5 + 200
    assert loss.values(np.zeros(4, np.int64), logits, logits, 6.0, 0.1) == 6 + 1 + 200
    assert loss.has("temperature")
    assert loss.has("alpha")


def test_a_loss_that_needs_one_hot_labels_and_float32_gets_them(tmp_path: Path) -> None:
    source = (
        "def loss(student, teacher, labels):\n"
        "    assert student.dtype == np.float32 and labels.shape == student.shape, 'other'\n"
        "    return (labels * student).sum(axis=1)"
    )
    loss = _loss(tmp_path, source)
    assert (loss.precision, loss.one_hot) == ("float32", True)


TWO = "def loss(student, teacher):\n    "
BAD = {
    "def loss(a, b):\n    return 0.0": "what is a",
    "def loss(student, b):\n    return 0.0": r"takes \(student, b\): which argument is the teacher\? Name it with --ar",
    "def loss(student, teacher, foo): pass": r"what is foo\? Give its role, as --arg teacher=foo, or its value",
    "loss = 3": "must be a function or a class, got int",
    f"{TWO}raise RuntimeError('no\\nway')": "raises: RuntimeError: no way. It was called with logits of shape",
    f"{TWO}import no_such": r"cannot import here: No module named 'no_such'; type: pip install no_such",
    "class loss:\n    def __init__(self, T): pass": "makes an object that cannot be called",
    f"{TWO}return 1.0, 2.0": "returns a tuple; let it return a scalar, or one value per image",
    f"{TWO}return 'low'": "returns a str",
    f"{TWO}return None": "returns a NoneType",
    f"{TWO}return student": r"returns shape \(4, 10\)",
    f"{TWO}return float('nan')": "is not finite on plain logits: nan",
    "def loss(student, teacher_probs): pass": "which argument is the teacher.*it gets logits, not probabilities",
    f"{TWO}return 1j * student.mean()": "returns a complex",
    "def loss(student, teacher, labels):\n    labels[:] = 0\n    return student.mean()": "changes its logits or labels",
    f"{TWO}student -= 1\n    return student.mean()": "changes its logits or labels in place",
    f"{TWO}return np.random.rand()": "is random: the same logits gave",
    "import nothing_of_this_name": "cannot import loss",
    "def other(): pass": "has no attribute 'loss'",
}


@pytest.mark.parametrize(("source", "message"), BAD.items(), ids=list(BAD.values()))
def test_a_function_that_is_not_a_loss_gives_a_one_line_error(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as raised:
        _loss(tmp_path, source)
    assert "\n" not in str(raised.value)


def test_a_missing_argument_and_a_framework_that_is_not_installed_are_errors(tmp_path: Path) -> None:
    source = "def loss(student, teacher):\n    return 0.0"
    with pytest.raises(
        ModelError, match=r"has no argument 'logits_t'; it takes \(student, teacher\).* roles student, "
    ):
        _loss(tmp_path, source, "labels=logits_t")
    try:
        import torch  # noqa: F401
    except ImportError:
        with pytest.raises(ModelError, match=r"^torch is not installed here: .* Install it: pip install torch$"):
            _loss(tmp_path, source, framework="torch")


@pytest.mark.parametrize(
    "body",
    ["params.alpha * params.T", "params['alpha'] * params['T']", "params.get('alpha') * params.get('temperature')"],
)
def test_an_object_of_settings_has_t_and_alpha_as_attributes_and_as_keys(tmp_path: Path, body: str) -> None:
    loss = _loss(tmp_path, f"def loss(student, teacher, params):\n    return student.mean() + {body}")
    logits = np.ones((4, 10))
    assert loss.values(np.zeros(4, np.int64), logits, logits, 3.0, 0.5) == 1 + 1.5


def test_a_setting_counts_as_an_argument_only_if_it_changes_the_loss(tmp_path: Path) -> None:
    """The code has T as a constant and reads alpha from the settings."""
    loss = _loss(tmp_path, "def loss(student, teacher, args):\n    return args.alpha * student.mean() / 4")
    assert (loss.has("temperature"), loss.has("alpha")) == (False, True)
