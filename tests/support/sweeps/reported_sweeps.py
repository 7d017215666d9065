"""A sweep whose results look like real ones, made in seconds, for tests of reports. Imports no pytest."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweeps.plan.jobs import AnyJob, MeasureTask, read_outcome
from sweeps.spec.model import override
from sweeps.workers.runner import Outcome
from tests.support.sweeps import planted_sweeps
from tests.support.sweeps.presets import before

CHANGES = {"transfer.seeds": 3, "transfer.target_arms": ["best", "scratch", "native", "random", "class-mean"]}
REPORTED = override(before("tiny"), CHANGES)
_LATENCY_MS = {"teachers": 0.27, "baselines": 0.75, "transfer": 0.18}


def run(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
    """Return scores that depend on (T, alpha), on the seed and a little on the task's key."""
    temperature, alpha = params.get("temperature", 4.0), params.get("alpha", 0.3)
    level = {"teachers": 0.99, "baselines": 0.95}.get(claim.row.stage, 0.9)
    luck = random.Random(str(claim.row.payload.get("seed"))).gauss(0, 0.004) + random.Random(claim.key).gauss(0, 0.002)
    score = level - math.log(temperature / 5) ** 2 / 50 - (alpha - 0.6) ** 2 / 10 + luck
    values: dict[str, Any] = {"val_accuracy": score, "test_accuracy": score, "temperature": temperature, "alpha": alpha}
    values |= {"train_s": 2.0, "cpu_s": 1.5, "parameters": 20_490, "epochs": 9}
    if isinstance(claim.work, MeasureTask):
        keys = ("teachers#source", "teachers#target", "baselines#mobilenet")
        keys += ("transfer#source.best.0", "transfer#target.best.0")
        model = {"bytes": 113_000, "test_accuracy": 0.97, "latency_ms_p95": 1.1, "images_per_s": 5e4, "macs": 800_000}
        values = {"models": {key: model | {"latency_ms_p50": _LATENCY_MS[key.partition("#")[0]]} for key in keys}}
    return Outcome(score=score, values=read_outcome(claim.work, values), attrs={})


def worked(at: Path | str, *, stop_at: str = "", **changes: Any) -> str:
    """Work on a sweep "s" until a task whose key starts with `stop_at`; return its URL.

    Args:
        at: a folder for a new storage, or the URL of an empty one.
    """
    url = f"sqlite:///{at}/s.db" if isinstance(at, Path) else at
    planted_sweeps.worked(url, override(REPORTED, changes), run, stop_at=stop_at)
    return url
