"""Compute the known forms of a distillation loss, right and wrong, in float64 with NumPy.

A loss is a*labels + b*term. `LABELS` are the forms of the first part, `terms` the forms of the second: this project's
terms, and Hinton's with each usual mistake. Every part has this project's reduction, the mean over the images, and its
factor T^2; other reductions and factors show in the weights a and b (`kd.losses.check`).
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kd.losses.builtin import LOSSES
from kd.losses.loss import computing_with

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Probes:
    """Several batches of one size. labels: integers, (count, images); logits: float64, (count, images, classes)."""

    labels: npt.NDArray[np.int64]
    teacher: Floats
    student: Floats

    @property
    def images(self) -> int:
        return int(self.student.shape[1])

    @property
    def classes(self) -> int:
        return int(self.student.shape[2])

    def batches(self) -> Iterator[tuple[npt.NDArray[np.int64], Floats, Floats]]:
        """Yield the labels, teacher logits and student logits of each batch."""
        yield from zip(self.labels, self.teacher, self.student, strict=True)


Parts: TypeAlias = Callable[[Probes, float], list[Floats]]


@dataclass(frozen=True, eq=False)
class Form:
    """One way to write a part of a loss.

    Args:
        name: a key of `kd.losses.builtin.LOSSES` for a form of that loss, with or without `faults`; else another name.
        formula: for users, without its factor T^2.
        parts: (probes, T) -> the separately weighted summands, each of shape (count,).
        faults: keys of `FAULTS`.
        squared: whether the parts have a factor T^2, which a loss may lack.
        corrected: whether the standard deviation is divided by classes - 1.
        mixture: the teacher's share of the mixture of a Jensen-Shannon divergence.
    """

    name: str
    formula: str
    parts: Parts
    faults: tuple[str, ...] = ()
    squared: bool = False
    corrected: bool = False
    mixture: float | None = None


FAULTS = {
    "no-t-squared": "the factor T^2 is missing: the teacher's gradient shrinks by T^2 as T grows",
    "t-power": "the factor is not T^2 but another power of T",
    "t-ignored": "T does not soften the logits",
    "t-student-only": "T softens the student's logits only",
    "t-teacher-only": "T softens the teacher's logits only",
    "t-differs": "the temperature in the code is not the one given",
    "exchanged": "teacher and student are exchanged: KL(student || teacher), right only if intended",
    "student-log-missing": "it uses the student's probabilities instead of their logarithm; use log_softmax",
    "student-softmax-missing": "it uses the student's logits instead of log-probabilities; use log_softmax",
    "student-softmax-twice": "the student's logits go through softmax twice",
    "teacher-softmax-missing": "it uses the teacher's logits instead of probabilities; use softmax",
    "teacher-softmax-twice": "the teacher's logits go through softmax twice",
    "teacher-log": "it uses the teacher's log-probabilities instead of probabilities; use softmax, or log_target=True",
    "teacher-log-missing": "log_target=True, but it gets the teacher's probabilities without a logarithm",
    "mixture": "the weights of the two divergences of the JSD are exchanged",
    "by-classes": "the mean is over the classes, too: the term shrinks with their number; sum over them (batchmean)",
    "labels-by-classes": "the labels' mean is over the classes, too: their part shrinks with their number",
    "by-batch": "labels and term are reduced in different ways: the term's weight depends on the batch size",
    "reduction": "the weight of a part depends on the numbers of images and classes in an unknown way",
    "negative-weight": "a part is subtracted: training would make it larger",
    "at-the-edge": "at alpha = 0 or 1 the weights jump",
    "over-images": "softmax is taken over the images, not over the classes: dim=1, not 0",
    "labels-on-teacher": "the labels are compared with the teacher's logits",
    "labels-softmax-twice": "the student's logits go through softmax twice before the labels' cross entropy",
    "labels-log-missing": "the labels' negative log-likelihood has no logarithm; use cross_entropy of logits",
    "labels-at-t": "the labels' cross entropy is of logits divided by T",
    "no-teacher": "the teacher's logits change nothing: are they compared with themselves?",
    "no-student": "the student's logits change nothing",
    "images-mixed": "an image's loss depends on the other images: are the teacher's rows in the student's order?",
    "imprecise": "its values are rounded like 16-bit floats: compute the loss in float32",
    "negative": "the divergence is negative where student and teacher are close",
    "not-finite": "it is not finite at logits of +-50: compute from log_softmax",
    "gradient": "the student's gradient does not match the value",
}
"""Everything that can be wrong, by name, in one line."""


def log_softmax(logits: Floats) -> Floats:
    return np.asarray(logits - _logsumexp(logits, axis=-1, keepdims=True))


def softmax(logits: Floats) -> Floats:
    return np.asarray(np.exp(log_softmax(logits)))


def _xlogx(values: Floats) -> Floats:
    """Return x*log(x), 0 at 0, NaN below, as torch's kl_div does."""
    with np.errstate(invalid="ignore"):
        return np.where(values == 0, 0.0, values * np.log(np.where(values == 0, 1.0, values)))


