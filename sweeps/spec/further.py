"""What a search may vary beside T and alpha: settings of the training, and the loss's own parameters."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from sweeps.spec.bounds import MOST
from sweeps.spec.point import Number


@dataclass(frozen=True)
class Bounds:
    """What the range of a setting may hold: low < value <= high; whole: whole numbers only."""

    low: float
    high: float
    whole: bool = False

    def __str__(self) -> str:
        """Format it as an error message shows it."""
        kind = "whole numbers" if self.whole else "numbers"
        return f"two {kind} [low, high] with {self.low:g} < low <= high <= {self.high:g}"


TRAINED = {
    "learning_rate": Bounds(0, 1),
    "epochs": Bounds(0, MOST, whole=True),
    "batch_size": Bounds(0, MOST, whole=True),
}
"""The settings of a training that a search may vary."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
# What else stands beside the parameters of a trial, in the database or in tables.
_TAKEN = ("arm", "dataset", "model", "method", "role", "seed", "group", "rank", "ranks", "repeat", "score", "more", "n")


def _checked(space: Any) -> dict[str, tuple[Number, Number]]:
    if not isinstance(space, Mapping):
        raise ValueError("a table of ranges, such as { learning_rate = [0.001, 0.01] }")
    for name, ends in space.items():
        if name in ("temperature", "alpha"):
            raise ValueError(f"further parameters; {name} has a key of its own: search.{name}")
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise ValueError(
                f"{', '.join(TRAINED)}, or a parameter of the loss, such as beta; {name!r} is no name for one"
            )
        bounds = TRAINED.get(name)
        if not _is_range(ends, bounds):
            raise ValueError(f"{name}: {bounds or 'two numbers [low, high] with low <= high'}; got {ends!r}")
    return {name: (low, high) for name, (low, high) in space.items()}


def _is_range(ends: Any, bounds: Bounds | None) -> bool:
    if not isinstance(ends, Sequence) or isinstance(ends, str) or len(ends) != 2:
        return False
    kinds = (int,) if bounds and bounds.whole else (int, float)
    if not all(isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value) for value in ends):
        return False
    return ends[0] <= ends[1] and (bounds is None or (bounds.low < ends[0] and ends[1] <= bounds.high))


Further = Annotated[dict[str, tuple[int | float, int | float]], BeforeValidator(_checked)]
"""A table of ranges [low, high] by name."""
