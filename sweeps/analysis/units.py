"""The unit of an accuracy: stored as a fraction, compared and shown in percent."""


def percent(fraction: float) -> float:
    """Return a fraction in percent. A difference of two percentages is in points: 1 point = 0.01."""
    return 100 * fraction
