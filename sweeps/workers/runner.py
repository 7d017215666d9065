"""Run a job with the sweep's trainer; only this module requests test scores."""

import hashlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kd.errors import Diverged
from storage.errors import BlobCorrupt
from sweeps.errors import SweepError
from sweeps.plan import jobs, phases, points
from sweeps.spec.stored import check_code
from sweeps.trainers.protocol import Finished, Point, Run, RunKind, Steps, Trained
from sweeps.trainers.score import Score
from sweeps.workers import backend, folders, logs

log = logging.getLogger(__name__)

_OF_ATTEMPT = ("wall_s", "worker", "provenance", "more")  # not copied to an outcome of another arm
_COLUMNS = ("test_accuracy", "parameters", "train_s")  # of the dashboard


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of an attempt: the score of its task, its stored values, and its trial.

    score: ranks the stage, higher is better; or the milliseconds of an older sweep. attrs: values shown as columns in
    the dashboard.
    """

    score: float
    values: jobs.StoredOutcome
    attrs: dict[str, Any]
    epoch_values: tuple[float | None, ...] = ()


class TaskRunner:
    """Run tasks of one sweep in this process, and give its trainer the artifacts of earlier tasks.

    read_only: train every job, and hash models and logits instead of storing them: for `replay`.
    """

    def __init__(self, results: backend.Results, *, read_only: bool = False) -> None:
        self.spec, self._results, self._read_only = results.spec, results, read_only
        self.trainer = self.spec.kind.open(self.spec, self)
        self._steps = Steps()

    def __call__(self, job: jobs.AnyJob, params: Mapping[str, Any], steps: Steps) -> Outcome:
        """Run one task with its parameters. An exception raised by `steps` stops the task."""
        self.check()  # a file may have been edited since; code that is loaded already is not reloaded
        self._steps = steps
        run = _run_of(job, params)
        if not self._read_only and (earlier := earlier_training(self._results, job, run)) is not None:
            return _copied(earlier, run, params)
        trained = self._stored(run, self.trainer.train(run, steps))
        test = None
        if isinstance(job.work, jobs.TransferTask):
            test = _stored_score(self.spec.score, self.trainer.test(run, steps), f"the test score of {job.key}")
        return self._outcome(job, run, params, trained, test)

    def check(self) -> None:
        """Raise KdError or SweepError if code or data differ from those frozen in the spec."""
        check_code(self.spec)  # first: it may load a dataset
        self.trainer.check()

    def finished(
        self, kind: RunKind | None = None, *, role: str = "", prepared: str | None = None, method: str = ""
    ) -> Sequence[Finished]:
        runs = [
            Finished(run=_run_of(job), facts=job.outcome.as_json(), artifacts=frozenset(job.outcome.blobs))
            for job in self._done(kind)
            if job.outcome is not None
        ]

        def matches(run: Run) -> bool:
            return role in ("", run.role) and prepared in (None, run.prepared) and method in ("", run.method)

        return [entry for entry in runs if matches(entry.run)]

    def get(self, run: Run, name: str) -> bytes:
        """Return the artifact of a run by name. If its bytes are damaged, run the task again with the same seeds.

        BlobCorrupt: this machine produces other bytes than the one that stored them.
        """
        job = next(job for job in self._done(run.kind) if job.key == run.key)
        assert job.outcome is not None
        digest, steps = job.outcome.blobs[name], self._steps
        try:
            return self._results.get(digest)
        except BlobCorrupt as error:
            log.warning("%s of %s: %s; recreating it here", name, job.key, error)
        self(job, job.row.params or {}, steps)
        return self._results.get(digest)

    def once(self, name: str, make: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return a value that the first run to call this makes, stored among the selections."""
        stored = self._results.selection(name)
        if stored is None:
            value = dict(make())
            stored = value if self._read_only else self._results.freeze(name, value)
        return stored

    def folder(self, run: Run) -> AbstractContextManager[Path]:
        """Yield the folder of a run, which outlives its attempt; an empty one for read_only."""
        if self._read_only:
            return folders.temporary()
        return folders.held(self._results.identity, run.key)

    def _done(self, kind: RunKind | None) -> list[jobs.AnyJob]:
        stages = [name for name, stage in phases.STAGES.items() if kind in (None, stage.kind)]
        rows = self._results.done(stages[0] if len(stages) == 1 else None)
        return [jobs.read_job(row) for row in rows if row.stage in stages]

    def _stored(self, run: Run, trained: Trained) -> Trained:
        """Return the result of a run with its scores in stored form."""
        score, of = self.spec.score, f"the score of {run.key}"
        if run.kind == "measure":
            if not math.isfinite(trained.score):
                raise Diverged(f"{of} is {trained.score}")
            return trained
        value = _stored_score(score, trained.score, of)
        of = f"a point of the curve of {run.key}"
        curve = tuple(None if at is None else _stored_score(score, at, of) for at in trained.curve)
        return replace(trained, score=value, curve=curve)

    def _kept(self, data: bytes) -> str:
        return hashlib.sha256(data).hexdigest() if self._read_only else self._results.put(data)

    def _outcome(
        self, job: jobs.AnyJob, run: Run, params: Mapping[str, Any], trained: Trained, test: float | None
    ) -> Outcome:
        dataset = self.spec.role(run.role).shown if run.role else ""
        known = {"dataset": dataset, "epoch_val_accuracy": trained.curve, "numerics": trained.numerics}
        values: dict[str, Any] = {name: value for name, value in known.items() if value not in ((), "")}
        if run.kind == "prepare":  # even "", for a file of logits
            values["numerics"] = trained.numerics
        values |= self._redacted(trained.facts) | {"parameters": trained.size or 0}
        values |= {"val_accuracy": trained.score, "train_s": trained.train_s, "cpu_s": trained.cpu_s}
        values |= {"detail": trained.detail, "capped": trained.capped, "seed": run.seed}
        if trained.artifacts or run.kind != "measure":  # which keeps nothing
            values["blobs"] = {name: self._kept(data) for name, data in trained.artifacts.items()}
        if run.point is not None:
            values |= run.point.as_json()
        if test is not None:
            values |= {"arm": run.arm, "test_accuracy": test}
        stored = jobs.outcome_kind(job.work).model_validate(values)
        attrs = _columns(stored, params)
        if run.kind in ("prepare", "reference"):
            attrs["detail"] = trained.detail
        if isinstance(stored, jobs.ScoreOutcome | jobs.MeasureOutcome):
            attrs = {"models": len(stored.models)}
        return Outcome(score=trained.score, values=stored, attrs=attrs, epoch_values=tuple(trained.curve))

    def _redacted(self, value: Any) -> Any:
        """Redact passwords in every text, which a user's code may contain."""
        if isinstance(value, str):
            return logs.redact(value, self._results.url)
        if isinstance(value, Mapping):
            return {name: self._redacted(inner) for name, inner in value.items()}
        return value


