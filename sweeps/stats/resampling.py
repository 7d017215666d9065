"""Intervals and p values that assume no normal distribution. Imports scipy: only for commands that write pages."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

# From how many seeds on each is shown beside the t interval.
BCA_FROM = 20  # its bias and acceleration are estimated from the same values: with few, it covers well below 95 %
SIGN_FLIP_FROM = 8  # p cannot be below 2^(1 - n): 0.008 with 8, but 0.06 with 5, which could never reject at 5 %

_RESAMPLES = 10_000
_SIGN_FLIPS = 100_000  # at random; all 2^n, so the exact p, where there are no more of them (n <= 16)
_SEED = 1987  # the same values give the same page


def bca_interval(values: Sequence[float]) -> tuple[float, float]:
    """Low and high of the 95 % bootstrap interval of the mean: bias-corrected and accelerated, 10,000 resamples.

    Equal values give their own value twice. Raises ValueError for fewer than two. Meant for BCA_FROM values or more.
    Source: Efron 1987, "Better bootstrap confidence intervals", section 3.
    """
    if len(values) < 2:
        raise ValueError(f"a bootstrap interval needs 2 values or more, got {len(values)}")
    mean, spread = float(np.mean(values)), float(np.ptp(values))
    if spread <= 1e-12 * max(abs(mean), 1e-300):  # rounding alone: BCa would divide 0 by 0
        return mean, mean
    found = stats.bootstrap((values,), np.mean, n_resamples=_RESAMPLES, method="BCa", rng=np.random.default_rng(_SEED))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def sign_flip_p(values: Sequence[float]) -> float:
    """Two-sided p that differences symmetric about 0 have a mean as far from 0 as theirs.

    Exact, over all 2^n flips of signs, for n <= 16, else from 100,000 at random. n differences of one sign give
    2^(1 - n). Raises ValueError for fewer than two. Meant for SIGN_FLIP_FROM values or more.
    Source: Fisher 1935, "The Design of Experiments", section 21.
    """
    if len(values) < 2:
        raise ValueError(f"a sign-flip test needs 2 values or more, got {len(values)}")
    found = stats.permutation_test(
        (values,),
        lambda flipped, axis: np.mean(flipped, axis=axis),
        permutation_type="samples",
        n_resamples=_SIGN_FLIPS,
        rng=np.random.default_rng(_SEED),
    )
    return float(found.pvalue)


def spearman(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Rank correlation in [-1, 1] and its two-sided p, by the t approximation.

    (0, 1) where nothing can be seen: fewer than three pairs, or one side is constant. Raises ValueError where the
    lengths differ. Source: Spearman 1904, "The proof and measurement of association between two things".
    """
    if len(x) != len(y):
        raise ValueError(f"a rank correlation needs pairs, got {len(x)} and {len(y)} values")
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0, 1.0
    found = stats.spearmanr(x, y)
    return float(found.statistic), float(found.pvalue)
