"""Changes to a plan that is being worked on: more tasks, or failed ones once more. One transaction each.

Locks are taken in the order phase, sweep, as everywhere: an extension either comes before the last task of a
phase has ended, and keeps it open, or finds it closed.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, Text, select, type_coerce, update

from storage.errors import RevisionRefused
from storage.faults import retrying
from storage.phases import open_what_can_start
from storage.plans import TaskPlan, add_revision
from storage.schema import PHASE_ENDED, attempts, phases, sweeps, tasks
from storage.transaction import write

UNREADABLE = "unreadable"


@retrying
def extend(
    engine: Engine,
    sweep_id: int,
    *,
    revision: int,
    spec: Mapping[str, Any],
    fingerprint: str,
    why: str,
    tasks: Sequence[TaskPlan],
    while_open: Collection[str] = (),
) -> None:
    """Add tasks to a sweep, whose spec is from now on `spec`. A phase that had closed opens again.

    Args:
        revision: the one that the tasks were planned on.
        while_open: phases that take more tasks only before they have closed, since a selection was made then.

    Raises:
        RevisionRefused: another revision came in between; the sweep is cancelled; a phase takes no more tasks.
    """
    with write(engine) as connection:
        touched = {task.phase for task in tasks}
        for phase in _locked_phases(connection, sweep_id):
            if phase.name not in touched:
                continue
            if phase.state in ("failed", "skipped"):
                raise RevisionRefused(f"{phase.name} was {phase.state} ({phase.reason}); first retry what failed")
            if phase.state == "closed" and phase.name in while_open:
                raise RevisionRefused(f"{phase.name} has closed, and what came out of it is already used")
            if phase.state == "closed":
                _reopen(connection, phase.id, "open")
        _lock_sweep(connection, sweep_id, revision)
        number = revision + 1
        add_revision(connection, sweep_id, number=number, spec=spec, fingerprint=fingerprint, why=why, tasks=tasks)
        connection.execute(
            update(sweeps)
            .where(sweeps.c.id == sweep_id)
            .values(revision=number, spec=dict(spec), fingerprint=fingerprint)
        )


@retrying
def retry(engine: Engine, sweep_id: int, *, revision: int, then: Sequence[TaskPlan] = ()) -> list[str]:
    """Let failed tasks wait again, with all their attempts forgiven, and the tasks that were skipped because of them.

    A done task whose outcome can no longer be read counts as failed here. Any other done task stays done.

    Args:
        then: tasks to add, if anything is tried again: what has to be done once more afterwards.

    Returns:
        The keys of the tasks that wait again, in plan order; none = nothing had failed, nothing was changed.

    Raises:
        RevisionRefused: another revision came in between, or the sweep is cancelled.
    """
    with write(engine) as connection:
        found = _to_try_again(connection, sweep_id)
        if not found:
            return []
        again = {task.phase_id for task in found}
        more = {task.phase for task in then}
        # Blocked, not open: what a phase needs may be tried again as well.
        for phase in _locked_phases(connection, sweep_id):
            if phase.state in PHASE_ENDED and (phase.state != "closed" or phase.id in again or phase.name in more):
                _reopen(connection, phase.id, "blocked")
                connection.execute(update(tasks).where(tasks.c.phase_id == phase.id).values(ready=False))
        sweep = _lock_sweep(connection, sweep_id, revision)
        for task in found:
            _forgive(connection, task)
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
        return [task.key for task in found]


def _to_try_again(connection: Connection, sweep_id: int) -> list[Row[Any]]:
    text = type_coerce(tasks.c.outcome, Text)
    query = (
        select(tasks.c.id, tasks.c.key, tasks.c.phase_id, tasks.c.state, tasks.c.attempt, text.label("outcome"))
        .where(tasks.c.sweep_id == sweep_id, tasks.c.state.in_(("failed", "skipped", "done")))
        .order_by(tasks.c.id)
        .with_for_update(key_share=True)
    )
    return [task for task in connection.execute(query) if task.state != "done" or not _is_json(task.outcome)]


def _is_json(text: str | None) -> bool:
    try:
        json.loads(text or "null")
    except ValueError:
        return False
    return True


def _forgive(connection: Connection, task: Row[Any]) -> None:
    connection.execute(
        update(tasks)
        .where(tasks.c.id == task.id)
        .values(
            state="waiting",
            forgiven=task.attempt,
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
            .values(state="failed", error_class=UNREADABLE, reason="its outcome could not be read any more")
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
        raise RevisionRefused(f"{sweep.name} is cancelled; first type: kd-sweeps resume {sweep.name}")
    return sweep
