"""The plan of a sweep: its tasks by stage, how many there are, and how long they take."""

import math
from collections import Counter
from dataclasses import dataclass

from storage.queue.plans import PhasePlan, TaskPlan
from sweeps.errors import SpecError
from sweeps.plan import phases
from sweeps.plan.identity import derive
from sweeps.plan.jobs import (
    BaselineTask,
    ConfirmTask,
    MeasureTask,
    Payload,
    RecipeTask,
    ScoreTask,
    SearchTask,
    TeacherTask,
    TransferTask,
)
from sweeps.plan.phases import STAGES, Phase, baseline_key, recipe_key, run_kind, teacher_key, transfer_key
from sweeps.spec.model import Role, Spec, override
from sweeps.spec.tables import FIRST, Group
from sweeps.terminal import number_of
from sweeps.trainers.protocol import Point

MOST_TASKS = 100_000  # preset full has about 3,000, and a plan of 100,000 takes seconds

# Claim order: first what unblocks most, then the longest. Baselines precede the searches because the longest single
# task of a sweep (AutoKeras) would otherwise run alone at the end.
_PRIORITY = {
    "teachers": 90,
    "confirm": 70,
    "native:confirm": 65,
    "baselines": 55,
    "search": 50,
    "native:search": 40,
    "recipes": 35,
    "transfer": 30,
    "measure": 0,
}
# A target's teachers and comparison come after all of the source's, whose results can then be read.
_LATER_ON_TARGETS = {"teachers": 10, "transfer": 10}

# The primary question comes first: a few trials before the long baselines, then its arms on a few seeds before the
# rest. No result depends on this order.
_SEEN_FIRST = 6
_FIRST_TRIALS = 4
_FIRST_REPEATS = 3


# Fresh seeds of each candidate of an arm. No round of halving: with six candidates it would save three trainings, and
# need another phase. Stored plans depend on this number.
RECIPE_SEEDS = 2


def measure_task(number: int) -> TaskPlan:
    """Return the last task of stage measure; `number` > 0: a further one, after a retry."""
    return _task("measure#all" + (f".{number}" if number else ""), Phase("measure"), MeasureTask())


def _task(key: str, phase: Phase, payload: Payload, *, seen_first: bool = False) -> TaskPlan:
    priority = _PRIORITY[phase.kind] + _SEEN_FIRST * seen_first
    if phase.role not in ("", "source"):
        priority -= _LATER_ON_TARGETS.get(phase.kind, 0)
    if phase.group != FIRST:  # not part of the primary answer
        priority -= 100
    return TaskPlan(key=key, phase=phase.name, payload=payload.as_json(), priority=priority)


def teacher_tasks(spec: Spec) -> list[TaskPlan]:
    return [
        _task(
            teacher_key(role, group),
            Phase.teachers(role, group),
            TeacherTask(role=role, seed=derive(spec.seed, "teacher", role, *_path(group.preparation)), group=group),
        )
        for group in spec.groups
        if group.search == 0
        for role in spec.roles
    ]


def group_tasks(spec: Spec, group: Group) -> list[TaskPlan]:
    """Return the tasks of a group; `spec`: the group's, as in all functions below."""
    tasks: list[TaskPlan] = []
    for role in spec.roles:
        tasks += search_tasks(spec, role, group, range(spec.search.trials), first=spec.search.planned)
        tasks += _confirm(spec, role, group)
    for role in spec.roles:
        tasks += transfer_tasks(spec, role, group)
    return tasks


def _path(tag: str) -> tuple[str, ...]:
    """Return the end of a seed's path: the first group has the seeds of a sweep without repeats."""
    return (tag,) if tag else ()


def sobol_points(spec: Spec, count: int, group: Group = FIRST) -> list[Point]:
    """Return the first `count` points of a scrambled Sobol sequence, on the scale of the search.

    The searches on all datasets share them, so points are paired. Source: Owen 1998, scrambling of Sobol' points,
    https://doi.org/10.1006/jcom.1998.0487, as in scipy.stats.qmc.
    """
    from scipy.stats import qmc

    space = spec.kind.space(spec)
    sampler = qmc.Sobol(d=len(space), scramble=True, rng=derive(spec.seed, "sobol", *_path(group.tag)))
    # Draw the next power of two: the sequence is balanced there, and scipy warns otherwise.
    unit = sampler.random_base2(math.ceil(math.log2(count)))[:count] if count else []
    return [Point.at(space, [float(part) for part in row]) for row in unit]


