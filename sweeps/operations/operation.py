"""What can be asked of a storage or a service, and the answers; `LocalClient` asks a storage; answers as JSON.

Numbers that JSON does not have - the NaN of a diverged training - are the strings "NaN", "Infinity" and "-Infinity".
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from storage import json_text
from storage.audit.audit import Audit
from storage.db.engine import open_engine
from storage.records import queries
from storage.tables import SweepRecord
from storage.url import masked
from sweeps.errors import SweepError
from sweeps.query.best import Best, best
from sweeps.query.listing import SweepRow, TrialRow, open_sweep, sweep_rows, trial_rows
from sweeps.query.status import KEEP, Status, WorkerRow, fingerprints, stage_counts, status, worker_rows
from sweeps.spec.stored import as_it_stands
from sweeps.spec.tables import MOST

if TYPE_CHECKING:  # takes a tenth of a second, and most questions are not for findings
    from sweeps.findings.findings import Findings


@dataclass(frozen=True, kw_only=True)
class BestAnswer:
    """The best point. said: of a finished sweep its verdict, and where an untuned point was as good."""

    best: Best
    said: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AuditAnswer:
    """An audit. unavailable: how many tasks of each stage cannot run here. The rest is empty where rows are damaged.

    answer_hash: None until every task has ended. notes: what people are told of the bits of the answer.
    """

    audit: Audit
    unavailable: Mapping[str, int]
    answer_hash: str | None
    notes: tuple[str, ...]


@checked(frozen=True, kw_only=True)
class ExtendArgs:
    """By how much a sweep is extended: trials of every search, seeds of every arm, searches from other points."""

    trials: int = Field(default=0, ge=0, le=MOST)
    seeds: int = Field(default=0, ge=0, le=MOST)
    searches: int = Field(default=0, ge=0, le=MOST)


@dataclass(frozen=True, kw_only=True)
class Extended:
    """What an extension adds. tasks: how many. look: which look at the test images it spends, in words."""

    tasks: int
    look: str


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How many tasks that concerns: those that run (pause), are left (resume), or were taken back (cancel)."""

    tasks: int


@dataclass(frozen=True, kw_only=True)
class Retried:
    """The keys of the tasks that wait again."""

    tasks: tuple[str, ...]


