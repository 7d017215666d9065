"""Bootstrap intervals, sign-flip tests, ties of candidates.

SciPy and NumPy are imported where they are used, because commands that print a short answer do without them.
"""

from collections.abc import Mapping, Sequence

from sweeps.stats.estimates import paired

# The numbers of seeds from which reports add them to the t interval.
BCA_FROM = 20  # with fewer, bias and acceleration are estimated poorly, and coverage is well below 95 %
SIGN_FLIP_FROM = 8  # p cannot be below 2^(1 - n): 0.008 with 8 seeds, but 0.06 with 5, which never rejects at 5 %

_RESAMPLES = 10_000
_SIGN_FLIPS = 100_000  # random ones; up to n = 16 all 2^n are used, and p is exact
_SEED = 1987  # the same values give the same page


def bca_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the limits of the 95 % bootstrap interval of the mean: bias-corrected and accelerated, 10,000 resamples.

    Meant for BCA_FROM values or more. The limits of equal values are that value.
    Source: Efron 1987, "Better bootstrap confidence intervals", section 3.
    """
    import numpy as np
    from scipy import stats

    mean, spread = float(np.mean(values)), float(np.ptp(values))
    if spread <= 1e-12 * max(abs(mean), 1e-300):  # only rounding: BCa would divide 0 by 0
        return mean, mean
    result = stats.bootstrap((values,), np.mean, n_resamples=_RESAMPLES, method="BCa", rng=np.random.default_rng(_SEED))
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def sign_flip_p(values: Sequence[float]) -> float:
    """Return the two-sided p value of the sign-flip test that paired differences are symmetric about 0.

    p is the fraction of sign flips whose mean is at least as far from 0 as the observed mean: of all 2^n for n <= 16,
    which is exact, and of 100,000 random ones otherwise. n differences of one sign give 2^(1 - n). Meant for
    SIGN_FLIP_FROM values or more.
    Source: Fisher 1935, "The Design of Experiments", section 21.
    """
    import numpy as np
    from scipy import stats

    result = stats.permutation_test(
        (values,),
        lambda flipped, axis: np.mean(flipped, axis=axis),
        permutation_type="samples",
        n_resamples=_SIGN_FLIPS,
        rng=np.random.default_rng(_SEED),
    )
    return float(result.pvalue)


def is_tied(best: Mapping[int, float], other: Mapping[int, float]) -> bool:
    """Return whether two candidates differ insignificantly: the paired 95 % t interval includes 0.

    Also true if they share fewer than two seeds. The interval is not corrected for the selection of the best, which
    flatters `best`.

    Args:
        best, other: scores by seed.
    """
    lead = paired(best, other)
    return lead is None or lead.includes_zero
