"""The controls of transfer: what takes the teacher's place, and for how long scratch trains at the same cost."""

import statistics

import numpy as np
import numpy.typing as npt
import sqlalchemy

from kd.training import logit_controls
from storage.records import queries, selections
from sweeps.plan.names import search_phase
from sweeps.spec.model import Spec

Logits = npt.NDArray[np.float32]


def taught_by(arm: str | None, logits: Logits, labels: npt.NDArray[np.int64], *, seed: int) -> Logits:
    """The logits that an arm learns from: the teacher's, or what a control puts in their place.

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
    """Epochs that scratch may train for what a distilled student costs; the first to ask decides for all.

    That is the CPU seconds of the student and its share of the teacher: the teacher's, spread over the trials of
    the search that it served.
    """
    name = f"same-cost.{role}"
    found = selections.get(engine, sweep_id, name)
    if found is None:
        students = queries.task_records(engine, sweep_id, phase=search_phase(role), state="done", keep=("cpu_s",))
        (teacher,) = queries.task_records(engine, sweep_id, phase=f"teachers:{role}", state="done", keep=("cpu_s",))
        # The median: the first training of a worker also compiles.
        student_s = statistics.median((task.outcome or {})["cpu_s"] for task in students)
        share_s = (teacher.outcome or {})["cpu_s"] / len(students)
        epochs = round(spec.role(role).epochs * (student_s + share_s) / student_s)
        value = {"epochs": epochs, "student_cpu_s": student_s, "teacher_share_cpu_s": share_s}
        found = selections.insert_or_ignore(engine, sweep_id, name, value)
    return int(found["epochs"])
