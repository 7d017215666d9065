"""Findings of sweeps with planted numbers, from rows in memory: no database, worker or sampler.

The tasks are those of the plan, in the order in which they are claimed, and their rows are read as `load` reads them.
`tests/unit/sweeps/findings/test_load.py` compares the two. Imports no pytest.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeAlias, cast
from unittest import mock

import sqlalchemy

from storage.records.queries import Past
from storage.studies.sampler import propose
from storage.tables import RevisionRecord, SweepRecord, TaskRecord
from sweeps.findings.findings import Findings, findings
from sweeps.findings.load import StoredSweep, read
from sweeps.findings.secondary import questions
from sweeps.plan import selection
from sweeps.plan.jobs import (
    ConfirmTask,
    Job,
    Payload,
    SearchTask,
    StudentOutcome,
    TransferTask,
    read_finished,
    read_job,
)
from sweeps.plan.phases import Phase
from sweeps.plan.plan import make_plan
from sweeps.plan.points import fixed_params, planned_point, points_of
from sweeps.query.listing import TrialRow, trial_rows
from sweeps.report import markdown, methods
from sweeps.report.brief import brief
from sweeps.report.folder import json_data, results_csv, table_tex
from sweeps.report.html_page import html
from sweeps.report.page import page, report, secondary_blocks
from sweeps.spec.model import Spec
from sweeps.stats.response import top
from sweeps.stats.top import Run, Top
from sweeps.trainers.arms import Context
from sweeps.trainers.protocol import Point
from sweeps.usecases.run import study_note
from sweeps.workers.attempt import class_of
from tests.support.sweeps.planted_sweeps import Points, Runner, planted
from tests.support.sweeps.task_records import task_record

Planted: TypeAlias = Runner | Mapping[str, Points]

MADE = {"cpu": "a processor", "cores": 2, "threads": 1, "versions": {"python": "3"}, "git_commit": "c" * 40}
_CREATED = 1_750_000_000.0
_NOWHERE = cast(sqlalchemy.Engine, None)
_fitted = cache(top)  # the searches are the same, whatever is planted on the arms


def top_once(runs: Sequence[Run]) -> Top:
    """Return the surface fitted to these runs, which takes a tenth of a second, once in a process."""
    return _fitted(tuple(runs))


def make_findings(spec: Spec, run: Planted, **options: Any) -> Findings:
    """Return the findings of such a sweep; arguments as of `stored`."""
    with mock.patch("sweeps.stats.response.top", top_once):
        return findings(stored(spec, run, **options))


def stored(
    spec: Spec,
    run: Planted,
    *,
    until: str = "",
    left: str = "waiting",
    broken: str = "",
    name: str = "s",
    sampled: bool = False,
) -> StoredSweep:
    """Return the stored rows of a completed sweep, before anything is computed from them.

    Args:
        run: the runner, or the accuracies for `planted`. An exception is a failure without a retry.
        until: the beginning of the key of the first task that is not done; it and all later ones are in state `left`.
        broken: the beginning of the keys of tasks that fail.
        sampled: the sampler proposes the points, as before any trial has ended; slower than random points.
    """
    worked = _Worked(spec, run if callable(run) else planted(run), until, left, broken, sampled)
    values, fingerprint = spec.as_dict(), spec.fingerprint
    rows = SimpleNamespace(
        task_records=lambda *_: list(worked.records.values()),
        revisions=lambda *_: [RevisionRecord(1, _CREATED, fingerprint, values, planned={}, why="")],
        selections=lambda *_: {},  # missing ones are computed from the closed phases
        phase_records=lambda *_: [SimpleNamespace(name=phase, state="closed") for phase in worked.closed],
    )
    with mock.patch("sweeps.findings.load.queries", rows):
        return read(_NOWHERE, _sweep(spec, name))


def trials(spec: Spec, run: Planted) -> list[TrialRow]:
    """Return the rows of such a sweep, finished and with sampled points."""
    worked = _Worked(spec, run if callable(run) else planted(run), "", "waiting", "", True)
    rows = SimpleNamespace(task_records=lambda *_, **__: list(worked.records.values()))
    with mock.patch("sweeps.query.listing.queries", rows):
        return trial_rows(_NOWHERE, _sweep(spec, "s"))


def _sweep(spec: Spec, name: str) -> SweepRecord:
    return SweepRecord(1, name, 1, spec.as_dict(), spec.fingerprint, {}, "active", _CREATED, None, "identity")


def render_texts(findings: Findings) -> dict[str, str]:
    """Return every text about a sweep except its figures, by place."""
    secondary = secondary_blocks(findings.spec, questions(findings))
    blocks = page(findings, secondary=secondary, methods=[methods.section(findings)])
    return {
        "html": re.sub("<style>.*?</style>", "", html(blocks, title="s", figures={}), flags=re.DOTALL),
        "markdown": markdown.text(blocks),
        "csv": results_csv(findings),
        "tex": table_tex(findings),
        "json": json.dumps(json_data(findings)),
        "page": report(findings),
        "terminal": brief(findings, columns=80),
        "note": study_note(findings, {"s": 1}),
    }


class _Worked:
    """The tasks of a sweep, by key, and the phases that have ended."""

    def __init__(self, spec: Spec, run: Runner, until: str, left: str, broken: str, sampled: bool) -> None:
        plan = make_plan(spec)
        phases = {phase.name: phase for phase in plan.phases}
        self.records: dict[str, TaskRecord] = {}
        self.closed: set[str] = set()
        self._spec, self._run, self._broken, self._sampled = spec, run, broken, sampled
        self._confirms: list[Job[ConfirmTask, StudentOutcome]] = []
        self._bests: dict[Phase, Point] = {}
        for number, task in enumerate(plan.tasks, start=1):
            stage = phases[task.phase].stage
            self.records[task.key] = replace(
                task_record(task.key, number, stage=stage, phase=task.phase, state=left, payload=dict(task.payload)),
                started_at=None,
                finished_at=None,
            )
        open_tasks = Counter(task.phase for task in plan.tasks)
        waiting = [task.key for task in sorted(plan.tasks, key=lambda task: -task.priority)]
        self.closed |= phases.keys() - open_tasks.keys()
        for clock in range(len(waiting)):
            ready = {name for name, phase in phases.items() if all(need.phase in self.closed for need in phase.needs)}
            key = next((key for key in waiting if self.records[key].phase in ready), None)
            if key is None or (until and key.startswith(until)):
                break
            waiting.remove(key)
            record = self.records[key] = self._ended(self.records[key], _CREATED + 2 * clock + 1)
            open_tasks[record.phase] -= 1
            if not open_tasks[record.phase] and self._succeeded(record.phase, phases[record.phase].minimum):
                self.closed.add(record.phase)

    def _succeeded(self, phase: str, minimum: int) -> bool:
        return sum(task.state == "done" for task in self.records.values() if task.phase == phase) >= minimum

    def _ended(self, record: TaskRecord, at: float) -> TaskRecord:
        record = replace(record, started_at=at, finished_at=at + 1)
        job = read_job(record)
        payload = job.work
        params = self._params(payload, record.phase)
        try:
            if self._broken and record.key.startswith(self._broken):
                raise KeyError("a mistake")
            outcome = self._run(job, params, lambda: None)
        except Exception as error:
            kind = class_of(error, record.stage)
            reason = f"{type(error).__name__}: {error}" if kind == "error" else str(error)
            return replace(record, state="failed", reason=reason, error_class=kind)
        values = {**outcome.values.as_json(), "seed": record.payload.get("seed"), "wall_s": 1.0, "provenance": MADE}
        record = replace(record, state="done", score=outcome.score, outcome=values, params=params)
        self._confirms += read_finished([record], ConfirmTask, StudentOutcome)
        return record

    def _params(self, payload: Payload, phase: str) -> dict[str, Any]:
        spec = self._spec
        if isinstance(payload, TransferTask):
            return self._arm(payload).as_dict() | fixed_params(spec, payload)
        if isinstance(payload, ConfirmTask):
            return self._candidate(payload).as_dict()
        if not isinstance(payload, SearchTask):
            return fixed_params(spec, payload)
        if payload.sobol:
            return payload.sobol.as_dict()
        space, draw = spec.kind.space(spec), random.Random(payload.sampler_seed)
        if not self._sampled:
            return Point.at(space, [draw.random() for _ in space]).as_dict()
        earlier = [task.params for task in self.records.values() if task.phase == phase and task.params]
        running = [Past(params, None, running=True) for params in earlier]
        return propose(space, running, sampler=spec.search.sampler, seed=payload.sampler_seed or 0)

    def _candidate(self, payload: ConfirmTask) -> Point:
        top, searched = points_of(self._spec, payload) or 0, payload.ranks
        mine = (task for task in self.records.values() if task.phase == searched.name)
        ranks = selection.rank(read_finished(mine, SearchTask, StudentOutcome), top) or selection.survivors(
            selection.confirmed_for(searched, self._confirms), top
        )
        return ranks[min(payload.rank, len(ranks) - 1)].point

    def _arm(self, payload: TransferTask) -> Point:
        if point := planned_point(self._spec, payload):
            return point

        def best_of(role: str) -> Point:
            phase = Phase.confirm(role, payload.group)
            if phase not in self._bests:
                self._bests[phase] = selection.best(selection.confirmed_for(phase, self._confirms)).best.point
            return self._bests[phase]

        def nothing() -> Point:
            raise AssertionError

        context = Context(
            spec=self._spec,
            role=payload.role,
            best_of=best_of,
            fact=lambda role, name: 1.0,
            draw=nothing,
            chosen=nothing,
        )
        return self._spec.arm(payload.arm).point(context)
