"""Run a task: train, teach, fit or measure what its payload says."""

import hashlib
import logging
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy

from kd.config import CALIBRATION, BaselineResult, TeacherResult, TrainingConfig
from kd.data.datasets import positions
from kd.errors import Unavailable
from kd.teachers import logits_file
from kd.teachers.names import parse_teacher
from kd.tools.processes import Report, run_in_subprocess
from storage.errors import BlobCorrupt
from storage.records import artifacts, queries
from storage.tables import TaskRecord
from sweeps.distill import jobs as child_jobs
from sweeps.distill import session
from sweeps.distill.arms import AUTOKERAS_ARM, FOUND_NETWORK
from sweeps.distill.cost import count, equal_cost_epochs
from sweeps.distill.spec import formula
from sweeps.errors import SweepError
from sweeps.plan import jobs
from sweeps.plan.identity import derive
from sweeps.plan.phases import kept_student_key, teacher_phase, transfer_key
from sweeps.spec.model import Spec
from sweeps.spec.stored import check_code
from sweeps.trainers.protocol import Point, Steps
from sweeps.workers.logs import logged, redact

log = logging.getLogger(__name__)

# A child gets this much longer than AutoKeras' own cap before it is killed: to save what it has.
_GRACE_S = 60.0


@dataclass
class TaskRunner:
    """Runs tasks of one sweep in this process; keeps datasets, logits and compiled students between them.

    read_only: models and logits are hashed, not stored: for who trains again only to compare.
    """

    engine: sqlalchemy.Engine
    sweep_id: int
    spec: Spec
    read_only: bool = False
    _teachers: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Nothing is loaded before it is needed."""
        self.resources = session.TaskResources(self.spec)

    def __call__(self, claim: TaskRecord, params: dict[str, Any], steps: Steps) -> session.Outcome:
        """Run one task with its parameters. What `steps` raises at a step stops the task.

        Raises:
            storage.errors.RecordBroken: the payload of the task is damaged.
            kd.errors.NotHere: a file of the user's code is missing here, or another one.
        """
        task = jobs.payload_of(claim)
        check_code(self.spec)  # a file may have been edited since; what is loaded here already is not read again
        if isinstance(task, jobs.TeacherTask):
            values: jobs.TrainedOutcome = self._teach(task, steps, steps.of_child(logged(claim.key)))
        elif isinstance(task, jobs.BaselineTask):
            values = self._fit(task, steps, steps.of_child(logged(claim.key)))
        elif isinstance(task, jobs.MeasureTask):
            return self._measure(steps)
        else:
            point = Point.of({name: value for name, value in params.items() if name not in ("arm", "dataset")})
            refit = isinstance(task, jobs.TransferTask) and task.arm == AUTOKERAS_ARM
            values = (self._refit if refit else self._distill)(task, point, steps)
        return session.outcome_of(task, params, values)

    def check_data(self) -> None:
        """Check, before anything is claimed, that data and code are those that the spec froze; `check_here` raises."""
        self.resources.check_here()

    def _teach(self, task: jobs.TeacherTask, steps: Steps, on_report: Report) -> jobs.TeacherOutcome:
        role = self.spec.role(task.role)
        training = TrainingConfig(
            epochs=role.teacher_epochs,
            batch_size=self.spec.training.batch_size,
            learning_rate=self.spec.training.teacher_learning_rate,
        )
        dataset = self.resources.dataset(task.role)
        if file := parse_teacher(role.teacher).logits:
            places = positions(role.dataset, train_images=role.images, size=role.size)
            from_file = logits_file.teach(Path(file), dataset, places)
            return session.teacher_of(role, dataset, from_file, kept=self._kept)
        log.info("%s: training the teacher %s", task.role, role.teacher)
        with tempfile.TemporaryDirectory(prefix="kd-sweeps-") as folder:
            taught: TeacherResult
            taught, numerics = run_in_subprocess(
                child_jobs.teach,
                dataset,
                role.teacher,
                training,
                task.seed,
                session.views_of(role),
                self.spec.baselines.model_dump(),
                folder,
                on_step=steps.check,
                on_report=on_report,
            )
        return session.teacher_of(role, dataset, taught, kept=self._kept, numerics=numerics)

    def _distill(self, task: jobs.StudentTask, point: Point, steps: Steps) -> jobs.StudentOutcome:
        from kd.training.numerics import fingerprint  # as TensorFlow: not before a student is trained

        role, arm = task.role, task.arm if isinstance(task, jobs.TransferTask) else None
        dataset, logits = self.resources.dataset(role), self._logits(teacher_phase(role, task.group), role, steps)
        settings = session.settings_of(self.spec.training, point, arm)
        trainer = self.resources.trainer(role, logits, settings)
        trainer.teach(
            session.taught_by(arm, logits, dataset.train.labels, seed=derive(self.spec.seed, "shuffled", role))
        )
        epochs = self._same_cost(role, steps) if arm == "scratch-same-cost" else settings.epochs
        rate = settings.learning_rate
        result = trainer.train(settings.distill, seed=task.seed, epochs=epochs, learning_rate=rate, on_step=steps)
        more: dict[str, Any] = {"loss": formula(settings.loss), "blobs": {}, "numerics": fingerprint()}
        if epochs is not None:
            more["epochs"] = epochs
        if isinstance(task, jobs.TransferTask):
            more |= {"arm": task.arm, "test_accuracy": trainer.accuracy(self.resources.test(role))}
            # One finished student per dataset is kept: it is measured at the end, and can be exported.
            if transfer_key(role, task.arm, task.repeat, task.group) == kept_student_key(role):
                more["blobs"] = {"model": self._kept(trainer.model_bytes())}
        detail = self.spec.role(role).student
        return jobs.StudentOutcome(
            **session.training_of(result), **session.source_of(dataset), **point.as_json(), detail=detail, **more
        )

    def _same_cost(self, role: str, steps: Steps) -> int:
        """Return the epochs of scratch-same-cost; stored by the first, since seeds may be added later."""
        name = f"same-cost.{role}"
        frozen = artifacts.get_selection(self.engine, self.sweep_id, name)
        if frozen is None:
            macs = {}
            for key in dict.fromkeys(("source", role)):
                (teacher,) = jobs.done_tasks(self._done(teacher_phase(key)), jobs.TeacherTask, jobs.TeacherOutcome)
                if "model" not in teacher.outcome.blobs:
                    raise Unavailable(f"scratch-same-cost: what {teacher.outcome.model} cost is not known")
                part, model = self.spec.role(key), self._blob(teacher, "model", steps)
                macs[key] = count(part.student, part.teacher, self.resources.dataset(key), model=model)
            value: dict[str, Any] = {"epochs": equal_cost_epochs(self.spec, macs, role)}
            value |= {key: asdict(counted) for key, counted in macs.items()}
            frozen = value if self.read_only else artifacts.freeze_selection(self.engine, self.sweep_id, name, value)
        return int(frozen["epochs"])

    def _refit(self, task: jobs.StudentTask, point: Point, steps: Steps) -> jobs.StudentOutcome:
        """Train the network that AutoKeras found anew with this seed: the found one was the luckiest of its search.

        Raises:
            Unavailable: AutoKeras found none.
        """
        role, epochs = task.role, self.spec.baselines.autokeras_epochs
        baselines = jobs.done_tasks(self._done("baselines"), jobs.BaselineTask, jobs.BaselineOutcome)
        fits = [done for done in baselines if (done.payload.method, done.payload.role) == (AUTOKERAS_ARM, role)]
        if not fits:
            raise Unavailable(f"AutoKeras found no network on {self.spec.role(role).dataset}: there is none to train")
        trainer = self.resources.found_network(role, lambda: self._blob(fits[0], "model", steps), epochs=epochs)
        distill = session.settings_of(self.spec.training, point, AUTOKERAS_ARM).distill
        result = trainer.train(distill, seed=task.seed, on_step=steps)
        return jobs.StudentOutcome(
            **session.training_of(result),
            **session.source_of(self.resources.dataset(role)),
            **point.as_json(),
            arm=AUTOKERAS_ARM,
            detail=FOUND_NETWORK,
            test_accuracy=trainer.accuracy(self.resources.test(role)),
            epochs=epochs,
            blobs={},
        )

    def _fit(self, task: jobs.BaselineTask, steps: Steps, on_report: Report) -> jobs.BaselineOutcome:
        limits, dataset = self.spec.baselines, self.resources.dataset(task.role)
        with tempfile.TemporaryDirectory(prefix="kd-sweeps-") as folder:
            result: BaselineResult = run_in_subprocess(
                child_jobs.fit_baseline,
                task.method,
                dataset,
                limits.model_dump(),
                task.seed,
                folder,
                on_step=steps.check,
                on_report=on_report,
                seconds=_GRACE_S + (limits.autokeras_seconds if task.method == "autokeras" else limits.seconds),
            )
        return jobs.BaselineOutcome(
            **session.training_of(result),
            **session.source_of(dataset),
            method=task.method,
            detail=result.detail,
            capped=result.capped,
            weights=dict(result.provenance),
            curve=result.curve,
            blobs={"model": self._kept(result.model)},
        )

    def _measure(self, steps: Steps) -> session.Outcome:
        models = {
            done.record.key: (role, done)
            for done in map(jobs.done_task, self._done())
            if (role := done.payload.role) is not None and "model" in done.outcome.blobs
        }
        if not models:
            raise SweepError("no model was finished, so there is nothing to measure")
        tests = {role: self.resources.test(role) for role in {role for role, _ in models.values()}}
        files = {
            key: (self._blob(done, "model", steps), role, session.builder_of(done.payload, self.spec.role(role)))
            for key, (role, done) in models.items()
        }
        seen = {role: self.resources.dataset(role).validation.images[:CALIBRATION] for role in tests}
        measured = run_in_subprocess(
            child_jobs.measure_models, files, tests, seen, on_step=steps.check, on_report=steps.of_child()
        )
        for model in measured.values():
            if why := model.get("int8_reason"):
                model["int8_reason"] = redact(why, self.engine.url)  # a user's layer may have said it
        values = jobs.MeasureOutcome(models=measured)
        kept = values.models.get(kept_student_key("source")) or next(iter(values.models.values()))
        return session.Outcome(score=kept.latency_ms_p50, values=values, attrs={"models": len(values.models)})

    def _kept(self, data: bytes) -> str:
        """Store bytes; return their digest."""
        return hashlib.sha256(data).hexdigest() if self.read_only else artifacts.put(self.engine, data)

    def _done(self, phase: str | None = None) -> list[TaskRecord]:
        return queries.task_records(self.engine, self.sweep_id, phase=phase, state="done")

    def _blob(self, done: jobs.DoneTask[jobs.Payload, jobs.StoredOutcome], name: str, steps: Steps) -> bytes:
        """Return bytes that a finished task stored. Damaged ones are made again, by the same work with the same seeds.

        Raises:
            storage.errors.BlobCorrupt: this machine makes other bytes than the one that stored them.
        """
        digest, task = done.outcome.blobs[name], done.record
        try:
            return artifacts.get(self.engine, digest)
        except BlobCorrupt as error:
            log.warning("%s of %s: %s; making it again here", name, task.key, error)
        self(task, task.params or {}, steps)
        return artifacts.get(self.engine, digest)

    def _logits(self, phase: str, role: str, steps: Steps) -> npt.NDArray[np.float32]:
        """Return what a teacher says of the training images: float32, (images, classes) or (views, images, classes)."""
        if phase in self._teachers:
            return self._teachers[phase]
        (teacher,) = jobs.done_tasks(self._done(phase), jobs.TeacherTask, jobs.TeacherOutcome)
        dataset = self.resources.dataset(role)
        if teacher.outcome.data is None or teacher.outcome.data.split_hash != dataset.split_hash:
            raise SweepError(
                f"the teacher saw other {dataset.name} training images than this worker has; "
                "its logits would be misaligned"
            )
        views = session.views_of(self.spec.role(role))
        shape = (len(dataset.train.labels), dataset.classes)
        logits = np.frombuffer(self._blob(teacher, "logits", steps), np.float32)
        self._teachers[phase] = logits.reshape(shape if views == 1 else (views, *shape))
        return self._teachers[phase]
