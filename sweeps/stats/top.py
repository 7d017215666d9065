"""What a fitted surface says; apart from the fit, because a light install reads it and has no NumPy."""

from dataclasses import dataclass

WORDS = ("matters", "does not matter", "cannot be told")
SIDE = 16  # of the grid that stands for the box


@dataclass(frozen=True)
class Run:
    """One training. x, y: where, of the searched range, in [0, 1]; seed: trainings of one seed share a number."""

    x: float
    y: float
    score: float
    seed: int


@dataclass(frozen=True)
class Top:
    """How much of the box is as good as its best point.

    share: the part of the box that loses less than `tolerance` against the best point, a fraction; low, high: its 95 %
    interval. tolerance: in the unit of the scores. mean: the fitted surface less the mean of all runs, of shape
    (SIDE, SIDE), x first, at the centres of equal cells. bench/top.py measures how often the interval holds the truth.
    """

    share: float
    low: float
    high: float
    tolerance: float
    mean: tuple[tuple[float, ...], ...]

    @property
    def word(self) -> str:
        """One of WORDS: the point matters if less than half of the box is as good, does not if more than half is."""
        if self.high < 0.5:
            return WORDS[0]
        return WORDS[1] if self.low > 0.5 else WORDS[2]
