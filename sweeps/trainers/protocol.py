"""What the engine and a training tell each other: the point that is trained at, and the steps of the work."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from kd.tools.processes import Report

Number: TypeAlias = int | float


@dataclass(frozen=True)
class Point:
    """A temperature, an alpha, and what else is searched. Ranges are checked where they are used.

    Attributes:
        temperature: > 0.
        alpha: weight of the labels, in [0, 1].
        more: the further parameters that the spec searches, by name, in the order of their names.
    """

    temperature: float
    alpha: float
    more: tuple[tuple[str, Number], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Point":
        """Return the point with these parameters: temperature, alpha and whatever else is searched.

        Raises:
            KeyError: temperature or alpha is missing.
        """
        more = {name: value for name, value in values.items() if name not in ("temperature", "alpha")}
        return cls(values["temperature"], values["alpha"], tuple(sorted(more.items())))

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Point":
        """Return the point that `as_json` gave, beside whatever else is stored with it; raises KeyError as `of`."""
        more = tuple(sorted(stored.get("more", {}).items()))
        return cls(float(stored["temperature"]), float(stored["alpha"]), more)

    def as_dict(self) -> dict[str, Number]:
        """Return its parameters by name, as a trial of Optuna has them."""
        return {"temperature": self.temperature, "alpha": self.alpha, **dict(self.more)}

    def text(self, digits: int = 3) -> str:
        """Return it in words: "T = 6.8, alpha = 0.724, learning_rate = 0.004"."""
        values = {"T": self.temperature, "alpha": self.alpha, **dict(self.more)}
        return ", ".join(f"{name} = {_shown(value, digits)}" for name, value in values.items())

    def numbers(self, more: Iterable[str] = (), digits: int = 3) -> str:
        """Return its values alone, as a table has them below the names: "6.8, 0.724, 0.004"; "-" stands for none.

        Args:
            more: what is searched beyond T and alpha, in the order of the names.
        """
        known = dict(self.more)
        values = [self.temperature, self.alpha, *(known.get(name) for name in more)]
        return ", ".join("-" if value is None else _shown(value, digits) for value in values)

    def as_json(self) -> dict[str, Any]:
        """Return it as it is stored beside other values: what is searched beyond T and alpha stands apart."""
        more = {"more": dict(self.more)} if self.more else {}
        return {"temperature": self.temperature, "alpha": self.alpha} | more


def _shown(value: Number, digits: int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.{digits}g}"


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
