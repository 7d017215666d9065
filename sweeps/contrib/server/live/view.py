"""`View`: a sweep as its page shows it, from sums and the newest rows of its database."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any
from urllib.parse import quote

import sqlalchemy

from storage.records import live, queries
from storage.records.live import Tally
from storage.records.queries import RunningRecord
from storage.tables import SweepRecord
from sweeps.contrib.server.live.plane import Plane, planes
from sweeps.contrib.server.live.so_far import SoFar, so_far
from sweeps.errors import NoResultsYet
from sweeps.findings.findings import load
from sweeps.plan.phases import Phase, display_stage
from sweeps.query.status import (
    Effort,
    Eta,
    StageCount,
    efforts,
    eta_of,
    failures,
    fingerprints,
    stage_counts,
    worker_state,
)
from sweeps.report import document
from sweeps.report.answer import badge, headline, statement
from sweeps.report.words import display_name
from sweeps.spec.model import SMOKE_TEST, Spec
from sweeps.terminal import duration
from sweeps.trainers.protocol import Point
from sweeps.trainers.score import Score
from sweeps.workers.logs import Report, reports

MOST_POINTS = 500  # trials that are read and drawn
_MOST_AT_WORK = 4  # tasks whose curves are drawn
_POINTS = ("search", "native", "confirm", "transfer")  # stages whose tasks have one
_TESTS = ("transfer", "measure")  # stages whose tasks read test data
_STILL_S = 60  # seconds without a step that are worth a word


@dataclass(frozen=True)
class Answer:
    """What a finished sweep says. headline: what to do, in a few words. why: the sentences that follow it, if any."""

    badge: document.Badge
    headline: str
    why: str


@dataclass(frozen=True)
class Stage:
    """A stage that has tasks. share: of the expected work of the sweep."""

    name: str
    share: float
    count: StageCount


@dataclass(frozen=True, kw_only=True)
class AtWork:
    """A task at work, in words. what: its arm and its point. fraction: how far it is, None: not known.

    report: what its trainer said last. curve: its validation scores as the points of a polyline, 100 x 100.
    """

    task: str
    what: str
    worker: str
    fraction: float | None
    report: str
    curve: str


@dataclass(frozen=True)
class WorkerLine:
    """A worker. doing: its task or its state. note: what is unusual about it, if anything. busy: whether it trains."""

    worker: str
    host: str
    doing: str
    note: str
    busy: bool


@dataclass(frozen=True, kw_only=True)
class View:
    """A sweep as people see it.

    source, target: datasets, as they are called; target is "" with one dataset. fraction: of the expected work, in
    [0, 1]. seconds_left: None while no worker is at work. banner: what a reader has to know first, "": nothing. is_cut:
    whether only the newest trials were read. tested: what the answer is measured on. test_used: whether any task has
    begun to read it. answer, answer_hash: None until every task has ended. study: the number of its search in
    optuna-dashboard, None if that study was deleted. workers, running: as of this look; everything else, as of the
    latest change.
    """

    name: str
    state: str
    source: str
    target: str
    stages: tuple[Stage, ...]
    fraction: float
    seconds_left: float | None
    problems: tuple[str, ...]
    banner: str
    score: Score
    planes: tuple[Plane, ...]
    is_cut: bool
    so_far: tuple[SoFar, ...]
    tested: str
    test_used: bool
    answer: Answer | None
    answer_hash: str | None
    study: int | None
    workers: tuple[WorkerLine, ...] = ()
    running: tuple[AtWork, ...] = ()

    @property
    def finished(self) -> bool:
        return not self.unended_stages

    @property
    def at_work(self) -> int:
        return sum(line.busy for line in self.workers)

    @property
    def unended_stages(self) -> int:
        return sum(stage.count.ended < stage.count.total for stage in self.stages)

    @property
    def path(self) -> str:
        """Of its page, and of its answers under /api/v1."""
        return f"/sweeps/{quote(self.name, safe='')}"

    @property
    def needs_workers(self) -> bool:
        """Whether work is left that nothing keeps back, and no worker does it."""
        return self.state == "active" and not self.finished and not self.at_work

    @property
    def activity(self) -> tuple[str, document.Tone]:
        """What is going on in a word or two, and its tone."""
        if self.state != "active":
            return self.state, "open"
        if self.finished:
            return ("finished, with failures", "bad") if self.problems else ("finished", "good")
        return ("no worker is running", "open") if self.needs_workers else ("running", "good")

    @property
    def orders(self) -> tuple[str, ...]:
        """What an operator may order now."""
        if self.finished and self.state != "cancelled":
            return ()
        return {"active": ("pause", "cancel"), "paused": ("resume", "cancel")}.get(self.state, ("resume",))

    @property
    def hosts(self) -> str:
        """Where workers train, for the end of a phrase: " on node-1", " on 3 machines"."""
        hosts = {line.host for line in self.workers if line.busy}
        return f" on {hosts.pop()}" if len(hosts) == 1 else f" on {len(hosts)} machines" if hosts else ""


def view(engine: sqlalchemy.Engine, sweep: SweepRecord, spec: Spec, *, at_work: int, study: int | None) -> View:
    """Read what changes only when a task, a phase or a selection of the sweep does."""
    tallies = live.tallies(engine, sweep.id)
    counts = stage_counts(engine, sweep.id)
    stages = [stage for stage, count in counts.items() if count.total]
    time = _eta(engine, sweep, spec, tallies, at_work)
    trials = live.newest_trials(engine, sweep.id, _POINTS, most=MOST_POINTS, best_of=_POINTS[:2])
    ended = all(counts[stage].ended == counts[stage].total for stage in stages)
    all_done = all(count.ended == count.done for count in counts.values())  # so far: then no phase has failed
    answer_hash = fingerprints(engine, sweep).answer_hash if ended else None
    return View(
        name=sweep.name,
        state=sweep.state,
        source=display_name(spec.source.shown),
        target=", ".join(display_name(spec.role(role).shown) for role in spec.targets),
        stages=tuple(
            Stage(display_stage(stage, stages), time.shares.get(stage, 0.0), counts[stage]) for stage in stages
        ),
        fraction=time.fraction,
        seconds_left=time.seconds_left,
        problems=() if all_done else tuple(failures(engine, sweep.id)),
        banner=SMOKE_TEST if spec.is_smoke_test else spec.kind.report().banner(spec),
        score=spec.score,
        planes=planes(spec, trials),
        is_cut=len(trials) >= MOST_POINTS,
        so_far=so_far(spec, trials),
        tested=spec.kind.features.tested,
        test_used=any(tally.attempts for tally in tallies if tally.stage in _TESTS),
        answer=_answer(engine, sweep) if answer_hash else None,
        answer_hash=answer_hash,
        study=study,
    )


def at_work_of(
    engine: sqlalchemy.Engine, sweep: SweepRecord, spec: Spec, running: Sequence[RunningRecord]
) -> tuple[AtWork, ...]:
    """Return the tasks that have run longest, with what their workers last stored of their logs."""
    longest = [task for task in running if task.lease_left_s >= 0][:_MOST_AT_WORK]
    if not longest:
        return ()
    keys = [task.key for task in longest]
    params = {task.key: task.params or {} for task in queries.task_records(engine, sweep.id, keys=keys, keep=())}
    by_task = {key: _reports(engine, sweep, key) for key in keys}
    silent = {task.stage for task in longest if not by_task[task.key]}
    took = {stage: queries.durations(engine, sweep.id, stage) for stage in silent}
    return tuple(
        AtWork(
            task=task.key,
            what=_what(spec, params.get(task.key, {})),
            worker=task.worker,
            fraction=by_task[task.key][-1].fraction if by_task[task.key] else _usual(task, took[task.stage]),
            report=by_task[task.key][-1].text if by_task[task.key] else "",
            curve=_curve(spec.score, by_task[task.key]),
        )
        for task in longest
    )


def _reports(engine: sqlalchemy.Engine, sweep: SweepRecord, key: str) -> list[Report]:
    attempts = queries.attempts_of(engine, sweep.id, key)
    return reports(attempts[-1].log or "", key) if attempts else []


def workers_of(
    engine: sqlalchemy.Engine, sweep: SweepRecord, spec: Spec, running: Sequence[RunningRecord]
) -> tuple[WorkerLine, ...]:
    """Return the workers at work, then those that wait for a task or are not seen any more."""
    lines = []
    for task in running:
        alive = task.lease_left_s >= 0
        text = f"no step for {duration(10 * round(task.idle_s / 10))}" if task.idle_s >= _STILL_S else ""
        lines.append(WorkerLine(task.worker, task.host, task.key, text if alive else "lease lapsed", busy=alive))
    busy = {task.worker for task in running}
    for worker in live.present_workers(engine, sweep.id):
        if worker.name not in busy:
            lease_s = spec.lease.seconds
            state = worker_state(ended=False, has_reason=False, seen_s=worker.seen_s, busy=False, lease_s=lease_s)
            note = f"last seen {duration(round(worker.seen_s))} ago" if state == "vanished" else ""
            lines.append(WorkerLine(worker.name, worker.host, state, note, busy=False))
    return tuple(lines)


def _eta(engine: sqlalchemy.Engine, sweep: SweepRecord, spec: Spec, tallies: Sequence[Tally], at_work: int) -> Eta:
    counted = [
        Effort(tally.stage, Phase.parse(tally.phase).role, tally.state, tally.tasks, tally.timed, tally.took_s)
        for tally in tallies
        if tally.stage != "baselines"  # whose one phase serves all datasets
    ]
    if len(counted) < len(tallies):
        counted += efforts(queries.task_records(engine, sweep.id, phase="baselines", keep=()))
    return eta_of(spec, counted, at_work)


def _answer(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Answer | None:
    with suppress(NoResultsYet):
        findings = load(engine, sweep)
        first = headline(findings)
        return Answer(badge(findings), first, statement(findings).removeprefix(first).strip())
    return None


def _what(spec: Spec, params: Mapping[str, Any]) -> str:
    names: Mapping[str, Callable[[str], str]] = {
        "arm": str,
        "method": spec.kind.report().display,
        "model": str,
        "dataset": display_name,
    }
    words = [word(str(params[name])) for name, word in names.items() if name in params]
    point = Point.of({name: value for name, value in params.items() if name not in names})
    return ", ".join(filter(None, [*words, point.brief(spec.kind.features.symbols, most=3)]))


def _usual(task: RunningRecord, took: Sequence[float]) -> float | None:
    """Return how far a task is if it takes as long as others of its stage did."""
    return min(task.running_s / median(took), 0.99) if took and median(took) > 0 else None


def _curve(score: Score, steps: Sequence[Report]) -> str:
    points = [(report.fraction, score.signed(report.validation)) for report in steps if report.validation is not None]
    levels = [level for _, level in points]
    if len(points) < 2 or min(levels) == max(levels):
        return ""
    height = max(levels) - min(levels)
    return " ".join(f"{100 * at:.1f},{100 * (max(levels) - level) / height:.1f}" for at, level in points)
