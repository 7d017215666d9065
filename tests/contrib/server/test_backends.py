"""A worker sees the same queue through its database and through a service."""

import contextlib
import json
import math
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine

from storage.db.engine import open_engine
from storage.errors import BlobCorrupt
from storage.queue import workers
from storage.queue.tasks import Ending, given_back
from storage.records import queries
from storage.tables import TaskRecord
from storage.url import resolve
from sweeps.plan import identity
from sweeps.plan.jobs import read_job
from sweeps.spec.model import override, parse
from sweeps.trainers.protocol import Steps
from sweeps.usecases.create import create_sweep
from sweeps.workers.attempt import Runner, as_stored
from sweeps.workers.backend import Backend, DatabaseBackend
from sweeps.workers.reach import Service, open_backend
from sweeps.workers.worker import Worker
from tests.examples.test_digits_trainer import ONE
from tests.support.present import present
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created
from tests.support.web.services import TOKENS, WORKER, serving

Open = Callable[..., Backend]


@pytest.fixture(params=["database", "service"])
def opened(request: pytest.FixtureRequest, storage_url: str, tmp_path: Path) -> Iterator[Open]:
    """Opens the sweep "s" of the storage, by its database or through a service."""
    with contextlib.ExitStack() as stack:

        def open_sweep() -> Backend:
            if request.param == "database":
                backend: Backend = DatabaseBackend.open(resolve(storage_url), "s")
            else:
                service = stack.enter_context(serving(storage_url, folder=tmp_path, tokens=TOKENS))
                backend = open_backend(Service(service.url, WORKER), "s")
            return stack.enter_context(contextlib.closing(backend))

        yield open_sweep


@pytest.fixture
def engine(storage_url: str) -> Iterator[Engine]:
    created(storage_url)
    engine = open_engine(resolve(storage_url))
    yield engine
    engine.dispose()


def finished(backend: Backend, claim: TaskRecord, **more: Any) -> bool:
    """Run a claimed task and store its outcome, with further values in it."""
    return stored(backend, claim, present(backend.start(claim, read_job(claim))), **more)


def stored(backend: Backend, claim: TaskRecord, params: dict[str, Any], **more: Any) -> bool:
    """Store the outcome of a task at these parameters."""
    job = read_job(claim)
    outcome = quadratic(job, params, Steps())
    values = as_stored(job, outcome, wall_s=0.5, worker=present(claim.worker)) | more
    return backend.finish(claim, outcome=values, score=outcome.score, log="the log")


def test_a_task_is_claimed_saved_renewed_and_finished_once(engine: Engine, opened: Open) -> None:
    backend = opened()
    backend.sign_in("w", {"host": "here"})
    claim = present(backend.claim("w"))
    assert (claim.state, claim.attempt, claim.worker) == ("running", 1, "w")
    assert backend.deadline_s(claim.stage) == backend.spec.limits.of(claim.stage, [])
    params = present(backend.start(claim, read_job(claim)))
    assert backend.start(claim, read_job(claim)) == params, "a second request gives the same"
    assert backend.renew(claim, idle_s=0.5, log="so far")
    assert stored(backend, claim, params)
    assert stored(backend, claim, params), "a second request is accepted"
    assert not backend.renew(claim, idle_s=0.0, log=None)
    assert backend.start(claim, read_job(claim)) is None
    backend.sign_out("w", "enough")
    (task,) = backend.done(keys=[claim.key])
    assert vars(task) == vars(queries.task_records(engine, claim.sweep_id, keys=[claim.key])[0])
    assert [done.key for done in backend.done(claim.stage)] == [claim.key]
    assert backend.outlook().unended == len(queries.task_records(engine, claim.sweep_id)) - 1
    (row,) = workers.records(engine, claim.sweep_id)
    assert (row.host, row.pid, row.reason, row.done) == (platform.node(), os.getpid(), "enough", 1)


def test_a_superseded_attempt_changes_nothing(engine: Engine, opened: Open) -> None:
    backend = opened()
    late = present(backend.claim("w"))
    assert backend.end(late, given_back())
    retry = present(backend.claim("v"))
    assert (retry.key, retry.attempt) == (late.key, 2)
    assert backend.start(late, read_job(late)) is None
    assert not backend.renew(late, idle_s=0.0, log=None)
    assert not backend.end(late, given_back())
    assert not stored(backend, late, {})
    assert finished(backend, retry)


