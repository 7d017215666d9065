"""storage.studies.mirror: one trial for each attempt, after crashes, stops and deleted studies."""

from typing import Any
from unittest.mock import Mock

import optuna
import pytest
from sqlalchemy import Engine, select

from storage.db.transaction import read, write
from storage.errors import StorageError, StudyMissing, StudyMixed
from storage.queue import plans, tasks, workers
from storage.queue.tasks import Ending, given_back, reap_worker
from storage.records import queries
from storage.studies.mirror import Mirror, Undrawn, backlog
from storage.studies.space import MARK_ATTR, Range, Space, Trial
from storage.studies.studies import Studies, open_studies
from storage.tables import SweepRecord, TaskRecord, attempts
from tests.support.both_databases import both
from tests.support.sweeps.storage_sweeps import claimed, new_sweep

SPACE: Space = {"temperature": Range(1.0, 20.0, log=True), "alpha": Range(0.0, 1.0)}
PARAMS = {"temperature": 4.0, "alpha": 0.25}
OUTCOME: dict[str, Any] = {"trial": {"value": 0.9, "attrs": {"train_s": 1.5}, "epoch_values": [0.5, 0.9]}}


def show(row: Undrawn) -> Trial:
    """Make the trial of an attempt in the same way as `sweeps.plan.trials`."""
    mark = {"task": row.key, "attempt": row.number, "retry_of": row.retry_of}
    base: dict[str, Any] = {"space": SPACE, "params": row.params, "started_at": row.started_at}
    if row.state == "running":
        return Trial(state="RUNNING", attrs={MARK_ATTR: mark}, **base)
    base["ended_at"] = row.finished_at
    if row.state == "done":
        result = row.outcome["trial"]
        attrs = {MARK_ATTR: mark, "result": result["attrs"]}
        return Trial(state="COMPLETE", value=result["value"], epoch_values=result["epoch_values"], attrs=attrs, **base)
    return Trial(state="FAIL", attrs={MARK_ATTR: mark, "failure": {"reason": row.reason}}, **base)


@pytest.fixture
def studies(storage: Studies) -> Studies:
    storage.create("s", metric="val_accuracy", attrs={"identity": "s", "stage": "search"}, note=None)
    return storage


def mirror_of(studies: Studies) -> Mirror:
    return Mirror(studies, lambda sweep: show)


def sweep_of(studies: Studies) -> SweepRecord:
    return queries.find_sweep(studies.engine, "s")


def look(studies: Studies) -> int | None:
    """Let a newly started mirror look once."""
    return mirror_of(studies).look(sweep_of(studies), begun_s=0.0)


def begun(engine: Engine, sweep_id: int, *, worker: str = "w") -> TaskRecord:
    claim = claimed(engine, sweep_id, worker=worker)
    assert tasks.save_point(engine, claim, PARAMS)
    return claim


def finish(engine: Engine, claim: TaskRecord) -> None:
    assert tasks.finish(engine, claim, outcome=OUTCOME, score=0.9)


def trials_of(studies: Studies, name: str = "s") -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=studies.storage).trials


def states(studies: Studies, name: str = "s") -> list[str]:
    return [trial.state.name for trial in trials_of(studies, name)]


def drawn(engine: Engine) -> list[tuple[int | None, int | None, bool]]:
    """Return for each attempt its trial number, that of the previous attempt, and whether its end is drawn."""
    columns = (attempts.c.trial_number, attempts.c.retry_of, attempts.c.reported)
    with read(engine) as connection:
        rows = connection.execute(select(*columns).order_by(attempts.c.task_id, attempts.c.number))
        return [(row.trial_number, row.retry_of, row.reported) for row in rows]


@both
def test_a_trial_runs_and_ends_with_its_attempt_and_a_quick_one_is_drawn_once(studies: Studies, engine: Engine) -> None:
    sweep = new_sweep(engine, number=3)
    mirror, record = mirror_of(studies), sweep_of(studies)
    slow = begun(engine, sweep)
    claimed(engine, sweep)  # without a point there is nothing to draw
    assert mirror.look(record) == 0, "an attempt that has just begun may end soon, so it is not drawn yet"
    assert mirror.look(record, begun_s=0.0) == 1
    assert states(studies) == ["RUNNING"]
    assert mirror.look(record, begun_s=0.0) == 0
    quick = begun(engine, sweep)
    for claim in (slow, quick):
        finish(engine, claim)
    assert backlog(engine, sweep).count == 2
    assert mirror.look(record) == 2
    for trial in trials_of(studies):
        assert (trial.state.name, trial.value, trial.intermediate_values) == ("COMPLETE", 0.9, {0: 0.5, 1: 0.9})
        assert (trial.params, trial.user_attrs["result"]) == (PARAMS, {"train_s": 1.5})
        assert trial.datetime_complete is not None
    assert [trial.user_attrs["kd-sweeps"]["task"] for trial in trials_of(studies)] == [slow.key, quick.key]
    assert drawn(engine) == [(0, None, True), (None, None, False), (1, None, True)]
    assert backlog(engine, sweep).count == 0


