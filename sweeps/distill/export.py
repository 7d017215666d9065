"""Export the best student, and a teacher's logits.

For each dataset, a sweep keeps the student that transfer trained first at the best (T, alpha), on a seed that no
selection used. So its recorded test accuracy is not the luckiest of several.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sqlalchemy

from kd.data.arrays import Indices
from kd.data.datasets import content_hash, load
from kd.teachers import logits_file
from storage.errors import BlobCorrupt
from storage.records import artifacts, queries
from storage.tables import SweepRecord
from sweeps.distill.spec import of_distillation
from sweeps.errors import NoResultsYet, SpecError, SweepError
from sweeps.hints import local
from sweeps.plan import jobs, phases
from sweeps.spec.stored import stored_spec
from sweeps.trainers.protocol import Point


@dataclass(frozen=True, kw_only=True)
class Student:
    """A recorded student.

    test_accuracy: a fraction in [0, 1]. sha256: of `model`, 64 hex digits. model: bytes of a .keras file, without the
    optimizer, that takes uint8 images (batch, h, w, c) and returns logits.
    """

    dataset: str
    point: Point
    test_accuracy: float
    sha256: str
    model: bytes


def find_student(engine: sqlalchemy.Engine, sweep: SweepRecord, dataset: str | None = None) -> Student:
    """Return the student that was trained at the best (T, alpha) on a dataset of the sweep; dataset None: the source.

    Raises NoResultsYet before it is trained, SweepError if its task failed, BlobCorrupt, RecordBroken.
    """
    spec = of_distillation(stored_spec(sweep))
    roles = {part.shown: role for role, part in zip(spec.roles, spec.parts, strict=True)}
    dataset = spec.source.shown if dataset is None else dataset
    if dataset not in roles:
        raise SpecError(f"--dataset: got {dataset!r}; this sweep has {', '.join(roles)}")
    role = roles[dataset]
    key = phases.kept_student_key(role)
    records = queries.task_records(engine, sweep.id, phase=phases.Phase.transfer(role).name)
    task = next((record for record in records if record.key == key), None)
    hint = f"type: {local().retry_and_launch(sweep.name)}"
    if task is None:
        raise SweepError(f"{sweep.name} trains no best student on {dataset}: arm best is not among its transfer arms")
    if task.state in ("failed", "skipped"):
        raise SweepError(f"the student of {dataset} was not trained: {key} {task.state}: {task.reason}; {hint}")
    if task.state != "done":
        raise NoResultsYet(
            f"the best student of {dataset} is not trained yet ({key} is {task.state});"
            f" continue with: {local().line('launch', sweep.name)}"
        )
    (student,) = jobs.read_finished([task], jobs.TransferTask, jobs.StudentOutcome)
    outcome, tested = student.outcome, student.outcome.test_accuracy
    digest = outcome.blobs.get("model")
    if digest is None or tested is None:
        raise SweepError(f"the student of {dataset} was not kept with the result of {key}; {hint}")
    try:
        model = artifacts.get(engine, digest)
    except BlobCorrupt as error:
        raise BlobCorrupt(f"the student of {dataset} cannot be exported: {error}; {hint}") from None
    return Student(dataset=dataset, point=outcome.point, test_accuracy=tested, sha256=digest, model=model)


def write_student(student: Student, path: Path) -> None:
    """Write the .keras file, whole or not at all, over an existing one."""
    try:
        # In a temporary folder: only its owner could read a temporary file.
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
            whole = Path(folder) / path.name
            whole.write_bytes(student.model)
            os.replace(whole, path)
    except OSError as error:
        raise SweepError(f"cannot write {path}: {error.strerror}") from error


@dataclass(frozen=True, eq=False)
class TeacherLogits:
    """Stored logits. logits: float32, shape (images, classes). indices: of the images in the published dataset."""

    dataset: str
    logits: npt.NDArray[np.float32]
    indices: Indices
    sha256: str
    val_accuracy: float
    provenance: str


def find_logits(engine: sqlalchemy.Engine, sweep: SweepRecord, role: str) -> TeacherLogits:
    """Return the logits of the teacher of a role, such as "source".

    Raises NoResultsYet before it is trained, SweepError if the dataset differs here, BlobCorrupt.
    """
    spec = of_distillation(stored_spec(sweep))
    if role not in spec.roles:
        raise SpecError(f"--logits: got {role!r}; allowed: {', '.join(spec.roles)}")
    part = spec.role(role)
    if part.augment != "none":
        raise SpecError(f"--logits: the students of {role} see augmented images; a file holds logits of plain images")
    done = queries.task_records(engine, sweep.id, phase=phases.Phase.teachers(role).name, state="done")
    if not done:
        raise NoResultsYet(
            f"the teacher of {role} is not trained yet; continue with: {local().line('launch', sweep.name)}"
        )
    (teacher,) = jobs.read_finished(done, jobs.TeacherTask, jobs.TeacherOutcome)
    content = content_hash(part.dataset, size=part.size)
    if content != part.content_hash:
        raise SweepError(
            f"{part.dataset} here has content {content[:12]}, the sweep was created with {part.content_hash[:12]}:"
            " the order of its images is unknown"
        )
    sha256 = teacher.outcome.blobs.get("logits")
    if sha256 is None:
        raise SweepError(f"the logits of {part.dataset} were not kept; type: {local().retry_and_launch(sweep.name)}")
    logits = np.frombuffer(artifacts.get(engine, sha256), np.float32).reshape(part.images, -1)
    return TeacherLogits(
        dataset=part.dataset,
        logits=logits,
        indices=load(part.dataset, train_images=part.images, size=part.size).train_indices,
        sha256=sha256,
        val_accuracy=teacher.outcome.val_accuracy,
        provenance=f"kd-sweeps {sweep.name}, spec {sweep.fingerprint[:12]}: {part.teacher}, numerics"
        f" {teacher.outcome.numerics or 'unknown'}",
    )


def write_logits(teacher: TeacherLogits, path: Path) -> None:
    origin = {"dataset": teacher.dataset, "provenance": teacher.provenance}
    try:
        logits_file.write(path, teacher.logits, teacher.indices, **origin, val_accuracy=teacher.val_accuracy)
    except OSError as error:
        raise SweepError(f"cannot write {path}: {error.strerror}") from error
