"""Points of tasks: planned, proposed, selected, or given by an arm."""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Hashable
from itertools import accumulate
from typing import Any

import sqlalchemy

from kd.tools.code import importable
from storage.records import queries
from storage.studies.space import Categorical, Space
from storage.tables import TaskRecord
from sweeps.plan import identity, jobs, phases, selection
from sweeps.spec.model import Spec
from sweeps.trainers.arms import Context
from sweeps.trainers.protocol import Point, Value

_PATIENCE_S = 1.0  # for the points of other workers
_PROPOSAL_S = 0.005  # the least that one of them takes: to ask more often than that is load for nothing


def _datasets(spec: Spec) -> tuple[str, ...]:
    return tuple(spec.role(role).shown for role in spec.roles)


def space_of(spec: Spec, stage: str) -> Space:
    """Return the space of a stage's study; a stage without a search shows its fixed parameters as choices.

    For transfer it includes the parameters of arms with candidates; `trial_space` is the space of one trial.
    """
    if stage in ("search", "confirm", "native"):
        space = spec.kind.space(spec)
        if stage == "search" or not spec.raced:
            return space
        wide = spec.kind.space(spec, transfer=True)  # an untuned point may lie outside the search space
        return {name: wide[name] for name in space}
    if stage == "transfer":
        names = tuple(dict.fromkeys(arm for role in spec.roles for arm in spec.arms(role)))
        compared = {**recipe_space(spec), **spec.kind.space(spec, transfer=True)}
        return {**compared, "arm": Categorical(names), "dataset": Categorical(_datasets(spec))}
    if stage == "recipes":
        return recipe_space(spec)
    if stage == "teachers":
        prepared = tuple(dict.fromkeys(spec.kind.prepared(spec, role) for role in spec.roles))
        return {"dataset": Categorical(_datasets(spec)), "model": Categorical(prepared)}
    if stage == "baselines":
        methods = (method for role in spec.roles for method in spec.kind.references(spec, role))
        return {"method": Categorical(tuple(dict.fromkeys(methods)))}
    return {}


def recipe_space(spec: Spec) -> Space:
    """Return the values of the arms' candidates, as choices."""
    values: dict[str, list[Value]] = defaultdict(list)
    for point in (point for role in spec.roles for point in spec.candidates(role)):
        for name, value in point.values:
            values[name].append(value)
    return {name: Categorical(tuple(dict.fromkeys(options))) for name, options in values.items()}


def trial_space(spec: Spec, stage: str, task: jobs.Payload) -> Space:
    """Return the space of a task's trial: its study's, without the parameters that only arms with candidates have."""
    space = space_of(spec, stage)
    if isinstance(task, jobs.TransferTask) and spec.arm(task.arm).candidates is None:
        beside = recipe_space(spec).keys() - spec.kind.space(spec, transfer=True).keys()
        return {name: bounds for name, bounds in space.items() if name not in beside}
    return space


def fixed_params(spec: Spec, task: jobs.Payload) -> dict[str, Any]:
    """Return the parameters of a task's trial that are names, from its payload."""
    if isinstance(task, jobs.TeacherTask):
        return {"dataset": spec.role(task.role).shown, "model": spec.kind.prepared(spec, task.role)}
    if isinstance(task, jobs.BaselineTask):
        return {"method": task.method}
    if isinstance(task, jobs.TransferTask):
        return {"arm": task.arm, "dataset": spec.role(task.role).shown}
    return {}


def resolve_point(
    engine: sqlalchemy.Engine,
    spec: Spec,
    job: jobs.Job[jobs.Payload, Any],
    known: queries.PhasePoints | None = None,
) -> dict[str, Any]:
    """Return the parameters of a task. They depend on the spec and stored results alone, not on worker or time.

    known: cache of the sweep's points. A retry keeps the parameters of its predecessor. The first task that needs a
    selection stores it; raise RecordBroken if one is damaged.
    """
    row, task = job.row, job.work
    if row.params is not None:
        return row.params
    if isinstance(task, jobs.TransferTask):
        point = planned_point(spec, task) or _arm_point(engine, row.sweep_id, spec, task)
        return point.as_dict() | fixed_params(spec, task)
    if isinstance(task, jobs.ConfirmTask):
        return (planned_point(spec, task) or _confirm_point(engine, spec, row, task)).as_dict()
    if isinstance(task, jobs.RecipeTask):
        return _candidate(spec, task).as_dict()
    if isinstance(task, jobs.SearchTask):
        if task.sobol is not None:
            return task.sobol.as_dict()
        return _proposed(spec, row, known or queries.PhasePoints(engine, row.sweep_id))
    return fixed_params(spec, task)


def planned_point(spec: Spec, task: jobs.Payload) -> Point | None:
    """Return the point of a task if it depends on the spec alone; None: it has none, or depends on results."""
    if isinstance(task, jobs.SearchTask):
        return task.sobol
    if isinstance(task, jobs.RecipeTask):
        return _candidate(spec, task)
    if isinstance(task, jobs.ConfirmTask) and task.arm:
        return planned_arm(spec, task.role, task.arm)
    if not isinstance(task, jobs.TransferTask) or spec.arm(task.arm).selects or spec.arm(task.arm).candidates:
        return None
    return planned_arm(spec, task.role, task.arm, repeat=task.repeat)


def planned_arm(spec: Spec, role: str, arm: str, *, repeat: int = 0) -> Point:
    return spec.arm(arm).point(_context(spec, role, repeat, best_of=_nothing, fact=_nothing, chosen=_nothing))


