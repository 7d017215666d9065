"""Check the claims of a file: its results, selections, verdicts and trials.

This proves that a file is consistent: an edited score needs edits in everything that follows from it. Only `replay`
proves that the scores come from these trainings.
"""

import hashlib
import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import sqlalchemy

from storage.audit.checks import Finding
from storage.audit.rows import read_rows
from storage.errors import ArchiveBroken, StorageError
from storage.records import queries
from storage.studies.mirror import Undrawn
from storage.studies.space import Trial, study_name
from storage.tables import UNREADABLE, SweepRecord
from sweeps.contrib.archive.file import Archive, open_archive
from sweeps.contrib.archive.lines import AttemptLine, SelectionLine, SweepLines, TaskLine, VerdictClaim, opened
from sweeps.errors import SweepError
from sweeps.extensions import require
from sweeps.findings.load import StoredSweep, read
from sweeps.findings.verdicts import TargetVerdict, verdicts
from sweeps.plan import audit, identity, jobs, phases, points, selection, trials
from sweeps.spec.model import Spec, parse
from sweeps.spec.stored import stored_spec
from sweeps.trainers.score import Score

UNPROVEN = (
    "not checked, since nothing in the file proves them: seconds and latencies, the test accuracy of teachers and"
    " comparison methods, and the int8 values"
)
_TESTED_ALIKE = 0.005  # rounding on another kind of machine may change the class of a few test images
_MOST_MISSING = 100
"""Trials of a study that belong to no attempt (of other tools, of workers that died), beyond one for each that does.
They are created one by one, so an edited number would lock the storage for minutes."""


@dataclass(frozen=True)
class Check:
    """One claim of a file. differs: what the file contains instead, in a few words; "" if the claim holds."""

    what: str
    differs: str = ""


def answers(lines: SweepLines) -> tuple[str | None, list[VerdictClaim]]:
    with opened(lines) as (engine, sweep):
        stored = read_stored(engine, sweep)
    return identity.answer_hash(stored.rows), list(map(_claim, verdicts(stored)))


def read_stored(engine: sqlalchemy.Engine, sweep: SweepRecord) -> StoredSweep:
    """Read the sweep of a file. Raises RecordBroken where a payload does not fit its task."""
    roles = (None, *stored_spec(sweep).roles)
    for row in queries.task_records(engine, sweep.id, keep=()):
        if (role := jobs.read_payload(row.stage, row.payload, key=row.key).role) not in roles:
            raise jobs.edited(f"payload of {row.key}", f"role is {role!r}, and the spec has none of that name")
    return read(engine, sweep)


def _claim(target: TargetVerdict) -> VerdictClaim:
    if target.verdict is None:
        return VerdictClaim(dataset=target.dataset, word=None, regret=None, low=None, high=None)
    regret = target.verdict.regret
    return VerdictClaim(
        dataset=target.dataset, word=target.verdict.word, regret=regret.mean, low=regret.low, high=regret.high
    )


def fact_checks(stored: StoredSweep, sizes: Mapping[str, int]) -> Iterator[Check]:
    """Yield the differences in sizes, parameters and test scores, or one check that none differs.

    sizes: of the blobs, in bytes, by digest.
    """
    wrong = [*_other_networks(stored), *_taken(stored), *_measured(stored, sizes)]
    yield from wrong or [Check(f"facts: sizes, parameters and test {stored.spec.score.plural} agree")]


def _other_networks(stored: StoredSweep) -> Iterator[Check]:
    if not stored.spec.kind.features.one_size:
        return
    first: dict[str, tuple[str, int]] = {}
    for done in stored.done:
        payload, outcome = done.work, done.outcome
        if not isinstance(payload, jobs.StudentTask) or not isinstance(outcome, jobs.StudentOutcome):
            continue
        if isinstance(payload, jobs.TransferTask) and stored.spec.arm(payload.arm).chosen_in:
            continue  # another network
        key, expected = first.setdefault(payload.role, (done.key, outcome.parameters))
        if outcome.parameters != expected:
            text = f"it says {outcome.parameters} parameters, and {key}, of the same network, {expected}"
            yield Check(f"outcome of {done.key}", text)


def _taken(stored: StoredSweep) -> Iterator[Check]:
    """Yield trainings that claim to be another one that is missing or has another result."""
    students = {done.key: done for done in stored.finished(jobs.TransferTask, jobs.StudentOutcome)}
    for key, done in students.items():
        if not (same := done.outcome.same_as):
            continue
        other = students.get(same)
        if other is None or other.outcome.same_as or _identity(stored, other) != _identity(stored, done):
            yield Check(f"outcome of {key}", f"it claims to be {same}, which is not one of its trainings")
        elif (other.score, other.outcome.test_accuracy) != (done.score, done.outcome.test_accuracy):
            yield Check(f"outcome of {key}", f"it claims to be {same}, which has another result")


