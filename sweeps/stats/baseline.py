"""Compare settings with a baseline at one error rate for all, and estimate the effect of luck.

Higher scores are better here. Pure Python, like `sweeps.stats.estimates`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist, fmean, median, stdev, variance
from typing import TypeAlias

from sweeps.stats.estimates import (
    FEWEST_RUNS,
    Estimate,
    estimate,
    holm,
    seeds_needed,
    t_p_value_of,
    t_quantile,
)

# For the family of all settings, two-sided. A setting is then wrongly called better in 1.5 % of families with normal
# noise, and in less than 5 % with the recorded, skewed noise of searches (bench/null.py, "Judge").
LEVEL = 0.03

# A setting's standard deviation counts as at least this fraction of their median. With few seeds, one setting of twenty
# has nearly no spread by luck and would be called better for it: up to 17 % of families err without both constants.
LEAST_SPREAD = 0.5
_ALIKE = 1e-9  # relative to the scores; a smaller spread is rounding

Key: TypeAlias = tuple[str, str]
"""Dataset and seed of a run."""
Scores: TypeAlias = Mapping[Key, float]


@dataclass(frozen=True, kw_only=True)
class Against:
    """One setting minus the baseline; positive is better.

    difference: the mean over pairs with the same dataset and seed, with a 95 % t interval or, without common seeds, the
    difference of means, with Welch's. paired: which of the two; n counts pairs, else runs of the side with fewer. p,
    p_holm: two-sided, p_holm over all settings; None with fewer than FEWEST_RUNS, or if all differences are equal.
    better, worse: p_holm is below LEVEL. no_worse: shown to lose less than the margin; None without a margin. needed:
    the n that would show the estimated difference with 80 % power; None if it is shown, is not above 0, has an unknown
    spread, or needs more than 10,000. alike: all differences are the same number.
    """

    setting: str
    difference: Estimate | None
    paired: bool
    by_dataset: Mapping[str, Estimate]
    p: float | None = None
    p_holm: float | None = None
    better: bool = False
    worse: bool = False
    no_worse: bool | None = None
    needed: int | None = None
    alike: bool = False


@dataclass(frozen=True)
class _Sample:
    """A mean difference with standard error sd / sqrt(n) and df degrees of freedom."""

    mean: float
    sd: float
    n: int
    df: int

    @property
    def error(self) -> float:
        return self.sd / math.sqrt(self.n)

    def interval(self) -> Estimate:
        half = t_quantile(0.975, self.df) * self.error
        return Estimate(self.mean, self.mean - half, self.mean + half, self.n)


def against(settings: Mapping[str, Scores], baseline: str, *, margin: float | None = None) -> tuple[Against, ...]:
    """Compare every other setting with the baseline, in the given order.

    Pair runs with the same dataset and seed (Student 1908); without common seeds compare means (Welch 1947, "The
    generalization of Student's problem", Biometrika 34; degrees of freedom rounded down). Over several datasets each
    pair counts as one value, so the result is about the mean over these pairs. Holm 1979 controls the family-wise error
    rate; bench/null.py simulates it and the power.

    Args:
        settings: the scores of each setting, the baseline's included.
        margin: the allowed loss, > 0, in the unit of the scores, for `no_worse`: one-sided at LEVEL / 2, with Holm.
    """
    others = {name: scores for name, scores in settings.items() if name != baseline}
    samples = {name: _sample(scores, settings[baseline]) for name, scores in others.items()}
    size = max(abs(score) for scores in settings.values() for score in scores.values())
    spreads = [sample.sd for sample in samples.values() if sample is not None]
    least = LEAST_SPREAD * median(spreads) if spreads else 0.0
    tested = {
        name: replace(sample, sd=max(sample.sd, least))
        for name, sample in samples.items()
        if sample is not None and sample.n >= FEWEST_RUNS and max(sample.sd, least) > _ALIKE * size
    }
    p_values = {name: t_p_value_of(sample.mean, sample.error, sample.df) for name, sample in tested.items()}
    adjusted = holm(p_values)
    safe = _no_worse(tested, margin) if margin is not None else {}
    answers = []
    for name, scores in others.items():
        sample, known = tested.get(name), samples[name]
        significant = name in adjusted and adjusted[name] < LEVEL
        above = sample is not None and sample.mean > 0 and not significant
        answers.append(
            Against(
                setting=name,
                difference=sample.interval() if sample is not None else _mean(scores, settings[baseline]),
                paired=bool(scores.keys() & settings[baseline].keys()),
                by_dataset=_by_dataset(scores, settings[baseline]),
                p=p_values.get(name),
                p_holm=adjusted.get(name),
                better=significant and sample is not None and sample.mean > 0,
                worse=significant and sample is not None and sample.mean < 0,
                no_worse=None if margin is None else safe.get(name, False),
                needed=_needed(sample, len(tested)) if above and sample is not None else None,
                alike=known is not None and known.n >= FEWEST_RUNS and sample is None,
            )
        )
    return tuple(answers)


def _no_worse(tested: Mapping[str, _Sample], margin: float) -> dict[str, bool]:
    """Return for each setting whether it is shown to lose less than the margin, all together at LEVEL / 2."""
    one_sided = {}
    for name, sample in tested.items():
        half = t_p_value_of(sample.mean + margin, sample.error, sample.df) / 2
        one_sided[name] = half if sample.mean + margin > 0 else 1 - half
    return {name: p < LEVEL / 2 for name, p in holm(one_sided).items()}


def _needed(sample: _Sample, settings: int) -> int | None:
    # The level of Holm's first step: the other hypotheses need not be rejected.
    more = seeds_needed(sample.sd, sample.mean, level=LEVEL / 2 / settings)
    return None if more is None else max(more, sample.n + 1)


def _sample(scores: Scores, baseline: Scores) -> _Sample | None:
    """Return the mean difference with its spread; None if there are too few runs to estimate it."""
    pairs = _paired(scores, baseline)
    if pairs:
        return _Sample(fmean(pairs), stdev(pairs), len(pairs), len(pairs) - 1) if len(pairs) > 1 else None
    known = [(ours, theirs) for ours, theirs in _both(scores, baseline).values() if min(len(ours), len(theirs)) > 1]
    if not known:
        return None
    means = [fmean(ours) - fmean(theirs) for ours, theirs in known]
    parts = [(variance(runs) / len(runs), len(runs) - 1) for both in known for runs in both]
    whole = math.fsum(part for part, _ in parts)
    # Welch-Satterthwaite over both sides of every dataset, by shares: the square of a tiny variance would be 0.
    df = math.floor(1 / math.fsum((part / whole) ** 2 / free for part, free in parts)) if whole else 1
    n = min(sum(len(ours) for ours, _ in known), sum(len(theirs) for _, theirs in known))
    return _Sample(fmean(means), math.sqrt(whole * n) / len(known), n, max(df, 1))


def _mean(scores: Scores, baseline: Scores) -> Estimate | None:
    if pairs := _paired(scores, baseline):
        return Estimate(fmean(pairs), None, None, len(pairs))
    both = _both(scores, baseline).values()
    if not both:
        return None
    fewest = min(sum(len(ours) for ours, _ in both), sum(len(theirs) for _, theirs in both))
    return Estimate(fmean(fmean(ours) - fmean(theirs) for ours, theirs in both), None, None, fewest)


def _by_dataset(scores: Scores, baseline: Scores) -> dict[str, Estimate]:
    """Return the difference, with its own interval, on each common dataset; empty if there is only one."""
    both = _both(scores, baseline)
    if len(both) < 2:
        return {}
    estimates = {}
    parts = _by_first(scores), _by_first(baseline)  # once: a benchmark may have one dataset per question
    for dataset in both:
        ours, theirs = parts[0][dataset], parts[1][dataset]
        sample = None if _paired(ours, theirs) else _sample(ours, theirs)
        value = estimate(_paired(ours, theirs)) or (sample.interval() if sample is not None else _mean(ours, theirs))
        if value is not None:
            estimates[dataset] = value
    return estimates


def _by_first(scores: Scores) -> dict[str, dict[Key, float]]:
    groups: dict[str, dict[Key, float]] = {}
    for key, score in scores.items():
        groups.setdefault(key[0], {})[key] = score
    return groups


def _paired(scores: Scores, baseline: Scores) -> list[float]:
    shared = sorted(scores.keys() & baseline.keys())
    return [scores[key] - baseline[key] for key in shared]


def _both(scores: Scores, baseline: Scores) -> dict[str, tuple[list[float], list[float]]]:
    """Return the scores of both on each common dataset."""
    ours, theirs = on_datasets(scores), on_datasets(baseline)
    return {dataset: (ours[dataset], theirs[dataset]) for dataset in ours if dataset in theirs}


def on_datasets(scores: Scores) -> dict[str, list[float]]:
    """Group the scores by dataset, in their order."""
    groups: dict[str, list[float]] = {}
    for (dataset, _), score in scores.items():
        groups.setdefault(dataset, []).append(score)
    return groups


def run_spreads(settings: Mapping[str, Scores]) -> dict[str, float]:
    """Return the pooled standard deviation of runs within a setting, for each dataset where one has two runs."""
    groups: dict[str, list[list[float]]] = {}
    for scores in settings.values():
        for dataset, runs in on_datasets(scores).items():
            if len(runs) > 1:
                groups.setdefault(dataset, []).append(runs)
    return {dataset: _pooled(runs) for dataset, runs in groups.items()}


def _pooled(groups: list[list[float]]) -> float:
    free = sum(len(runs) - 1 for runs in groups)
    return math.sqrt(math.fsum(variance(runs) * (len(runs) - 1) for runs in groups) / free)


def luck_of_choice(settings: Mapping[str, Scores], baseline: str) -> float | None:
    """Return how far above the baseline the best setting is expected if all are equally good; None if unknown.

    A paired difference has twice the variance of the noise of one mean.
    """
    samples = [_sample(scores, settings[baseline]) for name, scores in settings.items() if name != baseline]
    variances = [sample.error**2 for sample in samples if sample is not None]
    return expected_best(len(samples)) * math.sqrt(fmean(variances) / 2) if variances else None


@lru_cache(maxsize=1024)
def expected_best(n: int) -> float:
    """Return the expected largest of n independent standard normal numbers; 0 for one.

    The integral of 1 - F^n above 0 minus that of F^n below, by the trapezoidal rule. Source: David & Nagaraja 2003,
    "Order Statistics", section 3.1.
    """
    cdf, step = NormalDist().cdf, 0.01
    heights = [1 - cdf(step * place) ** n - cdf(-step * place) ** n for place in range(1001)]
    return step * math.fsum((first + second) / 2 for first, second in pairwise(heights))


def ties(settings: Mapping[str, Scores], leader: str) -> tuple[str, ...]:
    """Return the settings that do not differ from the leader: the 95 % interval of the difference includes 0.

    Leave out settings without an interval: single runs do not show whether they do as well.
    """
    return tuple(name for name in settings if name != leader and _is_tied(settings[leader], settings[name]))


def _is_tied(first: Scores, second: Scores) -> bool:
    sample = _sample(first, second)
    return sample is not None and sample.n >= FEWEST_RUNS and sample.interval().includes_zero
