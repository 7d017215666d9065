"""Find how the weights of a loss's parts depend on T, alpha, and the numbers of images and classes.

A weight is k(alpha) * T^power * images^a * classes^b. In this project's form all three exponents are 0, and k is alpha
or 1 - alpha: the parts contain their factor T^2 and are means over the images.
"""

import itertools
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from kd.losses.builtin import LOSSES
from kd.losses.fitting import Fit, Values
from kd.losses.forms import Floats

NEGLIGIBLE = 1e-4  # weight, relative to the largest
VANISHING = 1e-9  # weight from rounding only
POWER = 0.02  # largest distance of a fitted exponent from a whole number
EXACT = 2e-3  # error of a fitted weight or exponent
_REDUCTIONS = {
    (-1, 0): "/images",
    (1, 0): "*images",
    (0, -1): "/classes",
    (0, 1): "*classes",
    (1, -1): "*images/classes",
}


@dataclass(frozen=True)
class Weight:
    """The weight of one part.

    Args:
        levels: k by alpha; the only key is None if alpha is not an argument.
        shares: factors of the part's summands: in a mixture their sum is 1, else the largest is 1.
        powers: the exponent of T of each summand.
        power: the exponent of T of this weight; None if T is hard-coded and the exponent is undetermined.
        of_images, of_classes: the exponents.
        is_regular: whether the weight has this form at all.
        is_steady: whether the shares are the same for every alpha.
        exact: relative difference at which two of its numbers count as equal.
    """

    levels: dict[float | None, float] = field(default_factory=dict)
    shares: tuple[float, ...] = ()
    powers: tuple[float, ...] = ()
    power: float | None = 0.0
    of_images: float | None = None
    of_classes: float | None = None
    is_regular: bool = True
    is_steady: bool = True
    exact: float = EXACT

    @property
    def is_there(self) -> bool:
        return any(self.levels.values())

    @property
    def is_negative(self) -> bool:
        return min(self.levels.values(), default=0.0) < -self.exact * self._size

    @property
    def line(self) -> tuple[float, float]:
        """The value at 0 and the slope of k over the alphas between 0 and 1."""
        inner = [(alpha, level) for alpha, level in self.levels.items() if alpha is not None and 0 < alpha < 1]
        if not inner:
            return next(iter(self.levels.values()), 0.0), 0.0
        (first, low), (last, high) = inner[0], inner[-1]
        slope = (high - low) / (last - first)
        return low - slope * first, slope

    @property
    def slope(self) -> float:
        slope = self.line[1]
        return slope if abs(slope) > self.exact * self._size else 0.0

    @property
    def _size(self) -> float:
        return max(map(abs, self.levels.values()), default=0.0)

    def _misses(self, is_edge: bool) -> bool:
        start, slope = self.line
        return any(
            abs(level - start - slope * alpha) > self.exact * self._size
            for alpha, level in self.levels.items()
            if alpha is not None and (alpha in (0.0, 1.0)) == is_edge
        )

    @property
    def is_linear(self) -> bool:
        return not self._misses(is_edge=False)

    @property
    def jumps(self) -> bool:
        """Whether the weight at alpha = 0 or 1 is not on the line of the others."""
        return self.is_linear and self._misses(is_edge=True)

    def at(self, temperature: float, alpha: float | None, images: int, classes: int) -> float:
        """Return the weight of the part, whose form has its T^2 and is a mean over the images."""
        start, slope = self.line
        level = self.levels.get(alpha, start if alpha is None else start + slope * alpha)
        power = 0.0 if self.power is None else self.power
        return float(
            level * temperature**power * images ** (self.of_images or 0.0) * classes ** (self.of_classes or 0.0)
        )

    @property
    def text(self) -> str:
        """The weight as a prefix of the part: "alpha*", "(1-alpha)*", "0.25*", "" for 1."""
        start, slope = (0.0 if abs(number) < self.exact else number for number in self.line)
        if None in self.levels or not slope:
            return "" if abs(start - 1) < self.exact else f"{start:.4g}*"
        scale = start or slope
        size = "" if abs(scale - 1) < self.exact else f"{scale:.4g}*"
        if not start:
            return f"{size}alpha*"
        if abs(slope + start) < self.exact * abs(start):
            return f"{size}(1-alpha)*"
        return f"({start:.4g}{slope:+.4g}*alpha)*"

    @property
    def reduction(self) -> str:
        """The reduction as a suffix of the part: "/classes", "" for the mean over the images."""
        if not self.is_regular:
            return ""
        return _REDUCTIONS.get((int(self.of_images or 0), int(self.of_classes or 0)), "")


