"""Make the tasks of each stage: their keys, seeds and payloads, and the order in which they are claimed."""

import math
import re

from storage.queue.plans import TaskPlan
from sweeps.plan.names import (
    confirm_phase,
    groups,
    ranks_of,
    search_phase,
    tagged,
    teacher_of,
    teacher_phase,
    transfer_key,
    transfer_phase,
    untagged,
)
from sweeps.plan.payloads import (
    BaselineTask,
    ConfirmTask,
    MeasureTask,
    Payload,
    SearchTask,
    TeacherTask,
    TransferTask,
)
from sweeps.plan.seeds import derive
from sweeps.plan.space import point_at, search_space
from sweeps.spec.model import Role, Spec
from sweeps.spec.point import Point

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

# Who watches sees what is asked first: a few trials before the long baselines, then the arms of the question on few
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
    priority = _PRIORITY[re.sub(r"target\d|:\d+$", _plain, untagged(phase)[0])] - later
    return TaskPlan(key=key, phase=phase, payload=payload.as_json(), priority=priority + _SEEN_FIRST * seen_first)


def _plain(found: re.Match[str]) -> str:
    """Replace the number of a target, or of a round of confirm."""
    return "target" if found[0].startswith("target") else ""


def teacher_tasks(spec: Spec) -> list[TaskPlan]:
    """Return the teachers of every dataset, one for each group that has its own."""
    tags = dict.fromkeys(map(teacher_of, groups(spec)))
    return [
        _task(
            tagged(f"teachers#{role}", tag),
            teacher_phase(role, tag),
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
    return [point_at(space, [float(part) for part in one]) for one in unit]


def search_tasks(spec: Spec, role: Role, group: str, numbers: range, *, first: int) -> list[TaskPlan]:
    """Return the trials of those numbers: the `first` ones of a search are Sobol points, the others are proposed."""
    phase, prefix = _search_names(role, group)
    seed, points = _search_seed(spec, group), sobol_points(spec, first, group)
    tasks = []
    for i in numbers:
        payload = SearchTask(role=role, seed=seed, sobol=points[i], group=group) if i < first else None
        if payload is None:
            payload = SearchTask(
                role=role, seed=seed, sampler_seed=derive(spec.seed, "sampler", prefix, i), group=group
            )
        # Not on a target: two searches at once would keep the baselines waiting.
        tasks.append(_task(f"{prefix}#{i}", phase, payload, seen_first=role == "source" and i < _FIRST_TRIALS))
    return tasks


def _search_seed(spec: Spec, group: str) -> int:
    # One shared student seed for a whole search: differences between trials are (T, alpha), not luck.
    return derive(spec.seed, "student", "search", *_path(group))


def _search_names(role: str, group: str) -> tuple[str, str]:
    """Return the phase of the search on a dataset, and what the keys of its tasks begin with."""
    return search_phase(role, group), tagged("search" if role == "source" else "native.search", group, role)


def _confirm(spec: Spec, role: Role, group: str) -> list[TaskPlan]:
    prefix = tagged("confirm" if role == "source" else "native.confirm", group, role)
    tasks, repeats = [], 0
    for number, (points, seeds) in enumerate(spec.confirm.rounds, start=1):
        last = number == len(spec.confirm.rounds)
        tasks += [
            _task(
                f"{prefix}#{rank}.{repeat}",
                confirm_phase(role, group, earlier=0 if last else number),
                ConfirmTask(
                    role=role,
                    seed=derive(spec.seed, "student", "confirm", *_path(group), repeat),
                    ranks=ranks_of(role, group, after=number - 1),
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

    def planned(one: Spec | None, arm: str, repeat: int) -> bool:
        return one is not None and repeat < one.seeds_of(role, arm)

    # Repeats outside, arms inside: an interrupted comparison is still a paired one. Every group has seeds of its own:
    # an interval over groups then covers the seeds as well.
    return [
        _task(
            transfer_key(role, arm, repeat, group),
            transfer_phase(role, group),
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