def _mean(per_class: Floats) -> Floats:
    return np.asarray(per_class.sum(axis=-1).mean(axis=-1))


def _of_labels(labels: npt.NDArray[np.int64], values: Floats) -> list[Floats]:
    return [-np.take_along_axis(values, labels[..., None], axis=-1)[..., 0].mean(axis=-1)]


CE = "CE(labels)"
NO_LABELS = (Form("", "", lambda probes, _: []),)
LABELS = (
    Form("ce", CE, lambda probes, _: _of_labels(probes.labels, log_softmax(probes.student))),
    Form(
        "ce",
        "CE(labels, student/T)",
        lambda probes, t: _of_labels(probes.labels, log_softmax(probes.student / t)),
        ("labels-at-t",),
    ),
    Form(
        "ce",
        "CE(labels, softmax(student))",
        lambda probes, _: _of_labels(probes.labels, log_softmax(softmax(probes.student))),
        ("labels-softmax-twice",),
    ),
    Form(
        "ce",
        "-softmax(student)[label]",
        lambda probes, _: _of_labels(probes.labels, softmax(probes.student)),
        ("labels-log-missing",),
    ),
    Form("ce", "-student[label]", lambda probes, _: _of_labels(probes.labels, probes.student), ("labels-log-missing",)),
    Form(
        "ce",
        "CE(labels, teacher)",
        lambda probes, _: _of_labels(probes.labels, log_softmax(probes.teacher)),
        ("labels-on-teacher",),
    ),
    Form(
        "smoothed",
        "CE(smoothed labels)",
        lambda probes, _: [
            *_of_labels(probes.labels, log_softmax(probes.student)),
            -log_softmax(probes.student).mean(axis=(-1, -2)),
        ],
    ),
)
"""The forms of the labels' part: this project's, the faulty ones, label smoothing."""

_Rows: TypeAlias = Callable[[Floats, float], Floats]
_TARGETS: dict[str, _Rows] = {
    "": lambda logits, t: softmax(logits / t),
    "softmax-missing": lambda logits, t: logits / t,
    "log": lambda logits, t: log_softmax(logits / t),
    "softmax-twice": lambda logits, t: softmax(softmax(logits / t)),
    "softmax-twice, T between": lambda logits, t: softmax(softmax(logits) / t),
}
_INPUTS: dict[str, _Rows] = {
    "": lambda logits, t: log_softmax(logits / t),
    "log-missing": lambda logits, t: softmax(logits / t),
    "softmax-missing": lambda logits, t: logits / t,
    "softmax-twice": lambda logits, t: log_softmax(softmax(logits / t)),
    "softmax-twice, T between": lambda logits, t: log_softmax(softmax(logits) / t),
}
_SIDES = {"": (1, 1), "t-ignored": (0, 0), "t-student-only": (0, 1), "t-teacher-only": (1, 0)}
_PAIRS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "kl": lambda target, log_input: _xlogx(target) - target * log_input,
    "soft-ce": lambda target, log_input: -target * log_input,
    "log-target": lambda target, log_input: np.exp(target) * (target - log_input),
}
_MOST_FAULTS = 2  # of one term


