"""Connections cut between two calls and at any point within one: each call is done exactly once."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import optuna
import pytest
import sqlalchemy
from sqlalchemy import Engine, event

from storage.db.engine import open_engine
from storage.errors import StorageError
from storage.queue import tasks
from storage.queue.tasks import Ending, given_back, reap
from storage.records import queries
from storage.studies.mirror import Mirror, Undrawn
from storage.studies.space import MARK_ATTR, Range, Trial
from storage.studies.studies import open_studies
from storage.tables import TaskRecord
from tests.support.faults.fault_tools import errors_of
from tests.support.faults.lossy_proxy import LossyProxy
from tests.support.postgres_server import PostgresServer
from tests.support.sweeps.storage_sweeps import claimed, finished, new_storage, new_sweep, states

Step = Callable[[Engine, TaskRecord], Any]

STEPS: dict[str, Step] = {
    "save_point": lambda engine, claim: tasks.save_point(engine, claim, {}),
    "renew": lambda engine, claim: tasks.renew(engine, claim, 60.0),
    "finish": lambda engine, claim: finished(engine, claim),
    "fail": lambda engine, claim: tasks.end(engine, claim, Ending("failed", "error", "why"), cap=2),
    "release": lambda engine, claim: tasks.end(engine, claim, given_back()),
}


@pytest.fixture
def engine(server: PostgresServer) -> Iterator[Engine]:
    with new_storage(server.new_database()) as engine:
        yield engine


def backend(connection: sqlalchemy.Connection) -> int:
    """Return the process number of the server's backend for this connection."""
    return int(connection.connection.dbapi_connection.info.backend_pid)  # type: ignore[union-attr]


def on_commit(engine: Engine, do: Callable[[sqlalchemy.Connection], None]) -> None:
    """Run `do` just before the next commit of this engine."""
    event.listen(engine, "commit", do, once=True)


def test_cuts_between_calls_go_unnoticed(
    server: PostgresServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.db.engine._TRUSTED_FOR_S", 0.0)  # as if each call came a second after the last
    sweep = new_sweep(engine, number=len(STEPS))
    for name, step in STEPS.items():
        claim = claimed(engine, sweep)
        assert server.terminate(str(engine.url.database)) == 1
        # `renew` is not retried, so its success shows that the connection was tested before use.
        assert step(engine, claim), name


@pytest.mark.parametrize("name", [name for name in STEPS if name != "renew"])
def test_a_step_cut_just_before_its_commit_is_done_once(server: PostgresServer, engine: Engine, name: str) -> None:
    sweep = new_sweep(engine, number=1)
    on_commit(engine, lambda connection: server.terminate_backend(backend(connection)))
    claim = claimed(engine, sweep)  # its first try leaves no trace
    assert [task.attempt for task in queries.running_tasks(engine, sweep)] == [1]
    on_commit(engine, lambda connection: server.terminate_backend(backend(connection)))
    errors = errors_of(engine)
    assert STEPS[name](engine, claim)
    assert any("57P01" in error for error in errors), "the cut did not happen"
    (task,) = queries.task_records(engine, sweep)
    assert task.attempt == 1
    assert finished(engine, claim) == (name in ("save_point", "finish"))


def test_a_commit_whose_answer_was_lost_counts_once(server: PostgresServer, engine: Engine) -> None:
    sweep = new_sweep(engine, number=1)
    with LossyProxy(server.port) as proxy:
        far = open_engine(engine.url.set(port=proxy.port))
        claim = claimed(far, sweep)
        for name in ("save_point", "finish"):
            proxy.lose_next_answer_to(b"COMMIT")
            assert STEPS[name](far, claim), name
        assert proxy.lost == 2, "no answer was lost"
        far.dispose()
    (task,) = queries.task_records(engine, sweep)
    assert (task.state, task.attempt) == ("done", 1)


def test_a_claim_whose_answer_was_lost_lapses_and_is_reaped(server: PostgresServer, engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    with LossyProxy(server.port) as proxy:
        far = open_engine(engine.url.set(port=proxy.port))
        proxy.lose_next_answer_to(b"COMMIT")
        claim = claimed(far, sweep, lease_s=0.3)
        assert proxy.lost == 1, "the answer was not lost"
        assert tasks.renew(far, claim, 60.0)
        far.dispose()
    assert len(queries.running_tasks(engine, sweep)) == 2, "one is of the claim whose answer was lost"
    time.sleep(0.4)
    assert [key for key, _, _ in reap(engine, sweep, cap=None)] == ["search#0"]
    assert finished(engine, claim)
    assert finished(engine, claimed(engine, sweep))
    assert states(engine, sweep) == {"search": "closed"}


class CutBefore:
    """Cuts the connection that is about to send the `at`-th statement from now on, commits included.

    Counts what this process sends to the database of `engine`, also through Optuna's engine.
    """

    def __init__(self, at: int, server: PostgresServer, engine: Engine) -> None:
        self.done = False
        self._left, self._server = at, server
        self._database = engine.url.database
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", self._count)
        self.no_more = lambda: (
            event.remove(Engine, "before_cursor_execute", self._statement),
            event.remove(Engine, "commit", self._count),
        )

    def _statement(self, connection: sqlalchemy.Connection, *statement: object) -> None:
        self._count(connection)

    def _count(self, connection: sqlalchemy.Connection) -> None:
        if connection.engine.url.database != self._database:
            return
        self._left -= 1
        if self._left == 0:
            self.done = True
            self._server.terminate_backend(backend(connection))


@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.slow)])
def test_each_attempt_has_one_trial_wherever_the_mirrors_connection_is_cut(
    server: PostgresServer, engine: Engine, every: int
) -> None:
    with contextlib.closing(open_studies(engine.url, create=True)) as studies:
        studies.create("s", metric="accuracy", attrs={"identity": "s", "stage": "search"}, note=None)
        new_sweep(engine, number=200)
        sweep = queries.find_sweep(engine, "s")
        mirror, drawn = Mirror(studies, lambda sweep: trial_of), 0
        for at in itertools.count(1, every):
            claim = claimed(engine, sweep.id)
            assert tasks.save_point(engine, claim, {"alpha": 0.5})
            if drawn % 2:
                assert mirror.look(sweep, begun_s=0.0) == 1
            assert finished(engine, claim)
            cut = CutBefore(at, server, studies.engine)
            with contextlib.suppress(StorageError):
                mirror.complete(sweep)
            cut.no_more()
            assert mirror.complete(sweep) <= 1
            drawn += 1
            if not cut.done:
                break
        assert drawn * every > 20, "too few statements were cut"
        trials = optuna.load_study(study_name="s", storage=studies.storage).trials
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * drawn
        assert {(trial.value, trial.user_attrs["result"]) for trial in trials} == {(0.5, 1)}


def trial_of(row: Undrawn) -> Trial:
    mark = {"task": row.key, "attempt": row.number}
    ended = row.state == "done"
    return Trial(
        state="COMPLETE" if ended else "RUNNING",
        attrs={MARK_ATTR: mark} | ({"result": 1} if ended else {}),
        space={"alpha": Range(0.0, 1.0)},
        params=row.params,
        value=0.5 if ended else None,
        epoch_values=[0.1, 0.2] if ended else (),
        started_at=row.started_at,
        ended_at=row.finished_at,
    )
