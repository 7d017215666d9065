"""Read the snapshot for an audit, Optuna's tables included; nothing here writes.

The columns are those of `optuna/storages/_rdb/models.py` in the schema version below; tables of any other version are
refused. JSON is read as text and parsed here, so that a damaged value is a finding instead of an error.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Engine, Select, Table, Text, column, select, table, type_coerce

from storage import json_text
from storage.db.transaction import database_now, read
from storage.errors import NotAStorage, SweepNotFound
from storage.studies import ownership, space
from storage.tables import attempts, blobs, columns_of, phases, revisions, selections, sweeps, tasks
from storage.url import masked

R = TypeVar("R")

TESTED_VERSION = "v3.2.0.a"  # of Optuna 5.0, in its table alembic_version
FINISHED = ("COMPLETE", "PRUNED")

# Columns without types: the driver's values are right. On Postgres, state and value_type are Optuna's enums, read as
# text; they can be compared with text only in Python, not in SQL.
_alembic_version = table("alembic_version", column("version_num"))
_studies = table("studies", column("study_id"), column("study_name"))
_study_attrs = table("study_user_attributes", *map(column, ("study_id", "key", "value_json")))
_trials = table("trials", *map(column, ("trial_id", "number", "study_id", "state")))
_values = table("trial_values", *map(column, ("trial_id", "objective", "value", "value_type")))
_params = table("trial_params", *map(column, ("trial_id", "param_name", "param_value", "distribution_json")))
_attrs = table("trial_user_attributes", *map(column, ("trial_id", "key", "value_json")))
_TEXTS = ("spec", "planned", "needs", "payload", "outcome", "params")  # columns of ours that hold JSON
_BLOBS_AT_ONCE = 500  # names in one query


@dataclass(frozen=True)
class TrialRow:
    """One trial. `value`: None if it has none. `state`: RUNNING, COMPLETE, PRUNED, FAIL or WAITING.

    ours: drawn by this package, not by another tool. task, attempt, retry_of: from the mark of such a trial.
    """

    study: str
    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    ours: bool
    task: str
    attempt: int | None
    retry_of: int | None

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    def __str__(self) -> str:
        return f"trial {self.number} of study {self.study}"


def read_trials(
    connection: Connection, studies: Collection[str], owner: ownership.Owner
) -> tuple[dict[str, list[TrialRow]], list[str]]:
    """Return the trials of the existing studies among these, by study and number; and the names taken by others.

    A study of another program is not read. Seven queries, however many trials. NotAStorage: tables of an untested
    version.
    """
    _check_version(connection)
    known = connection.execute(select(_studies).where(_studies.c.study_name.in_(studies))).all()
    own: dict[int, dict[str, Any]] = {row.study_id: {} for row in known}
    for row in connection.execute(select(_study_attrs).where(_study_attrs.c.study_id.in_(own))):
        own[row.study_id][row.key] = _decoded(row.value_json)
    names = {row.study_id: row.study_name for row in known if owner.owns(row.study_name, own[row.study_id])}
    of_these = select(_trials.c.trial_id).where(_trials.c.study_id.in_(names)).scalar_subquery()

    values: dict[int, float | None] = {}
    query = select(_values.c.trial_id, _values.c.value, _values.c.value_type).where(_values.c.objective == 0)
    for row in connection.execute(query.where(_values.c.trial_id.in_(of_these))):
        values[row.trial_id] = {"INF_POS": math.inf, "INF_NEG": -math.inf}.get(row.value_type, row.value)

    params: dict[int, dict[str, Any]] = defaultdict(dict)
    distributions: dict[str, Any] = {}  # a few texts, each stored with every trial
    for param in connection.execute(select(_params).where(_params.c.trial_id.in_(of_these))):
        text = param.distribution_json
        if text not in distributions:
            distributions[text] = _decoded(text)
        params[param.trial_id][param.param_name] = _external(param.param_value, distributions[text])

    attrs: dict[int, dict[str, Any]] = defaultdict(dict)
    marks = _attrs.c.key.in_(space.MARK_ATTRS)
    for attr in connection.execute(select(_attrs).where(marks, _attrs.c.trial_id.in_(of_these))):
        attrs[attr.trial_id][attr.key] = _decoded(attr.value_json)

    by_study: dict[str, list[TrialRow]] = {name: [] for name in sorted(names.values())}
    trials = select(_trials).where(_trials.c.study_id.in_(names)).order_by(_trials.c.number, _trials.c.trial_id)
    for trial in connection.execute(trials):
        mark = space.mark_of(attrs.get(trial.trial_id, {}))
        by_study[names[trial.study_id]].append(
            TrialRow(
                study=names[trial.study_id],
                number=trial.number,
                state=trial.state,
                value=values.get(trial.trial_id),
                params=params.get(trial.trial_id, {}),
                ours=mark is not None,
                **vars(mark or space.Mark("", None, None)),
            )
        )
    return by_study, [row.study_name for row in known if row.study_id not in names]


def _check_version(connection: Connection) -> None:
    version = connection.scalar(select(_alembic_version.c.version_num))
    if version != TESTED_VERSION:
        raise NotAStorage(
            f"{masked(connection.engine.url)} has Optuna tables of version {version}, but the audit was tested with"
            f" {TESTED_VERSION} only: install the kd-sweeps for this Optuna"
        )


def _external(value: float, distribution: Any) -> Any:
    """Return a parameter as it was suggested; Optuna stores each as a float. A damaged one is returned as stored."""
    try:
        if distribution["name"] == "CategoricalDistribution":
            return distribution["attributes"]["choices"][int(value)]
    except (TypeError, KeyError, IndexError, ValueError):
        pass
    return value


def _decoded(text: str | None) -> Any:
    """Return the value of a JSON text; None for invalid text, so that a damaged mark is no mark."""
    try:
        return json_text.parse(text or "null")
    except ValueError:
        return None


@dataclass(frozen=True)
class Unreadable:
    """A stored text that is not JSON. `why`: the parser's message."""

    why: str


