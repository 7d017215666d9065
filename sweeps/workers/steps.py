"""Follow a running task step by step: whether it still makes any, and whether it shall go on."""

import time
from collections.abc import Callable

from kd.subprocesses import Report


class Steps:
    """The steps of one task. A call says that one was made, and raises what `check` raises.

    A step is a stretch of work after which Python is back: some dozen optimizer steps, one batch of predictions, one
    report of a child process.

    Args:
        check: raises an exception where the task shall end.
    """

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self.check = check
        self._made_at = time.monotonic()

    def __call__(self) -> None:
        """Note a step, and end the task if it shall end."""
        self._made_at = time.monotonic()
        self.check()

    @property
    def idle_s(self) -> float:
        """Seconds since the latest step, or since the task began."""
        return time.monotonic() - self._made_at

    def of_child(self, on_report: Report = lambda *values: None) -> Report:
        """Return a function for the reports of a child process: each is a step, and goes on to `on_report`."""

        def heard(*values: object) -> None:
            self()
            on_report(*values)

        return heard
