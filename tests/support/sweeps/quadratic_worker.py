"""A real worker process whose runner takes milliseconds, so that the service itself is what is tested.

python quadratic_worker.py URL NAME [SECONDS_PER_TASK] [--nursery]

With --nursery the process works on nothing itself: it forks a worker whenever it is told to (`storms.Nursery`),
so that the imports are paid once and a thousand workers can be killed within minutes.
"""

import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna

from storage.url import resolve
from sweeps.plan.jobs import AnyJob, read_outcome
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import run_worker

_OWN = ("temperature", "alpha", "arm", "dataset", "model", "method")

LATE_IMPORTS = (  # what a worker imports only once it needs it
    "alembic.command",
    "numpy.random",
    "optuna.samplers",
    "psycopg",
    "sqlalchemy.dialects.sqlite",
)


def quadratic(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None], *, seconds: float = 0.0) -> Outcome:
    """A smooth score with its best at T=4, alpha=0.3, 0 far away from it; the stages without a point score 0.5."""
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
    """The same outcome with other values stored."""
    return replace(outcome, values=outcome.values.model_copy(update=values))


def nursery(work: Callable[[], int]) -> None:
    """Fork a worker for each line "start"; for each line "ended" say which have ended. Answers are JSON lines.

    Whoever is not asked for stays a zombie: its number is not given to another process before it was told.
    """
    living: set[int] = set()
    for line in sys.stdin:
        if line == "start\n":
            pid = os.fork()  # this process has one thread and no connection: a fork of it is a clean start
            if pid == 0:
                _work_and_exit(work)
            living.add(pid)
            print(json.dumps(pid), flush=True)
            continue
        ended = {}
        for pid in living:
            number, status = os.waitpid(pid, os.WNOHANG)
            if number:
                ended[pid] = os.waitstatus_to_exitcode(status)
        living -= set(ended)
        print(json.dumps(ended), flush=True)
    for pid in living:  # whoever held the other end is gone
        os.kill(pid, signal.SIGKILL)


def _work_and_exit(work: Callable[[], int]) -> None:
    code = 70
    try:
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    url, name, *rest = [argument for argument in sys.argv[1:] if argument != "--nursery"]
    pause = float(rest[0]) if rest else 0.0

    def work() -> int:
        """What this process is for."""
        return run_worker(
            resolve(url), name, run=lambda claim, params, on_step: quadratic(claim, params, on_step, seconds=pause)
        )

    if "--nursery" in sys.argv:
        for late in LATE_IMPORTS:
            importlib.import_module(late)
        # Optuna imports its tables when it opens a storage; this one is in memory, and gone at once.
        optuna.storages.RDBStorage("sqlite:///:memory:").remove_session()
        nursery(work)
    else:
        sys.exit(work())
