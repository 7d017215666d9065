"""Tell whether two runs of one spec gave the same bits: the answer hash, and what the machines' numerics are."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy

from storage.records import queries
from storage.records.queries import SweepRecord, TaskRecord
from sweeps.plan import answer_hash

KEEP = (*answer_hash.KEEP, "numerics")
"""What is read of an outcome."""


@dataclass(frozen=True)
class Bits:
    """answer_hash: None until every task has ended. numerics: the fingerprints of those who trained, sorted."""

    answer_hash: str | None
    numerics: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return what people are told: the hash, and a warning where numerics differ."""
        found = [f"answer hash {self.answer_hash}"] if self.answer_hash else []
        return found + ([answer_hash.differing(self.numerics)] if len(self.numerics) > 1 else [])


def bits(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Bits:
    """Return the bits of a sweep. Only reads."""
    return bits_of(queries.task_records(engine, sweep.id, keep=KEEP))


def bits_of(tasks: Iterable[TaskRecord]) -> Bits:
    """Return the bits of these tasks, whose outcomes hold KEEP at least."""
    tasks = list(tasks)
    found = {str(one) for task in tasks if (one := (task.outcome or {}).get("numerics"))}
    return Bits(answer_hash.answer_hash(tasks), tuple(sorted(found)))
