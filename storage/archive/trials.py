"""The trials that a sweep's studies have to have, made from its attempts and outcomes."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from storage.archive.lines import AttemptLine, SweepLines, TaskLine
from storage.errors import ArchiveBroken, RecordBroken
from storage.studies.space import EndedTrial

_MOST_MISSING = 100
"""Trials of a study that no attempt has, beyond one for each that one has: of other tools, and of workers that died.
Each is made anew, one by one: an edited number would hold the storage for minutes."""


class _Result(BaseModel):
    """What an outcome says of its trial, as `storage.queue.tasks.finish` has it."""

    model_config = ConfigDict(frozen=True, strict=True)

    state: Literal["COMPLETE", "PRUNED", "FAIL"] = "COMPLETE"
    value: float | None = None
    attrs: dict[str, Any] = {}
    epoch_values: list[float | None] = []


def trials_of(
    lines: SweepLines, study: str, asked: Callable[[AttemptLine, TaskLine], Mapping[str, Any]]
) -> list[EndedTrial]:
    """Return the trials of a study, in the order of their numbers, which stay what they were.

    A number that no attempt has was a trial of another tool, or of a worker that died before it saved the number: a
    failed one stands in its place. Of two attempts with one number the later began in a study that was made again.

    Args:
        lines: without a running attempt.
        asked: the attributes with which an attempt asked for its trial.

    Raises:
        ArchiveBroken: the numbers are not those of a study.
        RecordBroken: an outcome does not say how its trial ended.
    """
    tasks = {task.key: task for task in lines.tasks}
    numbered: dict[int, AttemptLine] = {}
    for attempt in sorted(lines.attempts, key=lambda one: one.started_at):
        if attempt.trial_number is not None and attempt.study == study:
            numbered[attempt.trial_number] = attempt
    count = max(numbered, default=-1) + 1
    if count > (most := 2 * len(numbered) + _MOST_MISSING):
        raise ArchiveBroken(
            f"{len(numbered)} attempts name trials of study {study}, with numbers up to {count - 1:,}; allowed: numbers"
            f" up to {most - 1:,}, the trials of other tools included"
        )
    trials = []
    for number in range(count):
        if number in numbered:
            attempt = numbered[number]
            task = tasks[attempt.task]
            trials.append(_trial(attempt, task, asked(attempt, task)))
        else:
            trials.append(_placeholder(lines.sweep.created_at))
    return trials


def _placeholder(at: float) -> EndedTrial:
    attrs = {"reason": "no task of the sweep has this trial, so the archive did not hold it"}
    return EndedTrial(state="FAIL", params={}, value=None, attrs=attrs, epoch_values=(), started_at=at, ended_at=at)


def _trial(attempt: AttemptLine, task: TaskLine, asked: Mapping[str, Any]) -> EndedTrial:
    """Return the trial of an ended attempt, as `storage.studies.reconcile` ends it."""
    why = {"reason": attempt.reason or attempt.state, "error_class": attempt.error_class or attempt.state}
    result = _result(task) if attempt.state == "done" else _Result(state="FAIL", attrs=why)
    return EndedTrial(
        state=result.state,
        params=attempt.params or {},
        value=result.value,
        attrs={**asked, **result.attrs},
        epoch_values=result.epoch_values,
        started_at=attempt.started_at,
        ended_at=attempt.finished_at or attempt.started_at,
    )


def _result(task: TaskLine) -> _Result:
    try:
        return _Result.model_validate((task.outcome or {}).get("trial", {}))
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        raise RecordBroken(f"the outcome of {task.key} says of its trial: {field} ({problem['msg']})") from error