def _identity(stored: StoredSweep, done: jobs.Job[jobs.TransferTask, jobs.StudentOutcome]) -> object:
    same = points.training_identity(stored.spec, done.work, done.outcome.point)
    return None if same is None else (done.work.role, done.work.group, same)


def _measured(stored: StoredSweep, sizes: Mapping[str, int]) -> Iterator[Check]:
    # The last measurement is the one in the report, and includes models that were trained again.
    measured = [entry for entry in stored.done if isinstance(entry.work, jobs.MeasureTask)]
    if not measured or not isinstance(measured[-1].outcome, jobs.MeasureOutcome):
        return
    task, models = measured[-1], measured[-1].outcome.models
    name, called = ("test_accuracy", "accuracy") if phases.scores_alone(stored.spec) else ("latency_ms_p50", "latency")
    if models and task.score not in [getattr(model, name) for model in models.values()]:
        yield Check(f"outcome of {task.key}", f"its score is {task.score}, and no {called} is")
    trainings = {done.key: done.outcome for done in stored.done}
    yield from _scored(stored, models)
    for key, model in models.items():
        what, outcome = f"{task.key} of {key}", trainings.get(key)
        if not isinstance(outcome, jobs.TeacherOutcome | jobs.StudentOutcome | jobs.BaselineOutcome):
            yield Check(what, "that training is missing")
            continue
        if "model" not in outcome.blobs:
            yield Check(what, "that training kept no model")
        size = sizes.get(outcome.blobs.get("model", ""))
        if None not in (model.bytes, size) and model.bytes != size:
            yield Check(what, f"it says {model.bytes} bytes, and the model in the file has {size}")
        if model.parameters not in (None, outcome.parameters):
            yield Check(what, f"it says {model.parameters} parameters, and the training {outcome.parameters}")
        tested = outcome.test_accuracy if isinstance(outcome, jobs.StudentOutcome) else None
        if model.test_accuracy is None or tested is None:
            continue
        if abs(model.test_accuracy - tested) > _TESTED_ALIKE:
            yield Check(what, f"it says test accuracy {model.test_accuracy:.4f}, and the training {tested:.4f}")


def _scored(stored: StoredSweep, models: Mapping[str, jobs.Measured]) -> Iterator[Check]:
    # The last measurement took over the scores, except of models that were trained again since.
    blobs = {done.key: done.outcome.blobs for done in stored.done}
    for done in stored.finished(jobs.ScoreTask, jobs.ScoreOutcome):
        for key, scored in done.outcome.models.items():
            if key not in models or blobs.get(key, {}).get("model") != scored.digest:
                continue
            for name in ("test_accuracy", "int8_bytes", "int8_test_accuracy", "int8_test_images", "int8_reason"):
                if (copied := getattr(scored, name)) != (measured := getattr(models[key], name)):
                    yield Check(f"{done.key} of {key}", f"it says {name} {copied}, and the last measurement {measured}")


def selection_checks(stored: StoredSweep, lines: SweepLines) -> Iterator[Check]:
    """Yield a check of each selection, and of each missing one that a task has read."""
    own = _own_selections(stored)
    for line in lines.selections:
        yield _own_selection(stored, lines, line) if line.name in own else _selection(stored, lines, line)
    names = {line.name for line in lines.selections}
    for name, key in _read_by(stored, lines).items():
        if name not in names:
            yield Check(f"selection {name}", f"it is missing, and {key} was trained with it")


def _read_by(stored: StoredSweep, lines: SweepLines) -> Mapping[str, str]:
    """Return the names of the selections that tasks have read, each with the key of the first such task."""
    begun = {attempt.task for attempt in lines.attempts if attempt.params is not None}
    readers: dict[str, str] = {}
    own = _own_selections(stored)
    for task in stored.jobs:
        name = _needed(stored.spec, task.work)
        reads_early = task.key in begun and name not in own  # own selections are made after the point
        if name and (reads_early or task.done):
            readers.setdefault(name, task.key)
    return readers


def _own_selections(stored: StoredSweep) -> set[str]:
    spec = stored.spec
    return {name for role in spec.roles for arm in spec.arms(role) if (name := spec.kind.own_selection(role, arm))}


