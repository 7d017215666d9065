"""Check the selections of an archive: those that have to be there, each as the scores give it."""

import math
from collections.abc import Container, Iterator, Mapping
from typing import Any

from storage.archive.lines import AttemptLine, SelectionLine, SweepLines
from storage.errors import StorageError
from storage.tables import UNREADABLE
from sweeps.analysis.stored import StoredSweep
from sweeps.errors import SweepError
from sweeps.plan import selection
from sweeps.plan.audit import alike
from sweeps.plan.names import best_of, untagged
from sweeps.plan.outcomes import StudentOutcome
from sweeps.plan.payloads import ConfirmTask, Payload, SearchTask, TransferTask
from sweeps.plan.points import points_of
from sweeps.service.archives.checks import Check
from sweeps.spec.arms import DEFAULT_POINTS
from sweeps.spec.model import parse
from sweeps.workers.same_cost import Macs, same_cost

_SAME_COST = "same-cost."  # with the role of its dataset
_SAME_COST_ARM = "scratch-same-cost"


def selection_checks(stored: StoredSweep, lines: SweepLines) -> Iterator[Check]:
    """Yield a check of each selection that is there, and one of each that a task read and that is not there."""
    for one in lines.selections:
        yield _same_cost(stored, lines, one) if one.name.startswith(_SAME_COST) else _selection(stored, lines, one)
    there = {one.name for one in lines.selections}
    for name, key in _read_by(stored, lines).items():
        if name not in there:
            yield Check(f"selection {name}", f"it is missing, and {key} was trained with it")


def _read_by(stored: StoredSweep, lines: SweepLines) -> Mapping[str, str]:
    """Return what tasks have read, by its name, each with the key of the first such task."""
    begun = {attempt.task for attempt in lines.attempts if attempt.params is not None}
    found: dict[str, str] = {}
    for task, payload in zip(stored.tasks, stored.payloads, strict=True):
        name = _needed(payload)
        asked = task.key in begun and not name.startswith(_SAME_COST)  # that one is made after the point
        if name and (asked or task.state == "done"):
            found.setdefault(name, task.key)
    return found


def _needed(payload: Payload) -> str:
    """Return the selection that a task with that payload reads; "": none."""
    if isinstance(payload, ConfirmTask):
        return payload.ranks
    if not isinstance(payload, TransferTask):
        return ""
    if payload.arm == _SAME_COST_ARM:
        return f"{_SAME_COST}{payload.role}"
    if payload.arm in DEFAULT_POINTS or payload.arm == "random":
        return ""
    return best_of(payload.role if payload.arm == "native" else "source", payload.group)


def _same_cost(stored: StoredSweep, lines: SweepLines, one: SelectionLine) -> Check:
    """Check the epochs of scratch-same-cost: they follow from the operations that stand beside them."""
    what, role = f"selection {one.name}", one.name.removeprefix(_SAME_COST)
    told = {name: value for name, value in one.value.items() if name != "epochs"}
    try:
        macs = {name: Macs(**{part: int(of[part]) for part in ("student", "teacher")}) for name, of in told.items()}
        # It was frozen with the seeds that were planned then.
        specs = [parse(revision.spec, origin=what) for revision in lines.revisions]
        found = [same_cost(spec, macs, role) for spec in (*specs, stored.spec)]
    except (ArithmeticError, KeyError, TypeError, ValueError, SweepError, StorageError) as error:
        return Check(what, f"it cannot be made from its operations: {error}")
    epochs = one.value.get("epochs")
    if type(epochs) is not int or epochs not in found:
        return Check(what, f"its operations give {found[-1]} epochs, it says {epochs!r}")
    for done in stored.finished(TransferTask, StudentOutcome):
        mine = (done.payload.arm, done.payload.role) == (_SAME_COST_ARM, role)
        if mine and done.outcome.epochs != epochs:
            return Check(what, f"{done.record.key} trained {done.outcome.epochs} epochs, it says {epochs}")
    return Check(what)


def _selection(stored: StoredSweep, lines: SweepLines, one: SelectionLine) -> Check:
    what = f"selection {one.name}"
    # A retry may have brought further results since it was frozen; and a clock may have been put back.
    for there in (_done_by(lines, one.created_at), _done_by(lines, math.inf)):
        try:
            found = _selected(stored, one.name, there)
        except (KeyError, ValueError, SweepError, StorageError) as error:
            return Check(what, f"it cannot be made from the scores: {error}")
        if alike(found, one.value):
            return Check(what)
    return Check(what, f"the scores give {_short(found)}, it says {_short(one.value)}")


def _selected(stored: StoredSweep, name: str, there: Container[str]) -> dict[str, Any]:
    """Return the selection of that name as it is made from the scores of the tasks that were `there`, by their keys."""
    phase, base = selection.phase_of(name), untagged(name)[0].partition(":")[0]
    confirms = [done for done in stored.finished(ConfirmTask, StudentOutcome) if done.record.key in there]
    if base in ("confirm.best", "native.best"):
        return selection.best(selection.confirmed_for(name, confirms)).as_json()
    top = _top(stored, name)
    if base in ("search.ranks", "native.ranks"):
        searched = stored.finished(SearchTask, StudentOutcome, phase=phase)
        ranks = selection.rank([done for done in searched if done.record.key in there], top)
    else:
        ranks = selection.survivors(selection.confirmed_for(name, confirms), top)
    return {"ranks": [ranked.as_json() for ranked in ranks]}


def _done_by(lines: SweepLines, moment: float) -> set[str]:
    """Return the keys of the tasks that had a result at that moment."""

    def counted(attempt: AttemptLine) -> bool:
        ended = attempt.finished_at is not None and attempt.finished_at <= moment
        return ended and (attempt.state == "done" or attempt.error_class == UNREADABLE)

    return {attempt.task for attempt in lines.attempts if counted(attempt)}


def _top(stored: StoredSweep, name: str) -> int:
    """Return how many ranks a selection of that name has at most: as many as the trainings that read it need."""
    for payload in stored.payloads:
        if isinstance(payload, ConfirmTask) and payload.ranks == name:
            return points_of(stored.spec, payload) or 0
    raise SweepError("no task reads it")


def _short(value: dict[str, Any]) -> str:
    """Return the first point of a selection, and how many it has."""
    ranks = value.get("ranks", [value])
    if not (isinstance(ranks, list) and ranks and isinstance(ranks[0], dict)):
        return repr(value)[:60]
    first = ", ".join(
        f"{key} {ranks[0].get(key)}" for key in ("temperature", "alpha", "score", "mean") if key in ranks[0]
    )
    return first + (f" and {len(ranks) - 1} more" if len(ranks) > 1 else "")
