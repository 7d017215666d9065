"""A point of the search space: what a trial tries, a selection chooses and an arm is trained with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """A temperature and an alpha. Their ranges are checked where they are used: `kd.config.DistillConfig`.

    Attributes:
        temperature: > 0.
        alpha: weight of the labels, in [0, 1].
    """

    temperature: float
    alpha: float

    def as_dict(self) -> dict[str, float]:
        """Return it as it is stored, in parameters and payloads."""
        return {"temperature": self.temperature, "alpha": self.alpha}
