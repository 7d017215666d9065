"""Read a sweep once: jobs, trainings of the comparison, looks, provenance.

A look is one planned evaluation on the test set. Every look is another chance to be right by luck, so the spec, stored
with hash and time before any test image is read, declares their number, and each is tested at its share of the level.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import sqlalchemy

from storage.records import queries
from storage.tables import TASK_AWAITED, RevisionRecord, SweepRecord, TaskRecord
from sweeps.plan import phases, selection
from sweeps.plan.jobs import (
    AnyJob,
    ConfirmTask,
    DoneJob,
    Job,
    OutcomeT,
    Payload,
    RecipeTask,
    SearchTask,
    StudentOutcome,
    TaskT,
    TrainedOutcome,
    TransferTask,
    check_bounds,
    finished,
    read_job,
    read_payload,
)
from sweeps.plan.points import training_identity
from sweeps.spec.model import Spec, parse
from sweeps.spec.stored import stored_spec
from sweeps.spec.tables import FIRST, Group
from sweeps.stats.estimates import Paired, paired

DIVERGED = "nan"  # error class of a training whose loss became infinite or NaN

Training: TypeAlias = Job[TransferTask, StudentOutcome | None]  # of the comparison, planned or finished


class Comparison(Protocol):
    """A spec with the trainings that compare its arms: `StoredSweep` and `Findings`."""

    @property
    def spec(self) -> Spec: ...
    @property
    def trainings(self) -> Sequence[Training]: ...


def of_arm(trainings: Iterable[Training], role: str, arm: str, group: Group = FIRST) -> list[Training]:
    wanted = (role, arm, group)
    return [job for job in trainings if (job.work.role, job.work.arm, job.work.group) == wanted]


def scores_on_test(sweep: Comparison, role: str, arm: str, group: Group = FIRST) -> dict[int, float]:
    """Return the stored test scores of an arm, by repeat.

    A diverged training gave no model and counts as the worst possible score: without it, its arm would look too good.
    """
    scores = {}
    for training in of_arm(sweep.trainings, role, arm, group):
        if training.row.state == "failed" and training.row.error_class == DIVERGED:
            if (worst := _worst(sweep, role)) is not None:
                scores[training.work.repeat] = worst
        elif training.outcome is not None and training.outcome.test_accuracy is not None:
            scores[training.work.repeat] = training.outcome.test_accuracy
    return scores


def _worst(sweep: Comparison, role: str) -> float | None:
    """Return the lower bound of the score or, if unbounded, the lowest score on the dataset."""
    lowest, _ = sweep.spec.score.bounds
    if math.isfinite(lowest):
        return lowest
    outcomes = (training.outcome for training in sweep.trainings if training.work.role == role)
    tested = (outcome.test_accuracy for outcome in outcomes if outcome is not None)
    return min((score for score in tested if score is not None), default=None)


def scaled_scores(sweep: Comparison, role: str, arm: str, group: Group = FIRST) -> dict[int, float]:
    """Return the test scores of an arm in the displayed unit, accuracies in percent, by repeat."""
    scores = scores_on_test(sweep, role, arm, group)
    return {repeat: sweep.spec.score.scaled(value) for repeat, value in scores.items()}


def compared(sweep: Comparison, role: str, first: str, second: str, group: Group = FIRST) -> Paired | None:
    """Return first - second in the displayed unit, paired by repeat; None without a common repeat."""
    arms = first, second
    difference = paired(*(scaled_scores(sweep, role, arm, group) for arm in arms))
    if difference is None:
        return None
    identities = ({identity(sweep.spec, run) for run in of_arm(sweep.trainings, role, arm, group)} for arm in arms)
    return Paired.of(difference, len(set.intersection(*identities) - {None}))


def contrast(sweep: Comparison, role: str, first: str, second: str) -> Paired | None:
    """Return `compared` for the first group; None too while the role's look is incomplete."""
    return None if is_incomplete(sweep.trainings, role) else compared(sweep, role, first, second)


def identity(spec: Spec, training: Training) -> tuple[Hashable, ...] | None:
    """Return the `training_identity` of a training; None too if it has not finished."""
    return None if training.outcome is None else training_identity(spec, training.work, training.outcome.point)


def is_incomplete(trainings: Iterable[Training], role: str) -> bool:
    """Return whether trainings of a role's current look are missing; cancelled ones may be resumed.

    Until then, hide all its test scores: a user who sees half of a look might stop when it looks good.
    """
    return any(training.row.state in TASK_AWAITED for training in trainings if training.work.role == role)


def lacks_untreated(sweep: Comparison, role: str) -> bool:
    """Return whether the margin is a share of the gain over a planned arm that has no result on a dataset.

    Else the margin in the unit of the score would be used, contrary to the declaration.
    """
    spec, arm = sweep.spec, sweep.spec.untreated_arm(role)
    if not spec.transfer.margin_share or arm not in spec.arms(role):
        return False
    return not any(scores_on_test(sweep, role, arm, group) for group in spec.searches)


