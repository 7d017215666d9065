"""Store a plan, add to it, retry: one transaction each.

Locks are taken in the order phase, sweep, as everywhere: an extension either comes before the end of a phase's last
task, and keeps the phase open, or finds it closed. (The tasks locked here have ended; no process holds one of them and
waits for its phase.)
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Row, Text, func, insert, select, type_coerce, update

from storage import tables
from storage.db.transaction import database_now, outcome_is_readable, retry_transient, write
from storage.errors import NextStep, RevisionRefused, SpecConflict
from storage.queue.notify import notify
from storage.queue.phases import Dependency, StartLag, make_ready, open_what_can_start, root_reason
from storage.tables import PHASE_ENDED, UNREADABLE, attempts, phases, revisions, sweeps, tasks
from storage.url import masked


@dataclass(frozen=True, kw_only=True)
class PhasePlan:
    """A part of a stage that opens and closes together, such as "teachers:mnist".

    needs: phases that must end first. minimum: with fewer done tasks the phase fails, and phases that need it are
    skipped. lag: the order within the phase.
    """

    name: str
    stage: str
    needs: tuple[Dependency, ...] = ()
    minimum: int
    lag: StartLag | None = None

    def stored_needs(self) -> list[str]:
        return [need.stored() for need in self.needs] + ([self.lag.stored()] if self.lag else [])


@dataclass(frozen=True, kw_only=True)
class TaskPlan:
    """One unit of the budget. Of the ready tasks the highest priority is claimed first, then plan order."""

    key: str
    phase: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0


@retry_transient()
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
    """Store a sweep; False if it exists with this fingerprint in one of its revisions, and nothing changed.

    Run it inside `storage.db.engine.create_lock`, after creating the studies: this row is the commit point.
    SpecConflict: a sweep of that name has another fingerprint. ValueError: the plan is inconsistent.
    """
    with write(engine) as connection:
        of_name = select(revisions.c.fingerprint).join(sweeps, sweeps.c.id == revisions.c.sweep_id)
        known = connection.scalars(of_name.where(sweeps.c.name == name)).all()
        if fingerprint in known:
            return False
        if known:
            raise SpecConflict(
                f"a sweep {name!r} with another spec exists in {masked(engine.url)}; choose another name",
                NextStep("to resume the existing one, type", "launch", name),
            )
        new = {"name": name, "identity": identity, "revision": 1, "state": "active", "created_at": database_now()}
        stored = {"spec": dict(spec), "fingerprint": fingerprint, "provenance": dict(provenance)}
        sweep_id = connection.execute(insert(sweeps).values(new | stored).returning(sweeps.c.id)).scalar_one()
        add_phases(connection, sweep_id, phases)
        add_revision(connection, sweep_id, number=1, spec=spec, fingerprint=fingerprint, why="created", tasks=tasks)
        open_what_can_start(connection, sweep_id)
    return True


def add_phases(connection: Connection, sweep_id: int, phases: Sequence[PhasePlan]) -> None:
    """Add blocked phases after the existing ones; ValueError if the plan is inconsistent."""
    query = select(tables.phases.c.name, tables.phases.c.ordinal).where(tables.phases.c.sweep_id == sweep_id)
    known = {row.name: row.ordinal for row in connection.execute(query)}
    _check_phases(phases, known)
    rows = [
        {
            "sweep_id": sweep_id,
            "name": phase.name,
            "stage": phase.stage,
            "needs": phase.stored_needs(),
            "minimum": phase.minimum,
            "state": "blocked",
            "ordinal": ordinal,
        }
        for ordinal, phase in enumerate(phases, start=max(known.values(), default=-1) + 1)
    ]
    if rows:
        connection.execute(insert(tables.phases), rows)


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
    """Add tasks, ready if their phase is open, and the revision that plans them.

    ValueError: a task is planned twice, or in a phase that does not exist.
    """
    of_sweep = select(tables.phases).where(tables.phases.c.sweep_id == sweep_id)
    phases = {phase.name: phase for phase in connection.execute(of_sweep)}
    _check_tasks(tasks, phases)
    last = connection.scalar(select(func.max(tables.tasks.c.ordinal)).where(tables.tasks.c.sweep_id == sweep_id))
    new = {"sweep_id": sweep_id, "revision": number, "state": "waiting", "ready": False}
    rows = [
        new
        | {
            "phase_id": phases[task.phase].id,
            "stage": phases[task.phase].stage,
            "key": task.key,
            "ordinal": ordinal,
            "payload": dict(task.payload),
            "priority": task.priority,
            "attempt": 0,
            "retries_reset_at": 0,
        }
        for ordinal, task in enumerate(tasks, start=0 if last is None else last + 1)
    ]
    if rows:
        connection.execute(insert(tables.tasks), rows)
    for name in {task.phase for task in tasks}:
        if phases[name].state == "open":
            make_ready(connection, phases[name])
    plan = {"spec": dict(spec), "fingerprint": fingerprint, "planned": Counter(task.phase for task in tasks)}
    row = {"sweep_id": sweep_id, "number": number, "created_at": database_now(), "why": why}
    connection.execute(insert(revisions).values(row | plan))


def _check_phases(phases: Sequence[PhasePlan], known: Collection[str]) -> None:
    """Check that each need comes before its dependent, so there is no cycle."""
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
    if repeated := [key for key, number in Counter(task.key for task in tasks).items() if number > 1]:
        raise ValueError(f"task {repeated[0]!r} is planned twice")


def extend(
    engine: Engine,
    sweep_id: int,
    *,
    revision: int,
    spec: Mapping[str, Any],
    fingerprint: str,
    why: str,
    tasks: Sequence[TaskPlan],
    phases: Sequence[PhasePlan] = (),
    while_open: Collection[str] = (),
) -> None:
    """Add tasks to a sweep, and replace its spec by `spec`. A closed phase opens again.

    revision: the one the tasks were planned on. phases: new ones, appended. while_open: phases that accept tasks only
    until they close, since a selection is made then. RevisionRefused: another revision came in between; the sweep is
    cancelled; a phase accepts no more tasks. ValueError: the plan is inconsistent.
    """
    number, touched, tries = revision + 1, {task.phase for task in tasks}, 0

    @retry_transient()
    def change() -> None:
        nonlocal tries
        tries += 1
        with write(engine) as connection:
            locked = _locked_phases(connection, sweep_id)
            if tries > 1 and _is_revision(connection, sweep_id, number, fingerprint):
                return  # the connection broke after the commit
            sweep = _lock_sweep(connection, sweep_id, revision)
            for phase in locked:
                if phase.name in touched:
                    _take_more(connection, phase, sweep.name, while_open)
            add_phases(connection, sweep_id, phases)
            add_revision(connection, sweep_id, number=number, spec=spec, fingerprint=fingerprint, why=why, tasks=tasks)
            if phases:
                open_what_can_start(connection, sweep_id)
            values = {"revision": number, "spec": dict(spec), "fingerprint": fingerprint}
            connection.execute(update(sweeps).where(sweeps.c.id == sweep_id).values(**values))
            notify(connection, sweep_id)

    change()


@retry_transient()
def retry(
    engine: Engine, sweep_id: int, *, revision: int, then: Sequence[TaskPlan] = (), leave: Collection[str] = ()
) -> list[str]:
    """Queue failed and skipped tasks again, and reset their retry counters; return their keys, oldest first.

    A done task counts as failed if its outcome, or a blob of it, is unreadable. then: tasks to add if any task is
    retried, since they depend on it. leave: keys of failed tasks that would fail again. RevisionRefused: another
    revision came in between, or the sweep is cancelled.
    """
    with write(engine) as connection:
        # The phases first: from here on none can fail and skip further tasks.
        locked = _locked_phases(connection, sweep_id)
        failed = [task for task in _to_retry(connection, sweep_id) if task.key not in leave]
        if not failed:
            return []
        reopened = {task.phase_id for task in failed}
        more = {task.phase for task in then}
        # Blocked, not open: the needs of a phase may be retried as well.
        for phase in locked:
            if phase.state in PHASE_ENDED and (phase.state != "closed" or phase.id in reopened or phase.name in more):
                _reopen(connection, phase.id, "blocked")
                connection.execute(update(tasks).where(tasks.c.phase_id == phase.id).values(ready=False))
        sweep = _lock_sweep(connection, sweep_id, revision)
        connection.execute(update(phases).where(phases.c.id.in_(reopened)).values(retries=phases.c.retries + 1))
        for task in failed:
            _reset(connection, task)
        if then:
            add_revision(
                connection,
                sweep_id,
                number=revision + 1,
                spec=sweep.spec,
                fingerprint=sweep.fingerprint,
                why=f"{len(failed)} tasks tried again",
                tasks=then,
            )
            connection.execute(update(sweeps).where(sweeps.c.id == sweep_id).values(revision=revision + 1))
        open_what_can_start(connection, sweep_id)
        notify(connection, sweep_id)
        return [task.key for task in failed]


def _take_more(connection: Connection, phase: Row[Any], sweep: str, while_open: Collection[str]) -> None:
    if phase.state in ("failed", "skipped"):
        how = "failed" if phase.state == "failed" else "was skipped"
        raise RevisionRefused(
            f"{phase.name} {how} ({root_reason(phase.reason)})", NextStep("first type", "retry", sweep)
        )
    if phase.state != "closed":
        return
    if phase.name in while_open:
        raise RevisionRefused(
            f"{phase.name} of {sweep} has closed, and its result is in use; to add more, create a new sweep"
        )
    _reopen(connection, phase.id, "open")


def _is_revision(connection: Connection, sweep_id: int, number: int, fingerprint: str) -> bool:
    query = select(revisions.c.fingerprint).where(revisions.c.sweep_id == sweep_id, revisions.c.number == number)
    return connection.scalar(query) == fingerprint


def _to_retry(connection: Connection, sweep_id: int) -> list[Row[Any]]:
    text = type_coerce(tasks.c.outcome, Text)
    query = (
        select(tasks.c.id, tasks.c.key, tasks.c.phase_id, tasks.c.state, tasks.c.attempt, text.label("outcome"))
        .where(tasks.c.sweep_id == sweep_id, tasks.c.state.in_(("failed", "skipped", "done")))
        .order_by(tasks.c.id)
        .with_for_update(key_share=True)
    )
    rows = connection.execute(query).all()
    return [task for task in rows if task.state != "done" or not outcome_is_readable(connection, task.outcome)]


def _reset(connection: Connection, task: Row[Any]) -> None:
    empty = dict.fromkeys(("score", "outcome", "reason", "error_class", "started_at", "finished_at"))
    waiting = {"state": "waiting", "retries_reset_at": task.attempt}
    connection.execute(update(tasks).where(tasks.c.id == task.id).values(waiting | empty))
    if task.state == "done":
        connection.execute(
            update(attempts)
            .where(attempts.c.task_id == task.id, attempts.c.number == task.attempt)
            .values(state="failed", error_class=UNREADABLE, reason="its outcome had become unreadable")
        )


def _locked_phases(connection: Connection, sweep_id: int) -> Sequence[Row[Any]]:
    query = select(phases).where(phases.c.sweep_id == sweep_id).order_by(phases.c.id).with_for_update(key_share=True)
    return connection.execute(query).all()


def _reopen(connection: Connection, phase_id: int, state: str) -> None:
    connection.execute(update(phases).where(phases.c.id == phase_id).values(state=state, reason=None, closed_at=None))


def _lock_sweep(connection: Connection, sweep_id: int, revision: int) -> Row[Any]:
    query = select(sweeps).where(sweeps.c.id == sweep_id).with_for_update(key_share=True)
    sweep = connection.execute(query).one()
    if sweep.revision != revision:
        raise RevisionRefused(f"{sweep.name} was changed at the same time by another command; type the command again")
    if sweep.state == "cancelled":
        raise RevisionRefused(f"{sweep.name} is cancelled", NextStep("first type", "resume", sweep.name))
    return sweep
