"""Faults of a task, an attempt, a trial.

**One cause, one line.** Of each task only the first fault is listed, since the others mostly follow from it:
without its attempt 2 a task has no finished attempt, no trial and no value either.

**Missing trials.** Our rows are the results, so a study that another tool deleted and `create` recreated must not fail
the audit for ever. Optuna deletes only whole studies, and a recreated study numbers its trials from 0. So an attempt's
missing trial has *vanished* with its study, which is not a fault, if the study's numbers run from 0 without a gap and
no remaining trial ended before the missing one's attempt began: that one would have been deleted as well. Every other
missing trial is a fault.

`strays` are our trials except those of tasks with a fault, or in the place of one: those are reported already.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from storage.audit.rows import FINISHED, AttemptRow, Rows, TaskRow, TrialRow, Unreadable
from storage.errors import NextStep
from storage.studies.space import study_name
from storage.tables import ATTEMPT_STATES, PHASE_ENDED, TASK_STATES, TASK_UNENDED, UNREADABLE

_SHOWN = 10  # numbers in one line


@dataclass(frozen=True)
class Finding:
    """A finding in one line, and its remedies, best first."""

    text: str
    next_steps: tuple[NextStep, ...] = ()


class AuditedTasks:
    """The tasks of a sweep with their attempts and trials.

    A trial belongs to an attempt if each names the other: the attempt by study and number, the trial by its attributes.
    The number alone is not enough, since a recreated study numbers its trials from 0 again.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._by_key = {task.key: task for task in rows.tasks}
        self.attempts: dict[int, list[AttemptRow]] = defaultdict(list)
        for attempt in rows.attempts:
            self.attempts[attempt.task_id].append(attempt)
        self._numbered: dict[tuple[str | None, int | None], list[TrialRow]] = defaultdict(list)
        for trials in rows.trials.values():
            for trial in trials:
                self._numbered[trial.study, trial.number].append(trial)
        self.vanished = self._vanished()

    def of(self, key: str) -> list[AttemptRow]:
        task = self._by_key.get(key)
        return self.attempts[task.id] if task else []

    def trials(self, task: TaskRow, attempt: AttemptRow) -> list[TrialRow]:
        """Return the trial of the attempt, if any; several only if rows were duplicated."""
        numbered = self._numbered.get((attempt.study, attempt.trial_number), [])
        return [trial for trial in numbered if trial.ours and (trial.task, trial.attempt) == (task.key, attempt.number)]

    def shown_by(self, trial: TrialRow) -> AttemptRow | None:
        """Return the attempt that the trial names, whether or not the attempt names the trial."""
        return next((attempt for attempt in self.of(trial.task) if attempt.number == trial.attempt), None)

    def belongs(self, trial: TrialRow) -> bool:
        """Return whether the attempt that the trial names has that trial, or a mirror is about to store that."""
        attempt = self.shown_by(trial)
        if attempt is not None and attempt.trial_number is None and attempt.has_point and not attempt.reported:
            drawn = [other for other in self._rows.trials[trial.study] if _names(other) == _names(trial)]
            return drawn == [trial]
        return attempt is not None and (attempt.study, attempt.trial_number) == (trial.study, trial.number)

    def fault(self, task: TaskRow) -> Finding | None:
        text = self._state_fault(task) or self._attempts_fault(task) or self._retry_fault(task)
        if text is None and (finding := self._outcome_fault(task)) is not None:
            return finding
        attempts = self.attempts[task.id]
        text = text or next((fault for attempt in attempts if (fault := self._trial_fault(task, attempt))), None)
        text = text or self._value_fault(task)
        return None if text is None else Finding(text)

    def _vanished(self) -> dict[str, set[tuple[int, int]]]:
        """Return by study the attempts (task id, number) whose trials vanished with it; see the module docstring."""
        missing: dict[str, list[AttemptRow]] = defaultdict(list)
        ended: dict[str, float] = {}  # by study: the first end of its remaining trials
        for task in self._rows.tasks:
            for attempt in self.attempts[task.id]:
                study = study_name(self._rows.name, task.stage)
                if attempt.study != study or study not in self._rows.trials or attempt.trial_number is None:
                    continue
                if not self.trials(task, attempt):
                    missing[study].append(attempt)
                elif attempt.finished_at is not None:
                    ended[study] = min(ended.get(study, math.inf), attempt.finished_at)
        vanished = {}
        for study, attempts in missing.items():
            numbers = [trial.number for trial in self._rows.trials[study]]
            if numbers == list(range(len(numbers))):
                first_end = ended.get(study, math.inf)
                vanished[study] = {(a.task_id, a.number) for a in attempts if a.started_at <= first_end}
        return {study: attempts for study, attempts in vanished.items() if attempts}

    def _state_fault(self, task: TaskRow) -> str | None:
        if task.state not in TASK_STATES:
            return f"{task.key} is {task.state!r}; a task is one of {', '.join(TASK_STATES)}"
        if isinstance(task.payload, Unreadable):
            return f"{task.key}: its payload is not JSON ({task.payload.why})"
        if task.state in TASK_UNENDED and (task.phase is None or task.phase_state in PHASE_ENDED):
            return f"{task.key} is {task.state}, but its phase {task.phase} is {task.phase_state or 'missing'}"
        return None

    def _attempts_fault(self, task: TaskRow) -> str | None:
        attempts = self.attempts[task.id]
        expected = list(range(1, task.attempt + 1))
        if (numbers := [attempt.number for attempt in attempts]) != expected:
            return f"{task.key}: expected {_attempts(expected)}, found {_attempts(numbers)}"
        for attempt in attempts:
            if attempt.state not in ATTEMPT_STATES:
                return f"{_key(task, attempt)} is {attempt.state!r}; one of {', '.join(ATTEMPT_STATES)}"
        for state in ("running", "done"):
            expected = [task.attempt] if task.state == state else []
            if (numbers := [attempt.number for attempt in attempts if attempt.state == state]) != expected:
                return f"{task.key} is {task.state}: expected {_attempts(expected)} {state}, found {_attempts(numbers)}"
        return None

    def _retry_fault(self, task: TaskRow) -> str | None:
        earlier: AttemptRow | None = None
        for attempt in self.attempts[task.id]:
            expected = earlier.trial_number if earlier else None
            undrawn = attempt.trial_number is None and attempt.retry_of is None
            if attempt.retry_of != expected and not undrawn:
                return f"{_key(task, attempt)}: expected retry_of {expected}, found {attempt.retry_of}"
            if isinstance(attempt.params, Unreadable):
                return f"{_key(task, attempt)}: its parameters are not JSON ({attempt.params.why})"
            if attempt.params is None:
                continue
            if earlier and attempt.params != earlier.params:
                return f"{_key(task, attempt)}: expected the parameters {earlier.params}, found {attempt.params}"
            earlier = attempt
        return None

    def _outcome_fault(self, task: TaskRow) -> Finding | None:
        cure = (NextStep("type", "retry", self._rows.name),)
        if isinstance(task.outcome, Unreadable):
            text = f"{task.key}: its outcome is not JSON ({task.outcome.why})"
            return Finding(text, cure if task.state == "done" else ())
        if task.state == "done" and _result(task) is None:
            text = f"{task.key} is done: expected an outcome with a result, found {str(task.outcome)[:60]}"
            return Finding(text, () if isinstance(task.outcome, dict) else cure)
        return None

    def _trial_fault(self, task: TaskRow, attempt: AttemptRow) -> str | None:
        if attempt.trial_number is None or attempt.study is None:
            drawn = attempt.state == "done" and attempt.reported
            return f"{_key(task, attempt)} is done, but has no trial" if drawn else None
        if attempt.study != (study := study_name(self._rows.name, task.stage)):
            return f"{_key(task, attempt)}: expected a trial of study {study}, found one of {attempt.study}"
        if study not in self._rows.trials or (task.id, attempt.number) in self.vanished.get(study, ()):
            return None
        trials = self.trials(task, attempt)
        if len(trials) != 1:
            what = f"expected trial {attempt.trial_number} of study {study}"
            return f"{_key(task, attempt)} is {attempt.state}: {what}, found {self._replacement(attempt)}"
        trial = trials[0]
        if not (is_unreported(attempt, trial) or trial.state in (expected := self._expected_states(task, attempt))):
            what = f"expected {trial} to be {' or '.join(expected)}"
            return f"{_key(task, attempt)} is {attempt.state}: {what}, found {trial.state}"
        if trial.params != attempt.params:
            return f"{trial}: expected the parameters {attempt.params} of {_key(task, attempt)}, found {trial.params}"
        if (named := trial.retry_of) != attempt.retry_of:
            return f"{trial}: expected retry_of {attempt.retry_of} as {_key(task, attempt)}, found {named}"
        return None

    def _replacement(self, attempt: AttemptRow) -> str:
        """Return what is in the place of the attempt's trial, in words."""
        trials = self._numbered.get((attempt.study, attempt.trial_number), [])
        if len(trials) != 1:
            return f"{len(trials)} of that number" if trials else "none"
        return f"one of {trials[0].task} attempt {trials[0].attempt}" if trials[0].ours else "one of another tool"

    def _expected_states(self, task: TaskRow, attempt: AttemptRow) -> Sequence[str]:
        if attempt.error_class == UNREADABLE:
            return (*FINISHED, "FAIL")
        if attempt.state == "done":
            return ((_result(task) or {}).get("state", "COMPLETE"),)
        return ("RUNNING",) if attempt.state == "running" else ("FAIL",)

    def _value_fault(self, task: TaskRow) -> str | None:
        result = _result(task)
        if task.state != "done" or result is None:
            return None
        values = {"score": task.score, "outcome": result.get("value")}
        for trial in self.trials(task, self.attempts[task.id][-1]):
            if trial.state == "COMPLETE":  # a pruned one has no value
                values[str(trial)] = trial.value
        if all(value == task.score for value in values.values()):
            return None
        return f"{task.key}: expected one value, found " + ", ".join(f"{key} {value}" for key, value in values.items())


