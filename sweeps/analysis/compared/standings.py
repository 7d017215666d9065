"""Where each of several sweeps stands on each of its datasets: what it gains, what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from sweeps.analysis.findings import Findings
from sweeps.analysis.trainings import awaited
from sweeps.spec.point import Point
from sweeps.stats.estimates import Estimate


class Absent(StrEnum):
    """Why a number is not there. PLANNED: the sweep does not ask for it. RESULT: every training of it failed."""

    YET = "not yet"
    PLANNED = "not planned"
    RESULT = "no result"


Number: TypeAlias = Estimate | Absent


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One sweep on one of its datasets.

    point: T and alpha that were tuned on the source and confirmed, None before.
    gain: best - the arm without a teacher (scratch, or scratch-tuned where the training was searched, too); tuning:
    best - default-keras; regret: native - best, of a target alone; all in accuracy points
    of the test set. test: test accuracy of best, a fraction in [0, 1].
    train_s: wall seconds of one training of best, mean over its seeds; None before the first.
    """

    sweep: str
    role: str
    dataset: str
    point: Point | None
    gain: Number
    tuning: Number
    regret: Number
    test: Number
    train_s: float | None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a whole sweep cost so far.

    work_s: the seconds that its finished tasks ran, summed; of workers with one thread, core-seconds. threads: of
    those workers, sorted; more than one value, or "all": the seconds are not core-seconds. done, planned: tasks.
    """

    sweep: str
    work_s: float
    threads: tuple[str, ...]
    done: int
    planned: int

    @property
    def core_seconds(self) -> bool:
        """Whether a second of work is a second of one core."""
        return self.threads == ("1",)


def standings(sweeps: Sequence[Findings]) -> tuple[Standing, ...]:
    """Return one for each sweep and dataset, by sweep in the order given, then by role."""
    return tuple(_standing(one, role) for one in sweeps for role in one.spec.roles)


def costs(sweeps: Sequence[Findings]) -> tuple[Cost, ...]:
    """Return what each sweep cost."""
    return tuple(
        Cost(
            sweep=one.name,
            work_s=one.provenance.work_s,
            threads=tuple(sorted({machine.threads for machine in one.provenance.machines})),
            done=one.provenance.done,
            planned=one.provenance.planned,
        )
        for one in sweeps
    )


def _standing(found: Findings, role: str) -> Standing:
    part, chosen = found.spec.role(role), found.confirmed.get("source")
    plain = found.spec.without_teacher(role)
    rows = [row for row in found.rows if row.dataset == part.dataset and row.kind == "arm"]
    best = next((row for row in rows if row.method == "best"), None)
    return Standing(
        sweep=found.name,
        role=role,
        dataset=part.dataset,
        point=None if chosen is None else chosen.best.point,
        gain=_number(found, role, ("best", plain), found.gain(role)),
        tuning=_number(found, role, ("best", "default-keras"), found.difference("best - default-keras", part.dataset)),
        regret=_regret(found, role),
        test=_number(found, role, ("best",), None if best is None else best.test),
        train_s=None if best is None else best.train_s,
    )


def _regret(found: Findings, role: str) -> Number:
    verdict = next((one for one in found.verdicts if one.role == role), None)
    return Absent.PLANNED if verdict is None else _number(found, role, ("best", "native"), verdict.lost)


def _number(found: Findings, role: str, arms: Sequence[str], value: Estimate | None) -> Number:
    if not set(arms) <= set(found.spec.arms(role)):
        return Absent.PLANNED
    if awaited(found.trainings, role):
        return Absent.YET
    return Absent.RESULT if value is None else value
