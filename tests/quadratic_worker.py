"""A real worker process whose runner takes milliseconds, so that the service itself is what is tested.

python quadratic_worker.py URL NAME [SECONDS_PER_TASK]
"""

import sys
import time
from collections.abc import Callable
from typing import Any

from storage.tasks import Claim
from storage.url import resolve
from sweeps.stages import Outcome
from sweeps.worker import run_worker


def quadratic(claim: Claim, params: dict[str, Any], on_step: Callable[[], None], *, seconds: float = 0.0) -> Outcome:
    """A smooth score with its best at T=4, alpha=0.3; the stages without a point score 0.5."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        on_step()
        time.sleep(0.01)
    temperature, alpha = params.get("temperature", 4.0), params.get("alpha", 0.3)
    score = 0.9 - (temperature - 4) ** 2 / 1000 - (alpha - 0.3) ** 2 if "temperature" in params else 0.5
    values = {
        "temperature": temperature,
        "alpha": alpha,
        "val_accuracy": score,
        "test_accuracy": score,
        "train_s": seconds,
    }
    return Outcome(score=score, values=values | {"parameters": 1}, attrs={"test_accuracy": score})


if __name__ == "__main__":
    url, name, *rest = sys.argv[1:]
    pause = float(rest[0]) if rest else 0.0
    sys.exit(
        run_worker(
            resolve(url), name, run=lambda claim, params, on_step: quadratic(claim, params, on_step, seconds=pause)
        )
    )
