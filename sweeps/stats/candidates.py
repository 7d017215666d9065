"""Hold the candidates of a search against the seeds of its confirm.

Scores are validation accuracies, fractions in [0, 1] or percentage points.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from sweeps.stats.estimates import paired


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
