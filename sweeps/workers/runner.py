"""Run a job with the sweep's trainer: the one place where work meets a training, and where the test is kept apart."""

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

_OF_ATTEMPT = ("wall_s", "worker", "provenance", "more")  # of an outcome; the point is that of the arm
_COLUMNS = ("test_accuracy", "parameters", "train_s")  # of the dashboard; what was known before are others


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one attempt found: the score of its task, everything that is stored of it, and what its trial shows.

    score: what the stage is ranked and watched by, higher is better; or the milliseconds of an older sweep. attrs: the
    few of the values that the dashboard shows as columns.
    """

    score: float
    values: jobs.StoredOutcome
    attrs: dict[str, Any]
    epoch_values: tuple[float | None, ...] = ()


class TaskRunner:
    """Runs tasks of one sweep in this process, and gives its trainer what earlier ones have kept.

    read_only: every job is trained, and models and logits are hashed, not stored: for who trains again to compare.
    """

    def __init__(self, results: backend.Results, *, read_only: bool = False) -> None:
        self.spec, self._results, self._read_only = results.spec, results, read_only
        self.trainer = self.spec.kind.open(self.spec, self)
        self._steps = Steps()

    def __call__(self, job: jobs.AnyJob, params: Mapping[str, Any], steps: Steps) -> Outcome:
        """Run one task with its parameters. What `steps` raises at a step stops the task."""
        self.check()  # a file may have been edited since; what is loaded here already is not read again
        self._steps = steps
        run = _run_of(job, params)
        if not self._read_only and (earlier := earlier_training(self._results, job, run)) is not None:
            return _taken(earlier, run, params)
        trained = self._stored(run, self.trainer.train(run, steps))
        test = None
        if isinstance(job.work, jobs.TransferTask):
            test = _stored_score(self.spec.score, self.trainer.test(run, steps), f"the test score of {job.key}")
        return self._outcome(job, run, params, trained, test)

    def check(self) -> None:
        """Raise KdError or SweepError, before a claim, if code or data are not those that the spec froze."""
        check_code(self.spec)  # first: a dataset may be made by it
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
        """Return what a run kept under that name. Damaged bytes are made again, by the same work with the same seeds.

        BlobCorrupt: this machine makes other bytes than the one that stored them.
        """
        job = next(job for job in self._done(run.kind) if job.key == run.key)
        assert job.outcome is not None
        digest, steps = job.outcome.blobs[name], self._steps
        try:
            return self._results.get(digest)
        except BlobCorrupt as error:
            log.warning("%s of %s: %s; making it again here", name, job.key, error)
        self(job, job.row.params or {}, steps)
        return self._results.get(digest)

    def once(self, name: str, make: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return what the first run of the sweep that asked for it has made; it is stored among the selections."""
        stored = self._results.selection(name)
        if stored is None:
            value = dict(make())
            stored = value if self._read_only else self._results.freeze(name, value)
        return stored

    def folder(self, run: Run) -> AbstractContextManager[Path]:
        """Give the folder of a run, which outlives its attempt; to train again and compare begins with an empty one."""
        if self._read_only:
            return folders.temporary()
        return folders.held(self._results.identity, run.key)

    def _done(self, kind: RunKind | None) -> list[jobs.AnyJob]:
        stages = [name for name, stage in phases.STAGES.items() if kind in (None, stage.kind)]
        rows = self._results.done(stages[0] if len(stages) == 1 else None)
        return [jobs.read_job(row) for row in rows if row.stage in stages]

    def _stored(self, run: Run, trained: Trained) -> Trained:
        """Return what came out of a run with its scores as they are stored."""
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
        if run.kind == "prepare":  # of a file of logits as well, which nothing here has trained
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
        """Leave passwords out of every text: a user's model or layer may have said it."""
        if isinstance(value, str):
            return logs.redact(value, self._results.url)
        if isinstance(value, Mapping):
            return {name: self._redacted(inner) for name, inner in value.items()}
        return value


def _stored_score(score: Score, value: float, of: str) -> float:
    """Return a trainer's score as it is stored.

    of: whose it is, for a message. Raise Diverged if it is no finite number - before the outcome is checked, whose
    error would count as another class - and SweepError outside of the bounds.
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
    """Return the finished training of another arm that is this one, too; None where there is none.

    Two workers that are at both at once train both: to wait for each other would save nothing.
    """
    work, spec = job.work, results.spec
    if not isinstance(work, jobs.TransferTask) or run.keep or run.point is None:  # a kept model has to be made
        return None
    identity = points.training_identity(spec, work, run.point)
    others = [arm for arm in spec.arms(work.role, work.group) if arm != work.arm]
    keys = [phases.transfer_key(work.role, arm, work.repeat, work.group) for arm in others]
    if identity is None or not keys:
        return None
    done = jobs.read_finished(results.done(keys=keys), jobs.TransferTask, jobs.StudentOutcome)
    same = (made for made in done if points.training_identity(spec, made.work, made.outcome.point) == identity)
    return next(same, None)


def _taken(earlier: jobs.Job[jobs.TransferTask, jobs.StudentOutcome], run: Run, params: Mapping[str, Any]) -> Outcome:
    assert run.point is not None
    own = {"arm": run.arm, "blobs": {}, "same_as": earlier.outcome.same_as or earlier.key, **run.point.as_json()}
    made = {name: value for name, value in earlier.outcome.as_json().items() if name not in _OF_ATTEMPT}
    stored = jobs.StudentOutcome.model_validate(made | own)
    attrs = _columns(stored, params) | {"same_as": stored.same_as}
    return Outcome(score=earlier.score, values=stored, attrs=attrs, epoch_values=stored.epoch_val_accuracy)


def _columns(stored: jobs.StoredOutcome, params: Mapping[str, Any]) -> dict[str, Any]:
    columns = stored.model_dump(include=set(_COLUMNS) & stored.model_fields_set - set(params))
    return {name: columns[name] for name in _COLUMNS if name in columns}


def _run_of(job: jobs.AnyJob, params: Mapping[str, Any] | None = None) -> Run:
    """Return the run of a job, with the parameters of its trial; None: those that it is stored with."""
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
