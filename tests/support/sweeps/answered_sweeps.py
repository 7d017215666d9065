"""Finished sweeps whose every number was planted, over seeds or over searches, for what is said about them.

Imports no pytest.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy

from storage.tables import TaskRecord
from storage.url import resolve
from sweeps.distill.session import Outcome
from sweeps.findings.findings import Findings
from sweeps.spec.model import Spec, override
from sweeps.usecases.create import create_sweep
from sweeps.workers.worker import Worker
from tests.support.sweeps.planted_sweeps import NATIVE, PLANTED, SPREAD, Points, Runner, analysed, planted, work
from tests.support.sweeps.trials_in_memory import made_once

# One search on each dataset, four seeds, three looks of which the first is at 3 %: t[.97, 3] = 2.951, so with a
# standard deviation of 1 the one-sided bounds are mean -+ 1.48, and the 95 % intervals mean -+ 1.59.
OVER_SEEDS = override(
    PLANTED,
    {
        "search.trials": 2,
        "confirm.top": 1,
        "confirm.seeds": 1,
        "transfer.looks": 3,
        "transfer.source_arms": ["best", "scratch", "default-keras"],
        "transfer.target_arms": ["best", "scratch", "native", "random", "default-keras"],
    },
)
# Two searches more, each as small as one can be, with two seeds.
OVER_SEARCHES = override(
    OVER_SEEDS, {"outer.searches": 3, "outer.trials": 2, "outer.rounds": [[1, 1]], "outer.seeds": 2}
)
HALF = 3.182446 / 2  # of a 95 % interval of four differences with standard deviation 1: t[.975, 3] / sqrt(4)


def accuracies(
    regret: float | Sequence[float] = 0.5, *, gain: float = 5.0, untuned: float = 4.0, source: float = 5.0
) -> dict[str, Points]:
    """Test accuracies in points of every arm, by the beginning of a task's key or by arm.

    Args:
        regret: native - best on the target, or that of each search; its standard deviation over seeds is 1.
        gain: best - scratch on the target, with the same standard deviation.
        untuned: best - default-keras there, likewise.
        source: best - scratch on the source, likewise.
    """
    first, *further = [regret] if isinstance(regret, float) else regret
    planted_arms: dict[str, Points] = {
        "transfer#source.best": _lower(0.0, noise=1.0),
        "transfer#source.scratch": _lower(source),
        "transfer#source.default-keras": _lower(source),
        "transfer#target.default-keras": _lower(first + untuned),
        "transfer#target.random": _lower(first + gain),
    }
    for number, one in enumerate([first, *further]):
        key = f"transfer@t0s{number}" if number else "transfer"
        planted_arms |= {
            f"{key}#target.native": NATIVE,
            f"{key}#target.best": _lower(one, noise=1.0),
            f"{key}#target.scratch": _lower(one + gain),
        }
    return planted_arms


def _lower(points: float, *, noise: float = 0.0) -> list[float]:
    return [native - points - noise * spread for native, spread in zip(NATIVE, SPREAD, strict=True)]


def answered(folder: Path, planned: Mapping[str, Points], spec: Spec = OVER_SEEDS) -> sqlalchemy.URL:
    """A finished sweep "s" with those test accuracies; what comes before transfer is made once for each spec."""
    url = begun(folder, spec)
    work(url, planted(planned))
    return url


def found(folder: Path, planned: Mapping[str, Points], spec: Spec = OVER_SEEDS) -> Findings:
    """What such a sweep says."""
    return analysed(answered(folder, planned, spec))


def begun(folder: Path, spec: Spec = OVER_SEEDS) -> sqlalchemy.URL:
    """A sweep "s" that is done but for transfer and what comes after it."""
    path = folder / "s.db"
    made_once(("begun", spec.model_dump_json()), path, lambda at: _begin(resolve(f"sqlite:///{at}"), spec))
    return resolve(f"sqlite:///{path}")


def _begin(url: sqlalchemy.URL, spec: Spec) -> None:
    assert create_sweep(url, "s", spec).new
    work_until(url)


def work_until(url: sqlalchemy.URL, run: Runner | None = None, *, key: str = "transfer") -> None:
    """Work on the sweep "s" up to the first task whose key begins so, which is given back."""
    stop, runner = threading.Event(), run or planted({})

    def until(claim: TaskRecord, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key.startswith(key):
            stop.set()
            on_step()
        return runner(claim, params, on_step)

    with Worker(url, "s", run=until, stop=stop) as worker:
        worker.work()
