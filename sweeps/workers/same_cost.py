"""Count what distilling costs in operations, and how long scratch may train for as much."""

from collections.abc import Mapping
from dataclasses import dataclass

from kd.data.datasets import Dataset
from kd.errors import Unavailable
from kd.teachers.names import parse_teacher
from sweeps.spec.model import Spec


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one image in the student and in the teacher of a dataset, forward."""

    student: int
    teacher: int


def same_cost(spec: Spec, macs: Mapping[str, Macs], role: str) -> int:
    """Return the epochs that scratch may train, so that its arm costs as many operations as the arm best in all.

    What best needs beside its own students is one search with its confirm on the source, and the teachers of the
    source and of the dataset. Its transfer.seeds students share that equally. Operations are counted, not timed, so
    every machine gives the same: a training step costs three times a forward pass in every network (the pass, and the
    gradients of inputs and of weights), so the factor cancels. A ready-made teacher costs one forward pass alone.

    Args:
        macs: by role, of the source and of `role`.
        role: of the dataset that scratch trains on.
    """
    part, source = spec.role(role), spec.source
    trainings = spec.search.trials + spec.confirm.trainings
    shared: float = trainings * macs["source"].student * source.images * source.epochs
    for one in dict.fromkeys(("source", role)):
        taught = spec.role(one)
        passes = taught.teacher_epochs if parse_teacher(taught.teacher).is_trained else 1 / 3
        shared += macs[one].teacher * taught.images * passes
    return part.epochs + round(shared / spec.transfer.seeds / (macs[role].student * part.images))


def count(student: str, teacher: str, dataset: Dataset, *, model: bytes) -> Macs:
    """Count the operations of a student and of a teacher on the images of a dataset.

    Args:
        student, teacher: their names in the spec.
        model: the teacher as the bytes of a .keras file.

    Raises:
        Unavailable: those of one of them cannot be counted.
    """
    from kd.models.custom import load_users
    from kd.models.measure import count_macs  # as TensorFlow: only where it is needed
    from kd.models.named import build

    pupil = build(student, dataset.input_shape, dataset.classes, seed=0)
    found = (count_macs(pupil), count_macs(load_users(model, parse_teacher(teacher).builder)))
    for network, macs in zip((student, teacher), found, strict=True):
        if macs is None:
            raise Unavailable(f"scratch-same-cost: the operations of {network} cannot be counted")
    return Macs(student=found[0] or 0, teacher=found[1] or 0)