class Client(Protocol):
    """What answers questions about sweeps, and steers them: a storage, or a service.

    Every method that takes a name raises SpecError where no sweep can have it, and what `storage.errors` and
    `sweeps.errors` have for one that cannot answer. No question changes anything.
    """

    @property
    def label(self) -> str:
        """What it is and where, without a password: "storage sqlite:///kd-sweeps.db"."""

    def sweeps(self) -> list[SweepRow]:
        """Return one row per sweep."""

    def status(self, name: str) -> Status:
        """Return where a sweep stands."""

    def audit(self, name: str) -> AuditAnswer:
        """Compare the plan, the tasks, their attempts and Optuna's trials."""

    def workers(self, name: str) -> list[WorkerRow]:
        """Return every worker that ever worked on a sweep."""

    def best(self, name: str) -> BestAnswer:
        """Return the best point; NoResultsYet before the first trial."""

    def trials(self, name: str, stage: str | None = None) -> list[TrialRow]:
        """Return one row per task, in the order of the plan."""

    def findings(self, name: str) -> "Findings":
        """Return what a report is made of; NoResultsYet before the first task is done."""

    def log(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> list[str]:
        """Return what was logged of a task; see `sweeps.usecases.logs.about_task`."""

    def follow(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> Iterator[str]:
        """Yield the log of one attempt until it has ended."""

    def pause(self, name: str) -> int:
        """Stop starting tasks; return how many are running."""

    def resume(self, name: str) -> int:
        """Go on; return how many tasks are left."""

    def cancel(self, name: str) -> int:
        """Take back every task that has not ended; return how many."""

    def extension(self, name: str, more: ExtendArgs) -> Extended:
        """Return what `extend` would do."""

    def extend(self, name: str, more: ExtendArgs) -> int:
        """Add to a sweep; return how many tasks that adds."""

    def retry(self, name: str) -> list[str]:
        """Let failed tasks wait again; return their keys."""


class LocalClient:
    """A `Client` of a storage. Each question opens it and closes it again.

    Slow modules are imported inside the methods: a command answers one question, and pays for that one only.
    """

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
        with self.engine() as engine:
            return sweep_rows(engine)

    def status(self, name: str) -> Status:
        """Return where a sweep stands."""
        with self.open(name) as (engine, sweep):
            return status(engine, sweep)

    def audit(self, name: str) -> AuditAnswer:
        """Compare the plan, the tasks, their attempts and Optuna's trials."""
        from sweeps.plan.audit import audit

        with self.open(name) as (engine, sweep):
            result = audit(engine, sweep)
            if result.violations:  # what is damaged cannot be read
                return AuditAnswer(audit=result, unavailable={}, answer_hash=None, notes=())
            hashes = fingerprints(engine, sweep)
            counts = stage_counts(engine, sweep.id)
        missing = {stage: count.unavailable for stage, count in counts.items()}
        notes = tuple(hashes.lines())
        return AuditAnswer(audit=result, unavailable=missing, answer_hash=hashes.answer_hash, notes=notes)

    def workers(self, name: str) -> list[WorkerRow]:
        """Return every worker that ever worked on a sweep."""
        with self.open(name) as (engine, sweep):
            done = queries.task_records(engine, sweep.id, state="done", keep=KEEP)
            return worker_rows(engine, sweep, as_it_stands(sweep), done)

    def best(self, name: str) -> BestAnswer:
        """Return the best point, and what a finished sweep says of it."""
        with self.open(name) as (engine, sweep):
            point = best(engine, sweep)
            return BestAnswer(best=point, said=_notes(engine, sweep) if point.answer_hash else ())

    def trials(self, name: str, stage: str | None = None) -> list[TrialRow]:
        """Return one row per task."""
        with self.open(name) as (engine, sweep):
            return trial_rows(engine, sweep, stage)

    def findings(self, name: str) -> "Findings":
        """Return what a report is made of."""
        from sweeps.findings.findings import load

        with self.open(name) as (engine, sweep):
            return load(engine, sweep)

    def log(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> list[str]:
        """Return what was logged of a task."""
        from sweeps.usecases import logs

        return logs.about_task(self.url, name, key, attempt=attempt, lines=lines)

    def follow(self, name: str, key: str, *, attempt: int | None = None, lines: int | None = None) -> Iterator[str]:
        """Yield the log of one attempt until it has ended."""
        from sweeps.usecases import logs

        return logs.follow(self.url, name, key, attempt=attempt, lines=lines)

    def pause(self, name: str) -> int:
        """Stop starting tasks; return how many are running."""
        from sweeps.usecases import steering

        return steering.pause(self.url, name)

    def resume(self, name: str) -> int:
        """Go on; return how many tasks are left."""
        from sweeps.usecases import steering

        return steering.resume(self.url, name)

    def cancel(self, name: str) -> int:
        """Take back every task that has not ended; return how many."""
        from sweeps.usecases import steering

        return steering.cancel(self.url, name)

    def extension(self, name: str, more: ExtendArgs) -> Extended:
        """Return what `extend` would do."""
        from sweeps.usecases import steering

        planned = steering.extension(self.url, name, **asdict(more))
        return Extended(tasks=planned.tasks, look=planned.look)

    def extend(self, name: str, more: ExtendArgs) -> int:
        """Add to a sweep; return how many tasks that adds."""
        from sweeps.usecases import steering

        return steering.extend(self.url, name, **asdict(more))

    def retry(self, name: str) -> list[str]:
        """Let failed tasks wait again; return their keys."""
        from sweeps.usecases import steering

        return steering.retry(self.url, name)


def _notes(engine: sqlalchemy.Engine, sweep: SweepRecord) -> tuple[str, ...]:
    """Return the verdict of a finished sweep, and where an untuned point was as good."""
    from sweeps.findings.findings import load
    from sweeps.report.answer import badge, headline
    from sweeps.report.words import display_name, parameter_effect

    findings = load(engine, sweep)
    source, answer = findings.surfaces[0], f"{badge(findings).text}. {headline(findings)}"
    effect = parameter_effect(source)
    return (answer, f"On {display_name(source.dataset)} {effect}.") if effect else (answer,)


def encode(kind: Any, value: Any) -> bytes:
    """Return a value of a type as JSON.

    Args:
        kind: dataclass, pydantic model, or a list of them.
    """
    # What was not set is not written: a model that comes back writes the same again.
    plain = _adapter(kind).dump_python(value, mode="json", exclude_unset=True)
    return json.dumps(_sendable(plain), ensure_ascii=False, separators=(",", ":")).encode()


def decode(kind: Any, text: bytes) -> Any:
    """Return the value of a type that `encode` wrote; what else stands beside its fields is passed over.

    Raises:
        SweepError: it is no such value.
    """
    try:
        return _adapter(kind).validate_python(json_text.parse(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SweepError(f"{where}: {first['msg']}") from None
    except ValueError as error:
        raise SweepError(f"no JSON: {error}") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _sendable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()  # half a character, as stdout spells it
    if isinstance(value, dict):
        return {key: _sendable(inner) for key, inner in value.items()}
    return [_sendable(inner) for inner in value] if isinstance(value, (list, tuple)) else value
