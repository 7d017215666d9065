"""Fit the known forms of a loss to its values: which two forms explain every value, and with which weights.

The loss is called on batches of random logits, for several T, alpha, numbers of images and of classes. For each pair of
forms of its two parts (`kd.losses.forms`) the weights are fitted in every setting; the pair that leaves nothing is the
loss. The weights themselves are read in `kd.losses.weights`.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from kd.errors import ModelError
from kd.losses.calling import CallableLoss
from kd.losses.forms import LABELS, NO_LABELS, Floats, Form, Probes, terms

TEMPERATURES, ALPHAS = (1.0, 2.5, 4.0, 20.0), (0.0, 0.1, 0.5, 0.9, 1.0)  # 2.5: people write int(T)
SIZES = ((3, 2), (4, 10), (6, 10), (3, 100))  # images and classes: each of both varies while the other does not
BATCHES = 8  # of each size; the weights to fit are three at most
LARGEST = 3.4  # of a probe's logits: no probability is below 1e-5, where people clip or add an epsilon
STEP = 2e-5  # of logits: a hundred roundings of float32, hardly ever one of bfloat16
SAME, NEAR = 1e-5, 1e-4  # relative difference of a value: the form itself; it in float32, or with an epsilon
USUAL_TEMPERATURES = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0])
TEMPERATURE_GRID = np.geomspace(0.25, 64.0, 33)
KEPT = 12  # pairs of forms, after a look at a few settings
SIMPLER = 3.0  # so much worse may a form be that has fewer weights or faults
REFINED = 20  # forms; many fit about as well beside their T


@dataclass(frozen=True)
class Setting:
    """One way to call: T and alpha as arguments, and a size of batches."""

    temperature: float | None
    alpha: float | None
    probes: Probes


@dataclass(frozen=True)
class Values:
    """The values of a loss in every setting, shape (settings, BATCHES)."""

    settings: list[Setting]
    values: Floats
    per_image: bool

    @property
    def sizes(self) -> int:
        """Of how many sizes the batches are."""
        return len({id(setting.probes) for setting in self.settings})

    @cached_property
    def scales(self) -> Floats:
        """The size of the values in each setting. What is 0 but for rounding, as KL(student || student), has none."""
        sizes = np.abs(self.values).max(axis=-1)
        return np.asarray(np.maximum(sizes, 1e-12 * sizes.max() or 1.0))


@dataclass(frozen=True)
class Fit:
    """Two forms, the weights of their parts in every setting, and how well they explain the values.

    Args:
        temperature: that in the code; None where it is an argument.
        weights: of the labels' summands and of the term's, each of shape (settings, summands).
        differences: of the values, relative, the largest of each setting. typical: that of most settings.
    """

    labels: Form
    term: Form
    temperature: float | None
    weights: tuple[Floats, Floats]
    differences: Floats
    typical: float

    @property
    def difference(self) -> float:
        return float(self.differences.max())

    @property
    def is_exact(self) -> npt.NDArray[np.bool_]:
        """In which settings the values are explained: not where an epsilon shows."""
        return self.differences <= max(SAME, self.typical)

    @property
    def cost(self) -> tuple[int, int]:
        """How much a fit explains with: forms with fewer weights and fewer faults are likelier."""
        count = sum(weights.shape[1] for weights in self.weights)
        return count, len(self.labels.faults) + len(self.term.faults)


def probes(images: int, classes: int, count: int = BATCHES) -> Probes:
    """Return batches of logits of different sizes, the same ones for the same arguments."""
    draw = np.random.default_rng([images, classes])
    size = draw.uniform(0.3, 1.0, (2, count, 1, 1))
    teacher, student = LARGEST * size * draw.uniform(-1, 1, (2, count, images, classes))
    return Probes(draw.integers(0, classes, (count, images)), teacher, student)


def values_of(
    loss: CallableLoss,
    classes: int | None,
    temperatures: Iterable[float] = TEMPERATURES,
    alphas: Iterable[float] = ALPHAS,
) -> Values:
    """Call the loss in every setting. classes: None tries several numbers.

    Raises:
        ModelError: it raises, or a value is not finite.
    """
    sizes = SIZES if classes is None else ((3, classes), (5, classes))
    all_probes = [probes(*size) for size in sizes]
    settings = [
        Setting(*each)
        for each in itertools.product(
            sorted(set(temperatures)) if loss.has("temperature") else (None,),
            sorted(set(alphas)) if loss.has("alpha") else (None,),
            all_probes,
        )
    ]
    results = []
    for setting in settings:
        try:
            results.append(
                [loss.values(*each, setting.temperature, setting.alpha) for each in setting.probes.batches()]
            )
        except ModelError as error:
            tried = f"{setting.probes.classes} classes"
            raise ModelError(f"{error} It was called with {tried}; if their number is fixed: --classes N") from error
    values = np.array([[result.mean() for result in batch] for batch in results])
    for setting, value in zip(settings, values, strict=True):
        if not np.isfinite(value).all():
            raise ModelError(f"loss {loss.name!r} is not finite on plain logits, with {_arguments(setting)}: {value}")
    return Values(settings, values, any(result.size > 1 for batch in results for result in batch))


def _arguments(setting: Setting) -> str:
    return f"T = {setting.temperature}, alpha = {setting.alpha}, {setting.probes.classes} classes"


class Recogniser:
    """Fits pairs of forms to the values of a loss; each form is computed once for a batch and a T."""

    def __init__(self, values: Values, *, has_labels: bool = True, is_rounded: bool = False) -> None:
        self.values = values
        self.labels = LABELS if has_labels else NO_LABELS
        self.is_rounded = is_rounded
        self._once: dict[tuple[Form, int, float], Floats] = {}
        self._computed: dict[tuple[Form, float | None, tuple[int, ...]], Floats] = {}

    def best(self, given: float | None) -> Fit:
        """Return the best fit. given: the temperature in the code, if it is known and no argument."""
        if self.values.settings[0].temperature is not None:
            return self._best(None)
        fit = self._best(given if given is not None else 1.0)
        if fit.typical < (SAME if given is None else NEAR):
            return fit
        return min((fit, self._best(self._temperature())), key=lambda fit: fit.difference)

    def _best(self, temperature: float | None) -> Fit:
        pairs = list(itertools.product(self.labels, terms()))
        if not self.is_rounded:  # a few settings tell most forms from the right one; of rounded values they do not
            rough = [self._fit(*pair, temperature, self._few()).typical for pair in pairs]
            limit = max(SAME, sorted(rough)[KEPT])
            pairs = [pair for pair, difference in zip(pairs, rough, strict=True) if difference <= limit]
        fits = [self._fit(*pair, temperature, tuple(range(len(self.values.settings)))) for pair in pairs]
        enough = max(SAME, SIMPLER * min(fit.typical for fit in fits))
        return min((fit for fit in fits if fit.typical <= enough), key=lambda fit: fit.cost)

    def _few(self) -> tuple[int, ...]:
        """Return a few settings, in which the parts have different weights."""
        middle = [
            index
            for index, setting in enumerate(self.values.settings)
            if setting.temperature in (None, 4.0, 20.0) and setting.alpha in (None, 0.1, 0.9)
        ]
        return tuple(middle[:: max(1, len(middle) // 6)])

    def _temperature(self) -> float:
        """Return the T in the code: a usual one, else of a grid the one at which a form fits best, then refined."""
        few, size = self._few()[:3], self._few()[1:2]
        pairs = list(itertools.product(self.labels[:1], terms()))

        def differences(pair: tuple[Form, Form], temperatures: Floats, few: tuple[int, ...]) -> Floats:
            """Return the largest one at each T; all of them are solved at once."""
            columns = [np.concatenate([self._parts(form, float(t), few) for t in temperatures]) for form in pair]
            values = np.tile(self.values.values[list(few)], (len(temperatures), 1))
            scales = np.tile(self.values.scales[list(few)], len(temperatures))
            rest = np.abs(_solved(np.concatenate(columns, axis=-1), values)[1]).max(axis=-1) / scales
            return np.asarray(rest.reshape(len(temperatures), len(few)).max(axis=1))

        usual = np.array([differences(pair, USUAL_TEMPERATURES, size) for pair in pairs]).min(axis=0)
        for enough in (SAME, NEAR):
            if usual.min() < enough:
                return float(USUAL_TEMPERATURES[(usual < enough).argmax()])
        coarse = np.array([differences(pair, TEMPERATURE_GRID, size) for pair in pairs])
        refined = []
        for row in coarse.min(axis=1).argsort()[:REFINED]:
            grid, at_grid = TEMPERATURE_GRID, coarse[row]
            while grid[-1] / grid[0] > 1 + 1e-6:
                middle = int(at_grid.argmin())
                grid = np.geomspace(grid[max(0, middle - 1)], grid[min(len(grid) - 1, middle + 1)], 16)
                at_grid = differences(pairs[row], grid, few)
            refined.append((float(at_grid.min()), float(grid[at_grid.argmin()])))
        return float(f"{min(refined)[1]:.6g}")

    def _fit(self, labels: Form, term: Form, temperature: float | None, indices: tuple[int, ...]) -> Fit:
        of_labels, of_term = (self._parts(form, temperature, indices) for form in (labels, term))
        weights, rest = _solved(np.concatenate([of_labels, of_term], axis=-1), self.values.values[list(indices)])
        differences = np.abs(rest).max(axis=-1) / self.values.scales[list(indices)]
        # Forms coincide at T = 1 and at alpha = 1; T^2 makes rounding, or an epsilon, large at T = 20. What tells forms
        # apart lies between.
        typical = float(np.quantile(differences, 0.5 if self.is_rounded else 0.75))
        cut = of_labels.shape[-1]
        return Fit(labels, term, temperature, (weights[:, :cut], weights[:, cut:]), differences, typical)

    def _parts(self, form: Form, temperature: float | None, indices: tuple[int, ...]) -> Floats:
        """Return the summands of a form in those settings, shape (settings, batches, summands)."""
        key = (form, temperature, indices)
        if key not in self._computed:
            settings = [self.values.settings[index] for index in indices]
            self._computed[key] = np.stack([self._of(form, setting, temperature) for setting in settings])
        return self._computed[key]

    def _of(self, form: Form, setting: Setting, temperature: float | None) -> Floats:
        t = setting.temperature if temperature is None else temperature
        assert t is not None
        key = (form, id(setting.probes), t)
        if key not in self._once:
            parts = form.parts(setting.probes, t)
            self._once[key] = np.stack(parts, axis=-1) if parts else np.zeros((BATCHES, 0))
        return self._once[key]


def _solved(columns: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return the weights of least squares, and what they leave: for each of several systems at once."""
    sizes = np.sqrt(np.square(columns).sum(axis=-2, keepdims=True)) + 1e-300
    scaled = columns / sizes
    weights = (np.linalg.pinv(scaled, rcond=1e-12) @ values[..., None])[..., 0]
    return weights / sizes[..., 0, :], values - (scaled @ weights[..., None])[..., 0]


def has_rounded_values(loss: CallableLoss, classes: int) -> bool:
    """Return whether the term is computed in 16-bit floats: small steps of the teacher's logits then change nothing."""
    batch = probes(4, classes, 1)
    teacher, student = batch.teacher[0], batch.student[0]
    labels = teacher.argmax(axis=-1)  # some count the teacher only where it is right
    draw = np.random.default_rng(0)

    def value(logits: Floats) -> float:
        return float(loss.values(labels, logits, student, 4.0, 0.5).mean())

    whole = value(teacher)
    unchanged = sum(value(teacher + draw.uniform(-STEP, STEP, teacher.shape)) == whole for _ in range(BATCHES))
    depends = any(value(teacher + draw.uniform(-1, 1, teacher.shape)) != whole for _ in range(BATCHES))
    return depends and unchanged > BATCHES // 2
