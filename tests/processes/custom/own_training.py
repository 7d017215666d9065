"""A training that a test names as a function of Python."""


def train(alpha: float, *, seed: int) -> float:
    """Score alpha, the better the nearer to 0.3."""
    return 0.9 - (alpha - 0.3) ** 2 + (seed % 1000) / 1e6
