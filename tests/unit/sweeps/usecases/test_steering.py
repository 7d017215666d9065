"""Steering a sweep from outside: pause, resume, cancel, extend, retry, reap, delete."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from kd.baselines.applications import APPLICATIONS
from kd.errors import WeightsNotHere
from storage.db.engine import open_engine
from storage.errors import RevisionRefused, SweepInUse
from storage.records import queries
from storage.tables import TaskRecord
from storage.url import plain
from sweeps.distill.freeze import has_weights
from sweeps.distill.session import Outcome
from sweeps.errors import SpecError, SweepError
from sweeps.hints import explain
from sweeps.plan.plan import make_plan, more
from sweeps.spec.model import override
from sweeps.spec.stored import stored_spec
from sweeps.usecases import steering
from sweeps.usecases.create import create_sweep
from sweeps.workers.worker import Worker
from tests.support.sweeps.archived_sweeps import lived, records
from tests.support.sweeps.planted_sweeps import violations
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created, start_worker, tasks_of, wait_until

KdSweeps = Callable[..., tuple[int, str, str]]
OnStep = Callable[[], None]

# Whose lease does not lapse while a test looks.
CALM = override(SMALL, {"lease.grace_s": 30})
ARMS = len(SMALL.transfer.source_arms) + len(SMALL.transfer.target_arms)


@pytest.fixture
def url(tmp_path: Path, in_memory: None) -> sqlalchemy.URL:
    return created(f"sqlite:///{tmp_path}/kd-sweeps.db")


@pytest.fixture
def shared(tmp_path: Path) -> sqlalchemy.URL:
    """One that other processes can work on."""
    return created(f"sqlite:///{tmp_path}/kd-sweeps.db", CALM)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[sqlalchemy.Engine]:
    name = "shared" if "shared" in request.fixturenames else "url"
    made = open_engine(request.getfixturevalue(name))
    yield made
    made.dispose()


def _work(url: sqlalchemy.URL, run: Any = quadratic) -> None:
    with Worker(url, "s", run=run) as worker:
        assert worker.work() == 0


def _counts(engine: sqlalchemy.Engine) -> Counter[str]:
    return Counter(task.state for task in tasks_of(engine))


@pytest.mark.processes
def test_while_a_sweep_is_paused_nothing_is_claimed_and_resume_goes_on(
    shared: sqlalchemy.URL, engine: sqlalchemy.Engine
) -> None:
    worker = start_worker(str(shared), seconds=0.1)
    wait_until(lambda: _counts(engine)["done"] >= 3, "it does not work")
    steering.pause(shared, "s")
    wait_until(lambda: not _counts(engine)["running"], "what is at work is finished")
    done = _counts(engine)["done"]
    time.sleep(0.5)
    assert _counts(engine)["done"] == done
    assert worker.is_alive(), "it waits"
    steering.resume(shared, "s")
    worker.join(60)
    assert worker.exitcode == 0
    assert set(_counts(engine)) == {"done"}


@pytest.mark.processes
def test_cancel_stops_every_worker_within_a_lease_interval_and_resume_goes_on_where_it_was(
    shared: sqlalchemy.URL, engine: sqlalchemy.Engine
) -> None:
    workers = [start_worker(str(shared), seconds=20) for _ in range(2)]
    wait_until(lambda: _counts(engine)["running"] == 2, "both are at work")
    with pytest.raises(SweepInUse, match=r"teachers#(source|target)") as caught:
        steering.delete(shared, "s")
    assert explain(caught.value).endswith("first type: kd-sweeps cancel s")
    assert _counts(engine)["running"] == 2, "nothing was changed"
    taken = steering.cancel(shared, "s")
    started = time.monotonic()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert time.monotonic() - started < CALM.lease.interval_s + 3, "twenty seconds of work were left"
    assert _counts(engine) == {"cancelled": taken}
    assert violations(shared) == []
    with pytest.raises(SweepError, match=r"cancelled; .* kd-sweeps resume s"):
        _work(shared)
    with pytest.raises(SweepError, match="nothing to pause"):
        steering.pause(shared, "s")
    assert steering.resume(shared, "s") == taken
    _work(shared)
    assert set(_counts(engine)) == {"done"}
    assert violations(shared) == []
    gone = steering.delete(shared, "s")
    assert (gone.tasks, gone.studies) == (len(make_plan(CALM).tasks), 7)
    assert queries.list_sweeps(engine) == []
    assert create_sweep(shared, "s", CALM).new, "the name is free again"


def test_more_trials_are_done_by_both_searches_before_anything_is_selected(
    url: sqlalchemy.URL, engine: sqlalchemy.Engine
) -> None:
    planned = len(make_plan(SMALL).tasks)
    assert steering.extend(url, "s", trials=3, seeds=0) == 6
    _work(url)
    tasks = tasks_of(engine)
    assert len(tasks) == planned + 6
    assert {task.state for task in tasks} == {"done"}
    assert [task.key for task in tasks if task.phase == "search"] == [f"search#{n}" for n in range(7)]
    assert queries.find_sweep(engine, "s").spec["search"]["trials"] == 7
    assert [one.number for one in queries.revisions(engine, 1)] == [1, 2]
    assert violations(url) == []


def test_after_the_search_more_trials_are_refused_and_more_seeds_are_not(
    url: sqlalchemy.URL, engine: sqlalchemy.Engine
) -> None:
    _work(url)
    before = {task.key: task.score for task in tasks_of(engine)}
    with pytest.raises(RevisionRefused, match=r"search of s has closed.* kd-sweeps extend s --searches \+1"):
        steering.extend(url, "s", trials=1, seeds=0)
    assert steering.extend(url, "s", trials=0, seeds=2) == 2 * ARMS
    _work(url)
    tasks = tasks_of(engine)
    assert len(tasks) == len(before) + 2 * ARMS
    assert {task.state for task in tasks} == {"done"}
    assert {key: score for key, score in before.items() if key.startswith("search")} == {
        task.key: task.score for task in tasks if task.stage == "search"
    }
    assert violations(url) == []


def test_further_searches_of_a_finished_sweep_are_done_like_those_that_were_planned(
    url: sqlalchemy.URL, engine: sqlalchemy.Engine
) -> None:
    _work(url)
    before = tasks_of(engine)
    larger, added = more(stored_spec(queries.find_sweep(engine, "s")), searches=2)
    assert steering.extend(url, "s", searches=2) == len(added.tasks) == 2 * (2 * (4 + 1) + 2)
    states = {phase.name: phase.state for phase in queries.phase_records(engine, 1)}
    assert {name for name, state in states.items() if state == "open"} == {
        f"{stage}@t0s{number}" for stage in ("search", "native:search") for number in (1, 2)
    }
    assert states["measure"] == states["transfer:target"] == "closed"
    _work(url)
    tasks = {task.key: task for task in tasks_of(engine)}
    assert set(tasks) == {task.key for task in make_plan(larger).tasks}
    assert {task.state for task in tasks.values()} == {"done"}
    assert {task.key: task.score for task in before} == {task.key: tasks[task.key].score for task in before}
    assert queries.find_sweep(engine, "s").spec == larger.as_dict()
    assert not create_sweep(url, "s", larger).new, "the same experiment"
    assert violations(url) == []
    assert steering.retry(url, "s") == []


def test_further_searches_can_be_added_while_the_sweep_is_worked_on(
    url: sqlalchemy.URL, engine: sqlalchemy.Engine
) -> None:
    steering.extend(url, "s", searches=1)
    steering.extend(url, "s", trials=1, searches=1)
    _work(url)
    tasks = tasks_of(engine)
    assert {task.state for task in tasks} == {"done"}
    searches = Counter(task.phase for task in tasks if task.stage == "search")
    assert searches == {"search": 5, "search@t0s1": 5, "search@t0s2": 5}
    assert {task.key for task in tasks} == {task.key for task in make_plan(more(SMALL, trials=1, searches=2)[0]).tasks}
    assert violations(url) == []


@pytest.mark.parametrize(
    "by",
    [{}, {"trials": -1}, {"seeds": -2}, {"searches": 0}, {"searches": -1}, {"seeds": 1, "searches": -1}],
    ids=str,
)
def test_extending_by_nothing_is_refused(url: sqlalchemy.URL, engine: sqlalchemy.Engine, by: dict[str, int]) -> None:
    with pytest.raises(SpecError, match=r"1 or more, for example --seeds \+10"):
        steering.extend(url, "s", **by)
    assert queries.find_sweep(engine, "s").revision == 1


def test_an_extended_sweep_is_still_the_one_that_was_created(url: sqlalchemy.URL) -> None:
    steering.extend(url, "s", trials=0, seeds=1)
    assert not create_sweep(url, "s", SMALL).new
    larger, _ = more(SMALL, seeds=1)
    assert not create_sweep(url, "s", larger).new
    with pytest.raises(SpecError, match=r"another spec \(.*search.trials: 4 -> 5"):
        create_sweep(url, "s", override(SMALL, {"search.trials": 5}))


def test_a_longer_plan_holds_the_shorter_one_and_the_same_tasks_as_a_plan_made_so(url: sqlalchemy.URL) -> None:
    larger, added = more(SMALL, seeds=3)
    whole, known = make_plan(larger).tasks, make_plan(SMALL).tasks
    assert {task.key for task in whole} == {task.key for task in (*known, *added.tasks)}
    payloads = {task.key: task.payload for task in whole}
    assert {task.key: task.payload for task in added.tasks} == {task.key: payloads[task.key] for task in added.tasks}


def test_retry_does_what_failed_and_was_skipped_and_measures_once_more(
    url: sqlalchemy.URL, engine: sqlalchemy.Engine
) -> None:
    def no_target_teacher(claim: TaskRecord, params: dict[str, Any], on_step: OnStep) -> Outcome:
        if claim.key == "teachers#target":
            raise KeyError("a mistake")
        return quadratic(claim, params, on_step)

    _work(url, no_target_teacher)
    before = _counts(engine)
    assert before["failed"] == 1
    assert before["skipped"] == 4 + 1 + len(SMALL.transfer.target_arms), "native and transfer on the target"
    again = steering.retry(url, "s")
    assert len(again) == 1 + before["skipped"]
    _work(url)
    tasks = {task.key: task for task in tasks_of(engine)}
    assert {task.state for task in tasks.values()} == {"done"}
    assert tasks["teachers#target"].attempt == SMALL.retry.error + 1
    assert "measure#all.1" in tasks
    assert len(tasks) == len(make_plan(SMALL).tasks) + 1
    assert violations(url) == []
    assert steering.retry(url, "s") == []


def test_retry_of_what_is_unavailable_changes_nothing_until_its_weights_are_here(
    url: sqlalchemy.URL,
    engine: sqlalchemy.Engine,
    kd_sweeps: KdSweeps,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def no_weights(claim: TaskRecord, params: dict[str, Any], on_step: OnStep) -> Outcome:
        if claim.stage == "baselines":
            raise WeightsNotHere("no weights; type: export KD_SWEEPS_WEIGHTS=DIR")
        return quadratic(claim, params, on_step)

    for variable in ("KD_SWEEPS_WEIGHTS", "KERAS_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    if has_weights("mobilenet"):
        pytest.skip("the weights are in /tmp/.keras, where Keras looks, too")
    _work(url, no_weights)
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
    lapsed: list[Any] = []
    wait_until(lambda: bool(lapsed.extend(steering.reap_now(url, "s")[0]) or lapsed), "the lease lapses")
    assert [(key, attempt) for key, attempt, _ in lapsed] == [("search#2", 1)]
    assert {task.state for task in records(url).values()} == {"done", "waiting"}
    assert violations(url) == []
    study = optuna.load_study(study_name="s", storage=plain(url))
    assert study.get_trials(states=[optuna.trial.TrialState.RUNNING]) == []


def test_the_commands_say_what_happened_and_what_to_type_next(kd_sweeps: KdSweeps, url: sqlalchemy.URL) -> None:
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
    assert (code, "--yes" in err) == (2, True)
    assert queries.list_sweeps(open_engine(url, read_only=True))
    assert kd_sweeps("delete", "s", "--yes")[0] == 0
    assert not queries.list_sweeps(open_engine(url, read_only=True))


def test_an_extension_says_which_look_it_spends_before_it_does_so(kd_sweeps: KdSweeps, url: sqlalchemy.URL) -> None:

    def said(*arguments: str) -> list[str]:
        code, out, err = kd_sweeps("extend", "s", *arguments)
        assert (code, out) == (0, ""), err
        return err.splitlines()

    look = "look {} of 3 at the test images, decided at {} %"
    dry = "dry run: nothing was written; it would add {} tasks"
    first = f"no look was taken yet: this belongs to {look.format(1, 1)}"
    assert said("--seeds", "+1", "--dry-run") == [first, dry.format(ARMS)]
    assert said("--trials", "+1", "--dry-run") == ["this spends no look", dry.format(2)]
    assert queries.find_sweep(open_engine(url, read_only=True), "s").revision == 1
    _work(url)
    second = f"this spends {look.format(2, 1)}"
    assert said("--seeds", "+1", "--dry-run") == [second, dry.format(ARMS)]
    assert said("--seeds", "+1") == [second, f"{ARMS} tasks added. Next: kd-sweeps launch s"]
    assert said("--seeds", "+1", "--dry-run")[0] == second, "nothing of the second look was read"
    _work(url)
    assert said("--searches", "+1") == [
        f"this spends {look.format(3, 1)}; no look is left after it",
        "14 tasks added. Next: kd-sweeps launch s",
    ]
    _work(url)
    code, _, err = kd_sweeps("extend", "s", "--seeds", "+1", "--dry-run")
    assert (code, "3 of 3 declared looks" in err) == (1, True), err


def test_on_a_terminal_delete_asks_first(
    kd_sweeps: KdSweeps, url: sqlalchemy.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(text: str, *, yes: bool) -> bool:
        asked.append(text)
        return yes

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for yes, code in ((False, 1), (True, 0)):
        monkeypatch.setattr("typer.confirm", lambda text, err, yes=yes: answer(text, yes=yes))
        found, _, err = kd_sweeps("delete", "s")
        assert found == code
        assert err.startswith("deleted s" if yes else "nothing was deleted")
        assert len(queries.list_sweeps(open_engine(url, read_only=True))) == (0 if yes else 1)
    assert asked == ["Remove every result of s from sqlite:///kd-sweeps.db?"] * 2
    assert kd_sweeps("delete", "s")[0] == 1, "nobody is asked about a sweep that is not there"
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["extend", "s"], 2, ["--trials 0 --seeds 0", "--seeds +10"]),
        (["extend", "s", "--seeds", "-1"], 2, ["-1"]),
        (["extend", "s", "--seeds", "many"], 2, ["many"]),
        (["extend", "s", "--searches", "0"], 2, ["--searches 0", "1 or more"]),
        (["extend", "s", "--searches", "-1"], 2, ["-1"]),
        (["extend", "s", "--searches", "x"], 2, ["--searches", "'x'", "whole number"]),
        (["logs", "s", "--task", "search#99"], 1, ["search#99", "kd-sweeps trials s"]),
        (["logs", "s", "-n", "few"], 2, ["few", "whole number"]),
        (["delete", "s"], 2, ["every result of s", "kd-sweeps delete s --yes"]),
        (["extend", "s", "--dry-run"], 2, ["--trials 0 --seeds 0", "--seeds +10"]),
        (["pause", "a/b"], 2, ["'a/b'"]),
    ],
)
def test_bad_input_is_one_line(
    kd_sweeps: KdSweeps, url: sqlalchemy.URL, arguments: list[str], code: int, words: list[str]
) -> None:
    found, out, err = kd_sweeps(*arguments)
    assert found == code
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    for word in words:
        assert word in err


@pytest.mark.processes
def test_launch_on_a_paused_sweep_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import threading

    from rich.console import Console

    from sweeps.usecases.run import launch

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "cache"))
    url = created(f"sqlite:///{tmp_path}/s.db")
    steering.pause(url, "s")
    shown = io.StringIO()
    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert launch(url, "s", workers=1, console=Console(file=shown)) == 143
    assert "s is paused: workers wait. To go on: kd-sweeps resume s" in shown.getvalue()
    assert "stopped; nothing is lost" in shown.getvalue()
