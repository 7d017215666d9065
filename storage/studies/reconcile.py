"""Reconcile Optuna's trials with our rows after a crash.

A worker stores the outcome first and ends the trial second. If it dies in between, or before it saved which
trial it asked for, that trial stays RUNNING in the dashboard. Any process may reconcile, at any time, beside
running workers.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, select, update

from storage.db.transaction import explain_corruption, is_transient_or_full, read, retry_transient, write
from storage.errors import StudyMissing
from storage.studies.ownership import owned, owner_of
from storage.studies.space import RunningTrial
from storage.tables import attempts, columns_of, tasks

if TYPE_CHECKING:  # storage.studies.studies imports Optuna, which costs a second
    from storage.studies.studies import Studies


@dataclass(frozen=True)
class Unreported:
    """An ended attempt whose trial may still be RUNNING. `outcome` is the task's, if this attempt made it.

    study, trial_number: None if it ended before it saved which trial it had asked for.
    """

    task_id: int
    key: str
    number: int
    state: str
    study: str | None
    trial_number: int | None
    params: dict[str, Any] | None
    outcome: dict[str, Any] | None
    error_class: str | None
    reason: str | None


@retry_transient()
def unreported(engine: Engine, sweep_id: int) -> list[Unreported]:
    query = (
        select(tasks.c.key, tasks.c.outcome, *columns_of(Unreported, attempts))
        .join(tasks, tasks.c.id == attempts.c.task_id)
        .where(tasks.c.sweep_id == sweep_id, attempts.c.reported.is_(False), attempts.c.state != "running")
        .order_by(attempts.c.task_id, attempts.c.number)
    )
    with read(engine) as connection, explain_corruption(connection, sweep_id):
        return [Unreported(**row._asdict()) for row in connection.execute(query)]


@retry_transient(when=is_transient_or_full)
def mark_reported(engine: Engine, task_id: int, number: int) -> None:
    with write(engine) as connection:
        connection.execute(
            update(attempts).where(attempts.c.task_id == task_id, attempts.c.number == number).values(reported=True)
        )


def reconcile(studies: "Studies", engine: Engine, sweep_id: int) -> int:
    """End every trial of the sweep whose end our rows know, and fail our trials that no attempt points at.

    A finished attempt's outcome has the result: `{"trial": {"value": float, "attrs": {}, "epoch_values": []}}`,
    with "state" if that is not COMPLETE. Deleted studies are skipped. Returns how many trials were ended.
    """
    owner = owner_of(engine, sweep_id)
    # In this order: what ended before we list the trials is either in the list, or reported. And an attempt
    # whose end we know after we listed its trial has not just been asked for.
    ended = unreported(engine, sweep_id)
    listed = {name: _running(studies, name) for name in owned(studies, owner)}
    ended_here = 0
    for attempt in ended:
        if attempt.study is None or attempt.trial_number is None:
            continue  # its trial, if it has one, is among the orphans
        if attempt.study not in listed:
            continue  # deleted: kept unreported, so that it shows in an audit
        trial = listed[attempt.study].get(attempt.trial_number)
        if trial is not None and (trial.task, trial.attempt) == (attempt.key, attempt.number):
            _report(studies, attempt, attempt.study, attempt.trial_number)
            ended_here += 1
        mark_reported(engine, attempt.task_id, attempt.number)
    ended_here += _fail_orphans(studies, engine, sweep_id, listed)
    for attempt in ended:
        if attempt.trial_number is None:
            mark_reported(engine, attempt.task_id, attempt.number)
    return ended_here


def _report(studies: "Studies", attempt: Unreported, study: str, number: int) -> None:
    required = {"task": attempt.key, "attempt": attempt.number}
    if attempt.state == "done":
        result = (attempt.outcome or {}).get("trial", {})
        studies.tell(
            study,
            number,
            state=result.get("state", "COMPLETE"),
            value=result.get("value"),
            attrs=result.get("attrs", {}),
            epoch_values=result.get("epoch_values", ()),
            required=required,
        )
        return
    attrs = {"reason": attempt.reason or attempt.state, "error_class": attempt.error_class or attempt.state}
    studies.tell(study, number, state="FAIL", value=None, attrs=attrs, required=required)


def _fail_orphans(studies: "Studies", engine: Engine, sweep_id: int, listed: dict[str, dict[int, RunningTrial]]) -> int:
    """Fail trials of attempts that ended before they saved the number, or that asked once more."""
    attempts_now = _attempts(engine, sweep_id)
    ended_here = 0
    for study, trials in listed.items():
        for number, trial in trials.items():
            state, saved = attempts_now.get((trial.task, trial.attempt), ("unknown", None))
            about_to_save = state == "running" and saved is None
            if trial.ours and not about_to_save and saved != (study, number):
                attrs = {"reason": "orphan: its worker died before it saved which trial it had asked for"}
                studies.tell(study, number, state="FAIL", value=None, attrs=attrs)
                ended_here += 1
    return ended_here


@retry_transient()
def _attempts(engine: Engine, sweep_id: int) -> dict[tuple[str | None, int | None], tuple[str, tuple[str, int] | None]]:
    """Return by task key and attempt number: its state, and the study and number of the trial that it saved."""
    query = (
        select(tasks.c.key, attempts.c.number, attempts.c.state, attempts.c.study, attempts.c.trial_number)
        .join(tasks, tasks.c.id == attempts.c.task_id)
        .where(tasks.c.sweep_id == sweep_id)
    )
    with read(engine) as connection:
        rows = connection.execute(query).all()
    return {
        (row.key, row.number): (row.state, None if row.trial_number is None else (row.study, row.trial_number))
        for row in rows
    }


def _running(studies: "Studies", study: str) -> dict[int, RunningTrial]:
    try:
        return {trial.number: trial for trial in studies.running(study)}
    except StudyMissing:  # deleted since it was listed
        return {}
