"""Points of a distillation. Small: every test of one needs it."""

from sweeps.trainers.protocol import Point, Value


def at(temperature: float, alpha: float, **more: Value) -> Point:
    """The point with these values."""
    return Point.of({"temperature": temperature, "alpha": alpha, **more})
