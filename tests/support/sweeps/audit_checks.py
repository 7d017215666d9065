"""Helpers for the tests of the audit: its findings as lines of text, and SQL that selects rows."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import optuna

from storage.audit.audit import Audit, StageAudit
from storage.db.engine import open_engine
from storage.records import queries
from storage.studies.studies import open_studies
from storage.tables import SweepRecord
from storage.url import resolve
from sweeps.cli.text import audit_values
from sweeps.plan.audit import audit
from sweeps.query.listing import open_sweep
from tests.support.sweeps.audited_sweeps import execute

OF_TRIALS = ("values", "intermediate_values", "params", "user_attributes", "system_attributes")
Damages = dict[str, tuple[list[str], str]]  # case -> SQL statements, pattern of the one line about it


@dataclass(frozen=True)
class Audited:
    """An audit whose findings are lines, as `status --audit` prints them."""

    stages: list[StageAudit]
    planned: int
    accounted: int
    violations: list[str]
    warnings: list[str]
    notes: list[str]


def audited(url: str, sweep: SweepRecord | None = None) -> Audited:
    """Audit sweep "s"; pass `sweep` where its row can no longer be read."""
    engine = open_engine(resolve(url), read_only=True)
    try:
        return as_lines(audit(engine, sweep or queries.find_sweep(engine, "s")))
    finally:
        engine.dispose()


def as_lines(result: Audit) -> Audited:
    """Return the audit with its findings as lines."""
    lines = {name: audit_values("s", result, {})[name] for name in ("violations", "warnings", "notes")}
    return Audited(result.stages, result.planned, result.accounted, **lines)


def check_damage(url: str, statements: list[str], line: str) -> None:
    """Damage the sweep; the audit must find exactly that, as one line of this pattern."""
    sweep = sweep_of(url)
    execute(url, *statements)
    books = audited(url, sweep)
    assert len(books.violations) == 1, books.violations
    assert re.fullmatch(line, books.violations[0]), books.violations
    assert (books.warnings, books.notes) == ([], [])


def sweep_of(url: str) -> SweepRecord:
    with open_sweep(url, "s") as (_, sweep):
        return sweep


@contextlib.contextmanager
def study_of(url: str) -> Iterator[optuna.Study]:
    """Return the study as another tool sees it."""
    with contextlib.closing(open_studies(resolve(url))) as opened:
        yield optuna.load_study(study_name="s", storage=opened.storage)


def task_id(key: str) -> str:
    """SQL: the id of a task."""
    return f"(SELECT id FROM tasks WHERE key = '{key}')"


def attempt_where(key: str, number: int = 1) -> str:
    """SQL: the condition that picks an attempt."""
    return f"task_id = {task_id(key)} AND number = {number}"


def trial_where(key: str, number: int = 1) -> str:
    """SQL: the condition that picks the trial of an attempt."""
    return f"""trial_id IN (SELECT trials.trial_id FROM trials
        JOIN studies ON studies.study_id = trials.study_id
        JOIN attempts ON attempts.study = study_name AND attempts.trial_number = trials.number
        WHERE {attempt_where(key, number).replace(" number", " attempts.number")})"""


def set_outcome(text: str) -> str:
    """SQL: give search#2 another outcome."""
    return f"UPDATE tasks SET outcome = '{text}' WHERE key = 'search#2'"
