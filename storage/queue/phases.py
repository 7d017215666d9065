"""Open and end phases; their dependencies.

blocked --all needs met--> open --last task ended--> closed (enough were done) | failed (too few)
    blocked --a need failed or was skipped--> skipped, and its tasks with it

Everything here runs inside the transaction that ended the last task, so that no moment exists at which
a phase is over and no process is going to notice. Locks are taken in the order task, phase, sweep.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from storage.db.transaction import database_now
from storage.queue.notify import notify
from storage.tables import PHASE_ENDED, TASK_STATES, TASK_UNENDED, phases, sweeps, tasks

_MARK = "?"  # after the name, as the database stores it
_LAG = "lag:"  # no phase: begins what the database stores of a lag


@dataclass(frozen=True)
class Dependency:
    """An earlier phase that has to end first.

    Attributes:
        phase: its name.
        after_any_end: whether a failed or skipped one will do as well; otherwise the waiting phase is skipped with it.
    """

    phase: str
    after_any_end: bool = False

    def stored(self) -> str:
        """Return the text that the database holds: "search", or "baselines?" for after_any_end."""
        return self.phase + _MARK * self.after_any_end


@dataclass(frozen=True)
class StartLag:
    """What the tasks of a phase wait for: task i is ready once tasks 0 to i - lag of the phase have ended.

    Whatever finishes first, task i then starts when the same earlier tasks have ended.

    Attributes:
        lag: >= 1; 1 is one after another.
        first: the first `first` tasks wait for nothing.
    """

    lag: int
    first: int = 0

    def stored(self) -> str:
        """Return the text that the database holds among the needs."""
        return f"{_LAG}{self.lag}:{self.first}"


def parse_dependencies(texts: Iterable[str]) -> list[Dependency]:
    """Return the needs that `Dependency.stored` wrote; a lag is none."""
    return [
        Dependency(text.removesuffix(_MARK), after_any_end=text.endswith(_MARK))
        for text in texts
        if not text.startswith(_LAG)
    ]


def parse_lag(texts: Iterable[str]) -> StartLag | None:
    """Return the lag that `StartLag.stored` wrote; None if there is none."""
    for text in texts:
        if text.startswith(_LAG):
            lag, first = text.removeprefix(_LAG).split(":")
            return StartLag(int(lag), int(first))
    return None


def close_if_over(connection: Connection, phase_id: int) -> bool:
    """End the phase if none of its tasks is left, then open or skip what stood on it.

    Otherwise the tasks become ready that waited for the one that has just ended (`storage.queue.phases.StartLag`).

    Returns:
        Whether this call ended the phase.
    """
    # Two last tasks that end at once must not each see the other as still running: the second waits here,
    # and its next statement sees what the first committed.
    phase = connection.execute(select(phases).where(phases.c.id == phase_id).with_for_update(key_share=True)).one()
    if phase.state != "open":
        return False
    if _has_unfinished(connection, phase_id):
        if make_ready(connection, phase):
            notify(connection, phase.sweep_id)
        return False
    # Two phases that end at once must not each see the other as still open.
    connection.execute(select(sweeps.c.id).where(sweeps.c.id == phase.sweep_id).with_for_update(key_share=True))
    _end(connection, phase)
    open_what_can_start(connection, phase.sweep_id)
    notify(connection, phase.sweep_id)
    return True


def open_what_can_start(connection: Connection, sweep_id: int) -> None:
    """Open, skip, or (when empty) end at once each blocked phase whose needs have been decided.

    One pass in plan order is enough: a phase stands after everything it needs.
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
    """Make the tasks of an open phase ready: all of them, or those that its lag allows. Returns how many it made so."""
    not_done = tasks.c.state.in_([state for state in TASK_STATES if state != "done"])  # for the index: few are left
    mine = tasks.c.phase_id == phase.id
    change = update(tasks).where(mine, not_done, tasks.c.ready.is_(False)).values(ready=True)
    lag = parse_lag(phase.needs)
    if lag is None:
        return connection.execute(change).rowcount
    # By id, which rises in plan order, as ordinal does: SQLite then reads the index alone, none of the large rows.
    first_open = select(func.min(tasks.c.id)).where(mine, tasks.c.state.in_(TASK_UNENDED)).scalar_subquery()
    ended: int = connection.scalar(select(func.count()).where(mine, tasks.c.id < first_open)) or 0
    number = max(lag.first, ended + lag.lag)
    forbidden = connection.scalar(select(tasks.c.id).where(mine).order_by(tasks.c.id).offset(number).limit(1))
    if forbidden is not None:
        change = change.where(tasks.c.id < forbidden)
    return connection.execute(change).rowcount


def _open(connection: Connection, phase: Row[Any]) -> None:
    connection.execute(update(phases).where(phases.c.id == phase.id).values(state="open"))
    make_ready(connection, phase)
    if not _has_unfinished(connection, phase.id):
        _end(connection, phase)


def _end(connection: Connection, phase: Row[Any]) -> None:
    counts: dict[str, int] = {
        row.state: row.number
        for row in connection.execute(
            select(tasks.c.state, func.count().label("number"))
            .where(tasks.c.phase_id == phase.id)
            .group_by(tasks.c.state)
        )
    }
    done, total = counts.get("done", 0), sum(counts.values())
    state, reason = "closed", None
    if done < phase.minimum:
        state, reason = "failed", f"{done} of {total} done, {phase.minimum} needed"
        first = connection.execute(
            select(tasks.c.key, tasks.c.reason)
            .where(tasks.c.phase_id == phase.id, tasks.c.state == "failed")
            .order_by(tasks.c.id)
            .limit(1)
        ).one_or_none()
        if first is not None:
            reason += f"; {first.key}: {first.reason}"
    connection.execute(
        update(phases).where(phases.c.id == phase.id).values(state=state, reason=reason, closed_at=database_now())
    )


def _skip(connection: Connection, phase: Row[Any], reason: str) -> None:
    connection.execute(
        update(phases).where(phases.c.id == phase.id).values(state="skipped", reason=reason, closed_at=database_now())
    )
    connection.execute(
        update(tasks)
        .where(tasks.c.phase_id == phase.id, tasks.c.state == "waiting")
        .values(state="skipped", reason=reason, finished_at=database_now())
    )


def _has_unfinished(connection: Connection, phase_id: int) -> bool:
    row = connection.execute(
        select(tasks.c.id).where(tasks.c.phase_id == phase_id, tasks.c.state.in_(TASK_UNENDED)).limit(1)
    ).first()
    return row is not None


def _broken_reason(need: Row[Any]) -> str:
    """Return "needs search, which failed (3 of 8 done, 4 needed)"; behind a skipped phase, the reason of that one."""
    return root_reason(need.reason) if need.state == "skipped" else f"needs {need.name}, which failed ({need.reason})"


def root_reason(reason: str) -> str:
    """Return why a phase or task was skipped, without the chain that older versions stored before it."""
    # "needs A, which was skipped: needs B, which failed (...)"
    return reason.rpartition(", which was skipped: ")[2]
