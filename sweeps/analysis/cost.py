"""What accuracy costs: AutoKeras' accuracy against CPU seconds of training, and where it breaks even with the sweep.

CPU seconds, because wall seconds depend on what else ran. They are compared within one kind of machine only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from sweeps.analysis.comparison import shared_cost
from sweeps.analysis.provenance import Provenance
from sweeps.analysis.stored import StoredSweep
from sweeps.analysis.trainings import validations
from sweeps.analysis.units import percent
from sweeps.plan.outcomes import BaselineOutcome
from sweeps.plan.payloads import BaselineTask

MULTIPLES = (0.25, 1.0, 4.0, 16.0)  # of the sweep's own cost


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """AutoKeras against the distilled student `best` on one dataset, both by validation accuracy in percent.

    curve: (CPU seconds since its start, best accuracy so far) after each of its trials. student: mean of `best` over
    its seeds. sweep_cpu_s: what that student needed before it could be trained: teachers, search and confirm. at: for
    each of MULTIPLES of that, what AutoKeras had by then; None before its first trial and beyond what it was given.
    even_at: CPU seconds at which it reached the student; None where it never did.
    """

    dataset: str
    curve: tuple[tuple[float, float], ...]
    student: float
    sweep_cpu_s: float
    at: tuple[float | None, ...]
    even_at: float | None


def break_evens(stored: StoredSweep, provenance: Provenance) -> tuple[BreakEven, ...]:
    """Return one for each dataset that has both; nothing where the seconds are not of the same kind of machine."""
    if len(provenance.machine_kinds) > 1:
        return ()
    return tuple(even for role in stored.spec.roles if (even := _break_even(stored, role)) is not None)


def _break_even(stored: StoredSweep, role: str) -> BreakEven | None:
    baselines = stored.finished(BaselineTask, BaselineOutcome)
    found = [one.outcome.curve for one in baselines if one.payload.role == role and one.outcome.curve]
    students = validations(stored.trainings, role, "best")
    if not found or not students:
        return None
    curve = tuple((seconds, percent(accuracy)) for seconds, accuracy in found[0])
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
    """Return the best accuracy after so many CPU seconds; None before the first trial, and after the last one's end."""
    if not curve or seconds > curve[-1][0]:
        return None
    return max((accuracy for at, accuracy in curve if at <= seconds), default=None)
