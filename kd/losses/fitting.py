"""Fit the known forms of a loss to its values: which two forms explain every value, and with which weights.

The loss is called on batches of random logits, for several T, alpha, numbers of images and of classes. For each pair of
forms of its two parts (`kd.losses.forms`) the weights are fitted in every setting; the pair that leaves nothing is the
loss. The weights themselves are read in `kd.losses.check`.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kd.errors import ModelError
from kd.losses.calling import Loss
from kd.losses.forms import LABELS, Floats, Form, Probes, terms

TEMPERATURES, ALPHAS = (1.0, 2.0, 4.0, 20.0), (0.0, 0.1, 0.5, 0.9, 1.0)
SIZES = ((3, 2), (4, 10), (6, 10), (3, 100))  # images and classes: each of both varies while the other does not
BATCHES = 8  # of each size; the weights to fit are three at most
LARGEST = 3.4  # of a probe's logits: no probability is below 1e-5, where people clip or add an epsilon
STEP = 2e-5  # of logits: a hundred roundings of float32, hardly ever one of bfloat16
SAME = 1e-5  # relative difference of a value
USUAL_TEMPERATURES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0)
KEPT = 12  # pairs of forms, after a look at a few settings
SIMPLER = 3.0  # so much worse may a form be that has fewer weights or faults
REFINED = 40  # forms; many fit about as well beside their T
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Setting:
    """One way to call: T and alpha as arguments, and a size of batches."""

    temperature: float | None
    alpha: float | None
    probes: Probes


@dataclass(frozen=True)
class Values:
    """The values of a loss in every setting, each of shape (BATCHES,)."""

    settings: list[Setting]
    values: list[Floats]
    per_image: bool

    @property
    def sizes(self) -> int:
        """Of how many sizes the batches are."""
        return len({id(setting.probes) for setting in self.settings})

    @cached_property
    def scales(self) -> list[float]:
        return [float(np.abs(values).max()) or 1.0 for values in self.values]


@dataclass(frozen=True)
class Fit:
    """Two forms, the weights of their parts in every setting, and how well they explain the values.

    Args:
        temperature: that in the code; None where it is an argument.
        difference: the largest relative one; the median over the settings of values that are rounded to 16 bits.
    """

    labels: Form
    term: Form
    temperature: float | None
    weights: list[tuple[Floats, Floats]]
    difference: float

    @property
    def cost(self) -> tuple[int, int]:
        """How much a fit explains with: forms with fewer weights and fewer faults are likelier."""
        count = len(self.weights[0][0]) + len(self.weights[0][1])
        return count, len(self.labels.faults) + len(self.term.faults)


def probes(images: int, classes: int, count: int = BATCHES) -> Probes:
    """Return batches of logits of different sizes, the same ones for the same arguments."""
    draw = np.random.default_rng([images, classes])
    size = draw.uniform(0.3, 1.0, (2, count, 1, 1))
    teacher, student = LARGEST * size * draw.uniform(-1, 1, (2, count, images, classes))
    return Probes(draw.integers(0, classes, (count, images)), teacher, student)


def values_of(loss: Loss, classes: int | None, temperatures: tuple[float, ...] = TEMPERATURES) -> Values:
    """Call the loss in every setting. classes: None tries several numbers.

    Raises:
        ModelError: it raises, or a value is not finite.
    """
    sizes = SIZES if classes is None else ((3, classes), (5, classes))
    all_probes = [probes(*size) for size in sizes]
    settings = [
        Setting(*each)
        for each in itertools.product(
            temperatures if loss.has("temperature") else (None,),
            ALPHAS if loss.has("alpha") else (None,),
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
            raise ModelError(
                f"{error}; with {setting.probes.classes} classes: is that number fixed? --classes N"
            ) from error
    values = [np.array([result.mean() for result in batch]) for batch in results]
    for setting, value in zip(settings, values, strict=True):
        if not np.isfinite(value).all():
            raise ModelError(f"loss {loss.name!r} is not finite on plain logits, with {_arguments(setting)}: {value}")
    return Values(settings, values, any(result.size > 1 for batch in results for result in batch))


def _arguments(setting: Setting) -> str:
    return f"T = {setting.temperature}, alpha = {setting.alpha}, {setting.probes.classes} classes"


class Recogniser:
    """Fits pairs of forms to the values of a loss; each form is computed once for a batch and a T."""

    def __init__(self, values: Values, *, is_rounded: bool = False) -> None:
        self.values = values
        self.is_rounded = is_rounded
        self._parts: dict[tuple[Form, int, float], list[Floats]] = {}

    def best(self, given: float | None) -> Fit:
        """Return the best fit. given: the temperature in the code, if it is known and no argument."""
        if self.values.settings[0].temperature is not None:
            return self._best(None)
        fit = self._best(given if given is not None else 1.0)
        if fit.difference < SAME and (given is not None or (fit.temperature == 1.0 and not fit.term.squared)):
            return fit
        return min((fit, self._best(self._temperature())), key=lambda fit: fit.difference)

    def _best(self, temperature: float | None) -> Fit:
        pairs = list(itertools.product(LABELS, terms()))
        if not self.is_rounded:  # a few settings tell most forms from the right one; of rounded values they do not
            rough = [self._fit(*pair, temperature, self._few()).difference for pair in pairs]
            limit = max(SAME, sorted(rough)[KEPT])
            pairs = [pair for pair, difference in zip(pairs, rough, strict=True) if difference <= limit]
        fits = [self._fit(*pair, temperature, range(len(self.values.settings))) for pair in pairs]
        enough = max(SAME, SIMPLER * min(fit.difference for fit in fits))
        return min((fit for fit in fits if fit.difference <= enough), key=lambda fit: fit.cost)

    def _few(self) -> list[int]:
        """Return a few settings, in which the parts have different weights."""
        middle = [
            index
            for index, setting in enumerate(self.values.settings)
            if setting.temperature in (None, 4.0, 20.0) and setting.alpha in (None, 0.1, 0.9)
        ]
        return middle[:: max(1, len(middle) // 6)]

    def _temperature(self) -> float:
        """Return the T in the code: of a grid the one at which a form fits best, then refined."""
        few = self._few()[:3]
        pairs = list(itertools.product(LABELS[:2], terms()))

        def difference(pair: tuple[Form, Form], t: float) -> float:
            return self._fit(*pair, float(t), few).difference

        for t in USUAL_TEMPERATURES:
            if min(difference(pair, t) for pair in pairs) < SAME:
                return t
        grid = np.geomspace(0.25, 64, 33)
        table = np.array([[difference(pair, t) for t in grid] for pair in pairs])
        refined = []
        for row in table.min(axis=1).argsort()[:REFINED]:
            middle = int(table[row].argmin())
            low, high = grid[max(0, middle - 1)], grid[min(len(grid) - 1, middle + 1)]
            while high / low > 1 + 1e-6:  # golden section
                first, second = high ** (1 - GOLDEN) * low**GOLDEN, high**GOLDEN * low ** (1 - GOLDEN)
                is_lower = difference(pairs[row], first) < difference(pairs[row], second)
                low, high = (low, second) if is_lower else (first, high)
            refined.append((difference(pairs[row], low), low))
        return float(f"{min(refined)[1]:.6g}")

    def _fit(self, labels: Form, term: Form, temperature: float | None, indices: "list[int] | range") -> Fit:
        weights, differences = [], []
        for index in indices:
            setting, values = self.values.settings[index], self.values.values[index]
            t = setting.temperature if temperature is None else temperature
            assert t is not None
            columns = [*self._of(labels, setting.probes, t), *self._of(term, setting.probes, t)]
            fitted, rest = _solved(columns, values)
            differences.append(float(np.abs(rest).max()) / self.values.scales[index])
            cut = len(columns) - len(self._of(term, setting.probes, t))
            weights.append((fitted[:cut], fitted[cut:]))
        # T^2 makes rounding so large at T = 20 that the largest difference says nothing of the form.
        difference = float(np.median(differences)) if self.is_rounded else max(differences)
        return Fit(labels, term, temperature, weights, difference)

    def _of(self, form: Form, batches: Probes, t: float) -> list[Floats]:
        key = (form, id(batches), t)
        if key not in self._parts:
            self._parts[key] = form.parts(batches, t)
        return self._parts[key]


def has_rounded_values(loss: Loss, classes: int) -> bool:
    """Return whether the term is computed in 16-bit floats: small steps of the teacher's logits then change nothing."""
    batch = probes(4, classes, 1)
    labels, teacher, student = batch.labels[0], batch.teacher[0], batch.student[0]
    draw = np.random.default_rng(0)

    def value(logits: Floats) -> float:
        return float(loss.values(labels, logits, student, 4.0, 0.5).mean())

    whole = value(teacher)
    unchanged = sum(value(teacher + draw.uniform(-STEP, STEP, teacher.shape)) == whole for _ in range(BATCHES))
    depends = any(value(teacher + draw.uniform(-1, 1, teacher.shape)) != whole for _ in range(BATCHES))
    return depends and unchanged > BATCHES // 2


def _solved(columns: list[Floats], values: Floats) -> tuple[Floats, Floats]:
    """Return the weights of least squares, and what they leave unexplained."""
    if not columns:
        return np.zeros(0), values
    matrix = np.stack(columns, axis=-1)
    sizes = np.sqrt(np.square(matrix).sum(axis=0)) + 1e-300
    weights = np.linalg.lstsq(matrix / sizes, values, rcond=1e-12)[0] / sizes
    return weights, values - matrix @ weights
