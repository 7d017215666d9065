"""A user's loss: its description, and its errors in one line."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kd.errors import ModelError, ModuleNotHere, NotHere
from kd.losses import loss_named
from kd.losses.loss import soft_target_loss
from kd.losses.trial import check_users_loss

OWN = '''
import sys
import numpy as np
import tensorflow as tf
from keras import ops

def loss(labels, teacher_logits, student_logits, *, temperature, beta=2.0, gamma=1):
    """beta*T^2*KL(student_T || teacher_T)

    More of it."""
    t = ops.log_softmax(teacher_logits / temperature)
    s = ops.log_softmax(student_logits / temperature)
    return beta * temperature**2 * ops.sum(ops.exp(s) * (s - t), axis=-1)

def scalar(labels, teacher_logits, student_logits):
    return tf.reduce_mean(tf.abs(student_logits - teacher_logits))

def branches(labels, teacher_logits, student_logits, temperature, power=2.0):
    """A Python if and a while of tensors, which a compiled step turns into its own."""
    if temperature > 3.0:
        return ops.mean(ops.abs(student_logits - teacher_logits) ** power)
    return ops.mean(ops.square(student_logits))

def order(teacher_logits, labels, student_logits): ...
def two(labels, teacher_logits): ...
def needs(labels, teacher_logits, student_logits, *, temperature, beta): ...
def positional(labels, teacher_logits, student_logits, beta, /): ...
def hides(labels, teacher_logits, student_logits, **more): ...
def stars(labels, teacher_logits, student_logits, *more): ...
def takes_alpha(labels, teacher_logits, student_logits, *, alpha=0.5): ...
def takes_epochs(labels, teacher_logits, student_logits, *, epochs=5): ...
def takes_batch_size(labels, teacher_logits, student_logits, *, batch_size=32): ...
def text(labels, teacher_logits, student_logits, *, mode="sum"): ...
def flag(labels, teacher_logits, student_logits, *, hard=True): ...
def endless(labels, teacher_logits, student_logits, *, beta=float("inf")): ...

def per_class(labels, teacher_logits, student_logits):
    return ops.mean(ops.square(student_logits - teacher_logits), axis=0)

def whole(labels, teacher_logits, student_logits):
    return ops.square(student_logits - teacher_logits)

def column(labels, teacher_logits, student_logits):
    return ops.mean(ops.square(student_logits - teacher_logits), axis=-1, keepdims=True)

def naive(labels, teacher_logits, student_logits):
    t, s = ops.softmax(teacher_logits), ops.softmax(student_logits)
    return ops.sum(t * (ops.log(t) - ops.log(s)), axis=-1)

def never(labels, teacher_logits, student_logits):
    return ops.mean(student_logits) / ops.zeros(())

def rooted(labels, teacher_logits, student_logits):
    return ops.sqrt(ops.sum(ops.square(ops.relu(student_logits - 100)), axis=-1)) + ops.mean(student_logits**2)

def constant(labels, teacher_logits, student_logits):
    return ops.mean(teacher_logits)

def stopped(labels, teacher_logits, student_logits):
    return ops.mean(ops.stop_gradient(student_logits) ** 2)

def numpy(labels, teacher_logits, student_logits):
    return np.mean(np.square(student_logits - teacher_logits))

def raises(labels, teacher_logits, student_logits):
    raise RuntimeError("no such thing")

def tells_much(labels, teacher_logits, student_logits):
    raise ValueError("bad\\nthing\\n\\n happened")

def nothing(labels, teacher_logits, student_logits): ...

def double(labels, teacher_logits, student_logits):
    return ops.cast(ops.mean(student_logits), "float64")

def exits(labels, teacher_logits, student_logits):
    sys.exit(3)

def full(labels, teacher_logits, student_logits):
    raise OSError(28, "No space left on device")

class Callable:
    def __call__(self, labels, teacher_logits, student_logits): ...

an_object = Callable()
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "a_users_losses.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "a_users_losses", raising=False)
    return "a_users_losses"


def test_a_loss_is_described_by_its_signature_and_the_first_line_of_its_docstring(own: str) -> None:
    loss = check_users_loss(f"{own}:loss", 10)
    assert loss == loss_named(f"{own}:loss")
    assert loss.formula == "alpha*CE(labels) + (1-alpha)*term, term: beta*T^2*KL(student_T || teacher_T)"
    assert [(own.name, own.default) for own in loss.parameters] == [("beta", 2.0), ("gamma", 1.0)]
    assert loss.uses_temperature
    bare = check_users_loss(f"{own}:scalar", 10)
    assert (bare.parameters, bare.uses_temperature, bare.default_temperature) == ((), False, 1.0)
    assert bare.formula.endswith(f"term: {own}:scalar")
    assert [parameter.name for parameter in check_users_loss(f"{own}:branches", 3).parameters] == ["power"]


def test_a_file_is_named_by_its_path_and_leaves_no_module_behind(own: str) -> None:
    loss = check_users_loss("./a_users_losses.py:loss", 5)
    assert loss.name == "./a_users_losses.py:loss"
    assert own not in sys.modules


def test_a_users_term_is_the_mean_over_the_images(own: str) -> None:
    draw = np.random.default_rng(0)
    teacher, student = draw.normal(size=(2, 6, 4)).astype(np.float32)
    labels = np.zeros(6, np.int64)
    reversed_kl = float(soft_target_loss(student, teacher, 3.0))
    term = loss_named(f"{own}:loss").term
    assert float(term(labels, teacher, student, temperature=3.0, beta=0.5)) == pytest.approx(0.5 * reversed_kl)
    assert float(term(labels, teacher, student, temperature=3.0)) == pytest.approx(2 * reversed_kl)
    absolute = loss_named(f"{own}:scalar").term(labels, teacher, student, temperature=tf.constant(3.0))
    assert float(absolute) == pytest.approx(np.abs(student - teacher).mean())


CALLED = (
    r"is called as loss\(labels, teacher_logits, student_logits, \*, temperature, <own parameters with a default>\)"
)
READ = [
    ("order", rf"{CALLED}, but takes \(teacher_logits, labels, student_logits\)$"),
    ("two", rf"{CALLED}, but takes \(labels, teacher_logits\)$"),
    ("needs", rf"{CALLED}, but takes \(.*beta\): give beta a default, such as beta=1\.0$"),
    ("positional", rf"{CALLED}, but takes \("),
    ("hides", r".*: name each parameter, without \*\*more$"),
    ("stars", r".*: name each parameter, without \*more$"),
    ("takes_alpha", r".*: alpha is a setting of the training; give this parameter another name$"),
    ("takes_epochs", r".*: epochs is a setting of the training; give this parameter another name$"),
    ("takes_batch_size", r".*: batch_size is a setting of the training; give this parameter another name$"),
    ("text", r": the default of mode must be a finite number, got 'sum'; only numbers are searched$"),
    ("flag", r": the default of hard must be a finite number, got True; only numbers are searched$"),
    ("endless", r": the default of beta must be a finite number, got inf; only numbers are searched$"),
    ("an_object", r"must be a function loss\(.*\), got Callable$"),
    ("Callable", r"must be a function loss\(.*\), got type$"),
]
TRIED = [
    (
        "per_class",
        r"must return a scalar or shape \(5,\) for a batch of 5 images, got \(3,\): mean over images yourself",
    ),
    (
        "whole",
        r"must return a scalar or shape \(5,\) for a batch of 5 images, got \(5, 3\): .*, or return one value per",
    ),
    ("column", r"must return .*, got \(5, 1\): mean over images yourself, or return one value per image$"),
    ("naive", r"is not finite on logits of \+-50: \[.*nan.*\]; compute it from log_softmax"),
    ("never", r"is not finite on plain logits: -?inf; compute it"),
    (
        "constant",
        "does not change with the student's logits: its gradient is 0; compute it with keras.ops or tensorflow",
    ),
    ("stopped", "does not change with the student's logits: its gradient is 0"),
    ("numpy", "does not work in a compiled training step: "),
    ("raises", "does not work in a compiled training step: RuntimeError: no such thing$"),
    ("tells_much", "does not work in a compiled training step: ValueError: bad thing happened$"),
    ("nothing", "does not work in a compiled training step: "),
    ("double", "must return float32, got float64: cast it with ops.cast$"),
    ("exits", r"calls sys\.exit\(3\); let it return a tensor$"),
]


@pytest.mark.parametrize(("function", "message"), READ)
def test_a_function_that_cannot_be_called_as_a_loss_is_refused_in_one_line(
    own: str, function: str, message: str
) -> None:
    for refuses in (loss_named, lambda name: check_users_loss(name, 3)):
        with pytest.raises(ModelError, match=rf"^loss 'a_users_losses:{function}'\s?{message}") as caught:
            refuses(f"{own}:{function}")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("function", "message"), TRIED)
def test_a_loss_that_cannot_be_trained_with_is_refused_in_one_line(own: str, function: str, message: str) -> None:
    with pytest.raises(ModelError, match=rf"^loss 'a_users_losses:{function}' {message}") as caught:
        check_users_loss(f"{own}:{function}", 3)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_one_value_per_class_is_refused_whatever_the_number_of_classes(own: str) -> None:
    for classes in (2, 5, 6, 10):
        with pytest.raises(ModelError, match=rf"got \({classes},\)"):
            check_users_loss(f"{own}:per_class", classes)


def test_a_gradient_that_is_not_finite_is_refused(own: str) -> None:
    with pytest.raises(ModelError, match=r"the gradient of loss .* is not finite on plain logits; does it take a root"):
        check_users_loss(f"{own}:rooted", 3)


def test_a_full_disk_is_not_the_fault_of_the_loss(own: str) -> None:
    with pytest.raises(NotHere, match=r"^loss 'a_users_losses:full' finds no room on this machine: ") as caught:
        check_users_loss(f"{own}:full", 3)
    assert not isinstance(caught.value, ModelError)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "not_there:loss",
            r"No module named 'not_there'\. Write package\.module:function, with its folder on PYTHONPATH",
        ),
        ("./not_there.py:loss", r"cannot read .*not_there\.py: No such file or directory; copy the file there"),
    ],
)
def test_a_missing_module_may_exist_on_another_machine(own: str, name: str, message: str) -> None:
    with pytest.raises(ModuleNotHere, match=rf"^cannot import loss '{name}' here: {message}"):
        check_users_loss(name, 3)


@pytest.mark.parametrize("name", ["os:abort", "os:_exit", "sys:exit", "builtins:print"])
def test_a_function_that_takes_other_arguments_is_never_called(name: str) -> None:
    with pytest.raises(ModelError, match=r"is called as loss\("):
        check_users_loss(name, 3)


def test_the_ten_lines_of_the_docs_are_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.pages import DOCS

    page = (DOCS / "how-to" / "own-loss.md").read_text(encoding="utf-8")
    (tmp_path / "my_losses.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    monkeypatch.chdir(tmp_path)
    loss = check_users_loss("./my_losses.py:loss", 10)
    assert [parameter.name for parameter in loss.parameters] == ["beta"]
    assert f"`{loss.formula}`" in page
