"""Mirror our rows as Optuna trials, for display in the dashboard; nothing is read back from them.

Each attempt with a point has one trial: RUNNING once it has run for a moment, ended when it has ended; a shorter
attempt's trial is created ended. The columns study, trial_number, retry_of and reported of `attempts` say what is
drawn; only a mirror writes them.

One mirror per sweep draws at a time. It creates a trial, then stores its number, and may die in between. So it first
looks for trials that no row knows, and adopts those whose mark names an attempt without a trial: no attempt gets two
trials, and no trial is lost.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Engine,
    Text,
    and_,
    bindparam,
    case,
    event,
    exists,
    func,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.engine.interfaces import DBAPIConnection

from storage import json_text
from storage.db import sqlite_file
from storage.db.transaction import (
    database_now,
    explain_corruption,
    is_transient_or_full,
    read,
    retry_transient,
    write,
)
from storage.errors import ParametersRefused, RecordBroken, StorageError, StudyMissing, StudyMixed
from storage.failpoints import failpoint
from storage.studies.ownership import owner_of
from storage.studies.space import MARK_ATTR, Mark, Trial, study_name
from storage.tables import SweepRecord, attempts, columns_of, sweeps, tasks

if TYPE_CHECKING:  # storage.studies.studies imports Optuna, which costs a second
    from storage.studies.studies import Studies

log = logging.getLogger(__name__)

BEGUN_S = 0.5  # a running attempt is drawn after this: most quick ones end before
_LOOK_S = 1.0  # interval of rounds, and the longest round
_BESIDE_WORK_S = 0.25  # longest round while tasks run: the processor is theirs
_REFUSED_S = 10.0  # retry interval if another process is the mirror, or the database is unreachable
_STALLED_S = 10.0  # without progress of another mirror, after which it is not waited for
_AT_ONCE = 100  # attempts in one round, whose numbers are stored together
_LOCK_CLASS = 0x6B642D6D  # "kd-m" in ASCII: first half of an advisory lock; the second is the sweep's id
_SILENT_S = 30  # a mirror that is frozen for longer loses its Postgres session, and with it the lock


@dataclass(frozen=True)
class Undrawn:
    """An attempt whose trial is missing or out of date.

    study, trial_number: of its RUNNING trial, None before that. retry_of: trial number of the previous attempt.
    outcome: of a done one.
    """

    task_id: int
    key: str
    stage: str
    payload: Any
    number: int
    worker: str
    state: str
    started_at: float
    finished_at: float | None
    study: str | None
    trial_number: int | None
    params: Any
    retry_of: int | None
    error_class: str | None
    reason: str | None
    outcome: Any


_Attempt = tuple[str, int | None]  # task key, number
Draw = Callable[[Undrawn], Trial]  # raises RecordBroken if a stored value is damaged


@dataclass(frozen=True)
class Backlog:
    """Number of ended attempts whose trial does not show that yet, and seconds since the first of them ended."""

    count: int
    seconds: float


@retry_transient()
def backlog(engine: Engine, sweep_id: int) -> Backlog:
    query = (
        select(func.count(), func.coalesce(database_now() - func.min(attempts.c.finished_at), 0.0))
        .join(tasks, tasks.c.id == attempts.c.task_id)
        .where(tasks.c.sweep_id == sweep_id, attempts.c.reported.is_(False), attempts.c.state != "running")
    )
    with read(engine) as connection:
        count, seconds = connection.execute(query).one()
    return Backlog(count, max(seconds, 0.0))


def _due(begun_s: float) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of an attempt whose trial must be created or ended. begun_s: least age of a running one.

    A retry names the trial of the previous attempt, so that one comes first.
    """
    earlier = attempts.alias()
    unended = exists().where(
        earlier.c.task_id == attempts.c.task_id, earlier.c.number < attempts.c.number, earlier.c.reported.is_(False)
    )
    begun = and_(
        attempts.c.trial_number.is_(None),
        attempts.c.params.is_not(None),
        attempts.c.started_at < database_now() - begun_s,
        ~unended,
    )
    return attempts.c.reported.is_(False), or_(attempts.c.state != "running", begun)


