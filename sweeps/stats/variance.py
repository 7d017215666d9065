"""Split the variance of scores into the effect of (T, alpha) and the noise of the seed.

If most of the variance is noise, the search has not identified an optimum. Scores are validation accuracies, fractions
in [0, 1] or percentage points; variances have the square of that unit.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, variance

from sweeps.stats.estimates import paired

# At least half of the variance of single runs comes from (T, alpha). Below that, the rank of a point in the search
# depends more on its seed than on the point. A convention of this project, not a threshold of the literature.
IDENTIFIED_FROM = 0.5

_SWEEPS = 200  # of the alternating fit; tables of confirm are done to 1e-12 within some dozens


def noise_variance(runs: Sequence[Mapping[int, float]]) -> float | None:
    """Estimate the variance of a single run around the sum of its candidate's effect and its seed's effect.

    It is the residual mean square of the two-way analysis of variance, candidates + seeds, fitted by least squares:
    later rounds train fewer candidates, so the table has gaps. What a seed adds to every candidate changes no rank and
    is not noise.
    Source: Fisher 1925, "Statistical Methods for Research Workers", chapter VIII (randomised blocks).

    Args:
        runs: scores of the confirm stage, by seed, one mapping for each candidate.

    Returns:
        None where no residual degree of freedom is left: fewer than 2 candidates share 2 seeds.
    """
    scores = [(row, seed, score) for row, candidate in enumerate(runs) for seed, score in candidate.items()]
    seeds = {seed for _, seed, _ in scores}
    degrees = len(scores) - (sum(map(bool, runs)) + len(seeds) - _blocks(runs))
    if degrees < 1:
        return None
    candidate_effect, seed_effect = dict.fromkeys(range(len(runs)), 0.0), dict.fromkeys(seeds, 0.0)
    for _ in range(_SWEEPS):  # each line is a least-squares fit of one factor, the other held: it converges quickly
        for row, candidate in enumerate(runs):
            if candidate:
                candidate_effect[row] = fmean(score - seed_effect[seed] for seed, score in candidate.items())
        for seed in seeds:
            seed_effect[seed] = fmean(
                candidate[seed] - candidate_effect[row] for row, candidate in enumerate(runs) if seed in candidate
            )
    squares = math.fsum((score - candidate_effect[row] - seed_effect[seed]) ** 2 for row, seed, score in scores)
    return squares / degrees


def _blocks(runs: Sequence[Mapping[int, float]]) -> int:
    """Return how many groups of candidates there are that share no seed with each other, directly or by others."""
    groups: list[set[int]] = []
    for candidate in runs:
        if candidate:
            joined = [group for group in groups if group & candidate.keys()]
            groups = [group for group in groups if group not in joined] + [set(candidate).union(*joined)]
    return len(groups)


def intraclass_correlation(scores: Sequence[float], noise: float) -> float | None:
    """Estimate the fraction of the variance of single runs that (T, alpha) explains, in [0, 1].

    This is the intraclass correlation: the correlation between the scores of the points and the scores of the same
    points trained a second time with other seeds. 1 means that (T, alpha) determines the score, 0 that the seed does.
    It is estimated as (var(scores) - noise) / var(scores), limited to [0, 1], and 0 if all scores are equal. The search
    trains each point once, so its scores hold no variance within a point. The noise comes from the confirm stage, which
    repeats only the best candidates; it is assumed to be the same at every point.
    Source: Shrout & Fleiss 1979, "Intraclass correlations", the ICC of a single score, ICC(1, 1).

    Args:
        scores: one run for each of the evenly spread (Sobol) points of the search. The points of a sampler that
            concentrates on high scores would give too small a variance.
        noise: variance of one run at a fixed point, from the seeds of the confirm stage (`noise_variance`).

    Returns:
        None for fewer than 3 points.
    """
    if len(scores) < 3:
        return None
    total = variance(scores)
    return min(1.0, max(0.0, (total - noise) / total)) if total > 0 else 0.0


def optimism(search_score: float, confirm_scores: Sequence[float]) -> float:
    """Return by how much a candidate's score in the search exceeds its mean on fresh seeds, in the unit of the scores.

    The best of many noisy scores is partly the luckiest, so the expected value is above 0 (winner's curse).

    Args:
        search_score: of the candidate that the search selected.
        confirm_scores: of the same candidate, retrained with fresh seeds.

    Raises:
        statistics.StatisticsError: no confirm scores.
    """
    return search_score - fmean(confirm_scores)


def tied(best: Mapping[int, float], others: Mapping[str, Mapping[int, float]]) -> list[str]:
    """Return the names of the candidates whose difference from the best is not significant, in the order given.

    The paired two-sided 95 % t interval of best - other includes 0, or fewer than two seeds are shared. The interval is
    not corrected for having selected the best, which makes `best` look better than it is.

    Args:
        best: scores of the best candidate, by seed.
        others: scores of the other candidates, by name and seed.
    """
    names = []
    for name, scores in others.items():
        found = paired(best, scores)
        if found is None or found.low is None or found.high is None or found.low <= 0 <= found.high:
            names.append(name)
    return names
