"""The result of a surface fit, apart from the fit because a light install reads it without NumPy."""

from dataclasses import dataclass

WORDS = ("matters", "does not matter", "cannot be told")
SIDE = 16  # of the grid over the search space


@dataclass(frozen=True)
class Run:
    """One training. x, y: its place in the searched ranges, in [0, 1]. seed: equal for trainings with the same seed."""

    x: float
    y: float
    score: float
    seed: int


@dataclass(frozen=True)
class Top:
    """How much of the search space is as good as its best point.

    share: the fraction of the search space that loses less than `tolerance` against the best point; low, high: its 95 %
    interval. tolerance: in the unit of the scores. mean: the fitted surface minus the mean of all runs, of shape
    (SIDE, SIDE), x first, at the centres of equal cells.
    """

    share: float
    low: float
    high: float
    tolerance: float
    mean: tuple[tuple[float, ...], ...]

    @property
    def word(self) -> str:
        """One of WORDS: the point matters if under half of the space is as good, and does not if over half is."""
        if self.high < 0.5:
            return WORDS[0]
        return WORDS[1] if self.low > 0.5 else WORDS[2]
