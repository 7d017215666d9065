"""`Best`: the confirmed point, or the incumbent; the result line of the progress display."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Annotated

import sqlalchemy
from pydantic import Field

from storage.records import queries
from storage.tables import SweepRecord, TaskRecord
from sweeps.errors import NoResultsYet
from sweeps.hints import local
from sweeps.plan import jobs, phases, selection
from sweeps.query.status import fingerprints, stage_counts
from sweeps.spec.model import Role, Spec
from sweeps.spec.stored import as_it_stands
from sweeps.stats.estimates import Estimate, as_shown
from sweeps.trainers.protocol import Point
from sweeps.trainers.score import ACCURACY, Score

WIDTH = 78  # columns of the progress line
_MARK = "provisional, validation"  # the verdict uses the test, which is not shown before it is complete


@dataclass(frozen=True, kw_only=True)
class Incumbent:
    """The best single trial of the search. score: on validation, as stored. task: its key."""

    point: Point
    score: float
    task: str
    trial_number: int | None


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best point of a sweep. loss: the minimised formula.

    confirmed: True for the best mean over fresh seeds, False for the best single run. accuracy: the validation score as
    stored, an accuracy as a fraction; of the confirmed point its mean over fresh seeds. Its interval, and those of the
    candidates, are in display form: None for fewer than three seeds, within the bounds of the score. score: its name
    and format. untuned: the winning untuned default, such as "Keras' untuned default"; "" if a tuned point won or none
    is confirmed. candidates: the confirmed points, None before that. answer_hash: None until every task of the sweep
    has ended. recipe: how the sweep trained with this point. paste: the point as code, by library. summary: the verdict
    of a finished sweep, and where an untuned point was as good. smoke_test: see `Spec.is_smoke_test`.
    """

    sweep: str
    loss: str
    point: Point
    confirmed: bool
    accuracy: Estimate
    candidates: tuple[selection.Candidate, ...] | None
    incumbent: Incumbent
    answer_hash: str | None
    recipe: str = ""
    paste: Mapping[str, str] = field(default_factory=dict)
    summary: tuple[str, ...] = ()
    untuned: Annotated[str, Field(exclude_if=lambda untuned: not untuned)] = ""
    score: Annotated[Score, Field(exclude_if=lambda score: score == ACCURACY)] = ACCURACY
    smoke_test: Annotated[bool, Field(exclude_if=lambda smoke_test: not smoke_test)] = False


def best(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Best:
    """Return the best point of a sweep; NoResultsYet if no search trial has finished."""
    # Of all searches, as in the dashboard: the incumbent is its best trial.
    done = jobs.read_finished(
        queries.task_records(engine, sweep.id, stage="search", state="done"), jobs.SearchTask, jobs.StudentOutcome
    )
    if not done:
        counts = stage_counts(engine, sweep.id)
        stages = ((stage, counts[stage]) for stage in ("teachers", "search") if stage in counts)
        progress = ", ".join(f"{stage} {count.done}/{count.total}" for stage, count in stages if count.total)
        raise NoResultsYet(
            f"no search trial of {sweep.name} has finished ({progress});"
            f" continue with: {local().line('launch', sweep.name)}"
        )
    (first,) = selection.rank(done, 1)
    number = next(task.row.trial_number for task in done if task.key == first.task)
    incumbent = Incumbent(point=first.point, score=first.score, task=first.task, trial_number=number)
    confirmed = selection.preview(engine, sweep.id, phases.Phase.confirm("source"))
    spec = as_it_stands(sweep)
    bounds = spec.score.bounds
    point, accuracy, candidates = first.point, Estimate(first.score, None, None, 1), None
    if confirmed is not None:
        point, accuracy = confirmed.best.point, as_shown(confirmed.best.accuracy, bounds)
        candidates = tuple(
            replace(candidate, accuracy=as_shown(candidate.accuracy, bounds)) for candidate in confirmed.candidates
        )
    arm = confirmed.best.arm if confirmed is not None else ""
    return Best(
        sweep=sweep.name,
        loss=spec.kind.formula(spec),
        point=point,
        confirmed=confirmed is not None,
        accuracy=accuracy,
        candidates=candidates,
        incumbent=incumbent,
        answer_hash=fingerprints(engine, sweep).answer_hash,
        recipe=spec.kind.recipe(spec, point),
        paste=spec.kind.paste(spec, point),
        untuned=f"{spec.arm(arm).owner} untuned default" if arm else "",
        score=spec.score,
        smoke_test=spec.is_smoke_test,
    )


def insight(spec: Spec, tasks: Sequence[TaskRecord]) -> str:
    """Return one line of at most 78 columns; "" before the source's teacher has finished.

    At first the score of that teacher, then also the best point of the search, then the confirmed point against no
    distillation, on the target as soon as both are known there. tasks: the done ones, or all.
    """

    def score_text(score: float | None) -> str:
        return spec.score.text(score or 0.0, 1)

    done = [task for task in tasks if task.state == "done"]
    compared = [task for task in done if task.stage == "transfer"]
    roles: tuple[Role, ...] = ("target", "source")
    for role in roles:
        if pairs := _pairs(compared, role, spec.counted_from(role)):
            without = spec.kind.features.without
            best, scratch = (fmean(values) for values in zip(*pairs, strict=True))
            return _line(spec, role, f"best {score_text(best)}, {without} {score_text(scratch)} ({_MARK})")
    teacher = next((task for task in done if task.key == "teachers#source"), None)
    if spec.kind.features.prepares and teacher is None:
        return ""
    trials = [task for task in done if task.stage == "search" and task.params]
    taught = f"{spec.kind.features.prepares} {score_text(teacher.score)}" if teacher is not None else ""
    if not trials:
        return _line(spec, "source", f"{taught} ({_MARK})") if taught else ""
    top = max(trials, key=lambda task: (-math.inf if task.score is None else task.score, -task.id))
    names = list(spec.kind.space(spec))[:2]  # more would not fit
    point = Point.of({name: (top.params or {})[name] for name in names}).brief(spec.kind.features.symbols)
    text = ", ".join(filter(None, (taught, f"best {score_text(top.score)} ({point}; {_MARK})")))
    return _line(spec, "source", text)


def _line(spec: Spec, role: Role, text: str) -> str:
    part = spec.role(role)
    name = part.name or Path(part.dataset).stem  # without the folder of a file
    return f"{name[: WIDTH - len(text) - 2]}: {text}"


def _pairs(done: Sequence[TaskRecord], role: str, untreated: str) -> list[tuple[float, float]]:
    """Return the validation scores of best and the untreated arm on their common seeds, of the first search."""
    arms: dict[str, dict[int, float]] = {"best": {}, untreated: {}}
    for task in done:
        payload = task.payload
        if payload["role"] == role and not payload.get("group") and payload["arm"] in arms:
            arms[payload["arm"]][payload["repeat"]] = task.score or 0.0
    return [(best, arms[untreated][repeat]) for repeat, best in arms["best"].items() if repeat in arms[untreated]]
