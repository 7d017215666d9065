"""Read a sweep once: jobs, trainings of the comparison, looks, provenance.

Every look is another chance to be right by luck. So their number is declared in the spec, which is stored with its
hash and the time before any test image is read, and each is decided at its share of the 5 %.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy

from storage.records import queries
from storage.tables import TASK_AWAITED, RevisionRecord, SweepRecord, TaskRecord
from sweeps.distill.arms import AUTOKERAS_ARM, CONTROLS
from sweeps.plan import jobs, selection
from sweeps.plan.phases import groups
from sweeps.plan.selection import Confirmed
from sweeps.spec.model import Spec, parse
from sweeps.spec.stored import stored_spec
from sweeps.stats.estimates import Paired, paired, percent

DIVERGED = "nan"  # the error class of a training whose loss was no longer finite


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training of transfer, planned or finished.

    group: the teacher and search of an outer level, "" is the first. state: as in the storage, such as "done".
    reason, error_class: why it failed or was skipped. score: what it is ranked by, a fraction in [0, 1]; score and
    outcome are None where it has not finished.
    """

    role: str
    dataset: str
    arm: str
    group: str
    repeat: int
    seed: int
    state: str
    reason: str | None
    error_class: str | None
    score: float | None
    outcome: jobs.StudentOutcome | None


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One training of a search, or of what confirms it, planned or finished.

    stage: "search" or "confirm". repeat: of a confirm, None in a search, whose trials have one seed. The others: as of
    a Training.
    """

    stage: str
    role: str
    dataset: str
    group: str
    repeat: int | None
    seed: int
    state: str
    error_class: str | None
    outcome: jobs.StudentOutcome | None


def of_arm(trainings: Iterable[Training], role: str, arm: str, group: str = "") -> list[Training]:
    """Return the trainings of an arm on the dataset of a role, by repeat."""
    return [training for training in trainings if (training.role, training.arm, training.group) == (role, arm, group)]


def scores_on_test(trainings: Iterable[Training], role: str, arm: str, group: str = "") -> dict[int, float]:
    """Return the test accuracy of an arm, a fraction, by repeat.

    A training that diverged counts as 0: it gave no model. Left out, it would make its arm look better than it is.
    """
    scores = {}
    for training in of_arm(trainings, role, arm, group):
        if training.state == "failed" and training.error_class == DIVERGED:
            scores[training.repeat] = 0.0
        elif training.outcome is not None and training.outcome.test_accuracy is not None:
            scores[training.repeat] = training.outcome.test_accuracy
    return scores


def accuracies(trainings: Iterable[Training], role: str, arm: str, group: str = "") -> dict[int, float]:
    """Return the same in percent: what the paired differences are made of."""
    return {repeat: percent(value) for repeat, value in scores_on_test(trainings, role, arm, group).items()}


def compared(trainings: Iterable[Training], role: str, first: str, second: str, group: str = "") -> Paired | None:
    """Return first - second in points, paired by repeat; None without a repeat that both have."""
    mine = [training for training in trainings if (training.role, training.group) == (role, group)]
    difference = paired(accuracies(mine, role, first, group), accuracies(mine, role, second, group))
    identities = [set(filter(None, map(identity, of_arm(mine, role, arm, group)))) for arm in (first, second)]
    return None if difference is None else Paired.of(difference, len(set.intersection(*identities)))


def identity(training: Training) -> tuple[Hashable, ...] | None:
    """Return what two arms have in common if they share a training: seed, point and loss; None where nothing is known.

    The result of such a training is the same to the last bit, on one kind of processor.
    """
    teaches_otherwise = training.arm in (*CONTROLS, AUTOKERAS_ARM)  # or trains another network
    if training.outcome is None or teaches_otherwise:
        return None
    return training.seed, training.outcome.point, training.outcome.loss


def is_incomplete(trainings: Iterable[Training], role: str) -> bool:
    """Return whether a look at the test of a role has begun or is to come, and is not complete.

    Until then nothing that the test says is shown: a user who sees half of a look may stop where it looks good. A
    cancelled training may still come.
    """
    return any(training.state in TASK_AWAITED for training in trainings if training.role == role)


def validations(trainings: Iterable[Training], role: str, arm: str) -> list[float]:
    """Return the validation accuracy in percent of the finished trainings of an arm, by repeat."""
    return [percent(training.score) for training in of_arm(trainings, role, arm) if training.score is not None]


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

    group: str
    repeat: int
    at: float


def looks(revisions: Sequence[RevisionRecord], reads: Sequence[Read]) -> list[Look]:
    """Return the looks of a sweep, planned ones included.

    A plan with more seeds or more searches is a new look if the test was read before. What is added before any test
    image was read belongs to the first look.

    Args:
        reads: every training that reads the test, as far as it began.
    """
    numbered: list[Look] = []
    seen: list[set[tuple[str, int]]] = []  # groups and repeats of each look and of those before it
    for revision in revisions:
        if numbered:
            latest = numbered[-1]
            if revision.fingerprint == latest.fingerprint:
                continue  # something was tried again: the same look, by the plan that it was begun with
            if latest.first_read is None or latest.first_read > revision.created_at:
                numbered.pop()  # nothing was seen of that plan's look: this one replaces it
                seen.pop()
        spec = parse(revision.spec, origin="a stored revision")
        planned = {(group, repeat) for group in groups(spec) for repeat in range(spec.for_group(group).transfer.seeds)}
        new = planned - seen[-1] if seen else planned
        first = min((read.at for read in reads if (read.group, read.repeat) in new), default=None)
        plan = revision.fingerprint, revision.created_at, spec.transfer.seeds, spec.outer.searches
        numbered.append(Look(len(numbered) + 1, *plan, first))
        seen.append(planned)
    return numbered


def of_sweep(engine: sqlalchemy.Engine, sweep_id: int) -> list[Look]:
    """Return the looks of a stored sweep, planned ones included."""
    transfers = queries.task_records(engine, sweep_id, stage="transfer", keep=())
    return looks(queries.revisions(engine, sweep_id), reads((task, jobs.payload_of(task)) for task in transfers))


def reads(tasks: Iterable[tuple[TaskRecord, jobs.Payload]]) -> list[Read]:
    """Return each training that reads the test and has begun, of tasks with their payloads."""
    return [
        Read(payload.group, payload.repeat, task.started_at)
        for task, payload in tasks
        if isinstance(payload, jobs.TransferTask) and task.started_at is not None
    ]


def begun_looks(engine: sqlalchemy.Engine, sweep_id: int) -> int:
    """Return how many looks have begun: the test was read at least once for each of them."""
    return sum(look.first_read is not None for look in of_sweep(engine, sweep_id))


Done: TypeAlias = jobs.DoneTask[jobs.Payload, jobs.StoredOutcome]


@dataclass(frozen=True, kw_only=True)
class StoredSweep:
    """A sweep with its tasks.

    payloads: of every task, in the order of `tasks`. done: the finished tasks. trainings: the tasks of transfer, of
    every group; searched: those of search and confirm. looks: those that were begun. selections: by name, as stored.
    closed: the names of the closed phases.
    """

    sweep: SweepRecord
    spec: Spec
    tasks: tuple[TaskRecord, ...]
    payloads: tuple[jobs.Payload, ...]
    done: tuple[Done, ...]
    trainings: tuple[Training, ...]
    searched: tuple[Tried, ...]
    looks: tuple[Look, ...]
    selections: Mapping[str, Mapping[str, Any]]
    closed: frozenset[str]

    def finished(
        self, task: type[jobs.TaskT], outcome: type[jobs.ResultT], *, phase: str | None = None
    ) -> list[jobs.DoneTask[jobs.TaskT, jobs.ResultT]]:
        """Return the finished tasks of one kind, all or those of one phase.

        Args:
            task: the kind of payload, such as TransferTask.
            outcome: the kind of outcome that such tasks have, such as StudentOutcome.
        """
        tasks: list[jobs.DoneTask[jobs.TaskT, jobs.ResultT]] = []
        for done in self.done:
            if phase in (None, done.record.phase):
                payload, result = done.payload, done.outcome
                if isinstance(payload, task) and isinstance(result, outcome):
                    tasks.append(jobs.DoneTask(done.record, payload, result, done.score))
        return tasks

    def confirmed(self, name: str) -> Confirmed | None:
        """Return a selection such as "confirm.best": as stored, or what it will be where its phase is closed.

        Raises:
            SweepError: the phase is closed without a result.
        """
        if name in self.selections:
            return selection.read_confirmed(name, self.selections[name])
        if selection.phase_of(name) not in self.closed:
            return None
        return selection.best(selection.confirmed_for(name, self.finished(jobs.ConfirmTask, jobs.StudentOutcome)))


def read(engine: sqlalchemy.Engine, sweep: SweepRecord) -> StoredSweep:
    """Read a sweep.

    Raises:
        storage.errors.RecordBroken: a payload or an outcome is not what such a task has.
    """
    spec = stored_spec(sweep).as_called()
    records = queries.task_records(engine, sweep.id)
    payloads = tuple(map(jobs.payload_of, records))
    tasks = list(zip(records, payloads, strict=True))
    done = {record.id: jobs.done_task(record, payload) for record, payload in tasks if record.state == "done"}
    begun = looks(queries.revisions(engine, sweep.id), reads(tasks))
    return StoredSweep(
        sweep=sweep,
        spec=spec,
        tasks=tuple(records),
        payloads=payloads,
        done=tuple(done.values()),
        trainings=tuple(
            _training(spec, record, payload, done.get(record.id))
            for record, payload in tasks
            if isinstance(payload, jobs.TransferTask)
        ),
        searched=tuple(
            _tried(spec, record, payload, done.get(record.id))
            for record, payload in tasks
            if isinstance(payload, jobs.SearchTask | jobs.ConfirmTask)
        ),
        looks=tuple(look for look in begun if look.first_read is not None),
        selections=queries.selections(engine, sweep.id),
        closed=frozenset(phase.name for phase in queries.phase_records(engine, sweep.id) if phase.state == "closed"),
    )


def _training(spec: Spec, record: TaskRecord, payload: jobs.TransferTask, done: Done | None) -> Training:
    outcome = None if done is None else done.outcome
    return Training(
        role=payload.role,
        dataset=spec.role(payload.role).dataset,
        arm=payload.arm,
        group=payload.group,
        repeat=payload.repeat,
        seed=payload.seed,
        state=record.state,
        reason=record.reason,
        error_class=record.error_class,
        score=None if done is None else done.score,
        outcome=outcome if isinstance(outcome, jobs.StudentOutcome) else None,
    )


def _tried(spec: Spec, record: TaskRecord, payload: jobs.SearchTask | jobs.ConfirmTask, done: Done | None) -> Tried:
    outcome = None if done is None else done.outcome
    return Tried(
        stage="confirm" if isinstance(payload, jobs.ConfirmTask) else "search",
        role=payload.role,
        dataset=spec.role(payload.role).dataset,
        group=payload.group,
        repeat=payload.repeat if isinstance(payload, jobs.ConfirmTask) else None,
        seed=payload.seed,
        state=record.state,
        error_class=record.error_class,
        outcome=outcome if isinstance(outcome, jobs.StudentOutcome) else None,
    )


@dataclass(frozen=True, kw_only=True)
class Data:
    """A dataset of the sweep. images: for training. content_hash, split_hash: SHA-256."""

    dataset: str
    images: int
    origin: str
    content_hash: str
    split_hash: str


@dataclass(frozen=True, kw_only=True)
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
        """The kinds of machine that finished tasks ran on, sorted."""
        return sorted({machine.kind for machine in self.machines})


def provenance(stored: StoredSweep) -> Provenance:
    """Return where the results of a sweep come from, as far as it has come; one task is done at least."""
    records = [done.record for done in stored.done]
    return Provenance(
        data=_data(stored),
        weights=_weights(stored),
        machines=tuple(dict.fromkeys(_machine(done.outcome.provenance) for done in stored.done)),
        done=len(records),
        planned=len(stored.tasks),
        wall_s=max(t.finished_at or 0 for t in records) - min(t.started_at or 0 for t in records),
        work_s=sum((t.finished_at or 0) - (t.started_at or 0) for t in records),
        numerics=tuple(sorted({numerics for done in stored.done if (numerics := _numerics(done.outcome))})),
    )


def _data(stored: StoredSweep) -> tuple[Data, ...]:
    datasets = []
    for part in map(stored.spec.role, stored.spec.roles):
        outcomes = (done.outcome for done in stored.done if not isinstance(done.outcome, jobs.MeasureOutcome))
        data = next((outcome.data for outcome in outcomes if outcome.dataset == part.dataset), None)
        if data is not None:
            hashes = {"content_hash": data.content_hash, "split_hash": data.split_hash}
            datasets.append(Data(dataset=part.dataset, images=part.images, origin=data.origin, **hashes))
    return tuple(datasets)


def _weights(stored: StoredSweep) -> tuple[Weights, ...]:
    return tuple(Weights(key=done.record.key, files=files) for done in stored.done if (files := _files(done.outcome)))


def _numerics(outcome: jobs.StoredOutcome) -> str:
    return "" if isinstance(outcome, jobs.MeasureOutcome) else outcome.numerics


def _files(outcome: jobs.StoredOutcome) -> tuple[str, ...]:
    return () if isinstance(outcome, jobs.MeasureOutcome) else tuple(outcome.weights.values())


def _machine(recorded: Mapping[str, Any]) -> Machine:
    return Machine(
        cpu=str(recorded.get("cpu")),
        cores=str(recorded.get("cores")),
        threads=str(recorded.get("threads")),
        versions=tuple((name, version) for name, version in recorded.get("versions", {}).items() if version),
        commit=recorded.get("git_commit"),
    )
