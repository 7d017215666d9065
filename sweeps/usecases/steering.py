"""Pause, resume, cancel, extend, retry, reap, delete."""

import contextlib

import sqlalchemy

from storage import deletion
from storage.errors import RevisionRefused, StorageError
from storage.queue import plans, tasks, workers
from storage.records import queries
from storage.tables import LOST, SweepRecord
from sweeps.errors import SpecError, SweepError
from sweeps.extensions import require
from sweeps.findings import load
from sweeps.hints import explain, local
from sweeps.plan import plan, trials
from sweeps.plan.phases import UNAVAILABLE, Phase, display_state
from sweeps.query import listing
from sweeps.report.sentences import another_sweep
from sweeps.spec.model import Spec
from sweeps.spec.stored import as_it_stands, check_name, stored_spec
from sweeps.stats import verdict
from sweeps.terminal import say
from sweeps.workers import folders
from sweeps.workers.attempt import cap_of


def pause(url: sqlalchemy.URL, name: str) -> int:
    """Start no new tasks; return how many are running and will finish."""
    with listing.open_sweep(url, name, write=True) as (engine, sweep):
        if sweep.state == "cancelled":
            raise SweepError(f"nothing to pause: {name} is cancelled")
        workers.pause(engine, sweep.id)
        return len(queries.running_tasks(engine, sweep.id))


def resume(url: sqlalchemy.URL, name: str) -> int:
    """Resume a paused or cancelled sweep; return how many tasks are left."""
    with listing.open_sweep(url, name, write=True) as (engine, sweep):
        workers.resume(engine, sweep.id)
        return queries.outlook(engine, sweep.id).unended


def cancel(url: sqlalchemy.URL, name: str) -> int:
    """Cancel every unfinished task; return how many. Workers abort theirs at the next heartbeat."""
    with listing.open_sweep(url, name, write=True) as (engine, sweep):
        return workers.cancel(engine, sweep.id)


def extend(
    url: sqlalchemy.URL, name: str, *, trials: int = 0, seeds: int = 0, searches: int = 0, dry_run: bool = False
) -> plan.Extended:
    """Add trials to every search, seeds to the comparison, or further searches; dry_run: only return what that adds.

    Raises:
        SpecError: nothing to add.
        storage.errors.RevisionRefused: a search has closed, or the sweep is cancelled.
    """
    with listing.open_sweep(url, name, write=not dry_run) as (engine, sweep):
        spec = stored_spec(sweep)
        larger, added = _more(engine, sweep, spec, trials=trials, seeds=seeds, searches=searches)
        look = _look(engine, sweep, spec) if seeds or searches else "this uses no evaluation on the test set"
        extended = plan.Extended(tasks=len(added.tasks), look=look)
        if dry_run:
            return extended
        plans.extend(
            engine,
            sweep.id,
            revision=sweep.revision,
            spec=larger.as_dict(),
            fingerprint=larger.fingerprint,
            why=f"extended by {trials} trials, {seeds} seeds and {searches} searches",
            tasks=added.tasks,
            phases=added.phases,
            while_open={phase.name for phase in plan.make_plan(spec).phases if Phase.parse(phase.name).is_search},
        )
        return extended


