"""Databases and sweeps for the benches of the queue and of the reading commands, without training.

Fresh databases of both kinds, with copies, so that measurements start from the same state. The real task runner, with
an invented result for every training. And a sweep of thousands of tasks, nearly finished, written directly into the
tables.
"""

import contextlib
import random
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from sqlalchemy import URL, Engine, bindparam, insert, make_url, select, update

from kd.config import LOSS_FORMULA, TrainResult
from storage import tables
from storage.db.engine import open_engine
from storage.db.transaction import write
from storage.queue.phases import close_if_over
from storage.records import queries
from storage.studies.space import study_name
from storage.tables import PhaseRecord, SweepRecord, TaskRecord
from sweeps.distill import presets, session
from sweeps.plan import jobs, points
from sweeps.spec.model import Spec, override
from sweeps.trainers.protocol import Progress, Run, Steps, Trained
from sweeps.usecases.create import create_sweep
from sweeps.workers import attempt, backend, runner
from tests.support.postgres_server import running_server

KINDS = ("sqlite", "postgres")
EPOCHS = 3
# The digits are on every machine. Long leases: no worker is killed here, and renewals would disturb the timing.
SPEC = override(
    presets.preset("tiny"),
    {"lease.interval_s": 60, "lease.grace_s": 240}
    | {f"{role}.{key}": EPOCHS for role in ("source", "target") for key in ("epochs", "teacher_epochs")},
)
WORKERS = 8  # names of workers in the rows
UNFINISHED = 0.01  # share of the tasks: the last of transfer on the target, and those after it
CONFIRM = {"confirm.top": 2, "confirm.seeds": 4}
_TASK_S = 4.0
_BEGAN = 1_750_000_000.0  # seconds since 1970


@dataclass(frozen=True)
class Database:
    """One kind of database. new: returns the URL of an empty one. fill: copies one without connections into it."""

    name: str
    new: Callable[[], str]
    fill: Callable[[str, str], object]

    def copy(self, url: str) -> str:
        copy = self.new()
        self.fill(url, copy)
        return copy


