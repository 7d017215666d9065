"""Train finished tasks again and compare the results bit by bit."""

import contextlib
import os
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy

from storage.records.queries import task_records
from storage.tables import SweepRecord
from sweeps.errors import SweepError
from sweeps.extensions import require, trainer_extra
from sweeps.hints import local
from sweeps.plan.jobs import AnyJob, StudentOutcome, TeacherOutcome, read_job
from sweeps.plan.phases import STAGES
from sweeps.spec.stored import trainer_of
from sweeps.trainers.protocol import Steps
from sweeps.workers import backend, environment
from sweeps.workers.runner import Outcome, TaskRunner

# Results that depend on seeds alone: baselines have a time limit, and measure measures time.
REPLAYABLE_STAGES = tuple(name for name, stage in STAGES.items() if stage.kind in ("prepare", "train"))


@dataclass(frozen=True)
class Replay:
    """A task trained again. differs: differences as "name: stored, now". numerics: stored, and of this process."""

    key: str
    score: float
    differs: tuple[str, ...]
    numerics: tuple[str, str]


def chosen(engine: sqlalchemy.Engine, sweep: SweepRecord, *, key: str | None, sample: int) -> list[AnyJob]:
    """Return the task of that key, or a random sample of finished ones, in plan order; SweepError if there is none."""
    require(trainer_extra(trainer_of(sweep)), "replay")
    tasks = task_records(engine, sweep.id)
    done = [task for task in tasks if task.state == "done" and task.stage in REPLAYABLE_STAGES]
    if key is not None:
        named = [task for task in tasks if task.key == key]
        if not named:
            listed = local().line("trials", sweep.name)
            raise SweepError(f"--task: got {key!r}; {sweep.name} has no such task; list them: {listed}")
        if named[0] not in done:
            why = f"is {named[0].state}" if named[0].state != "done" else f"belongs to stage {named[0].stage}"
            only = f"only finished tasks of {', '.join(REPLAYABLE_STAGES)} can be replayed"
            raise SweepError(f"--task: {key} {why}; {only}")
        return [read_job(named[0])]
    if not done:
        raise SweepError(
            f"no training of {sweep.name} has finished yet; start workers: {local().line('launch', sweep.name)}"
        )
    drawn = random.sample(done, min(sample, len(done)))
    return [read_job(task) for task in done if task in drawn]


def replay(engine: sqlalchemy.Engine, sweep: SweepRecord, jobs: Sequence[AnyJob]) -> Iterator[Replay]:
    """Train each of the `chosen` tasks again and yield the comparisons. Writes nothing.

    Raise SweepError if the data here differ from the sweep's.
    """
    environment.one_thread()  # as in workers: the number of threads can change the last bits
    runner = TaskRunner(backend.DatabaseBackend(engine, sweep), read_only=True)
    runner.check()
    with _without_noise():
        for job in jobs:
            yield _compared(job, runner(job, job.row.params or {}, Steps()))


@contextlib.contextmanager
def _without_noise() -> Iterator[None]:
    sys.stderr.flush()  # TensorFlow writes pages to the file descriptor, whatever its log level
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _compared(before: AnyJob, now: Outcome) -> Replay:
    old, new = before.outcome, now.values
    assert isinstance(old, TeacherOutcome | StudentOutcome)
    assert isinstance(new, TeacherOutcome | StudentOutcome)
    curve, whole = old.epoch_val_accuracy, new.epoch_val_accuracy
    pairs: dict[str, tuple[object, object]] = {
        "score": (before.score, now.score),
        # An attempt that resumed from a checkpoint stored only the end of its curve.
        "epoch_val_accuracy": (curve, whole[max(len(whole) - len(curve), 0) :]),
    }
    if isinstance(old, StudentOutcome) and isinstance(new, StudentOutcome):
        pairs["test_accuracy"] = old.test_accuracy, new.test_accuracy
        pairs["epochs"] = old.epochs, new.epochs
    if isinstance(old, TeacherOutcome):  # a .keras file contains its creation time; its logits do not
        pairs["logits"] = old.blobs.get("logits"), new.blobs.get("logits")
    differs = tuple(
        f"{name}: {stored}, now {current}" for name, (stored, current) in pairs.items() if stored != current
    )
    return Replay(before.key, before.score, differs, (old.numerics, new.numerics))
