"""What each stage does: the only place where a task meets the learning code."""

import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy

from kd.config import CALIBRATION, LOSS_FORMULA, DistillConfig, TeacherResult, TrainingConfig
from kd.data.datasets import Dataset
from kd.errors import Unavailable
from kd.subprocesses import Report, run_in_subprocess
from storage.errors import BlobCorrupt
from storage.queue.tasks import Claim
from storage.records import blobs, queries
from storage.records.queries import TaskRecord
from sweeps.errors import SweepError
from sweeps.plan.names import group_of, tagged, teacher_of
from sweeps.plan.seeds import derive
from sweeps.spec.arms import AUTOKERAS_ARM
from sweeps.spec.model import Spec
from sweeps.workers import subprocess_jobs
from sweeps.workers.controls import same_cost, taught_by
from sweeps.workers.resources import TaskResources, views_of

log = logging.getLogger("sweeps.workers.runner")

OnStep = Callable[[], None]

# A child gets this much longer than AutoKeras' own cap before it is killed: to save what it has.
_GRACE_S = 60.0
_LOG_EVERY_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one attempt found.

    score: what the stage is ranked and watched by; fraction, or milliseconds in measure.
    values: everything the report needs, as plain JSON values.
    attrs: the few of them that the dashboard shows as columns.
    """

    score: float
    values: dict[str, Any]
    attrs: dict[str, Any]
    epoch_values: tuple[float, ...] = ()


@dataclass
class TaskRunner:
    """Runs tasks of one sweep in this process; keeps datasets, logits and compiled students between them."""

    engine: sqlalchemy.Engine
    sweep_id: int
    spec: Spec
    _teachers: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Nothing is loaded before it is needed."""
        self._resources = TaskResources(self.spec)

    def __call__(self, claim: Claim, params: dict[str, Any], on_step: OnStep) -> Outcome:
        """Run one task at one point. on_step is called between steps; what it raises stops the task."""
        run = {"teachers": self._teach, "baselines": self._baseline, "measure": self._measure}
        return run.get(claim.stage, self._distill)(claim, params, on_step)

    def check_data(self) -> None:
        """Have both datasets here, with the content that the spec froze; before anything is claimed."""
        for role in self.spec.roles:
            wanted, found = self.spec.role(role).content_hash, self._resources.dataset(role).content_hash
            if wanted and wanted != found:
                raise SweepError(
                    f"{self.spec.role(role).dataset} here has content {found[:12]}, the sweep was created with "
                    f"{wanted[:12]}; copy the file it was created from and pass --data DIR"
                )

    def _teach(self, claim: Claim, params: dict[str, Any], on_step: OnStep) -> Outcome:
        role = self.spec.role(claim.payload["role"])
        training = TrainingConfig(
            epochs=role.teacher_epochs,
            batch_size=self.spec.training.batch_size,
            learning_rate=self.spec.training.teacher_learning_rate,
        )
        dataset = self._resources.dataset(claim.payload["role"])
        with tempfile.TemporaryDirectory(prefix="kd-sweeps-") as folder:
            taught: TeacherResult = run_in_subprocess(
                subprocess_jobs.teach,
                dataset,
                role.teacher,
                training,
                claim.payload["seed"],
                views_of(role),
                self.spec.baselines.model_dump(),
                folder,
                on_step=on_step,
                on_report=_logged(claim),
            )
        stored = {
            "logits": blobs.put(self.engine, np.ascontiguousarray(taught.logits).tobytes()),
            "model": blobs.put(self.engine, taught.model),
        }
        weights = dict(taught.provenance)
        return self._outcome(claim, params, taught.result, blobs=stored, detail=role.teacher, weights=weights)

    def _distill(self, claim: Claim, params: dict[str, Any], on_step: OnStep) -> Outcome:
        name, arm, group = claim.payload["role"], claim.payload.get("arm"), group_of(claim.payload)
        if arm == AUTOKERAS_ARM:
            return self._refit(claim, params, on_step)
        logits = self._logits(name, teacher_of(group), on_step)
        trainer = self._resources.trainer(name, logits)
        trainer.teach(
            taught_by(
                arm, logits, self._resources.dataset(name).train.labels, seed=derive(self.spec.seed, "shuffled", name)
            )
        )
        epochs = same_cost(self.engine, self.sweep_id, self.spec, name) if arm == "scratch-same-cost" else None
        point = DistillConfig(temperature=params["temperature"], alpha=params["alpha"])
        result = trainer.train(
            point, seed=claim.payload["seed"], epochs=epochs, on_epoch=lambda epoch, score: on_step()
        )
        more: dict[str, Any] = {"loss": LOSS_FORMULA}
        if epochs is not None:
            more["epochs"] = epochs
        if claim.stage == "transfer":
            more["test_accuracy"] = trainer.accuracy(self._resources.test(name))
            # One finished student per dataset is kept: it is measured at the end, and can be exported.
            if arm == "best" and claim.payload["repeat"] == 0 and not group:
                more["blobs"] = {"model": blobs.put(self.engine, trainer.model_bytes())}
        return self._outcome(claim, params, result, detail=self.spec.role(name).student, **more)

    def _refit(self, claim: Claim, params: dict[str, Any], on_step: OnStep) -> Outcome:
        """The network that AutoKeras found, trained anew with this seed: the found one was the luckiest of its search.

        Raises:
            Unavailable: AutoKeras found none.
        """
        name, epochs = claim.payload["role"], self.spec.baselines.autokeras_epochs
        baselines = queries.task_records(self.engine, self.sweep_id, phase="baselines", state="done")
        task = next((one for one in baselines if _made(one) == (AUTOKERAS_ARM, name)), None)
        if task is None:
            raise Unavailable(f"AutoKeras found no network on {self.spec.role(name).dataset}: there is none to train")
        trainer = self._resources.found(name, lambda: self._blob(task, "model", on_step), epochs=epochs)
        point = DistillConfig(temperature=params["temperature"], alpha=params["alpha"])
        result = trainer.train(point, seed=claim.payload["seed"], on_epoch=lambda epoch, score: on_step())
        tested = trainer.accuracy(self._resources.test(name))
        return self._outcome(
            claim, params, result, detail="the network that AutoKeras found", test_accuracy=tested, epochs=epochs
        )

    def _baseline(self, claim: Claim, params: dict[str, Any], on_step: OnStep) -> Outcome:
        method, limits = params["method"], self.spec.baselines
        with tempfile.TemporaryDirectory(prefix="kd-sweeps-") as folder:
            result = run_in_subprocess(
                subprocess_jobs.fit_baseline,
                method,
                self._resources.dataset(claim.payload["role"]),
                limits.model_dump(),
                claim.payload["seed"],
                folder,
                on_step=on_step,
                on_report=_logged(claim),
                seconds=_GRACE_S + (limits.autokeras_seconds if method == "autokeras" else limits.seconds),
            )
        stored = {"model": blobs.put(self.engine, result.model)}
        extra = {"method": method, "capped": result.capped, "weights": dict(result.provenance), "curve": result.curve}
        return self._outcome(claim, params, result, blobs=stored, detail=result.detail, **extra)

    def _measure(self, claim: Claim, params: dict[str, Any], on_step: OnStep) -> Outcome:
        done = queries.task_records(self.engine, self.sweep_id, state="done")
        models = {}
        for task in done:
            if "model" in (task.outcome or {}).get("blobs", {}):
                models[task.key] = (task.payload["role"], task)
        if not models:
            raise SweepError("no model was finished, so there is nothing to measure")
        tests = {role: self._resources.test(role) for role in {role for role, _ in models.values()}}
        files = {key: (self._blob(task, "model", on_step), role) for key, (role, task) in models.items()}
        seen = {role: self._resources.dataset(role).validation.images[:CALIBRATION] for role in tests}
        measured = run_in_subprocess(subprocess_jobs.measure_models, files, tests, seen, on_step=on_step)
        student = measured.get("transfer#source.best.0") or next(iter(measured.values()))
        return Outcome(
            score=student["latency_ms_p50"],
            values={"models": measured},
            attrs={"models": len(measured)},
        )

    def _outcome(
        self,
        claim: Claim,
        params: dict[str, Any],
        result: Any,
        *,
        blobs: dict[str, str] | None = None,
        **more: Any,
    ) -> Outcome:
        dataset = self._resources.dataset(claim.payload["role"])
        # What the table needs of a result; models and weights are kept as blobs.
        kept = ("val_accuracy", "epoch_val_accuracy", "parameters", "train_images", "train_s", "cpu_s", "seed")
        values = {name: getattr(result, name) for name in kept if hasattr(result, name)}
        values |= params | {"dataset": dataset.name, "data": _origin(dataset)} | more | {"blobs": blobs or {}}
        shown = ("dataset", "test_accuracy", "parameters", "train_s", "seed", "detail")
        attrs = {name: values[name] for name in shown if name in values and name not in params}
        attrs |= {name: claim.payload[name] for name in ("repeat", "rank") if name in claim.payload}
        scores = values.get("epoch_val_accuracy", ())
        return Outcome(score=result.val_accuracy, values=values, attrs=attrs, epoch_values=tuple(scores))

    def _blob(self, task: TaskRecord, name: str, on_step: OnStep) -> bytes:
        """Bytes that a finished task stored. Damaged ones are made again, by the same work with the same seeds.

        Raises:
            storage.errors.BlobCorrupt: this machine makes other bytes than the one that stored them.
        """
        digest = (task.outcome or {})["blobs"][name]
        try:
            return blobs.get(self.engine, digest)
        except BlobCorrupt as error:
            log.warning("%s of %s: %s; making it again here", name, task.key, error)
        again = Claim(
            sweep_id=self.sweep_id,
            task_id=task.id,
            key=task.key,
            stage=task.stage,
            phase=task.phase,
            payload=task.payload,
            attempt=task.attempt,
            params=task.params,
            retry_of=None,
        )
        self(again, task.params or {}, on_step)
        return blobs.get(self.engine, digest)

    def _logits(self, role: str, teacher: str, on_step: OnStep) -> npt.NDArray[np.float32]:
        """What a teacher says of the training images: float32, (images, classes), or (views, images, classes)."""
        phase = tagged(f"teachers:{role}", teacher)
        if phase in self._teachers:
            return self._teachers[phase]
        (task,) = queries.task_records(self.engine, self.sweep_id, phase=phase, state="done")
        outcome, dataset = task.outcome or {}, self._resources.dataset(role)
        if outcome["data"]["split_hash"] != dataset.split_hash:
            raise SweepError(
                f"the teacher saw other {dataset.name} training images than this worker has; "
                "its logits would be misaligned"
            )
        views = views_of(self.spec.role(role))
        shape = (len(dataset.train.labels), dataset.classes)
        logits = np.frombuffer(self._blob(task, "logits", on_step), np.float32)
        self._teachers[phase] = logits.reshape(shape if views == 1 else (views, *shape))
        return self._teachers[phase]


def _made(task: TaskRecord) -> tuple[str, str]:
    return task.payload["method"], task.payload["role"]


def _logged(claim: Claim) -> Report:
    """Puts what a child reports into the worker's log, at most every ten seconds."""
    logged_at = time.monotonic()

    def on_report(fraction: float, text: str) -> None:
        nonlocal logged_at
        if time.monotonic() - logged_at >= _LOG_EVERY_S:
            logged_at = time.monotonic()
            log.info("%s %.0f %%: %s", claim.key, 100 * fraction, text)

    return on_report


def _origin(dataset: Dataset) -> dict[str, str]:
    return {
        "origin": dataset.origin,
        "content_hash": dataset.content_hash,
        "split_hash": dataset.split_hash,
    }
