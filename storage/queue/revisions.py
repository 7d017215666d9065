"""Change a plan that is being worked on: more tasks, or failed ones once more. One transaction each.

Locks are taken in the order phase, sweep, as everywhere: an extension either comes before the last task of a
phase has ended, and keeps it open, or finds it closed. (The tasks locked here have ended; nobody holds one of
those and waits for its phase.)
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, Text, select, type_coerce, update

from storage.db.corruption import outcome_is_readable
from storage.db.faults import retrying
from storage.db.schema import PHASE_ENDED, attempts, phases, revisions, sweeps, tasks
from storage.db.transaction import write
from storage.errors import NextStep, RevisionRefused
from storage.queue.bell import ring
from storage.queue.error_classes import UNREADABLE
from storage.queue.phases import open_what_can_start, root_reason
from storage.queue.plans import PhasePlan, TaskPlan, add_phases, add_revision


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
    """Add tasks to a sweep, whose spec is from now on `spec`. A phase that had closed opens again.

    Args:
        revision: the one that the tasks were planned on.
        phases: new ones, for some of the tasks; they stand after all others.
        while_open: phases that take more tasks only before they have closed, since a selection was made then.

    Raises:
        RevisionRefused: another revision came in between; the sweep is cancelled; a phase takes no more tasks.
        ValueError: the plan contradicts itself, or what is stored.
    """
    number, touched, tries = revision + 1, {task.phase for task in tasks}, 0

    @retrying
    def change() -> None:
        nonlocal tries
        tries += 1
        with write(engine) as connection:
            locked = _locked_phases(connection, sweep_id)
            if tries > 1 and _is_revision(connection, sweep_id, number, fingerprint):
                return  # the connection was cut after the commit
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
            ring(connection, sweep_id)

    change()


@retrying
def retry(
    engine: Engine, sweep_id: int, *, revision: int, then: Sequence[TaskPlan] = (), leave: Collection[str] = ()
) -> list[str]:
    """Let failed and skipped tasks wait again, and reset their retry counters.

    A done task whose outcome, or a blob of it, can no longer be read counts as failed here. Any other stays done.

    Args:
        then: tasks to add, if anything is tried again: what has to be done once more afterwards.
        leave: keys of failed tasks that would fail again.

    Returns:
        The keys of the tasks that wait again, oldest first; none = nothing else had failed, nothing was changed.

    Raises:
        RevisionRefused: another revision came in between, or the sweep is cancelled.
    """
    with write(engine) as connection:
        # The phases first: none can fail from here on, and skip tasks that would not be among those found.
        locked = _locked_phases(connection, sweep_id)
        found = [task for task in _to_try_again(connection, sweep_id) if task.key not in leave]
        if not found:
            return []
        again = {task.phase_id for task in found}
        more = {task.phase for task in then}
        # Blocked, not open: what a phase needs may be tried again as well.
        for phase in locked:
            if phase.state in PHASE_ENDED and (phase.state != "closed" or phase.id in again or phase.name in more):
                _reopen(connection, phase.id, "blocked")
                connection.execute(update(tasks).where(tasks.c.phase_id == phase.id).values(ready=False))
        sweep = _lock_sweep(connection, sweep_id, revision)
        for task in found:
            _reset(connection, task)
        if then:
            add_revision(
                connection,
                sweep_id,
                number=revision + 1,
                spec=sweep.spec,
                fingerprint=sweep.fingerprint,
                why=f"{len(found)} tasks tried again",
                tasks=then,
            )
            connection.execute(update(sweeps).where(sweeps.c.id == sweep_id).values(revision=revision + 1))
        open_what_can_start(connection, sweep_id)
        ring(connection, sweep_id)
        return [task.key for task in found]


def _take_more(connection: Connection, phase: Row[Any], sweep: str, while_open: Collection[str]) -> None:
    """Make an ended phase ready for more tasks, or refuse."""
    if phase.state in ("failed", "skipped"):
        how = "failed" if phase.state == "failed" else "was skipped"
        raise RevisionRefused(
            f"{phase.name} {how} ({root_reason(phase.reason)})", NextStep("first type", "retry", sweep)
        )
    if phase.state != "closed":
        return
    if phase.name in while_open:
        raise RevisionRefused(
            f"{phase.name} of {sweep} has closed, and what came out of it is already used; for more of it, create a"
            " new sweep"
        )
    _reopen(connection, phase.id, "open")


def _is_revision(connection: Connection, sweep_id: int, number: int, fingerprint: str) -> bool:
    query = select(revisions.c.fingerprint).where(revisions.c.sweep_id == sweep_id, revisions.c.number == number)
    return connection.scalar(query) == fingerprint


def _to_try_again(connection: Connection, sweep_id: int) -> list[Row[Any]]:
    text = type_coerce(tasks.c.outcome, Text)
    query = (
        select(tasks.c.id, tasks.c.key, tasks.c.phase_id, tasks.c.state, tasks.c.attempt, text.label("outcome"))
        .where(tasks.c.sweep_id == sweep_id, tasks.c.state.in_(("failed", "skipped", "done")))
        .order_by(tasks.c.id)
        .with_for_update(key_share=True)
    )
    found = connection.execute(query).all()
    return [task for task in found if task.state != "done" or not outcome_is_readable(connection, task.outcome)]


def _reset(connection: Connection, task: Row[Any]) -> None:
    connection.execute(
        update(tasks)
        .where(tasks.c.id == task.id)
        .values(
            state="waiting",
            retries_reset_at=task.attempt,
            score=None,
            outcome=None,
            reason=None,
            error_class=None,
            started_at=None,
            finished_at=None,
        )
    )
    if task.state == "done":
        connection.execute(
            update(attempts)
            .where(attempts.c.task_id == task.id, attempts.c.number == task.attempt)
            .values(state="failed", error_class=UNREADABLE, reason="what came out of it could not be read any more")
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
        raise RevisionRefused(f"{sweep.name} was changed at the same time by somebody else; type it again")
    if sweep.state == "cancelled":
        raise RevisionRefused(f"{sweep.name} is cancelled", NextStep("first type", "resume", sweep.name))
    return sweep