def _hinton() -> Iterator[Form]:
    """Yield Hinton's term, KL divergence or cross entropy, with up to two faults."""
    for pair, exchanged, side, target, log_input in itertools.product(_PAIRS, (False, True), _SIDES, _TARGETS, _INPUTS):
        if pair == "log-target" and target:  # e^p*(p - q) of log-probabilities p is the KL divergence itself
            continue
        # In an exchanged divergence the student is the target.
        of_target, of_input = ("student", "teacher") if exchanged else ("teacher", "student")
        faults = (
            *(("exchanged",) if exchanged else ()),
            *((side,) if side else ()),
            *((f"{of_target}-{target.partition(',')[0]}",) if target else ()),
            *((f"{of_input}-{log_input.partition(',')[0]}",) if log_input else ()),
            *((f"{of_target}-log-missing",) if pair == "log-target" else ()),
        )
        # A target that is not positive has no logarithm: the KL divergence is NaN.
        if len(faults) > _MOST_FAULTS or (pair == "kl" and target in ("softmax-missing", "log")):
            continue
        if any(fault not in FAULTS for fault in faults) or _is_twin(pair, exchanged, side, target, log_input):
            continue
        yield _divergence(pair, exchanged, side, target, log_input, faults)


def _is_twin(pair: str, exchanged: bool, side: str, target: str, log_input: str) -> bool:
    """Return whether another form has the same values, because products commute, or T is missing or factors out."""
    softened = _SIDES[side][::-1] if exchanged else _SIDES[side]  # target, input
    if any(text.endswith("T between") and not soft for text, soft in zip((target, log_input), softened, strict=True)):
        return True
    if pair != "soft-ce":
        return False
    return (
        (exchanged and bool(target or log_input))
        or (target, log_input) == ("log", "log-missing")
        or (target == "softmax-missing" and not softened[0])
        or (log_input == "softmax-missing" and not softened[1])
    )


def _divergence(pair: str, exchanged: bool, side: str, target: str, log_input: str, faults: tuple[str, ...]) -> Form:
    teacher_softened, student_softened = _SIDES[side]

    def parts(probes: Probes, t: float) -> list[Floats]:
        teacher = (probes.teacher, t if teacher_softened else 1.0)
        student = (probes.student, t if student_softened else 1.0)
        first, second = (student, teacher) if exchanged else (teacher, student)
        return [t**2 * _mean(_PAIRS[pair](_TARGETS[target](*first), _INPUTS[log_input](*second)))]

    names = ["teacher_T" if teacher_softened else "teacher", "student_T" if student_softened else "student"]
    if exchanged:
        names.reverse()
    formula = f"CE({', '.join(names)})" if pair == "soft-ce" else f"KL({' || '.join(names)})"
    return Form("kd", formula, parts, faults, squared=True)


def _keras_string(probes: Probes, t: float) -> list[Floats]:
    """Compute keras.losses.kl_divergence of logits: both sides are clipped to [1e-7, 1] like probabilities."""
    target, values = (np.clip(logits / t, 1e-7, 1.0) for logits in (probes.teacher, probes.student))
    return [t**2 * _mean(target * np.log(target / values))]


def _over_images(probes: Probes, t: float) -> list[Floats]:
    teacher, student = (log_softmax(logits.swapaxes(1, 2) / t) for logits in (probes.teacher, probes.student))
    return [t**2 * (np.exp(teacher) * (teacher - student)).sum(axis=(1, 2)) / probes.images]


def _own_parts(name: str) -> Parts:
    """Return the parts of a loss of this project from its term: one per parameter, with the others at 0."""
    parameters = [parameter.name for parameter in LOSSES[name].parameters]
    settings = [{key: float(key == other) for key in parameters} for other in parameters] or [{}]
    if name == "nkd":  # the label's part has no parameter
        settings = [{"gamma": 0.0}, {"gamma": 1.0}]

    def parts(probes: Probes, t: float) -> list[Floats]:
        with computing_with(NUMPY_OPS):
            values = [
                np.array([LOSSES[name].term(*batch, temperature=t, **own) for batch in probes.batches()])
                for own in settings
            ]
        return [values[0], values[1] - values[0]] if name == "nkd" else values

    return parts


