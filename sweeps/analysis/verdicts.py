"""The answer for each target: the verdict, or how far its trainings have come."""

from dataclasses import dataclass

from sweeps.analysis.looks import Look
from sweeps.analysis.stored import StoredSweep
from sweeps.analysis.trainings import accuracies
from sweeps.stats.verdict import Verdict, decide


@dataclass(frozen=True, kw_only=True)
class TargetVerdict:
    """The answer for one target.

    verdict: None while trainings are missing; `done` of `planned` are there, `left` may still come: those that wait,
    run, or were cancelled. looks: those begun so far.
    """

    role: str
    dataset: str
    verdict: Verdict | None
    done: int
    left: int
    planned: int
    looks: tuple[Look, ...]


def verdicts(stored: StoredSweep) -> tuple[TargetVerdict, ...]:
    """Return one for each target; that of the first one is the answer to the primary question."""
    return tuple(_verdict(stored, role) for role in stored.spec.targets)


def _verdict(stored: StoredSweep, role: str) -> TargetVerdict:
    transfer = stored.spec.transfer
    states = [one.state for one in stored.trainings if one.role == role and one.group == ""]
    left = sum(state in ("waiting", "running", "cancelled") for state in states)
    decided = None
    if not left:  # a verdict before the last seed is in would be one more look
        by_arm = {arm: accuracies(stored.trainings, role, arm) for arm in transfer.arms(role)}
        decided = decide(by_arm, margin=transfer.margin, level=transfer.level(max(len(stored.looks), 1)))
    return TargetVerdict(
        role=role,
        dataset=stored.spec.role(role).dataset,
        verdict=decided,
        done=states.count("done"),
        left=left,
        planned=len(states),
        looks=stored.looks,
    )
