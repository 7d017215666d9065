"""The view of a sweep agrees with the commands at several moments; its cost."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kd.errors import Unavailable
from storage.records import live, queries
from storage.url import resolve
from sweeps.contrib.server.live import view as module
from sweeps.contrib.server.live.view import View
from sweeps.contrib.server.pages import sweep_page
from sweeps.contrib.server.state import Views, serve_database
from sweeps.operations.operation import LocalClient
from sweeps.operations.table import BEST, STATUS, TRIALS, SweepArgs, TrialsArgs
from sweeps.plan.jobs import AnyJob
from sweeps.query.listing import open_sweep
from sweeps.usecases import steering
from sweeps.workers.logs import JsonLines, about, logged, reports
from sweeps.workers.runner import Outcome
from tests.support.sweeps import reported_sweeps
from tests.support.sweeps.planted_sweeps import worked


@contextmanager
def views_of(url: str) -> Iterator[Views]:
    served = serve_database(resolve(url), None, allow_code=False)
    try:
        yield Views(served, dict)
    finally:
        served.database.close()


def looked(url: str) -> View:
    with views_of(url) as views:
        return views.of("s")


@pytest.mark.parametrize("stop_at", ["teachers", "search#2", "confirm", "native.search", "transfer", ""])
def test_the_view_says_what_status_trials_and_best_say(tmp_path: Path, stop_at: str) -> None:
    url = reported_sweeps.worked(tmp_path, stop_at=stop_at)
    client, view = LocalClient(resolve(url)), looked(url)
    status = client.ask(STATUS, SweepArgs(name="s"))
    assert view.fraction == pytest.approx(status.fraction)
    assert view.seconds_left == pytest.approx(status.seconds_left)
    assert {stage.name: stage.count for stage in view.stages} == status.display_stages
    assert [stage.share for stage in view.stages] == pytest.approx([share for share in status.shares.values() if share])
    assert (view.answer_hash, view.problems) == (status.fingerprints.answer_hash, status.problems)
    assert (view.answer is not None) == view.finished == (stop_at == "")
    trials = client.ask(TRIALS, TrialsArgs(name="s"))
    searched = {row.task for row in trials if row.task.startswith(("search#", "native.search#")) and row.score}
    assert searched <= {dot.task for plane in view.planes for dot in plane.dots if dot.score}
    assert view.test_used == any(row.attempt for row in trials if row.stage in ("transfer", "measure"))
    if searched:
        best = client.ask(BEST, SweepArgs(name="s"))
        assert view.so_far[0].point == best.point.text()
    page = sweep_page(view)
    assert "have not been used: no choice so far depends on them" in page or view.test_used


@pytest.mark.parametrize(("failing", "activity"), [("teachers#target", "bad"), ("baselines", "good")])
def test_a_failure_is_a_problem_and_a_baseline_that_cannot_run_here_is_none(
    tmp_path: Path, failing: str, activity: str
) -> None:
    def run(claim: AnyJob, *more: Any) -> Outcome:
        if claim.key.startswith(failing):
            raise Unavailable("no weights")
        return reported_sweeps.run(claim, *more)

    url = f"sqlite:///{tmp_path}/s.db"
    worked(url, reported_sweeps.REPORTED, run)
    view, status = looked(url), LocalClient(resolve(url)).ask(STATUS, SweepArgs(name="s"))
    assert (view.problems, view.activity[1]) == (status.problems, activity)
    assert bool(view.problems) == (activity == "bad")


def test_a_task_without_reports_is_as_far_as_others_of_its_stage_suggest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "durations", lambda _, __, stage: [1e6] * (stage == "native"))
    (at_work,) = looked(reported_sweeps.worked(f"sqlite:///{tmp_path}/a.db", stop_at="native.search#2")).running
    assert (at_work.report, at_work.curve) == ("", "")
    assert 0 < (at_work.fraction or 0) < 0.1
    (at_work,) = looked(reported_sweeps.worked(f"sqlite:///{tmp_path}/b.db", stop_at="search#2")).running
    assert at_work.fraction is None


def test_an_unchanged_sweep_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = reported_sweeps.worked(tmp_path, stop_at="confirm")
    calls, make = list[str](), module.view

    def counted(*args: object, **kwargs: object) -> View:
        calls.append("view")
        return make(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "view", counted)
    with views_of(url) as views:
        assert views.of("s") == views.of("s")
        assert len(calls) == 1
        steering.pause(resolve(url), "s")
        assert views.of("s").activity == ("paused", "open")
        assert len(calls) == 2


def test_both_databases_give_the_newest_trials_with_the_best_one_and_count_the_tasks(storage_url: str) -> None:
    url = resolve(reported_sweeps.worked(storage_url, stop_at="confirm"))
    with open_sweep(url, "s") as (engine, sweep):
        every = live.newest_trials(engine, sweep.id, ("search",), most=100, best_of=("search",))
        few = live.newest_trials(engine, sweep.id, ("search",), most=1, best_of=("search",))
        tallies = live.tallies(engine, sweep.id)
        tasks = queries.task_records(engine, sweep.id)
        assert live.present_workers(engine, sweep.id) == []
    assert [task.id for task in every] == sorted((task.id for task in every), reverse=True)
    best = max(every, key=lambda task: task.score or 0.0)
    assert [task.key for task in few] == list(dict.fromkeys((every[0].key, best.key)))
    counted = Counter((task.phase, task.state) for task in tasks)
    assert {(tally.phase, tally.state): tally.tasks for tally in tallies} == counted
    took = sum(task.finished_at - task.started_at for task in tasks if task.finished_at and task.started_at)
    assert sum(tally.took_s for tally in tallies) == pytest.approx(took)


def test_only_an_operator_has_buttons_and_those_that_can_be_used(tmp_path: Path) -> None:
    view = looked(reported_sweeps.worked(tmp_path, stop_at="confirm"))
    assert "<form" not in sweep_page(view)
    assert view.orders == ("pause", "cancel")
    page = sweep_page(view, may_steer=True)
    assert '<form id="pause" method="post" action="/sweeps/s/pause"><button>Pause</button></form>' in page
    assert 'action="/sweeps/s/cancel"' in page


def test_what_a_training_reports_is_read_from_the_log_that_its_worker_stores() -> None:
    lines, handler = list[str](), logging.Handler()
    handler.setFormatter(JsonLines())
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    logger = logging.getLogger("sweeps.workers.logs")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with about("search#3", 1), pytest.MonkeyPatch.context() as patch:
            patch.setattr("sweeps.workers.logs.LOG_EVERY_S", 0.0)
            report = logged("search#3")
            report(0.25, "epoch 1 of 4")
            report(0.5, "epoch 2 of 4: validation 0.8125")
            report(1.0, "trial 1 of 2, epoch 3 of 3: validation accuracy 0.900")
        with about("search#4", 1):
            logging.getLogger("sweeps.workers.logs").info("search#3 99 %%: of another task")
    finally:
        logger.removeHandler(handler)
    entries = reports("\n".join(["noise of a library", *lines]), "search#3")
    assert [(report.fraction, report.validation) for report in entries] == [(0.25, None), (0.5, 0.8125), (1.0, 0.9)]
    assert entries[0].text == "epoch 1 of 4"
