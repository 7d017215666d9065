"""Log files, their tail, redaction.

A line of the file is {"time": "2026-03-01T12:00:00.123+00:00", "level": "INFO", "logger": "sweeps.workers.worker",
"task": "search#3", "attempt": 1, "message": "..."}, with a "traceback" for an error; between tasks, without task and
attempt. The output of libraries appears between these lines unchanged.
"""

import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import platformdirs
from sqlalchemy import URL

from kd.tools import processes
from storage.url import without_passwords
from sweeps.errors import SweepError
from sweeps.terminal import escape_control_chars, truncated

log = logging.getLogger(__name__)

LOG_EVERY_S = 10.0
LOG_VARIABLE = "KD_SWEEPS_LOG"  # in the environment of a launched worker: the file of its output
_OURS = ("sweeps", "storage", "kd")

KEPT_LINES, KEPT_BYTES = 200, 64 * 1024  # from the end of a log or a traceback
MOST_REASON = 2_000  # characters, from the beginning of a reason
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # Postgres refuses NUL, and UTF-8 has no lone surrogates


def redact_tail(text: str, url: URL | None) -> str:
    """Return the last 200 lines and 64 KiB of a text, without passwords and unstorable characters."""
    # A generous first cut, so that no password is cut in two; then the exact one.
    lines = _storable(without_passwords(text, url, last=4 * KEPT_BYTES)).splitlines()[-KEPT_LINES:]
    return "\n".join(lines)[-KEPT_BYTES:]


def redact(text: str, url: URL | None) -> str:
    """Return a text as a reason is stored and printed: redacted, at most 2,000 characters, no control characters."""
    clean = escape_control_chars(_storable(without_passwords(text, url, first=4 * MOST_REASON)))
    return truncated(clean, MOST_REASON)


def traceback_text(error: BaseException, url: URL | None) -> str:
    return redact_tail("".join(traceback.format_exception(error)), url)


def error_text(error: BaseException) -> str:
    """Return the message of an error, whose str() may itself raise in a user's class."""
    try:
        return str(error)
    except Exception as worse:
        return f"an error that cannot be printed, because of {type(worse).__name__}"


def _storable(text: str) -> str:
    return _UNSTORABLE.sub(lambda match: f"\\u{ord(match[0]):04x}" if match[0] != "\x00" else "\\0", text)


@dataclass(frozen=True)
class Line:
    """A line of a log for display. task: the running task, "" if none; ours: written by JsonLines."""

    text: str
    task: str = ""
    ours: bool = False


class _Clean(logging.Formatter):
    """Redacts and shortens messages, which may contain output of users' programs."""

    def __init__(self, url: URL | None = None, fmt: str | None = None) -> None:
        super().__init__(fmt)
        self._url = url

    def formatException(self, ei: Any) -> str:
        return redact_tail(super().formatException(ei), self._url)

    def message(self, record: logging.LogRecord) -> str:
        return redact_tail(record.getMessage(), self._url)


class TextLines(_Clean):
    """Formats messages for a terminal, without control characters."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = self.message(record)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return escape_control_chars(super().format(record))


class JsonLines(_Clean):
    """Formats each message as one line of JSON; see the module docstring for its fields."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).astimezone()
        values: dict[str, object] = {"time": moment.isoformat(timespec="milliseconds"), "level": record.levelname}
        values["logger"] = record.name
        if _at_work is not None:
            values["task"], values["attempt"] = _at_work
        values["message"] = self.message(record)
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values, ensure_ascii=False)


# The running task of this process; also for messages of its threads.
_at_work: tuple[str, int] | None = None


@contextmanager
def about(task: str, attempt: int) -> Iterator[None]:
    """Mark all messages logged in the block with this task and attempt."""
    global _at_work
    before, _at_work = _at_work, (task, attempt)
    try:
        yield
    finally:
        _at_work = before


def read_line(line: str) -> Line:
    """Return a line of a log for display; a line that is not ours, such as a library's, unchanged."""
    try:
        values = json.loads(line)
        moment = datetime.fromisoformat(values["time"])
        text = f"{moment:%Y-%m-%d %H:%M:%S},{moment.microsecond // 1000:03d} {values['level'][0]} {values['message']}"
        task = str(values.get("task", ""))
        trace = values.get("traceback")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return Line(line)
    return Line(f"{text}\n{trace}" if trace else text, task, ours=True)


