"""Ask and steer sweeps in their database."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import sqlalchemy

from storage.db.engine import open_engine
from storage.records import queries
from storage.records.queries import SweepRecord
from storage.url import masked
from sweeps.places.answers import AuditAnswer, BestAnswer, Extended, More
from sweeps.query.listing import SweepRow, TrialRow
from sweeps.query.opening import open_sweep
from sweeps.query.status import Status
from sweeps.query.workers import WorkerRow
from sweeps.spec.model import as_it_stands

if TYPE_CHECKING:
    from sweeps.analysis.findings import Findings

# Imports stand inside the methods: a command answers one question, and pays for the modules of that one only.


class Database:
    """A `Place` that is a storage. Each question opens it anew and closes it again."""

    def __init__(self, url: sqlalchemy.URL) -> None:
        """Take a URL from `storage.url.resolve`; nothing is opened yet."""
        self.url = url

    @property
    def label(self) -> str:
        """What it is and where."""
        return f"storage {masked(self.url)}"

    def open(self, name: str) -> AbstractContextManager[tuple[sqlalchemy.Engine, SweepRecord]]:
        """Open a sweep for reading."""
        return open_sweep(self.url, name)

    @contextmanager
    def engine(self) -> Iterator[sqlalchemy.Engine]:
        """Give an engine for reading."""
        engine = open_engine(self.url, read_only=True)
        try:
            yield engine
        finally:
            engine.dispose()

    def sweeps(self) -> list[SweepRow]:
        """Return one row per sweep."""
        from sweeps.query.listing import sweep_rows

        with self.engine() as engine:
            return sweep_rows(engine)

    def status(self, name: str) -> Status:
        """Return where a sweep stands."""
        from sweeps.query.status import status

        with self.open(name) as (engine, sweep):
            return status(engine, sweep)

    def audit(self, name: str) -> AuditAnswer:
        """Compare the plan, the tasks, their attempts and Optuna's trials."""
        from sweeps.plan.audit import audit
        from sweeps.query.bits import bits
        from sweeps.query.status import stage_counts

        with self.open(name) as (engine, sweep):
            found = audit(engine, sweep)
            if found.violations:  # what is damaged cannot be read
                return AuditAnswer(audit=found, unavailable={}, answer_hash=None, notes=())
            answer = bits(engine, sweep)
            missing = {stage: count.unavailable for stage, count in stage_counts(engine, sweep.id).items()}
        return AuditAnswer(
            audit=found, unavailable=missing, answer_hash=answer.answer_hash, notes=tuple(answer.lines())
        )

    def workers(self, name: str) -> list[WorkerRow]:
        """Return every worker that ever worked on a sweep."""
        from sweeps.query.bits import KEEP
        from sweeps.query.workers import worker_rows

        with self.open(name) as (engine, sweep):
            done = queries.task_records(engine, sweep.id, state="done", keep=KEEP)
            return worker_rows(engine, sweep, as_it_stands(sweep), done)

    def best(self, name: str) -> BestAnswer:
        """Return the best point, and what a finished sweep says of it."""
        from sweeps.query.best import best

        with self.open(name) as (engine, sweep):
            found = best(engine, sweep)
            return BestAnswer(best=found, said=_said(engine, sweep) if found.answer_hash else ())

    def trials(self, name: str, stage: str | None = None) -> list[TrialRow]:
        """Return one row per task."""
        from sweeps.query.listing import trial_rows

        with self.open(name) as (engine, sweep):
            return trial_rows(engine, sweep, stage)

    def findings(self, name: str) -> "Findings":
        """Return what a report is made of."""
        from sweeps.analysis.load import load

        with self.open(name) as (engine, sweep):
            return load(engine, sweep)

    def log(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> list[str]:
        """Return what was logged of a task."""
        from sweeps.service import logs

        return logs.about_task(self.url, name, key, attempt=attempt, lines=lines)

    def follow(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> Iterator[str]:
        """Yield the log of one attempt until it has ended."""
        from sweeps.service import logs

        return logs.follow(self.url, name, key, attempt=attempt, lines=lines)

    def pause(self, name: str) -> int:
        """Stop starting tasks; return how many are running."""
        from sweeps.service import steering

        return steering.pause(self.url, name)

    def resume(self, name: str) -> int:
        """Go on; return how many tasks are left."""
        from sweeps.service import steering

        return steering.resume(self.url, name)

    def cancel(self, name: str) -> int:
        """Take back every task that has not ended; return how many."""
        from sweeps.service import steering

        return steering.cancel(self.url, name)

    def extension(self, name: str, more: More) -> Extended:
        """Return what `extend` would do."""
        from sweeps.service import steering

        planned = steering.extension(self.url, name, **more.as_keywords())
        return Extended(tasks=planned.tasks, look=planned.look)

    def extend(self, name: str, more: More) -> int:
        """Add to a sweep; return how many tasks that adds."""
        from sweeps.service import steering

        return steering.extend(self.url, name, **more.as_keywords())

    def retry(self, name: str) -> list[str]:
        """Let failed tasks wait again; return their keys."""
        from sweeps.service import steering

        return steering.retry(self.url, name)


def _said(engine: sqlalchemy.Engine, sweep: SweepRecord) -> tuple[str, ...]:
    """Return the verdict of a finished sweep, and where an untuned point was as good."""
    from sweeps.analysis.load import load
    from sweeps.report.answer import badge, headline
    from sweeps.report.names import called
    from sweeps.report.observations import matters

    findings = load(engine, sweep)
    source, answer = findings.surfaces[0], f"{badge(findings).text}. {headline(findings)}"
    return (answer, f"On {called(source.dataset)} {said}.") if (said := matters(source)) else (answer,)
