"""Show the logs that workers left on this machine: the end of each, or what concerns one task."""

from pathlib import Path

import sqlalchemy

from storage.records import queries
from sweeps.errors import SweepError
from sweeps.hints import here
from sweeps.query.opening import open_sweep
from sweeps.spec.model import check_name
from sweeps.workers.logs import Line, log_folder, read_line


def latest(name: str, lines: int) -> list[str]:
    """Return the last lines of each worker's log, the latest worker last; each under the name of its file.

    Raises:
        SweepError: no worker of that sweep has run here.
    """
    found = []
    for path in _files(name):
        last = _read(path)[-lines:] if lines else []
        found += [f"==> {path}", *(line.text for line in last), ""]
    return found


def about_task(url: sqlalchemy.URL, name: str, key: str) -> list[str]:
    """Return what was logged here about a task, with what libraries printed between.

    Raises:
        SweepError: the sweep has no such task, or no log of this machine mentions it.
    """
    with open_sweep(url, name) as (engine, sweep):
        task = next((one for one in queries.task_records(engine, sweep.id, keep=()) if one.key == key), None)
    if task is None:
        raise SweepError(f"{name} has no task {key!r}; see: {here().line('trials', name)}")
    found: list[str] = []
    for path in _files(name):
        current, texts = "", []
        for line in _read(path):
            current = line.task if line.ours else current
            texts += [line.text] if current == key else []
        found += [f"==> {path}", *texts] if texts else []
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


def _read(path: Path) -> list[Line]:
    return [read_line(line) for line in path.read_text(errors="replace").splitlines()]
