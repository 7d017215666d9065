"""Plan the phases of a sweep: what opens and closes together, and what each one needs.

A phase is the part of a stage that opens and closes together. What each one needs is written here and nowhere else;
storage only keeps the promise that no task is ready before its needs are met.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from storage.queue.phases import Dependency, StartLag
from storage.queue.plans import PhasePlan
from sweeps.plan.names import (
    confirm_phase,
    groups,
    search_phase,
    teacher_of,
    teacher_phase,
    transfer_phase,
    untagged,
)
from sweeps.spec.arms import AUTOKERAS_ARM
from sweeps.spec.model import Spec


def make_phase(name: str, *needs: str | Dependency, minimum: int = 0) -> PhasePlan:
    """Return a phase of the stage that its name begins with. A need that is a name has to have succeeded."""
    after = tuple(need if isinstance(need, Dependency) else Dependency(need) for need in needs)
    return PhasePlan(name=name, stage=untagged(name)[0].split(":")[0], needs=after, minimum=minimum)


def teacher_phases(spec: Spec) -> list[PhasePlan]:
    """Return the phases that train the teachers, one for each teacher and dataset."""
    tags = dict.fromkeys(map(teacher_of, groups(spec)))
    return [make_phase(teacher_phase(role, tag), minimum=1) for tag in tags for role in spec.roles]


def group_phases(spec: Spec, group: str) -> list[PhasePlan]:
    """Return the phases of a group that select: its searches and their confirms, on each dataset."""
    search, rounds = spec.of_group(group).search, spec.of_group(group).confirm.rounds
    phases = []
    for role in spec.roles:
        name = search_phase(role, group)
        lag = StartLag(search.lag, search.planned) if search.planned < search.trials else None
        phases.append(replace(make_phase(name, teacher_phase(role, group), minimum=rounds[0][0]), lag=lag))
        for number, (_, seeds) in enumerate(rounds, start=1):
            kept = rounds[number][0] if number < len(rounds) else 1  # points that the next round needs
            confirm = confirm_phase(role, group, earlier=number if number < len(rounds) else 0)
            phases.append(make_phase(confirm, name, minimum=max(seeds, kept)))
            name = confirm
    return phases


def transfer_phases(spec: Spec, group: str, known: Collection[str]) -> list[PhasePlan]:
    """Return the phases of a group that read the test: not before every selection of the plan is frozen.

    Args:
        known: the groups that are planned at the same time.
    """
    phases = []
    for role in spec.roles:
        if not spec.arms(role, group):
            continue
        own = {confirm_phase("source", group), confirm_phase(role, group)}
        selections = [confirm_phase(one, other) for other in known for one in spec.roles]
        needs = [Dependency(name, after_any_end=name not in own) for name in selections]
        if AUTOKERAS_ARM in spec.arms(role, group):
            needs.append(Dependency("baselines", after_any_end=True))
        phases.append(make_phase(transfer_phase(role, group), *needs, minimum=1))
    return phases


def measure_phase(others: Sequence[PhasePlan]) -> PhasePlan:
    """Return the last phase of a plan: it waits until all the others have ended, whatever came of them."""
    return make_phase("measure", *(Dependency(other.name, after_any_end=True) for other in others), minimum=1)
