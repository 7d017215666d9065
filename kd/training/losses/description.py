"""What a loss is: its term, its own parameters, and how it is described."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Tensor: TypeAlias = Any  # of any Keras backend, or a NumPy array
Term: TypeAlias = Callable[..., Tensor]  # (labels, teacher_logits, student_logits, *, temperature, **own) -> scalar


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number that a loss has beside T and alpha.

    Args:
        name: as in the term's signature and in a spec's search space.
        low, high: the usual range to search; -inf and inf where only the author of the loss knows it.
        default: the value where none is given.
        log: whether to search its logarithm.
        meaning: half a sentence; empty for a loss of a user's own.
    """

    name: str
    low: float
    high: float
    default: float
    log: bool
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss, described.

    Args:
        name: as in a spec: a key of `LOSSES`, or "package.module:function" or "./file.py:function".
        formula: the whole loss in this project's form; of a user's own, with the first line of its docstring.
        source: the paper; empty for a user's own.
        parameters: its own, without T and alpha.
        default_temperature, default_alpha: the point of the paper or of its authors' code.
        temperature_range: usual, (low, high) with 0 < low <= high.
        uses_temperature: False where T changes nothing; its default and its range are then 1.
    """

    name: str
    formula: str
    source: str
    parameters: tuple[Parameter, ...] = ()
    default_temperature: float = 4.0
    default_alpha: float = 0.1
    temperature_range: tuple[float, float] = (1.0, 20.0)
    uses_temperature: bool = True

    def values(self, own: Mapping[str, float]) -> dict[str, float]:
        """Return the value of each own parameter, in the order of `parameters`: the one given, else its default.

        Raises:
            ValueError: the loss has no parameter of such a name, or a value is not finite.
        """
        known = [parameter.name for parameter in self.parameters]
        if unknown := sorted(set(own) - set(known)):
            has = f"its own are {', '.join(known)}" if known else "it has none of its own"
            raise ValueError(f"loss {self.name!r} has no parameter {unknown[0]!r}; {has}")
        if bad := [name for name, value in own.items() if not math.isfinite(value)]:
            raise ValueError(f"{bad[0]} must be finite, got {own[bad[0]]!r}")
        return {parameter.name: float(own.get(parameter.name, parameter.default)) for parameter in self.parameters}
