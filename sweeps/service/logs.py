"""The log files that workers left on this machine: the end of each, or what concerns one task."""

import re
from pathlib import Path

import sqlalchemy

from sweeps.errors import SweepError
from sweeps.query.opening import open_sweep
from sweeps.spec.model import check_name
from sweeps.workers.logs import log_folder

# What the worker writes when it begins an attempt (sweeps.workers.worker, in the format of sweeps.workers.logs).
_BEGINS = re.compile(r"^\d{4}-\S+ \S+ I (\S+) attempt (\d+)$")


def latest(name: str, lines: int) -> list[str]:
    """The last lines of each worker's log, the latest worker last; each under the name of its file.

    Raises:
        SweepError: no worker of that sweep has run here.
    """
    found = []
    for path in _files(name):
        found += [f"==> {path}", *_read(path)[-lines:], ""]
    return found


def about_task(url: sqlalchemy.URL, name: str, key: str) -> list[str]:
    """Every attempt at one task that was logged here, from its first line to the next task's.

    Raises:
        SweepError: the sweep has no such task, or no log of this machine mentions it.
    """
    from storage.records import queries

    with open_sweep(url, name) as (engine, sweep):
        task = next((one for one in queries.task_records(engine, sweep.id) if one.key == key), None)
    if task is None:
        raise SweepError(f"{name} has no task {key!r}; see: kd-sweeps trials {name}")
    found = []
    for path in _files(name):
        inside = False
        for line in _read(path):
            begins = _BEGINS.match(line)
            if begins is not None:
                inside = begins[1] == key
                found += [f"==> {path}"] if inside else []
            found += [line] if inside else []
    if not found:
        worker = f"; its latest worker was {task.worker}" if task.worker else ", and no worker has had it yet"
        raise SweepError(f"no log in {log_folder(name)} mentions {key}{worker}")
    return found


def _files(name: str) -> list[Path]:
    folder = log_folder(check_name(name))
    files = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise SweepError(f"no worker of {name} has run on this machine: no log in {folder}")
    return files


def _read(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines()