def _stored_score(score: Score, value: float, of: str) -> float:
    """Return a trainer's score in stored form.

    of: its name in messages. Raise Diverged if it is not finite - before validation, whose error would be of another
    class - and SweepError if it is out of bounds.
    """
    if not math.isfinite(value):
        raise Diverged(f"{of} is {value}")
    if not score.low <= value <= score.high:
        raise SweepError(
            f"{of} is {value:g}; allowed: {score.name} from {score.low:g} to {score.high:g}; correct the training, or"
            " the bounds of the score"
        )
    return score.signed(value)


def earlier_training(
    results: backend.Results, job: jobs.AnyJob, run: Run
) -> jobs.Job[jobs.TransferTask, jobs.StudentOutcome] | None:
    """Return a finished training of another arm that is identical to this one; None: there is none.

    If two workers run both at once, both train: waiting for each other would save nothing.
    """
    work, spec = job.work, results.spec
    if not isinstance(work, jobs.TransferTask) or run.keep or run.point is None:  # a kept model must be trained
        return None
    identity = points.training_identity(spec, work, run.point)
    others = [arm for arm in spec.arms(work.role, work.group) if arm != work.arm]
    keys = [phases.transfer_key(work.role, arm, work.repeat, work.group) for arm in others]
    if identity is None or not keys:
        return None
    done = jobs.read_finished(results.done(keys=keys), jobs.TransferTask, jobs.StudentOutcome)
    same = (twin for twin in done if points.training_identity(spec, twin.work, twin.outcome.point) == identity)
    return next(same, None)


def _copied(earlier: jobs.Job[jobs.TransferTask, jobs.StudentOutcome], run: Run, params: Mapping[str, Any]) -> Outcome:
    assert run.point is not None
    own = {"arm": run.arm, "blobs": {}, "same_as": earlier.outcome.same_as or earlier.key, **run.point.as_json()}
    values = {name: value for name, value in earlier.outcome.as_json().items() if name not in _OF_ATTEMPT}
    stored = jobs.StudentOutcome.model_validate(values | own)
    attrs = _columns(stored, params) | {"same_as": stored.same_as}
    return Outcome(score=earlier.score, values=stored, attrs=attrs, epoch_values=stored.epoch_val_accuracy)


def _columns(stored: jobs.StoredOutcome, params: Mapping[str, Any]) -> dict[str, Any]:
    columns = stored.model_dump(include=set(_COLUMNS) & stored.model_fields_set - set(params))
    return {name: columns[name] for name in _COLUMNS if name in columns}


def _run_of(job: jobs.AnyJob, params: Mapping[str, Any] | None = None) -> Run:
    """Return the run of a job with its trial's parameters; None: the stored ones."""
    work, values = job.work, (job.row.params if params is None else params) or {}
    point = {name: value for name, value in values.items() if name not in ("arm", "dataset")}
    return Run(
        kind=phases.STAGES[job.row.stage].kind,
        key=job.key,
        role=work.role or "",
        seed=work.seed or 0,
        point=Point.of(point) if isinstance(work, jobs.StudentTask) else None,
        arm=work.arm if isinstance(work, jobs.ArmTask) else "",
        method=work.method if isinstance(work, jobs.BaselineTask | jobs.ScoreTask) else "",
        prepared="" if isinstance(work, jobs.ScoreTask | jobs.MeasureTask) else work.group.preparation,
        keep=job.key == phases.kept_student_key(work.role or ""),
    )
