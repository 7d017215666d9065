"""The point of a task: planned, proposed, selected or of an arm; what its trial shows."""

import random
from dataclasses import replace
from itertools import accumulate
from typing import Any

import sqlalchemy

from kd.tools.code import importable
from storage.records import queries
from storage.studies.space import Choice, Range, Space
from storage.tables import TaskRecord
from sweeps.distill import arms
from sweeps.distill.space import of_paper, of_training, point_at, search_space, transfer_space, untuned
from sweeps.plan import jobs, selection
from sweeps.plan.identity import derive
from sweeps.plan.phases import best_of, search_of, teacher_phase
from sweeps.spec.model import Spec
from sweeps.trainers.protocol import Point


def _datasets(spec: Spec) -> tuple[str, ...]:
    return tuple(spec.role(role).shown for role in spec.roles)


def space_of(spec: Spec, stage: str) -> Space:
    """Return the space of a stage's study; a stage without a search shows its fixed parameters as choices."""
    if stage in ("search", "confirm", "native"):
        return search_space(spec)
    if stage == "transfer":
        names = tuple(dict.fromkeys(arm for role in spec.roles for arm in spec.arms(role)))
        return transfer_space(spec) | {"arm": Choice(names), "dataset": Choice(_datasets(spec))}
    if stage == "teachers":
        return {
            "dataset": Choice(_datasets(spec)),
            "model": Choice(tuple(dict.fromkeys(spec.role(role).teacher for role in spec.roles))),
        }
    if stage == "baselines":
        methods = (method for role in spec.roles for method in spec.baselines_on(role))
        return {"method": Choice(tuple(dict.fromkeys(methods)))}
    return {}


def attributes(
    spec: Spec, task: jobs.Payload, *, key: str, stage: str, attempt: int, worker: str, retry_of: int | None
) -> dict[str, Any]:
    """Return what a trial has from its first moment on: everything that is known before its task runs.

    Args:
        key, stage: of the task. attempt, worker, retry_of: of the attempt whose trial it is.
    """
    attrs: dict[str, Any] = {"task": key, "attempt": attempt, "worker": worker}
    attrs |= {name: value for name, value in task.as_json().items() if name in ("seed", "repeat", "rank")}
    if isinstance(task, jobs.StudentTask):
        refit = isinstance(task, jobs.TransferTask) and task.arm == arms.AUTOKERAS_ARM
        attrs["detail"] = arms.FOUND_NETWORK if refit else spec.role(task.role).student
    if search := search_of(task.role, task.group):
        attrs["search"] = search
    if task.role and "dataset" not in space_of(spec, stage):
        attrs["dataset"] = spec.role(task.role).shown
    return attrs if retry_of is None else attrs | {"retry_of": retry_of}


def fixed_params(spec: Spec, task: jobs.Payload) -> dict[str, Any]:
    """Return the parameters of a task's trial that are names, which its payload decides."""
    if isinstance(task, jobs.TeacherTask):
        role = spec.role(task.role)
        return {"dataset": role.shown, "model": role.teacher}
    if isinstance(task, jobs.BaselineTask):
        return {"method": task.method}
    if isinstance(task, jobs.TransferTask):
        return {"arm": task.arm, "dataset": spec.role(task.role).shown}
    return {}


def resolve_point(engine: sqlalchemy.Engine, spec: Spec, claim: TaskRecord) -> dict[str, Any]:
    """Return the parameters of a task. They follow from the spec and from what is stored, not from who asks or when.

    A retry keeps the parameters of its predecessor. The first task that needs a selection stores it.

    Raises:
        storage.errors.RecordBroken: the task's payload, or the selection, is damaged.
    """
    if claim.params is not None:
        return claim.params
    task = jobs.payload_of(claim)
    if isinstance(task, jobs.TransferTask):
        point = planned_point(spec, task) or _arm_point(engine, claim.sweep_id, spec, task)
        return point.as_dict() | fixed_params(spec, task)
    if isinstance(task, jobs.ConfirmTask):
        return _confirm_point(engine, spec, claim, task).as_dict()
    if isinstance(task, jobs.SearchTask):
        return _proposed(engine, spec, claim) if task.sobol is None else task.sobol.as_dict()
    return fixed_params(spec, task)


