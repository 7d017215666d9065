"""A real worker process whose runner takes milliseconds, so that a test measures the queue itself.

python quadratic_worker.py URL NAME SECONDS_PER_TASK
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from storage.url import resolve
from sweeps.plan.jobs import AnyJob, read_outcome
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import run_worker

_OWN = ("temperature", "alpha", "arm", "dataset", "model", "method")


def quadratic(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None], *, seconds: float = 0.0) -> Outcome:
    """Return a smooth score with its maximum at T=4, alpha=0.3; stages without a point score 0.5."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        on_step()
        time.sleep(0.01)
    temperature, alpha = params.get("temperature", 4.0), params.get("alpha", 0.3)
    height = 0.9 - (temperature - 4) ** 2 / 1000 - (alpha - 0.3) ** 2
    score = max(height, 0.0) if "temperature" in params else 0.5
    values = {
        "temperature": temperature,
        "alpha": alpha,
        "val_accuracy": score,
        "test_accuracy": score,
        "train_s": seconds,
        "cpu_s": seconds,
        "parameters": 1,
    }
    if more := {name: params[name] for name in params if name not in _OWN}:
        values["more"] = more
    return Outcome(score=score, values=read_outcome(claim.work, values), attrs={"test_accuracy": score})


def changed(outcome: Outcome, **values: Any) -> Outcome:
    """Return the outcome with other stored values."""
    return replace(outcome, values=outcome.values.model_copy(update=values))


if __name__ == "__main__":
    url, name, pause = sys.argv[1:]
    sys.exit(run_worker(resolve(url), name, run=partial(quadratic, seconds=float(pause))))
