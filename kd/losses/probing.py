"""Call a recognised loss with special logits: gradients, confident teachers, close students, 16-bit floats."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from kd.errors import ModelError
from kd.losses.calling import CallableLoss
from kd.losses.fitting import BATCHES, LARGEST, Fit, probes
from kd.losses.forms import Floats, Form, Probes
from kd.losses.weights import Weight

SAME_GRADIENT = 1e-3
STEP = 1e-5  # of a logit, in a numerical derivative
CONFIDENT = 50.0  # a trained teacher's logits reach this; float32's exp overflows at 89
LARGE = 3 * LARGEST  # logit that shows clipped logits, and hardly an epsilon or a clipped probability
CLIPPED = 2e-2  # largest relative error of a value there
CLOSE = 0.1  # standard deviation between the logits of student and teacher, late in a training
USABLE = 0.1  # largest relative error of a divergence in bfloat16
MIXED = 1e-2  # largest relative effect of other images on an image's loss


@dataclass(frozen=True)
class Recognised:
    """A loss, with its two forms and their weights.

    classes: of the logits in the calls. is_rounded: whether its values are rounded to 16-bit floats.
    """

    loss: CallableLoss
    fit: Fit
    labels: Weight
    term: Weight
    classes: int
    is_rounded: bool

    @property
    def parts(self) -> list[tuple[Form, Weight]]:
        both = ((self.fit.labels, self.labels), (self.fit.term, self.term))
        return [(form, weight) for form, weight in both if weight.is_there]

    def argument(self, temperature: float) -> float | None:
        """Return the T to call it with: None if it is hard-coded."""
        return temperature if self.fit.temperature is None else None

    @cached_property
    def alphas(self) -> tuple[float | None, float | None]:
        """Return an alpha at which both parts have a weight, and if possible one at which only the term has."""
        both = 0.5 if self.loss.has("alpha") else None
        labels, term = self.labels, self.term
        none = labels.exact * max(map(abs, labels.levels.values()), default=0.0)
        alone = [alpha for alpha, level in labels.levels.items() if abs(level) <= none and term.levels.get(alpha)]
        return both, alone[0] if alone else both

    def known(self, batches: Probes, temperature: float, alpha: float | None) -> list[Floats]:
        """Return the values of the forms for each batch, for labels and term separately."""
        t = temperature if self.fit.temperature is None else self.fit.temperature
        return [
            np.asarray(
                weight.at(t, alpha, batches.images, batches.classes)
                * np.tensordot(weight.shares, form.parts(batches, t), 1)
            )
            for form, weight in self.parts
        ]


@dataclass(frozen=True)
class Probed:
    """The findings of calls. difference: of the gradient, relative; None without autograd."""

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    difference: float | None = None


def gradient(recognised: Recognised) -> Probed:
    """Compare the student's gradient with the forms', and check whether one flows into the teacher."""
    temperature, (alpha, _) = 4.0, recognised.alphas
    batch = probes(3, recognised.classes, 1)
    try:
        computed = _autograd(recognised, batch, temperature, alpha, recognised.loss.precision)
    except Exception as error:  # differentiating a user's code may raise anything
        return Probed(["gradient"], [f"it cannot be differentiated: {type(error).__name__}"])
    if computed is None:
        return Probed()
    of_teacher, of_student = computed
    count = of_student.size
    steps = STEP * np.eye(count).reshape(count, *of_student.shape)

    def values(students: Floats) -> Floats:
        many = Probes(np.repeat(batch.labels, count, 0), np.repeat(batch.teacher, count, 0), students)
        return np.asarray(np.sum(recognised.known(many, temperature, alpha) or [np.zeros(count)], axis=0))

    expected = (values(batch.student + steps) - values(batch.student - steps)).reshape(of_student.shape) / (2 * STEP)
    difference = float(np.abs(of_student - expected).max() / (np.abs(expected).max() or 1.0))
    return Probed(
        ["gradient"] if difference > max(SAME_GRADIENT, 10 * recognised.fit.typical) else [],
        ["a gradient flows into the teacher, too: freeze it, or detach its logits"] if of_teacher.any() else [],
        difference,
    )


def _autograd(
    recognised: Recognised, batch: Probes, temperature: float, alpha: float | None, precision: str
) -> tuple[Floats, Floats] | None:
    """Return the gradients of teacher and student in the first batch; None without autograd."""
    loss, t = recognised.loss, recognised.argument(temperature)
    teacher, student = (loss.framework.tensor(logits, precision) for logits in (batch.teacher[0], batch.student[0]))
    targets = loss.targets(batch.labels[0], batch.classes)
    return loss.framework.gradients(
        lambda first, second: loss.result(targets, first, second, t, alpha), teacher, student
    )


def beyond(recognised: Recognised) -> float:
    """Return the largest relative difference to the forms for larger logits than in the fit.

    It is 0 if it cannot be computed: values are rounded, or a weight is unknown for some size.
    """
    if recognised.is_rounded or not (recognised.labels.is_regular and recognised.term.is_regular):
        return 0.0
    plain = probes(4, recognised.classes)
    # A missing term may appear for confident teachers only.
    sizes = (LARGE,) if recognised.term.is_there else (LARGE, CONFIDENT)
    batches = [Probes(plain.labels, size / LARGEST * plain.teacher, size / LARGEST * plain.student) for size in sizes]
    return max(_difference(recognised, batch, 4.0, "") for batch in batches)


def _difference(recognised: Recognised, batch: Probes, temperature: float, precision: str) -> float:
    loss, t, (alpha, _) = recognised.loss, recognised.argument(temperature), recognised.alphas
    values = np.array([loss.values(*each, t, alpha, precision).mean() for each in batch.batches()])
    known = np.sum(recognised.known(batch, temperature, alpha), axis=0)
    return float(np.abs(values - known).max() / (np.abs(known).max() or 1.0))


def at_the_limits(recognised: Recognised) -> Probed:
    """Check that it is finite at logits of +-50, and with a one-hot teacher; in float32, as in a training."""
    batch = probes(4, recognised.classes, 1)
    sure = np.where(batch.teacher == batch.teacher.max(axis=-1, keepdims=True), CONFIDENT, -CONFIDENT)
    wrong = np.roll(sure, 1, axis=-1)
    if not all(_is_finite(recognised, batch.labels, sure, student) for student in (wrong, batch.student)):
        return Probed(["not-finite"])
    if not _is_finite(recognised, batch.labels, 100 * sure, batch.student):
        return Probed(notes=["it is not finite if a probability of the teacher is 0: compute from log_softmax"])
    if recognised.is_rounded or any(form.faults for form, _ in recognised.parts):
        return Probed()
    off = _difference(recognised, Probes(batch.labels, sure, wrong), 1.0, "float32")
    clipped = f"at logits of +-{CONFIDENT:g} its value is off by {off:.0%}: an epsilon, or clipping"
    return Probed(notes=[clipped] if off > CLIPPED else [])


def _is_finite(recognised: Recognised, labels: npt.NDArray[np.int64], teacher: Floats, student: Floats) -> bool:
    alpha, t = recognised.alphas[0], recognised.argument(1.0)
    try:
        value = recognised.loss.values(labels[0], teacher[0], student[0], t, alpha, "float32")
    except ModelError:  # NumPy raises if warnings are errors
        return False
    try:
        gradients = _autograd(recognised, Probes(labels, teacher, student), 1.0, alpha, "float32")
    except Exception:  # `gradient` reports it
        gradients = None
    # Only the student's: the teacher's is NaN for a right loss in PyTorch, and trainings do not use it.
    return all(np.isfinite(each).all() for each in (value, *(gradients or ())[1:]))


def where_close(recognised: Recognised) -> Probed:
    """Return the faults for a student close to its teacher, in the precision of the loss and in bfloat16."""
    form = recognised.fit.term
    is_divergence = form.name in ("kd", "jsd") and "CE(" not in form.formula
    if not recognised.term.is_there or not is_divergence or form.faults:
        return Probed()
    plain, truth = _divergences(recognised, recognised.loss.precision)
    faults = ["negative"] if (plain < -1e-6).any() and (truth > 0).all() else []
    if not recognised.loss.framework.has_bfloat16:
        return Probed(faults)
    try:
        low, truth = _divergences(recognised, "bfloat16")
    except ModelError:
        return Probed(faults, ["it does not take bfloat16"])
    worst = float(np.abs(low - truth).max() / truth.mean())
    negative = f", {(low < 0).sum()} of {len(low)} values negative" if (low < 0).any() else ""
    off = f"in bfloat16 a KL of {truth.mean():.1g} is off by up to {worst:.1g} times itself{negative}"
    return Probed(faults, [f"{off}: cast logits to float32"] if worst > USABLE else [])


def _divergences(recognised: Recognised, precision: str) -> tuple[Floats, Floats]:
    """Return the term with weight 1, from the loss and from the form, for the same rounded logits."""
    loss, alpha, temperature = recognised.loss, recognised.alphas[1], 1.0
    plain = probes(4, recognised.classes, 2 * BATCHES)
    student = plain.teacher + np.random.default_rng(0).normal(0, CLOSE, plain.teacher.shape)
    rounded = [loss.framework.array(loss.framework.tensor(logits, precision)) for logits in (plain.teacher, student)]
    batch = Probes(plain.labels, *rounded)
    t = recognised.argument(temperature)
    values = np.array([loss.values(*each, t, alpha, precision).mean() for each in batch.batches()])
    *labels, term = recognised.known(batch, temperature, alpha)
    t = temperature if recognised.fit.temperature is None else recognised.fit.temperature
    size = recognised.term.at(t, alpha, batch.images, batch.classes) * t**2
    return (values - sum(labels)) / size, term / size


def unexplained(loss: CallableLoss, classes: int) -> tuple[list[str], list[str]]:
    """Return faults and notes of a loss that no form explains: arguments without effect, and mixed images."""
    batch = probes(4, classes)
    alpha = 0.5

    def values(teacher: Floats, student: Floats, images: slice | list[int] = slice(None), t: float = 4.0) -> Floats:
        """Return the loss of each batch, with only these of its images, in this order."""
        some = Probes(batch.labels[:, images], teacher[:, images], student[:, images])
        return np.array([loss.values(*each, t, alpha).mean() for each in some.batches()])

    whole = values(batch.teacher, batch.student)
    faults, notes = [], []
    equal = np.abs(values(batch.teacher, batch.teacher)).max()
    if not loss.has("labels") and equal > MIXED * np.abs(whole).max():
        notes.append("it is not 0 if student and teacher are equal")
    if (values(batch.teacher[::-1], batch.student) == whole).all():
        faults.append("no-teacher")
    if (values(batch.teacher, batch.student[::-1]) == whole).all():
        faults.append("no-student")
    if loss.has("temperature") and not faults and (values(batch.teacher, batch.student, t=2.0) == whole).all():
        faults.append("t-ignored")
    try:
        each = [values(batch.teacher, batch.student, slice(image, image + 1)) for image in range(batch.images)]
    except ModelError:
        return faults, [*notes, "it does not take a batch of one image"]
    rest = [np.abs(total - whole).max() for total in (np.mean(each, axis=0), np.sum(each, axis=0))]
    if min(rest) > MIXED * np.abs(whole).max():
        # A loss of relations among images does not depend on their order.
        if np.allclose(values(batch.teacher, batch.student, [2, 0, 3, 1]), whole, rtol=1e-4):
            notes.append("an image's loss depends on the other images")
        else:
            faults.append("images-mixed")
    return faults, notes
