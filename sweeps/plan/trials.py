"""The trials of attempts, and the mirror in a launch, a service or a lone worker that draws them."""

import importlib
import logging
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Literal

import sqlalchemy
from pydantic import BaseModel, ConfigDict, ValidationError

from storage.errors import StorageError
from storage.studies.mirror import Draw, Mirror, Undrawn, backlog
from storage.studies.space import MARK_ATTR, Trial
from storage.tables import SweepRecord
from sweeps.errors import SweepError
from sweeps.extensions import is_installed
from sweeps.plan import jobs, phases, points
from sweeps.spec.model import Spec
from sweeps.spec.stored import as_it_stands

log = logging.getLogger(__name__)

_AGAIN_S = 10.0  # retry interval for a storage that cannot be opened
_JOIN_S = 5.0  # a round takes less


class Result(BaseModel):
    """The trial's part of an outcome, see `storage.queue.tasks.finish`."""

    model_config = ConfigDict(frozen=True, strict=True)

    state: Literal["COMPLETE", "PRUNED", "FAIL"] = "COMPLETE"
    value: float | None = None
    attrs: dict[str, Any] = {}
    epoch_values: list[float | None] = []


def trial_of(spec: Spec, row: Undrawn) -> Trial:
    """Return the trial of an attempt in its present state; raise RecordBroken if its task is damaged."""
    work = jobs.read_payload(row.stage, row.payload, key=row.key)
    attrs: dict[str, Any] = {MARK_ATTR: _mark(spec, work, row)}
    result = Result() if row.state == "running" else _result(row)
    if result.attrs:
        attrs["result" if row.state == "done" else "failure"] = result.attrs
    return Trial(
        space=points.trial_space(spec, row.stage, work),
        state="RUNNING" if row.state == "running" else result.state,
        params=row.params or {},
        value=result.value,
        attrs=attrs,
        epoch_values=result.epoch_values,
        started_at=row.started_at,
        ended_at=None if row.state == "running" else row.finished_at or row.started_at,
    )


def _mark(spec: Spec, task: jobs.Payload, row: Undrawn) -> dict[str, Any]:
    """Return everything known before a task runs."""
    mark: dict[str, Any] = {"task": row.key, "attempt": row.number, "worker": row.worker}
    mark |= {name: value for name, value in task.as_json().items() if name in ("seed", "repeat", "rank")}
    if isinstance(task, jobs.ConfirmTask) and task.arm:
        mark["arm"] = task.arm
    if isinstance(task, jobs.StudentTask):
        arm = task.arm if isinstance(task, jobs.ArmTask) else ""
        if trained := spec.kind.trained(spec, task.role, arm):
            mark["detail"] = trained
    if search := phases.tag_of(task.role or "", task.tag):  # one study holds several
        mark["search"] = search
    if task.role and "dataset" not in points.space_of(spec, row.stage):
        mark["dataset"] = spec.role(task.role).shown
    return mark if row.retry_of is None else mark | {"retry_of": row.retry_of}


def _result(row: Undrawn) -> Result:
    if row.state != "done":
        why = {"reason": row.reason or row.state, "error_class": row.error_class or row.state}
        return Result(state="FAIL", attrs=why)
    return result_of(row.outcome, key=row.key)


def result_of(outcome: Mapping[str, Any] | None, *, key: str) -> Result:
    """Return the trial's part of an outcome; raise RecordBroken if it is invalid."""
    try:
        return Result.model_validate((outcome or {}).get("trial", {}))
    except ValidationError as error:
        raise jobs.edited(f"trial in the outcome of {key}", jobs.first_problem(error)) from error


def _draw(sweep: SweepRecord) -> Draw:
    try:
        spec = as_it_stands(sweep)
    except SweepError as error:
        raise StorageError(f"trials of {sweep.name} cannot be added to the dashboard here: {error}") from error
    return lambda row: trial_of(spec, row)


@contextmanager
def opened_mirror(url: sqlalchemy.URL) -> Iterator[Mirror]:
    from storage.studies.studies import open_studies  # Optuna takes a second

    with closing(Mirror(open_studies(url), _draw)) as mirror:
        yield mirror


def complete(engine: sqlalchemy.Engine, sweep: SweepRecord) -> int:
    """Draw the ends of all attempts of a sweep; return how many were missing.

    StorageError: they cannot be drawn, for example since another program has the study.
    """
    if not backlog(engine, sweep.id).count:
        return 0  # Optuna takes a second
    with opened_mirror(engine.url) as mirror:
        return mirror.complete(sweep)


@contextmanager
def mirroring(url: sqlalchemy.URL, names: Collection[str] | None) -> Iterator[None]:
    """Draw the sweeps of these names, or all, in a thread while the block runs; do nothing without Optuna."""
    stop = threading.Event()
    thread = threading.Thread(target=_mirror, args=(url, names, stop), name="mirror", daemon=True)
    if is_installed("train"):
        # Optuna imports it. While one thread does, SQLAlchemy fails in every other.
        importlib.import_module("sqlalchemy.orm")
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread.ident is not None:
            thread.join(_JOIN_S)


def _mirror(url: sqlalchemy.URL, names: Collection[str] | None, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            with opened_mirror(url) as mirror:
                mirror.run(names, stop)
        except StorageError as error:
            log.warning("the dashboard is behind: %s", error)
            stop.wait(_AGAIN_S)
