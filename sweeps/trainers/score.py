"""What a trainer scores, how it is stored, and how it is shown."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PARTS = {"val_accuracy": "val", "test_accuracy": "test"}  # by the stored column, whatever is scored


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a trainer scores, in its own unit; the engine stores a value of which higher is better.

    name: "accuracy", "loss". unit: behind a level, such as "%"; "": none. difference: the same behind a difference.
    scale: what is shown is as many times the score. minimize: lower is better, so minus the score is stored, and levels
    are turned back where they are shown; differences and gains are positive where they are better. low, high: the
    trainer's bounds; a score outside is a mistake.
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
        """Return a trainer's score as it is stored, or a stored one as the trainer has it."""
        return -value if self.minimize else value

    def scaled(self, value: float) -> float:
        """Return a stored score, or a difference of two, in the unit that is shown; higher is better."""
        return self.scale * value

    def level(self, value: float) -> float:
        """Return a stored score as it is shown: in that unit, and turned back where lower is better."""
        return self.signed(self.scaled(value))

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest score that can be stored."""
        return (-self.high, -self.low) if self.minimize else (self.low, self.high)

    def decimals(self, digits: int, *shown: float) -> int:
        """Return with how many decimals numbers are shown beside each other.

        digits: decimals of a percentage. In another unit the largest has one significant digit more than these.
        """
        largest = max(map(abs, shown), default=0.0)
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
        """Return the same of a score that is scaled already."""
        return f"{self._number(self.signed(value), digits)} {self.unit}".rstrip()

    def amount(self, text: str) -> str:
        """Return a difference, as text, with its unit: "3.4 points", "1 point", "0.0021"."""
        return "1 point" if (text, self.difference) == ("1", "points") else f"{text} {self.difference}".rstrip()

    def differences(self, of: str) -> str:
        """Return what differences are of: "points of test accuracy", "ms of test latency", "test loss"."""
        return f"{self.difference} of {of} {self.name}" if self.difference else f"{of} {self.name}"

    @property
    def of_difference(self) -> str:
        """Return what a difference is an amount of: "accuracy points", "loss"."""
        return f"{self.name} {self.difference}".rstrip()

    def amount_of(self, what: str) -> str:
        """Return what a short axis is of: "points lost"; where differences have no unit "lost"."""
        return f"{self.difference} {what}" if self.difference else what.removeprefix("of ")

    def gained(self, of: str) -> str:
        """Return what an axis of gains is of: "points of test accuracy gained", "reduction of test loss"."""
        if self.minimize:
            return f"reduction of {of} {self.name}{self.behind}"
        return f"{self.differences(of)} gained"

    def over(self, rival: str, of: str = "") -> str:
        """Return what gains over a rival are: "points of test accuracy over the default"."""
        name = f"{of} {self.name}".lstrip()
        if self.minimize or not self.difference:
            return f"{'reduction' if self.minimize else 'gain'} of {name} against {rival}{self.behind}"
        return f"{self.difference}{f' of {name}' if of else ''} over {rival}"

    def less(self, rival: str) -> str:
        """Return the head of a column of what best gains over a rival: "best - this"."""
        return f"{'gain of best over' if self.minimize else 'best -'} {rival}"

    @property
    def behind(self) -> str:
        """Return the unit of a difference behind a title: ", points"."""
        return f", {self.difference}" if self.difference else ""

    def head(self, title: str) -> str:
        """Return the head of a column of levels: "test %"; where there is no unit "test loss"."""
        return f"{title} {self.unit or self.name}"

    def key(self, part: str) -> str:
        """Return what stored scores of a part are called where programs read them: "val_accuracy", "neg_val_loss"."""
        return f"{'neg_' if self.minimize else ''}{self.own_key(part)}"

    def own_key(self, part: str) -> str:
        """Return the same of the trainer's own scores: "val_loss"."""
        return re.sub(r"\W+", "_", f"{part}_{self.name}")

    def column(self, stored: str) -> str:
        """Return what a stored column is called in a table for people: "val_loss" of val_accuracy."""
        return self.own_key(_PARTS[stored]) if stored in _PARTS else stored

    def written(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of stored columns as such a table has it: its scores are the trainer's own."""
        return {
            self.column(name): self.signed(value) if name in _PARTS and isinstance(value, float) else value
            for name, value in row.items()
        }

    @property
    def plural(self) -> str:
        """Return its name where there are several: "accuracies", "losses"."""
        if self.name.endswith("y"):
            return f"{self.name[:-1]}ies"
        return f"{self.name}{'es' if self.name.endswith('s') else 's'}"

    @property
    def best(self) -> str:
        """Return which score is the best: "highest" or "lowest"."""
        return "lowest" if self.minimize else "highest"

    @property
    def better(self) -> str:
        """Return where a better score lies: "higher" or "lower"."""
        return "lower" if self.minimize else "higher"

    @property
    def remark(self) -> str:
        """What a reader of differences has to know; "" where higher is better."""
        return f"A lower {self.name} is better; differences are positive where they are better." * self.minimize


ACCURACY = Score()
"""What is scored where a trainer says nothing else."""
