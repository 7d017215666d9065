"""Storms: real workers on a real database under random faults, and what remains afterwards.

Shared by the tests and by bench/reliability.py, so it imports no pytest. Reading order: `work_through` keeps a number
of workers alive and disturbs them; `kills.Kills` disturbs them with `kill -9`; `count` counts what the database holds
at the end, from its rows.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna

from storage.records import queries
from storage.studies.space import study_name
from storage.studies.studies import open_studies
from storage.url import resolve
from sweeps.plan.audit import audit
from sweeps.plan.plan import make_plan
from sweeps.spec.model import Spec, override
from sweeps.usecases.create import create_sweep
from tests.support.faults.crews import NAME, Crew
from tests.support.faults.kills import MOMENTS, Kills
from tests.support.sweeps.presets import before
from tests.support.sweeps.small_sweeps import draw

GIVE_UP_S = 300.0  # 200 tasks take 10 to 40 s; a load that hangs must fail


def storm_spec(**changes: Any) -> Spec:
    """Return a spec of 200 tasks over seven stages; a dead worker is noticed after 1.5 s, and any number may die."""
    defaults = {"search.trials": 44, "transfer.seeds": 10, "lease.interval_s": 0.5, "lease.grace_s": 1.0}
    spec = override(before("tiny"), defaults | {"retry.lost_worker": 0, "retry.database": 0} | changes)
    assert len(make_plan(spec).tasks) == 200 or changes
    return spec


def new_storm(url: str, spec: Spec | None = None, *, name: str = NAME) -> None:
    """Create the sweep for the workers."""
    assert create_sweep(resolve(url), name, spec or storm_spec()).new


@dataclass
class Course:
    """The course of a load. exits: number of workers by exit code, -9 for the killed."""

    seconds: float = 0.0
    starts: int = 0
    exits: Counter[int] = field(default_factory=Counter)


Fault = Callable[[list[int]], float]
"""Disturbs some of the living workers, given by process number; returns the seconds until its next turn."""


def work_through(
    crew: Crew,
    *,
    workers: int,
    fault: Fault | None = None,
    on_end: Callable[[int, int], None] = lambda pid, code: None,
    give_up_s: float = GIVE_UP_S,
) -> Course:
    """Keep `workers` running until one of them finds no task left, then let the others end.

    Args:
        on_end: called with the process number and exit code of a process that ended.
    """
    course, began = Course(), time.monotonic()
    living: list[int] = []
    due, over = began, False
    while not over or living:
        while not over and len(living) < workers:
            living.append(crew.start())
            course.starts += 1
        time.sleep(0.01)
        for pid, code in crew.ended().items():
            living.remove(pid)
            course.exits[code] += 1
            on_end(pid, code)
            over = over or code == 0
        if fault is not None and living and not over and time.monotonic() >= due:
            due = time.monotonic() + fault(living)
        course.seconds = time.monotonic() - began
        assert course.seconds < give_up_s, f"no end after {course}, {len(living)} workers alive"
    return course


@dataclass(frozen=True)
class Storm:
    """A load under kills, and its result."""

    course: Course
    during: Counter[str]
    count: "Count"

    @property
    def kills(self) -> int:
        return sum(self.during.values())

    def __str__(self) -> str:
        during = ", ".join(f"{self.during[moment]} {moment}" for moment in MOMENTS if self.during[moment])
        return f"{self.kills} kills survived ({during}); {self.count}, in {self.course.seconds:.1f} s"


def storm(url: str, crew: Crew, *, workers: int, seed: int, give_up_s: float = GIVE_UP_S) -> Storm:
    """Kill workers of `crew` until every task is done, and count."""
    with contextlib.closing(Kills(url, seed=seed)) as kills:
        course = work_through(crew, workers=workers, fault=kills, on_end=kills.note, give_up_s=give_up_s)
    return Storm(course, kills.during, count(url))


@dataclass(frozen=True)
class Count:
    """What the database holds, counted from its rows and by Optuna itself."""

    tasks: int  # planned
    done: int
    complete: int  # COMPLETE trials that Optuna sees
    duplicated: int  # COMPLETE trials that belong to no done task
    running: int  # RUNNING trials, which no mirror has ended
    attempts: int
    violations: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def lost(self) -> int:
        return self.tasks - self.done

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled or left over, and the audit is clean."""
        left_over = self.lost or self.duplicated or self.running or self.complete != self.done
        return not (left_over or self.violations or self.warnings)

    def __str__(self) -> str:
        problems = (*self.violations, *self.warnings)
        return (
            f"{self.done} of {self.tasks} tasks done in {self.attempts} attempts, {self.lost} lost,"
            f" {self.duplicated} duplicated, {self.running} RUNNING left, audit {'; '.join(problems) or 'clean'}"
        )


def count(url: str, *, name: str = NAME) -> Count:
    """Count what a sweep left in its database, after mirroring its trials."""
    draw(resolve(url), name)
    with contextlib.closing(open_studies(resolve(url))) as studies:
        sweep = queries.find_sweep(studies.engine, name)
        tasks = queries.task_records(studies.engine, sweep.id)
        trials = {
            (study, trial.number): trial.state.name
            for study in {study_name(name, task.stage) for task in tasks}
            for trial in optuna.load_study(study_name=study, storage=studies.storage).trials
        }
        of_tasks = {(task.study, task.trial_number) for task in tasks if task.state == "done"}
        books = audit(studies.engine, sweep)
        return Count(
            tasks=sum(sum(revision.planned.values()) for revision in queries.revisions(studies.engine, sweep.id)),
            done=sum(task.state == "done" and task.outcome is not None for task in tasks),
            complete=sum(state == "COMPLETE" for state in trials.values()),
            duplicated=sum(state == "COMPLETE" and which not in of_tasks for which, state in trials.items()),
            running=sum(state == "RUNNING" for state in trials.values()),
            attempts=sum(task.attempt for task in tasks),
            violations=tuple(map(str, books.violations)),
            warnings=tuple(map(str, books.warnings)),
        )
