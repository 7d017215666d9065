"""Find the two known forms, and their weights, that explain every value of a loss.

The loss is called on batches of random logits, for several T, alpha, numbers of images and of classes. For each pair of
forms of its two parts (`kd.losses.forms`) the weights are fitted in every setting; a pair without residuals is the
loss. `kd.losses.weights` interprets the weights.
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

TEMPERATURES, ALPHAS = (1.0, 2.5, 4.0, 20.0), (0.0, 0.1, 0.5, 0.9, 1.0)  # 2.5 shows an int(T)
SIZES = ((3, 2), (4, 10), (6, 10), (3, 100))  # images and classes: each varies while the other is constant
BATCHES = 8  # of each size; there are at most three weights to fit
LARGEST = 3.4  # logit of a probe: no probability is below 1e-5, where some code clips or adds an epsilon
STEP = 2e-5  # of logits: a hundred roundings of float32, hardly ever one of bfloat16
SAME, NEAR = 1e-5, 1e-4  # relative difference of a value: the same form; the same in float32, or with an epsilon
USUAL_TEMPERATURES = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0])
TEMPERATURE_GRID = np.geomspace(0.25, 64.0, 33)
KEPT = 12  # pairs of forms that remain after the fit in a few settings
SIMPLER = 3.0  # factor by which a form with fewer weights or faults may fit worse
REFINED = 20  # forms whose T is refined; at another T, many fit about as well


@dataclass(frozen=True)
class Setting:
    """The T and alpha of a call, if they are arguments, and batches of one size."""

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
        """The number of sizes of batches."""
        return len({id(setting.probes) for setting in self.settings})

    @cached_property
    def scales(self) -> Floats:
        """The magnitude of the values in each setting, but at least 1e-12 of the largest, which is rounding."""
        sizes = np.abs(self.values).max(axis=-1)
        return np.asarray(np.maximum(sizes, 1e-12 * sizes.max() or 1.0))


@dataclass(frozen=True)
class Fit:
    """Two forms, the weights of their parts in every setting, and how well they explain the values.

    Args:
        temperature: the hard-coded one; None if it is an argument.
        weights: of the summands of labels and term, each of shape (settings, summands).
        differences: the largest relative difference of a value in each setting.
        typical: the difference in most settings.
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
        """Whether the fit explains the values of each setting, without the effect of an epsilon."""
        return self.differences <= max(SAME, self.typical)

    @property
    def cost(self) -> tuple[int, int]:
        """The complexity of the fit: forms with fewer weights and fewer faults are likelier."""
        count = sum(weights.shape[1] for weights in self.weights)
        return count, len(self.labels.faults) + len(self.term.faults)


def probes(images: int, classes: int, count: int = BATCHES) -> Probes:
    """Return batches of logits of different magnitudes, always the same for the same arguments."""
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
    """Fits pairs of forms to the values of a loss; computes each form once for a batch and a T."""

    def __init__(self, values: Values, *, has_labels: bool = True, is_rounded: bool = False) -> None:
        self.values = values
        self.labels = LABELS if has_labels else NO_LABELS
        self.is_rounded = is_rounded
        self._once: dict[tuple[Form, int, float], Floats] = {}
        self._computed: dict[tuple[Form, float | None, tuple[int, ...]], Floats] = {}

    def best(self, given: float | None) -> Fit:
        """Return the best fit. given: the hard-coded temperature, if the user knows it."""
        if self.values.settings[0].temperature is not None:
            return self._best(None)
        fit = self._best(given if given is not None else 1.0)
        if fit.typical < (SAME if given is None else NEAR):
            return fit
        return min((fit, self._best(self._temperature())), key=lambda fit: fit.difference)

    def _best(self, temperature: float | None) -> Fit:
        pairs = list(itertools.product(self.labels, terms()))
        if not self.is_rounded:  # a few settings exclude most forms, except for rounded values
            rough = [self._fit(*pair, temperature, self._few()).typical for pair in pairs]
            limit = max(SAME, sorted(rough)[KEPT])
            pairs = [pair for pair, difference in zip(pairs, rough, strict=True) if difference <= limit]
        fits = [self._fit(*pair, temperature, tuple(range(len(self.values.settings)))) for pair in pairs]
        enough = max(SAME, SIMPLER * min(fit.typical for fit in fits))
        return min((fit for fit in fits if fit.typical <= enough), key=lambda fit: fit.cost)

    def _few(self) -> tuple[int, ...]:
        """Return the indices of a few settings in which the parts have different weights."""
        middle = [
            index
            for index, setting in enumerate(self.values.settings)
            if setting.temperature in (None, 4.0, 20.0) and setting.alpha in (None, 0.1, 0.9)
        ]
        return tuple(middle[:: max(1, len(middle) // 6)])

    def _temperature(self) -> float:
        """Return the hard-coded T: a usual one, else the one of a refined grid at which a form fits best."""
        few, size = self._few()[:3], self._few()[1:2]
        pairs = list(itertools.product(self.labels[:1], terms()))

        def differences(pair: tuple[Form, Form], temperatures: Floats, few: tuple[int, ...]) -> Floats:
            """Return the largest difference at each T, from one batched solution."""
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
        # Forms coincide at T = 1 and at alpha = 1, and T^2 magnifies rounding, or an epsilon, at T = 20; a quantile
        # looks at the settings in between.
        typical = float(np.quantile(differences, 0.5 if self.is_rounded else 0.75))
        cut = of_labels.shape[-1]
        return Fit(labels, term, temperature, (weights[:, :cut], weights[:, cut:]), differences, typical)

    def _parts(self, form: Form, temperature: float | None, indices: tuple[int, ...]) -> Floats:
        """Return the summands of a form in settings, shape (settings, batches, summands)."""
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
    """Return the least-squares weights and the residuals of several systems at once."""
    sizes = np.sqrt(np.square(columns).sum(axis=-2, keepdims=True)) + 1e-300
    scaled = columns / sizes
    weights = (np.linalg.pinv(scaled, rcond=1e-12) @ values[..., None])[..., 0]
    return weights / sizes[..., 0, :], values - (scaled @ weights[..., None])[..., 0]


def has_rounded_values(loss: CallableLoss, classes: int) -> bool:
    """Return whether the term is computed in 16-bit floats: small steps of the teacher's logits do not change it."""
    batch = probes(4, classes, 1)
    teacher, student = batch.teacher[0], batch.student[0]
    labels = teacher.argmax(axis=-1)  # some losses count the teacher only where it is right
    draw = np.random.default_rng(0)

    def value(logits: Floats) -> float:
        return float(loss.values(labels, logits, student, 4.0, 0.5).mean())

    whole = value(teacher)
    unchanged = sum(value(teacher + draw.uniform(-STEP, STEP, teacher.shape)) == whole for _ in range(BATCHES))
    depends = any(value(teacher + draw.uniform(-1, 1, teacher.shape)) != whole for _ in range(BATCHES))
    return depends and unchanged > BATCHES // 2
