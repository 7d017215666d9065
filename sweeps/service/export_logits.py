"""Export a teacher's logits from the database as a file that another sweep takes as its teacher."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sqlalchemy

from kd.data.datasets import Positions, content_hash, positions
from kd.teachers import logits_file
from storage.records import artifacts, queries
from storage.records.queries import SweepRecord
from sweeps.errors import NoResultsYet, SpecError, SweepError
from sweeps.hints import here
from sweeps.plan.names import teacher_phase
from sweeps.plan.outcomes import TeacherOutcome, done_tasks
from sweeps.plan.payloads import TeacherTask
from sweeps.spec.model import stored


@dataclass(frozen=True, eq=False)
class TeacherLogits:
    """Logits as they were stored. logits: float32, shape (images, classes). places: of these images, published."""

    dataset: str
    logits: npt.NDArray[np.float32]
    places: Positions
    sha256: str
    val_accuracy: float
    provenance: str


def find_logits(engine: sqlalchemy.Engine, sweep: SweepRecord, role: str) -> TeacherLogits:
    """Return the logits of the teacher of a role.

    Args:
        role: such as "source".

    Raises:
        NoResultsYet: it is not trained yet.
        SpecError: no such role, or its students see augmented images, which have logits of their own.
        SweepError: the dataset here is another one.
        storage.errors.BlobCorrupt: the stored bytes are damaged.
    """
    spec = stored(sweep)
    if role not in spec.roles:
        raise SpecError(f"--logits: got {role!r}; allowed: {', '.join(spec.roles)}")
    part = spec.role(role)
    if part.augment != "none":
        raise SpecError(f"--logits: the students of {role} see augmented images; a file has logits of the images alone")
    done = queries.task_records(engine, sweep.id, phase=teacher_phase(role), state="done")
    if not done:
        raise NoResultsYet(f"the teacher of {role} is not trained yet; go on with: {here().launch(sweep.name)}")
    (teacher,) = done_tasks(done, TeacherTask, TeacherOutcome)
    found = content_hash(part.dataset, size=part.size)
    if found != part.content_hash:
        raise SweepError(
            f"{part.dataset} here has content {found[:12]}, the sweep was created with {part.content_hash[:12]}:"
            " the order of its images is not known"
        )
    sha256 = teacher.outcome.blobs.get("logits")
    if sha256 is None:
        raise SweepError(f"the logits of {part.dataset} were not kept; type: {here().retry_and_launch(sweep.name)}")
    places = positions(part.dataset, train_images=part.images, size=part.size)
    logits = np.frombuffer(artifacts.get(engine, sha256), np.float32).reshape(part.images, -1)
    return TeacherLogits(
        dataset=part.dataset,
        logits=logits,
        places=places,
        sha256=sha256,
        val_accuracy=teacher.outcome.val_accuracy,
        provenance=f"kd-sweeps {sweep.name}, spec {sweep.fingerprint[:12]}: {part.teacher}, numerics"
        f" {teacher.outcome.numerics or 'unknown'}",
    )


def write(found: TeacherLogits, path: Path) -> None:
    """Write the file.

    Raises:
        SweepError: the system does not let us write there.
    """
    try:
        logits_file.write(
            path,
            found.logits,
            found.places.train,
            dataset=found.dataset,
            provenance=found.provenance,
            val_accuracy=found.val_accuracy,
        )
    except OSError as error:
        raise SweepError(f"cannot write {path}: {error.strerror}") from error