def is_unreported(attempt: AttemptRow, trial: TrialRow) -> bool:
    """Return whether a trial is RUNNING only because no mirror has drawn its end yet."""
    return attempt.state != "running" and not attempt.reported and trial.state == "RUNNING"


def _result(task: TaskRow) -> dict[str, Any] | None:
    result = task.outcome.get("trial") if isinstance(task.outcome, dict) else None
    return result if isinstance(result, dict) else None


def _names(trial: TrialRow) -> tuple[bool, str, int | None]:
    return trial.ours, trial.task, trial.attempt


def _key(task: TaskRow, attempt: AttemptRow) -> str:
    return f"{task.key} attempt {attempt.number}"


def _attempts(numbers: Sequence[int]) -> str:
    if not numbers:
        return "no attempt"
    return f"attempt{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def uncounted_results(tasks: AuditedTasks, strays: Sequence[TrialRow]) -> Iterator[Finding]:
    """Yield violations: finished trials that their tasks do not refer to."""
    for trial in strays:
        if not trial.finished or tasks.belongs(trial):
            continue
        attempt = tasks.shown_by(trial)
        other = "no such attempt"
        if attempt is not None:
            number = attempt.trial_number
            other = "that has no trial" if number is None else f"that has trial {number} of study {attempt.study}"
        text = f"{trial} is {trial.state}: expected it to be of {trial.task} attempt {trial.attempt}, found {other}"
        yield Finding(text)


