"""What is served: one engine for all requests, the threads that ask it, and a view of each sweep for its page."""

import threading
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import sqlalchemy
from anyio import CapacityLimiter, WouldBlock
from fastapi import Depends, Path, Request

from storage.db.engine import open_engine
from storage.records import queries
from storage.studies.space import study_name
from storage.tables import SweepRecord
from sweeps.contrib.server.drawing import Drawings, Form, state_of
from sweeps.contrib.server.shared import Busy, Places, Shared
from sweeps.errors import NoResultsYet, NotThere
from sweeps.findings.findings import load
from sweeps.hints import local
from sweeps.operations.operation import LocalClient
from sweeps.query.best import Best, best, insight
from sweeps.query.listing import SweepRow, sweep_row
from sweeps.query.status import Status, status
from sweeps.report import document, words
from sweeps.report.answer import badge, statement
from sweeps.spec.model import Name as Pattern
from sweeps.spec.stored import as_it_stands, check_name

PING_S = 15  # between signs of life on a stream of events
CACHE_TTL_S = 2.0  # for so long, every page shows the same look at the database
MOST_FOLLOWERS = 100
T = TypeVar("T")


class CachedClient(LocalClient):
    # A request does not pay for a connection and a look at the schema: the engine is opened once.
    def __init__(self, url: sqlalchemy.URL) -> None:
        super().__init__(url)
        self._engine: sqlalchemy.Engine | None = None
        self._opening = threading.Lock()

    @contextmanager
    def engine(self) -> Iterator[sqlalchemy.Engine]:
        """Give the engine; it is opened by the first who asks, and again after a failure to do so."""
        if self._engine is None:
            opened = open_engine(self.url, read_only=True)  # without a lock: nobody waits for one who waits in vain
            with self._opening:
                first = self._engine = self._engine or opened
            if first is not opened:
                opened.dispose()
        yield self._engine

    @contextmanager
    def open(self, name: str) -> Iterator[tuple[sqlalchemy.Engine, SweepRecord]]:
        with self.engine() as engine:
            yield engine, queries.find_sweep(engine, check_name(name))

    def close(self) -> None:
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None


@dataclass(frozen=True)
class Served:
    """A database and which of its sweeps are shown.

    names: None shows all. allow_code: specs may name Python code. questions: two at once; with the one of a probe each
    has a connection of the pool for itself. orders: each opens a connection of its own.
    """

    database: CachedClient
    names: frozenset[str] | None
    allow_code: bool
    drawings: Drawings
    questions: Places = field(default_factory=lambda: Places(2))
    probe: Places = field(default_factory=lambda: Places(1))
    orders: Places = field(default_factory=lambda: Places(2))
    _shared: Shared = field(default_factory=Shared)

    async def ask(self, key: Hashable, question: Callable[[], T], *, fresh_s: float = 0.0) -> T:
        """Ask the database in a thread, once for all who ask the same at the same time; fresh_s as in `Shared.get`."""
        # What is answered, and what is wrong with the question, is worded for a reader.
        return await self._shared.get((key, local()), lambda: self.questions.ask(question), fresh_s=fresh_s)

    async def check_database(self) -> None:
        """Raise StorageError where the database does not answer. Waits for no other question."""

        def ask() -> None:
            with self.database.engine() as engine:
                queries.is_sweep(engine, "")

        await self._shared.get("probe", lambda: self.probe.ask(ask))

    async def report(self, name: str, form: Form) -> bytes:
        def state() -> Any:
            with self.database.open(name) as (engine, sweep):
                return state_of(engine, sweep)

        return await self.drawings.get(name, form, lambda: self.ask(("state", name), state))

    def shows(self, name: str) -> bool:
        return self.names is None or name in self.names

    def check(self, name: str) -> str:
        if self.names is not None and check_name(name) not in self.names:
            raise NotThere(f"this service does not serve {name!r}; those it does: {local().line('list')}")
        return name

    def rows(self, *, limit: int, offset: int) -> tuple[list[SweepRow], int]:
        with self.database.engine() as engine:
            served = [sweep for sweep in queries.list_sweeps(engine) if self.shows(sweep.name)]
            return [sweep_row(engine, sweep) for sweep in served[offset : offset + limit]], len(served)