def planned_point(spec: Spec, task: jobs.Payload) -> Point | None:
    """Return the point of a task that follows from the spec alone; None: it has none, or follows from results."""
    if isinstance(task, jobs.SearchTask):
        return task.sobol
    if not isinstance(task, jobs.TransferTask):
        return None
    if task.arm in arms.DEFAULT_POINTS:
        return replace(arms.DEFAULT_POINTS[task.arm], more=untuned(spec, task.role))
    if task.arm == arms.DEFAULT_PAPER:
        return of_paper(spec, task.role)
    if task.arm == "random":
        space, draw = search_space(spec), random.Random(derive(spec.seed, "random", task.repeat))
        return point_at(space, [draw.random() for _ in space])
    return None


def points_of(spec: Spec, task: jobs.ConfirmTask) -> int | None:
    """Return how many points the round of a confirm trains, as many as its ranks have; None: there is no such round."""
    rounds = spec.for_group(task.group).confirm.rounds
    ends = accumulate(seeds for _, seeds in rounds)
    return next((top for (top, _), end in zip(rounds, ends, strict=True) if task.repeat < end), None)


def _confirm_point(engine: sqlalchemy.Engine, spec: Spec, claim: TaskRecord, task: jobs.ConfirmTask) -> Point:
    top = points_of(spec, task)
    if top is None:
        raise jobs.edited(f"payload of {claim.key}", f"repeat is {task.repeat}; the spec plans fewer")
    ranks = selection.resolve_ranks(engine, claim.sweep_id, task.ranks, top=top)
    # Fewer points than planned are left where trainings failed: the last one then stands for those that are missing.
    return ranks[min(task.rank, len(ranks) - 1)].point


def _proposed(engine: sqlalchemy.Engine, spec: Spec, claim: TaskRecord) -> dict[str, Any]:
    """Return the point that the sampler proposes for a trial i, from the outcomes of trials 0 to i - lag alone.

    Those have ended, whatever else has. The trials in between count as running. Where one of them has not been asked
    for yet, its point is proposed here as it will be: it needs nothing that is not there.
    """
    from storage.studies.sampler import Past, propose  # here: Optuna takes a second to import

    sampler = importable(spec.search.sampler)
    records = queries.points_until(engine, claim.sweep_id, phase=claim.phase, task_id=claim.id)
    number = len(records) - 1
    ended = records[: max(0, number + 1 - spec.search.lag)]
    history = [
        Past(record.params, record.score) if record.state == "done" and record.params else Past({}, None)
        for record in ended
    ]
    space = search_space(spec)
    points = [*(record.params for record in records[:-1]), None]
    for i in range(len(history), number + 1):
        known = history[: max(0, i + 1 - spec.search.lag)]
        if points[i] is None:
            task = jobs.read_payload(claim.stage, records[i].payload or {}, key=records[i].key)
            assert isinstance(task, jobs.SearchTask)
            between = [Past(point or {}, None, running=True) for point in points[len(known) : i]]
            points[i] = (
                propose(space, [*known, *between], sampler=sampler, seed=task.sampler_seed or 0)
                if task.sobol is None
                else task.sobol.as_dict()
            )
    proposal = points[number]
    assert proposal is not None  # the last one that the loop proposed
    return proposal


def _arm_point(engine: sqlalchemy.Engine, sweep_id: int, spec: Spec, task: jobs.TransferTask) -> Point:
    # The controls that replace the teacher's logits keep the point of best, so that only the logits differ.
    name = best_of(task.role if task.arm == "native" else "source", task.group)
    best = selection.resolve_best(engine, sweep_id, name).best.point
    if task.arm == arms.SCALED:
        spreads = [_spread(engine, sweep_id, teacher_phase(role, task.group)) for role in ("source", task.role)]
        bounds = transfer_space(spec)["temperature"]
        assert isinstance(bounds, Range)
        temperature = best.temperature * spreads[1] / spreads[0]
        return replace(best, temperature=min(max(temperature, bounds.low), bounds.high))
    if task.arm == arms.SCRATCH_TUNED:
        return replace(
            arms.LABELS_ONLY, more=tuple(sorted((dict(untuned(spec, task.role)) | dict(of_training(best))).items()))
        )
    return best


def _spread(engine: sqlalchemy.Engine, sweep_id: int, phase: str) -> float:
    (teacher,) = jobs.done_tasks(
        queries.task_records(engine, sweep_id, phase=phase, state="done"), jobs.TeacherTask, jobs.TeacherOutcome
    )
    if not teacher.outcome.logit_spread:
        raise jobs.edited(f"outcome of {teacher.record.key}", "logit_spread is missing")
    return teacher.outcome.logit_spread
