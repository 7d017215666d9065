"""Train, test and measure the teachers, students and comparison methods of a sweep in one worker."""

import hashlib
import logging
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kd.config import CALIBRATION, BaselineResult, DistillConfig, Schedule, TeacherResult, TrainingConfig, TrainResult
from kd.data import custom, datasets
from kd.errors import Unavailable
from kd.teachers import logits_file
from kd.teachers.names import parse_teacher
from kd.tools.code import is_code
from kd.tools.processes import run_in_subprocess
from sweeps.distill import arms, cost, space
from sweeps.distill import jobs as child_jobs
from sweeps.distill.spec import DatasetSpec, KdSpec, Training, formula
from sweeps.errors import SweepError
from sweeps.plan import phases
from sweeps.plan.identity import derive
from sweeps.trainers.protocol import Artifacts, Point, Progress, Run, Trained

if TYPE_CHECKING:
    from kd.models.measure import ModelFile, Scores
    from kd.training.student import StudentTrainer

log = logging.getLogger(__name__)

Logits = npt.NDArray[np.float32]
_GRACE_S = 60.0  # for a child to save its result after AutoKeras' own limit, before it is killed
_COPY = "copy the file it was created from and pass --data DIR"
_CURES = {
    "folder": "copy the folder it was created from and pass the folder that holds it as --data DIR",
    "function": "its function must return the same arrays on every machine",
}


