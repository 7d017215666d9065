"""The plan of a sweep: its tasks by stage, how many there are, and how long they take."""

import math
import re
from dataclasses import dataclass
from functools import cache

from storage.queue.plans import PhasePlan, TaskPlan
from sweeps.distill.presets import MINUTES, PRESETS
from sweeps.distill.space import point_at, search_space
from sweeps.errors import SpecError
from sweeps.plan import phases
from sweeps.plan.identity import derive
from sweeps.plan.jobs import BaselineTask, ConfirmTask, MeasureTask, Payload, SearchTask, TeacherTask, TransferTask
from sweeps.spec.model import Role, Spec, override
from sweeps.trainers.protocol import Point

STAGES = ("teachers", "search", "baselines", "confirm", "native", "transfer", "measure")
MOST_TASKS = 100_000
"""Of one sweep. Preset full has about 3,000; a plan of 100,000 is made in seconds."""

# Claim order: whatever unblocks most first, then the longest. Baselines come before the searches because the
# longest single task of a sweep (AutoKeras) would otherwise run alone at the end.
_PRIORITY = {
    "teachers:source": 90,
    "teachers:target": 80,
    "confirm": 70,  # any round of it
    "native:confirm": 65,
    "baselines": 55,
    "search": 50,
    "native:search": 40,
    "transfer:source": 30,  # whole before a target: what is complete may be looked at
    "transfer:target": 20,
    "measure": 0,
}

# The user sees the primary question first: a few trials before the long baselines, then the arms of the question on few
# seeds before the rest. Only the order changes: nothing that a task computes depends on when it runs.
_SEEN_FIRST = 6
_FIRST_TRIALS = 4
_FIRST_ARMS = ("scratch", "default-keras", "best", "native")
_FIRST_REPEATS = 3


def measure_task(number: int) -> TaskPlan:
    """Return the one task of the stage measure; `number` > 0: one more of it, after something was tried again."""
    return _task("measure#all" + (f".{number}" if number else ""), "measure", MeasureTask())


def _task(key: str, phase: str, payload: Payload, *, seen_first: bool = False) -> TaskPlan:
    # Of an outer level the first group comes first: its verdict is the primary answer.
    later = 100 if payload.group else 0
    priority = _PRIORITY[re.sub(r"target\d|:\d+$", _plain, phases.untagged(phase)[0])] - later
    return TaskPlan(key=key, phase=phase, payload=payload.as_json(), priority=priority + _SEEN_FIRST * seen_first)


def _plain(match: re.Match[str]) -> str:
    """Replace the number of a target, or of a round of confirm."""
    return "target" if match[0].startswith("target") else ""


def teacher_tasks(spec: Spec) -> list[TaskPlan]:
    """Return the teachers of every dataset, one for each group that has its own."""
    tags = dict.fromkeys(map(phases.teacher_of, phases.groups(spec)))
    return [
        _task(
            phases.tagged(f"teachers#{role}", tag),
            phases.teacher_phase(role, tag),
            TeacherTask(role=role, seed=derive(spec.seed, "teacher", role, *_path(tag)), group=tag),
        )
        for tag in tags
        for role in spec.roles
    ]


def group_tasks(spec: Spec, group: str) -> list[TaskPlan]:
    """Return the tasks of a group; `spec`: of that group, as in all functions below."""
    tasks: list[TaskPlan] = []
    for role in spec.roles:
        tasks += search_tasks(spec, role, group, range(spec.search.trials), first=spec.search.planned)
        tasks += _confirm(spec, role, group)
    for role in spec.roles:
        tasks += transfer_tasks(spec, role, group)
    return tasks


def _path(group: str) -> tuple[str, ...]:
    """Return what a seed's path ends with: the first group's seeds are those of a sweep without an outer level."""
    return (group,) if group else ()


def sobol_points(spec: Spec, count: int, group: str = "") -> list[Point]:
    """Return the first `count` points of a scrambled Sobol sequence, on the scale of the search.

    Search and native share them: paired points on both datasets. Source: Owen 1998, scrambling of Sobol'
    points, https://doi.org/10.1006/jcom.1998.0487, as in scipy.stats.qmc.
    """
    from scipy.stats import qmc

    space = search_space(spec)
    sampler = qmc.Sobol(d=len(space), scramble=True, rng=derive(spec.seed, "sobol", *_path(group)))
    # Drawn as the next power of two: the sequence is balanced there, and scipy warns elsewhere.
    unit = sampler.random_base2(math.ceil(math.log2(count)))[:count] if count else []
    return [point_at(space, [float(part) for part in row]) for row in unit]


