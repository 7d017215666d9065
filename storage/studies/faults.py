"""Translate Optuna's errors to ours: a deleted study is one clear line, a database fault keeps its cause."""

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import optuna
import sqlalchemy.exc
from sqlalchemy import URL

from storage.db.faults import translate
from storage.errors import NextStep, NotAStorage, StorageError, StudyMissing, StudyMixed
from storage.url import masked


@contextmanager
def explain_faults(
    url: URL, names: Callable[[], Collection[str]], study: str, *, trial: int | None = None
) -> Iterator[None]:
    """Translate what Optuna raises inside the block; what may pass by itself keeps its cause for `retrying`.

    Args:
        names: lists the studies that are there now; asked only when a study may be missing.
        study: the one that the block uses, or "" for none.
        trial: the number of the trial that the block uses, if it uses one.

    Raises:
        StudyMissing: the study or the trial was deleted.
        NotAStorage: what Optuna stored can no longer be read.
    """
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise readable(error, url) from error
    except json.JSONDecodeError as error:
        raise _damaged(url, study) from error
    except (KeyError, ValueError, sqlalchemy.exc.IntegrityError) as error:
        if study and study not in names():
            raise _missing(url, study, "it") from error
        if trial is not None and isinstance(error, KeyError):
            raise _missing(url, study, f"its trial {trial}") from error
        raise
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise translate(error, url) from error


def readable(error: optuna.exceptions.StorageInternalError, url: URL) -> Exception:
    """Return the error that explains it: Optuna says only "during the commit", its cause says what happened."""
    cause = error.__cause__
    if not isinstance(cause, sqlalchemy.exc.SQLAlchemyError):
        return error
    translated = translate(cause, url)
    return error if translated is cause else translated


def mixed(url: URL, study: str, error: ValueError) -> StorageError:
    """Return the error that says why Optuna takes no trial of ours beside those of another tool."""
    if isinstance(error, json.JSONDecodeError):
        return _damaged(url, study)
    sweep = study.split(".")[0]
    return StudyMixed(
        f"study {study!r} in {masked(url)} holds trials of another tool whose parameters are of another kind, so Optuna"
        f" refuses ours ({error}); the tasks and results are still there; delete the study in optuna-dashboard",
        NextStep("to go on with a new study, type then", "create", sweep),
    )


def replaced(url: URL, study: str, sweep: str) -> StudyMissing:
    """Return the error that another program deleted a study of the sweep and made its own under that name."""
    return StudyMissing(
        f"study {study!r} in {masked(url)} was deleted, and another program has made one of that name; nothing was"
        " written to it",
        NextStep("the tasks and results are still there, see", "report", sweep),
        NextStep("to go on with a new study, delete that one in optuna-dashboard and type", "create", sweep),
    )


def _damaged(url: URL, study: str) -> NotAStorage:
    of = f"study {study!r}" if study else "a study"
    return NotAStorage(f"a value of {of} in {masked(url)} is not JSON any more; put a whole copy of the storage back")


def _missing(url: URL, study: str, what: str) -> StudyMissing:
    sweep = study.split(".")[0]
    return StudyMissing(
        f"study {study!r} in {masked(url)}: {what} was deleted (optuna-dashboard can do that)",
        NextStep("the tasks and results are still there, see", "report", sweep),
        NextStep("to go on with a new study, type", "create", sweep),
    )