def _needed(spec: Spec, payload: jobs.Payload) -> str:
    """Return the selection that a task reads, or ""."""
    if isinstance(payload, jobs.ConfirmTask):
        return "" if payload.arm else payload.ranks.selection
    if not isinstance(payload, jobs.TransferTask):
        return ""
    if name := spec.kind.own_selection(payload.role, payload.arm):
        return name
    if spec.arm(payload.arm).candidates:
        return phases.Phase.recipes(payload.role).selection
    selects = spec.arm(payload.arm).selects
    if not selects:
        return ""
    return phases.Phase.confirm(payload.role if selects == "own" else "source", payload.group).selection


def _own_selection(stored: StoredSweep, lines: SweepLines, line: SelectionLine) -> Check:
    what = f"selection {line.name}"
    try:
        # It was frozen with the seeds planned at that time.
        specs = [parse(revision.spec, origin=what) for revision in lines.revisions]
    except SweepError as error:
        return Check(what, f"it cannot be made: {error}")
    return Check(what, stored.spec.kind.selection_problem(stored, line.name, line.value, (*specs, stored.spec)))


def _selection(stored: StoredSweep, lines: SweepLines, line: SelectionLine) -> Check:
    what = f"selection {line.name}"
    # A retry may have added results since it was frozen, and a clock may have been set back.
    for keys in (_done_by(lines, line.created_at), _done_by(lines, math.inf)):
        try:
            expected = _selected(stored, line.name, keys)
        except (KeyError, ValueError, SweepError, StorageError) as error:
            return Check(what, f"it cannot be made from the scores: {error}")
        if audit.alike(expected, line.value):
            return Check(what)
    return Check(what, f"the scores give {_short(expected)}, it says {_short(line.value)}")


def _selected(stored: StoredSweep, name: str, keys: Container[str]) -> dict[str, Any]:
    """Compute the selection of that name from the scores of the tasks with these keys."""
    phase = phases.Phase.of_selection(name)
    trained = stored.finished(selection.task_of(phase), jobs.StudentOutcome)
    confirms = [done for done in trained if done.key in keys]
    if not (phase.is_search or phase.round):
        return selection.best(selection.confirmed_for(phase, confirms)).as_json()
    top = _top(stored, phase)
    if phase.is_search:
        searched = stored.finished(jobs.SearchTask, jobs.StudentOutcome, phase=phase)
        ranks = selection.rank([done for done in searched if done.key in keys], top)
    else:
        ranks = selection.survivors(selection.confirmed_for(phase, confirms), top)
    return {"ranks": [ranked.as_json() for ranked in ranks]}


def _done_by(lines: SweepLines, moment: float) -> set[str]:
    ended = [line for line in lines.attempts if line.finished_at is not None and line.finished_at <= moment]
    return {line.task for line in ended if line.state == "done" or line.error_class == UNREADABLE}


def _top(stored: StoredSweep, phase: phases.Phase) -> int:
    # As many ranks as the trainings that read it need.
    for task in stored.jobs:
        if isinstance(task.work, jobs.ConfirmTask) and task.work.ranks == phase:
            return points.points_of(stored.spec, task.work) or 0
    raise SweepError("no task reads it")


_BESIDE = ("more", "task", "rank", "low", "high", "n", "candidates")  # keys besides a point and its score


def _short(value: dict[str, Any]) -> str:
    ranks = value.get("ranks", [value])
    if not (isinstance(ranks, list) and ranks and isinstance(ranks[0], dict)):
        return repr(value)[:60]
    more = ranks[0].get("more")
    flat = ranks[0] | (more if isinstance(more, dict) else {})
    first = ", ".join(f"{key} {flat[key]}" for key in flat if key not in _BESIDE)
    return first + (f" and {len(ranks) - 1} more" if len(ranks) > 1 else "")


def _trials_of(lines: SweepLines, study: str, spec: Spec) -> list[Trial]:
    """Return the trials of a study in the order of their numbers, which they keep.

    A number without an attempt was a trial of another tool, or of a worker that died before it saved the number; a
    failed trial takes its place. Of two attempts with one number, the later began in a recreated study.
    """
    tasks = {task.key: task for task in lines.tasks}
    numbered: dict[int, AttemptLine] = {}
    for attempt in sorted(lines.attempts, key=lambda line: line.started_at):
        if attempt.trial_number is not None and attempt.study == study:
            numbered[attempt.trial_number] = attempt
    count = max(numbered, default=-1) + 1
    if count > (most := 2 * len(numbered) + _MOST_MISSING):
        raise ArchiveBroken(
            f"{len(numbered)} attempts name trials of study {study}, with numbers up to {count - 1:,}; allowed: numbers"
            f" up to {most - 1:,}, the trials of other tools included"
        )
    at = lines.sweep.created_at
    failure = {"reason": "no task of the sweep has this trial, so it was not in the archive"}
    foreign = Trial(state="FAIL", attrs={"failure": failure}, started_at=at, ended_at=at)
    known = {number: _trial(spec, attempt, tasks[attempt.task]) for number, attempt in numbered.items()}
    return [known.get(number, foreign) for number in range(count)]


