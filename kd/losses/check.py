"""Classify a distillation loss: its known form, what alpha weighs, T^2, the reduction, and its faults.

`kd.losses.fitting` finds the forms of its two parts and their weights; `kd.losses.weights` finds how the weights depend
on T, alpha, images and classes; `kd.losses.probing` calls the loss with special logits to find the rest.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kd.losses import probing
from kd.losses.builtin import LOSSES
from kd.losses.calling import CallableLoss, loss_of
from kd.losses.fitting import ALPHAS, BATCHES, NEAR, SAME, TEMPERATURES, Fit, Recogniser, has_rounded_values, values_of
from kd.losses.forms import FAULTS, Form, terms
from kd.losses.probing import Recognised
from kd.losses.weights import Weight, weights_of
from kd.tools.processes import silence

ROUNDED = 5e-2  # relative change of most values by 16-bit floats, at most
EPSILON = 5e-3  # relative change of a few values by an epsilon in a logarithm, at most
SHOWN_TEMPERATURE, SHOWN_ALPHA = 4.0, 0.9  # for arguments without a given value


@dataclass(frozen=True)
class Request:
    """A loss to check.

    Args:
        arguments, framework: see `kd.losses.calling.loss_of`.
        temperature, alpha: hard-coded ones, as the user knows them; of arguments, the values to find `Same` for.
        classes, images: to find `Same` for, if the reduction depends on them; None: try several numbers of classes.
    """

    name: str
    arguments: Mapping[str, str]
    framework: str | None = None
    temperature: float | None = None
    alpha: float | None = None
    classes: int | None = None
    images: int = 128


@dataclass(frozen=True)
class Same:
    """The point of this project at which its loss, times `factor`, is the user's.

    Args:
        of_temperature, of_alpha: the user's, if they are arguments or known.
        of_classes, of_images: the numbers for which the point holds, if it depends on them.
    """

    loss: str
    temperature: float
    alpha: float
    own: dict[str, float]
    factor: float
    of_temperature: float | None
    of_alpha: float | None
    of_classes: int | None
    of_images: int | None


@dataclass(frozen=True)
class Checked:
    """The classification of a loss.

    Args:
        faults: sentences, by keys of `kd.losses.forms.FAULTS`.
        notes: findings that are not faults, a sentence each.
        values: number of compared values.
        difference, gradient_difference: the largest relative difference of a value, and of the student's gradient.
        loss: the name of its form; "" without a distillation term, or if unknown.
        formula: of the whole loss; "" if unknown.
        weighs: what alpha weighs: labels, teacher; "" if it is not an argument.
        same: None if no loss of this project is the same.
    """

    name: str
    framework: str
    verdict: Literal["right", "faulty", "other", "unknown"]
    faults: dict[str, str]
    notes: tuple[str, ...]
    values: int
    difference: float
    gradient_difference: float | None = None
    loss: str = ""
    formula: str = ""
    weighs: str = ""
    same: Same | None = None


def check_in_child(report: Callable[..., None], request: Request) -> Checked:
    """Check a loss in a child process, because its code may hang or crash; for `run_in_subprocess`."""
    silence()
    return check(request)


def check(request: Request) -> Checked:
    """Classify a loss by running its code.

    Raises:
        ModelError: it cannot be loaded or called, or its values are not numbers; one line.
    """
    classes = request.classes or 10
    return _checked(loss_of(request.name, request.arguments, request.framework, classes), request, classes)


def _checked(loss: CallableLoss, request: Request, classes: int) -> Checked:
    is_rounded = has_rounded_values(loss, classes)
    # Includes the point of `Same`, because weights need not be linear in alpha.
    temperatures = (*(TEMPERATURES[:3] if is_rounded else TEMPERATURES), request.temperature or SHOWN_TEMPERATURE)
    values = values_of(loss, request.classes, temperatures, (*ALPHAS, _alpha(loss, request) or 0.0))
    fit = Recogniser(values, has_labels=loss.has("labels"), is_rounded=is_rounded).best(request.temperature)
    is_rounded = is_rounded and fit.typical > NEAR  # not if only the teacher's argmax counts
    compared = len(values.settings) * BATCHES
    is_known = fit.typical < ROUNDED if is_rounded else fit.typical < NEAR and fit.difference < EPSILON
    if not is_known or not any(map(np.ptp, values.values)):
        return _unknown(loss, compared, fit.difference, *_of_unknown(loss, fit, classes))
    labels, term = weights_of(values, fit, request.alpha)
    if not (labels.is_steady and term.is_steady) and loss.has("alpha"):
        alpha = _alpha(loss, request)
        inside = _checked(replace(loss, fixed_alpha=alpha, made={}), replace(request, alpha=None), classes)
        return replace(inside, notes=(f"alpha is a weight inside a part; it is {alpha:g} here", *inside.notes))
    recognised = Recognised(loss, fit, labels, term, classes, is_rounded)
    if (beyond := probing.beyond(recognised)) > probing.CLIPPED:
        note = (
            f"on small logits it is {_formula(recognised)}; on larger ones values differ by {beyond:.0%}: are logits"
            " clipped, or some images left out?"
        )
        return _unknown(loss, compared, beyond, [], [note])
    gradient = probing.gradient(recognised)
    probed = [gradient, probing.at_the_limits(recognised), probing.where_close(recognised)]
    faults = [
        *_faults(recognised, request, is_rounded=is_rounded),
        *(fault for each in probed for fault in each.faults),
    ]
    notes = [*_notes(recognised, request, is_rounded=is_rounded), *(note for each in probed for note in each.notes)]
    if values.per_image:
        notes.insert(0, "it returns one value per image; their mean is meant")
    point = None if "gradient" in faults else _same(request, recognised)  # the same values would not train the same
    return Checked(
        name=loss.name,
        framework=loss.framework.name,
        verdict="faulty" if faults else "other" if point is None else "right",
        faults=_sentences(faults),
        notes=tuple(notes),
        values=compared,
        difference=fit.difference,
        gradient_difference=gradient.difference,
        loss=fit.term.name if term.is_there else "",
        formula=_formula(recognised),
        weighs=_weighs(labels, term),
        same=point,
    )


def _unknown(loss: CallableLoss, values: int, difference: float, faults: list[str], notes: list[str]) -> Checked:
    return Checked(
        name=loss.name,
        framework=loss.framework.name,
        verdict="faulty" if faults else "unknown",
        faults=_sentences(faults),
        notes=tuple(notes),
        values=values,
        difference=difference,
    )


def _sentences(faults: list[str]) -> dict[str, str]:
    return {fault: FAULTS[fault] for fault in faults}


def _faults(recognised: Recognised, request: Request, *, is_rounded: bool) -> Iterator[str]:
    """Yield the faults of the forms and of their weights."""
    fit, labels, term = recognised.fit, recognised.labels, recognised.term
    yield from fit.labels.faults
    yield from fit.term.faults
    if not term.is_there:
        yield "no-teacher" if labels.is_there else "no-student"
    if is_rounded:
        yield "imprecise"
    if None not in (request.temperature, fit.temperature) and fit.temperature != request.temperature:
        yield "t-differs"
    # A factor of both parts does not change their ratio: it is a note.
    if fit.term.squared and term.is_there and "t-ignored" not in fit.term.faults:
        powers = [power - (labels.power or 0.0) for power in term.powers]
        if any(abs(power + 2) < 0.1 for power in powers):
            yield "no-t-squared"
        elif any(powers):
            yield "t-power"
    parts = [part for part in (labels, term) if part.is_there]
    of_classes = (term.of_classes or 0.0) - (labels.of_classes or 0.0)
    if any(not part.is_regular for part in parts):
        if not is_rounded:
            yield "reduction"
    elif of_classes == -1:
        yield "by-classes"
    elif labels.of_classes == -1 and of_classes:
        yield "labels-by-classes"
    elif len(parts) == 2 and labels.of_images != term.of_images:
        yield "by-batch"
    if any(part.is_negative for part in parts):
        yield "negative-weight"
    if any(part.jumps for part in parts):
        yield "at-the-edge"
    # The teacher's divergence should have the weight beta, the teacher's share of the mixture.
    mixture = fit.term.mixture
    if mixture is not None and term.is_there and abs(term.shares[0] - mixture) > 1e-3 > abs(term.shares[1] - mixture):
        yield "mixture"


def _notes(recognised: Recognised, request: Request, *, is_rounded: bool) -> Iterator[str]:
    fit, labels, term = recognised.fit, recognised.labels, recognised.term
    if not is_rounded and fit.difference > SAME:
        yield f"values differ by up to {fit.difference:.0e}: rounding, an epsilon, or clipped probabilities"
    if fit.temperature not in (None, 1.0, request.temperature) and term.is_there:
        yield f"a temperature of {fit.temperature:g} is hard-coded"
    if "CE(" in fit.term.formula and fit.term.name == "kd" and not fit.term.faults:
        yield "a cross entropy with the teacher: KL plus the teacher's entropy, with the same gradient"
    if fit.labels.name == "smoothed":
        yield f"labels are smoothed by {labels.shares[1]:.3g}; this project does not smooth them"
    if term.of_images == 1 and labels.of_images in (1, None):
        yield "it is a sum over the images: the learning rate depends on the batch size"
    if labels.power:
        yield f"the labels' part has a factor T^{labels.power:g}: the learning rate depends on T"
    if term.of_classes == labels.of_classes == -1:
        yield "it is a mean over the classes, too: the learning rate depends on their number"
    if term.of_classes == 1:
        yield "the term is a sum over the classes"
    if fit.term.corrected:
        yield "sd is divided by classes - 1: T is sqrt(classes/(classes - 1)) times as large here"
    if term.is_there and not labels.is_there:
        yield "it is the term alone: add the labels' cross entropy"
    if term.power is None:
        yield "T is hard-coded: a factor T^2 cannot be distinguished from the term's weight"
    if not (term.is_linear and labels.is_linear):
        yield "the weights are not linear in alpha"


def _of_unknown(loss: CallableLoss, fit: Fit, classes: int) -> tuple[list[str], list[str]]:
    """Return faults and notes of a loss that no form explains."""
    faults, notes = probing.unexplained(loss, classes)
    nearest = " and ".join(filter(None, (fit.labels.formula, fit.term.formula)))
    far = f"nearest of {len(terms())} known forms: {nearest}; values differ by up to {fit.difference:.0%}"
    return faults, notes if faults else [*notes, far]


def _weighs(labels: Weight, term: Weight) -> str:
    """Return what alpha weighs: the part whose weight grows with it."""
    if labels.slope > 0 or term.slope < 0:
        return "labels"
    return "teacher" if labels.slope < 0 or term.slope > 0 else ""


def _formula(recognised: Recognised) -> str:
    texts = [f"{part.text}{_power(form, part)}{form.formula}{part.reduction}" for form, part in recognised.parts]
    text = " + ".join(texts) or "0"
    return text.replace("T^2*", "").replace("_T", "") if recognised.fit.temperature == 1 else text


def _power(form: Form, part: Weight) -> str:
    """Return the factor of T before a part, unless its formula shows T^2 already."""
    power = (2.0 if form.squared else 0.0) + (part.power or 0.0)
    return "" if not power or "T^2" in form.formula else f"T^{power:g}*"


def _same(request: Request, recognised: Recognised) -> Same | None:
    """Return the point of this project that is the same loss, or None."""
    loss, fit, labels, term = recognised.loss, recognised.fit, recognised.labels, recognised.term
    form = fit.term
    if form.name not in LOSSES or form.faults or not term.is_there:
        return None
    if fit.labels.faults or fit.labels.name == "smoothed":
        return None
    t = fit.temperature or request.temperature or SHOWN_TEMPERATURE
    alpha = _alpha(loss, request)
    if alpha in (0.0, 1.0) and (labels.jumps or term.jumps):
        return None
    classes = request.classes or 10
    first, second = (part.at(t, alpha, request.images, classes) for part in (labels, term))
    described = LOSSES[form.name]
    names = [parameter.name for parameter in described.parameters]
    own = dict(zip(names, term.shares[len(term.shares) - len(names) :], strict=True))  # nkd's first has no parameter
    temperature = t
    if form.corrected:
        spread = classes / (classes - 1)
        temperature, second = t * spread**0.5, second / spread
    factor = first + second
    if factor <= 0 or first < 0 or second < 0:
        return None
    uses = described.uses_temperature
    has_t = loss.has("temperature") or fit.temperature is not None
    return Same(
        form.name,
        temperature if uses else 1.0,
        first / factor,
        own,
        factor,
        t if has_t and (uses or term.power or labels.power) else None,
        alpha,
        classes if form.corrected or term.of_classes or labels.of_classes else None,
        request.images if term.of_images or labels.of_images else None,
    )


def _alpha(loss: CallableLoss, request: Request) -> float | None:
    """Return the user's alpha at the point of `Same`; None if it is hard-coded and unknown."""
    return SHOWN_ALPHA if request.alpha is None and loss.has("alpha") else request.alpha