def _more(
    engine: sqlalchemy.Engine, sweep: SweepRecord, spec: Spec, *, trials: int, seeds: int, searches: int
) -> tuple[Spec, plan.Plan]:
    if min(trials, seeds, searches) < 0 or max(trials, seeds, searches) < 1:
        raise SpecError(
            f"nothing to add: got --trials {trials} --seeds {seeds} --searches {searches};"
            " give one of them, 1 or more, for example --seeds +10"
        )
    if trials and any(".ranks" in selected for selected in queries.selections(engine, sweep.id)):
        raise RevisionRefused(
            f"no trials can be added: a search of {sweep.name} has ended and its result is in use; add a search"
            f" instead: {local().line('extend', sweep.name, '--searches', '+1')}"
        )
    if (seeds or searches) and (looks := load.begun_looks(engine, sweep.id)) >= spec.transfer.looks:
        by_search = spec.outer.searches >= verdict.FEWEST_SEARCHES  # the verdict's unit
        larger = {"search": 2 * spec.outer.searches} if by_search else {"seed": 2 * spec.transfer.seeds}
        raise RevisionRefused(
            f"no planned evaluation on the test set is left ({looks} of {spec.transfer.looks} used), and more"
            f" {'searches' if by_search else 'seeds'} would invalidate the verdict; create another sweep instead:"
            f" {another_sweep(sweep.name, spec, **larger)}"
        )
    return plan.more(spec, trials=trials, seeds=seeds, searches=searches)


def _look(engine: sqlalchemy.Engine, sweep: SweepRecord, spec: Spec) -> str:
    """Return in words which evaluation on the test set further seeds or searches use."""
    looks, declared = load.begun_looks(engine, sweep.id), spec.transfer.looks
    which = f"planned evaluation {looks + 1} of {declared} on the test set, {spec.tested_at(looks + 1)}"
    if not looks:
        return f"this is part of {which}"
    return f"this uses {which}" + ("; none is left after it" if looks + 1 == declared else "")


def retry(url: sqlalchemy.URL, name: str) -> list[str]:
    """Queue failed and skipped tasks again; return their keys.

    If the models were measured already, they are measured again at the end. Unavailable tasks are left out, except
    networks whose weights are now here: the others would miss the same file again.
    """
    with listing.open_sweep(url, name, write=True) as (engine, sweep):
        last = Phase("measure").name
        counts = next((phase.counts for phase in queries.phase_records(engine, sweep.id) if phase.name == last), {})
        measured = sum(counts.values())
        more = [plan.measure_task(measured)] if 0 < counts.get("done", 0) == measured else []
        leave = _unavailable(engine, sweep)
        return plans.retry(engine, sweep.id, revision=sweep.revision, then=more, leave=leave)


def _unavailable(engine: sqlalchemy.Engine, sweep: SweepRecord) -> set[str]:
    """Return the keys of the tasks that still cannot run on this machine."""
    failed = queries.task_records(engine, sweep.id, state="failed", keep=())
    lacking = [task for task in failed if display_state(task.stage, task.state, task.error_class) == UNAVAILABLE]
    if not lacking:
        return set()  # without reading the spec, which may be of another version
    kind = as_it_stands(sweep).kind
    return {task.key for task in lacking if not kind.has_reference(task.payload.get("method", ""))}


def reap_now(url: sqlalchemy.URL, name: str) -> tuple[list[tasks.Reaped], int]:
    """Free the tasks whose lease has lapsed, as workers do, and draw the ends of all trials.

    Return the freed attempts, and the number of drawn ones.
    """
    require("train", "reap")
    with listing.open_sweep(url, name, write=True) as (engine, sweep):
        spec = stored_spec(sweep)
        freed = tasks.reap(engine, sweep.id, cap=cap_of(LOST, spec), lease_s=spec.lease.seconds)
        try:
            return freed, trials.complete(engine, sweep)
        except StorageError as error:  # for example a deleted study: the tasks are free nevertheless
            say(f"the dashboard is behind: {explain(error)}")
            return freed, 0


def delete(url: sqlalchemy.URL, name: str) -> deletion.Deleted:
    """Remove a sweep, its studies, and the blobs that no other sweep uses; raise SweepInUse while a lease is valid."""
    require("train", "delete")
    from storage.studies.studies import open_studies  # Optuna takes a second

    check_name(name)
    with contextlib.closing(open_studies(url)) as studies:
        sweep = queries.find_sweep(studies.engine, name)
        deleted = deletion.delete_sweep(studies, studies.engine, sweep)
    folders.remove_sweep(sweep.identity)
    return deleted