def test_trials_of_failed_lost_released_and_cancelled_attempts_have_the_reason(
    studies: Studies, engine: Engine
) -> None:
    sweep = new_sweep(engine, number=1)
    tasks.end(engine, begun(engine, sweep), Ending("failed", "memory", "killed by the kernel"), cap=9)
    begun(engine, sweep, worker="dead")
    reap_worker(engine, "dead", cap=9)
    tasks.end(engine, claimed(engine, sweep), given_back())  # it has no point yet
    tasks.end(engine, begun(engine, sweep), given_back())
    begun(engine, sweep)
    workers.cancel(engine, sweep)
    assert look(studies) == 5
    assert states(studies) == ["FAIL"] * 4
    assert [trial.user_attrs["failure"]["reason"] for trial in trials_of(studies)] == [
        "killed by the kernel", "lost worker dead: its process died", "its worker was asked to stop",
        "the sweep was cancelled",
    ]  # fmt: skip
    assert drawn(engine) == [(0, None, True), (1, 0, True), (None, 1, True), (2, 1, True), (3, 2, True)]
    workers.resume(engine, sweep)
    assert claimed(engine, sweep).params == PARAMS


def test_running_attempts_are_drawn_before_ended_ones_but_a_retry_after_its_previous_attempt(
    studies: Studies, engine: Engine
) -> None:
    sweep = new_sweep(engine, number=3)
    first = begun(engine, sweep)
    finish(engine, first)
    tasks.end(engine, begun(engine, sweep), Ending("failed", "nan", "diverged"), cap=9)
    retry = begun(engine, sweep)
    other = begun(engine, sweep)
    assert look(studies) == 3
    assert [trial.user_attrs["kd-sweeps"]["task"] for trial in trials_of(studies)][:2] == [other.key, first.key]
    assert look(studies) == 1
    assert trials_of(studies)[-1].user_attrs["kd-sweeps"] == {"task": retry.key, "attempt": 2, "retry_of": 2}


class Died(Exception):
    """Simulate kill -9: nothing after the failpoint runs."""


@both
@pytest.mark.parametrize("point", ["drawing", "drawn", "attributes", "ended"])
@pytest.mark.parametrize("state", ["running", "ended", "ended meanwhile"])
def test_a_mirror_that_died_at_any_step_leaves_one_trial_for_each_attempt(
    studies: Studies, engine: Engine, monkeypatch: pytest.MonkeyPatch, point: str, state: str
) -> None:
    sweep = new_sweep(engine, number=4)
    before = begun(engine, sweep)
    assert look(studies) == 1
    finish(engine, before)
    claims = [begun(engine, sweep) for _ in range(2)]
    if state == "ended":
        for claim in claims:
            finish(engine, claim)

    def die(name: str) -> None:
        if name == point:
            raise Died

    with monkeypatch.context() as patched:
        for module in ("storage.studies.studies", "storage.studies.mirror"):
            patched.setattr(f"{module}.failpoint", die)
        patched.setattr("storage.studies.mirror._store", lambda *_: None)
        with pytest.raises(Died):
            look(studies)
    if state == "ended meanwhile":
        for claim in claims:
            finish(engine, claim)
    mirror_of(studies).complete(sweep_of(studies))
    look(studies)
    if state == "running":
        for claim in claims:
            finish(engine, claim)
        look(studies)
    assert states(studies) == ["COMPLETE"] * 3
    keys = [trial.user_attrs["kd-sweeps"]["task"] for trial in trials_of(studies)]
    assert sorted(keys) == sorted(claim.key for claim in (before, *claims))
    assert sorted(drawn(engine)) == [(0, None, True), (1, None, True), (2, None, True)]