@dataclass(frozen=True)
class SpecRow:
    """A spec as stored, in the sweep itself (`number` None) or in one of its revisions."""

    number: int | None
    spec: Any
    fingerprint: str
    planned: Any


@dataclass(frozen=True)
class PhaseRow:
    name: str
    stage: str
    needs: Any
    minimum: int


@dataclass(frozen=True)
class TaskRow:
    """A task and its phase, whose name is None if its row is missing."""

    id: int
    key: str
    stage: str
    phase: str | None
    phase_state: str | None
    state: str
    attempt: int
    score: float | None
    payload: Any
    outcome: Any


@dataclass(frozen=True)
class AttemptRow:
    """An attempt. `lapsed_s`: seconds since its lease lapsed; negative while it is valid."""

    task_id: int
    number: int
    state: str
    worker: str
    host: str
    lapsed_s: float
    started_at: float
    finished_at: float | None
    study: str | None
    trial_number: int | None
    params: Any
    retry_of: int | None
    reported: bool
    error_class: str | None

    @property
    def has_point(self) -> bool:
        return self.params is not None


@dataclass(frozen=True)
class Rows:
    """A snapshot of a sweep.

    state: active, paused or cancelled. phases, tasks: in plan order. trials: by existing study. replaced: missing
    studies whose names another program has taken. blobs: length and SHA-256 of the bytes stored under each digest that
    an outcome names.
    """

    name: str
    state: str
    revision: int
    specs: list[SpecRow]
    phases: list[PhaseRow]
    tasks: list[TaskRow]
    attempts: list[AttemptRow]
    selections: dict[str, Any]
    trials: dict[str, list[TrialRow]]
    replaced: list[str]
    blobs: dict[str, tuple[int, str]]

    @property
    def stages(self) -> dict[str, str]:
        return {phase.name: phase.stage for phase in self.phases}


