"""Claim, finish, fail and release tasks, each step one transaction:

    waiting --claim--> running --finish--> done
                          |----fail-----> waiting, or failed when its attempts are used up
                          |----release--> waiting, and the attempt does not count
                          '----(reap)---> as fail, when the lease lapsed and somebody noticed

The attempt number is the fencing token. Every step after the claim names it, and changes nothing when another
attempt has begun: the caller has lost its lease, drops its result and goes on. The deadline itself is
never tested: a lapsed lease that nobody took (a laptop that slept) is still good.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, exists, insert, select, update

from storage.db import corruption
from storage.db.dialects import database_now
from storage.db.faults import RESULT_RETRY_FOR_S, enduring, enduring_for
from storage.db.schema import attempts, phases, sweeps, tasks
from storage.db.transaction import write
from storage.queue.attempts import end_attempt
from storage.queue.phases import close_if_over
from storage.queue.workers import note_seen


@dataclass(frozen=True)
class Claim:
    """A task that is ours until its lease is taken.

    Attributes:
        attempt: number of this attempt, from 1; with `task_id` it fences every later step.
        params: parameters that an earlier attempt saved: a retry keeps them. None at first.
        retry_of: trial number of the attempt before, if that had a trial.
    """

    sweep_id: int
    task_id: int
    key: str
    stage: str
    phase: str
    payload: dict[str, Any]
    attempt: int
    params: dict[str, Any] | None
    retry_of: int | None


@enduring
def claim(engine: Engine, sweep_id: int, *, worker: str, host: str, pid: int, lease_s: float) -> Claim | None:
    """Claim the best ready task for `lease_s` seconds; None when nothing can start now.

    If the connection is lost after the commit, the claim is lost with it: its lease lapses and it is reaped.

    Args:
        worker: unique name of the claiming process.
    """
    is_active = exists().where(sweeps.c.id == sweep_id, sweeps.c.state == "active")
    best = (
        select(tasks.c.id)
        .where(tasks.c.sweep_id == sweep_id, tasks.c.state == "waiting", tasks.c.ready, is_active)
        .order_by(tasks.c.priority.desc(), tasks.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=tasks)
    )
    with write(engine) as connection, corruption.explain_corruption(connection, sweep_id):
        row = connection.execute(
            update(tasks)
            .where(tasks.c.id == best.scalar_subquery())
            .values(state="running", attempt=tasks.c.attempt + 1, started_at=database_now())
            .returning(tasks.c.id, tasks.c.key, tasks.c.stage, tasks.c.phase_id, tasks.c.payload, tasks.c.attempt)
        ).one_or_none()
        if row is None:
            return None
        phase = connection.scalar(select(phases.c.name).where(phases.c.id == row.phase_id))
        earlier = connection.execute(
            select(attempts.c.params, attempts.c.trial_number)
            .where(attempts.c.task_id == row.id, attempts.c.trial_number.is_not(None))
            .order_by(attempts.c.number.desc())
            .limit(1)
        ).one_or_none()
        retry_of = earlier.trial_number if earlier else None
        connection.execute(
            insert(attempts).values(
                task_id=row.id,
                number=row.attempt,
                worker=worker,
                host=host,
                pid=pid,
                state="running",
                lease_until=database_now() + lease_s,
                started_at=database_now(),
                progress_at=database_now(),
                retry_of=retry_of,
                reported=False,
            )
        )
    return Claim(
        sweep_id=sweep_id,
        task_id=row.id,
        key=row.key,
        stage=row.stage,
        phase=phase or "",
        payload=row.payload,
        attempt=row.attempt,
        params=earlier.params if earlier else None,
        retry_of=retry_of,
    )


@enduring
def save_trial(engine: Engine, claim: Claim, *, study: str, number: int, params: dict[str, Any]) -> bool:
    """Note which trial records this attempt, and with which parameters. False: the lease was lost."""
    with write(engine) as connection:
        changed = connection.execute(
            update(attempts).where(*_ours(claim)).values(study=study, trial_number=number, params=params)
        )
        return changed.rowcount == 1


def renew(engine: Engine, claim: Claim, lease_s: float, *, idle_s: float = 0.0, log: str | None = None) -> bool:
    """Keep the task for `lease_s` seconds from now. False: somebody took it.

    Tried once only: who renews does so again and again anyway.

    Args:
        idle_s: seconds since its latest step.
        log: the end of what was logged meanwhile; None: unchanged.
    """
    values = {"lease_until": database_now() + lease_s, "progress_at": database_now() - idle_s}
    with write(engine) as connection:
        ours = update(attempts).where(*_ours(claim))
        changed = connection.execute(ours.values(values | ({} if log is None else {"log": log})))
        mine = select(attempts.c.worker).where(attempts.c.task_id == claim.task_id, attempts.c.number == claim.attempt)
        note_seen(connection, claim.sweep_id, mine.scalar_subquery())
        return changed.rowcount == 1


@enduring_for(RESULT_RETRY_FOR_S)
def finish(
    engine: Engine, claim: Claim, *, outcome: dict[str, Any], score: float | None, log: str | None = None
) -> bool:
    """Store the whole outcome, and close the phase if this was its last task.

    Args:
        outcome: JSON. Its key "trial" holds the result that the trial has to show (`storage.studies.reconcile`).
        score: what tasks of this stage are ranked by, if they are.

    Returns:
        False: the lease was lost; nothing was stored, the result counts nowhere.
    """
    with write(engine) as connection:
        row = connection.execute(
            update(tasks)
            .where(tasks.c.id == claim.task_id, tasks.c.attempt == claim.attempt, tasks.c.state == "running")
            .values(state="done", outcome=outcome, score=score, finished_at=database_now())
            .returning(tasks.c.phase_id)
        ).one_or_none()
        if row is None:
            return _is_done(connection, claim)
        ended = {"state": "done", "finished_at": database_now(), "log": log}
        connection.execute(update(attempts).where(*_ours(claim)).values(ended))
        close_if_over(connection, row.phase_id)
        return True


@enduring
def fail(
    engine: Engine,
    claim: Claim,
    *,
    error_class: str,
    reason: str,
    cap: int | None,
    trace: str | None = None,
    log: str | None = None,
) -> bool:
    """End this attempt as failed. The task waits again, unless this was the `cap`-th that failed so.

    Args:
        trace: the traceback. log: the end of what was logged meanwhile.

    Returns:
        False: the lease was lost; nothing changed.
    """
    with write(engine) as connection:
        return end_attempt(
            connection,
            claim.task_id,
            claim.attempt,
            state="failed",
            error_class=error_class,
            reason=reason,
            cap=cap,
            trace=trace,
            log=log,
        )


@enduring
def release(
    engine: Engine,
    claim: Claim,
    *,
    reason: str = "its worker was asked to stop",
    error_class: str | None = None,
    trace: str | None = None,
    log: str | None = None,
) -> bool:
    """Let the task wait again without counting this attempt. False: the lease was lost already.

    Args:
        error_class: what was wrong with the machine of this worker, or None.
    """
    with write(engine) as connection:
        return end_attempt(
            connection,
            claim.task_id,
            claim.attempt,
            state="released",
            error_class=error_class,
            reason=reason,
            cap=None,
            trace=trace,
            log=log,
        )


def _is_done(connection: Connection, claim: Claim) -> bool:
    """Return whether this attempt was finished: the connection was cut after the commit, and it is tried again."""
    this = select(attempts.c.state).where(attempts.c.task_id == claim.task_id, attempts.c.number == claim.attempt)
    return connection.scalar(this) == "done"


def _ours(claim: Claim) -> tuple[Any, ...]:
    return (
        attempts.c.task_id == claim.task_id,
        attempts.c.number == claim.attempt,
        attempts.c.state == "running",
    )
