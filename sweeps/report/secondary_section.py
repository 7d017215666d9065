"""The secondary questions of a sweep, all of them corrected together. Imports scipy: only for written pages.

The verdict answers one question, fixed before anything ran. These are the others that people ask of the same runs; each
more is one more chance to be right by luck, so their p values are Holm's, over all of them and all targets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from sweeps.analysis.analysis import Analysis, Surface
from sweeps.report.markdown_tables import table
from sweeps.report.sentences import interval
from sweeps.stats.estimates import Estimate, differences, estimate, holm, t_p_value, t_quantile
from sweeps.stats.resampling import BCA_FROM, SIGN_FLIP_FROM, bca_interval, sign_flip_p, spearman
from sweeps.stats.variance import rank_ceiling

RETAINED = 0.5  # the share of native's gain that best is tested to keep more of, or less


@dataclass(frozen=True, kw_only=True)
class Question:
    """One secondary question and its answer.

    answer: in words, with the unit. p: two-sided, of the t test (of the rank correlation: its t approximation).
    p_holm: the same, adjusted for all questions of the sweep. bca: 95 % bootstrap interval of the same mean from
    BCA_FROM seeds on. sign_flip: its p by flipping signs, from SIGN_FLIP_FROM seeds on.
    """

    name: str
    dataset: str
    answer: str
    p: float
    p_holm: float
    bca: tuple[float, float] | None
    sign_flip: float | None


def questions(found: Analysis) -> list[Question]:
    """Those that the runs so far can answer."""
    asked = [_gain(found, "source")]
    surfaces = {surface.role: surface for surface in found.surfaces()}
    for role in found.spec.targets:
        asked += [
            _gain(found, role),
            _use(found, role),
            _retained(found, role),
            _agreement(surfaces["source"], surfaces[role]),
        ]
    answered = [one for one in asked if one is not None]
    adjusted = holm({f"{one.name} {one.dataset}": one.p for one in answered})
    return [
        Question(
            name=one.name,
            dataset=one.dataset,
            answer=one.answer,
            p=one.p,
            p_holm=adjusted[f"{one.name} {one.dataset}"],
            bca=bca_interval(one.values) if len(one.values) >= BCA_FROM else None,
            sign_flip=sign_flip_p(one.values) if len(one.values) >= SIGN_FLIP_FROM else None,
        )
        for one in answered
    ]


def section(found: Analysis) -> list[str]:
    """The questions as a section of the report, line by line; nothing where none can be answered."""
    asked = questions(found)
    if not asked:
        return []
    head = ("question", "dataset", "answer", "p", "p (Holm)", "95 % BCa interval", "p (sign flips)")
    return [
        "## Secondary questions",
        "",
        *table(head, map(_cells, asked)),
        "",
        f"Accuracy points of the test set, paired by seed. Holm's p holds over the {len(asked)} questions together. BCa"
        f" from {BCA_FROM} seeds on, sign flips from {SIGN_FLIP_FROM} on; for the retained share both are of what is"
        f" beyond {RETAINED:.0%} of native's gain. The rank correlation is of validation accuracies, of the points that"
        " both searches tried.",
        "",
    ]


def _cells(one: Question) -> list[str]:
    bca = "" if one.bca is None else f"[{one.bca[0]:+.2f}, {one.bca[1]:+.2f}]"
    flips = "" if one.sign_flip is None else _p(one.sign_flip)
    return [one.name, one.dataset, one.answer, _p(one.p), _p(one.p_holm), bca, flips]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    name: str
    dataset: str
    answer: str
    p: float
    values: tuple[float, ...] = ()  # what p is of, where that is a mean over seeds


def _gain(found: Analysis, role: str) -> _Asked | None:
    values = _paired(found, role, "best", "scratch")
    name = "gain on the source: best - scratch" if role == "source" else "gain on the target: best - scratch"
    return _mean(name, found.spec.role(role).dataset, values)


def _use(found: Analysis, role: str) -> _Asked | None:
    """best against the better of the two defaults. Better by validation: chosen by test, it would be the luckier."""
    scores = {arm: found.comparison.validations(role, arm) for arm in ("default-keras-io", "default-keras")}
    means = {arm: fmean(values) for arm, values in scores.items() if values}
    if not means:
        return None
    better = max(means, key=lambda arm: means[arm])
    name = f"use: best - {better} (the better default)"
    return _mean(name, found.spec.role(role).dataset, _paired(found, role, "best", better))


def _retained(found: Analysis, role: str) -> _Asked | None:
    best, native = (_by_seed(found, role, arm) for arm in ("best", "native"))
    shared = sorted(best.keys() & native.keys())
    share = ratio([best[seed] for seed in shared], [native[seed] for seed in shared])
    beyond = [best[seed] - RETAINED * native[seed] for seed in shared]
    p = t_p_value(beyond)
    if share is None or p is None:
        return None
    if share.low is None or share.high is None or sum(native[seed] for seed in shared) <= 0:
        answer = "no share: native was not found to gain"
    else:
        answer = f"{share.mean:.0%} [{share.low:.0%}, {share.high:.0%}] (n={share.n})"
    return _Asked(
        name=f"retained share of native's gain; p: against {RETAINED:.0%}",
        dataset=found.spec.role(role).dataset,
        answer=answer,
        p=p,
        values=tuple(beyond),
    )


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate | None:
    """The ratio of two means of paired values, with its 95 % interval; None for fewer than two pairs.

    Without bounds where the mean of the denominators is not told from 0 at that level: every ratio then fits.
    Source: Fieller 1954, "Some problems in interval estimation", J. R. Stat. Soc. B 16(2).
    """
    n = len(numerators)
    if n < 2 or len(denominators) != n:
        return None
    top, bottom = fmean(numerators), fmean(denominators)
    # Squared half-widths of the means, and the same of their product: t^2 times the variance of the mean.
    scale = t_quantile(0.975, n - 1) ** 2 / (n * (n - 1))
    aa = scale * math.fsum((a - top) ** 2 for a in numerators)
    bb = scale * math.fsum((b - bottom) ** 2 for b in denominators)
    ab = scale * math.fsum((a - top) * (b - bottom) for a, b in zip(numerators, denominators, strict=True))
    leading, middle, last = bottom**2 - bb, top * bottom - ab, top**2 - aa
    if leading <= 0:
        return Estimate(top / bottom if bottom else math.nan, None, None, n)
    root = math.sqrt(max(0.0, middle**2 - leading * last))
    return Estimate(top / bottom, (middle - root) / leading, (middle + root) / leading, n)


def _agreement(source: Surface, target: Surface) -> _Asked | None:
    """Rank correlation of the points that both searches share; the noise of single runs bounds what can be seen."""
    there = {(point.temperature, point.alpha): point.accuracy for point in target.points if point.shared}
    pairs = [
        (point.accuracy, there[point.temperature, point.alpha])
        for point in source.points
        if point.shared and (point.temperature, point.alpha) in there
    ]
    if len(pairs) < 3:
        return None
    first, second = zip(*pairs, strict=True)
    rho, p = spearman(first, second)
    known = source.icc is not None and target.icc is not None
    ceiling = f"; at most {rank_ceiling(source.icc or 0, target.icc or 0):.2f} could be seen" if known else ""
    return _Asked(
        name="agreement: rank correlation of the shared points",
        dataset=f"{source.dataset}, {target.dataset}",
        answer=f"Spearman {rho:+.2f} (n={len(pairs)} points{ceiling})",
        p=p,
    )


def _mean(name: str, dataset: str, values: list[float]) -> _Asked | None:
    p = t_p_value(values)
    if p is None:
        return None
    return _Asked(name=name, dataset=dataset, answer=interval(estimate(values)), p=p, values=tuple(values))


def _paired(found: Analysis, role: str, first: str, second: str) -> list[float]:
    return differences(found.comparison.tests(role, first), found.comparison.tests(role, second))


def _by_seed(found: Analysis, role: str, arm: str) -> dict[int, float]:
    """Gain over scratch in points, by repeat."""
    arms, scratch = found.comparison.tests(role, arm), found.comparison.tests(role, "scratch")
    return {repeat: value - scratch[repeat] for repeat, value in arms.items() if repeat in scratch}


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
