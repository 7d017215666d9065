"""Is there an optimum at all? How much of what a search saw is (T, alpha), and how much is the seed's luck.

Scores are validation accuracies, fractions in [0, 1] or points: variances are in the square of that unit.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, variance

from sweeps.stats.estimates import paired

# At least half of the variance of single runs comes from (T, alpha): below that, a rank of the search says more about
# the seed than about the point. A convention of this project, not a threshold of the literature.
IDENTIFIED_FROM = 0.5


def noise_variance(table: Sequence[Sequence[float]]) -> float | None:
    """Variance of one run that neither its candidate nor its seed explains; None below 2 candidates x 2 seeds.

    Args:
        table: confirm scores, a row per candidate, a column per seed. Complete: raises ValueError for rows of
            unequal lengths.

    The residual mean square of the two-way layout without replication, candidates + seeds. All candidates share their
    seeds, so what a seed adds to every score moves no rank and is not counted as noise.
    Source: Fisher 1925, "Statistical Methods for Research Workers", chapter VIII (randomised blocks).
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
    """The share of the variance of single-run scores that is (T, alpha), in [0, 1]; None for fewer than 3 points.

    Args:
        scores: one run for each of evenly spread (Sobol) points of the search, so not those of a sampler that had
            moved to where scores are high.
        noise: variance of one run at a fixed point, from confirm's seeds (`noise_variance`).

    (var(scores) - noise) / var(scores), clipped: it estimates the correlation that a second run of every point would
    show with the first. A search trains each point once, so within-point variance cannot come from its scores; confirm
    repeats only the best few, so its noise is taken to hold for all points. Without any variance the answer is 0.
    Source: Shrout & Fleiss 1979, "Intraclass correlations", the ICC of a single score, ICC(1, 1).
    """
    if len(scores) < 3:
        return None
    total = variance(scores)
    return min(1.0, max(0.0, (total - noise) / total)) if total > 0 else 0.0


def rank_ceiling(first: float, second: float) -> float:
    """The highest correlation that two noisy rankings can show, in [0, 1], from the intraclass correlation of each.

    sqrt(icc1 * icc2): what would be seen if the two true surfaces agreed in everything.
    Source: Spearman 1904, "The proof and measurement of association between two things" (correction for attenuation).
    """
    return math.sqrt(first * second)


def optimism(search_score: float, confirm_scores: Sequence[float]) -> float:
    """How much the search's score of a candidate promised above its mean on fresh seeds, in the unit of the scores.

    Both are of the SAME candidate. The best of many noisy scores is partly the luckiest, so this is above 0 on average
    (winner's curse). Raises statistics.StatisticsError without confirm scores.
    """
    return search_score - fmean(confirm_scores)


def tied(best: Mapping[int, float], others: Mapping[str, Mapping[int, float]]) -> list[str]:
    """The names in `others` that nothing tells apart from the best; scores by seed, order kept.

    Their paired two-sided 95 % t interval of best - other includes 0, or there are fewer than two shared seeds. Not
    corrected for choosing the best of them, which can only make `best` look better than it is.
    """
    names = []
    for name, scores in others.items():
        found = paired(best, scores)
        if found is None or found.low is None or found.high is None or found.low <= 0 <= found.high:
            names.append(name)
    return names