@both
def test_two_mirrors_draw_each_attempt_once(studies: Studies, engine: Engine) -> None:
    sweep = new_sweep(engine, number=40)
    for _ in range(40):
        finish(engine, begun(engine, sweep))
    mirrors = [mirror_of(studies), Mirror(open_studies(engine.url), lambda sweep: show)]
    with mirrors[0]._turn(sweep) as is_held:
        assert is_held
        assert mirrors[1].look(sweep_of(studies)) is None, "only one mirror draws at a time"
    mirrors[0].close()
    record, counts = sweep_of(studies), [0, 0]
    while backlog(engine, sweep).count:
        for place, mirror in enumerate(mirrors):
            counts[place] += mirror.look(record, most_s=0.05) or 0
            mirror.close()
    assert len(states(studies)) == sum(counts) == 40
    assert min(counts) > 0
    mirrors[1].close()


def test_a_mirror_whose_session_was_ended_stops_drawing(
    postgres_storage: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres ends a session that was silent for 30 s, which releases its lock."""
    monkeypatch.setattr("storage.db.engine._TRUSTED_FOR_S", 0.0)
    studies, engine = open_studies(postgres_storage.engine.url), postgres_storage.engine
    with write(engine) as connection:
        for table in ("trials", "studies", "sweeps"):
            connection.exec_driver_sql(f"TRUNCATE {table} CASCADE")
    studies.create("s", metric="val_accuracy", attrs={"identity": "s", "stage": "search"}, note=None)
    sweep = new_sweep(engine, number=2)
    for _ in range(2):
        finish(engine, begun(engine, sweep))
    silent, stopped = open_studies(engine.url), list[str]()

    def stop(row: Undrawn) -> Trial:
        if not stopped:
            stopped.append(row.key)
            with write(engine) as connection:
                connection.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                )
            assert Mirror(silent, lambda sweep: show).complete(sweep_of(postgres_storage)) == 2
            silent.close()
        return show(row)

    with pytest.raises(StorageError, match="the connection broke while trials were drawn"):
        Mirror(studies, lambda sweep: stop).look(sweep_of(postgres_storage))
    assert states(postgres_storage) == ["COMPLETE"] * 2
    assert Mirror(studies, lambda sweep: show).complete(sweep_of(postgres_storage)) == 0
    studies.close()


def test_a_result_destroyed_before_its_trial_was_drawn_can_be_retried(studies: Studies, engine: Engine) -> None:
    sweep = new_sweep(engine, number=2)
    for _ in range(2):
        finish(engine, begun(engine, sweep))
    with write(engine) as connection:
        connection.exec_driver_sql("UPDATE tasks SET outcome = '{' WHERE key = 'search#0'")
    assert look(studies) == 1, "the intact one is drawn"
    with pytest.raises(StorageError, match="a stored value of search#0 is no longer JSON"):
        look(studies)
    assert plans.retry(engine, sweep, revision=1) == ["search#0"]
    finish(engine, begun(engine, sweep))
    assert look(studies) == 2
    assert states(studies) == ["COMPLETE", "FAIL", "COMPLETE"]
    failed = trials_of(studies)[1]
    assert failed.user_attrs["failure"]["reason"] == "its outcome had become unreadable"


def test_trials_left_by_workers_of_an_older_version_are_ended(studies: Studies, engine: Engine) -> None:
    """Those workers asked Optuna for a trial and stored its number afterwards."""
    sweep = new_sweep(engine, number=3)
    study = optuna.load_study(study_name="s", storage=studies.storage)
    claims = [claimed(engine, sweep) for _ in range(3)]
    for claim in (claims[0], claims[1], claims[1]):  # the second one asked twice
        former = {"asked_by": "kd-sweeps", "task": claim.key, "attempt": 1, "seed": 7}
        study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, user_attrs=former))
    with write(engine) as connection:
        for claim, number in ((claims[0], 0), (claims[1], 2)):
            connection.exec_driver_sql(
                f"UPDATE attempts SET study = 's', trial_number = {number}, params = '{{}}' WHERE task_id = {claim.id}"
            )
    finish(engine, claims[0])
    tasks.end(engine, claims[1], Ending("failed", "nan", "diverged"), cap=9)
    tasks.end(engine, claims[2], given_back())  # it never asked
    assert look(studies) == 3
    assert states(studies) == ["COMPLETE", "FAIL", "FAIL"]
    done, orphan, failed = trials_of(studies)
    assert (done.value, done.user_attrs["seed"], done.user_attrs["result"]) == (0.9, 7, {"train_s": 1.5})
    assert "kd-sweeps" not in done.user_attrs
    assert orphan.user_attrs["failure"] == {"reason": "no attempt has this trial"}
    assert failed.user_attrs["failure"] == {"reason": "diverged"}
    assert drawn(engine) == [(0, None, True), (2, None, True), (None, None, True)]


def test_trials_of_other_tools_are_left_alone(studies: Studies, engine: Engine) -> None:
    sweep, mirror = new_sweep(engine, number=2), mirror_of(studies)
    study = optuna.load_study(study_name="s", storage=studies.storage)
    study.add_trial(optuna.trial.create_trial(value=0.99))
    study.ask()
    study.enqueue_trial({"alpha": 0.5})
    for number in range(2):
        finish(engine, begun(engine, sweep))
        assert mirror.look(sweep_of(studies)) == 1
        study.add_trial(optuna.trial.create_trial(value=float(number)))
    assert states(studies) == ["COMPLETE", "RUNNING", "WAITING", *["COMPLETE"] * 4]
    assert trials_of(studies)[0].user_attrs == {}
    assert [number for number, _, _ in drawn(engine)] == [3, 5]


@pytest.mark.parametrize("how", ["deleted", "foreign", "mixed"])
def test_a_study_that_takes_no_trials_is_an_error_and_does_not_stop_the_others(
    studies: Studies, engine: Engine, how: str
) -> None:
    studies.create("s.confirm", metric="val_accuracy", attrs={"identity": "s", "stage": "confirm"}, note=None)
    sweep = new_sweep(engine, {"search": ((), 1, 1), "confirm": ((), 1, 1)})
    for _ in range(2):
        finish(engine, begun(engine, sweep))
    if how == "mixed":
        words = {"alpha": optuna.distributions.CategoricalDistribution(["low", "high"])}
        mixed = optuna.trial.create_trial(value=0.5, params={"alpha": "low"}, distributions=words)
        optuna.load_study(study_name="s", storage=studies.storage).add_trial(mixed)
    else:
        optuna.delete_study(study_name="s", storage=studies.storage)
    if how == "foreign":
        optuna.create_study(study_name="s", storage=studies.storage)
    assert look(studies) == 1
    assert states(studies, "s.confirm") == ["COMPLETE"]
    with pytest.raises(StudyMixed if how == "mixed" else StudyMissing):
        look(studies)
    assert backlog(engine, sweep).count == 1, "an audit still reports it"
    assert queries.task_records(engine, sweep)[0].state == "done", "our rows keep the result"
    if how == "deleted":
        studies.create("s", metric="val_accuracy", attrs={"identity": "s", "stage": "search"}, note=None)
        assert look(studies) == 1
        assert states(studies) == ["COMPLETE"]


def test_a_trial_that_only_shares_its_number_with_a_deleted_one_is_not_ended(studies: Studies, engine: Engine) -> None:
    sweep, mirror = new_sweep(engine, number=2), mirror_of(studies)
    old = begun(engine, sweep)
    assert mirror.look(sweep_of(studies), begun_s=0.0) == 1
    optuna.delete_study(study_name="s", storage=studies.storage)
    studies.create("s", metric="val_accuracy", attrs={"identity": "s", "stage": "search"}, note=None)
    living = begun(engine, sweep)
    assert mirror.look(sweep_of(studies), begun_s=0.0) == 1
    finish(engine, old)
    assert mirror.look(sweep_of(studies)) == 1
    assert states(studies) == ["RUNNING"]
    finish(engine, living)
    assert mirror.look(sweep_of(studies)) == 1
    assert states(studies) == ["COMPLETE"]
    assert drawn(engine) == [(0, None, True), (0, None, True)]


def test_a_mirror_without_time_left_still_draws_one_trial(studies: Studies, engine: Engine) -> None:
    sweep = new_sweep(engine, number=12)
    for _ in range(11):
        finish(engine, begun(engine, sweep))
    mirror = mirror_of(studies)
    assert mirror.look(sweep_of(studies), most_s=0.0) == 1
    assert mirror.complete(sweep_of(studies)) == 10


def test_a_trial_whose_number_could_not_be_stored_is_found_by_the_same_mirror(
    studies: Studies, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(engine, begun(engine, new_sweep(engine, number=1)))
    mirror = mirror_of(studies)
    with monkeypatch.context() as patched:
        patched.setattr("storage.studies.mirror._store", Mock(side_effect=StorageError("the disk is full")))
        with pytest.raises(StorageError, match="full"):
            mirror.look(sweep_of(studies))
    assert states(studies) == ["COMPLETE"]
    assert mirror.complete(sweep_of(studies)) == 1
    assert states(studies) == ["COMPLETE"]
