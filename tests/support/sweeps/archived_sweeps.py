"""A sweep with every kind of record to archive, and edited archives. Imports no pytest."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy

from storage.db.transaction import write
from storage.queue.workers import sign_in, sign_out
from storage.records import artifacts, queries
from storage.tables import TaskRecord, attempts, tasks
from storage.url import plain, resolve
from sweeps.query.listing import open_sweep
from sweeps.spec.model import Spec
from sweeps.workers.backend import DatabaseBackend
from sweeps.workers.runner import Outcome
from sweeps.workers.worker import Worker
from tests.support.sweeps.quadratic_worker import changed, quadratic
from tests.support.sweeps.small_sweeps import SMALL, created
from tests.support.sweeps.trials_in_memory import made_once


def lived(url: str, spec: Spec = SMALL, *, stop_at: str = "") -> sqlalchemy.URL:
    """Create a sweep with blobs, a failed and a released attempt, logs, a traceback and a registered worker.

    Args:
        stop_at: the worker stops in the middle of the first task whose key begins with this; "": never.
    """
    at = resolve(url)
    made_once(("lived", spec.model_dump_json(), stop_at), at, lambda to: _live(to, spec, stop_at))
    return at


def _live(url: sqlalchemy.URL, spec: Spec, stop_at: str) -> None:
    class Killed(BaseException):
        """Ends the worker as kill -9 does, with no further writes."""

    def run(claim: Any, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if stop_at and claim.key.startswith(stop_at):
            raise Killed
        if claim.key == "search#1" and claim.row.attempt == 1:
            raise ValueError("a first try that failed")
        outcome = quadratic(claim, params, on_step)
        if claim.row.stage == "teachers":
            return changed(outcome, blobs={"logits": artifacts.put(worker.backend.engine, claim.key.encode() * 50)})
        return outcome

    created(plain(url), spec)
    with Worker(DatabaseBackend.open(url, "s"), run=run, worker="host-1-abcd") as worker:
        sign_in(
            worker.backend.engine, worker.backend.sweep.id, "host-1-abcd", host="host", pid=1, provenance={"cpu": "any"}
        )
        try:
            assert worker.work() == 0
        except Killed:
            pass
        else:
            sign_out(worker.backend.engine, worker.backend.sweep.id, "host-1-abcd", reason=None)
        with write(worker.backend.engine) as connection:
            first = sqlalchemy.select(tasks.c.id).where(tasks.c.key == "search#1").scalar_subquery()
            first_attempt = sqlalchemy.update(attempts).where(attempts.c.task_id == first, attempts.c.number == 1)
            connection.execute(
                first_attempt.values(log="Epoch 1\nloss: nan é ✓", trace="Traceback (most recent call last):\n")
            )


def records(url: sqlalchemy.URL | str, name: str = "s") -> dict[str, TaskRecord]:
    with open_sweep(url, name) as (engine, sweep):
        return {task.key: task for task in queries.task_records(engine, sweep.id)}


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def packed(path: Path, files: Mapping[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a zip of these files."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def edited(source: Path, name: str, change: Callable[[list[dict[str, Any]]], Any], *, sealed: bool = True) -> Path:
    """Copy an archive with changed lines in one file, such as "tasks.jsonl".

    Args:
        change: edits the lines in place.
        sealed: the manifest has the new hash of the file, as if nothing had been changed.
    """
    files = members(source)
    lines = [json.loads(line) for line in files[name].splitlines()]
    change(lines)
    files[name] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    if sealed:
        manifest = json.loads(files["manifest.json"])
        manifest["files"][name] = hashlib.sha256(files[name]).hexdigest()
        files["manifest.json"] = json.dumps(manifest).encode()
    return packed(source.with_name(f"edited-{source.name}"), files)
