"""Database faults: which ones pass by themselves, and how each reads in one line."""

import logging
import sqlite3

import sqlalchemy.exc
import tenacity
from sqlalchemy import URL

from storage.errors import NotAStorage, StorageError, Unreachable
from storage.url import masked

_log = logging.getLogger(__name__)

RETRY_FOR_S = 60.0
# What psycopg calls operational and no waiting cures: who we are, and what we asked for.
_LASTING_SQLSTATES = ("28", "3D")
_LASTING_TEXTS = (
    "authentication failed",
    "does not exist",
    "no password supplied",
    "no pg_hba.conf entry",
    "permission denied",
    "failed to resolve host",
)


def is_transient(error: BaseException | None) -> bool:
    """Whether trying again soon may help: locked, disconnected, restarting, too many clients.

    Follows `__cause__`, because Optuna and `translate` wrap the driver's error.
    """
    while error is not None:
        if isinstance(error, sqlalchemy.exc.TimeoutError):  # the pool's connections are all in use
            return True
        if isinstance(error, sqlalchemy.exc.DBAPIError):
            return _is_transient(error)
        error = error.__cause__
    return False


def _is_transient(error: sqlalchemy.exc.DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if not isinstance(error, sqlalchemy.exc.OperationalError):
        return False
    text = str(error.orig).lower()
    if isinstance(error.orig, sqlite3.Error):  # operational is also a missing table or an unreadable file
        return "is locked" in text
    lasting = (getattr(error.orig, "sqlstate", None) or "").startswith(_LASTING_SQLSTATES)
    return not lasting and not any(told in text for told in _LASTING_TEXTS)


def translate(error: sqlalchemy.exc.SQLAlchemyError, url: URL) -> Exception:
    """The same fault as one line for a user; what can only be a mistake of ours stays as it is."""
    if not isinstance(error, sqlalchemy.exc.DBAPIError):
        return error
    reason = first_line(error)
    lowered = reason.lower()
    if "file is not a database" in lowered or "malformed" in lowered:
        return NotAStorage(f"{masked(url)} is not a readable SQLite database: {reason}")
    if "no such table" in lowered or getattr(error.orig, "sqlstate", None) == "42P01":
        return NotAStorage(f"{masked(url)} lacks a table of kd-sweeps or Optuna: {reason}")
    if getattr(error.orig, "sqlstate", None) in ("42501", "25006"):
        return StorageError(f"{masked(url)} does not allow this: {reason}")
    if isinstance(error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)):
        return Unreachable(
            f"cannot use {masked(url)}: {reason}; check that it is up, or name another with --storage URL"
        )
    return error


def first_line(error: sqlalchemy.exc.DBAPIError) -> str:
    """The driver's own reason, in one line."""
    lines = [line.strip(" \t-") for line in str(error.orig).splitlines() if line.strip()]
    if not lines:
        return type(error.orig).__name__
    # psycopg tried several addresses of one name: its first line only announces the list
    told = lines[1] if len(lines) > 1 and lines[0].endswith("were:") else lines[0]
    return told.rstrip(".")


def _tell_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.warning("database fault, trying again (%d): %s", state.attempt_number, error)


retrying = tenacity.retry(
    retry=tenacity.retry_if_exception(is_transient),
    wait=tenacity.wait_random_exponential(multiplier=0.05, max=5),  # jitter: many workers meet one fault at once
    stop=tenacity.stop_after_delay(RETRY_FOR_S),
    before_sleep=_tell_retry,
    reraise=True,
)
"""Decorator: run again, with backoff and jitter, while the fault is transient and for at most RETRY_FOR_S."""
