"""Find trials that no task counts: of dead workers, of other tools, of deleted studies.

`strays` are our trials but for those of tasks with a fault, and those in their places: those are found already.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from storage.audit.findings import Finding
from storage.audit.optuna_rows import TrialRow
from storage.audit.rows import Rows
from storage.audit.tasks import AuditedTasks, is_unreported
from storage.errors import NextStep
from storage.queue.error_classes import UNREADABLE

_SHOWN = 10  # numbers in one line


def uncounted_results(tasks: AuditedTasks, strays: Sequence[TrialRow]) -> Iterator[Finding]:
    """Find violations: finished trials that their tasks do not know."""
    for trial in strays:
        if not trial.finished or tasks.belongs(trial):
            continue
        attempt = tasks.asked_by(trial)
        found = "no such attempt"
        if attempt is not None:
            has = attempt.trial_number
            found = "that has no trial" if has is None else f"that has trial {has} of study {attempt.study}"
        text = f"{trial} is {trial.state}: expected it to be of {trial.task} attempt {trial.attempt}, found {found}"
        yield Finding(text)


def foreign_trials(rows: Rows) -> Iterator[Finding]:
    """Find warnings: trials of other tools. That none was ever selected is checked with the selections."""
    for study, trials in rows.trials.items():
        if foreign := [trial.number for trial in trials if not trial.ours]:
            text = f"study {study}: {trials_in_words(foreign)} made by another tool, in no task's count, never selected"
            yield Finding(text)


def vanished_trials(tasks: AuditedTasks) -> Iterator[Finding]:
    """Find warnings: trials that another tool deleted together with their study."""
    for study, attempts in tasks.vanished.items():
        count = f"{len(attempts)} trial{'s' if len(attempts) > 1 else ''}"
        yield Finding(
            f"study {study}: {count} deleted with it by another tool, before it was made again; the results are in"
            " our rows"
        )


def left_running(rows: Rows, tasks: AuditedTasks, strays: Sequence[TrialRow]) -> Iterator[Finding]:
    """Find warnings: trials that are RUNNING although no worker runs them."""
    unreported, orphans = defaultdict(list), defaultdict(list)
    for trial in strays:
        if trial.state != "RUNNING":
            continue
        attempt = tasks.asked_by(trial)
        if attempt is not None and tasks.belongs(trial):
            if is_unreported(attempt, trial):
                unreported[trial.study].append(trial.number)
        elif attempt is None or attempt.state != "running" or attempt.trial_number is not None:
            orphans[trial.study].append(trial.number)  # else its worker is just about to save its number
    cure = (NextStep("type", "reap", rows.name),)
    for study, numbers in unreported.items():
        yield Finding(f"study {study}: the end of {trials_in_words(numbers)} is not reported yet", cure)
    for study, numbers in orphans.items():
        yield Finding(f"study {study}: no attempt has the RUNNING {trials_in_words(numbers)}", cure)


def unreadable_results(tasks: AuditedTasks, strays: Sequence[TrialRow]) -> Iterator[Finding]:
    """Find notes: results that are in Optuna only, since our row was destroyed and the task was tried again."""
    for trial in strays:
        attempt = tasks.asked_by(trial)
        if trial.finished and attempt is not None and attempt.error_class == UNREADABLE and tasks.belongs(trial):
            of = f"{trial.task} attempt {trial.attempt}"
            text = f"{trial} is {trial.state}: the outcome of {of} was destroyed later, and the task was tried again"
            yield Finding(text)


def trials_in_words(numbers: Sequence[Any]) -> str:
    """Return the numbers in words: "trial 3", "trials 3, 4, 7"; of many only the first."""
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:_SHOWN]))}{more}"
