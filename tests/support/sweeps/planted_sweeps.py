"""Sweeps with planted accuracies: a real worker, a runner of milliseconds, a known answer."""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import sqlalchemy

from storage.audit.rows import read_rows
from storage.records import queries
from storage.tables import TaskRecord
from storage.url import plain, resolve
from sweeps.findings.findings import Findings, load
from sweeps.plan.audit import audit, judge
from sweeps.plan.identity import derive
from sweeps.plan.jobs import AnyJob
from sweeps.query.listing import open_sweep
from sweeps.query.status import fingerprints
from sweeps.spec.model import Spec, override
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import Worker
from tests.support.sweeps.quadratic_worker import changed, quadratic
from tests.support.sweeps.small_sweeps import SMALL, created, drawn_at_the_end
from tests.support.sweeps.trials_in_memory import made_once

Runner = Callable[[AnyJob, dict[str, Any], Callable[[], None]], Outcome]
Points = Sequence[float]

# Four seeds, and searches just large enough to tell whether there is an optimum.
PLANTED = override(
    SMALL,
    {
        "search.trials": 6,
        "confirm.top": 2,
        "confirm.seeds": 3,
        "transfer.seeds": 4,
        "transfer.margin": 2.0,
        "transfer.looks": 1,
        "transfer.rule": 1,  # at 5 %, four seeds decide
        "transfer.target_arms": ["best", "scratch", "native", "random"],
    },
)
# Differences whose mean is 0 and whose standard deviation is 1: with t[0.95, 3] = 2.3534 the one-sided bounds of four
# are mean -+ 2.3534 / sqrt(4) = 1.1767 at a level of 5 %.
SPREAD = [-math.sqrt(3) / 2, math.sqrt(3) / 2, -math.sqrt(3) / 2, math.sqrt(3) / 2]
NATIVE = [70.0, 71.0, 69.0, 72.0]
HALF = 3.182446 / 2  # of a 95 % interval of four such differences: t[.975, 3] / sqrt(4)


def below(points: float, *, spread: float = 1.0, base: Points = NATIVE) -> list[float]:
    """Return an arm that the base exceeds by `points` on average, with differences of that standard deviation."""
    return [value - points - spread * noise for value, noise in zip(base, SPREAD, strict=True)]


def arms(regret: float, *, scratch: float = 9.0) -> dict[str, Points]:
    """Return test accuracies in points of a sweep with that regret; scratch and random are `scratch` below native."""
    return {"native": NATIVE, "best": below(regret), "scratch": below(scratch), "random": below(scratch)}


def planted(tests: Mapping[str, Points], *, luck: float = 0.0) -> Runner:
    """Return a runner whose transfers have these test accuracies, in points by repeat, cyclically.

    Args:
        tests: by arm, or by the beginning of a task's key where an arm is not the same everywhere.
        luck: share of an accuracy of search and confirm that the seed decides; T and alpha decide the rest.
    """

    def run(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        result = quadratic(claim, params, on_step)
        if claim.row.stage == "transfer":
            key = next((name for name in tests if claim.key.startswith(name)), claim.row.payload["arm"])
            accuracy = tests[key][claim.row.payload["repeat"] % len(tests[key])] / 100
            return replace(changed(result, test_accuracy=accuracy, val_accuracy=accuracy), score=accuracy)
        drawn = luck * derive(claim.row.payload.get("seed", 0), *map(str, params.values())) / 2**31
        score = (1 - luck) * result.score + drawn
        return replace(changed(result, val_accuracy=score), score=score)

    return run


def up_to(key: str, run: Runner) -> Runner:
    """Wrap a runner that stops the worker at a task whose key begins with this text."""

    def until(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key.startswith(key):
            raise SystemExit
        return run(claim, params, on_step)

    return until


def failing(reason: str) -> Runner:
    """Return a runner whose trainings all fail."""

    def run(*_: object) -> NoReturn:
        raise ValueError(reason)

    return run


def worked(
    url: str, spec: Spec = SMALL, run: Runner | Mapping[str, Points] = quadratic, *, name: str = "s", stop_at: str = ""
) -> sqlalchemy.URL:
    """Create a sweep, and work on it to its end, or up to the first task whose key begins with stop_at.

    A new SQLite file is a copy of that of the session's first such call, unless the runner is a local function.

    Args:
        run: the runner, or the test accuracies of `planted`.
    """
    runner, at = planted(run) if isinstance(run, Mapping) else run, resolve(url)

    def make(to: sqlalchemy.URL) -> None:
        created(plain(to), spec, name=name)
        with contextlib.suppress(SystemExit):
            work(to, up_to(stop_at, runner) if stop_at else runner, name=name)

    runner_name = (
        repr(run) if isinstance(run, Mapping) else f"{run.__module__}.{getattr(run, '__qualname__', '<locals>')}"
    )
    if "<locals>" in runner_name:
        make(at)
    else:
        made_once(("worked", name, spec.model_dump_json(), runner_name, stop_at), at, make)
    return at


def work(url: sqlalchemy.URL, run: Runner, *, name: str = "s") -> None:
    """Work on the sweep to its end; its trials are mirrored, even if the runner raises."""
    with drawn_at_the_end(url, name), Worker(DatabaseBackend.open(url, name), run=run) as worker:
        assert worker.work() == 0


def analysed(url: sqlalchemy.URL | str, name: str = "s") -> Findings:
    """Return the current findings of a sweep."""
    with open_sweep(url, name) as (engine, sweep):
        return load(engine, sweep)


def done_of(url: sqlalchemy.URL | str, phase: str) -> list[TaskRecord]:
    with open_sweep(url, "s") as (engine, sweep):
        return queries.task_records(engine, sweep.id, phase=phase, state="done")


def answer_of(url: sqlalchemy.URL | str, name: str = "s") -> str | None:
    """Return the answer hash of a sweep."""
    with open_sweep(url, name) as (engine, sweep):
        return fingerprints(engine, sweep).answer_hash


def violations(url: sqlalchemy.URL | str, name: str = "s") -> list[str]:
    """Return the audit's violations; with trials in memory, without those about trials."""
    with open_sweep(url, name) as (engine, sweep):
        has_trials = sqlalchemy.inspect(engine).has_table("trials")
        result = audit(engine, sweep) if has_trials else judge(read_rows(engine, sweep.id, with_trials=False))
        return [finding.text for finding in result.violations]
