"""Steering a sweep from outside: pause, resume, cancel, extend, retry, reap, delete."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from kd.baselines.applications import APPLICATIONS, has_weights
from kd.errors import WeightsNotHere
from storage.db.engine import open_engine
from storage.errors import RevisionRefused, SweepInUse
from storage.queue.tasks import claim
from storage.records import queries
from storage.tables import TaskRecord
from storage.url import plain
from sweeps.errors import SpecError, SweepError
from sweeps.hints import explain
from sweeps.plan.jobs import AnyJob
from sweeps.plan.plan import make_plan, more
from sweeps.spec.model import override
from sweeps.usecases import steering
from sweeps.usecases.create import create_sweep
from sweeps.workers.runner import Outcome
from tests.support.sweeps.archived_sweeps import lived, records
from tests.support.sweeps.planted_sweeps import violations, work, worked
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created, tasks_of
from tests.support.sweeps.storage_sweeps import lapse

KdSweeps = Callable[..., tuple[int, str, str]]
OnStep = Callable[[], None]

ARMS = len(SMALL.transfer.source_arms) + len(SMALL.transfer.target_arms)


@pytest.fixture
def url(tmp_path: Path, in_memory: None) -> sqlalchemy.URL:
    return created(f"sqlite:///{tmp_path}/kd-sweeps.db")


@pytest.fixture
def engine(url: sqlalchemy.URL) -> Iterator[sqlalchemy.Engine]:
    database = open_engine(url)
    yield database
    database.dispose()


def _counts(engine: sqlalchemy.Engine) -> Counter[str]:
    return Counter(task.state for task in tasks_of(engine))


def test_a_paused_sweep_gives_no_tasks_until_it_is_resumed(
    url: sqlalchemy.URL, engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims: list[TaskRecord | None] = []

    def resuming(*arguments: Any, **options: Any) -> TaskRecord | None:
        claims.append(claim(*arguments, **options))
        if claims[-3:] == [None] * 3:
            assert _counts(engine)["done"] == 3, "running tasks are finished"
            steering.resume(url, "s")
        return claims[-1]

    def pausing(task: AnyJob, params: dict[str, Any], on_step: OnStep) -> Outcome:
        if len(claims) == 3:
            assert steering.pause(url, "s") == 1
        return quadratic(task, params, on_step)

    monkeypatch.setattr("storage.queue.tasks.claim", resuming)
    work(url, pausing)
    assert claims[3:6] == [None] * 3, "the worker waits"
    assert set(_counts(engine)) == {"done"}


def test_cancel_stops_a_worker_within_a_lease_interval_and_resume_continues(
    url: sqlalchemy.URL, engine: sqlalchemy.Engine
) -> None:
    def cancelling(claim: AnyJob, params: dict[str, Any], on_step: OnStep) -> Outcome:
        with pytest.raises(SweepInUse, match=r"teachers#(source|target)") as error:
            steering.delete(url, "s")
        assert explain(error.value).endswith("or type: kd-sweeps cancel s")
        assert _counts(engine)["running"] == 1, "a refused deletion changes nothing"
        assert steering.cancel(url, "s") == planned
        until = time.monotonic() + SMALL.lease.interval_s + 3
        while time.monotonic() < until:
            on_step()
            time.sleep(0.01)
        pytest.fail("the cancelled task still runs")

    planned = len(make_plan(SMALL).tasks)
    work(url, cancelling)
    assert _counts(engine) == {"cancelled": planned}
    assert violations(url) == []
    with pytest.raises(SweepError, match=r"cancelled; .* kd-sweeps resume s"):
        work(url, quadratic)
    with pytest.raises(SweepError, match="nothing to pause"):
        steering.pause(url, "s")
    assert steering.resume(url, "s") == planned
    work(url, quadratic)
    assert set(_counts(engine)) == {"done"}
    assert violations(url) == []
    deletion = steering.delete(url, "s")
    assert (deletion.tasks, deletion.studies) == (planned, 7)
    assert queries.list_sweeps(engine) == []
    assert create_sweep(url, "s", SMALL).new, "the name is free again"


def test_trials_and_searches_can_be_added_while_the_sweep_runs(url: sqlalchemy.URL, engine: sqlalchemy.Engine) -> None:
    assert steering.extend(url, "s", trials=3, seeds=0).tasks == 6
    steering.extend(url, "s", searches=1)
    steering.extend(url, "s", trials=1, searches=1)
    assert [revision.number for revision in queries.revisions(engine, 1)] == [1, 2, 3, 4]
    work(url, quadratic)
    tasks = tasks_of(engine)
    assert {task.state for task in tasks} == {"done"}
    searches = Counter(task.phase for task in tasks if task.stage == "search")
    assert searches == {"search": 8, "search@t0s1": 8, "search@t0s2": 8}, "trials were added before the selection"
    assert {task.key for task in tasks} == {task.key for task in make_plan(more(SMALL, trials=4, searches=2)[0]).tasks}
    assert violations(url) == []


def test_a_finished_sweep_takes_seeds_and_searches_and_announces_the_look_that_each_uses(
    kd_sweeps: KdSweeps, tmp_path: Path, in_memory: None
) -> None:
    def extended(*arguments: str) -> list[str]:
        code, out, err = kd_sweeps("extend", "s", *arguments)
        assert (code, out) == (0, ""), err
        return err.splitlines()

    url = worked(f"sqlite:///{tmp_path}/kd-sweeps.db")
    engine = open_engine(url)
    scores = {task.key: task.score for task in tasks_of(engine)}
    with pytest.raises(RevisionRefused, match=r"search of s has ended.* kd-sweeps extend s --searches \+1"):
        steering.extend(url, "s", trials=1, seeds=0)
    look = "this uses planned evaluation {} of 3 on the test set, at the 1 % level"
    assert extended("--seeds", "+1") == [look.format(2), f"{ARMS} tasks added. Next: kd-sweeps launch s"]
    line = f"dry run: nothing written; it would add {ARMS} tasks"
    assert extended("--seeds", "+1", "--dry-run") == [look.format(2), line], "a dry run does not use the look"
    work(url, quadratic)
    larger, added = more(more(SMALL, seeds=1)[0], searches=1)
    assert extended("--searches", "+1") == [
        f"{look.format(3)}; none is left after it",
        f"{len(added.tasks)} tasks added. Next: kd-sweeps launch s",
    ]
    states = {phase.name: phase.state for phase in queries.phase_records(engine, 1)}
    assert {name for name, state in states.items() if state == "open"} == {"search@t0s1", "native:search@t0s1"}
    assert states["measure"] == states["transfer:target"] == "closed"
    work(url, quadratic)
    tasks = {task.key: task for task in tasks_of(engine)}
    assert set(tasks) == {task.key for task in make_plan(larger).tasks}
    assert {task.state for task in tasks.values()} == {"done"}
    assert {key: tasks[key].score for key in scores} == scores
    assert not create_sweep(url, "s", larger).new, "the extended spec is that of this sweep"
    assert violations(url) == []
    assert steering.retry(url, "s") == []
    code, _, err = kd_sweeps("extend", "s", "--seeds", "+1", "--dry-run")
    assert (code, "3 of 3 used" in err) == (1, True), err
    engine.dispose()


def test_before_the_test_set_is_read_an_extension_belongs_to_the_first_look_or_to_none(
    kd_sweeps: KdSweeps, url: sqlalchemy.URL, engine: sqlalchemy.Engine
) -> None:
    for option, look, added in (
        ("--seeds", "this is part of planned evaluation 1 of 3 on the test set, at the 1 % level", ARMS),
        ("--trials", "this uses no evaluation on the test set", 2),
    ):
        line = f"dry run: nothing written; it would add {added} tasks"
        assert kd_sweeps("extend", "s", option, "+1", "--dry-run") == (0, "", f"{look}\n{line}\n")
    assert queries.find_sweep(engine, "s").revision == 1


def test_an_extension_by_nothing_is_refused(url: sqlalchemy.URL, engine: sqlalchemy.Engine) -> None:
    for by in ({}, {"trials": -1}, {"seeds": 1, "searches": -1}):
        with pytest.raises(SpecError, match=r"1 or more, for example --seeds \+10"):
            steering.extend(url, "s", **by)
    assert queries.find_sweep(engine, "s").revision == 1


def test_an_extended_sweep_is_still_found_by_its_original_spec(url: sqlalchemy.URL) -> None:
    steering.extend(url, "s", trials=0, seeds=1)
    assert not create_sweep(url, "s", SMALL).new
    with pytest.raises(SpecError, match=r"another spec \(.*search.trials: 4 -> 5"):
        create_sweep(url, "s", override(SMALL, {"search.trials": 5}))


def test_retry_repeats_failed_and_skipped_tasks_and_the_measurement(
    url: sqlalchemy.URL, engine: sqlalchemy.Engine
) -> None:
    def no_target_teacher(claim: AnyJob, params: dict[str, Any], on_step: OnStep) -> Outcome:
        if claim.key == "teachers#target":
            raise KeyError("a mistake")
        return quadratic(claim, params, on_step)

    work(url, no_target_teacher)
    before = _counts(engine)
    assert before["failed"] == 1
    assert before["skipped"] == 4 + 1 + len(SMALL.transfer.target_arms), "native and transfer on the target"
    retries = steering.retry(url, "s")
    assert len(retries) == 1 + before["skipped"]
    work(url, quadratic)
    tasks = {task.key: task for task in tasks_of(engine)}
    assert {task.state for task in tasks.values()} == {"done"}
    assert tasks["teachers#target"].attempt == SMALL.retry.error + 1
    assert "measure#all.1" in tasks
    assert len(tasks) == len(make_plan(SMALL).tasks) + 1
    assert violations(url) == []
    assert steering.retry(url, "s") == []


def test_retry_of_an_unavailable_baseline_changes_nothing_until_its_weights_exist(
    url: sqlalchemy.URL,
    engine: sqlalchemy.Engine,
    kd_sweeps: KdSweeps,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def no_weights(claim: AnyJob, params: dict[str, Any], on_step: OnStep) -> Outcome:
        if claim.row.stage == "baselines":
            raise WeightsNotHere("no weights; type: export KD_SWEEPS_WEIGHTS=DIR")
        return quadratic(claim, params, on_step)

    for variable in ("KD_SWEEPS_WEIGHTS", "KERAS_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    if has_weights("mobilenet"):
        pytest.skip("the weights are in /tmp/.keras, where Keras looks, too")
    work(url, no_weights)
    before = tasks_of(engine)
    code, out, err = kd_sweeps("retry", "s")
    assert (code, out) == (0, "")
    assert err == (
        "nothing has failed; baselines#mobilenet is unavailable: no weights; type: export KD_SWEEPS_WEIGHTS=DIR\n"
    )
    assert tasks_of(engine) == before
    assert queries.find_sweep(engine, "s").revision == 1
    (tmp_path / APPLICATIONS["mobilenet"].weights_file).touch()
    assert steering.retry(url, "s") == ["baselines#mobilenet"]
    assert "measure#all.1" in {task.key for task in tasks_of(engine)}


def test_reap_frees_the_task_of_a_dead_worker_and_completes_its_trial(tmp_path: Path) -> None:
    url = lived(f"sqlite:///{tmp_path}/s.db", stop_at="search#2")
    engine = open_engine(url)
    lapse(engine, records(url)["search#2"])
    engine.dispose()
    assert [(key, attempt) for key, attempt, _ in steering.reap_now(url, "s")[0]] == [("search#2", 1)]
    assert {task.state for task in records(url).values()} == {"done", "waiting"}
    assert violations(url) == []
    study = optuna.load_study(study_name="s", storage=plain(url))
    assert study.get_trials(states=[optuna.trial.TrialState.RUNNING]) == []


def test_commands_print_what_happened_and_what_to_type_next(kd_sweeps: KdSweeps, url: sqlalchemy.URL) -> None:
    for arguments, words in (
        (["pause", "s"], "resume s"),
        (["resume", "s"], "launch s"),
        (["extend", "s", "--seeds", "+1"], f"{ARMS} tasks added"),
        (["extend", "s", "--searches", "+1"], "14 tasks added"),
        (["retry", "s"], "nothing has failed"),
        (["reap", "s"], "0 tasks freed"),
        (["cancel", "s"], "resume s"),
    ):
        code, _, err = kd_sweeps(*arguments)
        assert (code, words in err) == (0, True), (arguments, err)
    code, _, err = kd_sweeps("launch", "s")
    assert code == 1
    assert "cancelled" in err
    assert "kd-sweeps resume s" in err
    code, _, err = kd_sweeps("extend", "s", "--seeds", "1")
    assert (code, "kd-sweeps resume s" in err) == (1, True)
    code, _, err = kd_sweeps("delete", "s")
    assert (code, "all results of s" in err, "kd-sweeps delete s --yes" in err) == (2, True, True)
    assert queries.list_sweeps(open_engine(url, read_only=True))
    assert kd_sweeps("delete", "s", "--yes")[0] == 0
    assert not queries.list_sweeps(open_engine(url, read_only=True))


def test_on_a_terminal_delete_asks_first(
    kd_sweeps: KdSweeps, url: sqlalchemy.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[str] = []

    def answer(text: str, *, yes: bool) -> bool:
        questions.append(text)
        return yes

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for yes, expected in ((False, 1), (True, 0)):
        monkeypatch.setattr("typer.confirm", lambda text, err, yes=yes: answer(text, yes=yes))
        code, _, err = kd_sweeps("delete", "s")
        assert code == expected
        assert err.startswith("deleted s" if yes else "nothing was deleted")
        assert len(queries.list_sweeps(open_engine(url, read_only=True))) == (0 if yes else 1)
    assert questions == ["Delete all results of s from sqlite:///kd-sweeps.db?"] * 2
    assert kd_sweeps("delete", "s")[0] == 1, "no question about a missing sweep"
    assert len(questions) == 2
