"""The scientific controls of transfer: what replaces the teacher's logits, and how long scratch trains at its cost."""

import statistics

import numpy as np
import numpy.typing as npt
import sqlalchemy

from kd.training import logit_controls
from storage.records import queries, selections
from sweeps.plan.names import search_phase, teacher_phase
from sweeps.plan.outcomes import StudentOutcome, TeacherOutcome, done_tasks
from sweeps.plan.payloads import SearchTask, TeacherTask
from sweeps.spec.model import Spec

Logits = npt.NDArray[np.float32]


def taught_by(arm: str | None, logits: Logits, labels: npt.NDArray[np.int64], *, seed: int) -> Logits:
    """Return the logits that an arm learns from: the teacher's, or what a control puts in their place.

    Args:
        arm: None outside transfer.
        logits: of the teacher, (images, classes) or (views, images, classes).
        labels: (images,).
        seed: of the shuffle.
    """
    if arm == "class-mean":
        return logit_controls.class_mean(logits, labels)
    if arm == "shuffled-within-class":
        return logit_controls.shuffled_within_class(logits, labels, seed)
    return logit_controls.uniform(logits) if arm == "label-smoothing" else logits


def same_cost(engine: sqlalchemy.Engine, sweep_id: int, spec: Spec, role: str) -> int:
    """Return the epochs that scratch may train for what a distilled student costs; the first to ask decides for all.

    That is the CPU seconds of the student and its share of the teacher: the teacher's, spread over the trials of
    the search that it served.
    """
    name = f"same-cost.{role}"
    found = selections.get(engine, sweep_id, name)
    if found is None:
        searched, taught = (
            queries.task_records(engine, sweep_id, phase=phase, state="done")
            for phase in (search_phase(role), teacher_phase(role))
        )
        students = done_tasks(searched, SearchTask, StudentOutcome)
        (teacher,) = done_tasks(taught, TeacherTask, TeacherOutcome)
        # The median: the first training of a worker also compiles.
        student_s = statistics.median(task.outcome.cpu_s for task in students)
        share_s = teacher.outcome.cpu_s / len(students)
        epochs = round(spec.role(role).epochs * (student_s + share_s) / student_s)
        value = {"epochs": epochs, "student_cpu_s": student_s, "teacher_share_cpu_s": share_s}
        found = selections.insert_or_ignore(engine, sweep_id, name, value)
    return int(found["epochs"])