def validations(sweep: Comparison, role: str, arm: str) -> list[float]:
    """Return the validation scores of an arm in the displayed unit, by repeat."""
    return [sweep.spec.score.scaled(run.score) for run in of_arm(sweep.trainings, role, arm) if run.done]


@dataclass(frozen=True)
class Look:
    """One look, its plan and its times in seconds since 1970.

    number: from 1. seeds: per arm of the first search; searches: per teacher. first_read: start of the first of its
    trainings that read the test set.
    """

    number: int
    fingerprint: str
    registered_at: float
    seeds: int
    searches: int
    first_read: float | None


@dataclass(frozen=True)
class Read:
    """A training that reads the test set: group, repeat, and start in seconds since 1970."""

    group: Group
    repeat: int
    at: float


def looks(revisions: Sequence[RevisionRecord], reads: Sequence[Read]) -> list[Look]:
    """Return the looks of a sweep, planned ones included.

    A plan with more seeds or searches is a new look only if the test set was read before it.

    Args:
        reads: the trainings that read the test set so far.
    """
    numbered: list[Look] = []
    seen: list[set[tuple[Group, int]]] = []  # groups and repeats up to each look
    for revision in revisions:
        if numbered:
            latest = numbered[-1]
            if revision.fingerprint == latest.fingerprint:
                continue  # a retry: the same look with the same plan
            if latest.first_read is None or latest.first_read > revision.created_at:
                numbered.pop()  # that plan's look has not begun: this one replaces it
                seen.pop()
        spec = parse(revision.spec, origin="a stored revision")
        planned = {(group, repeat) for group in spec.groups for repeat in range(spec.for_group(group).transfer.seeds)}
        new = planned - seen[-1] if seen else planned
        first = min((read.at for read in reads if (read.group, read.repeat) in new), default=None)
        plan = revision.fingerprint, revision.created_at, spec.transfer.seeds, spec.outer.searches
        numbered.append(Look(len(numbered) + 1, *plan, first))
        seen.append(planned)
    return numbered


def begun_looks(engine: sqlalchemy.Engine, sweep_id: int) -> int:
    """Return how many looks have begun, each with at least one read of the test set."""
    rows = queries.task_records(engine, sweep_id, stage="transfer", keep=())
    return len(_begun(engine, sweep_id, ((row, read_payload(row.stage, row.payload, key=row.key)) for row in rows)))


def _begun(engine: sqlalchemy.Engine, sweep_id: int, tasks: Iterable[tuple[TaskRecord, Payload]]) -> list[Look]:
    reads = [
        Read(work.group, work.repeat, row.started_at)
        for row, work in tasks
        if isinstance(work, TransferTask) and row.started_at is not None
    ]
    return [look for look in looks(queries.revisions(engine, sweep_id), reads) if look.first_read is not None]


@dataclass(frozen=True, kw_only=True)
class StoredSweep:
    """A sweep with its tasks.

    jobs: all tasks in the order of the plan. looks: those begun. selections: as stored, by name. closed: names of the
    closed phases.
    """

    sweep: SweepRecord
    spec: Spec
    jobs: tuple[AnyJob, ...]
    looks: tuple[Look, ...]
    selections: Mapping[str, Mapping[str, Any]]
    closed: frozenset[str]

    @cached_property
    def done(self) -> tuple[DoneJob, ...]:
        return tuple(Job(job.row, job.work, job.outcome) for job in self.jobs if job.outcome is not None)

    @cached_property
    def trainings(self) -> tuple[Training, ...]:
        return self._students(TransferTask)

    @property
    def searched(self) -> tuple[Job[SearchTask | ConfirmTask | RecipeTask, StudentOutcome | None], ...]:
        return self._students(SearchTask, ConfirmTask, RecipeTask)

    def _students(self, *kinds: type[TaskT]) -> tuple[Job[TaskT, StudentOutcome | None], ...]:
        # Without stored JSON: before a report goes over a network, test scores have to be hidden in one place only.
        return tuple(
            Job(
                replace(job.row, payload={}, outcome=None),
                job.work,
                job.outcome if isinstance(job.outcome, StudentOutcome) else None,
            )
            for job in self.jobs
            if isinstance(job.work, kinds)
        )

    @property
    def rows(self) -> list[TaskRecord]:
        return [job.row for job in self.jobs]

    def progress(self, role: str) -> tuple[int, int, int]:
        """Return how many trainings of the first teacher on a role are done, may still come, and are planned."""
        searches = self.spec.searches
        states = [job.row.state for job in self.trainings if job.work.role == role and job.work.group in searches]
        return states.count("done"), sum(state in TASK_AWAITED for state in states), len(states)

    def finished(
        self, task: type[TaskT], outcome: type[OutcomeT], *, phase: phases.Phase | None = None
    ) -> list[Job[TaskT, OutcomeT]]:
        return finished(self.jobs if phase is None else self.of_phase(phase), task, outcome)

    def of_phase(self, phase: phases.Phase) -> list[AnyJob]:
        return self._by_phase.get(phase.name, [])

    @cached_property
    def _by_phase(self) -> dict[str, list[AnyJob]]:
        grouped: dict[str, list[AnyJob]] = {}
        for job in self.jobs:
            grouped.setdefault(job.row.phase, []).append(job)
        return grouped

    def confirmed(self, phase: phases.Phase) -> selection.Confirmed | None:
        """Return what a phase selected; None while it is open. Raise SweepError if it closed without a result."""
        if phase.selection in self.selections:
            return selection.read_confirmed(phase.selection, self.selections[phase.selection])
        if phase.name not in self.closed:
            return None
        done = self.finished(selection.task_of(phase), StudentOutcome)
        return selection.best(selection.confirmed_for(phase, done))


