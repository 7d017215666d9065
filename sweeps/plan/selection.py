"""The frozen result of a phase that later phases read: the ranks of a search, the best of a confirm.

Whoever comes first after the phase closed writes it; everyone then reads that one row, so a retry months
later still trains the same (T, alpha).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy

from storage.records import queries, selections
from storage.records.queries import TaskRecord
from sweeps.errors import SweepError
from sweeps.plan.names import untagged
from sweeps.stats.estimates import estimate

# name -> the phase it is read from, both without the tag of a group
_PHASES = {
    "search.ranks": "search",
    "native.ranks": "native:search",
    "confirm.best": "confirm",
    "native.best": "native:confirm",
}


def phase_of(name: str) -> str:
    """The phase that a selection is read from: "confirm@t1s0" for "confirm.best@t1s0"."""
    base, tag = untagged(name)
    return _PHASES[base] + tag


def resolve(engine: sqlalchemy.Engine, sweep_id: int, name: str, *, top: int) -> dict[str, Any]:
    """The selection of that name; computed and stored by the first caller."""
    stored = selections.get(engine, sweep_id, name)
    if stored is not None:
        return stored
    done = queries.task_records(engine, sweep_id, phase=phase_of(name), state="done")
    value = rank(done, top) if untagged(name)[0].endswith(".ranks") else best(done)
    return selections.insert_or_ignore(engine, sweep_id, name, value)


def preview(engine: sqlalchemy.Engine, sweep_id: int, name: str) -> dict[str, Any] | None:
    """The selection, stored or, once its phase is closed, as it will be; None before. Reads only."""
    stored = selections.get(engine, sweep_id, name)
    if stored is not None:
        return stored
    phase = phase_of(name)
    states = {record.name: record.state for record in queries.phase_records(engine, sweep_id)}
    if states.get(phase) != "closed":
        return None
    return best(queries.task_records(engine, sweep_id, phase=phase, state="done"))


def rank(done: Sequence[TaskRecord], top: int) -> dict[str, Any]:
    """The `top` finished trials of a search: highest score first, the lowest task id where scores tie."""
    order = sorted((task for task in done if task.score is not None), key=lambda t: (-(t.score or 0.0), t.id))
    return {"ranks": [_point(task) | {"score": task.score, "task": task.key} for task in order[:top]]}


def best(done: Sequence[TaskRecord]) -> dict[str, Any]:
    """The confirmed candidate with the best mean over fresh seeds, its interval and n.

    A candidate that lost a seed to a failure cannot win by having been tried less: only candidates with
    the most finished seeds compete. Ties go to the better rank of the search.
    """
    groups: dict[int, list[TaskRecord]] = defaultdict(list)
    for task in done:
        groups[task.payload["rank"]].append(task)
    if not groups:
        raise SweepError("no confirm run has finished; nothing to select")
    most = max(map(len, groups.values()))
    candidates = []
    for number, tasks in sorted(groups.items()):
        found = estimate([task.score or 0.0 for task in sorted(tasks, key=lambda t: t.id)])
        assert found is not None
        candidates.append(_point(tasks[0]) | {"rank": number} | asdict(found))
    full = [candidate for candidate in candidates if candidate["n"] == most]
    winner = max(full, key=lambda candidate: (candidate["mean"], -candidate["rank"]))
    return winner | {"candidates": candidates}


def _point(task: TaskRecord) -> dict[str, Any]:
    outcome = task.outcome or {}
    return {"temperature": outcome["temperature"], "alpha": outcome["alpha"]}
