"""Ranks, survivors, best: the frozen selections between phases.

The first reader after a phase has closed stores its selection; all others read that row, so a retry months later still
trains the same (T, alpha).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeAlias

import sqlalchemy
from pydantic import Field

from storage.errors import RecordBroken
from storage.records import artifacts, queries
from sweeps.errors import SweepError
from sweeps.plan.jobs import ConfirmTask, Job, RankedTask, RecipeTask, SearchTask, StudentOutcome, edited, read_finished
from sweeps.plan.phases import Phase
from sweeps.stats.estimates import Estimate, estimate
from sweeps.trainers.protocol import Point

Search: TypeAlias = Job[SearchTask, StudentOutcome]
Confirm: TypeAlias = Job[RankedTask, StudentOutcome]


@dataclass(frozen=True)
class Ranked:
    """One of the best points of a search, or of a round of confirm.

    score: on validation, as stored; of a round, the mean. task: key of the first training with this point.
    """

    point: Point
    score: float
    task: str

    def as_json(self) -> dict[str, Any]:
        return self.point.as_json() | {"score": self.score, "task": self.task}


@dataclass(frozen=True)
class Candidate:
    """A confirmed point. rank: in its search, from 0.

    accuracy: the validation score, as stored, over fresh seeds. arm: "" for a point of the search; else the untuned arm
    whose point competed with them, with a rank after theirs.
    """

    point: Point
    rank: int
    accuracy: Estimate
    arm: Annotated[str, Field(exclude_if=lambda arm: not arm)] = ""

    def as_json(self) -> dict[str, Any]:
        arm = {"arm": self.arm} if self.arm else {}
        return self.point.as_json() | {"rank": self.rank} | arm | asdict(self.accuracy)


@dataclass(frozen=True)
class Confirmed:
    """The selection of a confirm, and its candidates by rank."""

    best: Candidate
    candidates: tuple[Candidate, ...]

    def as_json(self) -> dict[str, Any]:
        return self.best.as_json() | {"candidates": [candidate.as_json() for candidate in self.candidates]}


def task_of(phase: Phase) -> type[ConfirmTask] | type[RecipeTask]:
    """Return the payload class of a phase that selects on fresh seeds."""
    return RecipeTask if phase.kind == "recipes" else ConfirmTask


def confirmed_for(phase: Phase, done: Iterable[Confirm]) -> list[Confirm]:
    """Return the finished trainings that a phase selects from; of a confirm, those up to its round."""

    def counts(other: Phase) -> bool:
        same = (other.kind, other.role, other.group) == (phase.kind, phase.role, phase.group)
        return same and (not phase.round or 0 < other.round <= phase.round)

    return [task for task in done if counts(task.phase)]


def resolve_ranks(engine: sqlalchemy.Engine, sweep_id: int, phase: Phase, *, top: int) -> tuple[Ranked, ...]:
    """Return the ranks of a search, or of an earlier round of confirm; the first caller stores them."""
    stored = artifacts.get_selection(engine, sweep_id, phase.selection)
    if stored is None:
        if phase.is_search:
            done = queries.task_records(engine, sweep_id, phase=phase.name, state="done")
            ranks = rank(read_finished(done, SearchTask, StudentOutcome), top)
        else:
            ranks = survivors(_confirms(engine, sweep_id, phase), top)
        value = {"ranks": [ranked.as_json() for ranked in ranks]}
        stored = artifacts.freeze_selection(engine, sweep_id, phase.selection, value)
    try:
        return tuple(Ranked(Point.read(value), float(value["score"]), str(value["task"])) for value in stored["ranks"])
    except (KeyError, TypeError, ValueError) as error:
        raise _edited(phase.selection, error) from None


def resolve_best(engine: sqlalchemy.Engine, sweep_id: int, phase: Phase) -> Confirmed:
    """Return the selection of a confirm or recipes; the first caller stores it. SweepError: no run has finished."""
    stored = artifacts.get_selection(engine, sweep_id, phase.selection)
    if stored is None:
        value = best(_confirms(engine, sweep_id, phase)).as_json()
        stored = artifacts.freeze_selection(engine, sweep_id, phase.selection, value)
    return read_confirmed(phase.selection, stored)


def preview(engine: sqlalchemy.Engine, sweep_id: int, phase: Phase) -> Confirmed | None:
    """Return the selection of a confirm, stored or, once it is closed, computed; None before. Writes nothing."""
    stored = artifacts.get_selection(engine, sweep_id, phase.selection)
    if stored is not None:
        return read_confirmed(phase.selection, stored)
    states = {record.name: record.state for record in queries.phase_records(engine, sweep_id)}
    return best(_confirms(engine, sweep_id, phase)) if states.get(phase.name) == "closed" else None


def read_confirmed(name: str, value: Mapping[str, Any]) -> Confirmed:
    """Return the confirmed best stored as `value`; raise RecordBroken if it is invalid."""
    try:
        return Confirmed(_candidate(value), tuple(map(_candidate, value["candidates"])))
    except (KeyError, TypeError, ValueError) as error:
        raise _edited(name, error) from None


def rank(done: Sequence[Search], top: int) -> list[Ranked]:
    """Return the `top` trials of a search: highest score first, ties by task id.

    A point proposed more than once counts once, so that the confirmed points differ.
    """
    order = sorted(done, key=lambda task: (-task.score, task.row.id))
    points: dict[Point, Ranked] = {}
    for task in order:
        points.setdefault(task.outcome.point, Ranked(task.outcome.point, task.score, task.key))
    return list(points.values())[:top]


def survivors(done: Sequence[Confirm], top: int) -> list[Ranked]:
    """Return the `top` points of the rounds so far by their mean over the fresh seeds, best first.

    All points of a round share their seeds, so the means are paired. Ties go to the better rank of the search. An
    untuned point is in every round, in addition to the tuned ones. Source: Karnin, Koren & Somekh 2013, "Almost optimal
    exploration in multi-armed bandits" (sequential halving).
    """
    candidates = _candidates(done)
    tuned = [candidate for candidate in candidates if not candidate.arm]
    order = sorted(_full(tuned or candidates), key=lambda candidate: (-candidate.accuracy.mean, candidate.rank))
    keys = {task.outcome.point: task.key for task in reversed(done)}
    return [Ranked(candidate.point, candidate.accuracy.mean, keys[candidate.point]) for candidate in order[:top]]


def best(done: Sequence[Confirm]) -> Confirmed:
    """Return the candidate with the best mean over fresh seeds; raise SweepError if no confirm run has finished.

    Only candidates with the most finished seeds compete, so one that lost a seed, or was dropped in a round, cannot win
    by fewer tries. Ties go to the untuned point, which costs nothing, then to the better rank of the search.
    """
    candidates = _candidates(done)
    if not candidates:
        raise SweepError("no confirm run has finished; nothing to select")
    winner = max(
        _full(candidates), key=lambda candidate: (candidate.accuracy.mean, bool(candidate.arm), -candidate.rank)
    )
    return Confirmed(winner, tuple(candidates))


def by_point(done: Sequence[Confirm]) -> dict[Point, list[Confirm]]:
    """Return the trainings of each confirmed point, by rank in the search.

    A later round has its own ranks, so trainings are matched by the point itself.
    """
    points: dict[Point, list[Confirm]] = defaultdict(list)
    for task in sorted(done, key=lambda task: (task.work.repeat, task.work.rank)):
        if all(task.work.repeat != other.work.repeat for other in points[task.outcome.point]):
            points[task.outcome.point].append(task)
    return dict(sorted(points.items(), key=lambda item: item[1][0].work.rank))  # whose first one is of round 1


def _candidates(done: Sequence[Confirm]) -> list[Candidate]:
    candidates = []
    for point, tasks in by_point(done).items():
        accuracy = estimate([task.score for task in tasks])
        assert accuracy is not None
        # If the search chose the untuned point itself, its trainings count once.
        arm = next(
            (t.work.arm for t in done if isinstance(t.work, ConfirmTask) and t.work.arm and t.outcome.point == point),
            "",
        )
        candidates.append(Candidate(point, tasks[0].work.rank, accuracy, arm))
    return candidates


def _full(candidates: Sequence[Candidate]) -> list[Candidate]:
    most = max((candidate.accuracy.n for candidate in candidates), default=0)
    return [candidate for candidate in candidates if candidate.accuracy.n == most]


def _confirms(engine: sqlalchemy.Engine, sweep_id: int, phase: Phase) -> list[Confirm]:
    done = queries.task_records(engine, sweep_id, stage=phase.stage, state="done")
    return confirmed_for(phase, read_finished(done, task_of(phase), StudentOutcome))


def _candidate(value: Mapping[str, Any]) -> Candidate:
    accuracy = Estimate(float(value["mean"]), value["low"], value["high"], int(value["n"]))
    return Candidate(Point.read(value), int(value["rank"]), accuracy, str(value.get("arm", "")))


def _edited(name: str, error: Exception) -> RecordBroken:
    return edited(f"selection {name}", f"{error} is missing" if isinstance(error, KeyError) else str(error))
