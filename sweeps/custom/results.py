"""Describe requests to a user's training, and check its results, for functions and commands alike."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kd.errors import Diverged
from sweeps.errors import TrainingFailed
from sweeps.terminal import truncated

VALIDATION, SIZE, TEST = "validation", "size", "test"
MOST_FACTS = 64 * 1024  # bytes of JSON
_CURE = 'return a number, or {"validation": 0.93, "size": 12345, ...}'


@dataclass(frozen=True)
class Bounds:
    """The allowed range of a score, and its name."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Request:
    """One training. train, test: the function or the command; test: "" for none.

    folder: in which it may keep files until it is done.
    """

    train: str
    test: str
    point: Mapping[str, int | float | str | bool]
    seed: int
    dataset: str
    role: str
    arm: str
    folder: str
    bounds: Bounds


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a training. validation: the trainer's score. facts: its other values, as JSON."""

    validation: float
    size: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    train_s: float = 0.0
    cpu_s: float = 0.0


def result_of(name: str, returned: object, bounds: Bounds, *, train_s: float, cpu_s: float) -> Result:
    """Return the checked result of a training. name: of the function or the program, for messages.

    Raises:
        TrainingFailed: it is not a result, or has a test score.
        kd.errors.Diverged: the score is not finite.
    """
    values: dict[Any, Any] = dict(returned) if isinstance(returned, Mapping) else {VALIDATION: returned}
    if VALIDATION not in values:
        keys = ", ".join(map(str, values)) or "nothing"
        raise TrainingFailed(f"{name} gave {keys}, and no {VALIDATION!r}; {_CURE}")
    tests = [key for key in values if str(key).lower().startswith(TEST)]
    if tests:
        raise TrainingFailed(
            f"{name} gave {tests[0]!r}, but test data are for the comparison only; score them in trainer.test, or"
            " rename the value"
        )
    validation, size = scored(name, values.pop(VALIDATION), bounds), None
    if SIZE in values:
        value = values.pop(SIZE)
        size = _whole(value)
        if size is None:
            raise TrainingFailed(f"{name} gave size {_shown(value)}; allowed: a whole number >= 0, such as bytes")
    facts = _plain(name, values)
    return Result(validation=validation, size=size, facts=facts, train_s=train_s, cpu_s=cpu_s)


def scored(name: str, value: Any, bounds: Bounds) -> float:
    """Return a score as a number within its bounds; errors as for `result_of`."""
    number = _number(value)
    if number is None:
        raise TrainingFailed(f"{name} gave {_shown(value)} of type {type(value).__name__} for a score; {_CURE}")
    if not math.isfinite(number):
        raise Diverged(f"{name} gave the score {number}")
    if not bounds.low <= number <= bounds.high:
        hint = "; is it a percentage? Divide it by 100" if bounds.high == 1 and 1 < number <= 100 else ""
        raise TrainingFailed(
            f"{name} gave the {bounds.name} {number:g}, outside of trainer.score.low = {bounds.low:g} and high ="
            f" {bounds.high:g}{hint}"
        )
    return number


def in_curve(value: Any) -> float | None:
    """Return an intermediate score as a number, or None for anything else, which must not end a training."""
    number = _number(value)
    return number if number is not None and math.isfinite(number) else None


def _number(value: Any) -> float | None:
    # Numbers of NumPy, PyTorch or JAX, without a dimension, are allowed; True and "0.9" are mistakes.
    if isinstance(value, bool | str | bytes) or value is None:
        return None
    try:
        return float(value)
    except Exception:  # a user's class may raise anything
        return None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and 0 <= number < 2**63 and number == int(number) else None


def _plain(name: str, values: Mapping[Any, Any]) -> dict[str, Any]:
    try:
        text = json.dumps({str(key): value for key, value in values.items()}, default=_item, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TrainingFailed(f"{name} gave values besides its score that are not JSON: {error}") from None
    if len(text) > MOST_FACTS:
        raise TrainingFailed(
            f"{name} gave {len(text):,} bytes besides its score; allowed: {MOST_FACTS:,}; write the rest to a file"
        )
    plain: dict[str, Any] = json.loads(text)
    return plain


def _item(value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} {_shown(value)}")


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # a user's class may raise anything
        text = f"a {type(value).__name__}"
    return truncated(" ".join(text.split()), 60)