def _trial(spec: Spec, attempt: AttemptLine, task: TaskLine) -> Trial:
    row = attempt.model_dump() | {name: getattr(task, name) for name in ("key", "stage", "payload", "outcome")}
    names = [field.name for field in fields(Undrawn)]
    return trials.trial_of(spec, Undrawn(**{name: row[name] for name in names if name != "task_id"}, task_id=0))


def trials_of(lines: SweepLines, spec: Spec) -> dict[str, list[Trial]]:
    """Return the trials of each stage's study. lines: without a running attempt."""
    return {stage: _trials_of(lines, study_name(lines.sweep.name, stage), spec) for stage in phases.STAGES}


def verify(path: Path) -> list[Check]:
    require("train", "verify")
    with open_archive(path) as archive:
        return list(consistency_checks(archive))


def consistency_checks(archive: Archive) -> Iterator[Check]:
    for name, sha256 in archive.manifest.files.items():
        actual = archive.sha256(name)
        differs = "" if actual == sha256 else f"it was changed: its SHA-256 is {actual[:12]}"
        yield Check(f"{name} {sha256[:12]}", differs)
    hashes = {digest: _hash(archive, digest) for digest in archive.digests}
    yield from _blobs(archive.lines, hashes)
    blobs = {digest: (0, digest) for digest in archive.lines.digests}  # blobs are checked above
    violations: list[Finding] = []
    try:
        with opened(archive.lines) as (engine, sweep):
            rows = read_rows(engine, sweep.id, with_trials=False)
            violations = audit.judge(replace(rows, blobs=blobs)).violations
            yield from (Check("audit", finding.text) for finding in violations)
            stored = read_stored(engine, sweep)
    except (StorageError, SweepError) as error:  # edited; all other checks are computed from these lines
        if not violations:
            yield Check("the lines can be read", str(error))
        return
    try:
        trials_of(archive.lines.at_rest(), stored.spec)
    except StorageError as error:
        yield Check("its trials can be made", str(error))
    if not violations:
        yield Check(f"audit: {len(rows.tasks)} tasks as planned, each with one result or none")
    yield from selection_checks(stored, archive.lines)
    yield from fact_checks(stored, {digest: size for digest, (size, _) in hashes.items()})
    yield from _answers(archive)


def _hash(archive: Archive, digest: str) -> tuple[int, str]:
    try:
        data = archive.blob(digest)
    except ArchiveBroken:  # its bytes do not even match the checksum of the zip
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


def _answers(archive: Archive) -> Iterator[Check]:
    claimed = archive.manifest
    try:
        actual_hash, verdicts = answers(archive.lines)
        score = parse(archive.lines.revisions[-1].spec).score
    except (StorageError, SweepError) as error:  # for example an edited selection
        yield Check("verdicts and answer hash can be computed", str(error))
        return
    by_dataset = {actual.dataset: actual for actual in verdicts}
    for claim in claimed.verdicts:
        actual = by_dataset.pop(claim.dataset, None)
        differs = "" if actual is not None and _same(claim, actual) else f"the scores give {_worded(score, actual)}"
        yield Check(f"verdict on {claim.dataset}: {_worded(score, claim)}", differs)
    for actual in by_dataset.values():
        yield Check(f"verdict on {actual.dataset}", f"the file claims none, the scores give {_worded(score, actual)}")
    computed = actual_hash or "none, since they have not ended"
    differs = "" if actual_hash == claimed.answer_hash else f"the tasks give {computed}"
    yield Check(f"answer hash {claimed.answer_hash or 'none: not ended yet'}", differs)


def _same(claim: VerdictClaim, actual: VerdictClaim) -> bool:
    pairs = ((claim.regret, actual.regret), (claim.low, actual.low), (claim.high, actual.high))
    return claim.word == actual.word and all(audit.alike(claimed, computed) for claimed, computed in pairs)


def _worded(score: Score, claim: VerdictClaim | None) -> str:
    if claim is None or claim.word is None or claim.regret is None:
        return "none yet"
    values = [value for value in (claim.regret, claim.low, claim.high) if value is not None]
    digits = score.decimals(2, *values)
    interval = ""
    if claim.low is not None and claim.high is not None:
        interval = f" [{claim.low:+.{digits}f}, {claim.high:+.{digits}f}]"
    return score.amount(f"{claim.word}, regret {claim.regret:+.{digits}f}{interval}")
