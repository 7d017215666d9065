"""Count operations for equal cost, and find the break-even with AutoKeras.

Costs are CPU seconds, because wall seconds depend on other load, and are compared within one kind of machine only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kd.errors import Unavailable
from kd.teachers.names import parse_teacher
from sweeps.distill.arms import SAME_COST
from sweeps.distill.spec import KdSpec
from sweeps.errors import SweepError
from sweeps.findings.load import Provenance, StoredSweep, validations
from sweeps.findings.rows import shared_cost
from sweeps.plan.jobs import BaselineOutcome, BaselineTask, StudentOutcome, TransferTask
from sweeps.stats.estimates import percent

if TYPE_CHECKING:  # it imports NumPy, which reading a report does not need
    from kd.data.datasets import Dataset

MULTIPLES = (0.25, 1.0, 4.0, 16.0)  # of the sweep's own cost


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one image, forward."""

    student: int
    teacher: int


def equal_cost_epochs(spec: KdSpec, macs: Mapping[str, Macs], role: str) -> int:
    """Return the epochs for scratch at which its arm costs as many operations as the arm best in total.

    Besides its students, best needs one search with its confirm on the source, and the teachers of the source and of
    the dataset; its transfer.seeds students share that equally. Operations are counted, not timed, so every machine
    gets the same: a training step costs three times a forward pass in every network (the pass, and the gradients of
    inputs and of weights), so the factor cancels. A ready-made teacher costs one forward pass only.
    """
    part, source = spec.role(role), spec.source
    trainings = spec.search.trials + spec.confirm_trainings
    shared: float = trainings * macs["source"].student * source.images * source.epochs
    for key in dict.fromkeys(("source", role)):
        taught = spec.role(key)
        passes = taught.teacher_epochs if parse_teacher(taught.teacher).is_trained else 1 / 3
        shared += macs[key].teacher * taught.images * passes
    return part.epochs + round(shared / spec.transfer.seeds / (macs[role].student * part.images))


def count(student: str, teacher: str, dataset: "Dataset", *, model: bytes) -> Macs:
    """Count the operations of both networks on the images of a dataset. model: the teacher as a .keras file."""
    from kd.models.custom import load_users
    from kd.models.measure import count_macs  # here: it imports TensorFlow
    from kd.models.named import build

    pupil = build(student, dataset.input_shape, dataset.classes, seed=0)
    counts = (count_macs(pupil), count_macs(load_users(model, parse_teacher(teacher).builder)))
    for network, macs in zip((student, teacher), counts, strict=True):
        if macs is None:
            raise Unavailable(f"scratch-same-cost: the operations of {network} cannot be counted")
    return Macs(student=counts[0] or 0, teacher=counts[1] or 0)


def same_cost_problem(stored: StoredSweep, role: str, value: Mapping[str, Any], specs: Sequence[KdSpec]) -> str:
    """Return why stored epochs do not follow from the operations stored with them, or "". specs: of all revisions."""
    try:
        macs = {
            name: Macs(student=int(counts["student"]), teacher=int(counts["teacher"]))
            for name, counts in value.items()
            if name != "epochs"
        }
        expected = [equal_cost_epochs(spec, macs, role) for spec in specs]
    except (ArithmeticError, KeyError, TypeError, ValueError, SweepError) as error:
        return f"it cannot be computed from its operations: {error}"
    epochs = value.get("epochs")
    if type(epochs) is not int or epochs not in expected:
        return f"its operations give {expected[-1]} epochs, it says {epochs!r}"
    for done in stored.finished(TransferTask, StudentOutcome):
        if (done.work.arm, done.work.role) == (SAME_COST, role) and done.outcome.epochs != epochs:
            return f"{done.key} trained {done.outcome.epochs} epochs, it says {epochs}"
    return ""


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """AutoKeras against the distilled student `best` on one dataset, both by validation accuracy in percent.

    curve: (CPU seconds since its start, best accuracy so far) after each trial of AutoKeras. student: mean of `best`
    over its seeds. sweep_cpu_s: cost of the teachers, the search and the confirm before that student. at: AutoKeras'
    accuracy after each of MULTIPLES of that cost; None before its first trial and after its last. even_at: CPU seconds
    at which AutoKeras reached the student, or None.
    """

    dataset: str
    curve: tuple[tuple[float, float], ...]
    student: float
    sweep_cpu_s: float
    at: tuple[float | None, ...]
    even_at: float | None


def break_evens(stored: StoredSweep, provenance: Provenance) -> tuple[BreakEven, ...]:
    """Return one for each dataset that has both; none if the seconds come from several kinds of machines."""
    if len(provenance.machine_kinds) > 1:
        return ()
    return tuple(even for role in stored.spec.roles if (even := _break_even(stored, role)) is not None)


def _break_even(stored: StoredSweep, role: str) -> BreakEven | None:
    baselines = stored.finished(BaselineTask, BaselineOutcome)
    curves = [task.outcome.curve for task in baselines if task.work.role == role and task.outcome.curve]
    students = validations(stored, role, "best")
    if not curves or not students:
        return None
    curve = tuple((seconds, percent(accuracy)) for seconds, accuracy in curves[0])
    student, shared = fmean(students), shared_cost(stored, role, "best")
    cost = 0.0 if shared is None else shared.cpu_s
    return BreakEven(
        dataset=stored.spec.role(role).dataset,
        curve=curve,
        student=student,
        sweep_cpu_s=cost,
        at=tuple(reached(curve, multiple * cost) for multiple in MULTIPLES),
        even_at=next((seconds for seconds, accuracy in curve if accuracy >= student), None),
    )


def reached(curve: Sequence[tuple[float, float]], seconds: float) -> float | None:
    """Return the best accuracy after these CPU seconds; None before the first trial, and after the end of the last."""
    if not curve or seconds > curve[-1][0]:
        return None
    return max((accuracy for at, accuracy in curve if at <= seconds), default=None)
