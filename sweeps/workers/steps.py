"""Follow a running task step by step: whether it still makes any, and whether it shall go on."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kd.tools.processes import Report


class Steps:
    """The steps of one task. A call says that one was made, and raises what `check` raises.

    Watched is what trains, in the block of `watched`: a result that waits ten minutes for its database hangs nowhere.

    A step is a stretch of work after which Python is back: some dozen optimizer steps, one batch of predictions, one
    report of a child process.

    Args:
        check: raises an exception where the task shall end.
    """

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self.check = check
        self._made_at = math.inf

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count the seconds without a step while the block runs."""
        self._made_at = time.monotonic()
        try:
            yield
        finally:
            self._made_at = math.inf

    def __call__(self) -> None:
        """Note a step, and end the task if it shall end."""
        self._made_at = max(self._made_at, time.monotonic())  # inf stays: a report that comes late is no step
        self.check()

    @property
    def idle_s(self) -> float:
        """Seconds since the latest step, or since the training began; 0 while nothing is watched."""
        return max(time.monotonic() - self._made_at, 0.0)

    def of_child(self, on_report: Report = lambda *values: None) -> Report:
        """Return a function for the reports of a child process: each is a step, and goes on to `on_report`."""

        def heard(*values: object) -> None:
            self()
            on_report(*values)

        return heard
