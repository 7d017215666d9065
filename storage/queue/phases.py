"""Open and end phases; their dependencies.

blocked --all needs met--> open --last task ended--> closed (enough were done) | failed (too few)
    blocked --a need failed or was skipped--> skipped, with its tasks

Everything here runs in the transaction that ended the last task, so a phase is never over without the next being
opened. Locks are taken in the order task, phase, sweep.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, exists, func, select, union_all, update

from storage.db.transaction import database_now
from storage.queue.notify import notify
from storage.tables import PHASE_ENDED, TASK_STATES, TASK_UNENDED, phases, sweeps, tasks

_MARK = "?"  # stored after the name
_LAG = "lag:"  # prefix of a stored lag
_NO_TASK = 2**31 - 1  # the largest id
_CLOSING = 0x6B64  # "kd": the first half of a phase's advisory lock; the second is its id


@dataclass(frozen=True)
class Dependency:
    """An earlier phase that must end first. after_any_end: even by failing or being skipped."""

    phase: str
    after_any_end: bool = False

    def stored(self) -> str:
        """Return the text that the database holds: "search", or "baselines?" for after_any_end."""
        return self.phase + _MARK * self.after_any_end


@dataclass(frozen=True)
class StartLag:
    """The order within a phase: task i is ready once tasks 0 to i - lag have ended.

    So the tasks that have ended when task i starts do not depend on timing. lag: >= 1; 1 runs them one after another.
    The first `first` tasks are ready at once.
    """

    lag: int
    first: int = 0

    def stored(self) -> str:
        return f"{_LAG}{self.lag}:{self.first}"


def parse_dependencies(texts: Iterable[str]) -> list[Dependency]:
    """Return the needs that `Dependency.stored` wrote, without a lag."""
    needs = (text for text in texts if not text.startswith(_LAG))
    return [Dependency(text.removesuffix(_MARK), after_any_end=text.endswith(_MARK)) for text in needs]


def parse_lag(texts: Iterable[str]) -> StartLag | None:
    for text in texts:
        if text.startswith(_LAG):
            lag, first = text.removeprefix(_LAG).split(":")
            return StartLag(int(lag), int(first))
    return None


def close_if_over(connection: Connection, phase_id: int) -> bool:
    """End the phase if all its tasks have ended, then open or skip its dependents; return whether it ended.

    Otherwise make the tasks ready that waited for the one that has just ended (`StartLag`).
    """
    columns: list[Any] = [phases]
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
        if _another_closes_it(connection, phase_id):
            return False
        columns.append(func.pg_advisory_xact_lock(_CLOSING, phase_id))
    # Two last tasks that end at once must not both see the other as running: the second waits here, and then
    # reads what the first committed.
    phase = connection.execute(select(*columns).where(phases.c.id == phase_id).with_for_update(key_share=True)).one()
    if phase.state != "open":
        return False
    first = _first_unended(connection, phase_id)
    if first is not None:
        if _make_next_ready(connection, phase, first):
            notify(connection, phase.sweep_id)
        return False
    # Two phases that end at once must not both see the other as open.
    connection.execute(select(sweeps.c.id).where(sweeps.c.id == phase.sweep_id).with_for_update(key_share=True))
    _end(connection, phase)
    open_what_can_start(connection, phase.sweep_id)
    notify(connection, phase.sweep_id)
    return True


def _another_closes_it(connection: Connection, phase_id: int) -> bool:
    """Return whether a task of the phase still waits for a worker: its end will close the phase.

    That end must see what this transaction commits, so this takes a shared lock that the closing one waits for. With an
    exclusive lock for every task that ends, 64 workers would queue, and the last ones would time out.
    """
    is_waiting = exists().where(tasks.c.phase_id == phase_id, tasks.c.state == "waiting")
    row = connection.execute(select(phases.c.state, phases.c.needs, is_waiting).where(phases.c.id == phase_id)).one()
    if row.state != "open" or parse_lag(row.needs) or not row[2]:
        return False
    connection.exec_driver_sql("SAVEPOINT looked")
    connection.execute(select(func.pg_advisory_xact_lock_shared(_CLOSING, phase_id)))
    if connection.scalar(select(is_waiting)):
        return True
    # Claimed meanwhile. Release the lock: two holders that both want the exclusive one would deadlock.
    connection.exec_driver_sql("ROLLBACK TO SAVEPOINT looked")
    return False


def open_what_can_start(connection: Connection, sweep_id: int) -> None:
    """Open, skip, or (if empty) end each blocked phase whose needs have ended.

    One pass in plan order is enough: a phase comes after everything it needs.
    """
    rows = connection.execute(select(phases).where(phases.c.sweep_id == sweep_id).order_by(phases.c.ordinal)).all()
    known = {row.name: row for row in rows}
    for phase in rows:
        if phase.state != "blocked":
            continue
        needs = parse_dependencies(phase.needs)
        decisive = [known[need.phase] for need in needs if not need.after_any_end]
        awaited = [known[need.phase] for need in needs]
        broken = next((need for need in decisive if need.state in ("failed", "skipped")), None)
        if broken is not None:
            _skip(connection, phase, reason=_broken_reason(broken))
        elif all(need.state in PHASE_ENDED for need in awaited):
            _open(connection, phase)
        else:
            continue
        known[phase.name] = connection.execute(select(phases).where(phases.c.id == phase.id)).one()


def make_ready(connection: Connection, phase: Row[Any]) -> int:
    """Make the tasks of an open phase ready, all or as its lag allows; return how many."""
    not_done = tasks.c.state.in_([state for state in TASK_STATES if state != "done"])  # so that the index is used
    of_phase = tasks.c.phase_id == phase.id
    change = update(tasks).where(of_phase, not_done, tasks.c.ready.is_(False)).values(ready=True)
    lag, first = parse_lag(phase.needs), _first_unended(connection, phase.id)
    if lag is None or first is None:
        return connection.execute(change).rowcount
    # By id, which rises in plan order as ordinal does: SQLite then reads the index alone, not the large rows.
    ended: int = connection.scalar(select(func.count()).where(of_phase, tasks.c.id < first)) or 0
    number = max(lag.first, ended + lag.lag)
    forbidden = connection.scalar(select(tasks.c.id).where(of_phase).order_by(tasks.c.id).offset(number).limit(1))
    if forbidden is not None:
        change = change.where(tasks.c.id < forbidden)
    return connection.execute(change).rowcount


def _make_next_ready(connection: Connection, phase: Row[Any], first: int) -> bool:
    """Make the tasks ready that waited for those before `first`; return whether there were any.

    The same as `make_ready`, but it runs after every task, so it reads only tasks from `first` on.
    """
    if (lag := parse_lag(phase.needs)) is None:
        return False  # all have been ready since it was opened
    # + 0 keeps SQLite from the phase's index, which would sort all its tasks.
    of_phase = tasks.c.phase_id + 0 == phase.id
    following = select(tasks.c.id).where(of_phase, tasks.c.id >= first).order_by(tasks.c.id).offset(lag.lag).limit(1)
    forbidden = func.coalesce(following.scalar_subquery(), _NO_TASK)
    change = update(tasks).where(of_phase, tasks.c.id >= first, tasks.c.id < forbidden, tasks.c.state != "done")
    return connection.execute(change.where(tasks.c.ready.is_(False)).values(ready=True)).rowcount > 0


def _open(connection: Connection, phase: Row[Any]) -> None:
    connection.execute(update(phases).where(phases.c.id == phase.id).values(state="open"))
    make_ready(connection, phase)
    if _first_unended(connection, phase.id) is None:
        _end(connection, phase)


def _end(connection: Connection, phase: Row[Any]) -> None:
    of_phase = tasks.c.phase_id == phase.id
    done: int = connection.scalar(select(func.count()).where(of_phase, tasks.c.state == "done")) or 0
    if done >= phase.minimum:
        _close(connection, phase, "closed", None)
        return
    total: int = connection.scalar(select(func.count()).where(of_phase)) or 0
    reason = f"{done} of {total} done, {phase.minimum} needed"
    failed = (
        select(tasks.c.key, tasks.c.reason).where(of_phase, tasks.c.state == "failed").order_by(tasks.c.id).limit(1)
    )
    if (first := connection.execute(failed).one_or_none()) is not None:
        reason += f"; {first.key}: {first.reason}"
    _close(connection, phase, "failed", reason)


def _skip(connection: Connection, phase: Row[Any], reason: str) -> None:
    _close(connection, phase, "skipped", reason)
    waiting = update(tasks).where(tasks.c.phase_id == phase.id, tasks.c.state == "waiting")
    connection.execute(waiting.values(state="skipped", reason=reason, finished_at=database_now()))


def _close(connection: Connection, phase: Row[Any], state: str, reason: str | None) -> None:
    values = {"state": state, "reason": reason, "closed_at": database_now()}
    connection.execute(update(phases).where(phases.c.id == phase.id).values(values))


def _first_unended(connection: Connection, phase_id: int) -> int | None:
    """Return the id of the first task of a phase, in plan order, that has not ended: two index lookups."""
    of_state = (
        select(func.min(tasks.c.id).label("id")).where(tasks.c.phase_id == phase_id, tasks.c.state == state)
        for state in TASK_UNENDED
    )
    first = union_all(*of_state).subquery()
    number: int | None = connection.scalar(select(func.min(first.c.id)))
    return number


def _broken_reason(need: Row[Any]) -> str:
    """Return "needs search, which failed (3 of 8 done, 4 needed)"; for a skipped need, the reason of that one."""
    return root_reason(need.reason) if need.state == "skipped" else f"needs {need.name}, which failed ({need.reason})"


def root_reason(reason: str) -> str:
    """Return why a phase or task was skipped, without the chain of reasons that older versions stored."""
    # "needs A, which was skipped: needs B, which failed (...)"
    return reason.rpartition(", which was skipped: ")[2]