def read(engine: sqlalchemy.Engine, sweep: SweepRecord) -> StoredSweep:
    spec = stored_spec(sweep).as_called()
    jobs, score = tuple(map(read_job, queries.task_records(engine, sweep.id))), spec.score
    for job in jobs:
        if job.outcome is not None:
            check_bounds(score, job.outcome, job.score, key=job.key)
    return StoredSweep(
        sweep=sweep,
        spec=spec,
        jobs=jobs,
        looks=tuple(_begun(engine, sweep.id, ((job.row, job.work) for job in jobs))),
        selections=queries.selections(engine, sweep.id),
        closed=frozenset(phase.name for phase in queries.phase_records(engine, sweep.id) if phase.state == "closed"),
    )


@dataclass(frozen=True)
class Data:
    """A dataset of the sweep. images: number for training. content_hash, split_hash: SHA-256."""

    dataset: str
    images: int
    origin: str
    content_hash: str
    split_hash: str


@dataclass(frozen=True)
class Weights:
    """Pretrained weights that a task started from. key: of the task. files: names and SHA-256."""

    key: str
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine of a task, as recorded. threads: per worker. versions: (package, version). commit: of kd-sweeps."""

    cpu: str
    cores: str
    threads: str
    versions: tuple[tuple[str, str], ...]
    commit: str | None

    @property
    def kind(self) -> tuple[str, str]:
        """Processor and threads: seconds are comparable only within one kind of machine."""
        return self.cpu, self.threads


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the results come from. done, planned: numbers of tasks. wall_s: from first to last. work_s: summed.

    numerics: sorted fingerprints of the processes that trained students and teachers; if there are several, the last
    bits of a result depend on which one trained it.
    """

    data: tuple[Data, ...]
    weights: tuple[Weights, ...]
    machines: tuple[Machine, ...]
    done: int
    planned: int
    wall_s: float
    work_s: float
    numerics: tuple[str, ...]

    @property
    def machine_kinds(self) -> list[tuple[str, str]]:
        return sorted({machine.kind for machine in self.machines})

    @property
    def threads(self) -> list[str]:
        """The numbers of threads per worker; with ["1"] alone, work_s is in core-seconds."""
        return sorted({machine.threads for machine in self.machines})


def provenance(stored: StoredSweep) -> Provenance:
    """Return where the results of a sweep with at least one finished task come from."""
    records = [done.row for done in stored.done]
    trained = [(done.key, done.outcome) for done in stored.done if isinstance(done.outcome, TrainedOutcome)]
    return Provenance(
        data=_data(stored.spec, [outcome for _, outcome in trained]),
        weights=tuple(Weights(key, tuple(outcome.weights.values())) for key, outcome in trained if outcome.weights),
        machines=tuple(dict.fromkeys(_machine(done.outcome.provenance) for done in stored.done)),
        done=len(records),
        planned=len(stored.jobs),
        wall_s=max(t.finished_at or 0 for t in records) - min(t.started_at or 0 for t in records),
        work_s=sum((t.finished_at or 0) - (t.started_at or 0) for t in records),
        numerics=tuple(sorted({outcome.numerics for _, outcome in trained if outcome.numerics})),
    )


def _data(spec: Spec, trained: Sequence[TrainedOutcome]) -> tuple[Data, ...]:
    datasets = []
    for role in spec.roles:
        dataset, images = spec.role(role).dataset, spec.kind.examples(spec, role)
        data = next((outcome.data for outcome in trained if outcome.dataset == dataset), None)
        if data is not None:
            datasets.append(Data(dataset, images, data.origin, data.content_hash, data.split_hash))
    return tuple(datasets)


def _machine(recorded: Mapping[str, Any]) -> Machine:
    return Machine(
        cpu=str(recorded.get("cpu")),
        cores=str(recorded.get("cores")),
        threads=str(recorded.get("threads")),
        versions=tuple((name, version) for name, version in recorded.get("versions", {}).items() if version),
        commit=recorded.get("git_commit"),
    )
