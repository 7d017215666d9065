"""What a search may vary beside T and alpha: settings of the training, and the loss's own parameters."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from sweeps.spec.bounds import MOST
from sweeps.spec.point import Number


@dataclass(frozen=True)
class Bounds:
    """What the range of a setting may hold: low < value <= high; whole: whole numbers only."""

    low: float
    high: float
    whole: bool = False

    def __str__(self) -> str:
        """Format it as an error message shows it."""
        kind = "whole numbers" if self.whole else "numbers"
        return f"two {kind} [low, high] with {self.low:g} < low <= high <= {self.high:g}"


TRAINED = {
    "learning_rate": Bounds(0, 1),
    "epochs": Bounds(0, MOST, whole=True),
    "batch_size": Bounds(0, MOST, whole=True),
}
"""The settings of a training that a search may vary."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
# What else stands beside the parameters of a trial, refused wherever a spec is read. It is never added to: a sweep that
# was created before must stay readable. New ones belong into RECORDED, which only a new sweep is checked against.
_TAKEN = ("arm", "dataset", "model", "method", "role", "seed", "group", "rank", "ranks", "repeat", "score", "more", "n")

_RECORDS = (
    # tables of tasks and trainings
    "task stage state attempt trial dataset arm more score test_accuracy seed train_s cpu_s worker reason sweep role",
    "repeat val_accuracy",
    # `best`, selections and surfaces as JSON
    "loss confirmed mean low high n rank ranks candidates search_best answer_hash recipe paste",
    "point accuracy incumbent",
    "distillation loss_parameters trial_number number shared formula code student teacher source target target2",
    "target3",
    # outcomes, and the columns of the dashboard and of trackers
    "model method group parameters train_images detail data weights numerics wall_s provenance blobs search",
    "epoch_val_accuracy latency latency_ms_p50 retry_of",
)
RECORDED = frozenset(name for names in _RECORDS for name in names.split())
"""What stands beside a searched parameter in records, tables or JSON: as the name of one it would be taken for that."""


def _checked(space: Any) -> dict[str, tuple[Number, Number]]:
    if not isinstance(space, Mapping):
        raise ValueError("a table of ranges, such as { learning_rate = [0.001, 0.01] }")
    for name, ends in space.items():
        if name in ("temperature", "alpha"):
            raise ValueError(f"further parameters; {name} has a key of its own: search.{name}")
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise ValueError(
                f"{', '.join(TRAINED)}, or a parameter of the loss, such as beta; {name!r} is no name for one"
            )
        bounds = TRAINED.get(name)
        if not _is_range(ends, bounds):
            raise ValueError(f"{name}: {bounds or 'two numbers [low, high] with low <= high'}; got {ends!r}")
    return {name: (low, high) for name, (low, high) in space.items()}


def _is_range(ends: Any, bounds: Bounds | None) -> bool:
    if not isinstance(ends, Sequence) or isinstance(ends, str) or len(ends) != 2:
        return False
    kinds = (int,) if bounds and bounds.whole else (int, float)
    if not all(isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value) for value in ends):
        return False
    return ends[0] <= ends[1] and (bounds is None or (bounds.low < ends[0] and ends[1] <= bounds.high))


Further = Annotated[dict[str, tuple[int | float, int | float]], BeforeValidator(_checked)]
"""A table of ranges [low, high] by name."""