@retry_transient()
def _stages(engine: Engine, sweep_id: int, begun_s: float) -> list[str]:
    query = select(tasks.c.stage).join(attempts).where(tasks.c.sweep_id == sweep_id, *_due(begun_s)).distinct()
    with read(engine) as connection:
        return list(connection.scalars(query.order_by(tasks.c.stage)))


@retry_transient()
def _undrawn(engine: Engine, sweep_id: int, stage: str, begun_s: float) -> list[Undrawn]:
    earlier = attempts.alias("earlier")
    before = (
        select(earlier.c.trial_number)
        .where(earlier.c.task_id == attempts.c.task_id, earlier.c.number < attempts.c.number)
        .where(earlier.c.trial_number.is_not(None))
        .order_by(earlier.c.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    # By start, with the attempts of a task in order even if the clock was set back.
    begun = select(func.max(earlier.c.started_at)).where(
        earlier.c.task_id == attempts.c.task_id, earlier.c.number <= attempts.c.number
    )
    texts = {
        "payload": tasks.c.payload,
        "params": attempts.c.params,
        "outcome": case((attempts.c.state == "done", type_coerce(tasks.c.outcome, Text))),
    }
    query = (
        select(
            tasks.c.key,
            tasks.c.stage,
            *columns_of(Undrawn, attempts, but=("params", "retry_of")),
            case((attempts.c.trial_number.is_(None), before), else_=attempts.c.retry_of).label("retry_of"),
            *(type_coerce(text, Text).label(name) for name, text in texts.items()),
        )
        .join(tasks, tasks.c.id == attempts.c.task_id)
        .where(tasks.c.sweep_id == sweep_id, tasks.c.stage == stage, *_due(begun_s))
        # Running attempts first, however large the backlog.
        .order_by(attempts.c.state != "running", begun.scalar_subquery(), attempts.c.number, attempts.c.task_id)
        .limit(_AT_ONCE)
    )
    with read(engine) as connection:
        return [Undrawn(**row._asdict()) for row in connection.execute(query)]


def _parsed(row: Undrawn) -> Undrawn:
    try:
        return replace(
            row, **{name: json_text.parse(getattr(row, name) or "null") for name in ("payload", "params", "outcome")}
        )
    except ValueError as error:
        raise RecordBroken(f"a stored value of {row.key} is no longer JSON ({error})") from error


@retry_transient()
def _numbers(engine: Engine, sweep_id: int, study: str) -> set[int]:
    query = select(attempts.c.trial_number).join(tasks).where(tasks.c.sweep_id == sweep_id, attempts.c.study == study)
    with read(engine) as connection:
        return {number for number in connection.scalars(query) if number is not None}


@retry_transient()
def _waiting(engine: Engine, sweep_id: int) -> set[_Attempt]:
    """Return the attempts with a point but no trial, by task key and number."""
    query = select(tasks.c.key, attempts.c.number).join(attempts).where(tasks.c.sweep_id == sweep_id)
    lacking = (attempts.c.reported.is_(False), attempts.c.trial_number.is_(None), attempts.c.params.is_not(None))
    with read(engine) as connection:
        return {(row.key, row.number) for row in connection.execute(query.where(*lacking))}


@retry_transient()
def _to_draw(engine: Engine, names: Collection[str] | None) -> list[SweepRecord]:
    """Return the sweeps of these names; None: all with a backlog."""
    joined = attempts.join(tasks, tasks.c.id == attempts.c.task_id)
    due = (tasks.c.sweep_id == sweeps.c.id, *_due(BEGUN_S))
    has_due = exists().select_from(joined).where(*due).correlate(sweeps)
    query = select(sweeps).where(has_due if names is None else sweeps.c.name.in_(names)).order_by(sweeps.c.id)
    with read(engine) as connection, explain_corruption(connection):
        return [SweepRecord(**row._asdict()) for row in connection.execute(query)]


@retry_transient()
def _is_at_work(engine: Engine, sweep_id: int) -> bool:
    query = select(tasks.c.id).where(tasks.c.sweep_id == sweep_id, tasks.c.state == "running").limit(1)
    with read(engine) as connection:
        return connection.execute(query).first() is not None


class Mirror:
    """Draw the attempts of the sweeps of one storage; for one thread at a time.

    draw: returns what the trials of a sweep show, or raises StorageError.
    """

    def __init__(self, studies: "Studies", draw: Callable[[SweepRecord], Draw]) -> None:
        self.engine, self._studies, self._draw = studies.engine, studies, draw
        self._pictures: dict[str, Draw] = {}  # by fingerprint of the spec
        self._next: dict[str, int] = {}  # by study: trials of lower numbers are known
        self._strays: dict[str, dict[_Attempt, int]] = {}  # by study: trials that their attempts do not know
        self._drawing = False
        if self.engine.dialect.name == "postgresql":
            event.listen(self.engine, "connect", self._refuse_another)

    def _refuse_another(self, connection: DBAPIConnection, *_: object) -> None:
        # The lock ends with its connection: on a new connection, a mirror that was frozen would draw concurrently with
        # its successor.
        if self._drawing:
            connection.close()
            raise StorageError("the connection broke while trials were drawn")

    def close(self) -> None:
        self._studies.close()

    @contextmanager
    def _turn(self, sweep_id: int) -> Iterator[bool]:
        """Yield whether this process may draw a sweep now; no other does inside the block."""
        if self.engine.dialect.name == "sqlite":
            with sqlite_file.file_turn(self.engine.url) as is_held:
                yield is_held
            return
        silent = func.set_config("idle_session_timeout", f"{_SILENT_S}s", False)
        with write(self.engine) as connection:
            # Also true if this session holds it already. The session keeps it to its end.
            is_held = bool(
                connection.execute(select(func.pg_try_advisory_lock(_LOCK_CLASS, sweep_id), silent)).one()[0]
            )
        self._drawing = is_held
        try:
            yield is_held
        finally:
            self._drawing = False

    def look(self, sweep: SweepRecord, *, begun_s: float = BEGUN_S, most_s: float = math.inf) -> int | None:
        """Draw up to a hundred attempts, within about `most_s` seconds; return how many, None: another process draws.

        StorageError: the rest cannot be drawn, for example since its study was deleted.
        """
        if sweep.fingerprint not in self._pictures:
            self._pictures[sweep.fingerprint] = self._draw(sweep)
        with self._turn(sweep.id) as is_held:
            return self._look(sweep, begun_s, time.monotonic() + most_s) if is_held else None

    def _look(self, sweep: SweepRecord, begun_s: float, until: float) -> int:
        number, fault = 0, None
        for stage in _stages(self.engine, sweep.id, begun_s):
            try:
                number += self._draw_stage(sweep, stage, begun_s, until)
            except (StudyMissing, StudyMixed, RecordBroken, ParametersRefused) as error:
                fault = error
            except StorageError:
                # A trial may exist whose number could not be stored: the next round looks at all of the study.
                for known in (self._next, self._strays):
                    known.pop(study_name(sweep.name, stage), None)
                raise
        if fault is not None and not number:
            raise fault
        return number

    def _draw_stage(self, sweep: SweepRecord, stage: str, begun_s: float, until: float) -> int:
        study, show = study_name(sweep.name, stage), self._pictures[sweep.fingerprint]
        self._studies.check_own(study, owner_of(self.engine, sweep.id))
        self._find_strays(sweep.id, study)
        fault: StorageError | None = None
        numbers, behind = dict[int, int](), set[int]()  # by task: its previous trial; tasks whose previous trial fails
        drawn: list[dict[str, Any]] = []
        try:
            for row in _undrawn(self.engine, sweep.id, stage, begun_s):
                if drawn and time.monotonic() > until:  # at least one: on a busy machine the query may take that long
                    break
                if row.task_id in behind:
                    continue
                if row.trial_number is None:
                    row = replace(row, retry_of=numbers.get(row.task_id, row.retry_of))
                try:
                    number = self._drawn(study, _parsed(row), show)
                except (RecordBroken, ParametersRefused) as error:  # the others can still be drawn
                    fault = error
                    behind.add(row.task_id)
                    continue
                if number is not None:
                    numbers[row.task_id] = number
                drawn.append(_values(row, study, number))
        finally:
            failpoint("drawn")
            if drawn:
                _store(self.engine, drawn)
        if fault is not None and not drawn:
            raise fault
        return len(drawn)

    def _drawn(self, study: str, row: Undrawn, show: Draw) -> int | None:
        """Draw an attempt; return its trial's number, None without a point."""
        if row.params is None:
            return None
        trial, number = show(row), row.trial_number
        if number is None:
            number = self._strays[study].pop((row.key, row.number), None)
        if number is None:
            likely = self._next[study]
            number = self._studies.draw(study, trial, likely=likely)
            self._next[study] = number + 1 if number >= likely else 0  # 0: the study was recreated
        elif row.state != "running":
            self._studies.end(study, number, trial)
            failpoint("ended")
        return number

    def _find_strays(self, sweep_id: int, study: str) -> None:
        """Find trials that no attempt refers to: another mirror died after creating them, or another tool created them.

        Those of attempts without a trial are kept for them. One of ours that is RUNNING for no attempt is ended: a
        worker of an older version created it, and died before storing its number.
        """
        number, strays = self._next.get(study, 0), self._strays.setdefault(study, {})
        self._next[study] = number
        if self._studies.mark(study, number) is None:
            return
        known, waiting = _numbers(self.engine, sweep_id, study), _waiting(self.engine, sweep_id)
        while True:
            if number not in known:
                if (trial := self._studies.mark(study, number)) is None:
                    break
                mark, running = trial
                if mark is not None and (mark.task, mark.attempt) in waiting - strays.keys():
                    strays[mark.task, mark.attempt] = number
                elif mark is not None and running:
                    self._studies.end(study, number, _orphan(mark))
            number += 1
        self._next[study] = number

    def complete(self, sweep: SweepRecord) -> int:
        """Draw all ended attempts; return how many.

        If another process draws, wait for as long as it makes progress.
        """
        drawn, least, until = 0, math.inf, time.monotonic() + _STALLED_S
        while (left := backlog(self.engine, sweep.id).count) and time.monotonic() < until:
            if left < least:
                least, until = left, time.monotonic() + _STALLED_S
            number = self.look(sweep)
            if number is None:
                time.sleep(_LOOK_S / 4)
            drawn += number or 0
        return drawn

    def run(self, names: Collection[str] | None, stop: threading.Event) -> None:
        """Draw the sweeps of these names, or all, until asked to stop; a fault of one is logged."""
        logged, pause = "", 0.0
        while True:
            stopped = stop.wait(pause)
            try:
                pause = self._round(names)
            except StorageError as error:
                if logged != (logged := str(error)):
                    log.warning("the dashboard is behind: %s", error)
                self.close()
                pause = _REFUSED_S
            if stopped:  # after a last round, which draws the tasks just released
                return

    def _round(self, names: Collection[str] | None) -> float:
        """Draw each sweep once; return the seconds until the next round."""
        fault, refused, drawn = None, True, 0
        for sweep in _to_draw(self.engine, names):
            busy = _is_at_work(self.engine, sweep.id)
            try:
                number = self.look(sweep, most_s=_BESIDE_WORK_S if busy else _LOOK_S)
            except (StudyMissing, StudyMixed, RecordBroken, ParametersRefused) as error:
                fault, number = error, 0
            refused, drawn = refused and number is None, drawn + (0 if busy else number or 0)
        if fault is not None:
            raise fault
        if refused and names is not None:
            self.close()  # waiting needs no connection
            return _REFUSED_S * random.uniform(0.5, 1.5)
        return 0.0 if drawn else _LOOK_S


def _values(row: Undrawn, study: str, number: int | None) -> dict[str, Any]:
    return {
        "of_task": row.task_id,
        "of_number": row.number,
        "study": None if number is None else study,
        "trial_number": number,
        "retry_of": row.retry_of,
        "reported": row.state != "running",
    }


@retry_transient(when=is_transient_or_full)
def _store(engine: Engine, drawn: list[dict[str, Any]]) -> None:
    own = (attempts.c.task_id == bindparam("of_task"), attempts.c.number == bindparam("of_number"))
    values: dict[str, Any] = {name: bindparam(name) for name in ("study", "trial_number", "retry_of", "reported")}
    with write(engine) as connection:
        connection.execute(update(attempts).where(*own).values(values), drawn)


def _orphan(mark: Mark) -> Trial:
    failure = {"reason": "no attempt has this trial"}
    return Trial(state="FAIL", attrs={MARK_ATTR: {"task": mark.task, "attempt": mark.attempt}, "failure": failure})