def search_tasks(spec: Spec, role: Role, group: Group, numbers: range, *, first: int) -> list[TaskPlan]:
    """Return the trials of these numbers: the `first` trials of a search are Sobol points, the others are proposed."""
    phase = Phase.search(role, group)
    # One student seed for a whole search: trials differ by (T, alpha), not by luck.
    seed, points = derive(spec.seed, "student", "search", *_path(group.tag)), sobol_points(spec, first, group)
    tasks = []
    for i in numbers:
        sobol = points[i] if i < first else None
        sampler_seed = derive(spec.seed, "sampler", phase.prefix, i) if sobol is None else None
        payload = SearchTask(role=role, seed=seed, sobol=sobol, sampler_seed=sampler_seed, group=group)
        # Not on a target: two searches at once would delay the baselines.
        tasks.append(_task(f"{phase.prefix}#{i}", phase, payload, seen_first=role == "source" and i < _FIRST_TRIALS))
    return tasks


def _confirm(spec: Spec, role: Role, group: Group) -> list[TaskPlan]:
    tasks: list[TaskPlan] = []
    ranks, repeats = Phase.search(role, group), 0
    for number, (points, seeds) in enumerate(spec.confirm.rounds, start=1):
        phase = Phase.confirm(role, group, round=number if number < len(spec.confirm.rounds) else 0)
        for repeat in range(repeats, repeats + seeds):
            seed = derive(spec.seed, "student", "confirm", *_path(group.tag), repeat)
            arms = [""] * points + ([spec.raced] if spec.raced else [])  # the untuned arm is in every round
            for rank, arm in enumerate(arms):
                payload = ConfirmTask(role=role, seed=seed, ranks=ranks, rank=rank, repeat=repeat, arm=arm, group=group)
                tasks.append(_task(f"{phase.prefix}#{rank}.{repeat}", phase, payload))
        ranks, repeats = phase, repeats + seeds  # all survivors get the same new seeds
    return tasks


def transfer_tasks(spec: Spec, role: Role, group: Group, *, before: Spec | None = None) -> list[TaskPlan]:
    """Return the trainings of the arms; after an extension of `before`, only the new ones."""

    def planned(version: Spec | None, arm: str, repeat: int) -> bool:
        return version is not None and repeat < version.seeds_of(role, arm)

    phase, arms, tasks = Phase.transfer(role, group), spec.arms(role, group), []
    # Repeats outside, arms inside: an interrupted comparison is still paired. Every group has its own seeds, so an
    # interval over groups covers the seeds as well.
    for repeat in range(spec.transfer.seeds):
        seed = derive(spec.seed, "student", "transfer", *_path(group.tag), repeat)
        for arm in arms:
            if planned(spec, arm, repeat) and not planned(before, arm, repeat):
                payload = TransferTask(role=role, seed=seed, arm=arm, repeat=repeat, group=group)
                early = spec.arm(arm).early and repeat < _FIRST_REPEATS
                tasks.append(_task(transfer_key(role, arm, repeat, group), phase, payload, seen_first=early))
    return tasks


def recipe_tasks(spec: Spec) -> list[TaskPlan]:
    tasks = []
    for role in spec.roles:
        for repeat in range(RECIPE_SEEDS):
            seed = derive(spec.seed, "student", "recipes", repeat)
            for rank in range(len(spec.candidates(role))):
                payload = RecipeTask(role=role, seed=seed, arm=spec.recipe_arm(role), rank=rank, repeat=repeat)
                tasks.append(_task(recipe_key(role, rank, repeat), Phase.recipes(role), payload))
    return tasks


def baseline_tasks(spec: Spec) -> list[TaskPlan]:
    return [
        _task(
            baseline_key(role, method),
            Phase("baselines"),
            BaselineTask(role=role, method=method, seed=derive(spec.seed, "baseline", method)),
        )
        for role in spec.roles
        for method in spec.kind.references(spec, role)
    ]


def counts(spec: Spec) -> Counter[tuple[str, Role | None]]:
    """Return the number of tasks in the plan of this spec, by stage and role, without making the plan.

    "search" and "confirm" include those of stage "native".
    """
    features = spec.kind.features
    last = 1 + phases.scores_alone(spec)
    counted = Counter[tuple[str, Role | None]]({("measure", None): last} if features.measures else {})
    further = spec.outer.teachers * spec.outer.searches - 1  # arithmetic, since there may be billions of groups
    for role in spec.roles:
        counted["teachers", role] = spec.outer.teachers if features.prepares else 0
        counted["baselines", role] = len(spec.kind.references(spec, role))
        counted["recipes", role] = RECIPE_SEEDS * len(spec.candidates(role))
        for version, group, times in ((spec, FIRST, 1), (spec.further, Group(search=1), further)):
            counted["search", role] += times * version.search.trials
            counted["confirm", role] += times * version.confirm_trainings
            compared = sum(version.seeds_of(role, arm) for arm in version.arms(role, group))
            counted["transfer", role] += times * compared
    return counted


def refuse_too_many(spec: Spec) -> None:
    count = counts(spec).total()
    if count > MOST_TASKS:
        raise SpecError(
            f"the plan has {count:,} tasks; allowed: {MOST_TASKS:,}. It has {spec.outer.teachers:,} x"
            f" {spec.outer.searches:,} searches (outer.teachers, outer.searches) on each dataset, the first of"
            f" {spec.search.trials:,} trials (search.trials) compared on {spec.transfer.seeds:,} seeds"
            " (transfer.seeds): lower one of them"
        )


