"""Read the studies of any program: its trials as plain values. Nothing is written, and no table is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from sqlalchemy import URL

from storage.db.sqlite_file import check_path
from storage.errors import NotAStorage, StudyMissing
from storage.studies.studies import without_warnings
from storage.studies.trials import explain_faults
from storage.url import masked, plain, sqlite_path

_LISTED = 10  # names in a message


@dataclass(frozen=True)
class StudyTrial:
    """A trial as Optuna has it. state: "COMPLETE" or another of Optuna's; value: None where it has none."""

    study: str
    number: int
    state: str
    value: float | None
    params: Mapping[str, Any]
    attrs: Mapping[str, Any]


@dataclass(frozen=True)
class StudyTrials:
    """The trials of some studies. minimize: their direction."""

    trials: tuple[StudyTrial, ...]
    minimize: bool


def _is_table_missing(cause: BaseException | None) -> bool:
    # Postgres has an error of its own for that, SQLite only a text.
    return isinstance(cause, sqlalchemy.exc.ProgrammingError) or "no such table" in str(cause)


def read_trials(url: URL, studies: Sequence[str]) -> StudyTrials:
    """Return every trial of these studies, in the order given.

    Raises:
        NotAStorage: there are no tables of Optuna, or the studies do not share one objective and direction.
        StudyMissing: none has that name; it lists those that have one.
    """
    if url.get_backend_name() == "sqlite":
        if not sqlite_path(url).exists():  # of any program: no word of how a storage of ours is made
            raise NotAStorage(f"{masked(url)}: no such file; give the URL of an Optuna storage")
        check_path(url, must_exist=True, read_only=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with explain_faults(url, lambda: (), ""), without_warnings():
        try:
            storage = RDBStorage(plain(url), skip_compatibility_check=True, skip_table_creation=True)
            known = optuna.get_all_study_names(storage)
        except optuna.exceptions.StorageInternalError as error:
            if not _is_table_missing(error.__cause__):
                raise
            why = getattr(error.__cause__, "orig", error.__cause__)
            raise NotAStorage(
                f"{masked(url)} holds no Optuna studies that this version of Optuna reads: {why}"
            ) from error
        try:
            names = list(studies) or known[:1]
            missing = [name for name in names if name not in known]
            if missing or (not studies and len(known) != 1):
                more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
                there = f"{', '.join(known[:_LISTED])}{more}" if known else "none"
                what = f"no study {missing[0]!r}" if missing else f"{len(known)} studies"
                raise StudyMissing(f"{masked(url)} has {what}; name some with --study, of: {there}")
            loaded = [optuna.load_study(study_name=name, storage=storage) for name in names]
            several = next((study for study in loaded if len(study.directions) > 1), None)
            if several is not None:
                raise NotAStorage(f"study {several.study_name} has {len(several.directions)} objectives; allowed: one")
            directions = {study.direction for study in loaded}
            if len(directions) > 1:
                raise NotAStorage(f"the studies {', '.join(names)} have other directions; allowed: the same one")
            trials = tuple(
                StudyTrial(
                    study.study_name, trial.number, trial.state.name, trial.value, trial.params, trial.user_attrs
                )
                for study in loaded
                for trial in study.get_trials(deepcopy=False)
            )
        finally:
            storage.remove_session()
            storage.engine.dispose()
    return StudyTrials(trials, directions == {StudyDirection.MINIMIZE})