def search_tasks(spec: Spec, role: Role, group: str, numbers: range, *, first: int) -> list[TaskPlan]:
    """Return the trials of those numbers: the `first` ones of a search are Sobol points, the others are proposed."""
    phase, prefix = phases.search_phase(role, group), "search" if role == "source" else "native.search"
    prefix = phases.tagged(prefix, group, role)
    # One shared student seed for a whole search: differences between trials are (T, alpha), not luck.
    seed, points = derive(spec.seed, "student", "search", *_path(group)), sobol_points(spec, first, group)
    tasks = []
    for i in numbers:
        if i < first:
            payload = SearchTask(role=role, seed=seed, sobol=points[i], group=group)
        else:
            sampler_seed = derive(spec.seed, "sampler", prefix, i)
            payload = SearchTask(role=role, seed=seed, sampler_seed=sampler_seed, group=group)
        # Not on a target: two searches at once would keep the baselines waiting.
        tasks.append(_task(f"{prefix}#{i}", phase, payload, seen_first=role == "source" and i < _FIRST_TRIALS))
    return tasks


def _confirm(spec: Spec, role: Role, group: str) -> list[TaskPlan]:
    prefix = phases.tagged("confirm" if role == "source" else "native.confirm", group, role)
    tasks, repeats = [], 0
    for number, (points, seeds) in enumerate(spec.confirm.rounds, start=1):
        last = number == len(spec.confirm.rounds)
        tasks += [
            _task(
                f"{prefix}#{rank}.{repeat}",
                phases.confirm_phase(role, group, earlier=0 if last else number),
                ConfirmTask(
                    role=role,
                    seed=derive(spec.seed, "student", "confirm", *_path(group), repeat),
                    ranks=phases.ranks_of(role, group, after=number - 1),
                    rank=rank,
                    repeat=repeat,
                    group=group,
                ),
            )
            for repeat in range(repeats, repeats + seeds)
            for rank in range(points)
        ]
        repeats += seeds  # every survivor gets the same new seeds
    return tasks


def transfer_tasks(spec: Spec, role: Role, group: str, *, before: Spec | None = None) -> list[TaskPlan]:
    """Return the trainings of the arms; of a larger spec those that the spec before it does not have."""

    def planned(version: Spec | None, arm: str, repeat: int) -> bool:
        return version is not None and repeat < version.seeds_of(role, arm)

    # Repeats outside, arms inside: an interrupted comparison is still a paired one. Every group has seeds of its own:
    # an interval over groups then covers the seeds as well.
    return [
        _task(
            phases.transfer_key(role, arm, repeat, group),
            phases.transfer_phase(role, group),
            TransferTask(
                role=role,
                seed=derive(spec.seed, "student", "transfer", *_path(group), repeat),
                arm=arm,
                repeat=repeat,
                group=group,
            ),
            seen_first=arm in _FIRST_ARMS and repeat < _FIRST_REPEATS,
        )
        for repeat in range(spec.transfer.seeds)
        for arm in spec.arms(role, group)
        if planned(spec, arm, repeat) and not planned(before, arm, repeat)
    ]


def baseline_tasks(spec: Spec) -> list[TaskPlan]:
    """Return the comparison methods of every dataset."""
    return [
        _task(
            f"baselines#{method}" if role == "target" else f"baselines#{role}.{method}",
            "baselines",
            BaselineTask(role=role, method=method, seed=derive(spec.seed, "baseline", method)),
        )
        for role in spec.roles
        for method in spec.baselines_on(role)
    ]


def tasks_of(spec: Spec) -> int:
    """Return how many tasks `make_plan` gives this spec, without making one."""
    further = spec.outer.teachers * spec.outer.searches - 1
    count = len(spec.roles) * spec.outer.teachers + 1  # measure
    for role in spec.roles:
        count += len(spec.baselines_on(role)) + _students(spec, role, "")
        count += further * _students(spec.for_group("further"), role, "further")
    return count


