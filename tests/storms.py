"""Storms: real workers on a real database, disturbed at random while they work, and what is left afterwards.

Shared by the tests and by bench/reliability.py, so it imports no pytest. Read it in this order: `work_through`
keeps a number of workers alive and disturbs them; `Kills` is the disturbance with `kill -9`; `count` says what
the database holds in the end, counted from the rows themselves.
"""

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna
import sqlalchemy
from crews import NAME, Crew
from crews import Nursery as Nursery

from storage import records
from storage.audit import audit
from storage.engine import open_engine
from storage.space import study_name
from storage.studies import open_studies
from storage.url import resolve
from sweeps.create import create_sweep
from sweeps.plan import STAGES, make_plan
from sweeps.presets import preset
from sweeps.spec import Spec, override

GIVE_UP_S = 300.0  # a load of 200 tasks takes 10 to 40 s; one that hangs has to say so


def storm_spec(**changes: Any) -> Spec:
    """200 tasks over all seven stages; a dead worker is noticed after 1.5 s, and any number of them may die."""
    given = {"search.trials": 44, "transfer.seeds": 10, "lease.interval_s": 0.5, "lease.grace_s": 1.0}
    spec = override(preset("tiny"), given | {"retry.lost_worker": 0, "retry.database": 0} | changes)
    assert len(make_plan(spec).tasks) == 200 or changes
    return spec


def new_storm(url: str, spec: Spec | None = None, *, name: str = NAME) -> None:
    """Write the sweep that the workers will find."""
    assert create_sweep(resolve(url), name, spec or storm_spec())


@dataclass
class Course:
    """How a load went. `exits`: how many workers ended with which code, -9 being the killed."""

    seconds: float = 0.0
    starts: int = 0
    exits: Counter[int] = field(default_factory=Counter)


Fault = Callable[[list[int]], float]
"""Disturbs some of the living, given by their process numbers; returns the seconds until it wants to do so again."""


