"""Read a sweep once: jobs, trainings of the comparison, looks, provenance.

Every look is another chance to be right by luck. So their number is declared in the spec, which is stored with its
hash and the time before any test image is read, and each is decided at its share of the 5 %.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

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

DIVERGED = "nan"  # the error class of a training whose loss was no longer finite

Training: TypeAlias = Job[TransferTask, StudentOutcome | None]  # of the comparison, planned or finished


def of_arm(trainings: Iterable[Training], role: str, arm: str, group: Group = FIRST) -> list[Training]:
    wanted = (role, arm, group)
    return [job for job in trainings if (job.work.role, job.work.arm, job.work.group) == wanted]


def scores_on_test(
    spec: Spec, trainings: Iterable[Training], role: str, arm: str, group: Group = FIRST
) -> dict[int, float]:
    """Return the stored test score of an arm, by repeat.

    A training that diverged counts as the worst score there is: it gave no model. Left out, it would make its arm look
    better than it is.
    """
    scores, trainings = {}, list(trainings)
    for training in of_arm(trainings, role, arm, group):
        if training.row.state == "failed" and training.row.error_class == DIVERGED:
            if (worst := _worst(spec, trainings, role)) is not None:
                scores[training.work.repeat] = worst
        elif training.outcome is not None and training.outcome.test_accuracy is not None:
            scores[training.work.repeat] = training.outcome.test_accuracy
    return scores


def _worst(spec: Spec, trainings: Iterable[Training], role: str) -> float | None:
    """Return the lowest score that can be stored; where it has no bound, the lowest of the dataset."""
    lowest, _ = spec.score.bounds
    if math.isfinite(lowest):
        return lowest
    outcomes = (training.outcome for training in trainings if training.work.role == role)
    tested = (outcome.test_accuracy for outcome in outcomes if outcome is not None)
    return min((score for score in tested if score is not None), default=None)


def scaled_scores(
    spec: Spec, trainings: Iterable[Training], role: str, arm: str, group: Group = FIRST
) -> dict[int, float]:
    """Return the same in the unit that is shown, an accuracy in percent: what the paired differences are made of."""
    scores = scores_on_test(spec, trainings, role, arm, group)
    return {repeat: spec.score.scaled(value) for repeat, value in scores.items()}


def compared(
    spec: Spec, trainings: Iterable[Training], role: str, first: str, second: str, group: Group = FIRST
) -> Paired | None:
    """Return first - second in the unit that is shown, paired by repeat; None without a repeat that both have."""
    mine = [training for training in trainings if (training.work.role, training.work.group) == (role, group)]
    difference = paired(*(scaled_scores(spec, mine, role, arm, group) for arm in (first, second)))
    if difference is None:
        return None
    ran = ({identity(spec, training) for training in of_arm(mine, role, arm, group)} for arm in (first, second))
    return Paired.of(difference, len(set.intersection(*ran) - {None}))


def contrast(spec: Spec, trainings: Sequence[Training], role: str, first: str, second: str) -> Paired | None:
    """Return the same of the first group; None as well before the look at the test of the role is complete."""
    return None if is_incomplete(trainings, role) else compared(spec, trainings, role, first, second)


def identity(spec: Spec, training: Training) -> tuple[Hashable, ...] | None:
    """Return the `training_identity` of a training; None as well where it has not finished."""
    return None if training.outcome is None else training_identity(spec, training.work, training.outcome.point)


def is_incomplete(trainings: Iterable[Training], role: str) -> bool:
    """Return whether a look at the test of a role has begun or is to come, and is not complete.

    Until then nothing that the test says is shown: a user who sees half of a look may stop where it looks good. A
    cancelled training may still come.
    """
    return any(training.row.state in TASK_AWAITED for training in trainings if training.work.role == role)


def lacks_untreated(spec: Spec, trainings: Iterable[Training], role: str) -> bool:
    """Return whether the margin is a share of a gain over an arm that is planned on a dataset, and gave nothing there.

    The margin in the unit of the score would then count, which was not declared to.
    """
    arm = spec.untreated_arm(role)
    if not spec.transfer.margin_share or arm not in spec.arms(role):
        return False
    return not any(scores_on_test(spec, trainings, role, arm, group) for group in spec.searches)


def validations(spec: Spec, trainings: Iterable[Training], role: str, arm: str) -> list[float]:
    """Return the validation score of the finished trainings of an arm, in the unit that is shown, by repeat."""
    return [spec.score.scaled(training.score) for training in of_arm(trainings, role, arm) if training.done]


@dataclass(frozen=True)
class Look:
    """One look: the plan it was taken by, and when. Times are seconds since 1970.

    number: from 1. seeds: of each arm of the first search; searches: of each teacher. first_read: when the first of its
    trainings that read the test began.
    """

    number: int
    fingerprint: str
    registered_at: float
    seeds: int
    searches: int
    first_read: float | None


@dataclass(frozen=True)
class Read:
    """A training that reads the test: its group, its repeat there, and when it began, in seconds since 1970."""

    group: Group
    repeat: int
    at: float


def looks(revisions: Sequence[RevisionRecord], reads: Sequence[Read]) -> list[Look]:
    """Return the looks of a sweep, planned ones included, from every training that reads the test, as far as it began.

    A plan with more seeds or more searches is a new look if the test was read before. What is added before any test
    image was read belongs to the first look.
    """
    numbered: list[Look] = []
    seen: list[set[tuple[Group, int]]] = []  # groups and repeats of each look and of those before it
    for revision in revisions:
        if numbered:
            latest = numbered[-1]
            if revision.fingerprint == latest.fingerprint:
                continue  # something was tried again: the same look, by the plan that it was begun with
            if latest.first_read is None or latest.first_read > revision.created_at:
                numbered.pop()  # nothing was seen of that plan's look: this one replaces it
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
    """Return how many looks have begun: the test was read at least once for each of them."""
    return len(_begun(engine, sweep_id, queries.task_records(engine, sweep_id, stage="transfer", keep=())))


def _begun(engine: sqlalchemy.Engine, sweep_id: int, rows: Iterable[TaskRecord]) -> list[Look]:
    reads = []
    for row in rows:
        work = None if row.started_at is None else read_payload(row.stage, row.payload, key=row.key)
        if isinstance(work, TransferTask) and row.started_at is not None:
            reads.append(Read(work.group, work.repeat, row.started_at))
    return [look for look in looks(queries.revisions(engine, sweep_id), reads) if look.first_read is not None]


@dataclass(frozen=True, kw_only=True)
class StoredSweep:
    """A sweep with its tasks.

    jobs: all of its tasks, in the order of the plan. looks: those that were begun. selections: by name, as stored.
    closed: the names of the closed phases.
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
        # Without their stored text: a report that goes over a network hides what the test says in one place alone.
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

    def finished(
        self, task: type[TaskT], outcome: type[OutcomeT], *, phase: phases.Phase | None = None
    ) -> list[Job[TaskT, OutcomeT]]:
        name = None if phase is None else phase.name
        mine = self.jobs if name is None else [job for job in self.jobs if job.row.phase == name]
        return finished(mine, task, outcome)

    def confirmed(self, phase: phases.Phase) -> selection.Confirmed | None:
        """Return what a confirm or recipes selected, or will; raise SweepError if it closed without a result."""
        if phase.selection in self.selections:
            return selection.read_confirmed(phase.selection, self.selections[phase.selection])
        if phase.name not in self.closed:
            return None
        done = self.finished(selection.task_of(phase), StudentOutcome)
        return selection.best(selection.confirmed_for(phase, done))