@dataclass
class KdTrainer:
    # Keeps datasets, logits and compiled students for later runs.
    spec: KdSpec
    artifacts: Artifacts
    _datasets: dict[str, datasets.Dataset] = field(default_factory=dict)
    _tests: dict[str, datasets.Split] = field(default_factory=dict)
    _trainers: dict[str, "StudentTrainer"] = field(default_factory=dict)
    _teachers: dict[tuple[str, str], Logits] = field(default_factory=dict)
    _latest: "StudentTrainer | None" = None

    def check(self) -> None:
        for role in self.spec.roles:
            part = self.spec.role(role)
            wanted, actual = part.content_hash, self.dataset(role).content_hash
            if wanted and wanted != actual:
                raise SweepError(
                    f"{part.dataset} here has content {actual[:12]}, the sweep was created with "
                    f"{wanted[:12]}; {_CURES.get(custom.kind_of(part.dataset) or '', _COPY)}"
                )

    def train(self, run: Run, progress: Progress) -> Trained:
        if run.kind == "prepare":
            return self._teach(run, progress)
        if run.kind == "reference":
            return self._fit(run, progress)
        if run.kind == "measure":
            return self._score(progress) if run.method == "accuracy" else self._measure(progress)
        return self._refit(run, progress) if run.arm == arms.AUTOKERAS else self._distill(run, progress)

    def test(self, run: Run, progress: Progress) -> float:
        assert self._latest is not None
        return self._latest.accuracy(self._test_images(run.role))

    def _teach(self, run: Run, progress: Progress) -> Trained:
        role, dataset, numerics = self.spec.role(run.role), self.dataset(run.role), ""
        training = TrainingConfig(
            epochs=role.teacher_epochs,
            batch_size=self.spec.training.batch_size,
            learning_rate=self.spec.training.teacher_learning_rate,
        )
        taught: TeacherResult
        teacher = parse_teacher(role.teacher)
        if teacher.logits:
            taught = logits_file.teach(Path(teacher.logits), dataset)
        else:
            log.info("%s: training the teacher %s", run.role, role.teacher)
            budget = self.spec.baselines.budget(teacher.method)
            with tempfile.TemporaryDirectory(prefix="kd-sweeps-") as folder:
                arguments = dataset, role.teacher, training, run.seed, views_of(role), budget, folder
                taught, numerics = run_in_subprocess(
                    child_jobs.teach, *arguments, on_step=progress.check, on_report=progress
                )
        logits = np.ascontiguousarray(taught.logits).tobytes()
        actual = _digest(logits)
        if role.logits_hash and actual != role.logits_hash:
            raise SweepError(
                f"{role.teacher} here gives logits {actual[:12]}, the sweep was created with"
                f" {role.logits_hash[:12]}; copy the file that it was created from"
            )
        facts = {"model": role.teacher, "weights": dict(taught.provenance)}
        return trained(
            taught.result,
            dataset,
            facts=facts | {"logit_spread": logits_file.logit_spread(taught.logits)},
            artifacts={"logits": logits} | ({"model": taught.model} if taught.model else {}),
            detail=role.teacher,
            numerics=numerics,
        )

    def _distill(self, run: Run, progress: Progress) -> Trained:
        from kd.training.student import fingerprint  # here: it imports TensorFlow

        assert run.point is not None
        role, arm = run.role, run.arm
        dataset = self.dataset(role)
        settings = settings_of(self.spec.training, run.point, arm)
        # Its recipe is chosen before the teacher exists, and the comparison must train the same way.
        logits = None if arm == arms.SCRATCH_OWN else self._logits(role, run.prepared)
        student = self.trainer(role, logits, settings)
        shuffle = derive(self.spec.seed, "shuffled", role)
        student.teach(None if logits is None else taught_by(arm, logits, dataset.train.labels, seed=shuffle))
        epochs = self._same_cost(role) if arm == arms.SAME_COST else settings.epochs
        planned, known = epochs or self.spec.role(role).epochs, ""

        def on_epoch(epoch: int, validation: float | None) -> None:
            nonlocal known
            known = known if validation is None else f": validation {validation:.4f}"
            progress((epoch + 1) / planned, f"epoch {epoch + 1} of {planned}{known}")

        result = student.train(
            settings.distill,
            seed=run.seed,
            epochs=epochs,
            learning_rate=settings.learning_rate,
            on_step=progress,
            on_epoch=on_epoch,
        )
        self._latest = student
        return trained(
            result,
            dataset,
            facts={"loss": formula(settings.loss)} | ({} if epochs is None else {"epochs": epochs}),
            artifacts={"model": student.model_bytes()} if run.keep else {},
            detail=self.spec.role(role).student,
            numerics=fingerprint(),
        )

    def _same_cost(self, role: str) -> int:
        # The first run stores it, because seeds may be added later.
        def make() -> dict[str, Any]:
            macs = {}
            for key in dict.fromkeys(("source", role)):
                (teacher,) = self.artifacts.finished("prepare", role=key, prepared="")
                part = self.spec.role(key)
                if "model" not in teacher.artifacts:
                    raise Unavailable(f"scratch-same-cost: the cost of {part.teacher} is unknown")
                model = self.artifacts.get(teacher.run, "model")
                macs[key] = cost.count(part.student, part.teacher, self.dataset(key), model=model)
            epochs = {"epochs": cost.equal_cost_epochs(self.spec, macs, role)}
            return epochs | {key: asdict(counted) for key, counted in macs.items()}

        return int(self.artifacts.once(f"same-cost.{role}", make)["epochs"])

    def _refit(self, run: Run, progress: Progress) -> Trained:
        # Trained again with this seed: the found network was the luckiest of its search.
        assert run.point is not None
        fits = self.artifacts.finished("reference", role=run.role, method=arms.AUTOKERAS)
        if not fits:
            raise Unavailable(
                f"AutoKeras found no network on {self.spec.role(run.role).dataset}, so there is nothing to train"
            )
        epochs = self.spec.baselines.autokeras_epochs
        student = self.found_network(run.role, lambda: self.artifacts.get(fits[0].run, "model"), epochs=epochs)
        distill = settings_of(self.spec.training, run.point, arms.AUTOKERAS).distill
        result = student.train(distill, seed=run.seed, on_step=progress)
        self._latest = student
        return trained(result, self.dataset(run.role), facts={"epochs": epochs}, detail=arms.FOUND_NETWORK)

    def _fit(self, run: Run, progress: Progress) -> Trained:
        budget, dataset = self.spec.baselines.budget(run.method), self.dataset(run.role)
        seconds = _GRACE_S + budget.seconds
        with tempfile.TemporaryDirectory(prefix="kd-sweeps-") as folder:
            arguments = run.method, dataset, budget, run.seed, folder
            result: BaselineResult = run_in_subprocess(
                child_jobs.fit_baseline, *arguments, on_step=progress.check, on_report=progress, seconds=seconds
            )
        return trained(
            result,
            dataset,
            facts={"method": run.method, "weights": dict(result.provenance), "curve": result.curve},
            artifacts={"model": result.model},
            detail=result.detail,
            capped=result.capped,
        )

    def _score(self, progress: Progress) -> Trained:
        from kd.models.measure import score  # here: it imports TensorFlow

        kept = self._kept()
        files = self._files(kept)
        scores = score(files, on_step=progress, check=progress.check)
        models = {key: {"digest": _digest(files[key].model), **asdict(scored)} for key, scored in scores.items()}
        # Without the students, whose test scores belong to an interim look that is not complete yet.
        others = [scores[run.key].test_accuracy for run in kept if not run.keep]
        return Trained(score=max(others, default=0.0), facts={"models": models})

    def _measure(self, progress: Progress) -> Trained:
        kept = self._kept()
        if not kept:
            raise SweepError("no model was finished, so there is nothing to measure")
        files = self._files(kept)
        scores = self._scores({key: _digest(file.model) for key, file in files.items()})
        measured = run_in_subprocess(
            child_jobs.measure_models, files, scores, on_step=progress.check, on_report=lambda *_: progress()
        )
        student = next((run.key for run in kept if run.keep and run.role == "source"), kept[0].key)
        watched = "test_accuracy" if phases.scores_alone(self.spec) else "latency_ms_p50"
        return Trained(score=measured[student][watched], facts={"models": measured})

    def _kept(self) -> list[Run]:
        return [entry.run for entry in self.artifacts.finished() if "model" in entry.artifacts]

    def _files(self, kept: Sequence[Run]) -> dict[str, "ModelFile"]:
        from kd.models.measure import ModelFile  # here: it imports TensorFlow

        calibrations = {role: self.dataset(role).validation.images[:CALIBRATION] for role in {run.role for run in kept}}
        return {
            run.key: ModelFile(
                model=self.artifacts.get(run, "model"),
                test=self._test_images(run.role),
                calibration=calibrations[run.role],
                builder=builder_of(run, self.spec.role(run.role)),
            )
            for run in kept
        }

    def _scores(self, digests: Mapping[str, str]) -> dict[str, "Scores"]:
        """Return earlier scores of the models that are still the same; digests: of the models, by key."""
        from kd.models.measure import Scores

        return {
            key: Scores(**{part.name: scored[part.name] for part in fields(Scores)})
            for entry in self.artifacts.finished("measure", method="accuracy")
            for key, scored in entry.facts["models"].items()
            if scored["digest"] == digests.get(key)
        }

    def _logits(self, role: str, prepared: str) -> Logits:
        """Return a teacher's logits of the training images: float32, (images, classes) or (views, images, classes)."""
        if (role, prepared) not in self._teachers:
            (teacher,) = self.artifacts.finished("prepare", role=role, prepared=prepared)
            dataset, data = self.dataset(role), teacher.facts.get("data")
            if data is None or data["split_hash"] != dataset.split_hash:
                raise SweepError(
                    f"the teacher saw different {dataset.name} training images from this worker's; "
                    "its logits would be misaligned"
                )
            views = views_of(self.spec.role(role))
            shape = (len(dataset.train.labels), dataset.classes)
            logits = np.frombuffer(self.artifacts.get(teacher.run, "logits"), np.float32)
            self._teachers[role, prepared] = logits.reshape(shape if views == 1 else (views, *shape))
        return self._teachers[role, prepared]

    def dataset(self, role: str) -> datasets.Dataset:
        if role not in self._datasets:
            part = self.spec.role(role)
            loaded = datasets.load(part.dataset, train_images=part.images, size=part.size)
            self._datasets[role] = replace(loaded, name=part.shown)
        return self._datasets[role]

    def _test_images(self, role: str) -> datasets.Split:
        if role not in self._tests:
            part = self.spec.role(role)
            self._tests[role] = datasets.load_test(part.dataset, size=part.size)
        return self._tests[role]

    def trainer(self, role: str, logits: Logits | None, settings: "StudentSettings") -> "StudentTrainer":
        """Return the students of a role, compiled once for all points and seeds of a loss, a schedule and a batch."""
        part = self.spec.role(role)
        if ":" in part.student:  # the last line in the log if a user's model exhausts the memory
            log.info("%s: training the student %s", role, part.student)
        name = f"{role}.{settings.loss}.{settings.schedule}.{settings.batch_size}"
        if name not in self._trainers:
            self._trainers[name] = self._compiled(role, part.student, logits, part.epochs, settings)
        return self._trainers[name]

    def found_network(self, role: str, model: Callable[[], bytes], *, epochs: int) -> "StudentTrainer":
        """Return students with the architecture of a .keras file, trained on labels only; also compiled once."""
        name = f"{role}.found"
        if name not in self._trainers:
            folder = tempfile.mkdtemp(prefix="kd-sweeps-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # every new seed reads the file again
            path = Path(folder) / "found.keras"
            path.write_bytes(model())
            settings = settings_of(self.spec.training, space.LABELS_ONLY, arms.AUTOKERAS)
            self._trainers[name] = self._compiled(role, str(path), None, epochs, settings)
        return self._trainers[name]

    def _compiled(
        self, role: str, student: str, logits: Logits | None, epochs: int, settings: "StudentSettings"
    ) -> "StudentTrainer":
        from kd.training.student import StudentTrainer  # here: it imports TensorFlow

        training = TrainingConfig(
            epochs=epochs,
            batch_size=settings.batch_size,
            learning_rate=self.spec.training.learning_rate,
            schedule=settings.schedule,
            average_steps=self.spec.training.average_steps,
        )
        views, dataset = views_of(self.spec.role(role)), self.dataset(role)
        return StudentTrainer(
            dataset, student=student, teacher_logits=logits, training=training, views=views, loss=settings.loss
        )


@dataclass(frozen=True, kw_only=True)
class StudentSettings:
    """The settings of one student's training. loss: its name. epochs, learning_rate: None for the spec's."""

    loss: str
    schedule: Schedule
    distill: DistillConfig
    batch_size: int
    epochs: int | None
    learning_rate: float | None


def settings_of(training: Training, point: Point, arm: str) -> StudentSettings:
    """Return the settings of the student at a point. arm: "" in the searches; some arms always have the loss kd."""
    more: dict[str, Any] = {name: value for name, value in point.values if name not in ("temperature", "alpha")}
    plain = bool(arm) and "loss" in arms.ARMS[arm].settings
    searched = {name: value for name, value in more.items() if name not in space.TRAINING_PARAMS}
    own = {} if plain else training.loss_parameters | searched
    return StudentSettings(
        loss="kd" if plain else training.distillation,
        schedule=more[space.SCHEDULE] if arm == arms.SCRATCH_OWN else training.schedule,
        distill=DistillConfig(temperature=point["temperature"], alpha=point["alpha"], own=tuple(own.items())),
        batch_size=int(more.get("batch_size", training.batch_size)),
        epochs=int(more["epochs"]) if "epochs" in more else None,
        learning_rate=more.get("learning_rate"),
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def views_of(role: DatasetSpec) -> int:
    """Return the number of fixed views of each training image; 1 is the image itself."""
    return role.views if role.augment == "flip-crop" else 1


def taught_by(arm: str, logits: Logits, labels: npt.NDArray[np.int64], *, seed: int) -> Logits:
    """Return the logits that an arm learns from: the teacher's, or a control's.

    logits: (images, classes) or (views, images, classes). labels: (images,). seed: of the shuffle.
    """
    if arm == "class-mean":
        return logits_file.class_mean(logits, labels)
    if arm == "shuffled-within-class":
        return logits_file.shuffled_within_class(logits, labels, seed)
    return logits_file.uniform(logits) if arm == "label-smoothing" else logits


def builder_of(run: Run, role: DatasetSpec) -> str:
    """Return the user's function that built the model of a run, or ""."""
    if run.kind == "prepare":
        return parse_teacher(role.teacher).builder
    return role.student if run.kind == "train" and is_code(role.student) else ""


def trained(result: TrainResult, dataset: datasets.Dataset, **more: Any) -> Trained:
    origin = {"origin": dataset.origin, "content_hash": dataset.content_hash, "split_hash": dataset.split_hash}
    facts = {"dataset": dataset.name, "data": origin, "train_images": len(dataset.train), **more.pop("facts", {})}
    return Trained(
        score=result.val_accuracy,
        curve=result.epoch_val_accuracy,
        train_s=result.train_s,
        cpu_s=result.cpu_s,
        size=result.parameters,
        facts=facts,
        **more,
    )
