"""Plan a sweep: from a spec to its phases and tasks, the whole budget before anything runs.

Its phases, and what each of them needs, are in `sweeps.plan.phases`, the tasks of each stage in
`sweeps.plan.stage_tasks`.
"""

from dataclasses import dataclass

from storage.queue.plans import PhasePlan, TaskPlan
from sweeps.plan.names import groups, untagged
from sweeps.plan.phases import group_phases, make_phase, measure_phase, teacher_phases, transfer_phases
from sweeps.plan.size import refuse_too_many
from sweeps.plan.stage_tasks import (
    baseline_tasks,
    group_tasks,
    measure_task,
    search_tasks,
    teacher_tasks,
    transfer_tasks,
)
from sweeps.spec.model import Spec, override

STAGES = ("teachers", "search", "baselines", "confirm", "native", "transfer", "measure")


@dataclass(frozen=True)
class Plan:
    """The phases of a sweep in order, and its tasks."""

    phases: tuple[PhasePlan, ...]
    tasks: tuple[TaskPlan, ...]

    @property
    def stages(self) -> list[str]:
        """Return the stages that have a phase, in order: a sweep of one dataset has no "native"."""
        return [stage for stage in STAGES if any(phase.stage == stage for phase in self.phases)]

    def count(self, stage: str) -> int:
        """Return how many tasks a stage has."""
        inside = {phase.name for phase in self.phases if phase.stage == stage}
        return sum(task.phase in inside for task in self.tasks)


def make_plan(spec: Spec) -> Plan:
    """Return every phase and task of a sweep. The same spec gives the same plan on every machine.

    Raises:
        SpecError: more tasks than one sweep may have.
    """
    refuse_too_many(spec)
    phases, tasks = teacher_phases(spec), teacher_tasks(spec)
    phases.append(make_phase("baselines"))
    tasks += baseline_tasks(spec)
    for group in groups(spec):
        phases += [*group_phases(spec, group), *transfer_phases(spec, group, list(groups(spec)))]
        tasks += group_tasks(spec.of_group(group), group)
    phases.sort(key=lambda phase: STAGES.index(phase.stage))  # as people see them in status and audit
    order = {phase.name: number for number, phase in enumerate(phases)}
    tasks.sort(key=lambda task: order[task.phase])
    phases.append(measure_phase(phases))
    return Plan(tuple(phases), (*tasks, measure_task(0)))


def is_search(phase: str) -> bool:
    """Return whether a phase takes more trials; it does so only while it is open."""
    return untagged(phase)[0] in ("search", "native:search")


def more(spec: Spec, *, trials: int = 0, seeds: int = 0, searches: int = 0) -> tuple[Spec, Plan]:
    """Return a larger spec, and what it has beyond `spec`: tasks, and the phases of further searches.

    Trials are added to every search, which stays the same search: by its sampler, as if they had been planned at
    once, but that none of them joins a Sobol half. Seeds are added to every arm of transfer. Searches are added to
    every teacher.

    Raises:
        SpecError: the larger spec is out of its bounds, or has more tasks than one sweep may have.
    """
    transfer, outer = spec.transfer, spec.outer
    changes = {
        "search.trials": spec.search.trials + trials,
        "transfer.seeds": transfer.seeds + seeds,
        "transfer.other_seeds": transfer.other_seeds + seeds if transfer.other_seeds else 0,
        "outer.searches": outer.searches + searches,
        "outer.trials": outer.trials + trials if outer.trials else 0,
        "outer.seeds": outer.seeds + seeds if outer.seeds else 0,
    }
    larger = override(spec, changes)
    refuse_too_many(larger)
    known = set(groups(spec))
    phases: list[PhasePlan] = []
    tasks: list[TaskPlan] = []
    for group in groups(larger):
        before, after = spec.of_group(group), larger.of_group(group)
        if group not in known:
            phases += [*group_phases(larger, group), *transfer_phases(larger, group, [group])]
            tasks += group_tasks(after, group)
            continue
        first = after.search.planned if spec.search.sampler == "qmc" else 0
        for role in spec.roles:
            numbers = range(before.search.trials, after.search.trials)
            tasks += search_tasks(after, role, group, numbers, first=first)
        for role in spec.roles:
            tasks += transfer_tasks(after, role, group, before=before)
    return larger, Plan(tuple(phases), tuple(tasks))
