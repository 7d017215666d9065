"""A training that a test refers to as a Python function."""


def train(alpha: float, *, seed: int) -> float:
    """Return a score that is best at alpha = 0.3."""
    return 0.9 - (alpha - 0.3) ** 2 + (seed % 1000) / 1e6
