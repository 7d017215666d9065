"""Export a finished student from the database as a .keras file. Reads the database only, and needs no TensorFlow.

Of each dataset one student is kept: the one that transfer trained first at the best (T, alpha), on a seed that no
selection saw. So its recorded test accuracy is not the luckiest of several.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

from storage.errors import BlobCorrupt
from storage.records import artifacts, queries
from storage.records.queries import SweepRecord
from sweeps.errors import NoResultsYet, SpecError, SweepError
from sweeps.hints import here
from sweeps.plan.names import kept_student_key, transfer_phase
from sweeps.plan.outcomes import StudentOutcome, done_tasks
from sweeps.plan.payloads import TransferTask
from sweeps.spec.model import Spec, stored
from sweeps.spec.point import Point


@dataclass(frozen=True, kw_only=True)
class Student:
    """A student as it was recorded.

    Attributes:
        dataset: trained and tested on.
        point: trained with.
        test_accuracy: on the dataset's test images, a fraction in [0, 1].
        sha256: of `model`, 64 hex digits.
        model: bytes of a .keras file, without the optimizer: uint8 images (batch, h, w, c) in, logits out.
    """

    dataset: str
    point: Point
    test_accuracy: float
    sha256: str
    model: bytes


def find_student(engine: sqlalchemy.Engine, sweep: SweepRecord, dataset: str | None = None) -> Student:
    """Return the student that was trained at the best (T, alpha) on a dataset of the sweep; None: the source.

    Raises:
        NoResultsYet: it is not trained yet.
        SpecError: no such dataset in the sweep.
        SweepError: its task failed, or the sweep trains none there.
        storage.errors.RecordBroken: what is stored of it is damaged.
        storage.errors.BlobCorrupt: the stored bytes are damaged; says what to type.
    """
    spec = stored(sweep)
    role = _role(spec, dataset)
    dataset = spec.role(role).shown
    key = kept_student_key(role)
    found = queries.task_records(engine, sweep.id, phase=transfer_phase(role))
    task = next((record for record in found if record.key == key), None)
    again = f"type: {here().retry_and_launch(sweep.name)}"
    if task is None:
        raise SweepError(f"{sweep.name} trains no best student on {dataset}: arm best is not among its transfer arms")
    if task.state in ("failed", "skipped"):
        raise SweepError(f"the student of {dataset} was not trained: {key} {task.state}: {task.reason}; {again}")
    if task.state != "done":
        raise NoResultsYet(
            f"the best student of {dataset} is not trained yet ({key} is {task.state});"
            f" go on with: {here().launch(sweep.name)}"
        )
    (student,) = done_tasks([task], TransferTask, StudentOutcome)
    outcome, tested = student.outcome, student.outcome.test_accuracy
    digest = outcome.blobs.get("model")
    if digest is None or tested is None:
        raise SweepError(f"the student of {dataset} was not kept with the result of {key}; {again}")
    try:
        model = artifacts.get(engine, digest)
    except BlobCorrupt as error:
        raise BlobCorrupt(f"the student of {dataset} cannot be exported: {error}; {again}") from None
    return Student(
        dataset=dataset,
        point=outcome.point,
        test_accuracy=tested,
        sha256=digest,
        model=model,
    )


def _role(spec: Spec, dataset: str | None) -> str:
    roles = {spec.role(role).shown: role for role in spec.roles}
    if dataset is None:
        return "source"
    if dataset not in roles:
        raise SpecError(f"--dataset: got {dataset!r}; this sweep has {', '.join(roles)}")
    return roles[dataset]


def check_target(path: Path, *, force: bool, suffix: str = ".keras") -> None:
    """Check that a file may be written there.

    Args:
        suffix: of a student, which Keras loads under this name only; of logits ".npz"; of an archive ".kdsweep".

    Raises:
        SpecError: no file of that name can be written, or its suffix is another one.
        SweepError: a file is there and force is False.
    """
    example = {".keras": "student.keras", ".npz": "source-logits.npz", ".kdsweep": "mnist-kd.kdsweep"}[suffix]
    if path.is_dir():
        raise SpecError(f"{path} is a folder; name the file, for example {path / example}")
    if path.suffix != suffix:
        raise SpecError(f"got {str(path)!r}; only files that end in {suffix} are read again, for example {example}")
    if not path.parent.is_dir():
        raise SpecError(f"no folder {path.parent}; make it with: mkdir -p {path.parent}")
    if path.exists() and not force:
        raise SweepError(f"{path} is there already; to replace it add --force")


def write(student: Student, path: Path) -> None:
    """Write the .keras file: whole or, whatever happens, not at all. A file that is there is replaced.

    Raises:
        SweepError: the system does not let us write there.
    """
    try:
        # In a neighbouring folder of its own: a file made by tempfile could be read by its owner alone.
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
            whole = Path(folder) / path.name
            whole.write_bytes(student.model)
            os.replace(whole, path)
    except OSError as error:
        raise SweepError(f"cannot write {path}: {error.strerror}") from error
