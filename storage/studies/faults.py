"""Optuna's errors as ours: a deleted study is one clear line, a database fault keeps its cause."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import optuna
import sqlalchemy.exc
from sqlalchemy import URL

from storage.db.faults import translate
from storage.errors import StudyMissing
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
    """
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise readable(error, url) from error
    except (KeyError, ValueError, sqlalchemy.exc.IntegrityError) as error:
        if study and study not in names():
            raise StudyMissing(_missing(url, study, "it")) from error
        if trial is not None and isinstance(error, KeyError):
            raise StudyMissing(_missing(url, study, f"its trial {trial}")) from error
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


def _missing(url: URL, study: str, what: str) -> str:
    sweep = study.split(".")[0]
    return (
        f"study {study!r} in {masked(url)}: {what} was deleted (optuna-dashboard can do that); the"
        f" tasks and results are still there, see: kd-sweeps report {sweep}; to go on with a new study,"
        f" type: kd-sweeps create {sweep}"
    )
