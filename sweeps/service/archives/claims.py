"""What a sweep claims, computed from its lines: its answer hash and its verdicts."""

import sqlalchemy

from storage.archive.lines import SweepLines, VerdictClaim
from storage.archive.rows import opened
from storage.records import queries
from storage.records.queries import SweepRecord
from sweeps.analysis.stored import StoredSweep, read
from sweeps.analysis.verdicts import TargetVerdict, verdicts
from sweeps.plan.answer_hash import answer_hash
from sweeps.plan.payloads import edited, payload_of
from sweeps.spec.model import stored as stored_spec


def answers(lines: SweepLines) -> tuple[str | None, list[VerdictClaim]]:
    """Return the answer hash, and the verdict of each target, as far as the sweep has come.

    Raises:
        storage.errors.RecordBroken: a payload or an outcome is not what such a task has.
    """
    with opened(lines) as (engine, sweep):
        stored = read_stored(engine, sweep)
    return answer_hash(stored.tasks), list(map(_claim, verdicts(stored)))


def read_stored(engine: sqlalchemy.Engine, sweep: SweepRecord) -> StoredSweep:
    """Read a sweep that a file holds.

    Raises:
        storage.errors.RecordBroken: a payload or an outcome is not what such a task has.
        SweepError: its spec is not the one of its fingerprint.
    """
    roles = (None, *stored_spec(sweep).roles)
    for task in queries.task_records(engine, sweep.id, keep=()):
        if (role := payload_of(task).role) not in roles:
            raise edited(f"payload of {task.key}", f"role is {role!r}, and the spec has none of that name")
    return read(engine, sweep)


def _claim(one: TargetVerdict) -> VerdictClaim:
    if one.verdict is None:
        return VerdictClaim(dataset=one.dataset, word=None, regret=None, low=None, high=None)
    regret = one.verdict.regret
    return VerdictClaim(
        dataset=one.dataset, word=one.verdict.word, regret=regret.mean, low=regret.low, high=regret.high
    )
