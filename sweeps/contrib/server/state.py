"""What a service serves: one engine for all requests, the threads that query it, and a view of each sweep."""

import threading
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeVar

import sqlalchemy
from anyio import CapacityLimiter, WouldBlock
from fastapi import Depends, Path, Request

from storage.db.engine import open_engine
from storage.records import queries
from storage.studies.space import study_name
from storage.tables import SweepRecord
from sweeps.contrib.server.drawing import Drawings, Form, state_of
from sweeps.contrib.server.live import view
from sweeps.contrib.server.live.view import View
from sweeps.contrib.server.shared import Busy, Places, Shared
from sweeps.errors import NotThere
from sweeps.hints import local
from sweeps.operations.operation import LocalClient
from sweeps.query.listing import SweepRow, sweep_row
from sweeps.spec.model import Name as Pattern
from sweeps.spec.model import Spec
from sweeps.spec.stored import as_it_stands, check_name

PING_S = 15  # between keep-alive comments on a stream of events
CACHE_TTL_S = 2.0  # how long all followers of a page share one reading of the database
MOST_FOLLOWERS = 100
T = TypeVar("T")


class CachedClient(LocalClient):
    # Opens the engine once: no request pays for a connection and a check of the schema.
    def __init__(self, url: sqlalchemy.URL) -> None:
        super().__init__(url)
        self._engine: sqlalchemy.Engine | None = None
        self._opening = threading.Lock()

    @contextmanager
    def engine(self) -> Iterator[sqlalchemy.Engine]:
        """Give the engine. The first request opens it; after a failure the next one tries again."""
        if self._engine is None:
            opened = open_engine(self.url, read_only=True)  # outside the lock: a silent server blocks one request only
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
    """A database and which of its sweeps are served.

    names: None serves all. allow_code: specs may name Python code. questions: two at once, so that each of them and a
    probe has its own connection of the pool. orders: each opens its own connection.
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
        """Query the database in a thread, once for all simultaneous equal requests; fresh_s as in `Shared.get`."""
        # By reader too: answers and errors name commands as that reader types them.
        return await self._shared.get((key, local()), lambda: self.questions.ask(question), fresh_s=fresh_s)

    async def check_database(self) -> None:
        """Raise StorageError if the database does not answer. Waits for no other query."""

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


async def _served(request: Request) -> Served:  # async: FastAPI runs a plain function in a thread
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
    """Hold one of the places for followers of a page or a log, taken before anything is awaited."""
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
class _Look:
    """A view with its inputs: while they are the same, only what workers do is read again."""

    sweep: SweepRecord
    spec: Spec
    of: Any
    view: View


@dataclass
class Views:
    """Views of sweeps. What has not changed is not read again, however many follow it."""

    served: Served
    study_ids: Callable[[], Mapping[str, int]]
    _looks: dict[str, _Look] = field(default_factory=dict)
    _ids: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str) -> View:
        with self.served.database.open(self.served.check(name)) as (engine, sweep):
            return self._view(engine, replace(sweep, repaired_at=None))

    def newest(self, most: int) -> tuple[list[str], int]:
        """Return the names of the sweeps that were made last, the latest first, and how many there are."""
        with self.served.database.engine() as engine:
            names = [sweep.name for sweep in queries.list_sweeps(engine)]
        served = [name for name in reversed(names) if self.served.shows(name)]
        return served[:most], len(served)

    def _view(self, engine: sqlalchemy.Engine, sweep: SweepRecord) -> View:
        known = self._looks.get(sweep.name)
        if known is not None and known.sweep != sweep:
            known = None
        if known is not None and known.view.finished and not queries.outlook(engine, sweep.id).unended:
            return known.view
        running = queries.running_tasks(engine, sweep.id)
        at_work = frozenset(task.worker for task in running if task.lease_left_s >= 0)
        of = queries.progress(engine, sweep.id), at_work
        if known is None or known.of != of:
            spec, study = as_it_stands(sweep), self._study(sweep.name)
            made = view.view(engine, sweep, spec, at_work=len(at_work), study=study)
            known = _Look(sweep, spec, of, made)
        now = replace(
            known.view,
            workers=view.workers_of(engine, sweep, known.spec, running),
            running=view.at_work_of(engine, sweep, known.spec, running),
        )
        self._looks[sweep.name] = replace(known, view=now)
        return now

    def _study(self, name: str) -> int | None:
        wanted = study_name(name, "search")
        if wanted not in self._ids:
            self._ids = self.study_ids()
        return self._ids.get(wanted)
