"""Store a planned sweep: its row and all its tasks appear in one transaction, or not at all."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select

from storage.db.dialects import database_now
from storage.db.faults import retrying
from storage.db.schema import phases as phase_table
from storage.db.schema import revisions, sweeps
from storage.db.schema import tasks as task_table
from storage.db.transaction import write
from storage.errors import NextStep, SpecConflict
from storage.queue.needs import Lag, Need
from storage.queue.phases import make_ready, open_what_can_start
from storage.url import masked


@dataclass(frozen=True, kw_only=True)
class PhasePlan:
    """A part of a stage that opens and closes together, such as "teachers:mnist".

    Attributes:
        needs: what has to end first.
        minimum: how many done tasks make the phase a success. With fewer it has failed, and phases that need
            it are skipped.
        lag: what its own tasks wait for; None: for nothing.
    """

    name: str
    stage: str
    needs: tuple[Need, ...] = ()
    minimum: int
    lag: Lag | None = None


@dataclass(frozen=True, kw_only=True)
class TaskPlan:
    """One unit of the budget. Of the ready tasks the highest priority is claimed first, then plan order."""

    key: str
    phase: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0


@retrying
def insert_sweep(
    engine: Engine,
    *,
    name: str,
    identity: str,
    spec: Mapping[str, Any],
    fingerprint: str,
    provenance: Mapping[str, Any],
    phases: Sequence[PhasePlan],
    tasks: Sequence[TaskPlan],
) -> bool:
    """Store a sweep. Returns False if it was there already, once with this fingerprint; nothing changed.

    Run it inside `storage.db.engine.create_lock`, after the studies were made: this row is the commit point.

    Raises:
        SpecConflict: a sweep of that name has another fingerprint.
        ValueError: the plan contradicts itself.
    """
    with write(engine) as connection:
        known = connection.scalars(
            select(revisions.c.fingerprint)
            .join(sweeps, sweeps.c.id == revisions.c.sweep_id)
            .where(sweeps.c.name == name)
        ).all()
        if fingerprint in known:
            return False
        if known:
            raise SpecConflict(
                f"a sweep {name!r} with another spec exists in {masked(engine.url)}; choose another name",
                NextStep("to go on with the one that is there, type", "launch", name),
            )
        sweep_id = connection.execute(
            insert(sweeps)
            .values(
                name=name,
                identity=identity,
                revision=1,
                spec=dict(spec),
                fingerprint=fingerprint,
                provenance=dict(provenance),
                state="active",
                created_at=database_now(),
            )
            .returning(sweeps.c.id)
        ).scalar_one()
        add_phases(connection, sweep_id, phases)
        add_revision(connection, sweep_id, number=1, spec=spec, fingerprint=fingerprint, why="created", tasks=tasks)
        open_what_can_start(connection, sweep_id)
    return True


def add_phases(connection: Connection, sweep_id: int, phases: Sequence[PhasePlan]) -> None:
    """Add blocked phases after those that are there.

    Raises:
        ValueError: the plan contradicts itself, or those that are there.
    """
    there = select(phase_table.c.name, phase_table.c.ordinal).where(phase_table.c.sweep_id == sweep_id)
    known = {row.name: row.ordinal for row in connection.execute(there)}
    _check_phases(phases, known)
    if phases:
        connection.execute(
            insert(phase_table),
            [
                {
                    "sweep_id": sweep_id,
                    "name": phase.name,
                    "stage": phase.stage,
                    "needs": [need.stored() for need in phase.needs] + ([phase.lag.stored()] if phase.lag else []),
                    "minimum": phase.minimum,
                    "state": "blocked",
                    "ordinal": ordinal,
                }
                for ordinal, phase in enumerate(phases, start=max(known.values(), default=-1) + 1)
            ],
        )


def add_revision(
    connection: Connection,
    sweep_id: int,
    *,
    number: int,
    spec: Mapping[str, Any],
    fingerprint: str,
    why: str,
    tasks: Sequence[TaskPlan],
) -> None:
    """Add tasks, and the row that says that they were planned. They are ready where their phase is open.

    Raises:
        ValueError: a task is planned twice, or in a phase that does not exist.
    """
    found = connection.execute(select(phase_table).where(phase_table.c.sweep_id == sweep_id)).all()
    phases = {phase.name: phase for phase in found}
    _check_tasks(tasks, phases)
    last = connection.scalar(select(func.max(task_table.c.ordinal)).where(task_table.c.sweep_id == sweep_id))
    if tasks:
        connection.execute(
            insert(task_table),
            [
                {
                    "sweep_id": sweep_id,
                    "phase_id": phases[task.phase].id,
                    "stage": phases[task.phase].stage,
                    "key": task.key,
                    "ordinal": ordinal,
                    "payload": dict(task.payload),
                    "state": "waiting",
                    "ready": False,
                    "priority": task.priority,
                    "attempt": 0,
                    "retries_reset_at": 0,
                    "revision": number,
                }
                for ordinal, task in enumerate(tasks, start=0 if last is None else last + 1)
            ],
        )
    for name in {task.phase for task in tasks}:
        if phases[name].state == "open":
            make_ready(connection, phases[name])
    connection.execute(
        insert(revisions).values(
            sweep_id=sweep_id,
            number=number,
            created_at=database_now(),
            fingerprint=fingerprint,
            spec=dict(spec),
            planned=Counter(task.phase for task in tasks),
            why=why,
        )
    )


def _check_phases(phases: Sequence[PhasePlan], known: Collection[str]) -> None:
    """Check that each need stands before what needs it: then there can be no circle."""
    before = set(known)
    for phase in phases:
        if unknown := [need.phase for need in phase.needs if need.phase not in before]:
            raise ValueError(f"phase {phase.name!r} needs {unknown[0]!r}, which is no earlier phase")
        if phase.name in before:
            raise ValueError(f"phase {phase.name!r} is planned twice")
        before.add(phase.name)


def _check_tasks(tasks: Sequence[TaskPlan], phases: Collection[str]) -> None:
    for task in tasks:
        if task.phase not in phases:
            raise ValueError(f"task {task.key!r} is planned in phase {task.phase!r}, which does not exist")
    if twice := [key for key, number in Counter(task.key for task in tasks).items() if number > 1]:
        raise ValueError(f"task {twice[0]!r} is planned twice")
