"""What is stored of a sweep, read in one go: everything that the findings are computed from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy

from storage.records import queries
from storage.records.queries import SweepRecord, TaskRecord
from sweeps.analysis import looks
from sweeps.analysis.looks import Look
from sweeps.analysis.trainings import Training, Tried
from sweeps.plan import selection
from sweeps.plan.outcomes import DoneTask, ResultT, StoredOutcome, StudentOutcome, TaskT, done_task
from sweeps.plan.payloads import ConfirmTask, Payload, SearchTask, TransferTask, payload_of
from sweeps.plan.selection import Confirmed
from sweeps.spec.model import Spec, stored

Done: TypeAlias = DoneTask[Payload, StoredOutcome]


@dataclass(frozen=True, kw_only=True)
class StoredSweep:
    """A sweep with its tasks.

    payloads: of every task, in the order of `tasks`. done: the finished tasks. trainings: the tasks of transfer, of
    every group; searched: those of search and confirm. looks: those that were begun. selections: by name, as stored.
    closed: the names of the closed phases.
    """

    sweep: SweepRecord
    spec: Spec
    tasks: tuple[TaskRecord, ...]
    payloads: tuple[Payload, ...]
    done: tuple[Done, ...]
    trainings: tuple[Training, ...]
    searched: tuple[Tried, ...]
    looks: tuple[Look, ...]
    selections: Mapping[str, Mapping[str, Any]]
    closed: frozenset[str]

    def finished(
        self, task: type[TaskT], outcome: type[ResultT], *, phase: str | None = None
    ) -> list[DoneTask[TaskT, ResultT]]:
        """Return the finished tasks of one kind, all or those of one phase.

        Args:
            task: the kind of payload, such as TransferTask.
            outcome: the kind of outcome that such tasks have, such as StudentOutcome.
        """
        found: list[DoneTask[TaskT, ResultT]] = []
        for done in self.done:
            if phase in (None, done.record.phase):
                payload, result = done.payload, done.outcome
                if isinstance(payload, task) and isinstance(result, outcome):
                    found.append(DoneTask(done.record, payload, result, done.score))
        return found

    def confirmed(self, name: str) -> Confirmed | None:
        """Return a selection such as "confirm.best": as stored, or what it will be where its phase is closed.

        Raises:
            SweepError: the phase is closed without a result.
        """
        if name in self.selections:
            return selection.read_confirmed(name, self.selections[name])
        if selection.phase_of(name) not in self.closed:
            return None
        return selection.best(selection.confirmed_for(name, self.finished(ConfirmTask, StudentOutcome)))


def read(engine: sqlalchemy.Engine, sweep: SweepRecord) -> StoredSweep:
    """Read a sweep.

    Raises:
        storage.errors.RecordBroken: a payload or an outcome is not what such a task has.
    """
    spec = stored(sweep).as_called()
    records = queries.task_records(engine, sweep.id)
    payloads = tuple(map(payload_of, records))
    tasks = list(zip(records, payloads, strict=True))
    done = {record.id: done_task(record, payload) for record, payload in tasks if record.state == "done"}
    begun = looks.looks(queries.revisions(engine, sweep.id), looks.reads(tasks))
    return StoredSweep(
        sweep=sweep,
        spec=spec,
        tasks=tuple(records),
        payloads=payloads,
        done=tuple(done.values()),
        trainings=tuple(
            _training(spec, record, payload, done.get(record.id))
            for record, payload in tasks
            if isinstance(payload, TransferTask)
        ),
        searched=tuple(
            _tried(spec, record, payload, done.get(record.id))
            for record, payload in tasks
            if isinstance(payload, SearchTask | ConfirmTask)
        ),
        looks=tuple(look for look in begun if look.first_read is not None),
        selections=queries.selections(engine, sweep.id),
        closed=frozenset(phase.name for phase in queries.phase_records(engine, sweep.id) if phase.state == "closed"),
    )


def _training(spec: Spec, record: TaskRecord, payload: TransferTask, done: Done | None) -> Training:
    outcome = None if done is None else done.outcome
    return Training(
        role=payload.role,
        dataset=spec.role(payload.role).dataset,
        arm=payload.arm,
        group=payload.group,
        repeat=payload.repeat,
        seed=payload.seed,
        state=record.state,
        reason=record.reason,
        error_class=record.error_class,
        score=None if done is None else done.score,
        outcome=outcome if isinstance(outcome, StudentOutcome) else None,
    )


def _tried(spec: Spec, record: TaskRecord, payload: SearchTask | ConfirmTask, done: Done | None) -> Tried:
    outcome = None if done is None else done.outcome
    return Tried(
        stage="confirm" if isinstance(payload, ConfirmTask) else "search",
        role=payload.role,
        dataset=spec.role(payload.role).dataset,
        group=payload.group,
        repeat=payload.repeat if isinstance(payload, ConfirmTask) else None,
        seed=payload.seed,
        state=record.state,
        error_class=record.error_class,
        outcome=outcome if isinstance(outcome, StudentOutcome) else None,
    )