def _candidate(spec: Spec, task: jobs.RecipeTask) -> Point:
    points = spec.candidates(task.role)
    if task.rank not in range(len(points)):
        key = phases.recipe_key(task.role, task.rank, task.repeat)
        raise jobs.edited(f"payload of {key}", f"rank is {task.rank}; the arm has {len(points)} candidates")
    return points[task.rank]


def _nothing(*_: str) -> Any:
    raise AssertionError("the rule of an arm that selects nothing asked for a result")


def _context(
    spec: Spec,
    role: str,
    repeat: int,
    *,
    best_of: Callable[[str], Point],
    fact: Callable[[str, str], float],
    chosen: Callable[[], Point],
) -> Context:
    def draw() -> Point:
        space, part = spec.kind.space(spec), random.Random(identity.derive(spec.seed, "random", repeat))
        return Point.at(space, [part.random() for _ in space])

    return Context(spec=spec, role=role, best_of=best_of, fact=fact, draw=draw, chosen=chosen)


def training_identity(spec: Spec, task: jobs.TransferTask, point: Point) -> tuple[Hashable, ...] | None:
    """Return a key that is equal for arms with the same training, within one dataset and preparation; None: unique.

    On one kind of processor such trainings give bit-identical results.
    """
    arm = spec.arm(task.arm)
    if arm.control or arm.chosen_in:  # trained with other logits, or networks
        return None
    values = spec.kind.own_values(task.arm, point.as_dict())
    return task.seed, Point.of(values), tuple(sorted(spec.kind.settings(spec, task.arm).items()))


def points_of(spec: Spec, task: jobs.ConfirmTask) -> int | None:
    """Return the number of points in the round of a confirm task; None: there is no such round."""
    rounds = spec.for_group(task.group).confirm.rounds
    ends = accumulate(seeds for _, seeds in rounds)
    return next((top for (top, _), end in zip(rounds, ends, strict=True) if task.repeat < end), None)


def _confirm_point(engine: sqlalchemy.Engine, spec: Spec, row: TaskRecord, task: jobs.ConfirmTask) -> Point:
    top = points_of(spec, task)
    if top is None:
        raise jobs.edited(f"payload of {row.key}", f"repeat is {task.repeat}; the spec plans fewer")
    ranks = selection.resolve_ranks(engine, row.sweep_id, task.ranks, top=top)
    # If trainings failed, there are fewer points than planned: the last one then takes the place of the missing ones.
    return ranks[min(task.rank, len(ranks) - 1)].point


def _proposed(spec: Spec, row: TaskRecord, read: queries.PhasePoints) -> dict[str, Any]:
    """Return the point that the sampler proposes for trial i, from the outcomes of trials 0 to i - lag alone.

    Those have ended by then, whatever the timing. The trials in between count as running. If one of them has no point
    yet, it is proposed here, as it will be later: it depends only on ended trials.
    """
    from storage.studies.sampler import propose  # Optuna takes a second to import

    sampler, space = importable(spec.search.sampler), spec.kind.space(spec)
    records = _saved_by_others(spec, row, read)
    number = len(records) - 1
    first = _ended_by(spec, number)
    points = [*(record.params for record in records[first:-1]), None]  # of those that may run, and of this one
    for i, point in enumerate(points, first):
        if point is not None:
            continue
        task = jobs.read_payload(row.stage, records[i].payload or {}, key=records[i].key)
        assert isinstance(task, jobs.SearchTask)
        known = records[: _ended_by(spec, i)]
        earlier = [*(record.params for record in records[len(known) : first]), *points[: i - first]]
        between = [queries.Past(earlier_point or {}, None, running=True) for earlier_point in earlier]
        points[i - first] = (
            propose(space, [*known, *between], sampler=sampler, seed=task.sampler_seed or 0)
            if task.sobol is None
            else task.sobol.as_dict()
        )
    proposal = points[-1]
    assert proposal is not None  # proposed in the loop's last iteration
    return proposal


def _ended_by(spec: Spec, number: int) -> int:
    """Return how many trials have ended before this one of a search is proposed."""
    return max(0, number + 1 - spec.search.lag)


def _saved_by_others(spec: Spec, row: TaskRecord, read: queries.PhasePoints) -> list[queries.TaskPoint]:
    """Return the trials up to this one, once the workers of earlier ones have saved their points or had time to.

    Each point depends on those before it, so workers that start together would each propose all of them. Where a
    worker has died without a point, `_proposed` does not need it.
    """
    give_up_at = time.monotonic() + _PATIENCE_S
    while True:
        records = read.until(row.phase, row.id)
        others = records[_ended_by(spec, len(records) - 1) : -1]
        unsaved = sum(record.state == "running" and record.params is None for record in others)
        left_s = give_up_at - time.monotonic()
        if not unsaved or left_s <= 0:
            return records
        time.sleep(min(left_s, unsaved * _PROPOSAL_S))


def _arm_point(engine: sqlalchemy.Engine, sweep_id: int, spec: Spec, task: jobs.TransferTask) -> Point:
    def best_of(role: str) -> Point:
        return selection.resolve_best(engine, sweep_id, phases.Phase.confirm(role, task.group)).best.point

    def fact(role: str, name: str) -> float:
        done = queries.task_records(engine, sweep_id, phase=phases.Phase.teachers(role, task.group).name, state="done")
        (prepared,) = jobs.read_finished(done, jobs.TeacherTask, jobs.TeacherOutcome)
        value = prepared.outcome.as_json().get(name)
        if not value:
            raise jobs.edited(f"outcome of {prepared.key}", f"{name} is missing")
        return float(value)

    def chosen() -> Point:
        return selection.resolve_best(engine, sweep_id, phases.Phase.recipes(task.role)).best.point

    context = _context(spec, task.role, task.repeat, best_of=best_of, fact=fact, chosen=chosen)
    return spec.arm(task.arm).point(context)
