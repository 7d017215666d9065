"""A finished sweep with everything that an audit compares, and copies of it to damage. Imports no pytest."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy

from storage.records import artifacts
from storage.url import plain, resolve
from sweeps.distill.arms import SOURCE_ARMS, TARGET_ARMS
from sweeps.plan.jobs import AnyJob
from sweeps.spec.model import override
from sweeps.usecases.steering import extend
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import Worker
from tests.support.sweeps.quadratic_worker import changed, quadratic
from tests.support.sweeps.small_sweeps import SMALL, created, drawn_at_the_end
from tests.support.sweeps.trials_in_memory import made_once

OnStep = Callable[[], None]

AUDITED = override(SMALL, {"transfer.source_arms": SOURCE_ARMS, "transfer.target_arms": TARGET_ARMS})


def finish_sweep(url: str) -> None:
    """Complete a sweep "s" with a retry (search#1), blobs and a late extension."""
    made_once("audited", resolve(url), _finish)


def _finish(url: sqlalchemy.URL) -> None:
    resolved = created(plain(url), AUDITED)

    def run(claim: AnyJob, params: dict[str, Any], on_step: OnStep) -> Outcome:
        if (claim.key, claim.row.attempt) == ("search#1", 1):
            raise RuntimeError("out of luck")
        outcome = quadratic(claim, params, on_step)
        if claim.row.stage == "teachers":
            return changed(outcome, blobs={"logits": artifacts.put(worker.backend.engine, claim.key.encode() * 100)})
        return outcome

    for is_extended in (False, True):
        if is_extended:
            extend(resolved, "s", trials=0, seeds=1)
        with drawn_at_the_end(resolved), Worker(DatabaseBackend.open(resolved, "s"), run=run) as worker:
            assert worker.work() == 0


def new_database(server: str, *, template: str | None = None) -> str:
    """Create a database on a Postgres server, empty or a copy of one without connections; return its URL."""
    name = f"t{uuid.uuid4().hex[:12]}"
    copied = f" TEMPLATE {sqlalchemy.make_url(template).database}" if template else ""
    execute(server, f"CREATE DATABASE {name}{copied}")
    return plain(resolve(server).set(database=name))


def drop_database(server: str, url: str) -> None:
    """Remove a database of `new_database`."""
    execute(server, f"DROP DATABASE {sqlalchemy.make_url(url).database} WITH (FORCE)")


@contextmanager
def copied(template: str, folder: Path, server: str | None) -> Iterator[str]:
    """Copy a storage that is not in use; yield the URL of the copy, which on Postgres is removed at the end."""
    if server is None:
        path = folder / "copy.db"
        shutil.copy(str(resolve(template).database), path)
        yield f"sqlite:///{path}"
        return
    url = new_database(server, template=template)
    yield url
    drop_database(server, url)


def execute(url: str | sqlalchemy.URL, *statements: str) -> None:
    """Run SQL directly: without foreign keys on SQLite, each statement in its own transaction."""
    at = resolve(url) if isinstance(url, str) else url
    engine = sqlalchemy.create_engine(at, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
