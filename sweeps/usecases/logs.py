"""Logs of workers and tasks."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias

import sqlalchemy

from storage.records import queries
from storage.tables import AttemptRecord, SweepRecord
from sweeps.errors import NotThere, SweepError
from sweeps.hints import local
from sweeps.spec.stored import check_name
from sweeps.workers.logs import log_root, read_line
from sweeps.workers.reach import Reach, log_folder

POLL_S = 1.0
Opener: TypeAlias = Callable[[str], AbstractContextManager[tuple[sqlalchemy.Engine, SweepRecord]]]
"""Opens a sweep of a storage by its name."""


def latest(reach: Reach, name: str, lines: int) -> list[str]:
    """Return the last lines of each worker's log, the latest worker last; raise SweepError if none has run here."""
    folder = log_folder(reach, check_name(name))
    # Older versions had one folder for all sweeps of a name.
    paths = list(folder.glob("*.log")) or (log_root() / name).glob("*.log")
    files = sorted(paths, key=lambda path: path.stat().st_mtime)
    if not files:
        raise SweepError(
            f"no logs of {name} on this machine, in {folder}. The log of one task, from any machine:"
            f" {local().line('logs', name, '--task KEY')}"
        )
    output = []
    for path in files:
        texts = [read_line(line).text for line in path.read_text(errors="replace").splitlines()]
        output += [f"==> {path}", *_last(texts, lines), ""]
    return output


def about_task(
    open_sweep: Opener, name: str, key: str, *, attempt: int | None = None, lines: int | None = None
) -> list[str]:
    """Return the output of the attempts of a task, on any machine, and the reasons of failures.

    attempt: only this one, from 1. lines: the last ones of each attempt; None: all that are stored. Raise SweepError if
    there is no such task or attempt, or the task has not started.
    """
    chosen = _chosen(key, attempts_of(open_sweep, name, key), attempt)
    return [line for record in chosen for line in (_head(key, record), *_last(_lines(record), lines), "")]


def follow(
    open_sweep: Opener, name: str, key: str, *, attempt: int | None = None, lines: int | None = None
) -> Iterator[str]:
    """Yield the output of one attempt, by default the latest, as it grows until its end.

    A worker stores its log with each renewal of its lease, so lines come as often as that. Errors as about_task.
    """
    followed = Followed(key, attempt=attempt, lines=lines)
    yield from followed.added(attempts_of(open_sweep, name, key))
    while not followed.ended:
        time.sleep(POLL_S)
        yield from followed.added(attempts_of(open_sweep, name, key))


class Followed:
    """The growing log of one attempt, for callers that poll it."""

    def __init__(self, key: str, *, attempt: int | None = None, lines: int | None = None) -> None:
        self._key, self._number, self._count = key, attempt, lines
        self._lines: list[str] | None = None
        self.ended = False

    def added(self, attempts: Sequence[AttemptRecord]) -> list[str]:
        """Return the lines added since the last call; at first the head and the last lines. Errors as about_task."""
        record = _chosen(self._key, attempts, self._number)[-1]
        before, self._lines = self._lines, _lines(record)
        self._number, self.ended = record.number, record.state != "running"
        if before is None:
            return [_head(self._key, record), *_last(self._lines, self._count)]
        return _added(before, self._lines)


def attempts_of(open_sweep: Opener, name: str, key: str) -> list[AttemptRecord]:
    """Return the attempts of a task, oldest first; SweepError if there is no such task, or no attempt yet."""
    with open_sweep(name) as (engine, sweep):
        attempts = queries.attempts_of(engine, sweep.id, key)
    if attempts is None:
        raise NotThere(f"{name} has no task {key!r}; see: {local().line('trials', name)}")
    if not attempts:
        raise SweepError(f"{key} has not started yet; see: {local().line('status', name)}")
    return attempts


def _chosen(key: str, attempts: Sequence[AttemptRecord], attempt: int | None) -> list[AttemptRecord]:
    chosen = [record for record in attempts if attempt in (None, record.number)]
    if not chosen:
        numbers = "attempt 1 only" if len(attempts) == 1 else f"attempts 1 to {len(attempts)}"
        raise NotThere(f"--attempt: got {attempt}; {key} has {numbers}")
    return chosen


def _head(key: str, record: AttemptRecord) -> str:
    how = f"{record.state} ({record.error_class})" if record.error_class else record.state
    return f"==> {key} attempt {record.number}: {how}, worker {record.worker} on {record.host}"


def _lines(record: AttemptRecord) -> list[str]:
    if record.log is None:
        lines = ["(no log is stored)"]
    else:
        lines = [text for line in record.log.splitlines() for text in read_line(line).text.splitlines()]
    if record.trace and not any(line.startswith("Traceback") for line in lines):
        lines += record.trace.splitlines()
    return [*lines, f"reason: {record.reason}"] if record.reason else lines


def _last(lines: list[str], count: int | None) -> list[str]:
    return lines if count is None else lines[max(0, len(lines) - count) :]


def _added(before: list[str], now: list[str]) -> list[str]:
    """Return the lines of `now` after the end of `before`; its first lines may have been dropped meanwhile."""
    for start in range(len(before)):
        if now[: len(before) - start] == before[start:]:
            return now[len(before) - start :]
    return now