def test_a_retry_has_the_point_of_the_attempt_before(engine: Engine, opened: Open) -> None:
    backend = opened()
    while (claim := present(backend.claim("w"))).stage != "search":
        assert finished(backend, claim)
    params = backend.start(claim, read_job(claim))
    assert backend.end(claim, Ending("failed", "error", "KeyError: 'x'", "a traceback", "a log"), cap=3)
    retry = present(backend.claim("w"))
    assert (retry.key, retry.attempt, retry.params) == (claim.key, 2, params)
    (attempt, _) = present(queries.attempts_of(engine, claim.sweep_id, claim.key))
    assert (attempt.state, attempt.error_class, attempt.reason) == ("failed", "error", "KeyError: 'x'")
    assert (attempt.trace, attempt.log) == ("a traceback", "a log")


def test_a_task_fails_at_the_cap_of_its_spec(engine: Engine, opened: Open) -> None:
    backend = opened()
    cap = backend.spec.retry.error
    for _ in range(cap):
        claim = present(backend.claim("w"))
        assert backend.end(claim, Ending("failed", "error", "KeyError: 'x'"), cap=cap)
    (task,) = queries.task_records(engine, claim.sweep_id, keys=[claim.key])
    assert (task.state, task.attempt) == ("failed", cap)


def test_a_lost_worker_is_lost_for_every_backend(engine: Engine, opened: Open) -> None:
    backend = opened()
    claim = present(backend.claim("gone"))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE attempts SET lease_until = 0"))
    backend.repair("w", first=True, cap=None)
    (task,) = queries.task_records(engine, claim.sweep_id, keys=[claim.key])
    assert (task.state, task.error_class) == ("waiting", "lost worker")


def test_bytes_round_trip_and_missing_bytes_are_an_error(engine: Engine, opened: Open) -> None:
    backend = opened()
    present(backend.claim("w"))
    data = os.urandom(100_000)
    digest = backend.put(data)
    assert backend.put(data) == digest
    assert backend.get(digest) == data
    with pytest.raises(BlobCorrupt, match="blob 000000000000 is missing"):
        backend.get("0" * 64)


def test_a_deleted_sweep_is_a_lost_claim_and_not_an_error(engine: Engine, opened: Open) -> None:
    backend = opened()
    claim = present(backend.claim("w"))
    with engine.begin() as connection:  # as `storage.deletion` does, without its studies
        for table in ("attempts", "tasks", "phases", "revisions", "selections", "workers"):
            of = "task_id IN (SELECT id FROM tasks)" if table == "attempts" else "sweep_id > 0"
            connection.execute(sqlalchemy.text(f"DELETE FROM {table} WHERE {of}"))
        connection.execute(sqlalchemy.text("DELETE FROM sweeps"))
    assert backend.outlook() == queries.Outlook("deleted", 0)
    assert backend.start(claim, read_job(claim)) is None
    assert not backend.renew(claim, idle_s=0.0, log=None)
    assert not stored(backend, claim, {})
    assert not backend.end(claim, given_back())
    assert backend.claim("w") is None
    backend.sign_out("w", None)


def test_both_backends_store_the_same_text(engine: Engine, opened: Open) -> None:
    backend = opened()
    claim = present(backend.claim("w"))
    more = {"facts": {"z": [1, 2.5, None], "a": math.nan, "half": "\ud800", "umlaut": "ä"}, "worker": "w"}
    assert finished(backend, claim, **more)
    with engine.connect() as connection:
        text = connection.scalar(sqlalchemy.text("SELECT outcome FROM tasks WHERE outcome IS NOT NULL"))
    assert json.dumps(more["facts"]) in str(text)
    (task,) = backend.done()
    assert math.isnan(present(task.outcome)["facts"]["a"])


def test_a_whole_sweep_has_the_same_points_and_answer(storage_url: str, opened: Open, tmp_path: Path) -> None:
    spec = override(SMALL, {"search.trials": 8})  # the second half is proposed by TPE
    expected = done_by(lambda: DatabaseBackend.open(created(f"sqlite:///{tmp_path}/other.db", spec), "s"))
    created(storage_url, spec)
    assert done_by(opened) == expected


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # it stops after 60 steps
def test_a_trainer_from_a_file_on_the_workers_machine_gives_the_same_answer(
    storage_url: str, opened: Open, tmp_path: Path
) -> None:
    spec = parse(ONE, new=True)
    other = resolve(f"sqlite:///{tmp_path}/other.db")
    for url in (other, resolve(storage_url)):
        assert create_sweep(url, "s", spec).spec.code, "the hash of its file is frozen"
    expected = done_by(lambda: DatabaseBackend.open(other, "s"), run=None)
    assert done_by(opened, run=None) == expected


def done_by(opened: Open, *, run: Runner | None = quadratic) -> tuple[str | None, dict[str, Any]]:
    """Return answer hash and points of the sweep, done by one worker; run: None for real training."""
    with Worker(opened(), run=run) as worker:
        assert worker.work() == 0
        rows = worker.backend.done()
        return identity.answer_hash(list(rows)), {row.key: row.params for row in rows}
