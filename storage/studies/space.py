"""Search spaces, SAMPLERS, marks of trials and names of studies, without Optuna."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from storage.errors import ParametersRefused

MARK_ATTR = "kd-sweeps"  # on our trials: task, attempt, and everything known before the run
_FORMER = ("asked_by", "task", "attempt", "retry_of")  # the attributes of an older version
MARK_ATTRS = (MARK_ATTR, *_FORMER)


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A sampler that a spec may name; `sampler.py` creates it.

    method: its description for the section Methods; "" if it proposes nothing. sobol: the fraction of a search that is
    Sobol points, fixed in the plan. needs: the package it needs besides Optuna.
    """

    method: str = ""
    sobol: float = 0.0
    needs: str = ""


SAMPLERS: Mapping[str, Sampler] = {
    "qmc": Sampler(sobol=1.0),
    "tpe": Sampler(sobol=0.5, method="multivariate TPE (Bergstra et al. 2011, Optuna)"),
    "gp": Sampler(sobol=0.5, method="a Gaussian process (Optuna's GPSampler)", needs="torch"),
    "random": Sampler(method="a random draw"),
}
USERS_SAMPLER = Sampler()  # a user's own: proposes every point


@dataclass(frozen=True)
class Range:
    """Real numbers from low to high, both included; `log` spreads them evenly in the logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"a range needs finite low <= high, got {self.low!r} to {self.high!r}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range needs low > 0, got {self.low!r}")

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"

    def at(self, unit: float) -> float:
        """Return the value at a fraction of the range, `unit` in [0, 1)."""
        value = self.low * (self.high / self.low) ** unit if self.log else self.low + (self.high - self.low) * unit
        return min(max(value, self.low), self.high)  # rounding may leave the range by one step

    def fraction(self, value: float) -> float:
        """Return where a value lies in the range: 0 at the low end, 1 at the high end."""
        low, high, place = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return (place - low) / (high - low) if high > low else 0.5


@dataclass(frozen=True)
class Whole:
    """Whole numbers from low to high, both included; `log` spreads them evenly in the logarithm, from 1 on."""

    low: int
    high: int
    log: bool = True

    def __post_init__(self) -> None:
        if self.low > self.high or (self.log and self.low < 1):
            least = "1 <= low" if self.log else "low"
            raise ValueError(f"a range of whole numbers needs {least} <= high, got {self.low!r} to {self.high!r}")

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"[{self.low}, {self.high}]"

    def at(self, unit: float) -> int:
        low, high = self.low - 0.5, self.high + 0.5  # as Optuna spreads whole numbers
        value = math.exp(math.log(low) + unit * math.log(high / low)) if self.log else low + unit * (high - low)
        return min(max(round(value), self.low), self.high)


@dataclass(frozen=True)
class Categorical:
    """One of the options: None, booleans, numbers or text, as Optuna's categorical parameters."""

    options: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError("a choice needs at least one option")

    def __contains__(self, value: object) -> bool:
        return value in self.options

    def __str__(self) -> str:
        return " | ".join(map(str, self.options))

    def at(self, unit: float) -> Any:
        return self.options[min(int(unit * len(self.options)), len(self.options) - 1)]


Space = dict[str, Range | Whole | Categorical]


@dataclass(frozen=True)
class Mark:
    """The identity of one of our trials: its task, its attempt, and, of a retry, the number of the previous trial.

    The trial number alone is not enough: a study that was deleted and recreated counts from 0 again.
    """

    task: str
    attempt: int | None
    retry_of: int | None


def mark_of(attrs: Mapping[str, Any]) -> Mark | None:
    """Return the mark of a trial with these attributes; None: it belongs to another tool."""
    values = attrs.get(MARK_ATTR)
    if not isinstance(values, Mapping):
        if attrs.get(_FORMER[0]) != MARK_ATTR:
            return None
        values = attrs
    return Mark(str(values.get("task")), values.get("attempt"), values.get("retry_of"))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial to be shown in the dashboard.

    state: "RUNNING", "COMPLETE" (with a value), "PRUNED" or "FAIL" (without). params: a point of the space, or none.
    epoch_values: from epoch 0; None: not measured. started_at, ended_at: seconds since 1970.
    """

    state: str
    attrs: Mapping[str, Any]
    space: Space = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    value: float | None = None
    epoch_values: Sequence[float | None] = ()
    started_at: float = 0.0
    ended_at: float | None = None


def check_params(space: Space, params: Mapping[str, Any]) -> None:
    """Raise ParametersRefused if `params` is not a point of the space."""
    if set(params) != set(space):
        raise ParametersRefused(f"got parameters {sorted(params)}, but the space has {sorted(space)}")
    for name, value in params.items():
        if value not in space[name]:
            raise ParametersRefused(f"{name} is {value!r}, allowed: {space[name]}")


def study_name(sweep: str, stage: str) -> str:
    """Return the Optuna study of a stage: the sweep's own name for search, NAME.STAGE for the others.

    Separate studies, because one trial without parameters in the search study would empty Optuna's search space.
    """
    return sweep if stage == "search" else f"{sweep}.{stage}"


def of_sweep(study: str, sweep: str) -> bool:
    """Return whether a study has a name of this sweep; `ownership` checks whether it belongs to it."""
    return study == sweep or study.startswith(f"{sweep}.")
