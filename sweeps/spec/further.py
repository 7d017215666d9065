"""What a search may vary beside T and alpha: settings of the training, and the loss's own parameters."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

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


def _checked(space: Mapping[str, tuple[Number, Number]]) -> dict[str, tuple[Number, Number]]:
    for name, (low, high) in space.items():
        if name in ("temperature", "alpha"):
            raise ValueError(f"further parameters; {name} has a key of its own: search.{name}")
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise ValueError(
                f"{', '.join(TRAINED)}, or a parameter of the loss, such as beta; {name!r} is no name for one"
            )
        limits = TRAINED.get(name)
        if limits is None:
            fits, allowed = math.isfinite(low) and math.isfinite(high), "two numbers [low, high] with low <= high"
        else:
            fits = limits.low < low and high <= limits.high
            fits = fits and not (limits.whole and any(isinstance(value, float) for value in (low, high)))
            allowed = str(limits)
        if not fits or low > high:
            raise ValueError(f"{name}: {allowed}; got {[low, high]}")
    return dict(space)


_Real = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)]  # without true and false

Further = Annotated[dict[str, tuple[_Real, _Real]], AfterValidator(_checked)]
"""A table of ranges [low, high] by name."""
