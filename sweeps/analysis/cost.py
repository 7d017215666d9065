"""What accuracy costs: CPU seconds of training, AutoKeras' accuracy against them, and where it breaks even.

CPU seconds, because wall seconds depend on what else ran. They are compared within one kind of machine only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from storage.records.queries import TaskRecord
from sweeps.analysis.comparison import Comparison

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


def break_even(comparison: Comparison, role: str) -> BreakEven | None:
    """None where AutoKeras or the student is not there, or their seconds are not of the same kind of machine."""
    found = [task for task in comparison.baselines(role) if task.state == "done" and (task.outcome or {}).get("curve")]
    students = comparison.validations(role, "best")
    if not found or not students or len(machines(comparison.tasks)) > 1:
        return None
    curve = tuple((seconds, 100 * accuracy) for seconds, accuracy in (found[0].outcome or {})["curve"])
    student, cost = fmean(students), comparison.shared(role, "best", "cpu_s") or 0.0
    return BreakEven(
        dataset=comparison.spec.role(role).dataset,
        curve=curve,
        student=student,
        sweep_cpu_s=cost,
        at=tuple(reached(curve, multiple * cost) for multiple in MULTIPLES),
        even_at=next((seconds for seconds, accuracy in curve if accuracy >= student), None),
    )


def reached(curve: Sequence[tuple[float, float]], seconds: float) -> float | None:
    """The best accuracy after so many CPU seconds; None before the first trial, and after the last one's end."""
    if not curve or seconds > curve[-1][0]:
        return None
    return max((accuracy for at, accuracy in curve if at <= seconds), default=None)


def machines(tasks: Sequence[TaskRecord]) -> set[tuple[str, str]]:
    """The kinds of machine that finished tasks ran on: processor, and threads of a worker."""
    made = [(task.outcome or {}).get("provenance", {}) for task in tasks if task.state == "done"]
    return {(str(one.get("cpu")), str(one.get("threads"))) for one in made}


def said(one: BreakEven) -> str:
    """The break-even in one sentence."""
    first, last = one.curve[0][0], one.curve[-1][0]
    parts = []
    for multiple, value in zip(MULTIPLES, one.at, strict=True):
        early = multiple * one.sweep_cpu_s < first
        nothing = "no trial finished yet" if early else f"beyond its {last:.0f} CPU s"
        parts.append(f"{_multiple(multiple)} {nothing if value is None else f'{value:.2f} %'}")
    even = (
        f"AutoKeras reached it after {one.even_at:.0f} CPU s"
        if one.even_at is not None
        else f"AutoKeras: not within {last:.0f} CPU s"
    )
    if one.even_at is not None and one.sweep_cpu_s:
        even += f", {one.even_at / one.sweep_cpu_s:.2g} times what the sweep took"
    return (
        f"break-even on {one.dataset}: `best` has {one.student:.2f} % validation accuracy for the {one.sweep_cpu_s:.0f}"
        f" CPU s of teachers, search and confirm; {even}. At multiples of the sweep's cost: {', '.join(parts)}"
    )


def _multiple(value: float) -> str:
    return f"{value:g}x" if value >= 1 else f"1/{math.floor(1 / value)}x"