@dataclass(frozen=True)
class Plan:
    phases: tuple[PhasePlan, ...]
    tasks: tuple[TaskPlan, ...]

    @property
    def stages(self) -> list[str]:
        """The stages with a phase, in order: a sweep of one dataset has no "native"."""
        return [stage for stage in STAGES if any(phase.stage == stage for phase in self.phases)]

    def count(self, stage: str) -> int:
        inside = {phase.name for phase in self.phases if phase.stage == stage}
        return sum(task.phase in inside for task in self.tasks)


def make_plan(spec: Spec) -> Plan:
    """Return every phase and task of a sweep; raise SpecError for more tasks than one sweep may have.

    The same spec gives the same plan on every machine.
    """
    refuse_too_many(spec)
    features = spec.kind.features
    ordered: list[PhasePlan] = []
    tasks: list[TaskPlan] = []
    if features.prepares:
        ordered, tasks = phases.teacher_phases(spec), teacher_tasks(spec)
    if features.references:
        ordered.append(phases.plan_phase(Phase("baselines")))
        tasks += baseline_tasks(spec)
    ordered += phases.recipe_phases(spec)
    tasks += recipe_tasks(spec)
    groups = spec.groups
    selections = phases.selections_of(spec, groups)
    for group in groups:
        ordered += [*phases.group_phases(spec, group), *phases.transfer_phases(spec, group, selections)]
        tasks += group_tasks(spec.for_group(group), group)
    places = list(STAGES)
    ordered.sort(key=lambda phase: places.index(phase.stage))  # the order of display
    order = {phase.name: number for number, phase in enumerate(ordered)}
    tasks.sort(key=lambda task: order[task.phase])
    if phases.scores_alone(spec):
        ordered.append(phases.score_phase(spec, selections, ordered))
        tasks.append(_task("measure#accuracy", Phase("measure", round=1), ScoreTask()))
    if features.measures:
        ordered.append(phases.measure_phase(ordered))
        tasks.append(measure_task(0))
    return Plan(tuple(ordered), tuple(tasks))


@dataclass(frozen=True, kw_only=True)
class Extended:
    """What an extension adds. tasks: how many. look: the evaluation on the test set that it uses, in words."""

    tasks: int
    look: str


def more(spec: Spec, *, trials: int = 0, seeds: int = 0, searches: int = 0) -> tuple[Spec, Plan]:
    """Return a larger spec, and the tasks and phases that it adds to `spec`.

    Trials are added to every search, by its sampler; none of them is a Sobol point, except with sampler qmc. Seeds are
    added to every arm of transfer, searches to every teacher. Raise SpecError if the larger spec is out of bounds, or
    has too many tasks.
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
    larger, known = override(spec, changes), set(spec.groups)
    refuse_too_many(larger)
    added: list[PhasePlan] = []
    tasks: list[TaskPlan] = []
    for group in larger.groups:
        before, after = spec.for_group(group), larger.for_group(group)
        if group not in known:
            selections = phases.selections_of(larger, [group])
            added += [*phases.group_phases(larger, group), *phases.transfer_phases(larger, group, selections)]
            tasks += group_tasks(after, group)
            continue
        first = after.search.planned if spec.search.sampler == "qmc" else 0
        for role in spec.roles:
            numbers = range(before.search.trials, after.search.trials)
            tasks += search_tasks(after, role, group, numbers, first=first)
        for role in spec.roles:
            tasks += transfer_tasks(after, role, group, before=before)
    return larger, Plan(tuple(added), tuple(tasks))


_UNKNOWN_S = 1.0  # the same for every task: a weight in the whole work, no estimate


def knows_seconds(spec: Spec) -> bool:
    """Return whether the trainer says how long its runs take before one has finished."""
    return spec.kind.seconds(spec, "train", "source") is not None


def expected_seconds(spec: Spec, stage: str, role: str | None) -> float:
    """Return the expected seconds of a task on one core; 1 without `knows_seconds`. role: None for stage measure."""
    return spec.kind.seconds(spec, run_kind(stage), role or "") or _UNKNOWN_S


def expected_core_seconds(spec: Spec) -> float:
    """Return the expected seconds of a whole sweep on one core; 0: unknown."""
    if not knows_seconds(spec):
        return 0.0
    return sum(number * expected_seconds(spec, stage, role) for (stage, role), number in counts(spec).items())


def on_two_cores(core_seconds: float) -> str:
    """Return the time of so much work on two cores, for example "10 minutes"."""
    minutes = core_seconds / 60 / 2
    value, unit = (minutes, "minute") if minutes < 120 else (minutes / 60, "hour")
    return number_of(rounded(value), unit)


def rounded(value: float) -> int:
    """Return the value, at least 1, to two significant digits, the precision of an estimate."""
    return max(1, round(float(f"{value:.2g}")))