def serve_database(url: sqlalchemy.URL, names: frozenset[str] | None, *, allow_code: bool) -> Served:
    return Served(CachedClient(url), names, allow_code, Drawings(url))


async def _served(request: Request) -> Served:  # async: a plain function would take a thread
    served: Served = request.app.state.served
    return served


Serving = Annotated[Served, Depends(_served)]


_Typed = Annotated[
    str, Path(description="Name of the sweep.", max_length=200, json_schema_extra={"pattern": f"^{Pattern.pattern}$"})
]


async def _named(served: Serving, name: _Typed) -> str:
    return served.check(name)


Name = Annotated[str, Depends(_named)]


async def follower(request: Request) -> AsyncIterator[None]:
    """Hold one of the places of those who follow a page or a log, taken before anything is waited for."""
    places: CapacityLimiter = request.app.state.followers
    try:
        places.acquire_on_behalf_of_nowait(request)
    except WouldBlock:
        raise Busy(f"{MOST_FOLLOWERS} pages and logs are followed already; try again later") from None
    try:
        yield
    finally:
        places.release_on_behalf_of(request)


@dataclass(frozen=True)
class Answer:
    """What a finished sweep says. headline: two to four sentences."""

    badge: document.Badge
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
        return self.status.sweep

    @property
    def finished(self) -> bool:
        return self.status.seconds_left == 0

    @property
    def at_work(self) -> int:
        return len({worker.worker for worker in self.status.workers if worker.alive})

    @property
    def path(self) -> str:
        """Of its page, and of its answers under /api/v1."""
        return f"/sweeps/{quote(self.name, safe='')}"

    @property
    def needs_workers(self) -> bool:
        """Whether work is left that nothing keeps back, and that nobody does."""
        return self.status.state == "active" and not self.finished and not self.at_work

    @property
    def activity(self) -> tuple[str, document.Tone]:
        """What is going on in a word or two, and its tone."""
        if self.status.state != "active":
            return self.status.state, "open"
        if self.finished:
            return ("finished, with failures", "bad") if self.status.problems else ("finished", "good")
        return ("no worker is running", "open") if self.needs_workers else ("running", "good")


@dataclass
class Views:
    """Looks at sweeps; one at a sweep that has ended is kept until it changes."""

    served: Served
    study_ids: Callable[[], Mapping[str, int]]
    _ended: dict[str, tuple[SweepRecord, View]] = field(default_factory=dict)
    _ids: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str) -> View:
        with self.served.database.open(self.served.check(name)) as (engine, sweep):
            return self._look(engine, sweep)

    def newest(self, most: int) -> tuple[list[str], int]:
        """Return the names of the sweeps that were made last, the latest first, and how many there are."""
        with self.served.database.engine() as engine:
            names = [sweep.name for sweep in queries.list_sweeps(engine)]
        served = [name for name in reversed(names) if self.served.shows(name)]
        return served[:most], len(served)

    def _look(self, engine: sqlalchemy.Engine, sweep: SweepRecord) -> View:
        ended = self._ended.get(sweep.name)
        if ended is not None and ended[0] == sweep and not queries.outlook(engine, sweep.id).unended:
            return ended[1]
        now = status(engine, sweep)
        spec = as_it_stands(sweep)
        view = View(
            source=words.display_name(spec.source.shown),
            target="" if spec.target is None else words.display_name(spec.target.shown),
            status=now,
            best=_best(engine, sweep),
            insight=insight(spec, queries.task_records(engine, sweep.id, keep=())),
            answer=_answer(engine, sweep) if now.fingerprints.answer_hash else None,
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
    with suppress(NoResultsYet):
        return best(engine, sweep)
    return None


def _answer(engine: sqlalchemy.Engine, sweep: SweepRecord) -> Answer | None:
    with suppress(NoResultsYet):
        findings = load(engine, sweep)
        return Answer(badge(findings), statement(findings))
    return None