def read_rows(engine: Engine, sweep_id: int, *, with_trials: bool = True) -> Rows:
    """Return all rows of the sweep: a fixed number of queries, however many tasks, then the blobs, 500 at a time.

    with_trials: False if there are no tables of Optuna: each study then counts as recreated, without trials.
    SweepNotFound: it was deleted meanwhile. NotAStorage: a table of kd-sweeps or of Optuna is missing.
    """
    with read(engine) as connection:  # on SQLite a snapshot already
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        plain = (sweeps.c.name, sweeps.c.state, sweeps.c.revision, sweeps.c.fingerprint, sweeps.c.identity)
        sweep = connection.execute(select(*plain, _json(sweeps.c.spec)).where(sweeps.c.id == sweep_id)).one_or_none()
        if sweep is None:
            raise SweepNotFound("the sweep was deleted a moment ago")
        phase_query = select(*_columns(PhaseRow, phases)).where(phases.c.sweep_id == sweep_id)
        phase_rows = _read(connection, PhaseRow, phase_query.order_by(phases.c.ordinal))
        revision_query = select(*_columns(SpecRow, revisions)).where(revisions.c.sweep_id == sweep_id)
        specs = [SpecRow(None, _parsed(sweep.spec), sweep.fingerprint, None)]
        specs += _read(connection, SpecRow, revision_query.order_by(revisions.c.number))
        own = tasks.c.sweep_id == sweep_id
        named = (phases.c.name.label("phase"), phases.c.state.label("phase_state"))
        task_query = select(*_columns(TaskRow, tasks), *named)
        task_query = task_query.join(phases, phases.c.id == tasks.c.phase_id, isouter=True)
        task_rows = _read(connection, TaskRow, task_query.where(own).order_by(tasks.c.ordinal))
        lapsed = (database_now() - attempts.c.lease_until).label("lapsed_s")
        attempt_query = select(*_columns(AttemptRow, attempts), lapsed).join(tasks, tasks.c.id == attempts.c.task_id)
        attempt_query = attempt_query.where(own).order_by(attempts.c.task_id, attempts.c.number)
        selection_query = select(selections.c.name, _json(selections.c.value)).where(selections.c.sweep_id == sweep_id)
        selection_rows = connection.execute(selection_query.order_by(selections.c.name)).all()
        studies = {space.study_name(sweep.name, phase.stage) for phase in phase_rows}
        owner = ownership.Owner(sweep.name, sweep.identity, frozenset(spec.fingerprint for spec in specs))
        if with_trials:
            trials, replaced = read_trials(connection, studies, owner)
        else:
            trials, replaced = {study: [] for study in studies}, []
        return Rows(
            name=sweep.name,
            state=sweep.state,
            revision=sweep.revision,
            specs=specs,
            phases=phase_rows,
            tasks=task_rows,
            attempts=_read(connection, AttemptRow, attempt_query),
            selections={row.name: _parsed(row.value) for row in selection_rows},
            trials=trials,
            replaced=replaced,
            blobs=_blobs(connection, sorted({digest for task in task_rows for _, digest in named_blobs(task)})),
        )


def named_blobs(task: TaskRow) -> list[tuple[str, str]]:
    """Return (kind, digest) of the blobs that a task's outcome names."""
    named = task.outcome.get("blobs") if isinstance(task.outcome, dict) else None
    return [(what, str(digest)) for what, digest in named.items()] if isinstance(named, dict) else []


def _blobs(connection: Connection, digests: list[str]) -> dict[str, tuple[int, str]]:
    stored = {}
    for start in range(0, len(digests), _BLOBS_AT_ONCE):
        query = select(blobs.c.digest, blobs.c.bytes).where(blobs.c.digest.in_(digests[start : start + _BLOBS_AT_ONCE]))
        # One by one: together they may not fit into memory.
        for row in connection.execute(query, execution_options={"yield_per": 1}):
            stored[row.digest] = (len(row.bytes), hashlib.sha256(row.bytes).hexdigest())
    return stored


def _columns(kind: type[Any], of: Table) -> list[Any]:
    return [_json(of.c[label.name]) if label.name in _TEXTS else label for label in columns_of(kind, of)]


def _read(connection: Connection, kind: type[R], query: Select[Any]) -> list[R]:
    rows = (row._asdict() for row in connection.execute(query))
    return [kind(**{name: _parsed(row[name]) if name in _TEXTS else row[name] for name in row}) for row in rows]


def _json(stored: Column[Any]) -> Any:
    return type_coerce(stored, Text).label(stored.name)


def _parsed(text: str | None) -> Any:
    try:
        return None if text is None else json_text.parse(text)
    except ValueError as error:
        return Unreadable(str(error))