@contextmanager
def worker_log(path: Path | None, url: URL | None = None) -> Iterator[None]:
    """Log to `path` as JSON lines, with all other output of this process, and to stderr as text.

    TensorFlow's C++ code writes to file descriptors 1 and 2 directly, so those are redirected. With None (a launched
    worker, whose output is a file already) nothing is redirected: the JSON lines go to stderr.
    """
    loggers = [logging.getLogger(name) for name in _OURS]
    with processes.forgiving():  # a full disk for the log must not end a task
        out = -1 if path is None else open_log(path)
        terminal = None if path is None else processes.unfailing(os.dup(2), close=True)
        # sys.stderr writes to descriptor 2, so into the file once that is redirected.
        handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
        handlers[0].setFormatter(JsonLines(url))
        if terminal is not None:
            handlers.append(logging.StreamHandler(terminal))
            handlers[1].setFormatter(TextLines(url, "%(asctime)s %(levelname).1s %(message)s"))
        for logger in loggers:
            logger.setLevel(logging.INFO)
            for handler in handlers:
                logger.addHandler(handler)
        kept = (os.dup(1), os.dup(2))
        if path is not None:
            for number in (1, 2):
                os.dup2(out, number)
            os.close(out)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
            for logger in loggers:
                for handler in handlers:
                    logger.removeHandler(handler)
            if terminal is not None:
                terminal.close()


class LogTail:
    """The end of this process's output during one attempt, redacted, to be stored with the attempt."""

    def __init__(self, path: Path | None, url: URL | None) -> None:
        self._path, self._url = path, url
        self._from = 0

    def begin(self) -> None:
        """Begin an attempt: skip the earlier contents of the file."""
        self._from = _size(self._path)

    def read(self) -> str | None:
        """Return at most the last 200 lines and 64 KiB since the attempt began; None without a file."""
        if self._path is None:
            return None
        text = end_of(self._path, start=self._from)
        return None if text is None else redact_tail(text, self._url)


def end_of(path: Path, *, start: int = 0) -> str | None:
    """Return the last 64 KiB of a log from byte `start` on; None: it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, _size(path) - KEPT_BYTES))
            return file.read(KEPT_BYTES).decode(errors="replace")
    except OSError:  # a full disk or a cleared folder must not lose a result
        return None


def _size(path: Path | None) -> int:
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0


def open_log(path: Path) -> int:
    """Return a descriptor of a log, created if missing; SweepError if its folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise SweepError(
            f"cannot write logs into {path.parent}: {error.strerror}; name another folder: export XDG_STATE_HOME=DIR"
        ) from None


def log_root() -> Path:
    """Return the folder that holds the log folders of all sweeps on this machine."""
    return Path(platformdirs.user_log_path("kd-sweeps"))


def logged(key: str) -> Callable[[float, str], None]:
    """Return a callback that logs a child's progress, at most every ten seconds."""
    logged_at = time.monotonic()

    def on_report(fraction: float, text: str) -> None:
        nonlocal logged_at
        if time.monotonic() - logged_at >= LOG_EVERY_S:
            logged_at = time.monotonic()
            log.info("%s %.0f %%: %s", key, 100 * fraction, text)

    return on_report


@dataclass(frozen=True)
class Report:
    """One line of `logged`. fraction: in [0, 1]. validation: the score that the text names, None without one."""

    fraction: float
    text: str
    validation: float | None


_VALIDATION = re.compile(r"\bvalidation (?:accuracy )?(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


def reports(log: str, key: str) -> list[Report]:
    """Return what the training of a task said of its progress, from the stored end of its log."""
    lines = []
    for line in map(read_line, log.splitlines()):
        match = re.search(rf" {re.escape(key)} (\d+) %: (.*)", line.text) if line.task == key else None
        if match is not None:
            score = _VALIDATION.search(match[2])
            lines.append(Report(int(match[1]) / 100, match[2], None if score is None else float(score[1])))
    return lines
