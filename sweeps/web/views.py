"""What the page shows of a sweep, computed once for everybody who looks."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import sqlalchemy

from storage.records import queries
from storage.records.queries import SweepRecord
from storage.studies.space import study_name
from sweeps.analysis.load import load
from sweeps.errors import NoResultsYet
from sweeps.query.best import Best, best
from sweeps.query.insight import insight
from sweeps.query.status import Status, status
from sweeps.report.answer import badge, headline
from sweeps.report.document import Badge
from sweeps.report.names import called
from sweeps.spec.model import as_it_stands
from sweeps.web.served import Served

FRESH_S = 2.0
"""So long everybody sees what one look at the database found."""


@dataclass(frozen=True)
class Answer:
    """What a finished sweep says. headline: two to four sentences."""

    badge: Badge
    headline: str


@dataclass(frozen=True, kw_only=True)
class View:
    """A sweep as people see it.

    source, target: datasets, as they are called; target is "" with one dataset. best: None before a trial of the search
    has finished. insight: a line on what is known so far, "" if nothing. answer: None until every task has ended.
    study: the number of its search in optuna-dashboard; None if that study was deleted.
    """

    source: str
    target: str
    status: Status
    best: Best | None
    insight: str
    answer: Answer | None
    study: int | None

    @property
    def name(self) -> str:
        """Of the sweep."""
        return self.status.sweep

    @property
    def finished(self) -> bool:
        """Whether every task has ended."""
        return self.status.seconds_left == 0

    @property
    def at_work(self) -> int:
        """How many workers have a task and a good lease."""
        return len({one.worker for one in self.status.workers if one.alive})


@dataclass
class Views:
    """Looks at sweeps, at most once in FRESH_S for all who ask; one that has ended is looked at again when it changes.

    Args:
        study_ids: tells the numbers of all studies by name.
    """

    served: Served
    study_ids: Callable[[], Mapping[str, int]]
    _kept: dict[str, tuple[float, View]] = field(default_factory=dict)
    _ended: dict[str, tuple[SweepRecord, View]] = field(default_factory=dict)
    _ids: Mapping[str, int] = field(default_factory=dict)
    _looking: threading.Lock = field(default_factory=threading.Lock)

    def of(self, name: str) -> View:
        """Return one sweep.

        Raises:
            storage.errors.StorageError: there is no such sweep, or the database cannot be read.
            SweepError: this service does not serve it.
        """
        with self._looking:
            kept = self._kept.get(name)
            if kept is None or time.monotonic() - kept[0] > FRESH_S:
                with self.served.database.open(self.served.check(name)) as (engine, sweep):
                    kept = time.monotonic(), self._look(engine, sweep)
                self._kept[name] = kept
            return kept[1]

    def newest(self, most: int) -> tuple[list[str], int]:
        """Return the names of the sweeps that were made last, the latest first, and how many there are."""
        with self.served.database.engine() as engine:
            names = [one.name for one in queries.list_sweeps(engine)]
        served = [name for name in reversed(names) if self.served.shows(name)]
        return served[:most], len(served)

    def _look(self, engine: sqlalchemy.Engine, sweep: SweepRecord) -> View:
        ended = self._ended.get(sweep.name)
        if ended is not None and ended[0] == sweep and not queries.outlook(engine, sweep.id).unended:
            return ended[1]
        now = status(engine, sweep)
        spec = as_it_stands(sweep)
        view = View(
            source=called(spec.source.shown),
            target="" if spec.target is None else called(spec.target.shown),
            status=now,
            best=_best(engine, sweep),
            insight=insight(spec, queries.task_records(engine, sweep.id, keep=())),
            answer=_answer(engine, sweep) if now.bits.answer_hash else None,
            study=self._study(sweep.name),
        )
        if view.finished:
            self._ended[sweep.name] = sweep, view
        return view

    def _study(self, name: str) -> int | None:
        wanted = study_name(name, "search")
        if wanted not in self._ids:
            self._ids = self.study_ids()
        return self._ids.get(wanted)


def _best(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Best | None:
    try:
        return best(engine, sweep)
    except NoResultsYet:
        return None


def _answer(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Answer | None:
    try:
        findings = load(engine, sweep)
    except NoResultsYet:
        return None
    return Answer(badge(findings), headline(findings))