def work_through(
    crew: Crew,
    *,
    workers: int,
    fault: Fault | None = None,
    on_end: Callable[[int, int], None] = lambda pid, code: None,
) -> Course:
    """Keep `workers` at work until one of them says that nothing is left, then let the others end.

    Args:
        on_end: told the process number and the exit code of whoever ended.
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
        assert course.seconds < GIVE_UP_S, f"no end after {course}, {len(living)} workers alive"
    return course


class Kills:
    """Kills a random worker with -9, again and again, and notes from the database what each was doing.

    Pace: one kill for every two results, whatever the machine. That is as fast as it can be while the sweep still
    gets on: kills at a fixed pace would, on a busy machine, only meet workers that are starting.
    """

    RESULTS_PER_KILL = 2

    def __init__(self, url: str, *, seed: int) -> None:
        self.during: Counter[str] = Counter()
        self._engine = open_engine(resolve(url), read_only=True)
        self._random = random.Random(seed)
        self._next = 1

    def __call__(self, living: list[int]) -> float:
        """Kill one of the living, if it is time; see `Fault`."""
        if self._results() < self._next:
            return 0.02
        time.sleep(self._random.uniform(0.0, 0.1))  # at any step of a task, not just after the end of one
        self.kill(self._random.choice(living))
        self._next = self._results() + self.RESULTS_PER_KILL
        return 0.0

    def _results(self) -> int:
        with self._engine.connect() as connection:
            done = connection.execute(sqlalchemy.text("SELECT count(*) FROM tasks WHERE state = 'done'"))
            return int(done.scalar_one())

    def kill(self, pid: int) -> None:
        """Nothing of it can be caught, delayed or cleaned up."""
        os.kill(pid, signal.SIGKILL)

    def note(self, pid: int, code: int) -> None:
        """For `on_end`: what was this worker doing?"""
        if code == -signal.SIGKILL:
            self.during[moment_of_death(self._engine, pid)] += 1

    def close(self) -> None:
        """Give the connection back."""
        self._engine.dispose()


@dataclass(frozen=True)
class Storm:
    """A load under kills, and what it left."""

    course: Course
    during: Counter[str]
    count: "Count"

    @property
    def kills(self) -> int:
        """How many workers were killed."""
        return sum(self.during.values())

    def __str__(self) -> str:
        during = ", ".join(f"{self.during[moment]} {moment}" for moment in MOMENTS if self.during[moment])
        return f"{self.kills} kills survived ({during}); {self.count}, in {self.course.seconds:.1f} s"


def storm(url: str, crew: Crew, *, workers: int, seed: int) -> Storm:
    """Kill workers of `crew` until every task is done, and count."""
    with contextlib.closing(Kills(url, seed=seed)) as kills:
        course = work_through(crew, workers=workers, fault=kills, on_end=kills.note)
    return Storm(course, kills.during, count(url))


MOMENTS = (
    "starting",  # it has claimed nothing yet
    "claimed",  # a task, and no trial
    "asked",  # a trial, whose number is not saved: the trial is an orphan
    "saved",  # the number is saved; the task runs, or is about to be finished
    "finished",  # the outcome is stored, the trial RUNNING
    "told",  # the trial COMPLETE, and no note of that
    "between tasks",
    "robbed",  # it was too slow to renew its lease: another had taken the task
)


def moment_of_death(engine: sqlalchemy.Engine, pid: int) -> str:
    """Which of MOMENTS the rows of a dead process show."""
    latest = """
        SELECT a.state, a.trial_number, a.told, a.study, a.worker, a.number, t.key
        FROM attempts a JOIN tasks t ON t.id = a.task_id WHERE a.pid = :pid ORDER BY a.started_at DESC LIMIT 1"""
    trials = """
        SELECT count(*) FROM trials r JOIN trial_user_attributes w ON w.trial_id = r.trial_id AND w.key = 'worker'
        JOIN trial_user_attributes k ON k.trial_id = r.trial_id AND k.key = 'task'
        WHERE w.value_json = :worker AND k.value_json = :key"""
    told = """
        SELECT r.state FROM trials r JOIN studies s ON s.study_id = r.study_id
        WHERE s.study_name = :study AND r.number = :number"""
    with engine.connect() as connection:
        row = connection.execute(sqlalchemy.text(latest), {"pid": pid}).one_or_none()
        if row is None:
            return "starting"
        if row.state == "running" and row.trial_number is not None:
            return "saved"
        if row.state == "running":
            of_it = {"worker": json.dumps(row.worker), "key": json.dumps(row.key)}
            return "asked" if connection.execute(sqlalchemy.text(trials), of_it).scalar() else "claimed"
        if row.state != "done":
            return "robbed"
        if row.told:
            return "between tasks"
        of_it = {"study": row.study, "number": row.trial_number}
        return "finished" if connection.execute(sqlalchemy.text(told), of_it).scalar() == "RUNNING" else "told"


@dataclass(frozen=True)
class Count:
    """What the database holds, counted from its rows and by Optuna itself."""

    tasks: int  # planned
    done: int
    complete: int  # COMPLETE trials that Optuna sees
    duplicated: int  # COMPLETE trials that are not the one of their task
    running: int  # RUNNING trials, which nobody will ever tell
    attempts: int
    violations: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def lost(self) -> int:
        """Tasks without a result."""
        return self.tasks - self.done

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled or left over, and the audit has nothing to say."""
        left_over = self.lost or self.duplicated or self.running or self.complete != self.done
        return not (left_over or self.violations or self.warnings)

    def __str__(self) -> str:
        told = (*self.violations, *self.warnings)
        return (
            f"{self.done} of {self.tasks} tasks done in {self.attempts} attempts, {self.lost} lost,"
            f" {self.duplicated} duplicated, {self.running} RUNNING left, audit {'; '.join(told) or 'clean'}"
        )


def count(url: str, *, name: str = NAME) -> Count:
    """Count what a sweep left in its database."""
    with contextlib.closing(open_studies(resolve(url))) as studies:
        sweep = records.find_sweep(studies.engine, name)
        tasks = records.task_records(studies.engine, sweep.id)
        trials = {
            (study, trial.number): trial.state.name
            for study in (study_name(name, stage) for stage in STAGES)
            for trial in optuna.load_study(study_name=study, storage=studies.storage).trials
        }
        of_tasks = {(task.study, task.trial_number) for task in tasks if task.state == "done"}
        found = audit(studies.engine, sweep)
        return Count(
            tasks=sum(sum(revision.planned.values()) for revision in records.revisions(studies.engine, sweep.id)),
            done=sum(task.state == "done" and task.outcome is not None for task in tasks),
            complete=sum(state == "COMPLETE" for state in trials.values()),
            duplicated=sum(state == "COMPLETE" and which not in of_tasks for which, state in trials.items()),
            running=sum(state == "RUNNING" for state in trials.values()),
            attempts=sum(task.attempt for task in tasks),
            violations=tuple(map(str, found.violations)),
            warnings=tuple(map(str, found.warnings)),
        )