def weights_of(values: Values, fit: Fit, alpha: float | None) -> tuple[Weight, Weight]:
    """Return the weights of the labels' part and of the term. alpha: a hard-coded one, if known."""
    labels, term = (_weight(values, fit, index) for index in (0, 1))
    term = _in_units(fit.term.name, term)
    if not term.is_there or not fit.term.squared:
        return labels, term
    t = None if values.settings[0].temperature is not None else fit.temperature
    numbers = {setting.probes.classes for setting in values.settings}
    return labels, _with_levels(labels, term, t, numbers.pop() if len(numbers) == 1 else None, alpha)


def _in_units(name: str, weight: Weight) -> Weight:
    """Scale the weight so that the shares are the parameters of a loss of this project.

    Only products of weight and parameter are known, so the first parameter is taken at its default. nkd's first summand
    has no parameter.
    """
    parameters = LOSSES[name].parameters if name in LOSSES else ()
    if not (weight.is_there and parameters and weight.shares[0]):
        return weight
    unit = weight.shares[0] / (1.0 if name == "nkd" else parameters[0].default)
    return replace(
        weight,
        levels={alpha: level * unit for alpha, level in weight.levels.items()},
        shares=tuple(share / unit for share in weight.shares),
    )


def _weight(values: Values, fit: Fit, index: int) -> Weight:
    fitted = fit.weights[index]
    largest = max(np.abs(weights).max(initial=0.0) for weights in fit.weights)
    if not fitted.size or np.abs(fitted).max() <= NEGLIGIBLE * NEGLIGIBLE * largest:
        return Weight()
    form = (fit.labels, fit.term)[index]
    is_whole = form.mixture is not None or form.name == "smoothed"
    main = 0 if form.name == "nkd" else int(np.abs(fitted).mean(axis=0).argmax())
    base = fitted.sum(axis=1) if is_whole else fitted[:, main]
    exact = max(EXACT, 10 * fit.typical)
    levels, (power, images, classes), is_regular = _monomial(values, fit, base, exact)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(np.abs(base) > NEGLIGIBLE * np.abs(base).max(), fitted.T / base, np.nan)
    shares = np.nanmedian(ratios, axis=1)
    shares[np.abs(shares) < VANISHING * np.abs(shares).max()] = 0.0
    powers = [_monomial(values, fit, fitted[:, index], exact)[1][0] for index in np.flatnonzero(shares)]
    alphas = np.array([np.nan if setting.alpha is None else setting.alpha for setting in values.settings])
    inner = [ratios[:, alphas == alpha] for alpha in levels if alpha not in (None, 0.0, 1.0)]
    middles = np.array([np.nanmedian(each, axis=1) for each in inner] or [shares])
    is_steady = bool((np.ptp(middles, axis=0) <= exact * np.abs(shares).max()).all())
    return Weight(
        levels, tuple(map(float, shares)), tuple(powers), power, images, classes, is_regular, is_steady, exact
    )