def foreign_trials(rows: Rows) -> Iterator[Finding]:
    """Yield warnings: trials of other tools. That none was ever selected is checked with the selections."""
    for study, trials in rows.trials.items():
        if foreign := [trial.number for trial in trials if not trial.ours]:
            text = f"study {study}: {trials_in_words(foreign)} made by another tool, in no task's count, never selected"
            yield Finding(text)


def vanished_trials(tasks: AuditedTasks) -> Iterator[Finding]:
    """Yield warnings: trials that another tool deleted together with their study."""
    for study, attempts in tasks.vanished.items():
        count = f"{len(attempts)} trial{'s' if len(attempts) > 1 else ''}"
        yield Finding(
            f"study {study}: another tool deleted it with {count} before it was recreated; the results are intact"
        )


def left_running(rows: Rows, tasks: AuditedTasks, strays: Sequence[TrialRow]) -> Iterator[Finding]:
    """Yield warnings: trials that are RUNNING for no attempt."""
    orphans = defaultdict(list)
    for trial in strays:
        if trial.state == "RUNNING" and not tasks.belongs(trial):
            orphans[trial.study].append(trial.number)
    for study, numbers in orphans.items():
        text = f"study {study}: no attempt has the RUNNING {trials_in_words(numbers)}"
        yield Finding(text, (NextStep("type", "reap", rows.name),))


def undrawn_trials(rows: Rows) -> Iterator[Finding]:
    """Yield notes: the number of ended attempts that the dashboard does not show yet."""
    count = sum(row.state != "running" and row.has_point and not row.reported for row in rows.attempts)
    if count:
        yield Finding(f"{count} trial{'s are' if count > 1 else ' is'} not in the dashboard yet")


def unreadable_results(tasks: AuditedTasks, strays: Sequence[TrialRow]) -> Iterator[Finding]:
    """Yield notes: results that only Optuna has, since our row was destroyed and the task was retried."""
    for trial in strays:
        attempt = tasks.shown_by(trial)
        if trial.finished and attempt is not None and attempt.error_class == UNREADABLE and tasks.belongs(trial):
            of = f"{trial.task} attempt {trial.attempt}"
            text = f"{trial} is {trial.state}: the outcome of {of} was destroyed later, and the task was retried"
            yield Finding(text)


def trials_in_words(numbers: Sequence[Any]) -> str:
    """Return "trial 3" or "trials 3, 4, 7", at most ten of them."""
    more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
    return f"trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:_SHOWN]))}{more}"