def refuse_too_many(spec: Spec) -> None:
    """Check that a plan stays within MOST_TASKS.

    Raises:
        SpecError: it would not; says what multiplies.
    """
    count = tasks_of(spec)
    if count > MOST_TASKS:
        raise SpecError(
            f"the plan has {count:,} tasks; allowed: {MOST_TASKS:,}. It has {spec.outer.teachers:,} x"
            f" {spec.outer.searches:,} searches (outer.teachers, outer.searches) on each dataset, the first of"
            f" {spec.search.trials:,} trials (search.trials) compared on {spec.transfer.seeds:,} seeds"
            " (transfer.seeds): lower one of them"
        )


def _students(spec: Spec, role: str, group: str) -> int:
    """Return how many students a group trains on the dataset of a role; `spec`: of that group."""
    compared = sum(spec.seeds_of(role, arm) for arm in spec.arms(role, group))
    return spec.search.trials + spec.confirm.trainings + compared


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
    ordered, tasks = phases.teacher_phases(spec), teacher_tasks(spec)
    ordered.append(phases.make_phase("baselines"))
    tasks += baseline_tasks(spec)
    for group in phases.groups(spec):
        ordered += [*phases.group_phases(spec, group), *phases.transfer_phases(spec, group, list(phases.groups(spec)))]
        tasks += group_tasks(spec.for_group(group), group)
    ordered.sort(key=lambda phase: STAGES.index(phase.stage))  # as people see them in status and audit
    order = {phase.name: number for number, phase in enumerate(ordered)}
    tasks.sort(key=lambda task: order[task.phase])
    ordered.append(phases.measure_phase(ordered))
    return Plan(tuple(ordered), (*tasks, measure_task(0)))


def is_search(phase: str) -> bool:
    """Return whether a phase takes more trials; it does so only while it is open."""
    return phases.untagged(phase)[0] in ("search", "native:search")


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
    known = set(phases.groups(spec))
    added: list[PhasePlan] = []
    tasks: list[TaskPlan] = []
    for group in phases.groups(larger):
        before, after = spec.for_group(group), larger.for_group(group)
        if group not in known:
            added += [*phases.group_phases(larger, group), *phases.transfer_phases(larger, group, [group])]
            tasks += group_tasks(after, group)
            continue
        first = after.search.planned if spec.search.sampler == "qmc" else 0
        for role in spec.roles:
            numbers = range(before.search.trials, after.search.trials)
            tasks += search_tasks(after, role, group, numbers, first=first)
        for role in spec.roles:
            tasks += transfer_tasks(after, role, group, before=before)
    return larger, Plan(tuple(added), tuple(tasks))


# As measured in presets tiny and quick: a teacher's network is larger than a student's, and a comparison method is
# mostly a network trained on ImageNet. Roughly right is enough, since what has finished soon says it better.
_TEACHER = 6
_METHOD = 20
_CORES = 2  # of MINUTES


def expected_seconds(spec: Spec, stage: str, role: str | None) -> float:
    """Return the seconds that a task of a stage on the dataset of a role is expected to take on one core.

    Args:
        role: None for the stage measure, which takes about as long as a comparison method.
    """
    return _work(spec, stage, role) * _seconds_of_work(spec.preset)


def expected_core_seconds(spec: Spec) -> float:
    """Return the same for all tasks of a sweep together."""
    return _whole(spec) * _seconds_of_work(spec.preset)


def _work(spec: Spec, stage: str, role: str | None) -> float:
    """Return how much a task computes, in images that a student trains on."""
    part = spec.role(role or "source")
    if stage == "teachers":
        return _TEACHER * part.images * part.teacher_epochs
    return (_METHOD if stage in ("baselines", "measure") else 1) * part.images * part.epochs


def _whole(spec: Spec) -> float:
    # Counted by the spec: to lay out the plan itself takes a second.
    whole = _work(spec, "measure", None)
    for role in spec.roles:
        whole += spec.outer.teachers * _work(spec, "teachers", role)
        whole += len(spec.baselines_on(role)) * _work(spec, "baselines", role)
        for group in phases.groups(spec):
            whole += _students(spec.for_group(group), role, group) * _work(spec, "search", role)
    return whole


@cache
def _seconds_of_work(preset: str) -> float:
    measured = preset if preset in MINUTES else "quick"
    return MINUTES[measured] * 60 * _CORES / _whole(PRESETS[measured])
