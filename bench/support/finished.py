"""A sweep of thousands of tasks, finished but for the last of them: written straight into our tables, without workers.

The plan, the points and every outcome are of the real shape. Only the trials that Optuna would hold are missing: no
reading command looks at those.
"""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any

from sqlalchemy import URL, Engine, bindparam, insert, update

from storage.db import schema
from storage.db.engine import open_engine
from storage.db.transaction import write
from storage.queue.phases import close_if_over
from storage.queue.tasks import Claim
from storage.records import queries
from storage.records.queries import TaskRecord
from storage.studies.names import study_name
from support.instant import SPEC, InstantRunner
from sweeps.plan.points import resolve_point
from sweeps.service.create import create_sweep
from sweeps.spec.model import Spec, override
from sweeps.workers.attempt import as_stored
from sweeps.workers.steps import Steps

WORKERS = 8  # said to have done it
UNFINISHED = 0.01  # of the tasks: the last of transfer on the target, and what comes after it
CONFIRM = {"confirm.top": 2, "confirm.seeds": 4}
_TASK_S = 4.0
_BEGAN = 1_750_000_000.0  # seconds since 1970


def spec_of(tasks: int) -> Spec:
    """A spec with about that many tasks: half of them in the two searches, nearly all others in transfer."""
    trials = tasks // 4
    others = 2 * trials + 2 * CONFIRM["confirm.top"] * CONFIRM["confirm.seeds"] + 4  # teachers, baseline, measure
    arms = len(SPEC.transfer.source_arms) + len(SPEC.transfer.target_arms)
    return override(SPEC, CONFIRM | {"search.trials": trials, "transfer.seeds": max(1, (tasks - others) // arms)})


def write_finished(url: URL, name: str, *, tasks: int) -> Counter[str]:
    """Make the sweep and finish it but for the last hundredth. Returns how many tasks are in each state."""
    spec = spec_of(tasks)
    create_sweep(url, name, spec)
    engine = open_engine(url)
    try:
        sweep = queries.find_sweep(engine, name)
        writer = _Writer(engine, sweep.id, name, spec)
        for phase in queries.phase_records(engine, sweep.id):  # in plan order: each finds what it needs closed
            found = queries.task_records(engine, sweep.id, phase=phase.name)
            if phase.name == "transfer:target":
                found = found[: len(found) - max(1, int(UNFINISHED * tasks))]
            if phase.stage != "measure":
                writer.finish(found)
        return sum((Counter(phase.counts) for phase in queries.phase_records(engine, sweep.id)), Counter())
    finally:
        engine.dispose()


class _Writer:
    """Finishes tasks as a worker would have, a phase in one transaction."""

    def __init__(self, engine: Engine, sweep_id: int, name: str, spec: Spec) -> None:
        self._engine, self._sweep_id, self._name, self._spec = engine, sweep_id, name, spec
        self._run = InstantRunner(engine, sweep_id, spec)
        self._random = random.Random(0)
        self._numbers: dict[str, count[int]] = {}  # of the trials, by study
        self._ended = count()

    def finish(self, found: Sequence[TaskRecord]) -> None:
        """Give every task its outcome and the attempt that made it; close their phase if none is left."""
        rows = [self._row(task) for task in found]
        tasks, attempts = schema.tasks, schema.attempts
        told: dict[str, Any] = {name: bindparam(name) for name in ("score", "outcome", "started_at", "finished_at")}
        done = update(tasks).where(tasks.c.id == bindparam("task_id")).values(state="done", attempt=1, **told)
        with write(self._engine) as connection:
            connection.execute(done, rows)
            connection.execute(
                insert(attempts), [{name: row[name] for name in row if name in attempts.c} for row in rows]
            )
            phase_id = connection.scalar(
                tasks.select().with_only_columns(tasks.c.phase_id).where(tasks.c.id == found[0].id)
            )
            close_if_over(connection, phase_id or 0)

    def _row(self, task: TaskRecord) -> dict[str, Any]:
        """The columns of a task and of its attempt."""
        claim = Claim(
            sweep_id=self._sweep_id,
            task_id=task.id,
            key=task.key,
            stage=task.stage,
            phase=task.phase,
            payload=task.payload,
            attempt=1,
            params=None,
            retry_of=None,
        )
        given = resolve_point(self._engine, self._spec, claim)
        params = self._proposed() if given is None else given
        outcome = self._run(claim, params, Steps())
        number, study = next(self._ended), study_name(self._name, task.stage)
        worker = f"machine-{number % WORKERS}"
        began = _BEGAN + _TASK_S * (number // WORKERS)
        return {
            "task_id": task.id,
            "score": outcome.score,
            "outcome": as_stored(claim, outcome, wall_s=_TASK_S, worker=worker),
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
        """Any point, where a sampler would have been asked."""
        (t_low, t_high), (a_low, a_high) = self._spec.search.temperature, self._spec.search.alpha
        return {"temperature": self._random.uniform(t_low, t_high), "alpha": self._random.uniform(a_low, a_high)}
