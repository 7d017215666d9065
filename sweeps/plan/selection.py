"""The frozen result of a phase that later phases read: the ranks of a search, the best of a confirm.

The first reader after the phase has closed writes it; everybody then reads that one row, so a retry months later still
trains the same (T, alpha).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy

from storage.errors import RecordBroken
from storage.records import queries, selections
from sweeps.errors import SweepError
from sweeps.plan.names import untagged
from sweeps.plan.outcomes import DoneTask, StudentOutcome, done_tasks
from sweeps.plan.payloads import ConfirmTask, SearchTask, edited
from sweeps.spec.point import Point
from sweeps.stats.estimates import Estimate, estimate

# name -> the phase it is read from, both without the tag of a group
_PHASES = {
    "search.ranks": "search",
    "native.ranks": "native:search",
    "confirm.best": "confirm",
    "native.best": "native:confirm",
}


@dataclass(frozen=True)
class Ranked:
    """One of the best trials of a search. score: validation accuracy, a fraction. task: its key."""

    point: Point
    score: float
    task: str

    def as_json(self) -> dict[str, Any]:
        """Return the plain values that the database stores."""
        return self.point.as_dict() | {"score": self.score, "task": self.task}


@dataclass(frozen=True)
class Candidate:
    """A point that was confirmed. rank: in its search, from 0. accuracy: validation, fractions, over fresh seeds."""

    point: Point
    rank: int
    accuracy: Estimate

    def as_json(self) -> dict[str, Any]:
        """Return the plain values that the database stores."""
        return self.point.as_dict() | {"rank": self.rank} | asdict(self.accuracy)


@dataclass(frozen=True)
class Confirmed:
    """What a confirm selected, and everything it chose from, in the order of the ranks."""

    best: Candidate
    candidates: tuple[Candidate, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the plain values that the database stores."""
        return self.best.as_json() | {"candidates": [candidate.as_json() for candidate in self.candidates]}


def phase_of(name: str) -> str:
    """Return the phase that a selection is read from: "confirm@t1s0" for "confirm.best@t1s0"."""
    base, tag = untagged(name)
    return _PHASES[base] + tag


def resolve_ranks(engine: sqlalchemy.Engine, sweep_id: int, name: str, *, top: int) -> tuple[Ranked, ...]:
    """Return the ranks of that name; the first caller computes and stores them.

    Raises:
        RecordBroken: what is stored is not ranks.
    """
    stored = selections.get(engine, sweep_id, name)
    if stored is None:
        done = queries.task_records(engine, sweep_id, phase=phase_of(name), state="done")
        ranks = rank(done_tasks(done, SearchTask, StudentOutcome), top)
        value = {"ranks": [ranked.as_json() for ranked in ranks]}
        stored = selections.insert_or_ignore(engine, sweep_id, name, value)
    try:
        return tuple(Ranked(_point(value), float(value["score"]), str(value["task"])) for value in stored["ranks"])
    except (KeyError, TypeError, ValueError) as error:
        raise _edited(name, error) from None


def resolve_best(engine: sqlalchemy.Engine, sweep_id: int, name: str) -> Confirmed:
    """Return the confirmed best of that name; the first caller computes and stores it.

    Raises:
        SweepError: no confirm run has finished.
        RecordBroken: what is stored is no confirmed best.
    """
    stored = selections.get(engine, sweep_id, name)
    if stored is None:
        stored = selections.insert_or_ignore(engine, sweep_id, name, _best_of(engine, sweep_id, name).as_json())
    return read_confirmed(name, stored)


def preview(engine: sqlalchemy.Engine, sweep_id: int, name: str) -> Confirmed | None:
    """Return the confirmed best: stored or, once its phase is closed, as it will be; None before. Only reads."""
    stored = selections.get(engine, sweep_id, name)
    if stored is not None:
        return read_confirmed(name, stored)
    phase = phase_of(name)
    states = {record.name: record.state for record in queries.phase_records(engine, sweep_id)}
    return _best_of(engine, sweep_id, name) if states.get(phase) == "closed" else None


def read_confirmed(name: str, value: Mapping[str, Any]) -> Confirmed:
    """Return the confirmed best that is stored as `value`.

    Raises:
        RecordBroken: it is none.
    """
    try:
        return Confirmed(_candidate(value), tuple(map(_candidate, value["candidates"])))
    except (KeyError, TypeError, ValueError) as error:
        raise _edited(name, error) from None


def rank(done: Sequence[DoneTask[SearchTask, StudentOutcome]], top: int) -> list[Ranked]:
    """Return the `top` trials of a search: highest score first, the lowest task id where scores tie."""
    order = sorted(done, key=lambda task: (-task.score, task.record.id))
    return [Ranked(task.outcome.point, task.score, task.record.key) for task in order[:top]]


def best(done: Sequence[DoneTask[ConfirmTask, StudentOutcome]]) -> Confirmed:
    """Return the candidate with the best mean over fresh seeds.

    A candidate that lost a seed to a failure cannot win by having been tried less: only candidates with
    the most finished seeds compete. Ties go to the better rank of the search.

    Raises:
        SweepError: no confirm run has finished.
    """
    groups: dict[int, list[DoneTask[ConfirmTask, StudentOutcome]]] = defaultdict(list)
    for task in sorted(done, key=lambda task: task.record.id):
        groups[task.payload.rank].append(task)
    candidates = [
        Candidate(tasks[0].outcome.point, number, accuracy)
        for number, tasks in sorted(groups.items())
        if (accuracy := estimate([task.score for task in tasks])) is not None
    ]
    if not candidates:
        raise SweepError("no confirm run has finished; nothing to select")
    most = max(candidate.accuracy.n for candidate in candidates)
    full = [candidate for candidate in candidates if candidate.accuracy.n == most]
    winner = max(full, key=lambda candidate: (candidate.accuracy.mean, -candidate.rank))
    return Confirmed(winner, tuple(candidates))


def _best_of(engine: sqlalchemy.Engine, sweep_id: int, name: str) -> Confirmed:
    done = queries.task_records(engine, sweep_id, phase=phase_of(name), state="done")
    return best(done_tasks(done, ConfirmTask, StudentOutcome))


def _candidate(value: Mapping[str, Any]) -> Candidate:
    accuracy = Estimate(float(value["mean"]), value["low"], value["high"], int(value["n"]))
    return Candidate(_point(value), int(value["rank"]), accuracy)


def _point(value: Mapping[str, Any]) -> Point:
    return Point(float(value["temperature"]), float(value["alpha"]))


def _edited(name: str, error: Exception) -> RecordBroken:
    return edited(f"selection {name}", f"{error} is missing" if isinstance(error, KeyError) else str(error))