def read(engine: sqlalchemy.Engine, sweep: SweepRecord) -> StoredSweep:
    rows, spec = queries.task_records(engine, sweep.id), stored_spec(sweep).as_called()
    jobs, score = tuple(map(read_job, rows)), spec.score
    for job in jobs:
        if job.outcome is not None:
            check_bounds(score, job.outcome, job.score, key=job.key)
    return StoredSweep(
        sweep=sweep,
        spec=spec,
        jobs=jobs,
        looks=tuple(_begun(engine, sweep.id, rows)),
        selections=queries.selections(engine, sweep.id),
        closed=frozenset(phase.name for phase in queries.phase_records(engine, sweep.id) if phase.state == "closed"),
    )


@dataclass(frozen=True)
class Data:
    """A dataset of the sweep. images: for training. content_hash, split_hash: SHA-256."""

    dataset: str
    images: int
    origin: str
    content_hash: str
    split_hash: str


@dataclass(frozen=True)
class Weights:
    """Ready-made weights that a task began with. key: of the task. files: names and SHA-256."""

    key: str
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a task ran on, as recorded. threads: of a worker. versions: (package, version). commit: of the program."""

    cpu: str
    cores: str
    threads: str
    versions: tuple[tuple[str, str], ...]
    commit: str | None

    @property
    def kind(self) -> tuple[str, str]:
        """Processor and threads: seconds are compared within one kind of machine only."""
        return self.cpu, self.threads


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Everything that the section Provenance says. done, planned: tasks. wall_s: from first to last. work_s: summed.

    numerics: the fingerprints of the processes that trained students and teachers, sorted; more than one: on which of
    them a task ran decides about its last bits.
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


def provenance(stored: StoredSweep) -> Provenance:
    """Return where the results of a sweep come from, as far as it has come; one task is done at least."""
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
