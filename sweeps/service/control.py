"""What people do to a sweep from outside: pause, resume, cancel, extend, retry, reap, delete. By name and URL."""

import contextlib
from collections.abc import Iterator

import sqlalchemy

from storage import deletion
from storage.db import engine as engines
from storage.deletion import Deleted
from storage.errors import RevisionRefused
from storage.queue import control, revisions
from storage.queue.attempts import Reaped, reap
from storage.queue.error_classes import LOST
from storage.records import queries
from storage.records.queries import SweepRecord
from storage.studies.reconcile import reconcile
from sweeps.analysis import looks
from sweeps.errors import SpecError, SweepError
from sweeps.plan import tasks as plan
from sweeps.query.status import stage_counts
from sweeps.report.sentences import another_sweep
from sweeps.spec.model import Spec, check_name, stored
from sweeps.workers.failures import cap_of


@contextlib.contextmanager
def opened(url: sqlalchemy.URL, name: str) -> Iterator[tuple[sqlalchemy.Engine, SweepRecord]]:
    """The storage, for writing, and the sweep of that name."""
    check_name(name)
    engine = engines.open_engine(url)
    try:
        yield engine, queries.find_sweep(engine, name)
    finally:
        engine.dispose()


def pause(url: sqlalchemy.URL, name: str) -> int:
    """No more tasks are given out. Returns how many are still at work, which will be finished."""
    with opened(url, name) as (engine, sweep):
        if sweep.state == "cancelled":
            raise SweepError(f"{name} is cancelled, so there is nothing to pause")
        control.pause(engine, sweep.id)
        return len(queries.running(engine, sweep.id))


def resume(url: sqlalchemy.URL, name: str) -> int:
    """Go on after a pause or a cancel. Returns how many tasks are left to do."""
    with opened(url, name) as (engine, sweep):
        control.resume(engine, sweep.id)
        return queries.outlook(engine, sweep.id).unended


def cancel(url: sqlalchemy.URL, name: str) -> int:
    """Take back every task that is not ended; workers drop theirs at the next renewal of its lease."""
    with opened(url, name) as (engine, sweep):
        return control.cancel(engine, sweep.id)


def extend(url: sqlalchemy.URL, name: str, *, trials: int, seeds: int) -> int:
    """More trials for both searches, or more seeds for the comparison. Returns how many tasks that adds.

    Raises:
        SpecError: nothing to add.
        storage.errors.RevisionRefused: a search has closed, or the sweep is cancelled.
    """
    if min(trials, seeds) < 0 or max(trials, seeds) < 1:
        raise SpecError(f"got --trials {trials} --seeds {seeds}; give one of them, 1 or more, for example --seeds +10")
    with opened(url, name) as (engine, sweep):
        if trials and any(".ranks" in selected for selected in queries.selections(engine, sweep.id)):
            raise RevisionRefused(f"a search of {name} has closed, and what came out of it is already used")
        spec = stored(sweep)
        if seeds:
            _refuse_another_look(engine, sweep, spec)
        larger, tasks = plan.more(spec, trials=trials, seeds=seeds)
        revisions.extend(
            engine,
            sweep.id,
            revision=sweep.revision,
            spec=larger.as_dict(),
            fingerprint=larger.fingerprint,
            why=f"extended by {trials} trials and {seeds} seeds",
            tasks=tasks,
            while_open={phase.name for phase in plan.make_plan(spec).phases if plan.is_search(phase.name)},
        )
        return len(tasks)


def _refuse_another_look(engine: sqlalchemy.Engine, sweep: SweepRecord, spec: Spec) -> None:
    """Nothing, while the test was not read, or another look at it was declared when the sweep was created."""
    taken = looks.taken(engine, sweep.id)
    if taken >= spec.transfer.looks:
        raise RevisionRefused(
            f"the test was read at {taken} of {spec.transfer.looks} declared looks; seeds added after the last one"
            f" would make the verdict worthless; for more, make another sweep:"
            f" {another_sweep(sweep.name, spec, 2 * spec.transfer.seeds)}"
        )


def retry(url: sqlalchemy.URL, name: str) -> list[str]:
    """Failed tasks, and those skipped because of them, wait again. Returns their keys.

    If the models were measured already, that is done once more at the end, with those that come now.
    """
    with opened(url, name) as (engine, sweep):
        measured = stage_counts(engine, sweep.id)["measure"]
        again = [plan.measure_task(measured.total)] if measured.done == measured.total else []
        return revisions.retry(engine, sweep.id, revision=sweep.revision, then=again)


def reap_now(url: sqlalchemy.URL, name: str) -> tuple[list[Reaped], int]:
    """Free the tasks whose lease has lapsed, and tell Optuna's trials how they ended.

    Workers do the same by themselves. Returns what was freed, and how many trials were told.
    """
    from storage.studies import adapter  # Optuna takes a second

    with opened(url, name) as (engine, sweep):
        freed = reap(engine, sweep.id, cap=cap_of(LOST, stored(sweep)))
        with contextlib.closing(adapter.open_studies(url)) as optuna:
            return freed, reconcile(optuna, engine, sweep.id)


def delete(url: sqlalchemy.URL, name: str) -> Deleted:
    """Remove a sweep, its studies, and the blobs that no other sweep uses.

    Raises:
        storage.errors.SweepInUse: a lease on one of its tasks is good.
    """
    from storage.studies import adapter  # Optuna takes a second

    with opened(url, name) as (engine, sweep), contextlib.closing(adapter.open_studies(url)) as optuna:
        return deletion.delete_sweep(optuna, engine, sweep)
