"""Classify why an attempt failed: the class decides how often the task is tried again."""

from kd.errors import Diverged, SubprocessKilled, Unavailable
from storage.errors import Unreachable
from storage.queue.error_classes import LOST
from sweeps.spec.model import Spec

INFRASTRUCTURE = ("memory", "database")
"""Classes that say more about the machine than about the task."""


def class_of(error: Exception) -> str:
    """Return "memory", "database", "nan", "unavailable", or "error" for anything else: a mistake in some program."""
    if isinstance(error, Unavailable):
        return "unavailable"
    if isinstance(error, Diverged):
        return "nan"
    # TensorFlow's own class by its name: a worker whose children train has not imported TensorFlow
    if isinstance(error, (MemoryError, SubprocessKilled)) or type(error).__name__ == "ResourceExhaustedError":
        return "memory"
    return "database" if isinstance(error, Unreachable) else "error"


def cap_of(kind: str, spec: Spec) -> int | None:
    """Return how many attempts of a task may end with this class before the task has failed; None = no limit."""
    caps = spec.retry
    cap = {
        LOST: caps.lost_worker,
        "memory": caps.memory,
        "database": caps.database,
        "nan": caps.nan,
        "error": caps.error,
        "unavailable": 1,  # trying again finds the same missing file
    }[kind]
    return cap or None
