"""Points of a distillation."""

from sweeps.trainers.protocol import Point, Value


def at(temperature: float, alpha: float, **more: Value) -> Point:
    """Return the point with these values."""
    return Point.of({"temperature": temperature, "alpha": alpha, **more})
