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


def noise_variance(table: Sequence[Sequence[float]]) -> float | None:
    """Estimate the variance of a single run around the sum of its candidate's effect and its seed's effect.

    It is the residual mean square of the two-way analysis of variance without replication, candidates + seeds. All
    candidates are trained with the same seeds: what a seed adds to every candidate changes no rank and is not noise.
    Source: Fisher 1925, "Statistical Methods for Research Workers", chapter VIII (randomised blocks).

    Args:
        table: scores of the confirm stage, a row per candidate, a column per seed, complete.

    Returns:
        None for fewer than 2 candidates or 2 seeds.

    Raises:
        ValueError: the rows have different lengths.
    """
    columns = list(zip(*table, strict=True))
    if len(table) < 2 or len(columns) < 2:
        return None
    rows, seeds = [fmean(row) for row in table], [fmean(column) for column in columns]
    grand = fmean(rows)
    squares = math.fsum(
        (score - rows[i] - seeds[j] + grand) ** 2 for i, row in enumerate(table) for j, score in enumerate(row)
    )
    return squares / ((len(rows) - 1) * (len(seeds) - 1))


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
