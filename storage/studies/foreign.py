"""Read the trials of any program's studies as plain values. Writes nothing, and creates no table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from sqlalchemy import URL

from storage.db.engine import opened_engine
from storage.errors import NotAStorage, StudyMissing
from storage.studies.studies import optuna_storage, without_warnings
from storage.studies.trials import explain_faults
from storage.url import masked, sqlite_path

_LISTED = 10  # names in a message


@dataclass(frozen=True)
class StudyTrial:
    """A trial as Optuna stores it. state: "COMPLETE" or another of Optuna's; value: None if it has none."""

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


def read_trials(url: URL, studies: Sequence[str]) -> StudyTrials:
    """Return every trial of these studies, in the order given.

    Raises:
        NotAStorage: there are no tables of Optuna, or the studies do not share one objective and direction.
        StudyMissing: there is no such study; the message lists those that exist.
    """
    if url.get_backend_name() == "sqlite" and not sqlite_path(url).exists():
        raise NotAStorage(f"{masked(url)}: no such file; give the URL of an Optuna storage")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # must_exist would require kd-sweeps tables.
    with opened_engine(url, must_exist=False) as engine, explain_faults(url, lambda: (), ""), without_warnings():
        storage = optuna_storage(engine)
        try:
            return _read(storage, url, studies)
        finally:
            storage.remove_session()


def _read(storage: RDBStorage, url: URL, studies: Sequence[str]) -> StudyTrials:
    known = optuna.get_all_study_names(storage)
    names = list(studies) or known[:1]
    missing = [name for name in names if name not in known]
    if missing or (not studies and len(known) != 1):
        more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
        listing = f"{', '.join(known[:_LISTED])}{more}" if known else "none"
        what = f"no study {missing[0]!r}" if missing else f"{len(known)} studies"
        raise StudyMissing(f"{masked(url)} has {what}; name some with --study, of: {listing}")
    loaded = [optuna.load_study(study_name=name, storage=storage) for name in names]
    several = next((study for study in loaded if len(study.directions) > 1), None)
    if several is not None:
        raise NotAStorage(f"study {several.study_name} has {len(several.directions)} objectives; allowed: one")
    directions = {study.direction for study in loaded}
    if len(directions) > 1:
        raise NotAStorage(f"the studies {', '.join(names)} have different directions; allowed: a single one")
    trials = (
        StudyTrial(study.study_name, trial.number, trial.state.name, trial.value, trial.params, trial.user_attrs)
        for study in loaded
        for trial in study.get_trials(deepcopy=False)
    )
    return StudyTrials(tuple(trials), directions == {StudyDirection.MINIMIZE})
