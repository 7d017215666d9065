"""Trials, notes and plots in the form of Optuna and its dashboard; the meaning of Optuna's errors.

Notes and plots are written as the study attributes that optuna-dashboard reads: importing it to write them takes 4
seconds. A test reads both back with it.
"""

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

import optuna
import sqlalchemy.exc
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import URL

from storage.db.transaction import translate
from storage.errors import NextStep, NotAStorage, StorageError, StudyMissing, StudyMixed
from storage.studies.sampler import distributions_of
from storage.studies.space import Trial
from storage.url import masked

_PART = 2045  # characters: the dashboard's limit for one attribute
_NOTE_VERSION = "dashboard:note_ver"


def frozen(trial: Trial) -> FrozenTrial:
    """Return a trial as Optuna's; ValueError if its parameters are not in its space, or a value is missing."""
    state, distributions = TrialState[trial.state], distributions_of(trial.space)
    frozen_trial = create_trial(
        state=state,
        values=None if state == TrialState.RUNNING else values_of(state, trial.value, trial.epoch_values),
        params=dict(trial.params),
        distributions={name: distributions[name] for name in trial.params if name in distributions},
        user_attrs=dict(trial.attrs),
        intermediate_values={epoch: value for epoch, value in enumerate(trial.epoch_values) if value is not None},
    )
    # As Optuna writes them: local time without a zone.
    frozen_trial.datetime_start = datetime.fromtimestamp(trial.started_at)
    if trial.ended_at is not None:
        frozen_trial.datetime_complete = datetime.fromtimestamp(trial.ended_at)
    return frozen_trial


def values_of(state: TrialState, value: float | None, epoch_values: Sequence[float | None]) -> list[float] | None:
    """Return the values of a trial of that state, as `Study.tell` does: of a pruned one its last intermediate value."""
    if state == TrialState.FAIL:
        return None
    if state == TrialState.PRUNED:
        reached = [epoch_value for epoch_value in epoch_values if epoch_value is not None][-1:]
        return reached if reached and not math.isnan(reached[0]) else None
    if value is None or math.isnan(value):
        raise ValueError(f"a COMPLETE trial needs a value, got {value!r}")
    return [float(value)]


def has_note(storage: BaseStorage, study_id: int) -> bool:
    """Return whether a note was ever written, here or in the dashboard."""
    return _NOTE_VERSION in storage.get_study_system_attrs(study_id)


def save_note(storage: BaseStorage, study_id: int, note: str) -> None:
    """Replace the note, Markdown; write nothing if it is unchanged."""
    changed = _save_text(storage, study_id, "dashboard:note_str:", note)
    # The dashboard rejects edits of an older version, so an open page notices the new text.
    version = int(storage.get_study_system_attrs(study_id).get(_NOTE_VERSION, 0))
    if changed or version == 0:
        storage.set_study_system_attr(study_id, _NOTE_VERSION, version + 1)


def save_plots(storage: BaseStorage, study_id: int, plots: Mapping[str, str]) -> None:
    """Replace plotly figures, as JSON, by name (letters, digits, "-", "_", ":" and ".")."""
    for name, figure in plots.items():
        _save_text(storage, study_id, f"dashboard:plot_data:{name}:", figure)


def _save_text(storage: BaseStorage, study_id: int, prefix: str, text: str) -> bool:
    """Write the parts of a text that differ from the stored ones; return whether any did."""
    changed, present = False, storage.get_study_system_attrs(study_id)
    parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
    before = sum(key.startswith(prefix) for key in present)
    for number, part in enumerate([*parts, *[""] * (before - len(parts))]):  # empties the rest of a longer text
        if present.get(f"{prefix}{number}") != part:
            storage.set_study_system_attr(study_id, f"{prefix}{number}", part)
            changed = True
    return changed


@contextmanager
def explain_faults(url: URL, names: Callable[[], Collection[str]], study: str) -> Iterator[None]:
    """Translate Optuna's errors of the block; a transient one keeps its cause for `retry_transient`.

    names: lists the existing studies; called only when one may be missing. study: the study that the block uses; "" for
    none. StudyMissing: it was deleted. NotAStorage: Optuna's stored values are unreadable.
    """
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise _readable(error, url) from error
    except json.JSONDecodeError as error:
        raise _damaged(url, study) from error
    except (KeyError, ValueError, sqlalchemy.exc.IntegrityError) as error:
        if study and study not in names():
            raise _missing(url, study) from error
        raise
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise translate(error, url) from error


def _readable(error: optuna.exceptions.StorageInternalError, url: URL) -> Exception:
    """Return the error that explains it: Optuna's message is only "during the commit"; the cause has the reason."""
    cause = error.__cause__
    if not isinstance(cause, sqlalchemy.exc.SQLAlchemyError):
        return error
    translated = translate(cause, url)
    return error if translated is cause else translated


def mixed(url: URL, study: str, error: ValueError) -> StorageError:
    """Return the error for a study in which trials of another tool make Optuna refuse ours."""
    if isinstance(error, json.JSONDecodeError):
        return _damaged(url, study)
    sweep = study.split(".")[0]
    return StudyMixed(
        f"study {study!r} in {masked(url)} has trials of another tool with parameters of another kind, so Optuna"
        f" refuses ours ({error}); tasks and results are intact; delete the study in optuna-dashboard",
        NextStep("to continue with a new study, then type", "create", sweep),
    )


def replaced(url: URL, study: str, sweep: str) -> StudyMissing:
    return StudyMissing(
        f"study {study!r} in {masked(url)} was deleted, and another program has created one of that name; nothing was"
        " written to it",
        NextStep("tasks and results are intact, see", "report", sweep),
        NextStep("to continue with a new study, delete that one in optuna-dashboard and type", "create", sweep),
    )


def _damaged(url: URL, study: str) -> NotAStorage:
    of = f"study {study!r}" if study else "a study"
    return NotAStorage(f"a value of {of} in {masked(url)} is no longer JSON; restore a copy of the storage")


def _missing(url: URL, study: str) -> StudyMissing:
    sweep = study.split(".")[0]
    return StudyMissing(
        f"study {study!r} in {masked(url)} was deleted (optuna-dashboard can do that)",
        NextStep("tasks and results are intact, see", "report", sweep),
        NextStep("to continue with a new study, type", "create", sweep),
    )