def _standardized_corrected(probes: Probes, t: float) -> list[Floats]:
    """Compute logit standardization as in its authors' code, with a variance divided by classes - 1."""
    classes = probes.classes
    spread = t * np.sqrt(classes / (classes - 1)) if classes > 1 else t
    return [value * (t / spread) ** 2 for value in _own_parts("logit-standardization")(probes, float(spread))]


def _mixed(share: float) -> Parts:
    """Return the two divergences of a Jensen-Shannon divergence, from a mixture with this share of the teacher."""

    def parts(probes: Probes, t: float) -> list[Floats]:
        teacher, student = softmax(probes.teacher / t), softmax(probes.student / t)
        mixture = np.log(share * teacher + (1 - share) * student)
        return [_mean(_xlogx(side) - side * mixture) for side in (teacher, student)]

    return parts


def _squares(rows: Callable[[Floats, float], Floats]) -> Parts:
    return lambda probes, t: [np.square(rows(probes.student, t) - rows(probes.teacher, t)).mean(axis=(-1, -2))]


def _argmax(probes: Probes, t: float) -> list[Floats]:
    return _of_labels(probes.teacher.argmax(axis=-1), log_softmax(probes.student))


@cache
def terms() -> tuple[Form, ...]:
    """Return every form of the second part, the likeliest first: of equal forms the first is chosen."""
    kinds = sorted(_hinton(), key=lambda form: len(form.faults))
    own = [
        Form(name, loss.formula.partition("(1-alpha)*")[2].removeprefix("T^2*"), _own_parts(name), squared=True)
        for name, loss in LOSSES.items()
        if name not in ("kd", "mse")
    ]
    return (
        Form("", "", lambda probes, _: []),
        *(form for form in kinds if not form.faults),
        Form("mse", "mean((student - teacher)^2)", _squares(lambda logits, _: logits)),
        *own,
        Form(
            "logit-standardization",
            "KL(teacher'_T || student'_T), z' = (z - mean(z))/sd(z)",
            _standardized_corrected,
            squared=True,
            corrected=True,
        ),
        *(form for form in kinds if form.faults),
        Form(
            "kd",
            "kl_divergence(teacher/T, student/T)",
            _keras_string,
            ("teacher-softmax-missing", "student-softmax-missing"),
            squared=True,
        ),
        Form("kd", "KL(teacher_T || student_T) over the images", _over_images, ("over-images",), squared=True),
        *(
            Form("jsd", f"JSD(teacher_T, student_T), beta = {share:g}", _mixed(share), mixture=share)
            for share in (0.5, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95)
        ),
        Form(
            "mse of probabilities", "mean((student_T - teacher_T)^2)", _squares(lambda logits, t: softmax(logits / t))
        ),
        Form("hard labels of the teacher", "CE(argmax(teacher))", _argmax),
    )


def _logsumexp(values: Floats, axis: int, keepdims: bool = False) -> Floats:
    largest = values.max(axis=axis, keepdims=True)
    total: Floats = np.log(np.exp(values - largest).sum(axis=axis, keepdims=True)) + largest
    return total if keepdims else np.squeeze(total, axis=axis)


NUMPY_OPS = SimpleNamespace(
    **{
        name: getattr(np, name)
        for name in ("exp", "max", "maximum", "mean", "reshape", "sqrt", "square", "sum", "where")
    },
    log_softmax=lambda logits, axis=-1: log_softmax(logits),
    logsumexp=_logsumexp,
    one_hot=lambda labels, classes, dtype: np.eye(classes, dtype=dtype)[labels],
    stop_gradient=lambda values: values,
)
"""The part of `keras.ops` that this project's terms use, for float64 arrays of NumPy."""