@contextlib.contextmanager
def opened(kind: str) -> Iterator[Database]:
    """Open a server or folder of a kind in KINDS, removed at the end."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="kd-sweeps-bench-") as folder:
            numbers = count()
            yield Database(
                "SQLite",
                new=lambda: f"sqlite:///{folder}/{next(numbers)}.db",
                fill=lambda url, copy: shutil.copy(*(path.removeprefix("sqlite:///") for path in (url, copy))),
            )
        return
    warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")  # platformdirs, asked by the Postgres wheel
    with running_server() as server:

        def fill(url: str, copy: str) -> None:
            ours, theirs = make_url(copy).database, make_url(url).database
            with server.admin() as connection:
                connection.execute(f"DROP DATABASE {ours}")
                connection.execute(f"CREATE DATABASE {ours} TEMPLATE {theirs} OWNER {make_url(url).username}")

        yield Database("Postgres", server.new_database, fill)


class InstantRunner(runner.TaskRunner):
    """Takes no time for training; what is stored has the same keys."""

    def __init__(self, results: backend.Results) -> None:
        super().__init__(results)
        self.trainer = _Instant(session.KdTrainer(self.spec, self))


class _Instant:
    def __init__(self, real: session.KdTrainer) -> None:
        self._real = real

    def check(self) -> None:
        self._real.check()

    def train(self, run: Run, progress: Progress) -> Trained:
        result = student(run)
        facts = {"loss": LOSS_FORMULA}
        return session.trained(result, self._real.dataset(run.role), facts=facts, detail=self._real.spec.source.student)

    def test(self, run: Run, progress: Progress) -> float:
        return student(run).val_accuracy


def student(run: Run) -> TrainResult:
    """Return accuracies from a smooth hill with its top at T=4, alpha=0.3."""
    params = {} if run.point is None else run.point.as_dict()
    score = accuracy(params.get("temperature", 4.0), params.get("alpha", 0.3))
    epochs = tuple(score * (epoch + 1) / EPOCHS for epoch in range(EPOCHS))
    return TrainResult(
        val_accuracy=epochs[-1],
        epoch_val_accuracy=epochs,
        parameters=20_490,
        train_s=_TASK_S,
        cpu_s=_TASK_S,
    )


def accuracy(temperature: float, alpha: float) -> float:
    """Return the height of that hill, 0.1 to 0.9 over the search space."""
    return 0.9 - (temperature - 4) ** 2 / 1000 - (alpha - 0.3) ** 2


def search_of(finished: int) -> Spec:
    """Return a spec whose search has `finished` planned points and as many from TPE."""
    return override(SPEC, {"search.trials": 2 * finished})


def spec_of(tasks: int) -> Spec:
    """Return a spec with about that many tasks, half in the two searches, nearly all others in transfer."""
    trials = tasks // 4
    others = 2 * trials + 2 * CONFIRM["confirm.top"] * CONFIRM["confirm.seeds"] + 4  # teachers, baseline, measure
    arms = len(SPEC.transfer.source_arms) + len(SPEC.transfer.target_arms)
    return override(SPEC, CONFIRM | {"search.trials": trials, "transfer.seeds": max(1, (tasks - others) // arms)})


def write_finished(url: URL, name: str, *, tasks: int) -> Counter[str]:
    """Create a sweep and finish all but the last hundredth. Returns the number of tasks by state."""

    def chosen(phase: PhaseRecord, records: list[TaskRecord]) -> list[TaskRecord]:
        left = max(1, int(UNFINISHED * tasks)) if phase.name == "transfer:target" else 0
        return [] if phase.stage == "measure" else records[: len(records) - left]

    return _write(url, name, spec_of(tasks), chosen)


def write_search(url: URL, name: str, finished: int) -> None:
    """Create a sweep in which that many trials have finished, and none proposed by TPE has begun."""

    def chosen(phase: PhaseRecord, records: list[TaskRecord]) -> list[TaskRecord]:
        return records if phase.stage in ("teachers", "baselines") else records[:finished] * (phase.name == "search")

    _write(url, name, search_of(finished), chosen)


def _write(
    url: URL, name: str, spec: Spec, chosen: Callable[[PhaseRecord, list[TaskRecord]], list[TaskRecord]]
) -> Counter[str]:
    """Create a sweep and finish the chosen tasks of each phase. Returns the number of tasks by state."""
    create_sweep(url, name, spec)
    engine = open_engine(url)
    try:
        sweep = queries.find_sweep(engine, name)
        writer = _Writer(engine, sweep)
        for phase in queries.phase_records(engine, sweep.id):  # in plan order, so that dependencies are closed
            if records := chosen(phase, queries.task_records(engine, sweep.id, phase=phase.name)):
                writer.finish(records)
        return sum((Counter(phase.counts) for phase in queries.phase_records(engine, sweep.id)), Counter())
    finally:
        engine.dispose()


class _Writer:
    """Finishes tasks as a worker would, a phase in one transaction."""

    def __init__(self, engine: Engine, sweep: SweepRecord) -> None:
        results = backend.DatabaseBackend(engine, sweep)
        self._engine, self._name, self._spec = engine, sweep.name, results.spec
        self._run = InstantRunner(results)
        self._random = random.Random(0)
        self._numbers: dict[str, count[int]] = {}  # of the trials, by study
        self._ended = count()

    def finish(self, records: Sequence[TaskRecord]) -> None:
        """Store an outcome and an attempt for each task; close the phase after its last task."""
        rows = [self._row(task) for task in records]
        tasks, attempts = tables.tasks, tables.attempts
        columns: dict[str, Any] = {name: bindparam(name) for name in ("score", "outcome", "started_at", "finished_at")}
        done = update(tasks).where(tasks.c.id == bindparam("task_id")).values(state="done", attempt=1, **columns)
        with write(self._engine) as connection:
            connection.execute(done, rows)
            attempted = [{name: row[name] for name in row if name in attempts.c} for row in rows]
            connection.execute(insert(attempts), attempted)
            phase_id = connection.scalar(select(tasks.c.phase_id).where(tasks.c.id == records[0].id))
            close_if_over(connection, phase_id or 0)

    def _row(self, task: TaskRecord) -> dict[str, Any]:
        job = jobs.read_job(replace(task, attempt=1))
        planned = not isinstance(job.work, jobs.SearchTask) or job.work.sobol is not None
        params = points.resolve_point(self._engine, self._spec, job) if planned else self._proposed()
        outcome = self._run(job, params, Steps())
        number, study = next(self._ended), study_name(self._name, task.stage)
        worker = f"machine-{number % WORKERS}"
        began = _BEGAN + _TASK_S * (number // WORKERS)
        return {
            "task_id": task.id,
            "score": outcome.score,
            "outcome": attempt.as_stored(job, outcome, wall_s=_TASK_S, worker=worker),
            "number": 1,
            "worker": worker,
            "host": "machine",
            "pid": number % WORKERS,
            "state": "done",
            "lease_until": began + 60,
            "started_at": began,
            "finished_at": began + _TASK_S,
            "study": study,
            "trial_number": next(self._numbers.setdefault(study, count())),
            "params": params,
            "reported": True,
        }

    def _proposed(self) -> dict[str, float]:
        """Return a random point in place of a sampler's."""
        (t_low, t_high), (a_low, a_high) = self._spec.search.temperature, self._spec.search.alpha
        return {"temperature": self._random.uniform(t_low, t_high), "alpha": self._random.uniform(a_low, a_high)}
