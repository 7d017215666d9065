"""Where the results come from: data, pretrained weights, machines and versions, and the time that they took."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeps.analysis.stored import StoredSweep
from sweeps.plan.outcomes import MeasureOutcome, StoredOutcome


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
        numerics=tuple(sorted({found for done in stored.done if (found := _numerics(done.outcome))})),
    )


def _data(stored: StoredSweep) -> tuple[Data, ...]:
    found = []
    for part in map(stored.spec.role, stored.spec.roles):
        outcomes = (done.outcome for done in stored.done if not isinstance(done.outcome, MeasureOutcome))
        data = next((outcome.data for outcome in outcomes if outcome.dataset == part.dataset), None)
        if data is not None:
            hashes = {"content_hash": data.content_hash, "split_hash": data.split_hash}
            found.append(Data(dataset=part.dataset, images=part.images, origin=data.origin, **hashes))
    return tuple(found)


def _weights(stored: StoredSweep) -> tuple[Weights, ...]:
    return tuple(Weights(key=done.record.key, files=files) for done in stored.done if (files := _files(done.outcome)))


def _numerics(outcome: StoredOutcome) -> str:
    return "" if isinstance(outcome, MeasureOutcome) else outcome.numerics


def _files(outcome: StoredOutcome) -> tuple[str, ...]:
    return () if isinstance(outcome, MeasureOutcome) else tuple(outcome.weights.values())


def _machine(made: Mapping[str, Any]) -> Machine:
    return Machine(
        cpu=str(made.get("cpu")),
        cores=str(made.get("cores")),
        threads=str(made.get("threads")),
        versions=tuple((name, version) for name, version in made.get("versions", {}).items() if version),
        commit=made.get("git_commit"),
    )
