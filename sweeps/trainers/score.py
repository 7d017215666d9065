"""Describe a trainer's score: how to store it, and how to show it."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PARTS = {"val_accuracy": "val", "test_accuracy": "test"}  # by the stored column, for any score


@dataclass(frozen=True, kw_only=True)
class Score:
    """A trainer's score, in its own unit; higher is better for the value that the engine stores.

    name: "accuracy", "loss". unit: after a level, such as "%", or "". difference: the unit after a difference. scale:
    factor from the score to the shown value. minimize: whether lower is better; then minus the score is stored, shown
    levels change sign, and differences and gains are positive if better. low, high: the trainer's bounds; a score
    outside is an error.
    """

    name: str = "accuracy"
    unit: str = "%"
    difference: str = "points"
    scale: float = 100.0
    minimize: bool = False
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (self.name and self.low < self.high and 0 < self.scale < math.inf):
            raise ValueError(f"a score needs a name, low < high and scale > 0, got {self}")

    def signed(self, value: float) -> float:
        """Convert a trainer's score to the stored one, or back."""
        return -value if self.minimize else value

    def scaled(self, value: float) -> float:
        """Return a stored score, or a difference of two, in the shown unit; higher is better."""
        return self.scale * value

    def level(self, value: float) -> float:
        """Return a stored score as it is shown: in that unit, with the trainer's sign."""
        return self.signed(self.scaled(value))

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest score that can be stored."""
        return (-self.high, -self.low) if self.minimize else (self.low, self.high)

    def decimals(self, digits: int, *numbers: float) -> int:
        """Return the number of decimals for a column of numbers.

        digits: decimals of a percentage. In another unit the largest number has one significant digit more.
        """
        largest = max(map(abs, numbers), default=0.0)
        if self.unit == "%" or not math.isfinite(largest) or largest == 0:
            return digits
        return max(0, digits - math.floor(math.log10(largest)))

    def number(self, value: float, digits: int = 2) -> str:
        """Return a stored score as text without its unit: "97.41", "0.0312".

        digits: decimals of a percentage; in another unit there are three significant digits.
        """
        return self._number(self.level(value), digits)

    def _number(self, level: float, digits: int) -> str:
        return f"{level:.{self.decimals(digits if self.unit == '%' else 2, level)}f}"

    def text(self, value: float, digits: int = 2) -> str:
        """Return a stored score as text: "97.41 %", "0.0312"."""
        return self.scaled_text(self.scaled(value), digits)

    def scaled_text(self, value: float, digits: int = 2) -> str:
        """Return a score that is scaled already as text."""
        return f"{self._number(self.signed(value), digits)} {self.unit}".rstrip()

    def amount(self, text: str) -> str:
        """Return a difference with its unit: "3.4 points", "1 point", "0.0021"."""
        return "1 point" if (text, self.difference) == ("1", "points") else f"{text} {self.difference}".rstrip()

    def differences(self, of: str) -> str:
        """Return the label of differences: "points of test accuracy", "ms of test latency", "test loss"."""
        return f"{self.difference} of {of} {self.name}" if self.difference else f"{of} {self.name}"

    @property
    def of_difference(self) -> str:
        """The unit of a difference with its score: "accuracy points", "loss"."""
        return f"{self.name} {self.difference}".rstrip()

    def amount_of(self, what: str) -> str:
        """Return the label of a short axis: "points lost", or "lost" if differences have no unit."""
        return f"{self.difference} {what}" if self.difference else what.removeprefix("of ")

    def gained(self, of: str) -> str:
        """Return the label of an axis of gains: "points of test accuracy gained", "reduction of test loss"."""
        if self.minimize:
            return f"reduction of {of} {self.name}{self.behind}"
        return f"{self.differences(of)} gained"

    def over(self, rival: str, of: str = "") -> str:
        """Return the label of gains over a rival: "points of test accuracy over the default"."""
        name = f"{of} {self.name}".lstrip()
        if self.minimize or not self.difference:
            return f"{'reduction' if self.minimize else 'gain'} of {name} against {rival}{self.behind}"
        return f"{self.difference}{f' of {name}' if of else ''} over {rival}"

    def less(self, rival: str) -> str:
        """Return the head of a column of the gains of best over a rival: "best - this"."""
        return f"{'gain of best over' if self.minimize else 'best -'} {rival}"

    @property
    def behind(self) -> str:
        """The unit of a difference as a suffix of a title: ", points"."""
        return f", {self.difference}" if self.difference else ""

    def head(self, title: str) -> str:
        """Return the head of a column of levels: "test %", or "test loss" without a unit."""
        return f"{title} {self.unit or self.name}"

    def key(self, part: str) -> str:
        """Return the key of the stored scores of a part, for programs: "val_accuracy", "neg_val_loss"."""
        return f"{'neg_' if self.minimize else ''}{self.own_key(part)}"

    def own_key(self, part: str) -> str:
        """Return the key of the trainer's own scores of a part: "val_loss"."""
        return re.sub(r"\W+", "_", f"{part}_{self.name}")

    def column(self, stored: str) -> str:
        """Return the name of a stored column in a table for people: "val_loss" for val_accuracy."""
        return self.own_key(_PARTS[stored]) if stored in _PARTS else stored

    def written(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of stored columns for a table for people, with the trainer's own scores."""
        return {
            self.column(name): self.signed(value) if name in _PARTS and isinstance(value, float) else value
            for name, value in row.items()
        }

    @property
    def plural(self) -> str:
        """The plural of its name: "accuracies", "losses"."""
        if self.name.endswith("y"):
            return f"{self.name[:-1]}ies"
        return f"{self.name}{'es' if self.name.endswith('s') else 's'}"

    @property
    def best(self) -> str:
        """Which score is the best: "highest" or "lowest"."""
        return "lowest" if self.minimize else "highest"

    @property
    def better(self) -> str:
        """Where a better score lies: "higher" or "lower"."""
        return "lower" if self.minimize else "higher"

    @property
    def remark(self) -> str:
        """A remark for readers of differences; "" if higher is better."""
        return f"A lower {self.name} is better; differences are positive where they are better." * self.minimize


ACCURACY = Score()
"""The default score."""
