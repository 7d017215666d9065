"""Times the steps of a real worker and the sampler within them, Optuna's own loop, and a mirror.

The clock is read at the worker's failpoints, which are between its steps; worker and storage are otherwise unchanged.
"""

import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import create_trial
from sqlalchemy import event

from storage.studies import sampler
from storage.url import resolve
from support.sweeps import InstantRunner, accuracy
from sweeps.plan import trials
from sweeps.plan.jobs import AnyJob
from sweeps.query.listing import open_sweep
from sweeps.trainers.protocol import Steps
from sweeps.workers import attempt
from sweeps.workers import backend as queue
from sweeps.workers import worker as workers
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.runner import Outcome

STEPS = ("claim", "start", "finish")
_ENDS = dict(zip(("claimed", "saved", "finished"), STEPS, strict=True))  # by failpoint

# Children of a fork server have all imports and no connection yet: 24 of them start within seconds.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["__main__", "support.steps", "sklearn.datasets", "psycopg"])
_start: Any = None  # the barrier of this process's crew


@dataclass
class Timings:
    """The times of one worker in milliseconds; `began` and `ended`: seconds of the monotonic clock.

    Attributes:
        trials: by step, for each trial except the first.
        cpu: of this process, for each of these trials.
        sampler: within `start`, spent in the sampler.
        start: until its first claim.
    """

    trials: list[dict[str, float]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    sampler: list[float] = field(default_factory=list)
    start: float = 0.0
    began: float = 0.0
    ended: float = 0.0


def run_crew(url: str, name: str, *, workers: int, tasks: int) -> list[Timings]:
    """Run `workers` processes with `tasks` tasks each, after a first one; they start together after that."""
    barrier = _CONTEXT.Barrier(workers)
    with ProcessPoolExecutor(workers, _CONTEXT, initializer=_enter, initargs=(barrier,)) as pool:
        futures = [pool.submit(work, url, name, tasks) for _ in range(workers)]
        return [future.result() for future in futures]


def _enter(barrier: Any) -> None:
    global _start
    _start = barrier


def work(url: str, name: str, tasks: int) -> Timings:
    """Run `tasks` tasks of a sweep after a first one, at which all workers wait for each other."""
    timings, stop, done = Timings(), threading.Event(), 0

    def run(job: AnyJob, params: dict[str, Any], steps: Steps) -> Outcome:
        nonlocal done
        if done == 0:
            _start.wait(timeout=120)
        done += 1
        if done > tasks:
            stop.set()
        return instant(job, params, steps)

    backend = DatabaseBackend.open(resolve(url), name)
    with workers.Worker(backend, run=run, stop=stop, calls=_sleep) as worker:
        instant = InstantRunner(backend)
        instant.check()
        clock = _Clock()
        sampler.propose = clock.timed(sampler.propose)
        workers.failpoint = attempt.failpoint = queue.failpoint = clock
        worker.work()
    first, *timings.trials = clock.trials
    timings.cpu, timings.sampler = clock.cpu[1:], clock.sampler[1:]
    timings.start, timings.began, timings.ended = first["claim"], clock.ends[0], clock.ends[-1]
    return timings


def _sleep(seconds: float) -> bool:
    """Wait without notifications, as a worker of a launch does: it keeps no connection for listening."""
    time.sleep(seconds)
    return False


class _Clock:
    """Replaces `failpoint`: records the end of each step, without the run of the task."""

    def __init__(self) -> None:
        self.trials: list[dict[str, float]] = []
        self.cpu: list[float] = []
        self.sampler: list[float] = []
        self.ends: list[float] = []
        self._trial: dict[str, float] = {}
        self._cpu = self._sampler = 0.0
        self._last = time.monotonic(), time.process_time()

    def __call__(self, point: str) -> None:
        now, cpu = time.monotonic(), time.process_time()
        if point in _ENDS:
            self._trial[_ENDS[point]] = 1000 * (now - self._last[0])
            self._cpu += 1000 * (cpu - self._last[1])
        if point == "finished":
            self.trials.append(self._trial)
            self.cpu.append(self._cpu)
            self.sampler.append(self._sampler)
            self.ends.append(now)
            self._trial, self._cpu, self._sampler = {}, 0.0, 0.0
        self._last = now, cpu

    def timed(self, propose: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        """Return the sampler's function with its time added to that of the trial."""

        def timed(*args: Any, **kwargs: Any) -> dict[str, Any]:
            began = time.monotonic()
            try:
                return propose(*args, **kwargs)
            finally:
                self._sampler += 1000 * (time.monotonic() - began)

        return timed


@dataclass(frozen=True)
class Drawn:
    """The time of a mirror for all finished attempts, seconds. cpu: of this process."""

    attempts: int
    seconds: float
    cpu: float


def draw(url: str, name: str) -> Drawn:
    """Draw all finished attempts, as at the end of a launch."""
    with open_sweep(resolve(url), name, write=True) as (engine, sweep):
        began, cpu = time.monotonic(), time.process_time()
        attempts = trials.complete(engine, sweep)
        return Drawn(attempts, time.monotonic() - began, time.process_time() - cpu)


def optimize(url: str, finished: int, tasks: int, numbers: Sequence[int]) -> dict[int, list[float]]:
    """Time Optuna's own `study.optimize` with TPE on a study of `finished` trials; return milliseconds per trial.

    numbers: attributes of each trial, set one by one; the keys of the result.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = RDBStorage(url)
    study = optuna.create_study(storage=storage, direction="maximize", sampler=TPESampler(seed=0, multivariate=True))
    space = {"temperature": FloatDistribution(1.0, 20.0, log=True), "alpha": FloatDistribution(0.0, 1.0)}
    for number in range(finished):
        point = {"temperature": 1.0 + 19.0 * (number + 0.5) / finished, "alpha": (number * 0.618) % 1}
        study.add_trial(create_trial(params=point, distributions=space, value=accuracy(**point)))
    took = {}
    for attributes in numbers:
        ends = [time.monotonic()]

        def objective(trial: optuna.Trial, attributes: int = attributes) -> float:
            temperature = trial.suggest_float("temperature", 1.0, 20.0, log=True)
            alpha = trial.suggest_float("alpha", 0.0, 1.0)
            for attribute in range(attributes):
                trial.set_user_attr(f"attribute {attribute}", attribute)
            return accuracy(temperature, alpha)

        def note(*_: object, ends: list[float] = ends) -> None:
            ends.append(time.monotonic())

        study.optimize(objective, n_trials=tasks, callbacks=[note])
        took[attributes] = [1000 * (end - begin) for begin, end in pairwise(ends)]
    storage.remove_session()
    storage.engine.dispose()
    return took


def idle_statements(url: str, name: str, *, seconds: float) -> float:
    """Count the statements per minute of a worker that waits, on a paused sweep."""
    counted = 0

    def count(*_: object) -> None:
        nonlocal counted
        counted += 1

    stop = threading.Event()
    backend = DatabaseBackend.open(resolve(url), name)
    with workers.Worker(backend, run=_nothing, stop=stop) as idle:
        ender = threading.Timer(seconds + 5, stop.set)
        threading.Timer(5, lambda: event.listen(backend.engine, "before_cursor_execute", count)).start()
        ender.start()
        idle.work()
    return counted * 60 / seconds


def _nothing(job: AnyJob, params: dict[str, Any], steps: Steps) -> Outcome:
    raise AssertionError("there is nothing to claim")