def _monomial(
    values: Values, fit: Fit, weights: Floats, exact: float
) -> tuple[dict[float | None, float], tuple[float, float, float], bool]:
    """Fit a weight as k(alpha) * T^a * images^b * classes^c; return k, the exponents, and whether the fit holds."""
    alphas = list(dict.fromkeys(setting.alpha for setting in values.settings))
    of_alpha = np.array([alphas.index(setting.alpha) for setting in values.settings])
    logs = np.log(
        [(setting.temperature or 1.0, setting.probes.images, setting.probes.classes) for setting in values.settings]
    )
    exponents, is_regular = np.zeros(3), True
    inner, is_determined = _determined(values, weights, len(alphas))
    used = inner & fit.is_exact
    if used.any():
        varied = [index for index in range(3) if np.ptp(logs[:, index])]
        matrix = np.concatenate([np.eye(len(alphas))[of_alpha], logs[:, varied]], axis=1)[used]
        sizes = np.log(np.abs(weights[used]))
        fitted = np.linalg.lstsq(matrix, sizes, rcond=1e-12)[0]
        is_regular = bool(np.abs(matrix @ fitted - sizes).max() < 5 * exact)
        exponents[varied] = fitted[len(alphas) :]
        whole = np.round(exponents)
        exponents = np.where(np.abs(exponents - whole) < max(POWER, 5 * exact), whole, exponents)
    plain = weights / np.exp(logs @ exponents)
    is_sure = is_determined & fit.is_exact
    rows = [of_alpha == index for index in range(len(alphas))]
    rows = [row & is_sure if (row & is_sure).any() else row for row in rows]
    levels = {alpha: float(plain[row].mean()) for alpha, row in zip(alphas, rows, strict=True)}
    largest = max(map(abs, levels.values()))
    levels = {alpha: 0.0 if abs(level) < NEGLIGIBLE * largest else level for alpha, level in levels.items()}
    first, second, third = map(float, exponents)
    return levels, (first, second, third), is_regular


def _determined(values: Values, weights: Floats, alphas: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return in which settings a weight determines its exponents, and in which the weight is determined at all.

    At the edges a loss may have another weight, as torchdistill's at alpha = 0. A summand may vanish whatever its
    weight, as dkd's of the other classes if there are two classes.
    """
    inner = np.array([setting.alpha not in (0.0, 1.0) for setting in values.settings])
    by_alpha = np.abs(weights).reshape(-1, alphas, values.sizes)  # settings are in the order T, alpha, size
    largest = np.broadcast_to(by_alpha.max(axis=1, keepdims=True), by_alpha.shape).ravel()
    return inner & (np.abs(weights) > NEGLIGIBLE * largest), largest > VANISHING * largest.max()


def _with_levels(labels: Weight, term: Weight, t: float | None, classes: int | None, alpha: float | None) -> Weight:
    """Return the term's weight with the exponents of a constant T or number of classes, if they can be inferred.

    They can if both parts then have the weights alpha and 1 - alpha, or a term without labels the weight 1: a
    hard-coded T has its factor T^2 or not, and the term is divided by a constant number of classes or not.

    Args:
        t, classes: None if they varied.
    """
    powers = (0.0, -2.0) if t not in (None, 1.0) else (0.0,)
    for of_classes, power in itertools.product((0.0, -1.0) if classes is not None else (0.0,), powers):
        factor = (t or 1.0) ** power * (classes or 1) ** of_classes
        if _is_usual(labels, term, factor, alpha):
            levels = {key: level / factor for key, level in term.levels.items()}
            if t is not None:
                term = replace(term, power=power, powers=(power,) * len(term.powers))
            return replace(term, levels=levels, of_classes=of_classes if classes is not None else term.of_classes)
    return term if len(powers) == 1 else replace(term, power=None, powers=())


def _is_usual(labels: Weight, term: Weight, factor: float, alpha: float | None) -> bool:
    """Return whether the weights are the usual ones after dividing the term's by a factor."""
    (start, slope), (term_start, term_slope) = labels.line, (number / factor for number in term.line)
    if labels.slope and term.slope:
        pairs = [(abs(slope), abs(term_slope))]
    elif labels.slope or term.slope:
        pairs = [(abs(slope or start), abs(term_slope or term_start))]
    elif not labels.is_there:
        pairs = [(1.0, term_start)]
    elif alpha is not None:
        pairs = [(start * (1 - alpha), term_start * alpha), (start * alpha, term_start * (1 - alpha))]
    else:
        pairs = [(1.0, start + term_start)]
    return any(abs(first - second) < EXACT * abs(first) for first, second in pairs)
