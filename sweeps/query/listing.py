"""Rows of `list` and `trials`; open a sweep by name."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import sqlalchemy
from pydantic import Field

from storage.db.engine import opened_engine
from storage.queue.phases import root_reason
from storage.records import queries
from storage.tables import TASK_AWAITED, SweepRecord, TaskRecord
from storage.url import resolve
from sweeps.errors import SpecError
from sweeps.plan import jobs, phases
from sweeps.query.status import stage_counts
from sweeps.spec.stored import as_it_stands, check_name
from sweeps.trainers.protocol import TrainerKind, Value
from sweeps.trainers.score import ACCURACY

_FIXED = ("temperature", "alpha", "arm", "dataset", "model", "method")  # with a separate column or meaning
_KEPT = ("test_accuracy", "train_s", "cpu_s")  # keys of an outcome: thousands of whole outcomes take seconds


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """A sweep. source, target: datasets; target is None with one dataset.

    state: active, paused, cancelled, or finished: active with all tasks ended. done, tasks: number of done and of all
    tasks. unavailable: number of tasks that cannot run on this machine.
    """

    name: str
    source: str
    target: str | None
    state: str
    done: int
    tasks: int
    unavailable: Annotated[int, Field(exclude_if=lambda number: not number)] = 0


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A task with its latest trial.

    arm: of transfer and recipes, of an untuned point in confirm, or the comparison method. score: as stored, higher is
    better, or the milliseconds of an older sweep; scored, minimize: its name, and whether it is the negated score of
    the trainer. test_accuracy: likewise; None for all tasks of a dataset until its evaluation is complete, since
    readers of partial results could stop at a favourable moment. more: searched values beyond T and alpha, without
    parameters of losses that the arm does not use. state: as stored, or "unavailable". reason: why it failed or was
    skipped. None: not applicable, or not yet.
    """

    task: str
    stage: str
    state: str
    attempt: int
    trial: int | None
    dataset: str | None
    arm: str | None
    temperature: float | None
    alpha: float | None
    more: dict[str, Value] = field(default_factory=dict)
    score: float | None
    test_accuracy: float | None
    seed: int | None
    train_s: float | None
    cpu_s: float | None
    worker: str | None
    reason: str | None
    scored: Annotated[str, Field(exclude_if=lambda scored: scored == ACCURACY.name)] = ACCURACY.name
    minimize: Annotated[bool, Field(exclude_if=lambda minimize: not minimize)] = False

    def as_given(self) -> "TrialRow":
        """Return it with the trainer's own scores, for display."""
        if not self.minimize:
            return self
        score, test = (None if value is None else -value for value in (self.score, self.test_accuracy))
        return replace(self, score=score, test_accuracy=test)


def sweep_rows(engine: sqlalchemy.Engine) -> list[SweepRow]:
    return [sweep_row(engine, sweep) for sweep in queries.list_sweeps(engine)]


def sweep_row(engine: sqlalchemy.Engine, sweep: SweepRecord) -> SweepRow:
    counts = stage_counts(engine, sweep.id).values()
    is_finished = sweep.state == "active" and all(count.ended == count.total for count in counts)
    return SweepRow(
        name=sweep.name,
        source=_dataset_name(sweep, "source"),
        target=_dataset_name(sweep, "target") if sweep.spec["target"] else None,
        state="finished" if is_finished else sweep.state,
        done=sum(count.done for count in counts),
        tasks=sum(count.total for count in counts),
        unavailable=sum(count.unavailable for count in counts),
    )


def trial_rows(engine: sqlalchemy.Engine, sweep: SweepRecord, stage: str | None = None) -> list[TrialRow]:
    """Return one row per task, in plan order, with its parameters and results."""
    if stage is not None and stage not in phases.STAGES:
        raise SpecError(f"--stage: got {stage!r}; allowed: {', '.join(phases.STAGES)}")
    tasks = [
        (task, jobs.read_payload(task.stage, task.payload, key=task.key))
        for task in queries.task_records(engine, sweep.id, stage=stage, keep=_KEPT)
    ]
    awaited = {
        payload.role for task, payload in tasks if isinstance(payload, jobs.TransferTask) and task.state in TASK_AWAITED
    }
    kind = as_it_stands(sweep).kind
    return [_row(sweep, task, payload, kind, tested=payload.role not in awaited) for task, payload in tasks]


def as_columns(rows: Sequence[TrialRow]) -> list[dict[str, Any]]:
    """Return each row with a column for each parameter, T and alpha first; all rows have the same columns."""
    names = list(dict.fromkeys(name for row in rows for name in row.more))
    return [_columns(row, names) for row in rows]


def _columns(row: TrialRow, names: Sequence[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for key, value in vars(row).items():
        if key in ("scored", "minimize"):  # of the whole sweep
            continue
        columns |= {name: row.more.get(name) for name in names} if key == "more" else {key: value}
    return columns


def _row(sweep: SweepRecord, task: TaskRecord, payload: jobs.Payload, kind: TrainerKind, *, tested: bool) -> TrialRow:
    arm = payload.arm or None if isinstance(payload, jobs.ArmTask | jobs.ConfirmTask) else None
    params, outcome = task.params or {}, task.outcome or {}
    return TrialRow(
        task=task.key,
        stage=task.stage,
        state=phases.display_state(task.stage, task.state, task.error_class),
        attempt=task.attempt,
        trial=task.trial_number,
        dataset=None if payload.role is None else _dataset_name(sweep, payload.role),
        arm=payload.method if isinstance(payload, jobs.BaselineTask) else arm,
        temperature=params.get("temperature"),
        alpha=params.get("alpha"),
        more=kind.own_values(arm or "", {name: params[name] for name in sorted(params) if name not in _FIXED}),
        score=task.score,
        test_accuracy=outcome.get("test_accuracy") if tested else None,
        seed=payload.seed,
        train_s=outcome.get("train_s"),
        cpu_s=outcome.get("cpu_s"),
        worker=task.worker,
        reason=task.reason and root_reason(task.reason),
        scored=kind.features.score.name,
        minimize=kind.features.score.minimize and task.stage != "measure",
    )


def _dataset_name(sweep: SweepRecord, role: str) -> str:
    """Return the display name of a role's dataset, from the stored spec."""
    part = sweep.spec[role]
    return str(part.get("name") or part["dataset"])


@contextmanager
def open_sweep(
    storage: sqlalchemy.URL | str | None, name: str, *, write: bool = False
) -> Iterator[tuple[sqlalchemy.Engine, SweepRecord]]:
    """Open the storage and find the sweep of that name, while the block runs.

    storage: a resolved URL, or the user's text, or None for the environment's or the default. write: allow changes
    through the engine. StorageError: no such storage, or no such sweep in it; nothing is created.
    """
    check_name(name)
    url = storage if isinstance(storage, sqlalchemy.URL) else resolve(storage)
    with opened_engine(url, read_only=not write) as engine:
        yield engine, queries.find_sweep(engine, name)
