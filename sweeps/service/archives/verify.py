"""Check an archive: compute what it claims from what it holds, with the code that made the claims.

It shows that a file agrees with itself: whoever edits a score has to edit everything that follows from it, too. That
the scores are those of these trainings shows `replay` alone.
"""

import hashlib
import math
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from storage.archive.lines import AttemptLine, SelectionLine, SweepLines, VerdictClaim
from storage.archive.rows import opened
from storage.archive.zip_file import Archive, open_archive
from storage.audit.audit import judge
from storage.audit.rows import read_rows
from storage.errors import ArchiveBroken, StorageError
from storage.queue.error_classes import UNREADABLE
from sweeps.analysis.stored import StoredSweep
from sweeps.errors import SweepError
from sweeps.plan import selection
from sweeps.plan.names import untagged
from sweeps.plan.outcomes import StudentOutcome
from sweeps.plan.payloads import ConfirmTask, SearchTask
from sweeps.plan.points import points_of
from sweeps.service.archives.archive import answers, read_stored

_CLOSE = 1e-9  # relative: the last digits of an interval may be others with another mathematical library


@dataclass(frozen=True)
class Check:
    """One thing that a file claims. differs: what it holds instead, in a few words; "" if it is as claimed."""

    what: str
    differs: str = ""


def verify(path: Path) -> list[Check]:
    """Return everything that a file claims, and whether it is so.

    Raises:
        storage.errors.ArchiveBroken: the file cannot be read, or is none.
    """
    with open_archive(path) as archive:
        return list(_checks(archive))


def _checks(archive: Archive) -> Iterator[Check]:
    for name, sha256 in archive.manifest.files.items():
        found = archive.sha256(name)
        yield Check(f"{name} {sha256[:12]}", "" if found == sha256 else f"it was changed: its SHA-256 is {found[:12]}")
    hashes = {digest: _hash(archive, digest) for digest in archive.digests}
    yield from _blobs(archive.lines, hashes)
    try:
        with opened(archive.lines) as (engine, sweep):
            rows = read_rows(engine, sweep.id, with_trials=False)
            stored = read_stored(engine, sweep)
    except (StorageError, SweepError) as error:  # somebody edited what everything else is computed from
        yield Check("the lines can be read", str(error))
        return
    there = {digest: (0, digest) for digest in archive.lines.digests}  # they have lines of their own
    violations = judge(replace(rows, blobs=there)).violations
    yield from (Check("audit", finding.text) for finding in violations)
    if not violations:
        yield Check(f"audit: {len(rows.tasks)} tasks as planned, each with one result or none")
    for one in archive.lines.selections:
        yield _selection(stored, archive.lines, one)
    yield from _answers(archive)


def _hash(archive: Archive, digest: str) -> tuple[int, str]:
    try:
        data = archive.blob(digest)
    except ArchiveBroken:  # its bytes are not even what the zip says of them
        return 0, "unreadable"
    return len(data), hashlib.sha256(data).hexdigest()


def _blobs(lines: SweepLines, hashes: dict[str, tuple[int, str]]) -> Iterator[Check]:
    for digest, key in lines.digests.items():
        what = f"blob {digest[:12]} of {key}"
        if digest not in hashes:
            yield Check(what, "it is missing")
        elif hashes[digest][1] != digest:
            yield Check(what, f"it was changed: its SHA-256 is {hashes[digest][1][:12]}")
        else:
            yield Check(what)
    for digest in sorted(hashes.keys() - lines.digests.keys()):
        yield Check(f"blob {digest[:12]}", "no task names it")


def _selection(stored: StoredSweep, lines: SweepLines, one: SelectionLine) -> Check:
    what = f"selection {one.name}"
    # A retry may have brought further results since it was frozen; and a clock may have been put back.
    for there in (_done_by(lines, one.created_at), _done_by(lines, math.inf)):
        try:
            found = _selected(stored, one.name, there)
        except (KeyError, ValueError, SweepError, StorageError) as error:
            return Check(what, f"it cannot be made from the scores: {error}")
        if _alike(found, one.value):
            return Check(what)
    return Check(what, f"the scores give {_short(found)}, it says {_short(one.value)}")


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_CLOSE)
    return type(one) is type(other) and bool(one == other)


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


def _answers(archive: Archive) -> Iterator[Check]:
    claimed = archive.manifest
    found, verdicts = answers(archive.lines)
    by_dataset = {one.dataset: one for one in verdicts}
    for claim in claimed.verdicts:
        one = by_dataset.pop(claim.dataset, None)
        differs = "" if one is not None and _same(claim, one) else f"the scores give {_said(one)}"
        yield Check(f"verdict on {claim.dataset}: {_said(claim)}", differs)
    for one in by_dataset.values():
        yield Check(f"verdict on {one.dataset}", f"the file claims none, the scores give {_said(one)}")
    differs = "" if found == claimed.answer_hash else f"the tasks give {found or 'none, since they have not ended'}"
    yield Check(f"answer hash {claimed.answer_hash or 'none: not ended yet'}", differs)


def _same(claim: VerdictClaim, found: VerdictClaim) -> bool:
    pairs = ((claim.regret, found.regret), (claim.low, found.low), (claim.high, found.high))
    return claim.word == found.word and all(_alike(one, other) for one, other in pairs)


def _said(one: VerdictClaim | None) -> str:
    if one is None or one.word is None or one.regret is None:
        return "none yet"
    interval = "" if one.low is None or one.high is None else f" [{one.low:+.2f}, {one.high:+.2f}]"
    return f"{one.word}, regret {one.regret:+.2f}{interval} points"
