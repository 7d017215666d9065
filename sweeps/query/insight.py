"""Say in one line what a sweep shows so far, for people who watch it work."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from storage.records.queries import TaskRecord
from sweeps.spec.model import Role, Spec

WIDTH = 78
_MARK = "provisional, validation"  # the test decides, and nobody may see half of it


def insight(spec: Spec, tasks: Sequence[TaskRecord]) -> str:
    """Return one line of at most 78 columns; "" before the teacher of the source has finished.

    First how good that teacher is, then the best point of the search beside it, then the confirmed point against no
    distillation: on the target as soon as both are known there.

    Args:
        tasks: those that are done, or all.
    """
    done = [task for task in tasks if task.state == "done"]
    compared = [task for task in done if task.stage == "transfer"]
    roles: tuple[Role, ...] = ("target", "source")
    for role in roles:
        if pairs := _pairs(compared, role):
            best, scratch = (fmean(values) for values in zip(*pairs, strict=True))
            return _line(spec, role, f"best {_percent(best)}, no distillation {_percent(scratch)} ({_MARK})")
    teacher = next((task for task in done if task.key == "teachers#source"), None)
    if teacher is None:
        return ""
    trials = [task for task in done if task.stage == "search" and task.params]
    if not trials:
        return _line(spec, "source", f"teacher {_percent(teacher.score)} ({_MARK})")
    top = max(trials, key=lambda task: (task.score or 0.0, -task.id))
    params = top.params or {}
    point = f"T {params['temperature']:.1f}, α {params['alpha']:.2f}"  # what else is searched would not fit
    text = f"teacher {_percent(teacher.score)}, best {_percent(top.score)} ({point}; {_MARK})"
    return _line(spec, "source", text)


def _line(spec: Spec, role: Role, text: str) -> str:
    part = spec.role(role)
    name = part.name or Path(part.dataset).stem  # of a file its name alone
    return f"{name[: WIDTH - len(text) - 2]}: {text}"


def _pairs(done: Sequence[TaskRecord], role: str) -> list[tuple[float, float]]:
    """Return the validation accuracies of best and of scratch on the seeds that both have, of the first search."""
    arms: dict[str, dict[int, float]] = {"best": {}, "scratch": {}}
    for task in done:
        payload = task.payload
        if payload["role"] == role and not payload.get("group") and payload["arm"] in arms:
            arms[payload["arm"]][payload["repeat"]] = task.score or 0.0
    return [(best, arms["scratch"][repeat]) for repeat, best in arms["best"].items() if repeat in arms["scratch"]]


def _percent(score: float | None) -> str:
    return f"{100 * (score or 0.0):.1f} %"
