"""One thing that an archive claims, and when two values are the same."""

import math
from dataclasses import dataclass
from typing import Any

_CLOSE = 1e-9  # relative: the last digits of an interval may be others with another mathematical library


@dataclass(frozen=True)
class Check:
    """One thing that a file claims. differs: what it holds instead, in a few words; "" if it is as claimed."""

    what: str
    differs: str = ""


def alike(one: Any, other: Any) -> bool:
    """Return whether two plain values are the same, but for the last digits of a number."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_CLOSE)
    return type(one) is type(other) and bool(one == other)
